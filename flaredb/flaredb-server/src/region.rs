//! One region of this node: its replica of the state, its Raft group, and the rules for using the two together.
//!
//! Writes are proposals, bounded in number. Strong reads ask the group for a read index and then read the replica
//! directly, so that they never queue behind applies. Everything here belongs to one region; what belongs to the
//! node is in [`crate::node`].

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use bytes::Bytes;
use flaredb_engine::{Applied, EngineError, Entry, NamespaceInfo};
use flaredb_node::{Closed, Commands, Hosted, NotProposed};
use flaredb_proto::v1::{
    Conflict, FlareRequest, FlareResponse, NamespaceMode, Refused, flare_request::Command,
    flare_response::Outcome, refused::Reason,
};
use flaredb_raft::{ProposeError, ReadError, Role};
use prost::Message as _;

use crate::{
    session::Session,
    status::{Refusal, mode_name},
};

/// The region that holds every namespace until there are more.
pub(crate) const FIRST_REGION: u64 = 1;

/// One region on this node.
#[derive(Debug)]
pub(crate) struct Region(Arc<Hosted>);

impl Deref for Region {
    type Target = Hosted;

    fn deref(&self) -> &Hosted {
        &self.0
    }
}

/// What a region's replica makes of FlareDB's commands.
#[derive(Debug)]
pub(crate) struct FlareCommands(pub(crate) flaredb_engine::Region);

impl Commands for FlareCommands {
    fn state(&self) -> &flaredb_engine::Region {
        &self.0
    }

    fn apply(&self, entries: &[Entry<'_>], applied: Applied) -> Result<Vec<Bytes>, EngineError> {
        let responses = self.0.apply(entries, applied)?;
        Ok(responses.iter().map(|response| response.encode_to_vec().into()).collect())
    }
}

/// The regions of this node, by id.
#[derive(Debug, Clone)]
pub(crate) struct Regions(BTreeMap<u64, Arc<Region>>);

impl Regions {
    /// The regions given.
    pub(crate) fn new(regions: impl IntoIterator<Item = Arc<Region>>) -> Self {
        Self(regions.into_iter().map(|region| (region.id, region)).collect())
    }

    /// The region that holds a namespace. Today the first one holds all.
    pub(crate) fn of_namespace(&self, _name: &str) -> Result<&Arc<Region>, Refusal> {
        self.first()
    }

    /// The region that holds the namespaces' own records and the membership.
    pub(crate) fn first(&self) -> Result<&Arc<Region>, Refusal> {
        self.0.get(&FIRST_REGION).ok_or_else(|| Refusal::Unavailable("this node hosts no region".to_owned()))
    }

    /// All of them, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.0.values()
    }
}

/// What a write came to.
#[derive(Debug)]
pub(crate) enum Written {
    /// It took effect, at this revision or with this timestamp.
    Done(u64),
    /// Compares did not hold, and nothing was changed.
    Conflicts(Vec<Conflict>),
}

impl Region {
    /// What is hosted, as FlareDB understands it.
    pub(crate) fn new(hosted: Arc<Hosted>) -> Self {
        Self(hosted)
    }

    /// What is hosted, for what goes on beside the requests.
    pub(crate) fn hosted(&self) -> &Arc<Hosted> {
        &self.0
    }

    /// Proposes a command and waits for its outcome.
    ///
    /// # Errors
    /// Any [`Refusal`]; only [`Refusal::Indeterminate`] leaves open whether it happened.
    pub(crate) async fn propose(&self, command: Command) -> Result<Outcome, Refusal> {
        let makes_room = makes_room(&command);
        let request = FlareRequest { command: Some(command) };
        let bytes = request.encoded_len();
        let response = self.proposals.propose(makes_room, bytes, || request.encode_to_vec().into()).await?;
        let response = FlareResponse::decode(response).map_err(|error| Refusal::Storage(Box::new(error)))?;
        response.outcome.ok_or_else(|| unexpected("a proposal"))
    }

    /// Writes to a namespace of the given mode. `command` is made for the id that the name has at the moment.
    ///
    /// # Errors
    /// As [`Region::propose`].
    pub(crate) async fn write(
        &self,
        name: &str,
        mode: NamespaceMode,
        command: impl Fn(u32) -> Command,
    ) -> Result<Written, Refusal> {
        let namespace = self.namespace(name).await?;
        check_mode(&namespace, mode)?;
        match self.propose(command(namespace.id.0)).await? {
            Outcome::Refused(refused) if refused.reason() == Reason::NoSuchNamespace => {
                // The name may have got another id that this replica had not applied yet; nothing was written.
                self.read_index().await?;
                let renewed = self.known(name)?;
                check_mode(&renewed, mode)?;
                self.written(&renewed, self.propose(command(renewed.id.0)).await?)
            }
            outcome => self.written(&namespace, outcome),
        }
    }

    /// The namespace of that name, known here or to the leader.
    ///
    /// # Errors
    /// [`Refusal::NoNamespace`] once a leader has confirmed it.
    pub(crate) async fn namespace(&self, name: &str) -> Result<NamespaceInfo, Refusal> {
        if let Some(namespace) = self.state.namespace(name) {
            return Ok(namespace);
        }
        self.read_index().await?;
        self.known(name)
    }

    /// A Strong namespace, as of now: what is read from the replica after this is linearizable.
    ///
    /// # Errors
    /// When no leader with a quorum answers, or the namespace is none of that mode.
    pub(crate) async fn strong(&self, name: &str) -> Result<NamespaceInfo, Refusal> {
        self.read_index().await?;
        let namespace = self.known(name)?;
        check_mode(&namespace, NamespaceMode::Strong)?;
        Ok(namespace)
    }

