//! Disks that fill up: clear refusals, reads that go on, nothing lost, and writes that resume by themselves.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use flaredb_client::{Error, RdbClient, Swap};
use flaredb_proto::v1::{CasRequest, NamespaceMode, kv_cas_client::KvCasClient};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::{
    cloud::{Cloud, Running, create, free_address, wait_for},
    disk::Disk,
};

/// Writes must resume within this, once there is room.
const RESUMED_MAX: Duration = Duration::from_secs(10);

async fn start(cloud: &Cloud, disk: &Disk, id: u64, members: &[SocketAddr], low_bytes: u64) -> Running {
    let mut config = cloud.config(id, members[usize::try_from(id - 1).unwrap()], members);
    config.node.data_dir = disk.path().join("data");
    config.storage.space_low_bytes = low_bytes;
    cloud.start(config).await.unwrap()
}

async fn ready(node: &Running) {
    wait_for("the node is ready", async || node.process.health().readiness().is_ready().then_some(())).await;
}

async fn short(node: &Running) -> String {
    let reason = async || node.process.health().readiness().conditions["space"].reason.clone();
    wait_for("the node says that it is short of space", reason).await
}

async fn put(client: &RdbClient, key: &str) -> Result<Swap, Error> {
    client.cas_put("notes", key.to_owned(), "v", 0).await
}

