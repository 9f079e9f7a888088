//! What a cloud on one machine is made of: its folder, ports, configuration files and processes.
//!
//! Pure but for [`Layout::write_configs`]; starting and watching processes is its callers' work: `cargo xtask up` for
//! people, `photon-e2e` for tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Name of the cloud in certificates.
pub const CLUSTER: &str = "photon";

/// Service and node in the certificate of the person who works with the cloud.
const PERSON: (&str, &str) = ("photon", "admin");

/// A cloud on one machine.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Everything that the cloud keeps is below it.
    pub folder: PathBuf,
    /// ChainFire's nodes.
    pub members: Vec<Member>,
    /// FlareDB's nodes; empty when FlashDNS keeps its zones elsewhere.
    pub databases: Vec<Database>,
    /// Client ports of the cluster that speaks etcd's API and keeps FlashDNS's zones; empty when there is none.
    pub key_ports: Vec<u16>,
    /// FlashDNS, unless it is left out.
    pub dns: Option<Dns>,
    /// Services that get a certificate besides the two above.
    pub services: Vec<String>,
}

/// One ChainFire node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// From 1.
    pub id: u64,
    /// gRPC, for the other nodes.
    pub port: u16,
    /// `/metrics`, `/livez`, `/readyz`.
    pub admin_port: u16,
    /// etcd's API, for clients with a certificate of the cloud.
    pub client_port: u16,
}

/// One FlareDB node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Database {
    /// From 1.
    pub id: u64,
    /// gRPC, for clients and peers.
    pub port: u16,
    /// `/metrics`, `/livez`, `/readyz`.
    pub admin_port: u16,
}

/// FlashDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dns {
    /// gRPC.
    pub port: u16,
    /// `/metrics`, `/livez`, `/readyz`.
    pub admin_port: u16,
    /// DNS over UDP and TCP.
    pub dns_port: u16,
    /// UDP threads; 0: one for each core.
    pub workers: usize,
}

/// A process of the cloud, ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// `flaredb-1`, `flashdns`.
    pub name: String,
    /// Name of the binary.
    pub binary: &'static str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
    /// `/readyz` is answered here.
    pub admin_port: u16,
    /// What people connect to.
    pub endpoint: String,
}

