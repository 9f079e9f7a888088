//! The file that `etcdctl snapshot save` writes: what the state's snapshot consists of, framed, and a hash of it all.
//!
//! Etcd's tools look at two things, and both hold: the last 32 bytes are the SHA-256 of those before them, and the number
//! of those is a multiple of 512. What is in it is ChainFire's own and of no use to etcd.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

const MAGIC: &[u8; 8] = b"CHNFIRE1";
/// As etcd's tools expect it.
const BLOCK_BYTES: usize = 512;
const HASH_BYTES: usize = 32;
/// A chunk that is larger was not written by [`Encoder`].
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// Writes a file.
pub(crate) struct Encoder {
    hash: Sha256,
    bytes: usize,
}

impl Encoder {
    /// An empty file.
    pub(crate) fn new() -> Self {
        Self { hash: Sha256::new(), bytes: 0 }
    }

    /// The bytes that a chunk adds.
    pub(crate) fn chunk(&mut self, data: &[u8]) -> Vec<u8> {
        let mut added = Vec::with_capacity(data.len() + MAGIC.len() + 4);
        if self.bytes == 0 {
            added.extend(MAGIC);
        }
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        added.extend(length.to_be_bytes());
        added.extend(data);
        self.count(added)
    }

    /// The bytes of the end: an empty chunk, zeros up to a whole block, the hash.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let mut end = vec![0; 4];
        let total = self.bytes + end.len();
        end.resize(end.len() + total.next_multiple_of(BLOCK_BYTES) - total, 0);
        let mut end = self.count(end);
        end.extend(self.hash.finalize());
        end
    }

    fn count(&mut self, added: Vec<u8>) -> Vec<u8> {
        self.hash.update(&added);
        self.bytes += added.len();
        added
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the snapshot cannot be read")]
    Io(#[from] io::Error),
    /// It is none, or was made by something else.
    #[error("this is no snapshot of ChainFire's; etcd's own cannot be restored here")]
    Foreign,
    /// It is not what was saved.
    #[error("the snapshot is damaged: its hash does not match what is in it")]
    Damaged,
}

/// Checks the whole file by its hash; returns its bytes.
pub(crate) fn verify(mut file: impl Read) -> Result<u64, FileError> {
    let (mut hash, mut tail, mut total) = (Sha256::new(), Vec::new(), 0);
    let mut block = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        total += read as u64;
        tail.extend_from_slice(&block[..read]);
        let known = tail.len().saturating_sub(HASH_BYTES);
        hash.update(&tail[..known]);
        tail.drain(..known);
    }
    if hash.finalize()[..] == tail[..] { Ok(total) } else { Err(FileError::Damaged) }
}

/// Reads the chunks of a file.
pub(crate) struct Decoder<R>(R);

impl<R: Read> Decoder<R> {
    /// A file that was verified.
    pub(crate) fn new(mut file: R) -> Result<Self, FileError> {
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        if &magic == MAGIC { Ok(Self(file)) } else { Err(FileError::Foreign) }
    }

    /// The next chunk; `None` after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, FileError> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > CHUNK_BYTES_MAX {
            return Err(FileError::Damaged);
        }
        let mut data = vec![0; length];
        self.0.read_exact(&mut data)?;
        Ok((length > 0).then_some(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(chunks: &[&[u8]]) -> Vec<u8> {
        let mut encoder = Encoder::new();
        let mut file: Vec<u8> = chunks.iter().flat_map(|chunk| encoder.chunk(chunk)).collect();
        file.extend(encoder.finish());
        file
    }

    #[test]
    fn file_reads_back_and_is_as_etcds_tools_expect_it() {
        for chunks in [&[&b"one"[..], &[7; 5_000]][..], &[&[1; 496]], &[&[1; 497]]] {
            let file = file(chunks);
            assert_eq!(file.len() % BLOCK_BYTES, HASH_BYTES);
            assert_eq!(verify(&file[..]).unwrap(), file.len() as u64);
            let mut decoder = Decoder::new(&file[..]).unwrap();
            for chunk in chunks {
                assert_eq!(decoder.next().unwrap().as_deref(), Some(*chunk));
            }
            assert!(decoder.next().unwrap().is_none());
        }
    }

    #[test]
    fn changed_or_shortened_file_is_refused() {
        let whole = file(&[&[3; 1_000]]);
        let mut changed = whole.clone();
        changed[600] ^= 1;
        for damaged in [&changed[..], &whole[..whole.len() - 1], &whole[..10], b""] {
            assert!(matches!(verify(damaged), Err(FileError::Damaged)));
        }
        assert!(matches!(Decoder::new(&b"bolt\0\0\0\0\0"[..]), Err(FileError::Foreign)));
    }
}
