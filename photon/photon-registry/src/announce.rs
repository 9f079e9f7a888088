//! Keeps a process registered for as long as it takes calls.

use std::{convert::Infallible, time::Duration};

use chainfire_client::{
    Registry,
    registry::{Health, Instance, Registration},
};
use photon_runtime::{ConfigError, Context, StartError, errors::chain, health::Readiness};
use tokio::{sync::watch, time::sleep};

use crate::RegistryConfig;

/// Between two attempts to be registered.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time that taking oneself out may take: the process is ending.
const FAREWELL_AT_MOST: Duration = Duration::from_secs(2);

/// What a service knows of itself.
#[derive(Debug, Clone)]
pub struct About {
    /// Its name.
    pub service: &'static str,
    /// Tells its instances on one machine apart.
    pub number: String,
    /// Where callers reach it, unless the configuration says otherwise.
    pub address: String,
}

/// Registers the process once it can, keeps it registered, and takes it out when it drains. Without a registry in the
/// configuration, nothing.
///
/// # Errors
/// When the configuration can never work.
pub fn announce(config: &RegistryConfig, about: About, context: &Context) -> Result<(), StartError> {
    if !config.is_on() {
        return Ok(());
    }
    let instance = instance(config, about)?;
    let wrong = |error: chainfire_client::Error| {
        ConfigError::invalid("registry.endpoints", chain(&error).to_string(), "URLs of ChainFire's nodes")
    };
    let registry = config.registry(context.tls.as_deref()).map_err(wrong)?;
    let announcer = Announcer { registry, instance, ttl: config.ttl(), readiness: context.health.watch() };
    let draining = context.shutdown.draining();
    context.tasks.spawn("registration", async move {
        let mut registered = None;
        tokio::select! {
            () = draining.cancelled() => {}
            never = announcer.run(&mut registered) => match never {},
        }
        farewell(registered).await;
    });
    Ok(())
}

fn instance(config: &RegistryConfig, about: About) -> Result<Instance, StartError> {
    let node = config.node()?;
    let address = if config.address.is_empty() { about.address } else { config.address.clone() };
    let mut instance = Instance::new(about.service, format!("{node}-{}", about.number), node, address);
    (instance.zone, instance.tags) = (config.zone.clone(), config.tags.clone());
    instance.weight = config.weight;
    Ok(instance)
}

struct Announcer {
    registry: Registry,
    instance: Instance,
    ttl: Duration,
    readiness: watch::Receiver<Readiness>,
}

impl Announcer {
    async fn run(mut self, registered: &mut Option<Registration>) -> Infallible {
        loop {
            self.instance.health = health(&self.readiness.borrow_and_update());
            match self.registry.register(self.instance.clone(), self.ttl).await {
                Ok(registration) => self.keep(registered.insert(registration)).await,
                Err(error) => tracing::warn!(error = %chain(&error), "the process is not registered yet"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Until it cannot go on.
    async fn keep(&mut self, registration: &mut Registration) {
        tracing::info!(instance = registration.instance().id, "the process is registered");
        loop {
            tokio::select! {
                error = registration.keep() => {
                    return tracing::warn!(error = %chain(&error), "the process is not registered any more");
                }
                changed = self.readiness.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            self.instance.health = health(&self.readiness.borrow_and_update());
            if registration.instance().health == self.instance.health {
                continue;
            }
            // What was not said is said with the next lease.
            if let Err(error) = registration.update(self.instance.clone()).await {
                tracing::warn!(error = %chain(&error), "the registry was not told how the process is");
            }
        }
    }
}

fn health(readiness: &Readiness) -> Health {
    if readiness.is_ready() { Health::Passing } else { Health::Failing }
}

async fn farewell(registered: Option<Registration>) {
    let Some(registration) = registered else { return };
    match tokio::time::timeout(FAREWELL_AT_MOST, registration.deregister()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = %chain(&error), "the registration ends only with its lease"),
        Err(_elapsed) => tracing::warn!("the registration ends only with its lease"),
    }
}
