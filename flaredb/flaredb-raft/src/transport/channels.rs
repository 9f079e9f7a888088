//! Connections to the peers, shared by all regions of the node.
//!
//! A peer has one connection for each [`Lane`], so that a large append or a snapshot never stands in front of a
//! heartbeat or a vote. Connections are made when they are first used and made again when they break; waiting
//! between attempts is openraft's part.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use tonic::transport::{Channel, Endpoint};

use super::{MESSAGE_BYTES_MAX, route::Route};
use crate::{
    config::{Connector, Way},
    proto::v1::raft_transport_client::RaftTransportClient,
    types::StoredMembership,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Votes, heartbeats, read indexes: small and urgent.
    Control,
    /// Appends.
    Log,
    /// Snapshots.
    Snapshot,
}

pub(crate) type Client = RaftTransportClient<Route>;

/// Where the members of a region are, by the newest membership that this node has seen, and which of them are silent.
///
/// openraft makes a client once for each target and keeps it when the target moves.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    known: RwLock<BTreeMap<u64, String>>,
    /// Those that did not answer the last time.
    silent: Mutex<BTreeSet<u64>>,
    /// Those that said that their disk is full or about to be.
    short: Mutex<BTreeSet<u64>>,
}

impl Addresses {
    pub(crate) fn learn(&self, membership: &StoredMembership) {
        let addresses = membership.nodes().map(|(id, node)| (*id, node.addr.clone())).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Notes whether a member is silent; true if it was otherwise before.
    pub(crate) fn note(&self, id: u64, silent: bool) -> bool {
        let mut members = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if silent { members.insert(id) } else { members.remove(&id) }
    }

    /// Notes whether a member is short of space.
    pub(crate) fn note_space(&self, id: u64, short: bool) {
        let mut members = self.short.lock().unwrap_or_else(PoisonError::into_inner);
        if short {
            members.insert(id)
        } else {
            members.remove(&id)
        };
    }

    /// Whether a member was short of space the last time that it said anything.
    pub(crate) fn is_short(&self, id: u64) -> bool {
        self.short.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    pub(crate) fn of(&self, id: u64) -> Option<String> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

/// The connections of a node.
#[derive(Debug)]
pub(crate) struct Channels {
    connector: Connector,
    open: Mutex<BTreeMap<(String, Lane), Route>>,
}

impl Channels {
    pub(crate) fn new(connector: Connector) -> Self {
        Self { connector, open: Mutex::default() }
    }

    /// A client for a peer; does not wait for the connection.
    pub(crate) fn client(&self, endpoint: &str, lane: Lane) -> Result<Client, tonic::transport::Error> {
        let channel = self.channel(endpoint, lane)?;
        Ok(RaftTransportClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn channel(&self, endpoint: &str, lane: Lane) -> Result<Route, tonic::transport::Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(&(endpoint.to_owned(), lane)) {
            return Ok(channel.clone());
        }
        let channel = match self.connector.way(endpoint)? {
            Way::Endpoint(endpoint) => Route::Channel(connect(*endpoint)),
            Way::Link(link) => Route::Link(link),
        };
        open.insert((endpoint.to_owned(), lane), channel.clone());
        Ok(channel)
    }
}

fn connect(endpoint: Endpoint) -> Channel {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .connect_lazy()
}
