//! One FlashDNS process in this program, with a folder and an address of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use flashdns_proto::v1::{
    self, RecordSetChange, record_sets_client::RecordSetsClient, zones_client::ZonesClient,
};
use flashdns_server::{Config, DnsConfig, FlashDns};
use metadata_store::MetadataConfig;
use photon_runtime::{AuthConfig, Process, Token};
use tempfile::TempDir;
use tonic::{Request, transport::Channel};

use crate::dns;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that outlives a process: its folder, its address, its credentials.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    pub(crate) dns: SocketAddr,
    admin: Token,
    viewer: Token,
}

/// A running process.
#[derive(Debug)]
pub(crate) struct Node {
    process: Process,
    pub(crate) home: Home,
    channel: Channel,
}

/// An address that no other test has: loopback is a whole network, and a process id has room in it.
fn address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, high, middle, low] = process::id().to_be_bytes();
    let host = NEXT.fetch_add(1, Ordering::Relaxed);
    let ip = Ipv4Addr::new(127, middle.wrapping_add(high).max(1), low, host);
    SocketAddr::from((ip, 5300))
}

impl Home {
    pub(crate) fn new() -> Home {
        let home = Home {
            folder: TempDir::new().unwrap(),
            dns: address(),
            admin: Token::generate(),
            viewer: Token::generate(),
        };
        let entry = |name: &str, token: &Token| {
            format!("[[token]]\nname = \"{name}\"\nsha256 = \"{}\"\nrole = \"{name}\"\n", token.sha256_hex())
        };
        let tokens = entry("admin", &home.admin) + &entry("viewer", &home.viewer);
        fs::write(home.folder.path().join("tokens.toml"), tokens).unwrap();
        home
    }

    /// Its configuration with the embedded backend.
    pub(crate) fn config(&self) -> Config {
        let path = |name: &str| self.folder.path().join(name);
        Config {
            auth: AuthConfig { tokens_file: Some(path("tokens.toml")), ..AuthConfig::default() },
            metadata: MetadataConfig { data_dir: Some(path("metadata")), ..MetadataConfig::default() },
            dns: DnsConfig { listen: vec![self.dns], workers: 2, pin_workers: false, ..DnsConfig::default() },
            data_dir: path("data"),
            ..Config::default()
        }
    }

    pub(crate) fn checkpoint(&self) -> std::path::PathBuf {
        self.folder.path().join("data/zones.checkpoint")
    }

    /// Starts the process, and does not wait until it is ready.
    pub(crate) async fn start(self, config: Config) -> Node {
        let process = Process::start::<FlashDns>(config).await.unwrap();
        let endpoint = format!("http://{}", process.grpc_address());
        let channel = Channel::from_shared(endpoint).unwrap().connect().await.unwrap();
        Node { process, home: self, channel }
    }
}

impl Node {
    /// A process with an embedded store that is ready.
    pub(crate) async fn new() -> Node {
        let home = Home::new();
        let config = home.config();
        let node = home.start(config).await;
        node.ready().await;
        node
    }

    /// Ends the process.
    pub(crate) async fn stop(self) -> Home {
        let Node { process, home, channel } = self;
        drop(channel);
        process.stop().await.unwrap();
        home
    }

    pub(crate) async fn ready(&self) {
        let mut readiness = self.process.health().watch();
        let ready = readiness.wait_for(|readiness| readiness.is_ready());
        tokio::time::timeout(PATIENCE, ready).await.expect("ready in time").unwrap();
    }