    /// Waits until this replica holds everything that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] without a leader and its quorum.
    pub(crate) async fn read_index(&self) -> Result<u64, Refusal> {
        self.group.read_index().await.map_err(read_failed)
    }

    /// Refuses what only the leader does, and says who that is.
    ///
    /// # Errors
    /// [`Refusal::NotLeader`].
    pub(crate) fn check_leader(&self) -> Result<(), Refusal> {
        let known = self.group.watch_leadership().borrow().clone();
        if known.role == Role::Leader {
            return Ok(());
        }
        let (id, endpoint) = (known.leader.unwrap_or_default(), known.endpoint.unwrap_or_default());
        Err(Refusal::NotLeader { id, endpoint })
    }

    /// A token for what this replica holds now.
    pub(crate) fn session(&self) -> Session {
        Session { region: self.id, index: self.state.applied().index }
    }

    /// The namespace of that name, as this replica knows it.
    pub(crate) fn known(&self, name: &str) -> Result<NamespaceInfo, Refusal> {
        self.state.namespace(name).ok_or_else(|| Refusal::NoNamespace(name.to_owned()))
    }

    fn written(&self, namespace: &NamespaceInfo, outcome: Outcome) -> Result<Written, Refusal> {
        match outcome {
            Outcome::Done(version) => Ok(Written::Done(version)),
            Outcome::Conflicts(found) => Ok(Written::Conflicts(found.conflicts)),
            Outcome::Refused(refused) => Err(refusal(namespace, &refused)),
            Outcome::Namespace(_) => Err(unexpected("a write")),
        }
    }
}

/// Refuses a namespace that is not in `mode`.
pub(crate) fn check_mode(namespace: &NamespaceInfo, mode: NamespaceMode) -> Result<(), Refusal> {
    if namespace.mode == mode {
        return Ok(());
    }
    Err(wrong_mode(namespace))
}

fn wrong_mode(namespace: &NamespaceInfo) -> Refusal {
    Refusal::WrongMode { namespace: namespace.name.clone(), mode: mode_name(namespace.mode) }
}

/// Why the state machine did not apply a command about the namespace of that name.
pub(crate) fn refused(name: &str, refused: &Refused) -> Refusal {
    match refused.reason() {
        Reason::NoSuchNamespace => Refusal::NoNamespace(name.to_owned()),
        Reason::NamespaceExists => Refusal::NamespaceExists(name.to_owned()),
        Reason::Invalid => Refusal::invalid("command", refused.message.clone(), "a well-formed command"),
        _ => Refusal::NotNow(refused.message.clone()),
    }
}

/// Why the state machine did not apply a write to a namespace.
fn refusal(namespace: &NamespaceInfo, refused: &Refused) -> Refusal {
    match refused.reason() {
        Reason::WrongMode => wrong_mode(namespace),
        Reason::OutsideKeyPrefix => {
            let prefix = String::from_utf8_lossy(&namespace.key_prefix);
            Refusal::invalid("key", refused.message.clone(), format!("keys that start with {prefix:?}"))
        }
        Reason::QuotaExceeded => quota(namespace, &refused.message),
        Reason::StaleTs => Refusal::invalid(
            "ts",
            refused.message.clone(),
            "a timestamp within the retention of deleted records",
        ),
        _ => self::refused(&namespace.name, refused),
    }
}

fn quota(namespace: &NamespaceInfo, message: &str) -> Refusal {
    let (quota, limit) = if message.starts_with("keys") {
        ("keys", namespace.keys_max)
    } else {
        ("bytes", namespace.bytes_max)
    };
    Refusal::Quota { namespace: namespace.name.clone(), quota, limit }
}

/// Commands that are small and let something be forgotten: how an operator gets room back.
fn makes_room(command: &Command) -> bool {
    matches!(
        command,
        Command::DeleteNamespace(_) | Command::CompactHistory(_) | Command::CollectTombstones(_)
    )
}

impl From<NotProposed> for Refusal {
    fn from(error: NotProposed) -> Self {
        match error {
            NotProposed::Quarantined | NotProposed::Closed(Closed::HandingOver) => {
                Self::NotLeader { id: 0, endpoint: String::new() }
            }
            NotProposed::Closed(Closed::NoRoom(why)) => Self::NoSpace(why),
            NotProposed::Busy(busy) => busy.into(),
            NotProposed::Failed(error) => proposal_failed(error),
        }
    }
}

fn proposal_failed(error: ProposeError) -> Refusal {
    match error {
        ProposeError::NotLeader { id, endpoint } => {
            Refusal::NotLeader { id: id.unwrap_or_default(), endpoint: endpoint.unwrap_or_default() }
        }
        ProposeError::Unavailable => Refusal::NotLeader { id: 0, endpoint: String::new() },
        ProposeError::Indeterminate | ProposeError::Stopped => Refusal::Indeterminate,
        ProposeError::NoSpace => Refusal::NoSpace(error.to_string()),
        ProposeError::TooLarge { bytes, bytes_max } => {
            Refusal::invalid("request", format!("{bytes} bytes"), format!("at most {bytes_max} bytes"))
        }
    }
}

fn read_failed(error: ReadError) -> Refusal {
    Refusal::Unavailable(error.to_string())
}

/// The state machine answered what it never answers to that.
pub(crate) fn unexpected(what: &str) -> Refusal {
    Refusal::Storage(format!("the state machine gave {what} an answer of another kind").into())
}
