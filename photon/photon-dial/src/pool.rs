//! The nodes that this client knows, with one connection each, and which of them it asks first.
//!
//! Connections are made when they are first used and made again by themselves. Nodes are only added (by redirects, up
//! to a bound), so an index stays valid.

use std::sync::{
    Arc, OnceLock, PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering},
};

use tonic::transport::{Channel, Endpoint};

use crate::{BadSetting, Dialer};

/// More nodes than any cluster has; beyond it, redirects are not learned.
const NODES_MAX: usize = 64;

/// Which node a call prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The leader, as far as it is known.
    Leader,
    /// Any replica; each client stays with one, and different clients with different ones.
    Replica,
}

/// One node.
#[derive(Debug)]
pub struct Node<S> {
    /// Its place in the pool.
    index: usize,
    /// Its address, without a trailing slash.
    pub address: String,
    endpoint: Endpoint,
    channel: OnceLock<Channel>,
    /// What the client library keeps for this node.
    pub own: S,
}

/// The nodes, and where each route starts.
#[derive(Debug)]
pub struct Pool<S> {
    dialer: Dialer,
    nodes: RwLock<Vec<Arc<Node<S>>>>,
    leader: AtomicUsize,
    replica: AtomicUsize,
}

impl<S> Node<S> {
    /// Its connection.
    pub fn channel(&self) -> Channel {
        self.channel.get_or_init(|| self.endpoint.connect_lazy()).clone()
    }

    /// Connects now.
    async fn connect(&self) -> Result<(), tonic::transport::Error> {
        let channel = self.endpoint.connect().await?;
        // One that was made meanwhile serves as well.
        drop(self.channel.set(channel));
        Ok(())
    }
}

impl<S: Default> Pool<S> {
    /// The configured nodes. `home` picks the node of [`Route::Replica`].
    ///
    /// # Errors
    /// When there are none, too many, or one that can never be asked.
    pub fn new(dialer: Dialer, endpoints: &[String], home: usize) -> Result<Self, BadSetting> {
        let pool = Self {
            dialer,
            nodes: RwLock::default(),
            leader: AtomicUsize::new(0),
            replica: AtomicUsize::new(0),
        };
        for address in endpoints {
            pool.find_or_add(address)?;
        }
        let nodes = pool.len();
        if nodes == 0 {
            return Err(BadSetting::new("endpoints", "none", "at least one http(s)://host:port"));
        }
        pool.replica.store(home % nodes, Ordering::Relaxed);
        Ok(pool)
    }

    /// The node that a route asks now.
    pub fn pick(&self, route: Route) -> Arc<Node<S>> {
        let index = self.cursor(route).load(Ordering::Relaxed);
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        // Nodes are never removed, and the cursors only ever hold places of nodes.
        Arc::clone(&nodes[index])
    }

    /// How many nodes there are, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Sends the route on to the next node, unless another call has done so since `from` was picked.
    pub fn leave(&self, route: Route, from: &Node<S>) {
        let next = (from.index + 1) % self.len();
        // The loser of a race finds the route where the winner has sent it.
        let _moved =
            self.cursor(route).compare_exchange(from.index, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Takes a node's word for who leads; false when that node cannot be asked by this client.
    pub fn follow(&self, address: &str) -> bool {
        match self.find_or_add(address) {
            Ok(index) => {
                self.leader.store(index, Ordering::Relaxed);
                true
            }
            Err(refused) => {
                tracing::warn!(address, error = %refused, "a redirect is not followed");
                false
            }
        }
    }

    /// Connects to the first node that can be reached, and asks that one first.
    ///
    /// # Errors
    /// When none can be; with the last one's address.
    pub async fn connect(&self) -> Result<(), (String, tonic::transport::Error)> {
        let mut failed = None;
        for _ in 0..self.len() {
            let node = self.pick(Route::Leader);
            match node.connect().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.leave(Route::Leader, &node);
                    failed = Some((node.address.clone(), error));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn cursor(&self, route: Route) -> &AtomicUsize {
        match route {
            Route::Leader => &self.leader,
            Route::Replica => &self.replica,
        }
    }

    fn find_or_add(&self, address: &str) -> Result<usize, BadSetting> {
        let address = address.trim_end_matches('/');
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = nodes.iter().find(|node| node.address == address) {
            return Ok(known.index);
        }
        let endpoint = self.dialer.endpoint(address)?;
        if nodes.len() >= NODES_MAX {
            return Err(BadSetting::new(
                "endpoints",
                format!("{address:?}"),
                format!("at most {NODES_MAX} nodes"),
            ));
        }
        let index = nodes.len();
        nodes.push(Arc::new(Node {
            index,
            address: address.to_owned(),
            endpoint,
            channel: OnceLock::new(),
            own: S::default(),
        }));
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn dialer() -> Dialer {
        Dialer::new(None, None, false, Duration::from_secs(1))
    }

    fn pool(addresses: &[&str]) -> Pool<()> {
        let endpoints: Vec<_> = addresses.iter().map(|&address| address.to_owned()).collect();
        Pool::new(dialer(), &endpoints, 1).unwrap()
    }

    fn asked(pool: &Pool<()>, route: Route) -> String {
        pool.pick(route).address.clone()
    }

    #[test]
    fn route_moves_on_once_however_many_calls_failed_at_a_node() {
        let pool = pool(&["http://a:1", "http://b:1", "http://c:1"]);
        let first = pool.pick(Route::Leader);
        pool.leave(Route::Leader, &first);
        pool.leave(Route::Leader, &first);
        assert_eq!(asked(&pool, Route::Leader), "http://b:1");
    }

    #[test]
    fn route_comes_round_to_the_first_node() {
        let pool = pool(&["http://a:1", "http://b:1"]);
        for _ in 0..2 {
            pool.leave(Route::Leader, &pool.pick(Route::Leader));
        }
        assert_eq!(asked(&pool, Route::Leader), "http://a:1");
    }

    #[test]
    fn redirect_to_an_unknown_node_is_learned_and_eventual_reads_stay_where_they_are() {
        let pool = pool(&["http://a:1", "http://b:1"]);
        assert!(pool.follow("http://d:1/"));
        assert_eq!(asked(&pool, Route::Leader), "http://d:1");
        assert_eq!(asked(&pool, Route::Replica), "http://b:1");
        assert!(pool.follow("http://a:1"));
        assert_eq!(pool.len(), 3);
    }

    #[test]
    fn redirect_out_of_what_the_credentials_allow_is_not_followed() {
        let pool = pool(&["http://a:1"]);
        assert!(!pool.follow("https://a:1") && !pool.follow("nonsense"));
        assert_eq!(asked(&pool, Route::Leader), "http://a:1");
    }

    #[test]
    fn redirects_are_learned_up_to_a_bound() {
        let pool = pool(&["http://a:1"]);
        let followed = (0..100).filter(|number| pool.follow(&format!("http://n{number}:1"))).count();
        assert_eq!(followed, NODES_MAX - 1);
        assert_eq!(pool.len(), NODES_MAX);
    }

    #[test]
    fn no_endpoint_at_all_is_refused() {
        assert!(Pool::<()>::new(dialer(), &[], 0).is_err());
    }
}
