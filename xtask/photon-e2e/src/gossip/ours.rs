//! Three ChainFire servers and two agents, with an instance of a service on each machine, and what the registry says.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use chainfire_client::{Client, ClientConfig, Registry, registry::Instance};
use chainfire_proto::etcdserverpb::PutRequest;
use photon_runtime::{
    Identity,
    pki::{self, Issued, Leaf, Validity},
};

use super::{
    NODES,
    swarm::{Node, Swarm, Words},
};
use crate::faults::network::{End, Network, address};

/// Those of the nodes that are servers.
const SERVERS: usize = 3;
const CLUSTER: &str = "photon";
const GOSSIP: u16 = 7946;
const PEERS: u16 = 2380;
const CLIENTS: u16 = 2379;
/// 32 bytes.
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
const PATIENCE: Duration = Duration::from_secs(120);

const WORDS: Words = Words {
    there: |line, node| {
        let joined = line.contains("a node joined") && line.contains(&format!("\"{}\"", node.address));
        joined || (line.contains("a node returned") && names(line, node))
    },
    failed: |line, node| line.contains(FAILED) && names(line, node),
    any_failed: FAILED,
};
const FAILED: &str = "a node failed, by what is heard";

fn names(line: &str, node: &Node) -> bool {
    line.contains(&format!("\"name\":\"{}\"", node.name))
}

/// The five, and a client of theirs.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) swarm: Swarm,
    client: Client,
    registry: Registry,
}

impl Ours {
    /// Starts them in the first slots.
    ///
    /// # Errors
    /// When they cannot be started, or do not meet.
    pub(super) async fn start(network: &Network, folder: &Path) -> Result<Self> {
        let ca = pki::create_ca(CLUSTER, Validity::days(1)?)?;
        fs::write(folder.join("ca.crt"), &ca.cert_pem)?;
        let nodes = (0..NODES).map(|number| node(network, folder, &ca, number)).collect::<Result<_>>()?;
        let swarm = Swarm::start(nodes, WORDS).await?;
        let endpoints = (0..SERVERS).map(|slot| format!("http://{}:{CLIENTS}", address(End::Node(slot))));
        let config = ClientConfig { endpoints: endpoints.collect(), ..ClientConfig::default() };
        let client = Client::new(config)?;
        let ours = Self { swarm, registry: Registry::new(client.clone()), client };
        for number in 0..NODES {
            ours.register(number).await?;
        }
        Ok(ours)
    }

    async fn register(&self, number: usize) -> Result<()> {
        let (name, address) = (name(number), address(End::Node(number)).to_string());
        let record = serde_json::to_vec(&Instance::new("demo", name.clone(), name.clone(), address))?;
        let key = format!("/registry/demo/{name}");
        let begun = Instant::now();
        loop {
            // Without a lease: what is registered stays, whoever dies.
            let put =
                PutRequest { key: key.clone().into(), value: record.clone().into(), ..PutRequest::default() };
            match self.client.put(put).await {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                Err(error) => tracing::debug!("{name} is not registered yet: {error}"),
            }
        }
    }

    /// Waits until there are verdicts on exactly these nodes.
    pub(super) async fn until_judged(&self, wanted: &[usize]) -> Result<()> {
        let wanted: BTreeSet<String> = wanted.iter().map(|number| name(*number)).collect();
        let begun = Instant::now();
        loop {
            let judged = self.judged().await;
            if judged.as_ref().is_ok_and(|judged| *judged == wanted) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("waited in vain for verdicts on {wanted:?}; there are {judged:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sees to it that there is no verdict for a while.
    pub(super) async fn unjudged_for(&self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let judged = self.judged().await.context("the registry cannot be read")?;
            ensure!(judged.is_empty(), "there are verdicts on {judged:?}, who live");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// How often a verdict was committed so far.
    pub(super) fn committed(&self) -> Result<usize> {
        self.swarm.lines_with("a verdict was committed")
    }

    async fn judged(&self) -> Result<BTreeSet<String>> {
        let catalog = self.registry.everything().await?;
        ensure!(catalog.instances().count() == NODES, "an instance is missing");
        let judged = catalog.verdicts().map(|verdict| verdict.node.clone()).collect::<BTreeSet<_>>();
        let hidden = catalog.instances().filter(|instance| !catalog.is_available(instance)).count();
        ensure!(hidden == judged.len(), "{hidden} instances are hidden by {} verdicts", judged.len());
        Ok(judged)
    }
}

fn name(number: usize) -> String {
    format!("n{}", number + 1)
}

fn node(network: &Network, folder: &Path, ca: &Issued, number: usize) -> Result<Node> {
    let (host, name) = (address(End::Node(number)), name(number));
    let (verb, service) =
        if number < SERVERS { ("serve", "chainfire") } else { ("agent", "chainfire-agent") };
    let leaf = Leaf {
        identity: Identity::new(CLUSTER, service, &name)?,
        dns_names: Vec::new(),
        addresses: vec![IpAddr::V4(host)],
        validity: Validity::days(1)?,
    };
    let issued = pki::issue(ca, &leaf)?;
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    fs::write(file("crt"), &issued.cert_pem)?;
    fs::write(file("key"), &issued.key_pem)?;
    fs::write(file("keys"), KEY)?;
    fs::write(file("toml"), configuration(folder, number))?;
    let mut words = network.wrapper(number)?.to_vec();
    let binary = binary()?.display().to_string();
    words.extend([binary, verb.to_owned(), "--config".to_owned(), file("toml").display().to_string()]);
    Ok(Node::new(name.clone(), format!("{host}:{GOSSIP}"), words, file("log")))
}

fn configuration(folder: &Path, number: usize) -> String {
    let at = |number: usize, port: u16| format!("{}:{port}", address(End::Node(number)));
    let (name, folder) = (name(number), folder.display());
    let join =
        (0..SERVERS).map(|server| format!("\"{}\"", at(server, GOSSIP))).collect::<Vec<_>>().join(", ");
    let both = format!(
        "[server]\nlisten = \"{}\"\n\n[auth]\ncluster = \"{CLUSTER}\"\n\n[log]\nformat = \"json\"\n\n\
         [tls]\ncert = \"{folder}/{name}.crt\"\nkey = \"{folder}/{name}.key\"\nca = \"{folder}/ca.crt\"\n\n\
         [gossip]\nlisten = \"{}\"\nname = \"{name}\"\nkey_file = \"{folder}/{name}.keys\"\njoin = [{join}]\n\n",
        at(number, PEERS),
        at(number, GOSSIP)
    );
    if number >= SERVERS {
        return both;
    }
    let member = |id: usize| format!("{{ id = {}, endpoint = \"https://{}\" }}", id + 1, at(id, PEERS));
    let members = (0..SERVERS).map(member).collect::<Vec<_>>().join(", ");
    format!(
        "{both}[node]\nid = {}\nendpoint = \"https://{}\"\ndata_dir = \"{folder}/{name}\"\n\n\
         [client]\nlisten = \"{}\"\ntls = \"off\"\n\n[cluster]\ninitial_members = [{members}]\n\n\
         [storage]\nmemory_bytes = 67108864\nspace_low_bytes = 0\n",
        number + 1,
        at(number, PEERS),
        at(number, CLIENTS)
    )
}

/// The binary that lies beside this one.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let binary = own.parent().context("this program is in no folder")?.join("chainfire");
    ensure!(binary.exists(), "{} is not built; cargo xtask e2e builds it", binary.display());
    Ok(binary)
}
