//! The records that FlashDNS keeps in the metadata store.
//!
//! They are the whole truth: everything that is served is computed from them. Record data is kept in
//! presentation form, so that a person and any tool can read the store; it was parsed and printed again before
//! it was written, so two equal record sets are equal text.

use std::{fmt, str::FromStr};

use metadata_store::Entity;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identity of a zone, or of one generation of its rows. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(Uuid);

impl Id {
    /// A new one.
    pub fn random() -> Id {
        Id(Uuid::new_v4())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for Id {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Id, uuid::Error> {
        text.parse().map(Id)
    }
}

impl TryFrom<String> for Id {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<Id, uuid::Error> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.to_string()
    }
}

/// A zone: what it is called, which rows are its own, and how far its history has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneRecord {
    /// Absolute, lower case, with the final dot.
    pub name: String,
    /// The zone for as long as it lives; its log is under it.
    pub id: Id,
    /// The generation of rows that is served; an import brings a new one.
    pub root: Id,
    /// Of the SOA. Rises (RFC 1982) with every change.
    pub serial: u32,
    /// The rest of the SOA.
    pub soa: SoaRecord,
    /// Record sets of the zone, the SOA among them.
    pub record_sets: u64,
    /// When it was created.
    pub created_unix_ms: i64,
    /// Sequence of the last change in the log; the first is 1.
    pub change_seq: u64,
}

impl Entity for ZoneRecord {
    const KIND: &'static str = "Zone";
    const SCHEMA: u32 = 1;
}

/// A start of authority (RFC 1035 §3.3.13) without its serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoaRecord {
    /// Primary name server.
    pub primary: String,
    /// Mailbox of the person responsible, as a name.
    pub mailbox: String,
    /// See RFC 1035.
    pub refresh_s: u32,
    /// See RFC 1035.
    pub retry_s: u32,
    /// See RFC 1035.
    pub expire_s: u32,
    /// TTL of negative answers (RFC 2308 §4).
    pub minimum_s: u32,
    /// TTL of the record itself.
    pub ttl_s: u32,
}

/// A record set: everything of one owner and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSetRecord {
    /// Owner, absolute, in the case that it was given.
    pub name: String,
    /// Mnemonic, or `TYPE123` (RFC 3597).
    #[serde(rename = "type")]
    pub rtype: String,
    /// Time to live.
    pub ttl_s: u32,
    /// Presentation form, one for each record; at least one.
    pub data: Vec<String>,
}

impl Entity for RecordSetRecord {
    const KIND: &'static str = "RecordSet";
    const SCHEMA: u32 = 1;
}

/// One step of a zone's serial: what an incremental transfer, a history and a rollback need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// The serial that it led to.
    pub serial: u32,
    /// When.
    pub at_unix_ms: i64,
    /// Who.
    pub actor: String,
    /// Why, in the words of the one who did it.
    pub comment: String,
    /// Record sets as they were before.
    pub removed: Vec<RecordSetRecord>,
    /// Record sets as they are since.
    pub added: Vec<RecordSetRecord>,
    /// Too large to be listed: both lists are empty.
    pub unlisted: bool,
}

impl Entity for ChangeRecord {
    const KIND: &'static str = "Change";
    const SCHEMA: u32 = 1;
}

/// What a change answered, for the caller that asks again with the same idempotency id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneRecord {
    /// The serial that it led to.
    pub serial: u32,
    /// When; it is kept for a day.
    pub at_unix_ms: i64,
    /// Of the request, so that the id is not used for another one.
    pub fingerprint: u32,
    /// Record sets that it wrote.
    pub record_sets: Vec<RecordSetRecord>,
}

impl Entity for DoneRecord {
    const KIND: &'static str = "Done";
    const SCHEMA: u32 = 1;
}

/// Rows that belong to nothing, or will if nobody claims them in time.
///
/// An import notes its new generation here before it writes a row, and claims it in the commit that makes it the
/// zone's: whatever happens in between, the rows are found again. What a commit leaves behind it notes here too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashRecord {
    /// Everything under these is to be deleted.
    pub prefixes: Vec<String>,
    /// Not earlier than this.
    pub not_before_unix_ms: i64,
    /// Deleting has begun; it can no longer be claimed.
    pub doomed: bool,
}

impl Entity for TrashRecord {
    const KIND: &'static str = "Trash";
    const SCHEMA: u32 = 1;
}
