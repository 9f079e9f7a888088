//! Bugs that a simulation can switch on, to prove that it would find them. Only with the feature `planted`.

/// A mistake that a host of replicas could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log is written and not synced.
    SkipFsync,
    /// Entries are acknowledged before they are written.
    AcknowledgeEarly,
    /// Reads are served without asking whether this replica is up to date.
    ReadWithoutIndex,
    /// The log is purged up to what was applied, flushed or not.
    PurgeBeforeFlush,
    /// A proposal whose outcome is not known is proposed again.
    RetryProposal,
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