impl Layout {
    /// Folder of certificates and tokens.
    pub fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.pki().join("ca.crt")
    }

    /// The file with the operator's token.
    pub fn admin_token(&self) -> PathBuf {
        self.pki().join("admin.token")
    }

    /// Certificate and key of a process.
    pub fn certificate(&self, service: &str, node: &str) -> (PathBuf, PathBuf) {
        let file = |ending| self.pki().join(format!("{service}-{node}.{ending}"));
        (file("crt"), file("key"))
    }

    /// The configuration file of a process.
    pub fn config(&self, process: &str) -> PathBuf {
        self.folder.join("config").join(format!("{process}.toml"))
    }

    /// Client URLs of ChainFire's nodes.
    pub fn member_urls(&self) -> Vec<String> {
        self.members.iter().map(|node| endpoint(node.client_port)).collect()
    }

    /// gRPC endpoints of FlareDB's nodes.
    pub fn database_endpoints(&self) -> Vec<String> {
        self.databases.iter().map(|node| endpoint(node.port)).collect()
    }

    /// FlashDNS's gRPC endpoint.
    pub fn dns_endpoint(&self) -> Option<String> {
        self.dns.map(|dns| endpoint(dns.port))
    }

    /// Arguments of `photon`, one command each, that make the credentials which are not there yet.
    pub fn credential_commands(&self) -> Vec<Vec<String>> {
        let pki = self.pki().display().to_string();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let mut commands = Vec::new();
        if !self.ca().exists() {
            commands.push(words(&["pki", "init", "--dir", &pki, "--cluster", CLUSTER]));
        }
        for (service, node) in self.identities() {
            if !self.certificate(&service, &node).0.exists() {
                commands.push(words(&[
                    "pki",
                    "issue",
                    "--dir",
                    &pki,
                    "--service",
                    &service,
                    "--node",
                    &node,
                    "--address",
                    "127.0.0.1",
                    "--address",
                    "localhost",
                ]));
            }
        }
        if !self.admin_token().exists() {
            commands.push(words(&["pki", "token", "--dir", &pki, "--name", "admin", "--role", "admin"]));
        }
        commands
    }

    /// Arguments of `photon` that make this cloud the context `name`.
    pub fn context_command(&self, name: &str) -> Vec<String> {
        let mut words = vec!["context".to_owned(), "set".to_owned(), name.to_owned()];
        for endpoint in self.database_endpoints() {
            words.extend(["--flaredb-endpoint".to_owned(), endpoint]);
        }
        if let Some(endpoint) = self.dns_endpoint() {
            words.extend(["--flashdns-endpoint".to_owned(), endpoint]);
        }
        for url in self.member_urls() {
            words.extend(["--chainfire-endpoint".to_owned(), url]);
        }
        if !self.members.is_empty() {
            let (cert, key) = self.certificate(PERSON.0, PERSON.1);
            words.extend(["--cert".to_owned(), path(&cert), "--key".to_owned(), path(&key)]);
        }
        words.extend(["--ca".to_owned(), self.ca().display().to_string()]);
        words.extend(["--token-file".to_owned(), self.admin_token().display().to_string()]);
        words
    }

    fn identities(&self) -> Vec<(String, String)> {
        let members = self.members.iter().map(|node| ("chainfire".to_owned(), node.id.to_string()));
        let person = self.members.first().map(|_| (PERSON.0.to_owned(), PERSON.1.to_owned()));
        let databases = self.databases.iter().map(|node| ("flaredb".to_owned(), node.id.to_string()));
        let dns = self.dns.iter().map(|_| ("flashdns".to_owned(), "1".to_owned()));
        let others = self.services.iter().map(|service| (service.clone(), "1".to_owned()));
        let mut all: Vec<_> = members.chain(person).chain(databases).chain(dns).chain(others).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Writes the configuration file of every process, and makes the folders that they need.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write_configs(&self) -> io::Result<()> {
        for folder in ["config", "logs"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        for node in &self.members {
            fs::write(self.config(&format!("chainfire-{}", node.id)), self.member_config(*node))?;
        }
        for node in &self.databases {
            fs::write(self.config(&format!("flaredb-{}", node.id)), self.database_config(*node))?;
        }
        if let Some(dns) = self.dns {
            fs::write(self.config("flashdns"), self.dns_config(dns))?;
        }
        Ok(())
    }

    /// Every process, in the order in which they start.
    pub fn processes(&self) -> Vec<Process> {
        let members = self.members.iter().map(|node| {
            let name = format!("chainfire-{}", node.id);
            let serve = ["serve".to_owned(), "--config".to_owned(), path(&self.config(&name))];
            self.process(name, "chainfire", serve.to_vec(), node.admin_port, node.client_port)
        });
        let databases = self.databases.iter().map(|node| {
            let name = format!("flaredb-{}", node.id);
            let serve = ["serve".to_owned(), "--config".to_owned(), path(&self.config(&name))];
            self.process(name, "flaredb", serve.to_vec(), node.admin_port, node.port)
        });
        let dns = self.dns.iter().map(|dns| {
            let serve = ["--config".to_owned(), path(&self.config("flashdns"))];
            self.process("flashdns".to_owned(), "flashdns", serve.to_vec(), dns.admin_port, dns.port)
        });
        members.chain(databases).chain(dns).collect()
    }

    fn process(
        &self,
        name: String,
        binary: &'static str,
        arguments: Vec<String>,
        admin_port: u16,
        port: u16,
    ) -> Process {
        let log = self.folder.join("logs").join(format!("{name}.log"));
        Process { name, binary, arguments, log, admin_port, endpoint: endpoint(port) }
    }

    /// The sections that every process has.
    fn common(&self, service: &str, node: &str, port: u16, admin_port: u16) -> String {
        let (cert, key) = self.certificate(service, node);
        format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\nadmin_listen = \"127.0.0.1:{admin_port}\"\n\n\
             [tls]\ncert = {}\nkey = {}\nca = {}\n\n\
             [auth]\ncluster = \"{CLUSTER}\"\ntokens_file = {}\n",
            quoted(&cert),
            quoted(&key),
            quoted(&self.ca()),
            quoted(&self.pki().join("tokens.toml")),
        )
    }

    fn member_config(&self, node: Member) -> String {
        let peers = self.members.iter().map(|member| (member.id, member.port));
        format!(
            "{}\n[client]\nlisten = \"127.0.0.1:{}\"\n",
            self.node_config("chainfire", node.id, node.port, node.admin_port, peers),
            node.client_port
        )
    }

    fn database_config(&self, node: Database) -> String {
        let peers = self.databases.iter().map(|member| (member.id, member.port));
        self.node_config("flaredb", node.id, node.port, node.admin_port, peers)
    }

    /// What a node of a replicated store has, whichever store it is.
    fn node_config(
        &self,
        service: &str,
        id: u64,
        port: u16,
        admin_port: u16,
        peers: impl Iterator<Item = (u64, u16)>,
    ) -> String {
        let members: String = peers
            .map(|(id, port)| format!("    {{ id = {id}, endpoint = \"{}\" }},\n", endpoint(port)))
            .collect();
        format!(
            "{}\n[node]\nid = {id}\nendpoint = \"{}\"\ndata_dir = {}\n\n\
             [cluster]\nid = \"{CLUSTER}\"\ninitial_members = [\n{members}]\n",
            self.common(service, &id.to_string(), port, admin_port),
            endpoint(port),
            quoted(&self.folder.join(format!("{service}-{id}"))),
        )
    }

    fn dns_metadata(&self) -> String {
        if !self.key_ports.is_empty() {
            return cluster("chainfire", self.key_ports.iter().map(|port| endpoint(*port)));
        }
        if !self.databases.is_empty() {
            return cluster("flaredb", self.database_endpoints().into_iter());
        }
        format!("backend = \"embedded\"\ndata_dir = {}\n", quoted(&self.folder.join("flashdns-metadata")))
    }

    fn dns_config(&self, dns: Dns) -> String {
        format!(
            "data_dir = {}\n\n{}\n[metadata]\n{}\n[dns]\nlisten = [\"127.0.0.1:{}\"]\nworkers = {}\n",
            quoted(&self.folder.join("flashdns")),
            self.common("flashdns", "1", dns.port, dns.admin_port),
            self.dns_metadata(),
            dns.dns_port,
            dns.workers,
        )
    }
}

