//! Batches of many callers through one stream to a node.
//!
//! A call of its own costs more than a small write does, on both sides. So batches that are under way together at a node
//! share a stream (`KvCas.CommitEach`), which is opened when there are several. A batch that finds no place in a stream is
//! a call of its own: the stream is never the only way, and opening it never delays a write.
//!
//! What callers are told is what a call would have told them. A node answers in order what it takes from a stream, and
//! one that ends a stream as it should has taken nothing beyond its last answer. So a batch without an answer did not
//! happen if it was never sent or the stream ended well, and may have happened if the stream was lost.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flaredb_proto::v1::{CommitOutcome, CommitRequest, CommitResponse};
use futures::{Stream, stream};
use photon_dial::words;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use tonic::{Code, Request, Response, Status, Streaming, transport::Channel};

use crate::{RdbClient, client::Node, commits, strong::strong};

/// Batches in a stream, as many as a node works on at once. What is more goes by calls, which a node that has too much
/// to do refuses, where a stream would only let them wait.
const PLACES: usize = 64;

/// How long a node is left alone after it would not open a stream.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

type Answer = Result<Response<CommitResponse>, Status>;

/// The way of batches to one node.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// Batches under way at the node, in the stream or not.
    under_way: AtomicUsize,
    line: Arc<Mutex<Line>>,
    /// The stream's task, and those of streams that are ending.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
enum Line {
    #[default]
    Closed,
    Opening,
    Open(Open),
    /// The node would not open one.
    Refused(Instant),
}

/// An open stream.
#[derive(Debug)]
struct Open {
    batches: mpsc::Sender<Batch>,
    taken: Arc<Taken>,
}

#[derive(Debug)]
struct Batch {
    request: CommitRequest,
    answer: oneshot::Sender<Answer>,
}

/// The batches that the stream has sent and the node has not answered.
#[derive(Debug, Default)]
struct Taken(Mutex<Unanswered>);

#[derive(Debug, Default)]
struct Unanswered {
    /// Who waits, in the order of sending.
    answers: VecDeque<oneshot::Sender<Answer>>,
    /// Nothing more may be sent.
    over: bool,
}

/// Ends a stream whose task was dropped, with its runtime.
struct Ended<'a>(&'a Taken);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.end(&lost("its task was dropped"));
    }
}

/// A batch that is under way, counted.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RdbClient {
    /// Commits a batch at a node; `told` is how long the node may take.
    pub(crate) async fn commit_at(
        &self,
        node: &Node,
        batch: CommitRequest,
        told: Option<Duration>,
    ) -> Answer {
        let beside_others = node.own.under_way.fetch_add(1, Ordering::Relaxed) > 0;
        let _under_way = UnderWay(&node.own.under_way);
        match self.enter(node, batch, beside_others) {
            // Nobody dropped it but the stream, before it sent the batch.
            Ok(answered) => answered.await.unwrap_or_else(|_dropped| Err(not_taken())),
            Err(batch) => strong(node.channel()).commit(self.request(batch, told)).await,
        }
    }

    /// Puts a batch into the node's stream, or gives it back; where others are under way beside it, the stream is opened
    /// for those to come.
    fn enter(
        &self,
        node: &Node,
        batch: CommitRequest,
        beside_others: bool,
    ) -> Result<oneshot::Receiver<Answer>, CommitRequest> {
        let mut line = locked(&node.own.line);
        match &*line {
            Line::Open(open) => match open.send(batch) {
                Ok(answered) => return Ok(answered),
                Err((batch, false)) => return Err(batch),
                Err((batch, true)) => {
                    *line = Line::Closed;
                    return Err(batch);
                }
            },
            Line::Opening => {}
            Line::Refused(until) if *until > Instant::now() => {}
            Line::Closed | Line::Refused(_) if !beside_others => {}
            Line::Closed | Line::Refused(_) => {
                *line = Line::Opening;
                node.own.open(node.channel(), self.request((), None));
            }
        }
        Err(batch)
    }
}

impl Pipe {
    fn open(&self, channel: Channel, request: Request<()>) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(open(Arc::clone(&self.line), channel, request));
    }
}

