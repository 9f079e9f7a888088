//! Whose data a data folder holds.
//!
//! A node that starts on another node's folder, or on a folder of another cluster, would vote twice or mix two
//! histories. So the first start writes the node's id and the cluster's name into the folder, and every later start
//! with other ones is refused before anything of the data is opened.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";

/// Who the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The node's id inside its cluster.
    pub node_id: u64,
    /// The cluster's name.
    pub cluster: String,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The folder belongs to another node, or to another cluster.
    #[error(
        "{} belongs to node {found_node} of cluster {found_cluster:?}, but the config says node {node} of cluster \
         {cluster:?}: correct node.id and cluster.id, or choose another node.data_dir",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The node that the folder belongs to.
        found_node: u64,
        /// The cluster that the folder belongs to.
        found_cluster: String,
        /// The node of the config.
        node: u64,
        /// The cluster of the config.
        cluster: String,
    },
    /// The folder's identity file is not one.
    #[error("{} does not say whose data this is", path.display())]
    Unreadable {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Identity {
    /// Makes the folder if need be, and claims it for this node.
    ///
    /// # Errors
    /// [`ClaimError`], also for a folder that is somebody else's.
    pub fn claim(&self, folder: &Path) -> Result<(), ClaimError> {
        let path = folder.join(FILE);
        fs::create_dir_all(folder).map_err(|source| io_error(folder, source))?;
        match fs::read(&path) {
            Ok(text) => self.check(folder, &path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.write(folder, &path),
            Err(source) => Err(io_error(&path, source)),
        }
    }

    fn check(&self, folder: &Path, path: &Path, text: &[u8]) -> Result<(), ClaimError> {
        let found: Self = serde_json::from_slice(text)
            .map_err(|source| ClaimError::Unreadable { path: path.to_owned(), source })?;
        if found == *self {
            return Ok(());
        }
        Err(ClaimError::Foreign {
            path: folder.to_owned(),
            found_node: found.node_id,
            found_cluster: found.cluster,
            node: self.node_id,
            cluster: self.cluster.clone(),
        })
    }

    fn write(&self, folder: &Path, path: &Path) -> Result<(), ClaimError> {
        let text = serde_json::to_vec(self)
            .map_err(|source| ClaimError::Unreadable { path: path.to_owned(), source })?;
        write_durably(folder, path, &text).map_err(|source| io_error(path, source))
    }
}

/// Whole or not at all, also when the power goes.
pub(crate) fn write_durably(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

fn io_error(path: &Path, source: io::Error) -> ClaimError {
    ClaimError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node_id: u64, cluster: &str) -> Identity {
        Identity { node_id, cluster: cluster.to_owned() }
    }

    #[test]
    fn a_folder_is_claimed_once_and_recognised_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("not/yet/there");
        identity(1, "photon").claim(&nested).unwrap();
        identity(1, "photon").claim(&nested).unwrap();
    }

    #[test]
    fn a_folder_of_another_node_or_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        identity(1, "photon").claim(folder.path()).unwrap();
        for other in [identity(2, "photon"), identity(1, "proton")] {
            let error = other.claim(folder.path()).unwrap_err();
            assert!(error.to_string().contains("belongs to node 1 of cluster \"photon\""), "{error}");
        }
        identity(1, "photon").claim(folder.path()).unwrap();
    }
}
