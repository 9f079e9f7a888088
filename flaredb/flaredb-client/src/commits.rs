//! Many batches through one stream: what bulk writers use, to whom the cost of a call for each batch matters.
//!
//! Nothing is sent again behind the caller's back: the stream stays with one leader, and when that is gone, every batch
//! without an answer may or may not have happened. Batches with idempotency ids can be sent again.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use flaredb_proto::v1::{CommitFailure, CommitOutcome, CommitRequest, CommitResponse, commit_outcome};
use futures::{Stream, stream};
use photon_dial::words;
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::{
    Error, NodeError, RdbClient, check,
    client::Plan,
    outcome::{self, Outcome},
    strong::{committed, strong},
};

/// Batches that wait to be sent; more wait in their callers.
const WAITING_MAX: usize = 64;

/// Opening a stream changes nothing.
const PLAN: Plan = Plan { stream: true, ..Plan::READ };

/// The revisions of a stream's batches, in the order in which they were sent.
///
/// The error of one batch does not stop the others. After [`Error::Unavailable`] the node may not lead any more: open
/// another stream. As the last item it says that no batch without an answer before it has happened. [`Error::Indeterminate`] as the last item speaks for every batch that has had no answer before it.
pub struct Commits(Pin<Box<dyn Stream<Item = Result<u64, Error>> + Send>>);

impl Stream for Commits {
    type Item = Result<u64, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Commits {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Commits").finish_non_exhaustive()
    }
}

/// Where the batches of a stream go in. When it is dropped, the stream ends once all are answered.
#[derive(Debug)]
pub struct CommitSender {
    requests: mpsc::Sender<CommitRequest>,
    sent: Arc<AtomicU64>,
}

impl CommitSender {
    /// Sends a batch, when there is room for it.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::TooLarge`] for a batch that would be refused, [`Error::Unavailable`] when the
    /// stream has ended; it was not sent then.
    pub async fn send(&self, request: CommitRequest) -> Result<(), Error> {
        check::batch(&request)?;
        let sent = self.requests.send(request).await;
        sent.map_err(|_ended| unavailable(String::new(), "the stream has ended".to_owned()))?;
        self.sent.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

impl RdbClient {
    /// Opens a stream of batches at the leader. At most 64 of them are under way, in no promised order.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict or an unknown outcome.
    pub async fn commit_each(&self) -> Result<(CommitSender, Commits), Error> {
        let send = |channel, request: Request<()>| async move {
            let (requests, waiting) = mpsc::channel(WAITING_MAX);
            let opened = strong(channel).commit_each(request.map(|()| stream::unfold(waiting, next))).await?;
            Ok(opened.map(|answers| (requests, answers)))
        };
        let (node, (requests, answers)) = self.call_node(PLAN, (), send).await?;
        let sent = Arc::new(AtomicU64::new(0));
        let open = Open { endpoint: node.address.clone(), answers, answered: 0, sent: Arc::clone(&sent) };
        Ok((CommitSender { requests, sent }, Commits(Box::pin(stream::unfold(Some(open), step)))))
    }
}

async fn next<T>(mut waiting: mpsc::Receiver<T>) -> Option<(T, mpsc::Receiver<T>)> {
    Some((waiting.recv().await?, waiting))
}

/// A stream that is answered.
struct Open {
    endpoint: String,
    answers: Streaming<CommitOutcome>,
    answered: u64,
    sent: Arc<AtomicU64>,
}

async fn step(open: Option<Open>) -> Option<(Result<u64, Error>, Option<Open>)> {
    let mut open = open?;
    match open.answers.message().await {
        Ok(Some(outcome)) => {
            open.answered += 1;
            Some((read(outcome, &open.endpoint), Some(open)))
        }
        Ok(None) if open.all_answered() => None,
        Ok(None) => {
            let message = "the stream ended".to_owned();
            let well = ended_well(&mut open.answers).await;
            let error = if well { unavailable(open.endpoint, message) } else { open.lost(message) };
            Some((Err(error), None))
        }
        Err(status) => Some((Err(open.lost(words(&status))), None)),
    }
}

impl Open {
    fn all_answered(&self) -> bool {
        self.answered >= self.sent.load(Ordering::Acquire)
    }

    fn lost(&self, message: String) -> Error {
        if self.all_answered() {
            return unavailable(self.endpoint.clone(), message);
        }
        Error::Indeterminate { source: NodeError { endpoint: self.endpoint.clone(), message } }
    }
}

fn unavailable(endpoint: String, message: String) -> Error {
    Error::Unavailable { source: NodeError { endpoint, message } }
}

/// Whether the node, and nobody else, has ended the stream: then it has taken nothing but what it answered.
pub(crate) async fn ended_well(answers: &mut Streaming<CommitOutcome>) -> bool {
    matches!(answers.trailers().await, Ok(Some(_)))
}

/// The answer that a call of its own would have brought.
pub(crate) fn answer(outcome: CommitOutcome) -> Result<Response<CommitResponse>, Status> {
    match outcome.outcome {
        Some(commit_outcome::Outcome::Answer(answer)) => Ok(Response::new(answer)),
        Some(commit_outcome::Outcome::Failure(failure)) => Err(status(failure)),
        None => Err(Status::unknown("an outcome of no known kind")),
    }
}

fn status(failure: CommitFailure) -> Status {
    let details = failure.detail.map(|detail| detail.encode_to_vec()).unwrap_or_default();
    Status::with_details(Code::from_i32(failure.code), failure.message, details.into())
}

fn read(outcome: CommitOutcome, endpoint: &str) -> Result<u64, Error> {
    match answer(outcome) {
        Ok(answer) => committed(answer.into_inner()),
        Err(status) => Err(failed(&status, endpoint)),
    }
}

fn failed(status: &Status, endpoint: &str) -> Error {
    let source = || NodeError { endpoint: endpoint.to_owned(), message: words(status) };
    match outcome::of(status, endpoint) {
        Outcome::Refused(error) => error,
        Outcome::Unknown => Error::Indeterminate { source: source() },
        Outcome::Redirected(_) | Outcome::Unreachable | Outcome::Unavailable | Outcome::Busy => {
            Error::Unavailable { source: source() }
        }
    }
}
