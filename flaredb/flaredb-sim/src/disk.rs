//! The disk of a simulated node's log: what was not synced is lost when the power goes, in whole or in part.
//!
//! The engine lists its folder through the operating system, so each file also stands there, empty. Creating, deleting
//! and renaming survive at once; the engine syncs the folder after each of them, which cannot be seen from here.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flaredb_raft::simulation::{SimulatedDisk, SimulatedFile};

use crate::dice::Dice;

/// What a sync says that was made to fail.
pub(crate) const MADE_TO_FAIL: &str = "a sync that was made to fail";

/// A disk that outlives the node's runs.
#[derive(Debug)]
pub(crate) struct Disk {
    files: Mutex<BTreeMap<PathBuf, Arc<File>>>,
    dice: Mutex<Dice>,
    /// Longest write, in milliseconds.
    write_ms_max: Mutex<u64>,
    /// Whether the next sync fails.
    fails: Arc<AtomicBool>,
}

/// What one run of the node sees of the disk; nothing any more once that run has ended.
#[derive(Debug)]
pub(crate) struct Mount {
    disk: Arc<Disk>,
    gone: Mutex<bool>,
}

/// A file with what of it survives.
#[derive(Debug)]
struct File {
    content: Mutex<Content>,
    fails: Arc<AtomicBool>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// What is read.
    present: Vec<u8>,
    /// What survives.
    synced: Vec<u8>,
    /// What was written since, in order.
    unsynced: Vec<(usize, Vec<u8>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

/// With the C library's search: a build for tests would take a second for each of our own.
fn is_in(needle: &[u8], hay: &[u8]) -> bool {
    // SAFETY: both are valid for reads of their whole length, which is all that memmem reads.
    let found = unsafe { libc::memmem(hay.as_ptr().cast(), hay.len(), needle.as_ptr().cast(), needle.len()) };
    !found.is_null()
}

impl Content {
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.present, offset, bytes);
        self.unsynced.push((offset, bytes.to_vec()));
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.present.truncate(length);
        self.synced.truncate(length);
        self.unsynced.retain(|(offset, bytes)| offset + bytes.len() <= length);
    }

    pub(crate) fn sync(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            put(&mut self.synced, offset, &bytes);
        }
    }

    /// What is there if everything that was written got to the platter.
    pub(crate) fn whole(mut self) -> Self {
        self.sync();
        self
    }

    /// What is there if nothing did that was not synced.
    pub(crate) fn synced(&self) -> Self {
        Self { present: self.synced.clone(), synced: self.synced.clone(), unsynced: Vec::new() }
    }

    /// What is there after a power cut: all that was synced, and of the rest what happened to get to the platter.
    pub(crate) fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let mut survived = self.synced.clone();
        let whole = dice.index(self.unsynced.len() + 1);
        for (at, (offset, bytes)) in self.unsynced.iter().enumerate() {
            let length = match at.cmp(&whole) {
                std::cmp::Ordering::Less => bytes.len(),
                std::cmp::Ordering::Equal => dice.index(bytes.len() + 1),
                std::cmp::Ordering::Greater => break,
            };
            put(&mut survived, *offset, &bytes[..length]);
        }
        Self { present: survived.clone(), synced: survived, unsynced: Vec::new() }
    }
}

impl Disk {
    pub(crate) fn new(dice: Dice) -> Arc<Self> {
        Arc::new(Self {
            files: Mutex::default(),
            dice: Mutex::new(dice),
            write_ms_max: Mutex::new(4),
            fails: Arc::default(),
        })
    }

    /// A disk with files on it, whose folder is there.
    pub(crate) fn with(
        files: impl IntoIterator<Item = (PathBuf, Content)>,
        dice: Dice,
    ) -> io::Result<Arc<Self>> {
        let disk = Self::new(dice);
        for (path, content) in files {
            fs::File::create(&path)?;
            let file = disk.file(content);
            lock(&disk.files).insert(path, file);
        }
        Ok(disk)
    }

