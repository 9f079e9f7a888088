//! How ChainFire's nodes are started: with mutual TLS among themselves; for clients in plaintext, as the tools of others
//! expect it, or with TLS.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use xtask::layout::CLUSTER;

use super::{Certificates, Node, Ports, TOKEN_TTL_S};
use crate::cloud::{Backend, Cloud, Layout, binary};

/// What clients meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientPort {
    /// Plaintext.
    Plain,
    /// The node's certificate.
    Tls,
}

/// Makes what the nodes of a cluster below `folder` identify themselves with.
///
/// # Errors
/// When `photon` is not built, or a file cannot be written.
pub(super) fn certificates(folder: &Path) -> Result<Certificates> {
    let layout =
        Layout { backend: Backend::Embedded, dns: false, services: &["chainfire"], ..Layout::default() };
    Ok(Cloud::prepare(folder, layout)?.certificates_of("chainfire"))
}

/// The nodes of a cluster below `folder`, with their configurations.
///
/// # Errors
/// When ChainFire is not built, or a file cannot be written.
pub(super) fn nodes(
    folder: &Path,
    ports: &[Ports],
    certificates: &Certificates,
    client: ClientPort,
) -> Result<Vec<Node>> {
    let members: String = (1..).zip(ports).map(|(id, ports)| member(id, *ports)).collect();
    let mut nodes = Vec::new();
    for (id, ports) in (1..).zip(ports) {
        let tls = certificates.nodes.iter().map(|(cert, key)| {
            format!("[tls]\ncert = {cert:?}\nkey = {key:?}\nca = {:?}\n", certificates.ca)
        });
        let config = config(folder, id, *ports, &tls.collect::<String>(), client, &members);
        nodes.push(node(folder, id, *ports, client, &config)?);
    }
    Ok(nodes)
}

fn node(folder: &Path, id: u64, ports: Ports, client: ClientPort, config: &str) -> Result<Node> {
    let file = |ending: &str| folder.join(format!("chainfire-{id}.{ending}"));
    fs::write(file("toml"), config)?;
    let scheme = if client == ClientPort::Tls { "https" } else { "http" };
    Ok(Node {
        url: format!("{scheme}://127.0.0.1:{}", ports.client),
        program: binary("chainfire")?.display().to_string(),
        arguments: vec!["serve".to_owned(), "--config".to_owned(), file("toml").display().to_string()],
        log: file("log"),
        running: None,
    })
}

fn member(id: u64, ports: Ports) -> String {
    format!("    {{ id = {id}, endpoint = \"https://127.0.0.1:{}\" }},\n", ports.peer)
}

fn config(folder: &Path, id: u64, ports: Ports, tls: &str, client_port: ClientPort, members: &str) -> String {
    let Ports { client, peer, admin } = ports;
    let client_tls = if client_port == ClientPort::Tls { "server" } else { "off" };
    let data: PathBuf = folder.join(format!("chainfire-{id}"));
    let tokens = folder.join("pki/tokens.toml");
    format!(
        "[server]\nlisten = \"127.0.0.1:{peer}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n\n{tls}\n\
         [auth]\ncluster = \"{CLUSTER}\"\ntokens_file = {tokens:?}\n\n\
         [node]\nid = {id}\nendpoint = \"https://127.0.0.1:{peer}\"\ndata_dir = {data:?}\n\n\
         [client]\nlisten = \"127.0.0.1:{client}\"\ntls = \"{client_tls}\"\ntoken_ttl_s = {TOKEN_TTL_S}\n\n\
         [cluster]\nid = \"{CLUSTER}\"\ninitial_members = [\n{members}]\n"
    )
}
