//! Proposals on their way to the Raft core, those that wait together as one batch.
//!
//! A few batches are under way at a time, and what comes meanwhile waits for the next one. So a single writer never
//! waits, and many share whatever costs the same for one entry as for a hundred: the messages between the core and
//! the log, the sync, the messages to the peers, the apply, and all the threads that wake for them. There is no timer
//! in this but one: a batch that takes very long, because a peer is away or the disk is, lets the next one go, so that
//! nobody waits behind it to be told that this node does not lead.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use openraft::{
    base::BoxStream,
    errors::{ClientWriteError, Fatal, ForwardToLeader},
    raft::WriteResult,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};

use super::{Replica, leader_of};
use crate::{entry::Command, error::ProposeError, types::TypeConfig};

/// Proposals that may wait; more wait in their callers.
const WAITING_MAX: usize = 4096;
/// Proposals of one batch.
const BATCH_MAX: usize = 1024;
/// Batches under way: while one is written and sent, the one before it is applied and answered.
const UNDER_WAY_MAX: usize = 2;
/// A batch that is under way for longer no longer holds up the next one.
const HOLD_MAX: Duration = Duration::from_millis(50);
/// A request is read by the task of its connection and proposed by a task of its own. What is ready goes through both
/// before a batch is taken: nothing on an idle node, and on a busy one the next requests of those who were answered a
/// moment ago.
const TASKS_BEFORE_QUEUE: u32 = 2;

type Answer = oneshot::Sender<Result<Bytes, ProposeError>>;

/// A command, and who waits for its outcome.
#[derive(Debug)]
pub(crate) struct Proposal {
    command: Command,
    answer: Answer,
}

/// Where proposals wait.
pub(crate) type Waiting = mpsc::Sender<Proposal>;

/// Where batches find them.
pub(crate) type Queue = mpsc::Receiver<Proposal>;

pub(crate) fn queue() -> (Waiting, Queue) {
    mpsc::channel(WAITING_MAX)
}

/// Proposes batches until the replica stops.
pub(crate) async fn serve(replica: Arc<Replica>, mut waiting: Queue) {
    let stop = replica.stop.clone();
    let gate = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let batches = async {
        while let Ok(place) = Arc::clone(&gate).acquire_owned().await {
            let proposals = gather(&mut waiting, BATCH_MAX).await;
            if proposals.is_empty() {
                return;
            }
            submit(&replica, proposals, place).await;
        }
    };
    tokio::select! {
        () = batches => {}
        () = stop.cancelled() => {}
    }
}

/// What waits, at most `max` of it, as soon as there is something; nothing once the queue is closed.
async fn gather<T>(waiting: &mut mpsc::Receiver<T>, max: usize) -> Vec<T> {
    let mut gathered = Vec::new();
    if waiting.recv_many(&mut gathered, 1).await > 0 {
        for _ in 0..TASKS_BEFORE_QUEUE {
            tokio::task::yield_now().await;
        }
        while gathered.len() < max
            && let Ok(next) = waiting.try_recv()
        {
            gathered.push(next);
        }
    }
    gathered
}

async fn submit(replica: &Replica, proposals: Vec<Proposal>, place: OwnedSemaphorePermit) {
    // Who has given up is told nothing, and what was never proposed did not happen.
    let wanted = proposals.into_iter().filter(|proposal| !proposal.answer.is_closed());
    let (commands, answers): (Vec<_>, Vec<_>) =
        wanted.map(|proposal| (proposal.command, proposal.answer)).unzip();
    if commands.is_empty() {
        return;
    }
    // Dropped answers say that the replica has stopped.
    let Ok(written) = replica.raft.client_write_many(commands).await else { return };
    let stop = replica.stop.clone();
    replica.tasks.spawn(async move {
        tokio::select! {
            () = answer_all(written, answers, place) => {}
            () = stop.cancelled() => {}
        }
    });
}

type Written = BoxStream<'static, Result<WriteResult<TypeConfig>, Fatal<TypeConfig>>>;

async fn answer_all(written: Written, answers: Vec<Answer>, place: OwnedSemaphorePermit) {
    let mut answering = pin!(hand_out(written, answers));
    if timeout(HOLD_MAX, &mut answering).await.is_err() {
        drop(place);
        answering.await;
    }
}

/// Hands out the outcomes, which come in the order of the proposals.
async fn hand_out(mut written: Written, answers: Vec<Answer>) {
    for answer in answers {
        let Some(Ok(outcome)) = written.next().await else { return };
        // Who no longer waits has given up.
        let _unheard = answer.send(outcome.map(|written| written.response).map_err(refused));
    }
}

fn refused(error: ClientWriteError<TypeConfig>) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => not_leader(forward),
        _ => ProposeError::Indeterminate,
    }
}

fn not_leader(forward: ForwardToLeader<TypeConfig>) -> ProposeError {
    match leader_of(forward) {
        (None, _) => ProposeError::Unavailable,
        (id, endpoint) => ProposeError::NotLeader { id, endpoint },
    }
}

impl Replica {
    pub(super) async fn propose(&self, command: &Bytes) -> Result<Bytes, ProposeError> {
        let outcome = async {
            let (answer, answered) = oneshot::channel();
            let proposal = Proposal { command: Command::new(command), answer };
            self.proposals.send(proposal).await.map_err(|_stopped| ProposeError::Stopped)?;
            answered.await.map_err(|_stopped| ProposeError::Stopped)?
        };
        let outcome = timeout(self.timing().propose_timeout, outcome).await;
        outcome.map_err(|_late| ProposeError::Indeterminate)?
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn what_tasks_that_are_ready_hand_in_is_gathered_up_to_the_bound() {
        let (queue, mut waiting) = mpsc::channel(8);
        let mut tasks = JoinSet::new();
        for number in 0..4 {
            let queue = queue.clone();
            tasks.spawn(async move { queue.send(number).await });
        }
        assert_eq!(gather(&mut waiting, 3).await, [0, 1, 2]);
        assert_eq!(gather(&mut waiting, 3).await, [3]);
        drop(queue);
        tasks.join_all().await.into_iter().for_each(Result::unwrap);
        assert!(gather(&mut waiting, 3).await.is_empty());
    }
}