    fn file(&self, content: Content) -> Arc<File> {
        Arc::new(File { content: Mutex::new(content), fails: Arc::clone(&self.fails) })
    }

    /// Lets the next sync fail, or not.
    pub(crate) fn set_fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    /// Whether the next sync fails.
    pub(crate) fn fails(&self) -> bool {
        self.fails.load(Ordering::Relaxed)
    }

    /// Makes the disk slower or faster.
    pub(crate) fn set_write_ms_max(&self, write_ms_max: u64) {
        *lock(&self.write_ms_max) = write_ms_max;
    }

    pub(crate) fn mount(self: &Arc<Self>) -> Arc<Mount> {
        Arc::new(Mount { disk: Arc::clone(self), gone: Mutex::new(false) })
    }

    /// Whether these bytes would be there after a power cut that takes all that it can.
    pub(crate) fn would_keep(&self, bytes: &[u8]) -> bool {
        // What is looked for was written lately.
        lock(&self.files).values().rev().any(|file| is_in(bytes, &lock(&file.content).synced))
    }

    /// Cuts the power: every file is what survives of it, and handles on what was there are of no effect.
    pub(crate) fn cut_power(&self) {
        let mut dice = lock(&self.dice);
        self.replace(|content| content.after_power_cut(&mut dice));
    }

    /// Ends the process and nothing else: the kernel still has what was not synced.
    pub(crate) fn end_process(&self) {
        self.replace(Content::clone);
    }

    fn replace(&self, mut survive: impl FnMut(&Content) -> Content) {
        for file in lock(&self.files).values_mut() {
            let content = survive(&lock(&file.content));
            *file = self.file(content);
        }
    }
}

impl Mount {
    /// Takes the disk away from a run that has ended.
    pub(crate) fn unmount(&self) {
        *lock(&self.gone) = true;
    }

    fn files(&self) -> io::Result<MutexGuard<'_, BTreeMap<PathBuf, Arc<File>>>> {
        match *lock(&self.gone) {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(lock(&self.disk.files)),
        }
    }
}

impl SimulatedDisk for Mount {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SimulatedFile>> {
        let mut files = self.files()?;
        fs::File::create(path)?;
        let file = self.disk.file(Content::default());
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn SimulatedFile>> {
        let file = self.files()?.get(path).map(Arc::clone);
        file.map_or_else(|| Err(io::ErrorKind::NotFound.into()), |file| Ok(file as Arc<dyn SimulatedFile>))
    }

    fn delete(&self, path: &Path) -> io::Result<()> {
        self.files()?.remove(path).ok_or(io::ErrorKind::NotFound)?;
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files()?;
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        fs::rename(from, to)
    }

    fn write_delay(&self) -> Duration {
        let write_ms_max = *lock(&self.disk.write_ms_max);
        Duration::from_millis(lock(&self.disk.dice).within(0, write_ms_max))
    }
}

impl SimulatedFile for File {
    fn read_at(&self, offset: usize, bytes: &mut [u8]) -> io::Result<usize> {
        let content = lock(&self.content);
        let there = content.present.get(offset..).unwrap_or_default();
        let length = there.len().min(bytes.len());
        bytes[..length].copy_from_slice(&there[..length]);
        Ok(length)
    }

    fn write_at(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        lock(&self.content).write(offset, bytes);
        Ok(())
    }

    fn truncate(&self, length: usize) -> io::Result<()> {
        lock(&self.content).truncate(length);
        Ok(())
    }

    fn size(&self) -> io::Result<usize> {
        Ok(lock(&self.content).present.len())
    }

    fn sync(&self) -> io::Result<()> {
        if self.fails.swap(false, Ordering::Relaxed) {
            // The kernel takes what it could not write for written.
            lock(&self.content).unsynced.clear();
            return Err(io::Error::other(MADE_TO_FAIL));
        }
        lock(&self.content).sync();
        Ok(())
    }
}
