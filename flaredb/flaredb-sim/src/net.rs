//! The network between the nodes and their clients: everything that is on its way, and what becomes of it.
//!
//! It carries what gRPC would: calls with one request and one answer, and streams of frames in both directions. A call
//! may be late, lost, repeated or overtaken by another. A stream, being a connection, is in order; what is lost on it
//! comes later, or the stream breaks. Cuts have a direction.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use flaredb_raft::simulation::http::{HeaderMap, Uri};
use tokio::sync::{mpsc, oneshot};

use crate::{
    dice::Dice,
    frontend::{Answer, Ask},
    trace::Trace,
};

/// The clients' address; nodes have their id.
pub(crate) const CLIENTS: u64 = 0;
/// What may wait at one end.
const QUEUE_MAX: usize = 8192;
/// After this long in vain an end gives a connection up, as keep-alives make it.
const SILENCE_MS: u64 = 4000;
/// After this long what was lost on a connection is sent again.
const RESEND_MS: u64 = 200;

/// The head of a call.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

/// The connection broke.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

pub(crate) type ReplyTo = oneshot::Sender<Result<Reply, Broken>>;

/// What arrives at a node.
pub(crate) enum Inbound {
    Call { from: u64, head: Head, body: Bytes, reply: Option<ReplyTo> },
    Stream { head: Head, id: u64, frames: mpsc::Receiver<Frame> },
    Ask { ask: Ask, reply: oneshot::Sender<Answer> },
    Stop,
}

/// A piece of a stream.
#[derive(Debug)]
pub(crate) enum Frame {
    /// The headers of the answer.
    Headers(HeaderMap),
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Reset,
}

/// Which end of a stream something goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Caller = 0,
    Callee = 1,
}

impl End {
    fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

struct Stream {
    ends: [u64; 2],
    queues: [mpsc::Sender<Frame>; 2],
    last_due_ms: [u64; 2],
    broken: bool,
}

enum Delivery {
    Inbound { to: u64, inbound: Inbound },
    Reply { reply: ReplyTo, content: Result<Reply, Broken> },
    Answer { reply: oneshot::Sender<Answer>, answer: Answer },
    Frame { stream: u64, to: End, frame: Frame },
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inbound { to, inbound: Inbound::Call { from, head, body, .. } } => {
                write!(f, "{from}>{to} {} {}", head.uri.path(), body.len())
            }
            Self::Inbound { to, inbound: Inbound::Stream { id, .. } } => write!(f, ">{to} opens {id}"),
            Self::Inbound { to, inbound: Inbound::Ask { ask, .. } } => write!(f, ">{to} {ask}"),
            Self::Inbound { to, inbound: Inbound::Stop } => write!(f, ">{to} stop"),
            Self::Reply { content: Ok(reply), .. } => write!(f, "reply {}", reply.body.len()),
            Self::Reply { content: Err(Broken), .. } => write!(f, "broken"),
            Self::Answer { answer, .. } => write!(f, "answer {answer}"),
            Self::Frame { stream, to, frame: Frame::Data(bytes) } => {
                write!(f, "stream {stream} {to:?} {}", bytes.len())
            }
            Self::Frame { stream, to, .. } => write!(f, "stream {stream} {to:?}"),
        }
    }
}

/// How well the network works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quality {
    pub(crate) lost_permille: u64,
    pub(crate) repeated_permille: u64,
    pub(crate) delay_ms_max: u64,
}

impl Quality {
    pub(crate) const GOOD: Self = Self { lost_permille: 0, repeated_permille: 0, delay_ms_max: 3 };
}

struct Inner {
    now_ms: u64,
    dice: Dice,
    trace: Trace,
    quality: Quality,
    cuts: BTreeSet<(u64, u64)>,
    inboxes: BTreeMap<u64, mpsc::Sender<Inbound>>,
    streams: BTreeMap<u64, Stream>,
    streams_opened: u64,
    on_the_way: BTreeMap<(u64, u64), Delivery>,
    sent: u64,
}

/// The network. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Net(Arc<Mutex<Inner>>);

/// What becomes of a message.
enum Fate {
    Arrives(u64),
    Lost,
    /// There is no way, and the sender does not hear so.
    Cut,
}

impl Inner {
    fn fate(&mut self, from: u64, to: u64) -> Fate {
        let up = |node| node == CLIENTS || self.inboxes.contains_key(&node);
        if self.cuts.contains(&(from, to)) || !up(from) {
            return Fate::Cut;
        }
        if self.dice.permille(self.quality.lost_permille) {
            return Fate::Lost;
        }
        Fate::Arrives(self.now_ms + self.dice.within(1, self.quality.delay_ms_max))
    }

