//! The way of a command into the log: let in or refused, counted, proposed.

use std::sync::Arc;

use bytes::Bytes;
use flaredb_raft::{Group, ProposeError};

use crate::{
    admission::{Busy, Entered, Writes},
    metrics::{Counted, Metrics},
    quarantine::Quarantine,
    space::{Closed, Room},
};

/// Why a command has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum NotProposed {
    /// What this replica would answer is not to be trusted; another node will lead in a moment. It did not happen.
    #[error("this replica is quarantined")]
    Quarantined,
    /// There is no room for it. It did not happen.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// Too much is under way. It did not happen.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Consensus did not bring it about, or does not know.
    #[error(transparent)]
    Failed(#[from] ProposeError),
}

/// Where a region's commands go into its log.
#[derive(Debug)]
pub struct Proposals {
    pub(crate) group: Group,
    pub(crate) writes: Writes,
    pub(crate) room: Arc<Room>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) metrics: Metrics,
}

impl Proposals {
    /// Proposes a command here and returns what the state machine answered. `makes_room`: it is small and lets
    /// something be forgotten, so it is let in on a full disk as well. `encode` gives its `bytes` once it is let in.
    ///
    /// # Errors
    /// [`NotProposed`]; only [`ProposeError::Indeterminate`] and [`ProposeError::Stopped`] leave open whether it
    /// happened.
    pub async fn propose(
        &self,
        makes_room: bool,
        bytes: usize,
        encode: impl FnOnce() -> Bytes,
    ) -> Result<Bytes, NotProposed> {
        let _under_way = self.enter(makes_room, bytes).await?;
        Ok(self.group.propose(encode()).await?)
    }

    /// Like [`Proposals::propose`], at whichever node leads.
    ///
    /// # Errors
    /// As [`Proposals::propose`].
    pub async fn propose_anywhere(
        &self,
        makes_room: bool,
        bytes: usize,
        encode: impl FnOnce() -> Bytes,
    ) -> Result<Bytes, NotProposed> {
        let _under_way = self.enter(makes_room, bytes).await?;
        Ok(self.group.propose_anywhere(encode()).await?)
    }

    async fn enter(&self, makes_room: bool, bytes: usize) -> Result<(Entered<'_>, Counted), NotProposed> {
        if self.quarantine.is_active() {
            return Err(NotProposed::Quarantined);
        }
        self.room.admit(makes_room).inspect_err(|_full| self.metrics.refused_for_space())?;
        let entered = self.writes.enter(bytes, &self.metrics).await;
        let entered = entered.inspect_err(|_busy| self.metrics.refused_for_number())?;
        Ok((entered, self.metrics.proposal()))
    }
}
