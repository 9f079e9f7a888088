//! What must hold of a history, whatever faults it ran under. Pure: each check names every place where it does not.
//!
//! The revisions that the database itself tells (its whole history, read back by a watch) are the common thread: the
//! replay holds the clients' notes against them and against time, porcupine decides each key without them.

pub(super) mod eventual;
pub(super) mod lease;
pub(super) mod linear;
pub(super) mod mvcc;
pub(super) mod replay;
pub(super) mod watch;

/// A revision of a namespace, whole.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Revision {
    /// Its number.
    pub(super) revision: u64,
    /// What it changed, by key.
    pub(super) events: Vec<Event>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(super) struct Event {
    /// The key.
    pub(super) key: String,
    /// `None`: deleted.
    pub(super) value: Option<String>,
    /// The version before; 0: there was none.
    pub(super) previous: u64,
    /// What etcd's model of data adds to a write.
    pub(super) meta: Option<Meta>,
}

/// What etcd's model of data adds to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(super) struct Meta {
    /// The revision that created the key.
    pub(super) create_revision: u64,
    /// How often it was written since then.
    pub(super) version: u64,
    /// The lease that it is tied to; 0: none.
    pub(super) lease: i64,
}

/// Places where something does not hold.
pub(super) type Violations = Vec<String>;

#[cfg(test)]
pub(super) mod examples {
    //! Histories in few words, for the tests of the checks.

    use super::{Event, Revision};
    use crate::faults::history::{Did, NEVER, Operation, Outcome};

    /// What a client did between two moments; a return of 0 is never.
    pub(crate) fn operation(did: Did, outcome: Outcome, called: u64, returned: u64) -> Operation {
        let returned = if returned == 0 { NEVER } else { returned };
        Operation { client: 1, key: "k".to_owned(), did, outcome, called, returned, at_ms: 0 }
    }

    /// A swap that took effect.
    pub(crate) fn swapped(
        expected: u64,
        value: &str,
        revision: u64,
        called: u64,
        returned: u64,
    ) -> Operation {
        let did = Did::Swap(expected, value.to_owned());
        operation(did, Outcome::Done(revision), called, returned)
    }

    /// A read of the key.
    pub(crate) fn read(version: u64, value: &str, revision: u64, called: u64, returned: u64) -> Operation {
        let found = Outcome::Found(version, value.to_owned(), revision);
        operation(Did::Get, found, called, returned)
    }

    /// A revision that changed the key.
    pub(crate) fn revision(revision: u64, value: Option<&str>, previous: u64) -> Revision {
        let value = value.map(str::to_owned);
        Revision { revision, events: vec![Event { key: "k".to_owned(), value, previous, meta: None }] }
    }
}
