//! One stream of proposals to the leader of a region, and how the leader answers it.
//!
//! What waits together travels in one message, and so do the outcomes that are there together. A stream that fails ends
//! [`run`]: what it had taken is dropped without an answer, which says that nobody knows, and what it had not taken
//! says by itself that it did not happen.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, future, stream};
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::{channels::Lane, client::Network};
use crate::{
    entry::COMMAND_BYTES_MAX,
    error::ProposeError,
    group::{
        Group, Leadership,
        forward::{Queue, Sent, Unsent},
    },
    proto::v1::{self, forwarded_outcome::Outcome},
};

/// Proposals of one message; their bytes are bounded too.
const MESSAGE_PROPOSALS_MAX: usize = 256;
/// Proposals of one stream under way at the leader.
const UNDER_WAY_MAX: usize = 1024;

type UnderWay = Arc<Mutex<BTreeMap<u64, Sent>>>;

/// Where a stream goes, and who knows whether it still should.
pub(crate) struct To<'a> {
    pub(crate) leader: u64,
    pub(crate) endpoint: &'a str,
    pub(crate) leadership: watch::Receiver<Leadership>,
}

/// Sends what waits in `queue` and hands out the outcomes, until another node leads, nobody can fill the queue any more,
/// or the stream fails.
pub(crate) async fn run(network: &Network, to: To<'_>, queue: Queue) {
    let (region_id, leader) = (network.region_id, to.leader);
    if let Err(status) = exchange(network, to, queue).await {
        tracing::debug!(region_id, leader, %status, "a stream of forwarded proposals was lost");
    }
}

async fn exchange(network: &Network, to: To<'_>, queue: Queue) -> Result<(), Status> {
    let To { leader, endpoint, leadership } = to;
    let client = network.channels.client(endpoint, Lane::Log);
    let mut client = client.map_err(|error| Status::unavailable(error.to_string()))?;
    let under_way = UnderWay::default();
    let route = Some(network.route(leader));
    let mine = Arc::clone(&under_way);
    let requests = Requests { queue, leader, leadership, held: None, route, next_id: 0, under_way: mine };
    let answers = client.forward(stream::unfold(requests, Requests::next)).await?;
    let mut answers = answers.into_inner();
    while let Some(message) = answers.message().await? {
        let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        for v1::ForwardedOutcome { id, outcome } in message.outcomes {
            if let Some(sent) = under_way.remove(&id) {
                sent.answer(decode(outcome));
            }
        }
    }
    Ok(())
}

/// What goes out on a stream.
struct Requests {
    queue: Queue,
    leader: u64,
    leadership: watch::Receiver<Leadership>,
    /// Taken from the queue, and too large for the message before.
    held: Option<Unsent>,
    route: Option<v1::Route>,
    next_id: u64,
    under_way: UnderWay,
}

impl Requests {
    async fn next(mut self) -> Option<(v1::ForwardRequest, Self)> {
        loop {
            let first = match self.held.take() {
                Some(held) => held,
                None => self.recv().await?,
            };
            let proposals = self.gather(first);
            if !proposals.is_empty() {
                return Some((v1::ForwardRequest { route: self.route.take(), proposals }, self));
            }
        }
    }

    /// What waits next; nothing once another node leads, so that the one that did is not kept from ending.
    async fn recv(&mut self) -> Option<Unsent> {
        let leader = Some(self.leader);
        tokio::select! {
            next = self.queue.recv() => return next,
            _changed = self.leadership.wait_for(|known| known.leader != leader) => {}
        }
        self.queue.close();
        self.queue.recv().await
    }

    /// What waits, as far as it fits into one message.
    fn gather(&mut self, first: Unsent) -> Vec<v1::ForwardedProposal> {
        let (mut proposals, mut bytes) = (Vec::new(), 0_usize);
        let mut next = Some(first);
        while let Some(unsent) = next {
            bytes = bytes.saturating_add(unsent.bytes());
            if !proposals.is_empty() && bytes > COMMAND_BYTES_MAX {
                self.held = Some(unsent);
                break;
            }
            proposals.extend(self.send(unsent));
            next = if proposals.len() < MESSAGE_PROPOSALS_MAX { self.queue.try_recv().ok() } else { None };
        }
        proposals
    }

    fn send(&mut self, unsent: Unsent) -> Option<v1::ForwardedProposal> {
        let (command, sent) = unsent.take()?;
        self.next_id += 1;
        let id = self.next_id;
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sent);
        Some(v1::ForwardedProposal { id, command })
    }
}

/// The outcomes of one stream.
pub(crate) type Outcomes = Pin<Box<dyn Stream<Item = Result<v1::ForwardResponse, Status>> + Send>>;

/// Proposes what comes on a stream, the first message of which is already here.
pub(crate) fn propose_all(
    group: Group,
    first: v1::ForwardRequest,
    rest: Streaming<v1::ForwardRequest>,
) -> Outcomes {
    // A message that cannot be read ends the stream; what was proposed before is answered.
    let messages = stream::iter([Ok(first)]).chain(rest).take_while(|message| future::ready(message.is_ok()));
    let proposals = messages.filter_map(|message| future::ready(message.ok()));
    let proposals = proposals.flat_map(|message| stream::iter(message.proposals));
    let outcomes = proposals.map(move |proposal| propose(group.clone(), proposal));
    let outcomes = outcomes.buffer_unordered(UNDER_WAY_MAX).ready_chunks(MESSAGE_PROPOSALS_MAX);
    outcomes.map(|outcomes| Ok(v1::ForwardResponse { outcomes })).boxed()
}

async fn propose(group: Group, proposal: v1::ForwardedProposal) -> v1::ForwardedOutcome {
    let outcome = encode(group.propose_forwarded(proposal.command).await);
    v1::ForwardedOutcome { id: proposal.id, outcome: Some(outcome) }
}

fn encode(outcome: Result<Bytes, ProposeError>) -> Outcome {
    let failure = match outcome {
        Ok(answer) => return Outcome::Answer(answer),
        Err(ProposeError::NotLeader { .. } | ProposeError::Unavailable) => v1::ForwardFailure::NotLeader,
        Err(ProposeError::NoSpace) => v1::ForwardFailure::NoSpace,
        // The sender has checked the size; to be unsure is never wrong.
        Err(ProposeError::Indeterminate | ProposeError::Stopped | ProposeError::TooLarge { .. }) => {
            v1::ForwardFailure::Unspecified
        }
    };
    Outcome::Failure(failure.into())
}

fn decode(outcome: Option<Outcome>) -> Result<Bytes, ProposeError> {
    match outcome {
        Some(Outcome::Answer(answer)) => Ok(answer),
        Some(Outcome::Failure(failure)) => Err(match v1::ForwardFailure::try_from(failure) {
            Ok(v1::ForwardFailure::NotLeader) => ProposeError::Unavailable,
            Ok(v1::ForwardFailure::NoSpace) => ProposeError::NoSpace,
            Ok(v1::ForwardFailure::Unspecified) | Err(_) => ProposeError::Indeterminate,
        }),
        None => Err(ProposeError::Indeterminate),
    }
}
