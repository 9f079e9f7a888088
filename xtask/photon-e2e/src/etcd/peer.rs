//! How etcd's own nodes are started.

use std::path::Path;

use super::{Certificates, Node, Ports, TOKEN_TTL_S};

/// What the nodes of a cluster have in common.
struct Plan<'a> {
    folder: &'a Path,
    certificates: Option<&'a Certificates>,
    scheme: &'static str,
    cluster: String,
}

/// The nodes of a cluster below `folder`.
pub(super) fn nodes(folder: &Path, ports: &[Ports], certificates: Option<&Certificates>) -> Vec<Node> {
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let members = (1..).zip(ports).map(|(number, ports)| format!("n{number}={}", url(scheme, ports.peer)));
    let plan = Plan { folder, certificates, scheme, cluster: members.collect::<Vec<_>>().join(",") };
    ports.iter().enumerate().map(|(number, ports)| plan.node(number, *ports)).collect()
}

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

impl Plan<'_> {
    fn node(&self, number: usize, ports: Ports) -> Node {
        let (name, client) = (format!("n{}", number + 1), url(self.scheme, ports.client));
        let (peer, token_ttl_s) = (url(self.scheme, ports.peer), TOKEN_TTL_S.to_string());
        let data = self.folder.join(format!("etcd-{name}")).display().to_string();
        #[rustfmt::skip]
        let words = [
            "--name", &name, "--data-dir", &data, "--quota-backend-bytes", "4294967296",
            // As large as the batches of the metadata store may be.
            "--max-txn-ops", "4096", "--max-request-bytes", "16777216",
            "--listen-client-urls", &client, "--advertise-client-urls", &client,
            "--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer,
            "--initial-cluster", &self.cluster, "--initial-cluster-state", "new",
            "--auth-token-ttl", &token_ttl_s,
            "--logger", "zap", "--log-level", "error",
        ];
        let mut arguments: Vec<String> = words.into_iter().map(str::to_owned).collect();
        arguments.extend(self.certificates.map(|files| files.arguments(number)).unwrap_or_default());
        let log = self.folder.join(format!("etcd-{name}.log"));
        Node { url: client, program: "etcd".to_owned(), arguments, log, running: None }
    }
}

impl Certificates {
    fn arguments(&self, node: usize) -> Vec<String> {
        let words = |path: &Path| path.display().to_string();
        let ca = words(&self.ca);
        let files = self.nodes.get(node).or_else(|| self.nodes.last());
        let (cert, key) = files.map(|(cert, key)| (words(cert), words(key))).unwrap_or_default();
        #[rustfmt::skip]
        let arguments = [
            "--cert-file", &cert, "--key-file", &key,
            "--peer-cert-file", &cert, "--peer-key-file", &key, "--peer-trusted-ca-file", &ca,
            "--peer-client-cert-auth",
        ];
        arguments.into_iter().map(str::to_owned).collect()
    }
}
