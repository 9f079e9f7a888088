//! Where the files of a run are: a disk for each slot, and what outlives the disks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

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
pub(in crate::faults) struct Folders {
    folder: PathBuf,
}

impl Folders {
    /// Makes the folder of the logs.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let folders = Self { folder: folder.to_owned() };
        fs::create_dir_all(folders.logs())?;
        Ok(folders)
    }

    /// Where a slot's disk is mounted.
    pub(in crate::faults) fn disk(&self, slot: usize) -> PathBuf {
        self.folder.join(format!("disk-{slot}"))
    }

    /// A node's log.
    pub(in crate::faults) fn log(&self, id: u64) -> PathBuf {
        self.logs().join(format!("node-{id}.log"))
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
