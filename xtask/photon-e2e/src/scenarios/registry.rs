//! The registry on a real cluster: what callers of a service know of its instances, whatever happens to leases, nodes and
//! the cluster itself.

mod announced;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chainfire_client::{
    Client, Registry,
    registry::{Instance, Registration, Resolver, Verdict},
};
use chainfire_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RangeRequest};
use tokio::task::JoinSet;

use self::announced::Announced;
use super::Run;
use crate::etcd::Etcd;

const SERVICE: &str = "flaredb";
const TTL: Duration = Duration::from_secs(3);
/// Longer than any machine needs; a registry that works never takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registered instance is found until its node is down or it is taken out, and comes back when its lease was lost.
pub(super) async fn instances_are_found_for_as_long_as_they_may_be_called(run: Run) -> Result<()> {
    let mut etcd = Etcd::start(&run.folder, 1, None).await?;
    let client = etcd.client().await?;
    let registry = Registry::new(client.clone());
    let resolver = registry.resolver(SERVICE)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_resolver(resolver.clone()));
    let first = registry.register(instance("db1", "host-1"), TTL).await?;
    let second = registry.register(instance("db2", "host-2"), TTL).await?;
    registry.register(Instance { service: "flashdns".to_owned(), ..instance("dns1", "host-1") }, TTL).await?;
    let kept = tasks.spawn(keep_registration(first));
    until(&resolver, &["db1", "db2"]).await.context("both are registered")?;

    put_verdict(&client, "host-1").await?;
    until(&resolver, &["db2"]).await.context("host-1 is down")?;
    delete(&client, Verdict::key_of("host-1")).await?;
    until(&resolver, &["db1", "db2"]).await.context("host-1 is back")?;

    second.deregister().await?;
    until(&resolver, &["db1"]).await.context("one was taken out")?;

    client.revoke(lease_of(&client, "/registry/flaredb/db1").await?).await?;
    until(&resolver, &[]).await.context("a lease was lost")?;
    until(&resolver, &["db1"]).await.context("the lease was made anew")?;

    etcd.crash().await?;
    until_heard(&resolver).await.context("the cluster was started again")?;
    until(&resolver, &["db1"]).await.context("the cluster was started again")?;
    kept.abort();
    until(&resolver, &[]).await.context("nobody keeps it any more")
}

/// A process that has the section is found for as long as it takes calls, and not one moment of its lease longer.
pub(super) async fn process_is_registered_while_it_takes_calls(run: Run) -> Result<()> {
    let etcd = Etcd::start(&run.folder, 1, None).await?;
    let resolver = Registry::new(etcd.client().await?).resolver(announced::SERVICE)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(keep_resolver(resolver.clone()));
    let announced = Announced::start(&run.folder, etcd.urls()).await?;
    until(&resolver, &[announced::INSTANCE]).await.context("it was started")?;
    let trial = announced.process.health().condition("trial");
    until(&resolver, &[]).await.context("it is not ready")?;
    trial.ok();
    until(&resolver, &[announced::INSTANCE]).await.context("it is ready again")?;
    announced.process.stop().await?;
    until(&resolver, &[]).await.context("it has ended")
}

fn instance(id: &str, node: &str) -> Instance {
    Instance::new(SERVICE, id, node, "https://10.0.0.1:7001")
}

async fn keep_resolver(resolver: Resolver) {
    tracing::error!("the resolver has ended: {}", resolver.keep().await);
}

async fn keep_registration(mut registration: Registration) {
    tracing::error!("the registration has ended: {}", registration.keep().await);
}

/// Waits until exactly these instances are known.
async fn until(resolver: &Resolver, wanted: &[&str]) -> Result<()> {
    let mut known = resolver.subscribe();
    let same = known.wait_for(|known| {
        let ids = known.iter().flat_map(|known| known.instances.iter()).map(|instance| instance.id.as_str());
        known.is_some() && ids.eq(wanted.iter().copied())
    });
    match tokio::time::timeout(PATIENCE, same).await {
        Ok(seen) => Ok(seen.map(drop)?),
        Err(_elapsed) => bail!("waited in vain for {wanted:?}; known is {:?}", resolver.latest()),
    }
}

/// Waits until the cluster is heard of anew.
async fn until_heard(resolver: &Resolver) -> Result<()> {
    let mut known = resolver.subscribe();
    known.mark_unchanged();
    Ok(tokio::time::timeout(PATIENCE, known.changed()).await.context("nothing is heard")??)
}

async fn put_verdict(client: &Client, node: &str) -> Result<()> {
    let verdict = Verdict { node: node.to_owned(), since_ms: 1, judge: "e2e".to_owned() };
    let (key, value) = (Verdict::key_of(node).into(), serde_json::to_vec(&verdict)?.into());
    client.put(PutRequest { key, value, ..PutRequest::default() }).await?;
    Ok(())
}

async fn delete(client: &Client, key: String) -> Result<()> {
    client.delete_range(DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() }).await?;
    Ok(())
}

async fn lease_of(client: &Client, key: &'static str) -> Result<i64> {
    let found = client.range(RangeRequest { key: key.into(), ..RangeRequest::default() }).await?;
    Ok(found.kvs.first().context("the record is not there")?.lease)
}
