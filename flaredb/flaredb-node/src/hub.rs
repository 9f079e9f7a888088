//! Wakes those who wait for a namespace to change, and tells them how fresh this replica is.
//!
//! The engine calls in after each apply, on the thread that applies; so waking is all that happens here. Nothing is
//! queued for a watcher: it reads the engine's history itself, at its own pace, and can therefore neither lose an
//! event nor make anybody else wait.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use flaredb_engine::NamespaceId;
use tokio::{sync::watch, time::Instant};

/// The subscriptions of one region.
#[derive(Debug, Default)]
pub struct Hub {
    namespaces: RwLock<BTreeMap<NamespaceId, watch::Sender<()>>>,
    contact: watch::Sender<Option<Instant>>,
}

/// One waiter's ends.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Changes when the namespace does.
    pub changes: watch::Receiver<()>,
    /// When this replica last held all that was acknowledged anywhere before; `None`: not yet since its start.
    pub contact: watch::Receiver<Option<Instant>>,
}

impl Hub {
    /// A hub that nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for changes of one namespace from now on.
    pub fn subscribe(&self, namespace: NamespaceId) -> Subscription {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        // What nobody waits for any more goes here, so the map never outgrows the number of open watches.
        namespaces.retain(|_, changes| changes.receiver_count() > 0);
        let changes = namespaces.entry(namespace).or_insert_with(|| watch::Sender::new(())).subscribe();
        Subscription { changes, contact: self.contact.subscribe() }
    }

    /// Wakes those who wait for one of these namespaces.
    pub fn wake(&self, changed: &[NamespaceId]) {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        for changes in changed.iter().filter_map(|namespace| namespaces.get(namespace)) {
            changes.send_replace(());
        }
    }

    /// Notes that at `moment` this replica asked a leader with a quorum, and has caught up with its answer since.
    pub fn confirm(&self, moment: Instant) {
        self.contact.send_replace(Some(moment));
    }

    /// Waits until this replica has caught up once since its start. Before that, even an eventual read could go
    /// back behind what this same replica has shown.
    pub async fn recovered(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        drop(self.contact.subscribe().wait_for(Option::is_some).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_waiters_of_a_changed_namespace_wake() {
        let hub = Hub::new();
        let [one, two] = [NamespaceId(1), NamespaceId(2)];
        let (mut of_one, of_two) = (hub.subscribe(one), hub.subscribe(two));
        hub.wake(&[one]);
        of_one.changes.changed().await.unwrap();
        assert!(!of_two.changes.has_changed().unwrap());
    }

    #[test]
    fn subscriptions_that_ended_are_forgotten() {
        let hub = Hub::new();
        (0..100).for_each(|id| drop(hub.subscribe(NamespaceId(id))));
        let kept = hub.subscribe(NamespaceId(100));
        assert_eq!(hub.namespaces.read().unwrap().len(), 1);
        drop(kept);
    }
}
