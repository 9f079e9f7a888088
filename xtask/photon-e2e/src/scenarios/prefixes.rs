//! The namespace table: five services, five prefixes, five Strong namespaces.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use metadata_store::{MetadataStore, Namespace, StoreError};
use tokio::time::timeout;

use super::Run;
use crate::{
    cloud::{Backend, Cloud, Layout},
    dns::dig,
    etcd::{Etcd, free_ports},
};

const WATCHED_AT_MOST: Duration = Duration::from_secs(10);

/// The namespace table.
const SERVICES: [Namespace; 5] = [
    Namespace { name: "fiberlb", prefix: "/fiberlb/" },
    Namespace { name: "flashdns", prefix: "/flashdns/" },
    Namespace { name: "lightningstor", prefix: "/lightningstor/" },
    Namespace { name: "prismnet", prefix: "/prismnet/" },
    Namespace { name: "plasmavmc", prefix: "/plasmavmc/" },
];
const NAMES: &[&str] = &["fiberlb", "flashdns", "lightningstor", "prismnet", "plasmavmc"];

/// Create, update, conflict, delete with a right and a wrong version, scan and watch under each prefix; and a key
/// outside the prefix is refused by the store before it leaves, and by the database.
pub(super) async fn each_service_owns_its_namespace_and_nothing_else(run: Run) -> Result<()> {
    let layout = Layout { dns: false, services: NAMES, ..Layout::default() };
    let cloud = Cloud::start(&run.folder, layout).await?;
    for namespace in SERVICES {
        let (store, service) = (cloud.store(namespace).await?, namespace.name);
        life_of_a_record(store.as_ref(), namespace).await.with_context(|| format!("under /{service}/"))?;
        outside_is_refused(&cloud, store.as_ref(), service)
            .await
            .with_context(|| format!("outside /{service}/"))?;
    }
    Ok(())
}

async fn life_of_a_record(store: &dyn MetadataStore, namespace: Namespace) -> Result<()> {
    let prefix = namespace.prefix;
    let key = format!("{prefix}things/one");
    let created = store.create(&key, "{}".into()).await?;
    let mut watch = store.watch(prefix, created).await?;
    let updated = store.compare_and_set(&key, created, "{\"a\":1}".into()).await?;
    ensure!(updated > created, "the version did not rise");
    let again = store.create(&key, "{}".into()).await;
    ensure!(matches!(again, Err(StoreError::Conflict(_))), "a second create answered {again:?}");
    let stale = store.compare_and_set(&key, created, "{}".into()).await;
    ensure!(matches!(stale, Err(StoreError::Conflict(_))), "a stale update answered {stale:?}");
    let wrong = store.compare_and_delete(&key, created).await;
    ensure!(matches!(wrong, Err(StoreError::Conflict(_))), "a delete of a stale version answered {wrong:?}");
    let page = store.scan(prefix, 10, None).await?;
    ensure!(page.records.len() == 1 && page.records[0].version == updated, "the scan found {page:?}");
    let deleted = store.compare_and_delete(&key, updated).await?;
    ensure!(store.get(&key, deleted).await?.is_none(), "the deleted record is still there");
    let mut seen = Vec::new();
    while seen.last() != Some(&deleted) {
        let next = timeout(WATCHED_AT_MOST, watch.next()).await.context("the watch fell silent")?;
        let revision = next.context("the watch ended")??;
        seen.extend((!revision.events.is_empty()).then_some(revision.version));
    }
    ensure!(seen == [created, updated, deleted], "the watch saw {seen:?}");
    Ok(())
}

async fn outside_is_refused(cloud: &Cloud, store: &dyn MetadataStore, service: &str) -> Result<()> {
    for key in [format!("/{service}2/x"), "/other/x".to_owned(), service.to_owned()] {
        let refused = store.create(&key, "{}".into()).await;
        ensure!(
            matches!(refused, Err(StoreError::Invalid { .. })),
            "the store answered {refused:?} to {key}"
        );
        let refused = cloud.rdb().await?.create(service, &key, "{}").await;
        let message = refused.err().with_context(|| format!("the database took {key}"))?.to_string();
        ensure!(
            message.contains(&format!("/{service}/")),
            "the refusal does not say what is accepted: {message}"
        );
    }
    let other = NAMES[usize::from(service == NAMES[0])];
    let denied = cloud.rdb_as(service).await?.create(other, &format!("/{other}/x"), "{}").await;
    ensure!(
        matches!(denied, Err(flaredb_client::Error::Denied { .. })),
        "{service} in {other} got {denied:?}"
    );
    Ok(())
}

async fn flashdns_serves(run: &Run, backend: Backend) -> Result<()> {
    serves(&Cloud::start(&run.folder, Layout { backend, ..Layout::default() }).await?)
}

fn serves(cloud: &Cloud) -> Result<()> {
    cloud.photon(&["dns", "zone", "create", "backend.example"])?;
    cloud.photon(&["dns", "record", "create", "backend.example", "www", "A", "192.0.2.1"])?;
    let answer = dig(cloud.dns_port(), "www.backend.example.", "A")?;
    ensure!(answer == ["192.0.2.1"], "dig answers {answer:?}");
    Ok(())
}

/// One machine, no database process: zones live in the embedded store.
pub(super) async fn flashdns_serves_from_the_embedded_backend(run: Run) -> Result<()> {
    flashdns_serves(&run, Backend::Embedded).await
}

/// Zones live in three nodes that speak etcd's API, by TLS.
pub(super) async fn flashdns_serves_from_the_chainfire_backend(run: Run) -> Result<()> {
    let ports = free_ports(3)?;
    let [a, b, c] = &ports[..] else { bail!("the ports of three nodes were asked for") };
    let key_ports = [a.client, b.client, c.client];
    let layout = Layout { backend: Backend::Chainfire, key_ports, services: &["etcd"], ..Layout::default() };
    let mut cloud = Cloud::prepare(&run.folder, layout)?;
    let keys = Etcd::launch(&run.folder, &ports, Some(&cloud.certificates_of("etcd")))?;
    keys.leader().await?;
    cloud.start_node(0)?;
    cloud.ready().await?;
    serves(&cloud)
}

/// Zones live in FlareDB.
pub(super) async fn flashdns_serves_from_the_flaredb_backend(run: Run) -> Result<()> {
    flashdns_serves(&run, Backend::Flaredb).await
}
