//! The planted bugs by name.

use clap::ValueEnum;

/// A bug that the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bug {
    /// The log is written and not synced.
    SkipFsync,
    /// Entries are acknowledged before they are written.
    AcknowledgeEarly,
    /// Reads are served without a read index.
    ReadWithoutIndex,
    /// A record that comes back counts its versions anew.
    VersionReset,
    /// A delete leaves no tombstone.
    NoTombstone,
    /// The log is purged up to what was applied, flushed or not.
    PurgeBeforeFlush,
    /// The applied position is written apart from the data.
    PositionOutsideBatch,
    /// A compare-and-swap whose outcome is not known is tried again.
    RetryCompareAndSwap,
}

impl Bug {
    /// What it is called on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Switches a bug on in this process.
///
/// # Errors
/// When this build has none.
#[cfg(feature = "planted")]
pub(crate) fn plant(bug: Bug) -> anyhow::Result<()> {
    use flaredb_engine::planted as engine;
    use flaredb_raft::planted as raft;
    match bug {
        Bug::SkipFsync => raft::plant(raft::Bug::SkipFsync),
        Bug::AcknowledgeEarly => raft::plant(raft::Bug::AcknowledgeEarly),
        Bug::ReadWithoutIndex => raft::plant(raft::Bug::ReadWithoutIndex),
        Bug::PurgeBeforeFlush => raft::plant(raft::Bug::PurgeBeforeFlush),
        Bug::RetryCompareAndSwap => raft::plant(raft::Bug::RetryProposal),
        Bug::VersionReset => engine::plant(engine::Bug::VersionReset),
        Bug::NoTombstone => engine::plant(engine::Bug::NoTombstone),
        Bug::PositionOutsideBatch => engine::plant(engine::Bug::PositionOutsideBatch),
    }
    Ok(())
}

/// Switches a bug on in this process.
///
/// # Errors
/// When this build has none.
#[cfg(not(feature = "planted"))]
pub(crate) fn plant(_bug: Bug) -> anyhow::Result<()> {
    check_built()
}

/// Whether there are bugs to switch on. A run without them would end as if it had found one.
///
/// # Errors
/// When this build has none.
pub(crate) fn check_built() -> anyhow::Result<()> {
    anyhow::ensure!(cfg!(feature = "planted"), "no bug is in this build; build with `--features planted`");
    Ok(())
}
