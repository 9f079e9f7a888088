//! The namespace table: five services, five prefixes, five Strong namespaces.

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use metadata_store::{Commit, Compare, MetadataStore, StoreError, Version, Write};

use super::Run;
use crate::{
    cloud::{Backend, Cloud, Layout},
    dns::dig,
};

/// The services, which are also the names of their namespaces.
const SERVICES: [&str; 5] = ["fiberlb", "flashdns", "lightningstor", "prismnet", "plasmavmc"];

/// Create, update, conflict, delete with a right and a wrong version, scan and watch under each prefix; and a key
/// outside the prefix is refused by the store before it leaves, and by the database.
pub(super) async fn each_service_owns_its_namespace_and_nothing_else(run: Run) -> Result<()> {
    let layout = Layout { nodes: 1, dns: false, services: &SERVICES, ..Layout::default() };
    let cloud = Cloud::start(&run.folder, layout).await?;
    for service in SERVICES {
        let store = cloud.store(service).await?;
        life_of_a_record(store.as_ref(), service).await.with_context(|| format!("under /{service}/"))?;
        outside_is_refused(&cloud, store.as_ref(), service).await.with_context(|| format!("outside /{service}/"))?;
    }
    Ok(())
}

fn put(key: &str, value: &str, version: Version) -> Commit {
    Commit {
        compares: vec![Compare { key: key.to_owned(), version }],
        writes: vec![Write::Put { key: key.to_owned(), value: value.to_owned().into() }],
        idempotency_id: None,
    }
}

fn delete(key: &str, version: Version) -> Commit {
    Commit {
        compares: vec![Compare { key: key.to_owned(), version }],
        writes: vec![Write::Delete { key: key.to_owned() }],
        idempotency_id: None,
    }
}

async fn life_of_a_record(store: &dyn MetadataStore, service: &str) -> Result<()> {
    let prefix = format!("/{service}/");
    let key = format!("{prefix}things/one");
    let created = store.commit(put(&key, "{}", Version(0))).await?;
    let mut watch = store.watch(&prefix, created).await?;
    let updated = store.commit(put(&key, "{\"a\":1}", created)).await?;
    ensure!(updated > created, "the version did not rise");
    let again = store.commit(put(&key, "{}", created)).await;
    ensure!(matches!(again, Err(StoreError::Conflict(_))), "a stale update answered {again:?}");
    let wrong = store.commit(delete(&key, created)).await;
    ensure!(matches!(wrong, Err(StoreError::Conflict(_))), "a delete of a stale version answered {wrong:?}");
    let page = store.scan(&prefix, 10, None).await?;
    ensure!(page.records.len() == 1 && page.records[0].version == updated, "the scan found {page:?}");
    let deleted = store.commit(delete(&key, updated)).await?;
    ensure!(store.get(&key, deleted).await?.is_none(), "the deleted record is still there");
    let mut seen = Vec::new();
    while seen.last() != Some(&deleted) {
        let revision = watch.next().await.context("the watch ended")??;
        seen.extend((!revision.events.is_empty()).then_some(revision.version));
    }
    ensure!(seen == [created, updated, deleted], "the watch saw {seen:?}");
    Ok(())
}

async fn outside_is_refused(cloud: &Cloud, store: &dyn MetadataStore, service: &str) -> Result<()> {
    for key in [format!("/{service}2/x"), "/other/x".to_owned(), service.to_owned()] {
        let refused = store.commit(put(&key, "{}", Version(0))).await;
        ensure!(matches!(refused, Err(StoreError::Invalid { .. })), "the store answered {refused:?} to {key}");
        let refused = cloud.rdb()?.create(service, &key, "{}").await;
        let message = refused.err().with_context(|| format!("the database took {key}"))?.to_string();
        ensure!(message.contains(&format!("/{service}/")), "the refusal does not say what is accepted: {message}");
    }
    let other = SERVICES[usize::from(service == SERVICES[0])];
    let denied = cloud.rdb_as(service)?.create(other, &format!("/{other}/x"), "{}").await;
    ensure!(matches!(denied, Err(flaredb_client::Error::Denied { .. })), "{service} in {other} got {denied:?}");
    Ok(())
}

async fn flashdns_serves(run: &Run, backend: Backend) -> Result<()> {
    let cloud = Cloud::start(&run.folder, Layout { backend, ..Layout::default() }).await?;
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

/// Zones live in FlareDB.
pub(super) async fn flashdns_serves_from_the_flaredb_backend(run: Run) -> Result<()> {
    flashdns_serves(&run, Backend::Flaredb).await
}
