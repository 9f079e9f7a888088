//! A service's instances in the memory of whoever calls them: read once, kept current by watches, with their age.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use photon_dial::pause;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Catalog, Registry, instance::Instance, keys, registration::is_final};
use crate::{Error, Revision, Watch, WatchRequest};

/// The instances of a service that may be called, as they were known at a moment.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// In the order of their ids.
    pub instances: Arc<[Instance]>,
    /// The revision of the store that they are of.
    pub revision: i64,
    heard_at: Instant,
}

impl Resolved {
    /// How long nothing has been heard of the store. While [`Resolver::keep`] is awaited and the store is there, it is
    /// below three seconds; the instances may be out of date by that and no more.
    pub fn staleness(&self) -> Duration {
        self.heard_at.elapsed()
    }
}

/// Knows the instances of one service. Clones know them together.
#[derive(Debug, Clone)]
pub struct Resolver {
    registry: Registry,
    service: String,
    known: watch::Sender<Option<Resolved>>,
}

impl Resolver {
    pub(super) fn new(registry: Registry, service: String) -> Result<Self, Error> {
        keys::check_name("service", &service)?;
        Ok(Self { registry, service, known: watch::Sender::new(None) })
    }

    /// What is known, also when nothing was heard for long; `None` until [`Resolver::keep`] has read it.
    pub fn latest(&self) -> Option<Resolved> {
        self.known.borrow().clone()
    }

    /// The same, and whenever anything was heard.
    pub fn subscribe(&self) -> watch::Receiver<Option<Resolved>> {
        self.known.subscribe()
    }

    /// Keeps what is known current while it is awaited, through every failure that time can cure; what is known stays
    /// meanwhile, and its staleness says how old it is. Returns why it cannot go on.
    pub async fn keep(&self) -> Error {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let error = match self.follow().await {
                Ok(never) => match never {},
                Err(error) if is_final(&error) => return error,
                Err(error) => error,
            };
            if begun.elapsed() > Duration::from_secs(60) {
                failures = 0;
            }
            tracing::warn!(%error, service = self.service, "a service's instances are read anew");
            sleep(pause(failures, rand::random())).await;
            failures = failures.saturating_add(1);
        }
    }

    async fn follow(&self) -> Result<std::convert::Infallible, Error> {
        let (mut catalog, mut revision) = self.registry.of_service(&self.service).await?;
        self.show(&catalog, revision, Instant::now());
        let mut instances = self.watch(keys::of_service(&self.service), revision).await?;
        let mut verdicts = self.watch(keys::verdicts(), revision).await?;
        // What one watch says is no sign of life of the other.
        let (mut heard_instances, mut heard_verdicts) = (Instant::now(), Instant::now());
        loop {
            let (came, heard) = tokio::select! {
                came = instances.next() => (came, &mut heard_instances),
                came = verdicts.next() => (came, &mut heard_verdicts),
            };
            let Revision { revision: at, events } = came.unwrap_or_else(|| Err(ended()))?;
            *heard = Instant::now();
            revision = revision.max(at);
            events.iter().try_for_each(|event| catalog.apply(event))?;
            self.show(&catalog, revision, heard_instances.min(heard_verdicts));
        }
    }

    async fn watch(&self, range: chainfire_proto::KeyRange, read: i64) -> Result<Watch, Error> {
        self.registry.client.watch(WatchRequest { range, from: read + 1, prev_kv: false }).await
    }

    fn show(&self, catalog: &Catalog, revision: i64, heard_at: Instant) {
        let instances = catalog.available().cloned().collect();
        self.known.send_replace(Some(Resolved { instances, revision, heard_at }));
    }
}

fn ended() -> Error {
    Error::NotNow { message: "the watch has ended".to_owned() }
}
