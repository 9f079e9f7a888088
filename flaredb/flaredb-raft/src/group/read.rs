//! Linearizable reads at any replica, without a log entry (Raft thesis §6.4).
//!
//! Reads that wait at the same time share one round: the leader confirms with a quorum that it still leads, a
//! follower asks the leader to. The index of that round is then waited for locally. A read that arrives while a
//! round is under way waits for the next one, because the present one may have been answered before it.
//!
//! Leases are not used: they would trust clocks.

use std::{sync::Arc, time::Duration};

use openraft::{
    ReadPolicy,
    errors::{LinearizableReadError, RaftError},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::Replica;
use crate::{
    error::ReadError,
    planted::{self, Bug},
    types::position,
};

/// Reads that may wait for a round.
const WAITING_MAX: usize = 4096;
/// Pause after a round that found no leader.
const RETRY_DELAY: Duration = Duration::from_millis(20);

type Answer = oneshot::Sender<Result<u64, ReadError>>;

/// Where reads wait.
pub(crate) type Waiting = mpsc::Sender<Answer>;

/// Where rounds find them.
pub(crate) type Queue = mpsc::Receiver<Answer>;

pub(crate) fn queue() -> (Waiting, Queue) {
    mpsc::channel(WAITING_MAX)
}

/// Serves rounds until the replica stops.
pub(crate) async fn serve(replica: Arc<Replica>, mut waiting: Queue) {
    let stop = replica.stop.clone();
    let rounds = async {
        let mut answers = Vec::new();
        while waiting.recv_many(&mut answers, WAITING_MAX).await > 0 {
            let index = replica.round().await;
            replica.metrics.read_index_rounds.inc();
            for answer in answers.drain(..) {
                // Who no longer waits has given up.
                let _unheard = answer.send(index.clone());
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop.cancelled() => {}
    }
}

impl Replica {
    pub(super) async fn read_index(&self) -> Result<u64, ReadError> {
        if planted::has(Bug::ReadWithoutIndex) {
            return Ok(*self.machine.watch_applied().borrow());
        }
        let deadline = Instant::now() + self.timing().read_timeout;
        let read = async {
            let index = self.confirmed_index().await?;
            let mut applied = self.machine.watch_applied();
            applied.wait_for(|applied| *applied >= index).await.map_err(|_closed| ReadError::Stopped)?;
            Ok(index)
        };
        tokio::select! {
            read = tokio::time::timeout_at(deadline, read) => read.map_err(|_late| ReadError::Unavailable)?,
            () = self.stop.cancelled() => Err(ReadError::Stopped),
        }
    }

    /// Joins rounds until one succeeds.
    async fn confirmed_index(&self) -> Result<u64, ReadError> {
        loop {
            let (answer, answered) = oneshot::channel();
            self.reads.send(answer).await.map_err(|_stopped| ReadError::Stopped)?;
            match answered.await.map_err(|_stopped| ReadError::Stopped)? {
                Err(ReadError::Unavailable) => tokio::time::sleep(RETRY_DELAY).await,
                answer => return answer,
            }
        }
    }

    async fn round(&self) -> Result<u64, ReadError> {
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(position(Some(linearizer.read_log_id().log_id()))),
            Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ReadError::Unavailable)
            }
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                let (Some(leader), Some(node)) = (forward.leader_id, forward.leader_node) else {
                    return Err(ReadError::Unavailable);
                };
                let asked = self.network.read_index(leader, &node.addr).await;
                asked.map_err(|status| {
                    tracing::debug!(region_id = self.region_id, leader, %status, "no read index");
                    ReadError::Unavailable
                })
            }
        }
    }
}
