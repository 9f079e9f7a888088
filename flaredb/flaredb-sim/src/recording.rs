//! A disk that writes down everything that is done to it, so that the power can be cut at every byte afterwards.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use flaredb_raft::{
    Applied, EntrySummary,
    simulation::{SimulatedDisk, SimulatedFile},
};

use crate::disk::Mount;

/// One thing that was done. Files are numbered, because they change their names.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create(usize, PathBuf),
    Delete(PathBuf),
    Rename(PathBuf, PathBuf),
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: usize,
        length: usize,
    },
    Sync {
        file: usize,
    },
    /// Not of the disk: a caller was told that this entry is committed.
    Acknowledged(EntrySummary),
    /// Not of this disk: the state up to here is on its own.
    Flushed(Applied),
}

/// What was done. Clones are of the same recording.
#[derive(Clone, Default)]
pub(crate) struct Steps(Arc<Mutex<Vec<Step>>>);

impl Steps {
    pub(crate) fn push(&self, step: Step) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    pub(crate) fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A disk that records.
pub(crate) struct Recording {
    disk: Arc<Mount>,
    steps: Steps,
    files: Mutex<BTreeMap<PathBuf, usize>>,
    created: Mutex<usize>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recording")
    }
}

impl Recording {
    pub(crate) fn new(disk: Arc<Mount>, steps: Steps) -> Self {
        Self { disk, steps, files: Mutex::default(), created: Mutex::default() }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, usize>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct RecordedFile {
    inner: Arc<dyn SimulatedFile>,
    number: usize,
    steps: Steps,
}

impl SimulatedDisk for Recording {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SimulatedFile>> {
        let inner = self.disk.create(path)?;
        let mut created = self.created.lock().unwrap_or_else(PoisonError::into_inner);
        *created += 1;
        self.files().insert(path.to_owned(), *created);
        self.steps.push(Step::Create(*created, path.to_owned()));
        Ok(Arc::new(RecordedFile { inner, number: *created, steps: self.steps.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn SimulatedFile>> {
        let inner = self.disk.open(path)?;
        let number = self.files().get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(RecordedFile { inner, number, steps: self.steps.clone() }))
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.disk.delete(path)?;
        self.files().remove(path);
        self.steps.push(Step::Delete(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)?;
        let mut files = self.files();
        let number = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), number);
        self.steps.push(Step::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn write_delay(&self) -> Duration {
        self.disk.write_delay()
    }
}

impl SimulatedFile for RecordedFile {
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, bytes)
    }

    fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)?;
        self.steps.push(Step::Write { file: self.number, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn truncate(&self, length: usize) -> io::Result<()> {
        self.inner.truncate(length)?;
        self.steps.push(Step::Truncate { file: self.number, length });
        Ok(())
    }

    fn size(&self) -> io::Result<usize> {
        self.inner.size()
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        self.steps.push(Step::Sync { file: self.number });
        Ok(())
    }
}
