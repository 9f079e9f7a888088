//! Chunks of a snapshot on disk, between the peer that sends them and the state machine that takes them.
//!
//! A snapshot replaces a replica's state only when all of it has arrived; until then it waits in a file, not in
//! memory. Each chunk is stored with its length and checksum. The file goes when its owner does; what a crash
//! leaves behind is removed at the next start.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::codec::invalid;

/// Largest chunk that is accepted; a state machine may exceed what it was asked for by one record.
pub(crate) const CHUNK_BYTES_MAX: usize = 24 << 20;

/// A file that is deleted when it goes out of use.
#[derive(Debug)]
struct Owned(PathBuf);

impl Drop for Owned {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a spooled snapshot could not be removed");
        }
    }
}

/// A spool that is being filled.
#[derive(Debug)]
pub(crate) struct SpoolWriter {
    file: BufWriter<File>,
    owned: Owned,
}

impl SpoolWriter {
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        let file = BufWriter::new(File::create(&path)?);
        Ok(Self { file, owned: Owned(path) })
    }

    pub(crate) fn write(&mut self, chunk: &Bytes) -> io::Result<()> {
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&crc32fast::hash(chunk).to_le_bytes())?;
        self.file.write_all(chunk)
    }

    pub(crate) fn finish(mut self) -> io::Result<Spool> {
        self.file.flush()?;
        Ok(Spool { owned: self.owned })
    }
}

/// A complete spool.
#[derive(Debug)]
pub(crate) struct Spool {
    owned: Owned,
}

impl Spool {
    /// The chunks in the order in which they were written.
    pub(crate) fn chunks(&self) -> io::Result<impl Iterator<Item = io::Result<Bytes>>> {
        let mut file = BufReader::new(File::open(&self.owned.0)?);
        Ok(std::iter::from_fn(move || read_chunk(&mut file).transpose()))
    }
}

fn read_chunk(file: &mut BufReader<File>) -> io::Result<Option<Bytes>> {
    let mut header = [0; 8];
    if file.read(&mut header[..1])? == 0 {
        return Ok(None);
    }
    file.read_exact(&mut header[1..])?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if length > CHUNK_BYTES_MAX {
        return Err(invalid("a spooled chunk is longer than any that was accepted"));
    }
    let mut chunk = vec![0; length];
    file.read_exact(&mut chunk)?;
    match crc32fast::hash(&chunk) == u32::from_le_bytes([c0, c1, c2, c3]) {
        true => Ok(Some(Bytes::from(chunk))),
        false => Err(invalid("a spooled chunk does not match its checksum")),
    }
}

/// Makes the folder and empties it of what a crash has left.
pub(crate) fn clean(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for file in std::fs::read_dir(dir)? {
        std::fs::remove_file(file?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(dir: &Path, chunks: &[&'static [u8]]) -> Spool {
        let mut writer = SpoolWriter::create(dir.join("spool")).unwrap();
        for chunk in chunks {
            writer.write(&Bytes::from_static(chunk)).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn chunks_come_back_in_order_and_the_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path(), &[b"one", b"", b"three"]);
        let chunks: Vec<Bytes> = spool.chunks().unwrap().map(Result::unwrap).collect();
        assert_eq!(chunks, [&b"one"[..], b"", b"three"]);
        drop(spool);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path(), &[b"one", b"two"]);
        let mut bytes = std::fs::read(&spool.owned.0).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&spool.owned.0, bytes).unwrap();
        assert!(spool.chunks().unwrap().last().unwrap().is_err());
    }
}
