//! A watch: every revision of a range, whole, once, in order, over lost connections and new leaders.
//!
//! The stream remembers the first revision that it has not delivered and asks for it wherever it connects next. It ends
//! only with an error that another connection does not cure.
//!
//! A server says by itself only every ten minutes that it is there, so the watch asks when it has heard nothing for a
//! while. What etcd answers then proves that the connection lives and nothing else: its versions before 3.4.25 and 3.5.8
//! send that answer past events that wait, so the revision in it says nothing about what was delivered.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        WatchCreateRequest, WatchProgressRequest, WatchRequest as Asked, WatchResponse,
        watch_client::WatchClient, watch_request::RequestUnion,
    },
};
use futures::{Stream, StreamExt as _, stream};
use photon_dial::{Node, pause, words};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    Client, Error, Revision,
    client::Plan,
    kv::revision,
    outcome::{self, Outcome},
    revisions::Joiner,
};

/// Largest answer that is read. Larger ones come in fragments, unless one event alone is larger.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A connection that has said nothing for so long is asked whether it lives.
const ASK_AFTER: Duration = Duration::from_millis(2_500);
/// Questions without an answer after which it is taken for dead.
const QUESTIONS_MAX: u32 = 4;
/// Of what is not one watch's: an answer to a question about all.
const EVERY_WATCH: i64 = -1;
/// One creation and the questions that were not taken yet.
const WAITING_MAX: usize = 8;

/// What is watched.
#[derive(Debug, Clone)]
pub struct WatchRequest {
    /// Whose changes are delivered.
    pub range: KeyRange,
    /// The first revision that is; 0: what is written after the watch was opened.
    pub from: i64,
    /// Whether events carry the record before.
    pub prev_kv: bool,
}

/// Revisions as they happen. A revision without events is progress: everything up to it has been delivered; one comes
/// every few seconds while nothing happens. An error is the last item; [`Error::TooOld`]: history was forgotten
/// meanwhile, read anew.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<Revision, Error>> + Send>>);

impl Stream for Watch {
    type Item = Result<Revision, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Client {
    /// Opens a watch.
    ///
    /// # Errors
    /// Any [`Error`] but an unknown outcome; [`Error::TooOld`], here or in the stream, when history does not reach back
    /// so far.
    pub async fn watch(&self, request: WatchRequest) -> Result<Watch, Error> {
        // "Now" must be one moment, also when the first connection is lost before it has said which.
        let from = if request.from > 0 { request.from } else { self.revision().await? + 1 };
        let mut watching = Watching {
            client: self.clone(),
            request,
            joiner: Joiner::from(from),
            ready: VecDeque::new(),
            open: None,
            losses: 0,
        };
        watching.open = Some(watching.connect().await?);
        Ok(Watch(Box::pin(stream::unfold(Some(watching), step))))
    }
}

/// A connection of a watch.
struct Open {
    node: Arc<Node<()>>,
    id: i64,
    answers: Streaming<WatchResponse>,
    questions: mpsc::Sender<Asked>,
    unanswered: u32,
}

/// A watch that is polled.
struct Watching {
    client: Client,
    request: WatchRequest,
    joiner: Joiner,
    ready: VecDeque<Revision>,
    open: Option<Open>,
    /// Connections lost since the last answer.
    losses: u32,
}

/// What came of a connection.
enum Came {
    Answer(WatchResponse),
    Silence,
    End(Status),
}

/// An error is the stream's last item.
async fn step(watching: Option<Watching>) -> Option<(Result<Revision, Error>, Option<Watching>)> {
    let mut watching = watching?;
    match watching.next().await {
        Ok(revision) => Some((Ok(revision), Some(watching))),
        Err(error) => Some((Err(error), None)),
    }
}

impl Watching {
    async fn next(&mut self) -> Result<Revision, Error> {
        loop {
            if let Some(revision) = self.ready.pop_front() {
                return Ok(revision);
            }
            let Some(open) = &mut self.open else {
                self.reconnect().await?;
                continue;
            };
            match open.next().await {
                Came::Answer(answer) => {
                    self.losses = 0;
                    open.unanswered = 0;
                    self.take(answer)?;
                }
                Came::Silence => self.ask()?,
                Came::End(status) => self.lost(&status)?,
            }
        }
    }

    fn take(&mut self, answer: WatchResponse) -> Result<(), Error> {
        let Some(open) = &self.open else { return Ok(()) };
        if answer.canceled {
            return self.cancelled(&answer);
        }
        let at = revision(answer.header.as_ref());
        if answer.watch_id == EVERY_WATCH {
            let revision = at.min(self.joiner.delivered());
            self.ready.push_back(Revision { revision, events: Vec::new() });
        } else if answer.events.is_empty() && !answer.created && !answer.fragment {
            self.ready.extend(self.joiner.progress(at));
        } else {
            let endpoint = &open.node.address;
            let whole = self.joiner.take(answer);
            self.ready.extend(whole.map_err(|error| Error::protocol(endpoint, error.to_string()))?);
        }
        Ok(())
    }

