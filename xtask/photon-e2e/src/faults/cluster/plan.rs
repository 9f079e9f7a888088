//! What nodes of ours are started from: certificates for their addresses, a token, and a configuration file each. What
//! a configuration says of the node, its cluster and its certificates is the same for each service.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use photon_runtime::client::{ClientTls, CredentialFiles};

use super::{Folders, Member};
use crate::faults::network::{End, address};

/// Name of the cluster.
pub(in crate::faults) const CLUSTER: &str = "photon";
const PORT: u16 = 7400;

/// What all nodes of a run have in common.
#[derive(Clone, Debug)]
pub(in crate::faults) struct Plan {
    folders: Folders,
    service: &'static str,
    more: fn(Member) -> String,
}

/// Where the node in a slot is reached by its peers, and FlareDB's by its clients.
pub(in crate::faults) fn url(slot: usize) -> String {
    format!("https://{}:{PORT}", address(End::Node(slot)))
}

impl Plan {
    /// Makes the certificate authority and the operator's token. Of each node, `more` is the part of its configuration
    /// that only this service has.
    ///
    /// # Errors
    /// When `photon` is not built, or a file cannot be written.
    pub(in crate::faults) fn new(
        folders: &Folders,
        service: &'static str,
        more: fn(Member) -> String,
    ) -> Result<Self> {
        let plan = Self { folders: folders.clone(), service, more };
        fs::create_dir_all(folders.file("config"))?;
        let pki = plan.pki().display().to_string();
        photon(&["pki", "init", "--dir", &pki, "--cluster", CLUSTER])?;
        photon(&["pki", "token", "--dir", &pki, "--name", "admin", "--role", "admin"])?;
        Ok(plan)
    }

    /// The operator's credentials.
    ///
    /// # Errors
    /// When their files cannot be read.
    pub(in crate::faults) fn credentials(&self) -> Result<ClientTls> {
        let (ca, token) = (self.pki().join("ca.crt"), self.pki().join("admin.token"));
        Ok(ClientTls::read(&CredentialFiles { ca: Some(ca), token: Some(token), identity: None })?)
    }

    /// Writes certificate and configuration of a node of this cluster; returns the words that start it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(in crate::faults) fn prepare(&self, node: Member, members: &[Member]) -> Result<Vec<String>> {
        self.issue(node)?;
        let data_dir = self.folders.disk(node.slot).join("node");
        let config = self.folders.file("config").join(format!("{}-{}.toml", self.service, node.id));
        fs::write(&config, self.configuration(node, node.id, members, CLUSTER, &data_dir))?;
        self.command(&config)
    }

    /// Issues a node's certificate, for the address of its slot.
    ///
    /// # Errors
    /// When `photon` refuses.
    pub(in crate::faults) fn issue(&self, node: Member) -> Result<()> {
        let (pki, id) = (self.pki().display().to_string(), node.id.to_string());
        let address = address(End::Node(node.slot)).to_string();
        photon(&[
            "pki",
            "issue",
            "--dir",
            &pki,
            "--service",
            self.service,
            "--node",
            &id,
            "--address",
            &address,
        ])
    }

    /// The text of a node's configuration; it serves with the certificate that was issued to `holder`.
    pub(in crate::faults) fn configuration(
        &self,
        node: Member,
        holder: u64,
        members: &[Member],
        cluster: &str,
        data_dir: &Path,
    ) -> String {
        let pki = self.pki().display().to_string();
        let host = address(End::Node(node.slot));
        let members: String = members
            .iter()
            .map(|member| format!("    {{ id = {}, endpoint = \"{}\" }},\n", member.id, url(member.slot)))
            .collect();
        let Member { id, slot } = node;
        format!(
            "[server]\nlisten = \"{host}:{PORT}\"\nadmin_listen = \"127.0.0.1:{admin}\"\n\n\
             [tls]\ncert = \"{pki}/{service}-{holder}.crt\"\nkey = \"{pki}/{service}-{holder}.key\"\nca = \"{pki}/ca.crt\"\n\n\
             [auth]\ncluster = \"{CLUSTER}\"\ntokens_file = \"{pki}/tokens.toml\"\n\n\
             [node]\nid = {id}\nendpoint = \"{}\"\ndata_dir = \"{}\"\n\n\
             [cluster]\nid = \"{cluster}\"\ninitial_members = [\n{members}]\n\n{more}",
            url(slot),
            data_dir.display(),
            service = self.service,
            more = (self.more)(node),
            admin = PORT + 1,
        )
    }

    /// The words that start a node.
    ///
    /// # Errors
    /// When the program is not built.
    pub(in crate::faults) fn command(&self, config: &Path) -> Result<Vec<String>> {
        let binary = crate::cloud::binary(self.service)?.display().to_string();
        Ok(vec![binary, "serve".to_owned(), "--config".to_owned(), config.display().to_string()])
    }

    fn pki(&self) -> PathBuf {
        self.folders.file("pki")
    }
}

fn photon(arguments: &[&str]) -> Result<()> {
    let ran = Command::new(crate::cloud::binary("photon")?).args(arguments).output();
    let ran = ran.context("photon cannot be run")?;
    let words = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "photon {} ended with {}: {words}", arguments.join(" "), ran.status);
    Ok(())
}
