//! A cloud for one test: a CA, certificates, nodes that run in this process, and etcd clients.

use std::{
    fs,
    iter::repeat_with,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use chainfire_proto::etcdserverpb::{
    PutRequest, RangeRequest, RangeResponse, StatusRequest, cluster_client::ClusterClient,
    kv_client::KvClient, maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use chainfire_server::{
    ChainFire, Config,
    config::{InitialMember, NodeConfig},
};
use photon_runtime::{
    ClientTls, Identity, OpenTls, Process, StartError, TlsConfig,
    pki::{self, Issued, Leaf, Validity},
};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cloud {
    pub(crate) folder: TempDir,
    ca: Issued,
}

/// One node, and where its clients find it.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) config: Config,
    pub(crate) channel: Channel,
}

/// Waits until a condition holds.
pub(crate) async fn wait_for<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An address that nothing listens on at the moment. Its port is below those that the kernel gives to outgoing connections,
/// so that none of them gets it before a node listens there.
pub(crate) fn free_address() -> SocketAddr {
    let draw = || SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..32_000)));
    let mut draws = repeat_with(draw).take(1_000);
    draws.find(|address| TcpListener::bind(address).is_ok()).unwrap()
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = pki::create_ca("photon", Validity::days(1).unwrap()).unwrap();
        let cloud = Self { folder, ca };
        let own = cloud.issue("chainfire");
        cloud.write("ca.crt", &cloud.ca.cert_pem);
        cloud.write("own.crt", &own.cert_pem);
        cloud.write("own.key", &own.key_pem);
        cloud
    }

    fn issue(&self, service: &str) -> Issued {
        let leaf = Leaf {
            identity: Identity::new("photon", service, "1").unwrap(),
            dns_names: vec!["localhost".to_owned()],
            addresses: vec!["127.0.0.1".parse().unwrap()],
            validity: Validity::days(1).unwrap(),
        };
        pki::issue(&self.ca, &leaf).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The files of another service's certificate.
    pub(crate) fn tls(&self, service: &str) -> TlsConfig {
        let issued = self.issue(service);
        let (cert, key) = (format!("{service}.crt"), format!("{service}.key"));
        self.write(&cert, &issued.cert_pem);
        self.write(&key, &issued.key_pem);
        TlsConfig { cert: Some(self.path(&cert)), key: Some(self.path(&key)), ca: Some(self.path("ca.crt")) }
    }

    /// A node at this address for its peers, with these first members.
    pub(crate) fn config(&self, id: u64, address: SocketAddr, members: &[SocketAddr]) -> Config {
        let mut config = Config::default();
        config.server.listen = address;
        config.tls.cert = Some(self.path("own.crt"));
        config.tls.key = Some(self.path("own.key"));
        config.tls.ca = Some(self.path("ca.crt"));
        config.client.listen = free_address();
        let data_dir = self.path(&format!("node{id}"));
        config.node = NodeConfig { id, endpoint: format!("https://{address}"), data_dir };
        let member = |(id, at): (u64, &SocketAddr)| InitialMember { id, endpoint: format!("https://{at}") };
        config.cluster.initial_members = (1..).zip(members).map(member).collect();
        config.storage.space_low_bytes = 0;
        config
    }

    pub(crate) async fn start(&self, config: Config) -> Result<Running, StartError> {
        let process = Process::start::<ChainFire>(config.clone()).await?;
        let channel = self.channel(&config, &self.member());
        Ok(Running { process, config, channel })
    }

    /// A connection to etcd's port with these credentials, made when it is first used.
    pub(crate) fn channel(&self, config: &Config, credentials: &ClientTls) -> Channel {
        let scheme = if config.client.tls == OpenTls::Off { "http" } else { "https" };
        let url = format!("{scheme}://{}", config.client.listen);
        credentials.endpoint(&url).unwrap().connect_lazy()
    }

    /// A cluster of one node.
    pub(crate) async fn single(&self) -> Running {
        self.single_with(|_| {}).await
    }

    /// The same, configured otherwise.
    pub(crate) async fn single_with(&self, configure: impl FnOnce(&mut Config)) -> Running {
        let address = free_address();
        let mut config = self.config(1, address, &[address]);
        configure(&mut config);
        let running = self.start(config).await.unwrap();
        running.ready().await;
        running
    }

    /// A cluster of three, the leader first.
    pub(crate) async fn three(&self) -> Vec<Running> {
        let members = [free_address(), free_address(), free_address()];
        let mut nodes = Vec::new();
        for (id, address) in (1..).zip(members) {
            nodes.push(self.start(self.config(id, address, &members)).await.unwrap());
        }
        for node in &nodes {
            node.ready().await;
        }
        let leader = nodes[0].leader().await;
        nodes.sort_by_key(|node| node.config.node.id != leader);
        nodes
    }

    /// Credentials with nothing in them but whom to believe.
    pub(crate) fn anonymous(&self) -> ClientTls {
        ClientTls { ca_pem: Some(self.ca.cert_pem.clone().into()), ..ClientTls::default() }
    }

    /// The certificate of a service of this cloud.
    pub(crate) fn member(&self) -> ClientTls {
        let own = self.issue("flashdns");
        ClientTls { identity_pem: Some((own.cert_pem.into(), own.key_pem.into())), ..self.anonymous() }
    }
}

impl Running {
    pub(crate) async fn ready(&self) {
        let ready = async || self.process.health().readiness().is_ready().then_some(());
        wait_for("the node is ready", ready).await;
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone())
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }

    /// The node that leads, as this one knows.
    pub(crate) async fn leader(&self) -> u64 {
        wait_for("there is a leader", async || {
            let status = self.maintenance().status(StatusRequest {}).await.ok()?;
            Some(status.into_inner().leader).filter(|leader| *leader > 0)
        })
        .await
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<i64, Status> {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        let answer = self.kv().put(PutRequest { key, value, ..PutRequest::default() }).await?;
        Ok(answer.into_inner().header.unwrap().revision)
    }

    pub(crate) async fn range(&self, key: &str, range_end: &str) -> Result<RangeResponse, Status> {
        let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
        let answer = self.kv().range(RangeRequest { key, range_end, ..RangeRequest::default() }).await?;
        Ok(answer.into_inner())
    }

    /// The value of a key.
    pub(crate) async fn get(&self, key: &str) -> Option<String> {
        let found = self.range(key, "").await.unwrap().kvs.into_iter().next()?;
        Some(String::from_utf8(found.value.into()).unwrap())
    }

    pub(crate) async fn stop(self) {
        self.process.stop().await.unwrap();
    }
}
