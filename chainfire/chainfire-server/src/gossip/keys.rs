//! A node's gossip keys: in a file, so that they outlive the process, and in the ring of the node that runs.
//!
//! The file has one key in base64 on each line; the first is the one that seals. What is changed is written first, so
//! that a node that is started again understands the others.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_gossip::{Handle, KEYS_MAX, Key, KeyError, KeyId, Keyring, KeyringError};
use photon_runtime::pki::write_private;
use tokio::sync::Mutex;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;

type Bytes = [u8; KEY_BYTES];

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// The file cannot be read.
    #[error("{} cannot be read; `chainfire gossip keys generate` makes one", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("{} cannot be written", file.display())]
    Unwritable {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{} holds no keys on line {line}; expected are 1 to {KEYS_MAX} lines, each {KEY_BYTES} bytes in base64",
        file.display()
    )]
    NoKey {
        /// Which.
        file: PathBuf,
        /// Where.
        line: usize,
    },
    /// The ring refuses.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// There is no node any more.
    #[error(transparent)]
    Ring(#[from] KeyError),
}

/// What is done to the keys.
pub(super) enum Change {
    Add(Bytes),
    Use(KeyId),
    Remove(KeyId),
}

/// The keys in their file.
pub(super) struct KeyFile {
    path: PathBuf,
    /// The first seals.
    keys: Vec<Bytes>,
}

/// The keys of a node that runs.
#[derive(Debug)]
pub(super) struct Keys {
    file: Mutex<KeyFile>,
    handle: Handle,
}

/// A key as it stands in a file.
pub(crate) fn encode(key: &[u8; KEY_BYTES]) -> String {
    STANDARD.encode(key)
}

/// Reads one.
pub(crate) fn decode(line: &str) -> Option<[u8; KEY_BYTES]> {
    STANDARD.decode(line.trim()).ok()?.try_into().ok()
}

/// Bytes that nobody can guess.
pub(crate) fn random() -> io::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

impl KeyFile {
    pub(super) fn load(path: &Path) -> Result<Self, KeyFileError> {
        let file = path.to_owned();
        let unreadable = |source| KeyFileError::Unreadable { file: file.clone(), source };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let key = decode(text).filter(|_| keys.len() < KEYS_MAX);
            keys.push(key.ok_or_else(|| KeyFileError::NoKey { file: file.clone(), line })?);
        }
        match keys.is_empty() {
            true => Err(KeyFileError::NoKey { file, line: 1 }),
            false => Ok(Self { path: file, keys }),
        }
    }

    /// The ring of these keys. The file holds at least one and no more than a ring takes.
    pub(super) fn keyring(&self) -> Keyring {
        let (first, others) =
            self.keys.split_first().map_or(([0; KEY_BYTES], [].as_slice()), |(a, b)| (*a, b));
        let mut ring = Keyring::new(Key::new(first));
        for key in others {
            if let Err(error) = ring.add(Key::new(*key)) {
                tracing::error!(%error, "a key of the file is left out");
            }
        }
        ring
    }

    /// The keys after a change.
    fn changed(&self, change: &Change) -> Result<Vec<Bytes>, KeyringError> {
        let mut ring = self.keyring();
        let mut keys = self.keys.clone();
        match change {
            Change::Add(key) => {
                ring.add(Key::new(*key))?;
                keys.push(*key);
            }
            Change::Use(id) => ring.use_key(*id)?,
            Change::Remove(id) => ring.remove(*id)?,
        }
        let of = |id: &KeyId| keys.iter().find(|key| Key::new(**key).id() == *id).copied();
        Ok(ring.ids().iter().filter_map(of).collect())
    }

    fn write(&mut self, keys: Vec<Bytes>) -> Result<(), KeyFileError> {
        let text: String = keys.iter().map(|key| encode(key) + "\n").collect();
        let unwritable = |source| KeyFileError::Unwritable { file: self.path.clone(), source };
        write_private(&self.path, text.as_bytes()).map_err(unwritable)?;
        self.keys = keys;
        Ok(())
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn new(file: KeyFile, handle: Handle) -> Self {
        Self { file: Mutex::new(file), handle }
    }

    pub(super) async fn ids(&self) -> Result<Vec<KeyId>, KeyFileError> {
        Ok(self.handle.keys().await?)
    }

    /// Changes the file, then the ring.
    pub(super) async fn change(&self, change: Change) -> Result<Vec<KeyId>, KeyFileError> {
        let mut file = self.file.lock().await;
        let keys = file.changed(&change)?;
        // A few hundred bytes, at an operator's word.
        file.write(keys)?;
        let ids = match change {
            Change::Add(key) => self.handle.add_key(Key::new(key)).await?,
            Change::Use(id) => self.handle.use_key(id).await?,
            Change::Remove(id) => self.handle.remove_key(id).await?,
        };
        tracing::info!(?ids, "the gossip keys were changed");
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> KeyId {
        Key::new([byte; KEY_BYTES]).id()
    }

    fn file(folder: &Path, text: &str) -> PathBuf {
        let path = folder.join("keys");
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn keys_are_changed_in_three_rounds_and_the_file_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), &encode(&[1; KEY_BYTES]));
        let mut keys = KeyFile::load(&path).unwrap();
        for change in [Change::Add([2; KEY_BYTES]), Change::Add([2; KEY_BYTES]), Change::Use(id(2))] {
            let next = keys.changed(&change).unwrap();
            keys.write(next).unwrap();
        }
        assert_eq!(KeyFile::load(&path).unwrap().keyring().ids(), [id(2), id(1)]);
        let next = keys.changed(&Change::Remove(id(1))).unwrap();
        keys.write(next).unwrap();
        assert_eq!(KeyFile::load(&path).unwrap().keyring().ids(), [id(2)]);
        assert!(matches!(keys.changed(&Change::Remove(id(2))), Err(KeyringError::InUse(_))));
    }

    #[test]
    fn file_that_holds_anything_else_is_refused_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let good = encode(&[1; KEY_BYTES]) + "\n";
        for (text, wrong) in [(String::new(), 1), (format!("{good}secret\n"), 2), (good.repeat(4), 4)] {
            let error = KeyFile::load(&file(folder.path(), &text)).unwrap_err();
            assert!(matches!(error, KeyFileError::NoKey { line, .. } if line == wrong), "{error}");
        }
        assert!(matches!(KeyFile::load(&folder.path().join("none")), Err(KeyFileError::Unreadable { .. })));
    }
}
