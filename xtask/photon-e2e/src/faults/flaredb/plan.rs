//! What FlareDB's nodes are started from: certificates for their addresses, a token, and a configuration file each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use photon_runtime::client::{ClientTls, CredentialFiles};

use crate::faults::{
    cluster::{Disks, Folders, Member},
    network::{End, address},
};

/// Name of the cluster.
pub(super) const CLUSTER: &str = "photon";
const PORT: u16 = 7400;

/// Much is cut from the log and much is kept of history, so that short absences need snapshots and every revision can
/// be read back.
const SMALL: &str = "[storage]\nlog_entries_kept = 200\ncheckpoint_interval_ms = 1000\n\
                       history_revisions_max = 10000000\nhistory_age_min_ms = 86400000\naudit_interval_ms = 5000\n";

/// The log is cut soon, so that a new node needs a snapshot; everything else is as users have it.
const LARGE: &str = "[storage]\nlog_entries_kept = 100\ncheckpoint_interval_ms = 1000\n";

/// What all nodes of a run have in common.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    folders: Folders,
    storage: &'static str,
}

/// Where the node in a slot is reached.
pub(super) fn url(slot: usize) -> String {
    format!("https://{}:{PORT}", address(End::Node(slot)))
}

impl Plan {
    /// Makes the certificate authority and the operator's token.
    ///
    /// # Errors
    /// When `photon` is not built, or a file cannot be written.
    pub(super) fn new(folders: &Folders, disks: Disks) -> Result<Self> {
        let storage = if disks == Disks::Small { SMALL } else { LARGE };
        let plan = Self { folders: folders.clone(), storage };
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
    pub(super) fn credentials(&self) -> Result<ClientTls> {
        let (ca, token) = (self.pki().join("ca.crt"), self.pki().join("admin.token"));
        Ok(ClientTls::read(&CredentialFiles { ca: Some(ca), token: Some(token), identity: None })?)
    }

    /// Writes certificate and configuration of a node of this cluster; returns the words that start it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn prepare(&self, node: Member, members: &[Member]) -> Result<Vec<String>> {
        self.issue(node)?;
        let data_dir = self.folders.disk(node.slot).join("node");
        let config = self.folders.file("config").join(format!("flaredb-{}.toml", node.id));
        fs::write(&config, self.configuration(node, node.id, members, CLUSTER, &data_dir))?;
        command(&config)
    }

    /// Issues a node's certificate, for the address of its slot.
    ///
    /// # Errors
    /// When `photon` refuses.
    pub(super) fn issue(&self, node: Member) -> Result<()> {
        let (pki, id) = (self.pki().display().to_string(), node.id.to_string());
        let address = address(End::Node(node.slot)).to_string();
        photon(&["pki", "issue", "--dir", &pki, "--service", "flaredb", "--node", &id, "--address", &address])
    }

    /// The text of a node's configuration; it serves with the certificate that was issued to `holder`.
    pub(super) fn configuration(
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
             [tls]\ncert = \"{pki}/flaredb-{holder}.crt\"\nkey = \"{pki}/flaredb-{holder}.key\"\nca = \"{pki}/ca.crt\"\n\n\
             [auth]\ncluster = \"{CLUSTER}\"\ntokens_file = \"{pki}/tokens.toml\"\n\n\
             [node]\nid = {id}\nendpoint = \"{}\"\ndata_dir = \"{}\"\n\n\
             [cluster]\nid = \"{cluster}\"\ninitial_members = [\n{members}]\n\n{storage}",
            url(slot),
            data_dir.display(),
            storage = self.storage,
            admin = PORT + 1,
        )
    }

    fn pki(&self) -> PathBuf {
        self.folders.file("pki")
    }
}

/// The words that start a node.
///
/// # Errors
/// When `flaredb` is not built.
pub(super) fn command(config: &Path) -> Result<Vec<String>> {
    let binary = crate::cloud::binary("flaredb")?.display().to_string();
    Ok(vec![binary, "serve".to_owned(), "--config".to_owned(), config.display().to_string()])
}

fn photon(arguments: &[&str]) -> Result<()> {
    let ran = Command::new(crate::cloud::binary("photon")?).args(arguments).output();
    let ran = ran.context("photon cannot be run")?;
    let words = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "photon {} ended with {}: {words}", arguments.join(" "), ran.status);
    Ok(())
}
