//! Real nodes on loopback, in one process. Each test has an address of its own: a port that a dead node leaves may
//! be given to the next node, and its cluster still knocks there.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use chainfire_gossip::{
    Config, Event, Gossip, Handle, Identity, Key, Keyring, Member, Metadata, Metrics, Node, NodeId, Outbox,
    Path, Sockets, Start, Status,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::mpsc,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Longer than any machine needs; a test that works never waits so long.
const PATIENCE: Duration = Duration::from_secs(120);

struct Running {
    id: u64,
    addr: SocketAddr,
    handle: Handle,
    events: mpsc::Receiver<Event>,
    metrics: Metrics,
    stopping: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
}

fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

fn metadata(name: &str) -> Metadata {
    Metadata::new(name, "zone-a", vec![], vec!["flaredb".to_owned()]).unwrap()
}

fn start(id: u64, addr: SocketAddr, seeds: Vec<SocketAddr>) -> Start {
    Start {
        config: Config::default(),
        identity: Identity::new(NodeId(id), addr, 1),
        metadata: metadata(&format!("node-{id}")),
        seeds,
        keyring: Keyring::new(key(1)),
        entropy: [u8::try_from(id).unwrap(); 32],
    }
}

async fn run(net: u8, id: u64, seeds: Vec<SocketAddr>) -> Running {
    let sockets = Sockets::bind(([127, 0, net, 1], 0).into()).await.unwrap();
    let (addr, metrics) = (sockets.addr().unwrap(), Metrics::default());
    let (node, handle, events) = Node::new(sockets, start(id, addr, seeds), metrics.clone()).unwrap();
    let (stopping, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(node.run(stopping.clone()));
    Running { id, addr, handle, events, metrics, stopping, tasks }
}

/// Nodes 1 to `count`, which know each other and what each says about itself.
async fn cluster(net: u8, count: u64) -> Vec<Running> {
    let mut nodes = vec![run(net, 1, vec![]).await];
    for id in 2..=count {
        nodes.push(run(net, id, vec![nodes[0].addr]).await);
    }
    for (node, id) in pairs(&nodes) {
        node.sees(id, |member| member.is_active() && member.metadata.is_some()).await;
    }
    nodes
}

/// Each node with the id of each other.
fn pairs(nodes: &[Running]) -> impl Iterator<Item = (&Running, u64)> {
    nodes
        .iter()
        .flat_map(|node| nodes.iter().map(move |other| (node, other.id)))
        .filter(|(node, id)| node.id != *id)
}

impl Running {
    /// Waits until what it knows of a node is as wanted.
    async fn sees(&self, id: u64, wanted: impl Fn(&Member) -> bool) {
        let mut members = self.handle.members();
        let seen = members.wait_for(|members| {
            members.iter().any(|member| member.identity.node == NodeId(id) && wanted(member))
        });
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(seen) => drop(seen.unwrap()),
            Err(_) => panic!(
                "node {} does not see that of node {id}: {:?}",
                self.id,
                self.handle.members().borrow()
            ),
        }
    }
}

#[tokio::test]
async fn five_nodes_meet_and_all_learn_that_one_died_and_that_one_left() {
    let mut nodes = cluster(31, 5).await;
    let mut dead = nodes.pop().unwrap();
    dead.tasks.shutdown().await;
    let died_at = Instant::now();
    for node in &nodes {
        node.sees(5, |member| member.status == Status::Failed).await;
    }
    println!("known to all {:?} after the death", died_at.elapsed());
    let mut leaver = nodes.pop().unwrap();
    leaver.stopping.cancel();
    leaver.tasks.join_next().await.unwrap().unwrap().unwrap();
    for node in &mut nodes {
        node.sees(4, |member| member.status == Status::Left).await;
        while node.events.recv().await.unwrap() != Event::Left(NodeId(4)) {}
    }
}

#[tokio::test]
async fn keys_are_changed_under_way_and_not_one_packet_is_refused() {
    let nodes = cluster(32, 5).await;
    for node in &nodes {
        node.handle.add_key(key(2)).await.unwrap();
    }
    for node in &nodes {
        let ids = node.handle.use_key(key(2).id()).await.unwrap();
        assert_eq!(ids, [key(2).id(), key(1).id()]);
        // Everybody else still hears it, whichever key they use.
        node.handle.set_metadata(metadata("renamed")).await.unwrap();
        for other in nodes.iter().filter(|other| other.id != node.id) {
            let renamed = |member: &Member| member.metadata.as_ref().is_some_and(|of| of.name() == "renamed");
            other.sees(node.id, renamed).await;
        }
    }
    let refused = || nodes.iter().map(|node| node.metrics.foreign.get()).sum::<u64>();
    assert_eq!(refused(), 0);
    for node in &nodes {
        assert_eq!(node.handle.remove_key(key(1).id()).await.unwrap(), [key(2).id()]);
    }
    for (node, id) in pairs(&nodes) {
        node.sees(id, Member::is_active).await;
    }
    assert!(nodes[0].handle.use_key(key(1).id()).await.is_err());
}

#[tokio::test]
async fn what_is_not_ours_is_counted_and_changes_nothing() {
    let nodes = cluster(33, 2).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(&[1; 300], nodes[0].addr).await.unwrap();
    stranger.send_to(&[1; 1401], nodes[0].addr).await.unwrap();
    let counted = async {
        while nodes[0].metrics.foreign.get() == 0 || nodes[0].metrics.malformed.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    nodes[0].sees(2, Member::is_active).await;
}

async fn write(stream: &mut TcpStream, packet: &[u8]) -> io::Result<()> {
    stream.write_u16(u16::try_from(packet.len()).unwrap()).await?;
    stream.write_all(packet).await
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

/// Lets a core without sockets announce itself over one stream: it is challenged, and then told who is there.
async fn announce_over_tcp(core: &mut Gossip, node: SocketAddr) -> io::Result<()> {
    let (now, mut out) = (core.wake_at().unwrap(), Outbox::default());
    core.wake(now, &mut out);
    let mut stream = TcpStream::connect(node).await?;
    for packet in out.packets {
        write(&mut stream, &packet.bytes).await?;
        for _ in ["challenge", "feed"] {
            let mut out = Outbox::default();
            core.receive(now, &read(&mut stream).await?, Path::Stream, &mut out);
            for reply in out.replies {
                write(&mut stream, &reply).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn node_answers_over_tcp_what_it_would_answer_over_udp() {
    let node = run(34, 1, vec![]).await;
    // Nobody reads at this address: what comes, comes over the stream.
    let silent = UdpSocket::bind("127.0.34.2:0").await.unwrap();
    let start = start(2, silent.local_addr().unwrap(), vec![node.addr]);
    let mut core = Gossip::new(start, Metrics::default()).unwrap();
    core.begin(Duration::ZERO, &mut Outbox::default());
    let met = async {
        while !core.member(NodeId(1)).is_some_and(Member::is_active) {
            // A stream lives for half a second, which a busy machine may let pass; the next one then does it.
            if let Err(error) = announce_over_tcp(&mut core, node.addr).await {
                println!("{error}");
            }
        }
    };
    tokio::time::timeout(PATIENCE, met).await.unwrap();
}
