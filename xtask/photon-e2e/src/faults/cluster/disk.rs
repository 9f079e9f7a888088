//! A node's disk: memory of a bounded size, which the test can fill and free; or, for much data, a folder.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::sys::statvfs::statvfs;

use super::super::network::output;

/// Room for the log's files, the ballast, and some minutes of data.
const SIZE_MIB: u32 = 512;
const BLOCK_BYTES: usize = 1 << 20;
const FILLER: &str = "filler";

/// What nodes keep their data on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::faults) enum Disks {
    /// Memory, which can be full.
    Small,
    /// This machine's disk.
    Large,
}

/// A disk; if it was mounted, it is unmounted with the value.
#[derive(Debug)]
pub(in crate::faults) struct Disk {
    folder: PathBuf,
    mounted: bool,
}

impl Disk {
    /// An empty disk at a folder, which is made.
    ///
    /// # Errors
    /// When it cannot be made or mounted.
    pub(super) fn new(folder: PathBuf, disks: Disks) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let mounted = disks == Disks::Small;
        if mounted {
            let size = format!("size={SIZE_MIB}m");
            output("mount", &["-t", "tmpfs", "-o", &size, "photon-e2e", &folder.display().to_string()])?;
        }
        Ok(Self { folder, mounted })
    }

    /// Takes the room that there is but for so many bytes; returns how many bytes that was.
    ///
    /// # Errors
    /// When writing ends with another error than that of a full disk.
    pub(in crate::faults) fn fill(&self, but_bytes: u64) -> Result<u64> {
        let block = vec![0xA5; BLOCK_BYTES];
        let mut file = File::options().create(true).append(true).open(self.folder.join(FILLER))?;
        let mut bytes = 0_u64;
        loop {
            if but_bytes > 0 && self.free_bytes()? <= but_bytes {
                return Ok(bytes);
            }
            match file.write(&block) {
                Ok(0) => return Ok(bytes),
                Ok(written) => bytes += u64::try_from(written)?,
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(bytes),
                Err(error) => return Err(error).context("the disk could not be filled"),
            }
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When it was not taken.
    pub(in crate::faults) fn free(&self) -> Result<()> {
        fs::remove_file(self.folder.join(FILLER)).context("the disk was not filled")
    }

    /// Bytes that are free.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(in crate::faults) fn free_bytes(&self) -> Result<u64> {
        let found = statvfs(&self.folder)?;
        Ok(found.blocks_available() * found.fragment_size())
    }

    /// Removes everything.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(super) fn erase(&self) -> Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("{} cannot be removed", path.display()))?;
        }
        Ok(())
    }

    /// Where it is mounted.
    pub(in crate::faults) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.mounted {
            return;
        }
        if let Err(error) = output("umount", &["--lazy", &self.folder.display().to_string()]) {
            tracing::warn!("a disk is left behind: {error:#}");
        }
    }
}
