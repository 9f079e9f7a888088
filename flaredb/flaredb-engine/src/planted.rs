//! Bugs that a simulation can switch on, to prove that it would find them. Only with the feature `planted`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A mistake that a state machine could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A record that comes back counts its versions anew.
    VersionReset,
    /// A delete leaves nothing behind.
    NoTombstone,
    /// The position is written apart from the data that it stands for.
    PositionOutsideBatch,
}

#[cfg(feature = "planted")]
static PLANTED: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();

/// Switches a bug on, for the rest of the process; one at most.
#[cfg(feature = "planted")]
pub fn plant(bug: Bug) {
    PLANTED.get_or_init(|| bug);
}

#[cfg(feature = "planted")]
pub(crate) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(&bug)
}

/// Whether a bug is switched on.
#[cfg(not(feature = "planted"))]
pub(crate) const fn has(_bug: Bug) -> bool {
    false
}

type Row = (Vec<u8>, Vec<u8>);

static LATE: Mutex<BTreeMap<PathBuf, Row>> = Mutex::new(BTreeMap::new());

/// The position that is written with a batch: its own; with the bug, that of the batch before it.
pub(crate) fn position(database: &Path, applied: Row) -> Option<Row> {
    match has(Bug::PositionOutsideBatch) {
        true => LATE.lock().unwrap_or_else(PoisonError::into_inner).insert(database.to_owned(), applied),
        false => Some(applied),
    }
}
