//! Which catalog the records make: the whole decision of the data plane's feed, without I/O, clock or lock.
//!
//! Rows may come before the zone that they belong to (an import writes them first) or after it was gone (the
//! sweeper deletes them): rows of a generation that no zone names are only kept, not served, so what is served
//! changes in the one revision that names them. A record that cannot be read changes nothing but the zone's
//! condition; the zone keeps what it had.

use std::{collections::BTreeMap, sync::Arc};

use flashdns_core::{Catalog, Change, RrSet, Zone};
use metadata_store::{Event, Revision, Version};

use crate::{
    checkpoint::{Checkpoint, SavedZone},
    metadata::{
        decode_value, keys,
        records::{Id, RecordSetRecord, ZoneRecord},
    },
    plan,
    served::ZoneStatus,
    text,
};

/// Rows from which a compile is too long for a task that others share a thread with.
const HEAVY_ROWS: usize = 2000;

/// Rows by key, as the data plane wants them.
type Rows = BTreeMap<String, RrSet>;

/// Everything that the catalog is computed from.
#[derive(Debug, Default)]
pub(crate) struct State {
    version: Version,
    /// Before the list is complete nothing is compiled.
    loading: bool,
    zones: BTreeMap<String, ZoneState>,
    /// Zone key by the generation that it serves.
    live: BTreeMap<Id, String>,
    /// Rows of generations that no zone names, and of all while loading.
    staged: BTreeMap<Id, Rows>,
    /// Rows that cannot be read, by key.
    unreadable: BTreeMap<Id, BTreeMap<String, String>>,
    catalog: Catalog,
}

#[derive(Debug)]
struct ZoneState {
    record: ZoneRecord,
    version: Version,
    zone: Option<Arc<Zone>>,
    /// Why the last change is not served.
    problem: Option<String>,
    /// What came while a merge of this zone is under way.
    since_merge: Option<Vec<Change>>,
}

/// A zone to be merged elsewhere: its overlay has grown.
#[derive(Debug)]
pub(crate) struct Merge {
    key: String,
    root: Id,
    zone: Arc<Zone>,
}

/// What became of the zones that a revision touched; `None`: gone.
pub(crate) type Touched = Vec<(String, Option<ZoneStatus>)>;