impl Open {
    /// Gives a batch back when there is no place, and says whether there will never be one.
    fn send(&self, request: CommitRequest) -> Result<oneshot::Receiver<Answer>, (CommitRequest, bool)> {
        let (over, sent) = self.taken.state();
        let waiting = self.batches.max_capacity() - self.batches.capacity();
        if over || sent + waiting >= PLACES {
            return Err((request, over));
        }
        let (answer, answered) = oneshot::channel();
        match self.batches.try_send(Batch { request, answer }) {
            Ok(()) => Ok(answered),
            Err(mpsc::error::TrySendError::Full(batch)) => Err((batch.request, false)),
            Err(mpsc::error::TrySendError::Closed(batch)) => Err((batch.request, true)),
        }
    }
}

/// Opens a stream and hands out its answers until it ends.
async fn open(line: Arc<Mutex<Line>>, channel: Channel, request: Request<()>) {
    let (batches, waiting) = mpsc::channel(PLACES);
    let taken = Arc::new(Taken::default());
    let requests = requests(waiting, Arc::clone(&taken));
    match strong(channel).commit_each(request.map(|()| requests)).await {
        Ok(opened) => {
            *locked(&line) = Line::Open(Open { batches, taken: Arc::clone(&taken) });
            let _ended = Ended(&taken);
            let end = taken.hand_out(opened.into_inner()).await;
            taken.end(&end);
        }
        Err(status) => {
            tracing::debug!(error = %words(&status), "no stream of writes; each is a call");
            *locked(&line) = Line::Refused(Instant::now() + REOPEN_PAUSE);
        }
    }
}

/// The batches that wait, each noted as taken before it is sent.
fn requests(waiting: mpsc::Receiver<Batch>, taken: Arc<Taken>) -> impl Stream<Item = CommitRequest> {
    stream::unfold((waiting, taken), |(mut waiting, taken)| async move {
        loop {
            let batch = waiting.recv().await?;
            // Who has given up is not sent for.
            if batch.answer.is_closed() {
                continue;
            }
            return taken.note(batch.answer).then_some((batch.request, (waiting, taken)));
        }
    })
}

impl Taken {
    /// Whether it is over, and how many have no answer yet.
    fn state(&self) -> (bool, usize) {
        let unanswered = locked(&self.0);
        (unanswered.over, unanswered.answers.len())
    }

    /// Notes who waits for the batch that is sent next; false: nothing may be sent any more.
    fn note(&self, answer: oneshot::Sender<Answer>) -> bool {
        let mut unanswered = locked(&self.0);
        if !unanswered.over {
            unanswered.answers.push_back(answer);
        }
        !unanswered.over
    }

    /// Hands out answers until there are no more; returns what that says of batches without one.
    async fn hand_out(&self, mut outcomes: Streaming<CommitOutcome>) -> Status {
        loop {
            match outcomes.message().await {
                Ok(Some(outcome)) => {
                    if !self.answer(commits::answer(outcome)) {
                        return lost("an answer to nothing");
                    }
                }
                Ok(None) if commits::ended_well(&mut outcomes).await => return not_taken(),
                Ok(None) => return lost("it ended without a status"),
                Err(status) => return lost(&words(&status)),
            }
        }
    }

    /// Answers the batch that was sent first; false: there is none.
    fn answer(&self, answer: Answer) -> bool {
        let mut unanswered = locked(&self.0);
        // A node that does not lead, or not for much longer, refuses what comes behind it as well.
        unanswered.over |= answer.as_ref().is_err_and(|status| status.code() == Code::Unavailable);
        // Who no longer waits has given up.
        unanswered.answers.pop_front().map(|waiting| drop(waiting.send(answer))).is_some()
    }

    /// Nothing is sent any more, and what was sent gets no other answer than this.
    fn end(&self, status: &Status) {
        let mut unanswered = locked(&self.0);
        unanswered.over = true;
        for waiting in unanswered.answers.drain(..) {
            drop(waiting.send(Err(status.clone())));
        }
    }
}

/// Did not happen.
fn not_taken() -> Status {
    Status::unavailable("the stream of writes ended before this one was taken")
}

/// May have happened.
fn lost(why: &str) -> Status {
    Status::unknown(format!("the stream of writes was lost: {why}"))
}
