//! Room that nobody else can take: a file that only keeps blocks allocated, and goes when they are needed.
//!
//! Refusing new writes early does not help against another process that fills the disk. What this node has taken in by
//! then must still be flushed, and its votes be written; the ballast's blocks are for that.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The ballast of one data folder.
#[derive(Debug)]
pub(super) struct Ballast {
    file: PathBuf,
    bytes: u64,
    held: bool,
}

impl Ballast {
    /// The ballast in `folder`, of `bytes`; 0: none at all. One that was made before is found.
    pub(super) fn new(folder: &Path, bytes: u64) -> Self {
        let file = folder.join("ballast");
        let held = fs::metadata(&file).is_ok_and(|found| found.len() == bytes);
        Self { file, bytes, held }
    }

    /// Whether it is there.
    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// Its size.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the blocks. Blocks for long where the file system cannot reserve without writing.
    pub(super) fn take(&mut self) -> io::Result<()> {
        let Ok(length) = i64::try_from(self.bytes) else { return Ok(()) };
        if self.held || length == 0 {
            return Ok(());
        }
        let taken = File::create(&self.file).and_then(|file| {
            nix::fcntl::posix_fallocate(&file, 0, length)?;
            Ok(())
        });
        if taken.is_err() {
            // What it has got of them is not kept; that it could not be given back as well is the smaller news.
            drop(fs::remove_file(&self.file));
        }
        self.held = taken.is_ok();
        taken
    }

    /// Gives the blocks back to the node.
    pub(super) fn release(&mut self) -> io::Result<()> {
        if !self.held {
            return Ok(());
        }
        fs::remove_file(&self.file)?;
        self.held = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn ballast_holds_blocks_until_it_is_released_and_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut ballast = Ballast::new(folder.path(), 1 << 20);
        assert!(!ballast.is_held());
        ballast.take().unwrap();
        assert!(fs::metadata(folder.path().join("ballast")).unwrap().blocks() * 512 >= 1 << 20);
        let mut found = Ballast::new(folder.path(), 1 << 20);
        assert!(found.is_held());
        found.release().unwrap();
        assert!(!folder.path().join("ballast").exists());
    }

    #[test]
    fn no_ballast_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        Ballast::new(folder.path(), 0).take().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
