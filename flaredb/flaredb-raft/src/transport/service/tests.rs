//! The service as a peer sees it, one message at a time.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes};
use openraft::BasicNode;
use tempfile::TempDir;
use tonic::Code;

use super::*;
use crate::{
    FatalHook, Group, Node, NodeConfig,
    codec::HostState,
    journal::Journal,
    types::{CommittedLeaderId, Membership, StoredMembership},
};

const REGION: u64 = 3;

struct Fixture {
    service: Service,
    node: Node,
    group: Group,
    journal: Journal,
    _dir: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = NodeConfig::new("ours", 1, dir.path());
        config.log.prefill_bytes = 0;
        config.fatal = FatalHook::new(|error| panic!("{error}"));
        let node = Node::open(config).await.unwrap();
        let journal = Journal::default();
        let group = node.region(REGION, Arc::new(journal.clone())).await.unwrap();
        let regions = Arc::clone(&group.0.regions);
        let service = Service { cluster_id: "ours".to_owned(), node_id: 1, regions };
        Self { service, node, group, journal, _dir: dir }
    }
}

fn route() -> v1::Route {
    v1::Route { cluster_id: "ours".to_owned(), region_id: REGION, from: 2, to: 1 }
}

fn leader_vote(term: u64) -> Option<v1::Vote> {
    Some(v1::Vote { term, node: 2, committed: true })
}

/// Calls every RPC that takes one message, with the route given.
async fn answers(service: &Service, route: v1::Route) -> Vec<Code> {
    let route = Some(route);
    let append = v1::AppendRequest { route: route.clone(), vote: leader_vote(1), ..Default::default() };
    let vote = v1::VoteRequest { route: route.clone(), vote: leader_vote(1), ..Default::default() };
    let transfer =
        v1::TransferLeaderRequest { route: route.clone(), from_leader: leader_vote(1), ..Default::default() };
    let chunk = v1::SnapshotChunk { route: route.clone(), vote: leader_vote(1), ..Default::default() };
    let results = [
        service.heartbeat(Request::new(append)).await.err(),
        service.request_vote(Request::new(vote.clone())).await.err(),
        service.pre_vote(Request::new(vote)).await.err(),
        service.transfer_leader(Request::new(transfer)).await.err(),
        service.install_snapshot(Request::new(chunk)).await.err(),
        service.read_index(Request::new(v1::ReadIndexRequest { route })).await.err(),
    ];
    results.into_iter().map(|error| error.map_or(Code::Ok, |status| status.code())).collect()
}

#[tokio::test]
async fn message_that_is_not_for_this_node_is_refused_by_every_rpc() {
    let fixture = Fixture::new().await;
    let other_cluster = v1::Route { cluster_id: "theirs".to_owned(), ..route() };
    assert_eq!(answers(&fixture.service, other_cluster).await, [Code::FailedPrecondition; 6]);
    let other_node = v1::Route { to: 4, ..route() };
    assert_eq!(answers(&fixture.service, other_node).await, [Code::FailedPrecondition; 6]);
    let other_region = v1::Route { region_id: 99, ..route() };
    assert_eq!(answers(&fixture.service, other_region).await, [Code::NotFound; 6]);
    assert_eq!(fixture.group.status().term, 0, "a refused message has changed the term");
    fixture.node.shutdown().await;
}

/// The state that a snapshot of two commands has.
fn state() -> v1::HostState {
    let log_id = LogId::new(CommittedLeaderId { term: 1, node_id: 2 }, 8);
    let nodes = BTreeMap::from([(1, BasicNode::new("n1:1")), (2, BasicNode::new("n2:1"))]);
    let membership = Membership::new(vec![[1, 2].into()], nodes).unwrap();
    let membership = StoredMembership::new(Some(log_id), membership);
    (&HostState { last_applied: Some(log_id), membership }).into()
}