    fn put(&mut self, due_ms: u64, delivery: Delivery) {
        self.sent += 1;
        self.on_the_way.insert((due_ms, self.sent), delivery);
    }

    /// Tells who waits that the connection broke, or leaves it to its own deadline.
    fn lose(&mut self, reply: ReplyTo) {
        if self.dice.permille(500) {
            let due_ms = self.now_ms + self.dice.within(1, 300);
            self.put(due_ms, Delivery::Reply { reply, content: Err(Broken) });
        }
    }

    fn reset(&mut self, stream: u64, to: End, due_ms: u64) {
        self.put(due_ms, Delivery::Frame { stream, to, frame: Frame::Reset });
    }

    fn send_frame(&mut self, id: u64, to: End, frame: Frame) -> bool {
        let Some(stream) = self.streams.get(&id).filter(|stream| !stream.broken) else { return false };
        let (sender, receiver) = (stream.ends[to.other() as usize], stream.ends[to as usize]);
        let last_ms = stream.last_due_ms[to as usize];
        let due_ms = match self.fate(sender, receiver) {
            Fate::Arrives(due_ms) => due_ms,
            Fate::Lost => self.now_ms + RESEND_MS,
            Fate::Cut => {
                self.break_stream(id, SILENCE_MS);
                return false;
            }
        };
        let due_ms = due_ms.max(last_ms);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.last_due_ms[to as usize] = due_ms;
        }
        self.put(due_ms, Delivery::Frame { stream: id, to, frame });
        true
    }

    fn break_stream(&mut self, id: u64, after_ms: u64) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.broken) else { return };
        stream.broken = true;
        let due_ms = self.now_ms + after_ms;
        self.reset(id, End::Caller, due_ms);
        self.reset(id, End::Callee, due_ms);
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.trace.note(format_args!("{delivery}"));
        match delivery {
            Delivery::Inbound { to, inbound } => self.deliver_inbound(to, inbound),
            // Who no longer waits has given up.
            Delivery::Reply { reply, content } => drop(reply.send(content)),
            Delivery::Answer { reply, answer } => drop(reply.send(answer)),
            Delivery::Frame { stream: id, to, frame } => {
                let last = matches!(frame, Frame::Reset);
                let Some(stream) = self.streams.get(&id) else { return };
                let taken = stream.queues[to as usize].try_send(frame).is_ok();
                if last && to == End::Callee {
                    self.streams.remove(&id);
                } else if !taken {
                    self.break_stream(id, 1);
                }
            }
        }
    }

    fn deliver_inbound(&mut self, to: u64, inbound: Inbound) {
        let stream = match &inbound {
            Inbound::Stream { id, .. } => Some(*id),
            _ => None,
        };
        let refused = match self.inboxes.get(&to) {
            Some(inbox) => inbox.try_send(inbound).err().map(|error| match error {
                mpsc::error::TrySendError::Full(inbound) | mpsc::error::TrySendError::Closed(inbound) => {
                    inbound
                }
            }),
            None => Some(inbound),
        };
        let Some(refused) = refused else { return };
        if let Some(id) = stream {
            self.break_stream(id, 1);
        }
        if let Inbound::Call { reply: Some(reply), .. } = refused {
            self.lose(reply);
        }
    }
}

