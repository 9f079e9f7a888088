//! Verdicts: what the node that leads makes of gossip's hearsay, and the only part of ChainFire that writes them.
//!
//! While this node leads, a `Judge` takes the hints. It has the node in question asked over another way than gossip's, a
//! call to its process over TCP and TLS, several times; what it decides goes through the log, from this node's own
//! leadership alone, and comes back by the registry, which is read anew for each decision. Who votes in consensus is no
//! business of it.

mod metrics;
mod records;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chainfire_client::registry::{self, Catalog};
use chainfire_gossip::{Event, Judge, Metadata, NodeId, Question, Rules, Status, Step, Verdict};
use chainfire_proto::{
    etcdserverpb::{DeleteRangeRequest, PutRequest},
    v1::{IdentifyRequest, gossip_client::GossipClient},
};
use chainfire_store::internal::{Caller, Outcome, command::Request};
use photon_runtime::errors::chain;
use prost::Message as _;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tonic::transport::Channel;

pub(crate) use self::metrics::Metrics;
use self::records::{census, down, names};
use crate::{
    commands::{command, makes_room},
    gossip::{Gossip, now_ms},
    node::Node,
    status,
};

/// The registry is looked at as often at least: a proposal of which nobody heard may have been committed after all.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A verdict on a node that nobody names any more is taken out after this; gossip forgets as late.
const FORGOTTEN_AFTER_MS: u64 = 3_600_000;

/// Where verdicts are made.
#[derive(Debug, Clone)]
pub(crate) struct Court {
    node: Arc<Node>,
    gossip: Arc<Gossip>,
    rules: Rules,
    metrics: Metrics,
    began: Instant,
}

/// One term of this node's leadership.
#[derive(Debug)]
struct Session {
    term: u64,
    judge: Judge,
    questions: JoinSet<(Question, bool)>,
    proposals: JoinSet<()>,
    /// Nodes that are down and were told to be kept for their services' sake.
    withheld: BTreeSet<NodeId>,
    /// The registry is to be looked at, whether or not anything is due.
    fresh: bool,
    looked_at: Instant,
}

impl Court {
    pub(crate) fn new(node: Arc<Node>, gossip: Arc<Gossip>, metrics: Metrics) -> Self {
        Self { node, gossip, rules: Rules::default(), metrics, began: Instant::now() }
    }

    /// Judges for as long as gossip runs, whenever this node leads.
    pub(crate) async fn sit(self, mut events: mpsc::Receiver<Event>) {
        let mut leadership = self.node.leadership.clone();
        let mut session = None;
        loop {
            self.take_office(&mut session);
            self.deliberate(&mut session).await;
            let event = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => Some(event),
                    None => return,
                },
                changed = leadership.changed() => match changed {
                    Ok(()) => None,
                    Err(_stopped) => return,
                },
                () = self.turn(&mut session) => None,
            };
            if let Some((session, event)) = session.as_mut().zip(event) {
                session.hear(self.now(), event);
            }
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A new term of this node begins with what gossip says by now; with another's, everything is dropped.
    fn take_office(&self, session: &mut Option<Session>) {
        let term = self.node.leads().then(|| self.node.leadership.borrow().term);
        if session.as_ref().map(|session| session.term) == term {
            return;
        }
        *session = term.map(|term| {
            let mut judge = Judge::new(self.rules.clone());
            let members = self.gossip.members();
            let failed = members.iter().filter(|member| member.status == Status::Failed);
            failed.for_each(|member| judge.hint(self.now(), member.identity.node));
            Session {
                term,
                judge,
                questions: JoinSet::new(),
                proposals: JoinSet::new(),
                withheld: BTreeSet::new(),
                fresh: true,
                looked_at: Instant::now(),
            }
        });
    }

