//! The server process: what is bound, what is started, and in which order.
//!
//! DNS comes first and needs nobody: the sockets are bound, the last checkpoint is served, and only then is the
//! metadata store looked for, beside everything else. So a restart answers at once, with or without a database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flashdns_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{record_sets_server::RecordSetsServer, zones_server::ZonesServer},
};
use metadata_store::{Credentials, MetadataConfig, OpenError};
use photon_registry::About;
use photon_runtime::{
    BoxError, ConfigError, Context, GrpcServer, Service, StartError, Started, Tls, errors::chain,
};
use tokio_util::sync::CancellationToken;

use crate::{
    answerer::Answerer,
    api::{Api, RecordSetsApi, ZonesApi},
    checkpoint::Shelf,
    config::{Config, DnsConfig},
    counters::Scoreboard,
    editor::Editor,
    feed::Feed,
    listen::{self, Listeners},
    metadata::{FlareDbMetadataStore, NAMESPACE},
    readiness,
    served::Served,
    sweep, tcp, udp,
};

/// A large zone takes as long to be read as its reader takes.
const STREAMS: &[&str] = &["/photon.flashdns.v1.Zones/ExportZone"];

/// First and longest pause after the metadata store could not be opened.
const PAUSE_MS: (u64, u64) = (100, 2_000);

/// The FlashDNS server.
#[derive(Debug)]
pub struct FlashDns;

impl Service for FlashDns {
    const NAME: &'static str = "flashdns";
    type Config = Config;

    fn validate(config: &Config) -> Result<(), ConfigError> {
        config.dns.validate()?;
        config.registry.check()?;
        config.registry.check_reached_at(config.server.listen)?;
        config.metadata.validate().map_err(|issue| {
            ConfigError::invalid(format!("metadata.{}", issue.field), issue.found, issue.accepted)
        })
    }

    async fn start(config: Config, context: Context) -> Result<Started, StartError> {
        let listeners = listen::bind(&config.dns)?;
        let shelf = Shelf::open(&config.data_dir)?;
        let store = FlareDbMetadataStore::default();
        let (answerer, served) = (Answerer::new(), Served::new());
        let every = Duration::from_secs(config.dns.checkpoint_interval_s);
        let mut feed = Feed::new(store.clone(), answerer.clone(), served.clone(), shelf.clone(), every);
        restore(&mut feed, &shelf);
        serve_dns(listeners, &answerer, &config.dns, &context)?;
        context.metrics.register_unprefixed(|registry| registry.register_collector(Box::new(served.clone())));
        follow(feed, &served, &config.dns, &context);
        let api = Api::new(Editor::new(store.clone()), served.clone());
        attach(config.metadata, store, &api, &context);
        photon_registry::announce(&config.registry, about(&context), &context)?;
        Ok(Started::new(grpc(api, config.server.message_size_max())))
    }
}

/// What the registry is told of the control API.
fn about(context: &Context) -> About {
    let scheme = if context.tls.is_some() { "https" } else { "http" };
    let address = format!("{scheme}://{}", context.grpc);
    About { service: FlashDns::NAME, number: context.grpc.port().to_string(), address }
}

/// Serves the last checkpoint. One that cannot be used is as good as none: the store has everything.
fn restore(feed: &mut Feed, shelf: &Shelf) {
    match shelf.load() {
        Ok(Some(checkpoint)) => feed.restore(checkpoint),
        Ok(None) => (),
        Err(error) => tracing::warn!(error = %chain(&error), "checkpoint is not used"),
    }
}

/// Starts UDP workers and TCP listeners.
fn serve_dns(
    listeners: Listeners,
    answerer: &Answerer,
    config: &DnsConfig,
    context: &Context,
) -> Result<(), StartError> {
    let Listeners { tcp, udp, plan } = listeners;
    tracing::info!(addresses = ?plan.addresses, workers = plan.workers, "serving DNS");
    let scoreboard = Scoreboard::default();
    let stop = Arc::new(AtomicBool::new(false));
    let workers = udp::start(&plan, udp, answerer, &stop, || scoreboard.worker("udp"))?;
    context.tasks.spawn_critical("dns udp", join(workers, stop, context.tasks.shutdown()));
    let server = tcp::Server::new(answerer.clone(), config.tcp_limits(), scoreboard.worker("tcp"));
    for listener in tcp {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        context.tasks.spawn_critical("dns tcp", server.clone().run(listener, context.tasks.shutdown()));
    }
    context.metrics.register_unprefixed(|registry| registry.register_collector(Box::new(scoreboard)));
    Ok(())
}

/// Waits for the workers, and tells them when to end.
async fn join(
    workers: udp::Workers,
    stop: Arc<AtomicBool>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let stop = StopOnDrop(stop);
    let mut ended = tokio::task::spawn_blocking(move || workers.join());
    tokio::select! {
        ended = &mut ended => return Ok(ended??),
        () = shutdown.cancelled() => drop(stop),
    }
    Ok(ended.await??)
}

/// Threads know nothing of a task that is dropped, and would outlive the process's runtime.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps what is served as the store says, and `/readyz` as it is.
fn follow(feed: Feed, served: &Served, config: &DnsConfig, context: &Context) {
    context.tasks.spawn_critical("feed", feed.run(context.tasks.shutdown()));
    let condition = context.health.condition("zones");
    let report = readiness::report(served.clone(), condition, config.stale_max(), context.tasks.shutdown());
    context.tasks.spawn_critical("readiness", report);
}

/// Opens the metadata store beside everything else, and then collects in it what belongs to nothing.
fn attach(config: MetadataConfig, store: FlareDbMetadataStore, api: &Api, context: &Context) {
    let shutdown = context.tasks.shutdown();
    let credentials = credentials(context.tls.as_deref());
    let (served, wake) = (api.served.clone(), Arc::clone(&api.sweep));
    context.tasks.spawn_critical("metadata store", async move {
        let opened = shutdown.run_until_cancelled(open(&config, &credentials, &store, &served)).await;
        if let Some(opened) = opened {
            opened?;
            sweep::run(store, wake, shutdown).await;
        }
        Ok::<(), OpenError>(())
    });
}

fn credentials(tls: Option<&Tls>) -> Credentials {
    let Some(tls) = tls else { return Credentials::default() };
    Credentials {
        ca_pem: Some(tls.ca_pem().to_vec()),
        identity_pem: Some((tls.cert_pem().to_vec(), tls.key_pem().to_vec())),
        ..Credentials::default()
    }
}

/// Tries until the store is open, or can never be.
async fn open(
    config: &MetadataConfig,
    credentials: &Credentials,
    store: &FlareDbMetadataStore,
    served: &Served,
) -> Result<(), OpenError> {
    let mut pause_ms = PAUSE_MS.0;
    loop {
        match metadata_store::open(config, NAMESPACE, credentials.clone()).await {
            Ok(backend) => {
                store.attach(backend);
                return Ok(());
            }
            Err(error @ OpenError::Store(_)) => {
                tracing::warn!(error = %chain(&error), "metadata store is not open; trying again");
                served.note_error(chain(&error).to_string());
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
    }
}

fn grpc(api: Api, message_bytes_max: usize) -> GrpcServer {
    let zones = ZonesServer::new(ZonesApi(api.clone())).max_decoding_message_size(message_bytes_max);
    let record_sets = RecordSetsServer::new(RecordSetsApi(api)).max_decoding_message_size(message_bytes_max);
    GrpcServer::new().descriptors(FILE_DESCRIPTOR_SET).streams(STREAMS).service(zones).service(record_sets)
}