    /// Waits until the condition `zones` has a reason with this in it; whether it is met.
    pub(crate) async fn told(&self, wanted: &str, ok: bool) {
        let mut readiness = self.process.health().watch();
        let told = readiness.wait_for(|readiness| {
            readiness.conditions.get("zones").is_some_and(|state| {
                state.ok == ok && state.reason.as_deref().is_some_and(|reason| reason.contains(wanted))
            })
        });
        tokio::time::timeout(PATIENCE, told).await.expect("told in time").unwrap();
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.process.admin_address()
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn zones(&self) -> ZonesClient<Channel> {
        ZonesClient::new(self.channel()).max_decoding_message_size(64 << 20)
    }

    pub(crate) fn record_sets(&self) -> RecordSetsClient<Channel> {
        RecordSetsClient::new(self.channel()).max_decoding_message_size(64 << 20)
    }

    /// A request of the admin.
    pub(crate) fn admin<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.home.admin)
    }

    /// A request of somebody who may only read.
    pub(crate) fn viewer<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.home.viewer)
    }

    /// Asks over UDP for the data of a record set.
    pub(crate) fn dig(&self, name: &str, rtype: &str) -> Vec<String> {
        dns::udp(self.home.dns, name, rtype).data
    }

    pub(crate) async fn create_zone(&self, name: &str) -> v1::Zone {
        let request = v1::CreateZoneRequest { name: name.to_owned(), ..Default::default() };
        self.zones().create_zone(self.admin(request)).await.unwrap().into_inner()
    }

    pub(crate) async fn zone(&self, name: &str) -> v1::Zone {
        let request = v1::GetZoneRequest { name: name.to_owned() };
        self.zones().get_zone(self.admin(request)).await.unwrap().into_inner()
    }

    pub(crate) async fn change(
        &self,
        zone: &str,
        changes: Vec<RecordSetChange>,
    ) -> Result<v1::ChangeRecordSetsResponse, tonic::Status> {
        let request = v1::ChangeRecordSetsRequest { zone: zone.to_owned(), changes, ..Default::default() };
        self.record_sets().change_record_sets(self.admin(request)).await.map(tonic::Response::into_inner)
    }

    /// All record sets of a zone, page by page.
    pub(crate) async fn list(&self, zone: &str, page_size: u32) -> Vec<v1::RecordSet> {
        let mut request =
            v1::ListRecordSetsRequest { zone: zone.to_owned(), page_size, ..Default::default() };
        let mut sets = Vec::new();
        loop {
            let page = self.record_sets().list_record_sets(self.admin(request.clone())).await.unwrap();
            let page = page.into_inner();
            sets.extend(page.record_sets);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return sets;
            }
        }
    }

    /// The whole change log of a zone, oldest first.
    pub(crate) async fn log(&self, zone: &str) -> Vec<v1::Change> {
        let mut request =
            v1::ListChangesRequest { zone: zone.to_owned(), page_size: 7, ..Default::default() };
        let mut changes = Vec::new();
        loop {
            let page = self.zones().list_changes(self.admin(request.clone())).await.unwrap().into_inner();
            changes.extend(page.changes);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                changes.reverse();
                return changes;
            }
        }
    }

    pub(crate) async fn import(
        &self,
        zone: &str,
        zone_file: &str,
    ) -> Result<v1::ImportZoneResponse, tonic::Status> {
        let request = v1::ImportZoneRequest {
            name: zone.to_owned(),
            zone_file: zone_file.to_owned(),
            comment: "imported".to_owned(),
        };
        self.zones().import_zone(self.admin(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn export(&self, zone: &str) -> String {
        let request = v1::ExportZoneRequest { name: zone.to_owned() };
        let mut parts = self.zones().export_zone(self.admin(request)).await.unwrap().into_inner();
        let mut text = String::new();
        while let Some(part) = parts.message().await.unwrap() {
            text.push_str(&part.text);
        }
        text
    }
}

fn with_token<T>(message: T, token: &Token) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", token.expose()).parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// A record set as it is to be; no data: gone.
pub(crate) fn set(name: &str, rtype: &str, data: &[&str]) -> RecordSetChange {
    RecordSetChange {
        name: name.to_owned(),
        r#type: rtype.to_owned(),
        ttl_s: 60,
        data: data.iter().map(|text| (*text).to_owned()).collect(),
        ..Default::default()
    }
}

/// Waits until `holds`, looking again and again.
pub(crate) async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_late| panic!("{what}"));
}