    /// Waits for an answer or for the time to look again.
    async fn turn(&self, session: &mut Option<Session>) {
        let Some(session) = session else { return std::future::pending().await };
        let wake_at = session.judge.step_at().map(|at| self.began + at);
        let wake = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(answer) = session.questions.join_next() => match answer {
                Ok((question, true)) => session.judge.answered(self.began.elapsed(), question),
                Ok((question, false)) => session.judge.silent(self.began.elapsed(), question),
                Err(error) => tracing::error!(%error, "a question to a node was not asked"),
            },
            // What was committed is a case from now on, also of a node that is back already and has none.
            Some(_proposed) = session.proposals.join_next() => session.fresh = true,
            () = tokio::time::sleep_until(session.looked_at + LOOK_EVERY) => session.fresh = true,
            () = wake => {}
        }
    }

    /// Does what the judge wants by now.
    async fn deliberate(&self, session: &mut Option<Session>) {
        let Some(session) = session else { return };
        let due = session.judge.step_at().is_some_and(|at| at <= self.now());
        if !due && !session.fresh {
            return;
        }
        match self.read().await {
            Ok(catalog) => self.carry_out(session, &catalog),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the registry cannot be read; nobody is judged");
                tokio::time::sleep(self.rules.spacing).await;
            }
        }
    }

    fn carry_out(&self, session: &mut Session, catalog: &Catalog) {
        (session.fresh, session.looked_at) = (false, Instant::now());
        let members = self.gossip.members();
        let named = members.iter().filter_map(|member| {
            member.metadata.as_ref().map(|metadata| (member.identity.node, metadata.name()))
        });
        let names = names(catalog, named);
        let places = members.iter().filter_map(|member| {
            let place = member.metadata.as_ref().map(Metadata::addresses)?.first()?;
            Some((member.identity.node, *place))
        });
        let places: BTreeMap<_, _> = places.collect();
        for step in session.judge.step(self.now(), &census(catalog), &down(catalog)) {
            match step {
                Step::Ask(question) => {
                    // Who never told where it is cannot be asked, and is not condemned on hearsay alone.
                    if let Some(place) = places.get(&question.node) {
                        self.ask(session, question, *place);
                    }
                }
                Step::Propose(node, verdict) => {
                    session.withheld.remove(&node);
                    // Who leaves without a verdict leaves nothing behind.
                    let changes =
                        |name: &&String| verdict == Verdict::Failed || catalog.verdict(name).is_some();
                    if let Some(name) = names.get(&node).filter(changes) {
                        self.propose(session, name, verdict);
                    }
                }
                Step::Withheld(node, service) => self.withhold(session, node, &service),
            }
        }
        let forgotten =
            records::forgotten(catalog, now_ms().saturating_sub(FORGOTTEN_AFTER_MS), &names_of(&members));
        forgotten.iter().for_each(|name| self.propose(session, name, Verdict::Left));
    }

    fn ask(&self, session: &mut Session, question: Question, place: std::net::SocketAddr) {
        self.metrics.questions.inc();
        let scheme = if self.node.is_secure { "https" } else { "http" };
        let (timeout, url) = (self.rules.timeout, format!("{scheme}://{place}"));
        let channel = self.node.connector.channel(&url);
        session.questions.spawn(async move {
            let asked =
                async { identify(channel?).await.map_err(Box::<dyn std::error::Error + Send + Sync>::from) };
            match tokio::time::timeout(timeout, asked).await {
                Ok(Ok(id)) => (question, id == question.node.0),
                Ok(Err(error)) => {
                    tracing::debug!(url, %error, "a node did not answer");
                    (question, false)
                }
                Err(_elapsed) => (question, false),
            }
        });
    }

    fn withhold(&self, session: &mut Session, node: NodeId, service: &str) {
        self.metrics.withheld.inc();
        if session.withheld.insert(node) {
            tracing::warn!(%node, service, "a node is down and stays in the registry: too much of a service would go");
        }
    }

    fn propose(&self, session: &mut Session, name: &str, verdict: Verdict) {
        let key = registry::Verdict::key_of(name).into();
        let request = match verdict {
            Verdict::Failed => {
                let judge = self.gossip.name.clone();
                let record = registry::Verdict { node: name.to_owned(), since_ms: now_ms(), judge };
                match serde_json::to_vec(&record) {
                    Ok(value) => {
                        Request::Put(PutRequest { key, value: value.into(), ..PutRequest::default() })
                    }
                    Err(error) => return tracing::error!(%error, name, "a verdict cannot be written down"),
                }
            }
            Verdict::Alive | Verdict::Left => {
                Request::DeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() })
            }
        };
        let (node, metrics, name) = (Arc::clone(&self.node), self.metrics.clone(), name.to_owned());
        session.proposals.spawn(async move {
            match commit(&node, request).await {
                Ok(()) => {
                    metrics.verdicts.inc();
                    tracing::warn!(node = name, ?verdict, "a verdict was committed");
                }
                // The judge proposes it again for as long as it thinks so.
                Err(error) => tracing::warn!(node = name, ?verdict, %error, "a verdict was not committed"),
            }
        });
    }

    async fn read(&self) -> Result<Catalog, records::ReadError> {
        // So that nothing that was committed before is missed, and nobody judges who does not lead any more.
        self.node.hosted.group.read_index().await?;
        let (store, caller) = (self.node.store.clone(), caller(&self.node)?);
        let read = tokio::task::spawn_blocking(move || records::read(&store, &caller)).await;
        read.map_err(|_stopped| records::ReadError::Stopped)?
    }
}

impl Session {
    fn hear(&mut self, now: Duration, event: Event) {
        let node = event.node();
        match event {
            Event::FailedHint(_) => self.judge.hint(now, node),
            Event::Joined(_) | Event::Returned(_) => self.judge.returned(now, node),
            Event::Left(_) => self.judge.left(now, node),
            Event::Suspected(_) | Event::Refuted(_) | Event::MetadataChanged(_) => {}
        }
    }
}

/// Whom ChainFire itself acts as: where users are checked, as the one who may do everything.
fn caller(node: &Node) -> Result<Caller, chainfire_store::StoreError> {
    let auth = node.store.auth()?;
    Ok(match auth.enabled() {
        true => Caller { user: "root".to_owned(), auth_revision: auth.revision() },
        false => Caller::default(),
    })
}

/// Who answers at the other end.
async fn identify(channel: Channel) -> Result<u64, tonic::Status> {
    Ok(GossipClient::new(channel).identify(IdentifyRequest {}).await?.into_inner().id)
}

/// Through this node's own leadership: one that was deposed commits nothing.
async fn commit(node: &Node, request: Request) -> Result<(), tonic::Status> {
    let makes_room = makes_room(&request);
    let command = command(caller(node).map_err(status::unreadable)?, request);
    let (bytes, encode) = (command.encoded_len(), || command.encode_to_vec().into());
    let outcome = node.hosted.proposals.propose(makes_room, bytes, encode).await;
    let outcome = Outcome::decode(outcome.map_err(status::not_proposed)?);
    status::outcome(outcome.map_err(|error| status::storage(&error))?).map(drop)
}

fn names_of(members: &[chainfire_gossip::Member]) -> BTreeSet<&str> {
    members.iter().filter_map(|member| member.metadata.as_ref()).map(Metadata::name).collect()
}
