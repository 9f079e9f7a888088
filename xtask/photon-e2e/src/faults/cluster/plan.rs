//! What the nodes are started from: certificates for their addresses, a token, and a configuration file each.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use photon_runtime::client::{ClientTls, CredentialFiles};

use super::{
    super::network::{End, address},
    Disks,
};

/// Name of the cluster.
pub(in crate::faults) const CLUSTER: &str = "photon";
const PORT: u16 = 7400;

/// Much is cut from the log and much is kept of history, so that short absences need snapshots and every revision can
/// be read back.
const SMALL: &str = "[storage]\nlog_entries_kept = 200\ncheckpoint_interval_ms = 1000\n\
                       history_revisions_max = 10000000\nhistory_age_min_ms = 86400000\naudit_interval_ms = 5000\n";

/// The log is cut soon, so that a new node needs a snapshot; everything else is as users have it.
const LARGE: &str = "[storage]\nlog_entries_kept = 100\ncheckpoint_interval_ms = 1000\n";

/// A node and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::faults) struct Member {
    /// Its id.
    pub(in crate::faults) id: u64,
    /// Its slot.
    pub(in crate::faults) slot: usize,
}

/// The files of a run.
#[derive(Clone, Debug)]
pub(in crate::faults) struct Plan {
    folder: PathBuf,
    storage: &'static str,
}

/// Where the node in a slot is reached.
pub(in crate::faults) fn url(slot: usize) -> String {
    format!("https://{}:{PORT}", address(End::Node(slot)))
}

impl Plan {
    /// Makes the folders, the certificate authority and the operator's token.
    ///
    /// # Errors
    /// When `photon` is not built, or a file cannot be written.
    pub(super) fn new(folder: &Path, disks: Disks) -> Result<Self> {
        let storage = if disks == Disks::Small { SMALL } else { LARGE };
        let plan = Self { folder: folder.to_owned(), storage };
        for name in ["config", "logs"] {
            fs::create_dir_all(folder.join(name))?;
        }
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

    /// Writes certificate and configuration of a node of this cluster.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn prepare(&self, node: Member, members: &[Member]) -> Result<()> {
        self.issue(node)?;
        let config =
            self.configuration(node, node.id, members, CLUSTER, &self.data_dir(node.slot).join("node"));
        Ok(fs::write(self.config(node.id), config)?)
    }

    /// Issues a node's certificate, for the address of its slot.
    ///
    /// # Errors
    /// When `photon` refuses.
    pub(in crate::faults) fn issue(&self, node: Member) -> Result<()> {
        let (pki, id) = (self.pki().display().to_string(), node.id.to_string());
        let address = address(End::Node(node.slot)).to_string();
        photon(&["pki", "issue", "--dir", &pki, "--service", "flaredb", "--node", &id, "--address", &address])
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
        self.folder.join("pki")
    }

    /// Where a slot's disk is mounted.
    pub(in crate::faults) fn data_dir(&self, slot: usize) -> PathBuf {
        self.folder.join(format!("disk-{slot}"))
    }

    /// A node's configuration file.
    pub(in crate::faults) fn config(&self, id: u64) -> PathBuf {
        self.folder.join("config").join(format!("flaredb-{id}.toml"))
    }

    /// A node's log.
    pub(in crate::faults) fn log(&self, id: u64) -> PathBuf {
        self.logs().join(format!("flaredb-{id}.log"))
    }

    /// The folder of all logs.
    pub(in crate::faults) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// A file of the test's own.
    pub(in crate::faults) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn photon(arguments: &[&str]) -> Result<()> {
    let ran = Command::new(crate::cloud::binary("photon")?).args(arguments).output();
    let ran = ran.context("photon cannot be run")?;
    let words = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "photon {} ended with {}: {words}", arguments.join(" "), ran.status);
    Ok(())
}