fn chunk(transfer_id: u64, sequence: u64, command: &[u8], last: bool) -> Request<v1::SnapshotChunk> {
    let mut data = Vec::new();
    data.put_u32(u32::try_from(command.len()).unwrap());
    data.put_slice(command);
    Request::new(v1::SnapshotChunk {
        route: Some(route()),
        vote: leader_vote(1),
        transfer_id,
        sequence,
        checksum: crc32fast::hash(&data),
        data: data.into(),
        last,
        state: Some(state()),
    })
}

async fn progress(service: &Service, chunk: Request<v1::SnapshotChunk>) -> (u64, bool) {
    let progress = service.install_snapshot(chunk).await.unwrap().into_inner();
    (progress.next_sequence, progress.installed)
}

#[tokio::test]
async fn snapshot_is_resumed_and_repeated_chunks_count_once() {
    let fixture = Fixture::new().await;
    let service = &fixture.service;
    assert_eq!(progress(service, chunk(5, 0, b"zero", false)).await, (1, false));
    assert_eq!(progress(service, chunk(5, 2, b"two", true)).await, (1, false), "a chunk was left out");
    assert_eq!(progress(service, chunk(5, 1, b"one", false)).await, (2, false));
    assert_eq!(progress(service, chunk(5, 1, b"one", false)).await, (2, false), "a repeated chunk");
    assert!(fixture.journal.commands().is_empty(), "an unfinished snapshot is visible");
    assert_eq!(progress(service, chunk(5, 2, b"two", true)).await, (3, true));
    assert_eq!(fixture.journal.commands(), ["zero", "one", "two"]);
    assert_eq!(progress(service, chunk(5, 2, b"two", true)).await, (3, true), "the repeated last chunk");
    assert_eq!(fixture.group.status().applied_index, 9);
    fixture.node.shutdown().await;
}

#[tokio::test]
async fn new_transfer_replaces_an_unfinished_one() {
    let fixture = Fixture::new().await;
    let service = &fixture.service;
    assert_eq!(progress(service, chunk(5, 0, b"old", false)).await, (1, false));
    assert_eq!(progress(service, chunk(6, 0, b"new", false)).await, (1, false));
    assert_eq!(progress(service, chunk(6, 1, b"end", true)).await, (2, true));
    assert_eq!(fixture.journal.commands(), ["new", "end"]);
    fixture.node.shutdown().await;
}

#[tokio::test]
async fn damaged_chunk_and_chunk_of_an_old_leader_are_not_taken() {
    let fixture = Fixture::new().await;
    let service = &fixture.service;
    let mut damaged = chunk(5, 0, b"zero", false);
    damaged.get_mut().checksum ^= 1;
    assert_eq!(service.install_snapshot(damaged).await.unwrap_err().code(), Code::DataLoss);

    let vote = v1::VoteRequest {
        route: Some(route()),
        vote: Some(v1::Vote { term: 7, node: 2, committed: false }),
        ..Default::default()
    };
    assert!(service.request_vote(Request::new(vote)).await.unwrap().into_inner().granted);
    let mut leadership = fixture.group.watch_leadership();
    leadership.wait_for(|now| now.term == 7).await.unwrap();
    let refused = service.install_snapshot(chunk(5, 0, b"zero", true)).await.unwrap().into_inner();
    assert_eq!(refused.vote.unwrap().term, 7);
    assert!(!refused.installed && fixture.journal.commands().is_empty());
    fixture.node.shutdown().await;
}

#[tokio::test]
async fn entries_that_cannot_be_read_are_refused() {
    let fixture = Fixture::new().await;
    let entries = vec![Bytes::from_static(b"short")];
    let append =
        v1::AppendRequest { route: Some(route()), vote: leader_vote(1), entries, ..Default::default() };
    let refused = fixture.service.heartbeat(Request::new(append)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(fixture.group.status().last_log_index, 0);
    fixture.node.shutdown().await;
}
