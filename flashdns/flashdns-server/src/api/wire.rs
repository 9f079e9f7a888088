//! Between the API's messages and the records: fields are moved, nothing is decided.

use flashdns_proto::v1;
use metadata_store::Version;

use crate::metadata::records::{ChangeRecord, RecordSetRecord, SoaRecord};

pub(super) fn soa(record: SoaRecord) -> v1::Soa {
    let SoaRecord { primary, mailbox, refresh_s, retry_s, expire_s, minimum_s, ttl_s } = record;
    v1::Soa { primary, mailbox, refresh_s, retry_s, expire_s, minimum_s, ttl_s }
}

pub(super) fn record_set(record: RecordSetRecord, version: Version) -> v1::RecordSet {
    let RecordSetRecord { name, rtype, ttl_s, data } = record;
    v1::RecordSet { name, r#type: rtype, ttl_s, data, version: version.0 }
}

pub(super) fn change(record: ChangeRecord) -> v1::Change {
    // Versions of the past are no longer anybody's to expect.
    let sets = |sets: Vec<RecordSetRecord>| sets.into_iter().map(|set| record_set(set, Version(0))).collect();
    v1::Change {
        serial: record.serial,
        at_unix_ms: record.at_unix_ms,
        actor: record.actor,
        comment: record.comment,
        removed: sets(record.removed),
        added: sets(record.added),
        unlisted: record.unlisted,
    }
}

/// `asked` where it says something, else `otherwise`.
pub(super) fn soa_record(asked: v1::Soa, otherwise: SoaRecord) -> SoaRecord {
    let text = |asked: String, otherwise| if asked.is_empty() { otherwise } else { asked };
    let number = |asked, otherwise| if asked == 0 { otherwise } else { asked };
    SoaRecord {
        primary: text(asked.primary, otherwise.primary),
        mailbox: text(asked.mailbox, otherwise.mailbox),
        refresh_s: number(asked.refresh_s, otherwise.refresh_s),
        retry_s: number(asked.retry_s, otherwise.retry_s),
        expire_s: number(asked.expire_s, otherwise.expire_s),
        minimum_s: number(asked.minimum_s, otherwise.minimum_s),
        ttl_s: number(asked.ttl_s, otherwise.ttl_s),
    }
}
