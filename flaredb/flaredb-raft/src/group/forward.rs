//! Proposals at any replica: those of a follower go to the leader, many on one stream.
//!
//! A proposal waits here until its stream takes it, so it is known which ones were never sent: they did not happen, and
//! go to whoever leads next. What a lost stream had taken and nobody answered may have happened, and is never sent
//! again. Proposals of a node that wait or are under way are bounded; more wait in their callers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{Group, Leadership, Replica, Role};
use crate::{entry::COMMAND_BYTES_MAX, error::ProposeError, transport::forward};

/// Proposals that wait or are under way to another node.
const FORWARDED_MAX: usize = 4096;
/// Pause before a leader that does not say who leads is asked again.
const RETRY_DELAY: Duration = Duration::from_millis(20);

type Answer = oneshot::Sender<Result<Bytes, ProposeError>>;

/// Who waits for the outcome of a proposal that was sent. Dropped, it says that the outcome is not known.
#[derive(Debug)]
pub(crate) struct Sent {
    answer: Answer,
    _place: OwnedSemaphorePermit,
}

impl Sent {
    pub(crate) fn answer(self, outcome: Result<Bytes, ProposeError>) {
        // Who no longer waits has given up.
        let _unheard = self.answer.send(outcome);
    }
}

/// A proposal that no stream has taken yet. Dropped, it says that it did not happen.
#[derive(Debug)]
pub(crate) struct Unsent {
    command: Bytes,
    sent: Option<Sent>,
}

impl Unsent {
    pub(crate) fn bytes(&self) -> usize {
        self.command.len()
    }

    /// Hands the proposal to a stream; nothing if nobody waits for it any more.
    pub(crate) fn take(mut self) -> Option<(Bytes, Sent)> {
        let sent = self.sent.take().filter(|sent| !sent.answer.is_closed())?;
        Some((std::mem::take(&mut self.command), sent))
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(sent) = self.sent.take() {
            sent.answer(Err(ProposeError::Unavailable));
        }
    }
}

/// Where a stream finds what it is to take.
pub(crate) type Queue = mpsc::Receiver<Unsent>;

/// The streams of one region to its leaders: one, or two while the leader changes.
#[derive(Debug)]
pub(crate) struct Forwards {
    places: Arc<Semaphore>,
    stream: Mutex<Option<(u64, mpsc::Sender<Unsent>)>>,
}

impl Default for Forwards {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(FORWARDED_MAX)), stream: Mutex::default() }
    }
}

impl Forwards {
    /// The way to `leader`. A stream to an earlier one takes no more, and ends when all that it took is answered.
    fn to(&self, replica: &Arc<Replica>, leader: u64, endpoint: &str) -> mpsc::Sender<Unsent> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((to, queue)) = &*stream
            && *to == leader
            && !queue.is_closed()
        {
            return queue.clone();
        }
        let (queue, waiting) = mpsc::channel(FORWARDED_MAX);
        replica.tasks.spawn(run(Arc::clone(replica), leader, endpoint.to_owned(), waiting));
        *stream = Some((leader, queue.clone()));
        queue
    }
}

async fn run(replica: Arc<Replica>, leader: u64, endpoint: String, waiting: Queue) {
    let endpoint = replica.network.addresses.of(leader).unwrap_or(endpoint);
    let to = forward::To { leader, endpoint: &endpoint, leadership: replica.leadership.clone() };
    tokio::select! {
        () = forward::run(&replica.network, to, waiting) => {}
        () = replica.stop.cancelled() => {}
    }
}

impl Replica {
    async fn forward(
        self: &Arc<Self>,
        leader: u64,
        endpoint: &str,
        command: &Bytes,
    ) -> Result<Bytes, ProposeError> {
        let place = Arc::clone(&self.forwards.places).acquire_owned().await;
        let place = place.map_err(|_closed| ProposeError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        let sent = Some(Sent { answer, _place: place });
        let queue = self.forwards.to(self, leader, endpoint);
        // A queue that has closed drops it, which is its answer.
        drop(queue.send(Unsent { command: command.clone(), sent }).await);
        answered.await.map_err(|_lost| ProposeError::Indeterminate)?
    }
}

impl Group {
    /// Replicates a command, wherever the leader is, and returns what the state machine answered. While nobody leads it
    /// waits, at most as long as a proposal may take.
    ///
    /// # Errors
    /// As [`Group::propose`].
    pub async fn propose_anywhere(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: command.len(), bytes_max: COMMAND_BYTES_MAX });
        }
        let deadline = Instant::now() + self.0.timing().propose_timeout;
        let mut leadership = self.watch_leadership();
        loop {
            let known = leadership.borrow_and_update().clone();
            let outcome = timeout_at(deadline, self.propose_at(&known, &command)).await;
            match outcome.map_err(|_late| ProposeError::Indeterminate)? {
                Err(error @ (ProposeError::NotLeader { .. } | ProposeError::Unavailable)) => {
                    // It did not happen: whoever leads next may be asked.
                    timeout_at(deadline, next_leader(&mut leadership)).await.map_err(|_late| error)?;
                }
                outcome => return outcome,
            }
        }
    }

    async fn propose_at(&self, known: &Leadership, command: &Bytes) -> Result<Bytes, ProposeError> {
        match (known.role, known.leader, &known.endpoint) {
            (Role::Leader, ..) => self.propose(command.clone()).await,
            (Role::Stopped, ..) => Err(ProposeError::Stopped),
            (_, Some(leader), Some(endpoint)) => self.0.forward(leader, endpoint, command).await,
            _ => Err(ProposeError::Unavailable),
        }
    }

    /// Proposes what came from another node.
    pub(crate) async fn propose_forwarded(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        self.0.machine.admit(&command)?;
        self.propose(command).await
    }
}

/// Waits for news of who leads; a leader that cannot lead yet, or not any more, is asked again after a moment.
async fn next_leader(leadership: &mut watch::Receiver<Leadership>) {
    tokio::select! {
        _news = leadership.changed() => {}
        () = tokio::time::sleep(RETRY_DELAY) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(places: &Arc<Semaphore>) -> (Unsent, oneshot::Receiver<Result<Bytes, ProposeError>>) {
        let (answer, answered) = oneshot::channel();
        let place = Arc::clone(places).try_acquire_owned().unwrap();
        (Unsent { command: Bytes::from("x"), sent: Some(Sent { answer, _place: place }) }, answered)
    }

    #[tokio::test]
    async fn proposal_that_no_stream_took_did_not_happen_and_one_that_was_lost_is_left_open() {
        let places = Arc::new(Semaphore::new(2));
        let (unsent, answered) = proposal(&places);
        drop(unsent);
        assert_eq!(answered.await.unwrap(), Err(ProposeError::Unavailable));
        let (unsent, answered) = proposal(&places);
        drop(unsent.take().unwrap());
        assert!(answered.await.is_err(), "nobody knows");
    }

    #[test]
    fn proposal_holds_its_place_until_it_is_answered_even_when_nobody_waits_for_it() {
        let places = Arc::new(Semaphore::new(1));
        let (unsent, answered) = proposal(&places);
        let (_command, sent) = unsent.take().unwrap();
        drop(answered);
        assert_eq!(places.available_permits(), 0);
        sent.answer(Ok(Bytes::new()));
        assert_eq!(places.available_permits(), 1);
    }

    #[test]
    fn proposal_that_nobody_waits_for_is_not_sent() {
        let (unsent, answered) = proposal(&Arc::new(Semaphore::new(1)));
        drop(answered);
        assert!(unsent.take().is_none());
    }
}