impl Net {
    pub(crate) fn new(dice: Dice, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            now_ms: 0,
            dice,
            trace,
            quality: Quality::GOOD,
            cuts: BTreeSet::new(),
            inboxes: BTreeMap::new(),
            streams: BTreeMap::new(),
            streams_opened: 0,
            on_the_way: BTreeMap::new(),
            sent: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_quality(&self, quality: Quality) {
        self.lock().quality = quality;
    }

    pub(crate) fn cut(&self, from: u64, to: u64) {
        self.lock().cuts.insert((from, to));
    }

    pub(crate) fn heal(&self) {
        self.lock().cuts.clear();
    }

    /// A node runs from now on; returns where it finds what arrives.
    pub(crate) fn up(&self, node: u64) -> mpsc::Receiver<Inbound> {
        let (inbox, arriving) = mpsc::channel(QUEUE_MAX);
        self.lock().inboxes.insert(node, inbox);
        arriving
    }

    /// A node runs no longer. Its kernel says so to its peers, or it is silent like the rest of it.
    pub(crate) fn down(&self, node: u64, silent: bool) {
        let mut inner = self.lock();
        inner.inboxes.remove(&node);
        let of_node = |(id, stream): (&u64, &Stream)| stream.ends.contains(&node).then_some(*id);
        let broken: Vec<u64> = inner.streams.iter().filter_map(of_node).collect();
        for id in broken {
            let after_ms = if silent { SILENCE_MS } else { inner.dice.within(1, 10) };
            inner.break_stream(id, after_ms);
        }
    }

    /// Brings what is due.
    pub(crate) fn deliver(&self, now_ms: u64) {
        let mut inner = self.lock();
        inner.now_ms = now_ms;
        while let Some(first) = inner.on_the_way.first_entry().filter(|first| first.key().0 <= now_ms) {
            let delivery = first.remove();
            inner.deliver(delivery);
        }
    }

    /// Sends a call on its way.
    pub(crate) fn call(&self, ends: (u64, u64), head: Head, body: Bytes, reply: ReplyTo) {
        let (from, to) = ends;
        let mut inner = self.lock();
        match inner.fate(from, to) {
            Fate::Arrives(due_ms) => {
                let repeated_permille = inner.quality.repeated_permille;
                if inner.dice.permille(repeated_permille) {
                    let again_ms = due_ms + inner.dice.below(50);
                    let again = Inbound::Call { from, head: head.clone(), body: body.clone(), reply: None };
                    inner.put(again_ms, Delivery::Inbound { to, inbound: again });
                }
                let inbound = Inbound::Call { from, head, body, reply: Some(reply) };
                inner.put(due_ms, Delivery::Inbound { to, inbound });
            }
            Fate::Lost => inner.lose(reply),
            Fate::Cut => {}
        }
    }

    pub(crate) fn reply(&self, ends: (u64, u64), reply: ReplyTo, content: Reply) {
        let mut inner = self.lock();
        match inner.fate(ends.0, ends.1) {
            Fate::Arrives(due_ms) => inner.put(due_ms, Delivery::Reply { reply, content: Ok(content) }),
            Fate::Lost => inner.lose(reply),
            Fate::Cut => {}
        }
    }

    /// Asks a node something in a client's name.
    pub(crate) fn ask(&self, to: u64, ask: Ask) -> oneshot::Receiver<Answer> {
        let (reply, answered) = oneshot::channel();
        let mut inner = self.lock();
        if let Fate::Arrives(due_ms) = inner.fate(CLIENTS, to) {
            inner.put(due_ms, Delivery::Inbound { to, inbound: Inbound::Ask { ask, reply } });
        }
        answered
    }

    pub(crate) fn answer(&self, from: u64, reply: oneshot::Sender<Answer>, answer: Answer) {
        let mut inner = self.lock();
        if let Fate::Arrives(due_ms) = inner.fate(from, CLIENTS) {
            inner.put(due_ms, Delivery::Answer { reply, answer });
        }
    }

    /// Asks a node to stop in order.
    pub(crate) fn stop(&self, node: u64) {
        let mut inner = self.lock();
        let due_ms = inner.now_ms;
        inner.put(due_ms, Delivery::Inbound { to: node, inbound: Inbound::Stop });
    }

    /// Opens a stream; returns its number and what comes back on it.
    pub(crate) fn open(&self, ends: (u64, u64), head: Head) -> (u64, mpsc::Receiver<Frame>) {
        let (to_callee, frames) = mpsc::channel(QUEUE_MAX);
        let (to_caller, answers) = mpsc::channel(QUEUE_MAX);
        let mut inner = self.lock();
        inner.streams_opened += 1;
        let id = inner.streams_opened;
        let (queues, now_ms) = ([to_caller, to_callee], inner.now_ms);
        let stream = Stream { ends: [ends.0, ends.1], queues, last_due_ms: [now_ms; 2], broken: false };
        inner.streams.insert(id, stream);
        match inner.fate(ends.0, ends.1) {
            Fate::Arrives(due_ms) => {
                if let Some(stream) = inner.streams.get_mut(&id) {
                    stream.last_due_ms[End::Callee as usize] = due_ms;
                }
                inner.put(
                    due_ms,
                    Delivery::Inbound { to: ends.1, inbound: Inbound::Stream { head, id, frames } },
                );
            }
            Fate::Lost => inner.break_stream(id, RESEND_MS),
            Fate::Cut => inner.break_stream(id, SILENCE_MS),
        }
        (id, answers)
    }

    /// Sends a piece of a stream; false if the stream is broken.
    pub(crate) fn send_frame(&self, stream: u64, to: End, frame: Frame) -> bool {
        self.lock().send_frame(stream, to, frame)
    }
}