/// The settings of a backend that is a cluster.
fn cluster(backend: &str, endpoints: impl Iterator<Item = String>) -> String {
    let endpoints: Vec<_> = endpoints.map(|url| format!("\"{url}\"")).collect();
    format!("backend = \"{backend}\"\nendpoints = [{}]\n", endpoints.join(", "))
}

fn endpoint(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

/// A path as a TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(nodes: u16) -> Layout {
        let databases = (1..=nodes)
            .map(|number| Database { id: u64::from(number), port: 7000 + number, admin_port: 7100 + number })
            .collect();
        let members = (1..=nodes)
            .map(|number| Member {
                id: u64::from(number),
                port: 7400 + number,
                admin_port: 7500 + number,
                client_port: 2279 + 100 * number,
            })
            .collect();
        let dns = Dns { port: 7201, admin_port: 7301, dns_port: 5300, workers: 0 };
        let (key_ports, services) = (Vec::new(), Vec::new());
        Layout { folder: "/cloud \"x\"".into(), members, databases, key_ports, dns: Some(dns), services }
    }

    #[test]
    fn configs_are_toml_whatever_the_folder_is_called() {
        let layout = layout(3);
        let database: toml::Table = layout.database_config(layout.databases[1]).parse().unwrap();
        assert_eq!(database["cluster"]["initial_members"].as_array().unwrap().len(), 3);
        assert_eq!(database["node"]["data_dir"].as_str(), Some("/cloud \"x\"/flaredb-2"));
        let member: toml::Table = layout.member_config(layout.members[2]).parse().unwrap();
        assert_eq!(member["client"]["listen"].as_str(), Some("127.0.0.1:2579"));
        let dns: toml::Table = layout.dns_config(layout.dns.unwrap()).parse().unwrap();
        assert_eq!(dns["metadata"]["backend"].as_str(), Some("flaredb"));
    }

    #[test]
    fn flashdns_keeps_its_zones_itself_where_there_is_no_database() {
        let mut layout = layout(0);
        let dns: toml::Table = layout.dns_config(layout.dns.unwrap()).parse().unwrap();
        assert_eq!(dns["metadata"]["backend"].as_str(), Some("embedded"));
        layout.key_ports = vec![2379];
        let dns: toml::Table = layout.dns_config(layout.dns.unwrap()).parse().unwrap();
        assert_eq!(dns["metadata"]["endpoints"][0].as_str(), Some("https://127.0.0.1:2379"));
    }

    #[test]
    fn every_process_has_an_identity_of_its_own() {
        // Two of each store, FlashDNS, and the person.
        assert_eq!(layout(2).identities().len(), 6);
    }
}