    fn cancelled(&mut self, answer: &WatchResponse) -> Result<(), Error> {
        let (requested, reason) = (self.joiner.delivered() + 1, answer.cancel_reason.clone());
        if answer.compact_revision > 0 {
            return Err(Error::TooOld { requested, oldest: answer.compact_revision });
        }
        if reason.contains("permission denied") {
            return Err(Error::Denied { message: reason });
        }
        self.lost(&Status::unavailable(format!("the watch was cancelled: {reason}")))
    }

    fn ask(&mut self) -> Result<(), Error> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.unanswered >= QUESTIONS_MAX {
            return self.lost(&Status::unavailable("the stream is silent"));
        }
        open.unanswered += 1;
        let question = RequestUnion::ProgressRequest(WatchProgressRequest {});
        // One that finds no room is one of several that nobody has taken; their time runs out as well.
        if let Err(full) = open.questions.try_send(Asked { request_union: Some(question) }) {
            tracing::debug!(error = %full, "a watch cannot ask");
        }
        Ok(())
    }

    /// Connects at the first revision that was not delivered.
    async fn connect(&mut self) -> Result<Open, Error> {
        let (key, range_end) = self.request.range.clone().into_request();
        let from = self.joiner.resume();
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: from,
            progress_notify: true,
            prev_kv: self.request.prev_kv,
            fragment: true,
            ..WatchCreateRequest::default()
        };
        let plan = Plan::READ.at(from).streaming();
        let (node, created) = self.client.call_node(plan, create, open).await?;
        let Created { first, answers, questions } = created;
        let open = Open { node, id: first.watch_id, answers, questions, unanswered: 0 };
        if first.canceled {
            self.open = Some(open);
            self.cancelled(&first)?;
            return Err(Error::NotNow { message: first.cancel_reason });
        }
        Ok(open)
    }

    async fn reconnect(&mut self) -> Result<(), Error> {
        if let Some(round) = self.losses.checked_sub(2) {
            // The first reconnection is at once: most often another node is there.
            sleep(pause(round, rand::random())).await;
        }
        match self.connect().await {
            Ok(open) => self.open = Some(open),
            Err(error) if error.is_definite() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a watch cannot reconnect yet");
                self.losses = self.losses.saturating_add(1);
            }
        }
        Ok(())
    }

    fn lost(&mut self, status: &Status) -> Result<(), Error> {
        let Some(Open { node, .. }) = self.open.take() else { return Ok(()) };
        let asked = outcome::Asked { revision: self.joiner.delivered() + 1, read: true };
        match outcome::of(status, &node.address, asked) {
            // The next connection gets another token.
            Outcome::Refused(error) if !outcome::needs_token(status) => return Err(error),
            _ => {}
        }
        tracing::debug!(node = node.address, words = words(status), "a watch lost its connection");
        self.client.leave(&node);
        self.losses = self.losses.saturating_add(1);
        Ok(())
    }
}

impl Open {
    async fn next(&mut self) -> Came {
        loop {
            match timeout(ASK_AFTER, self.answers.message()).await {
                Ok(Ok(Some(answer))) if self.is_mine(&answer) => return Came::Answer(answer),
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return Came::End(Status::unavailable("the stream ended")),
                Ok(Err(status)) => return Came::End(status),
                Err(_elapsed) => return Came::Silence,
            }
        }
    }

    fn is_mine(&self, answer: &WatchResponse) -> bool {
        answer.watch_id == self.id || answer.watch_id == EVERY_WATCH
    }
}

/// A watch that a node has created.
struct Created {
    first: WatchResponse,
    answers: Streaming<WatchResponse>,
    questions: mpsc::Sender<Asked>,
}

/// Opens a stream for one watch, and reads what the node says to that.
async fn open(channel: Channel, request: Request<WatchCreateRequest>) -> Result<Response<Created>, Status> {
    let (questions, waiting) = mpsc::channel(WAITING_MAX);
    let request = request.map(|create| {
        let create = Asked { request_union: Some(RequestUnion::CreateRequest(create)) };
        stream::iter([create]).chain(ReceiverStream::new(waiting))
    });
    let mut client = WatchClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut answers = client.watch(request).await?.into_inner();
    match answers.message().await? {
        Some(first) if first.created => Ok(Response::new(Created { first, answers, questions })),
        _ => Err(Status::unavailable("the stream did not begin with the watch's creation")),
    }
}