/// Writes one key after the other until one is written; those that may have been are not written again.
async fn resumed(client: &RdbClient, since: Instant) {
    for attempt in 0.. {
        match put(client, &format!("resumed/{attempt}")).await {
            Ok(_) => break,
            Err(Error::NoSpace { .. } | Error::Unavailable { .. } | Error::Indeterminate { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = since.elapsed();
    assert!(took < RESUMED_MAX, "writes resumed after {took:?} only");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_node_refuses_writes_by_type_serves_reads_and_resumes_by_itself() {
    let (cloud, disk) = (Cloud::new(), Disk::of_mib(200));
    let node = start(&cloud, &disk, 1, &[free_address()], 64 << 20).await;
    ready(&node).await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    put(&client, "before").await.unwrap();
    disk.fill();
    let reason = short(&node).await;
    assert!(reason.starts_with("writes are refused, reads go on: "), "{reason}");
    let refused = put(&client, "meanwhile").await.unwrap_err();
    assert!(matches!(&refused, Error::NoSpace { quota, .. } if quota == "disk"), "{refused}");
    let request = CasRequest {
        namespace: "notes".to_owned(),
        key: "meanwhile".into(),
        value: "v".into(),
        ..CasRequest::default()
    };
    let status = KvCasClient::new(node.caller(&cloud.operator()).await).compare_and_swap(request).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("the disk is full, nothing was written: "), "{}", status.message());
    assert!(client.get("notes", "before").await.unwrap().record.is_some());
    assert!(client.get("notes", "meanwhile").await.unwrap().record.is_none());
    disk.free();
    resumed(&client, Instant::now()).await;
    ready(&node).await;
    node.stop().await;
}

/// Writes until told to stop, and counts what is refused for want of room; returns what was acknowledged.
async fn write(
    client: RdbClient,
    writer: usize,
    stop: CancellationToken,
    refused: Arc<AtomicU32>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.is_cancelled() {
            break;
        }
        let key = format!("{writer}/{number}");
        match client.cas_put("notes", key.clone(), vec![7; 64 << 10], 0).await {
            Ok(_) => acknowledged.push(key),
            Err(Error::NoSpace { .. }) => {
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(Error::Indeterminate { .. } | Error::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

/// Writers, as many as given, until `stop`.
fn writers(
    client: &RdbClient,
    count: usize,
    stop: &CancellationToken,
) -> (JoinSet<Vec<String>>, Arc<AtomicU32>) {
    let refused = Arc::new(AtomicU32::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..count {
        writers.spawn(write(client.clone(), writer, stop.clone(), Arc::clone(&refused)));
    }
    (writers, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_database_that_meet_a_full_disk_lose_nothing_and_go_on() {
    let (cloud, disk) = (Cloud::new(), Disk::of_mib(160));
    let node = start(&cloud, &disk, 1, &[free_address()], 0).await;
    ready(&node).await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    disk.fill();
    let stop = CancellationToken::new();
    let (writers, refused) = writers(&client, 4, &stop);
    let reason = short(&node).await;
    assert!(reason.contains("disk"), "{reason}");
    wait_for("writes are refused", async || {
        matches!(put(&client, "meanwhile").await, Err(Error::NoSpace { .. })).then_some(())
    })
    .await;
    // A write that was under way when the disk was full may wait for room until its deadline.
    wait_for("a writer was refused", async || (refused.load(Ordering::Relaxed) > 0).then_some(())).await;
    disk.free();
    resumed(&client, Instant::now()).await;
    ready(&node).await;
    stop.cancel();
    for key in writers.join_all().await.iter().flatten() {
        assert!(client.get("notes", key.clone()).await.unwrap().record.is_some(), "{key} is lost");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_somebody_else_fills_under_load_goes_on_to_serve_reads() {
    let (cloud, disk) = (Cloud::new(), Disk::of_mib(400));
    let node = start(&cloud, &disk, 1, &[free_address()], 64 << 20).await;
    ready(&node).await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    let stop = CancellationToken::new();
    let (writers, _refused) = writers(&client, 4, &stop);
    wait_for("something was written", async || client.get("notes", "0/50").await.ok()?.record).await;
    disk.fill();
    short(&node).await;
    for _again in 0..50 {
        assert!(client.get("notes", "0/50").await.unwrap().record.is_some());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    writers.join_all().await;
    disk.free();
    resumed(&client, Instant::now()).await;
    ready(&node).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_on_a_full_disk_stops_when_it_is_told_to() {
    let (cloud, disk) = (Cloud::new(), Disk::of_mib(100));
    let node = start(&cloud, &disk, 1, &[free_address()], 0).await;
    ready(&node).await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    disk.fill();
    let stop = CancellationToken::new();
    let (writers, _refused) = writers(&client, 1, &stop);
    short(&node).await;
    stop.cancel();
    node.stop().await;
    writers.join_all().await;
}

async fn leader(client: &RdbClient) -> usize {
    wait_for("there is a leader", async || {
        let status = client.cluster().status().await.ok()?;
        usize::try_from(status.regions.first()?.leader_id).ok()?.checked_sub(1)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_that_is_short_of_space_hands_over_and_three_full_disks_refuse() {
    let cloud = Cloud::new();
    let disks: Vec<Disk> = (0..3).map(|_| Disk::of_mib(200)).collect();
    let members: Vec<SocketAddr> = (0..3).map(|_| free_address()).collect();
    let mut nodes = Vec::new();
    for (id, disk) in (1..).zip(&disks) {
        nodes.push(start(&cloud, disk, id, &members, 64 << 20).await);
    }
    for node in &nodes {
        ready(node).await;
    }
    let client = cloud.client(&nodes);
    create(&client, "notes", NamespaceMode::Strong).await;
    put(&client, "before").await.unwrap();
    let full = leader(&client).await;
    disks[full].fill();
    short(&nodes[full]).await;
    wait_for("another node leads", async || (leader(&client).await != full).then_some(())).await;
    for number in 0..50 {
        put(&client, &format!("with one full/{number}")).await.unwrap();
    }
    for (index, disk) in disks.iter().enumerate().filter(|(index, _)| *index != full) {
        disk.fill();
        short(&nodes[index]).await;
    }
    wait_for("writes are refused", async || {
        matches!(put(&client, "meanwhile").await, Err(Error::NoSpace { .. })).then_some(())
    })
    .await;
    for node in &nodes {
        assert!(cloud.client([node]).get("notes", "before").await.unwrap().record.is_some());
    }
    disks.iter().for_each(Disk::free);
    resumed(&client, Instant::now()).await;
    for node in &nodes {
        ready(node).await;
        let one = cloud.client([node]);
        assert!(one.get("notes", "with one full/49").await.unwrap().record.is_some());
    }
    for node in nodes {
        node.stop().await;
    }
}
