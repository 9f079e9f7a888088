//! The file that `snapshot save` writes: a header, then chunks with their own checksums, then an end mark.
//!
//! A file that was cut short, changed or never finished is recognised before a single record of it is restored:
//! `verify` reads it to its end mark. Nothing of it is ever held whole in memory.

use std::io::{self, Read, Write};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flaredb_proto::v1::SnapshotChunk;

const MAGIC: &[u8; 16] = b"flaredb-snap\0\0\0\x01";
/// Sequence (8), length (4), CRC-32 (4), last (1).
const CHUNK_HEADER: usize = 17;
/// Larger chunks are not written by any server.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// What is wrong with a snapshot file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It is no snapshot, or of a version that this program does not know.
    #[error("this is no FlareDB snapshot of a known version")]
    Foreign,
    /// It ends before its end mark.
    #[error("the snapshot ends after chunk {chunks} without an end mark: it was cut short or never finished")]
    Cut {
        /// Whole chunks that it has.
        chunks: u64,
    },
    /// A chunk is not what was written.
    #[error("chunk {sequence} of the snapshot is damaged: {what}")]
    Damaged {
        /// Which chunk.
        sequence: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// The file cannot be read or written.
    #[error("the snapshot file cannot be used")]
    Io(#[from] io::Error),
}

/// Writes a snapshot, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
    totals: Totals,
    ended: bool,
}

/// Reads a snapshot, chunk by chunk.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    input: R,
    next: u64,
    ended: bool,
}

/// What a whole snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Chunks.
    pub(crate) chunks: u64,
    /// Bytes of their data.
    pub(crate) bytes: u64,
}

impl Totals {
    fn add(&mut self, chunk: &SnapshotChunk) {
        self.chunks += 1;
        self.bytes += u64::try_from(chunk.data.len()).unwrap_or(u64::MAX);
    }
}

impl<W: Write> Writer<W> {
    /// Starts a snapshot.
    pub(crate) fn new(mut out: W) -> Result<Self, ArchiveError> {
        out.write_all(MAGIC)?;
        Ok(Self { out, totals: Totals::default(), ended: false })
    }

    /// Appends a chunk as the server sent it, once it has been checked.
    pub(crate) fn append(&mut self, chunk: &SnapshotChunk) -> Result<(), ArchiveError> {
        check(chunk, self.totals.chunks)?;
        let mut header = BytesMut::with_capacity(CHUNK_HEADER);
        header.put_u64(chunk.sequence);
        header.put_u32(u32::try_from(chunk.data.len()).unwrap_or(u32::MAX));
        header.put_u32(chunk.crc32);
        header.put_u8(u8::from(chunk.last));
        self.out.write_all(&header)?;
        self.out.write_all(&chunk.data)?;
        self.totals.add(chunk);
        self.ended = chunk.last;
        Ok(())
    }

    /// Hands the file back; refused when the last chunk has not come.
    pub(crate) fn finish(mut self) -> Result<(W, Totals), ArchiveError> {
        if !self.ended {
            return Err(ArchiveError::Cut { chunks: self.totals.chunks });
        }
        self.out.flush()?;
        Ok((self.out, self.totals))
    }
}

impl<R: Read> Reader<R> {
    /// Opens a snapshot.
    pub(crate) fn new(mut input: R) -> Result<Self, ArchiveError> {
        let mut magic = [0; MAGIC.len()];
        match input.read_exact(&mut magic) {
            Ok(()) if &magic == MAGIC => Ok(Self { input, next: 0, ended: false }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error.into()),
            _ => Err(ArchiveError::Foreign),
        }
    }

    /// The next chunk, checked; `None` behind the one with the end mark.
    pub(crate) fn next_chunk(&mut self) -> Result<Option<SnapshotChunk>, ArchiveError> {
        if self.ended {
            return self.nothing_follows();
        }
        let chunk = self.read_chunk()?;
        check(&chunk, self.next)?;
        self.next += 1;
        self.ended = chunk.last;
        Ok(Some(chunk))
    }

    /// Reads to the end mark.
    pub(crate) fn verify(mut self) -> Result<Totals, ArchiveError> {
        let mut totals = Totals::default();
        while let Some(chunk) = self.next_chunk()? {
            totals.add(&chunk);
        }
        Ok(totals)
    }

    fn read_chunk(&mut self) -> Result<SnapshotChunk, ArchiveError> {
        let mut header = [0; CHUNK_HEADER];
        self.fill(&mut header)?;
        let mut fields = &header[..];
        let (sequence, length, crc32) = (fields.get_u64(), fields.get_u32(), fields.get_u32());
        let last = match fields.get_u8() {
            mark @ 0..=1 => mark == 1,
            _ => return Err(ArchiveError::Damaged { sequence: self.next, what: "its end mark is none" }),
        };
        let length = usize::try_from(length).ok().filter(|&length| length <= CHUNK_BYTES_MAX);
        let Some(length) = length else {
            return Err(ArchiveError::Damaged { sequence: self.next, what: "its length is impossible" });
        };
        let mut data = vec![0; length];
        self.fill(&mut data)?;
        Ok(SnapshotChunk { sequence, data: Bytes::from(data), crc32, last })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::Cut { chunks: self.next },
            _ => error.into(),
        })
    }

    fn nothing_follows(&mut self) -> Result<Option<SnapshotChunk>, ArchiveError> {
        match self.input.read(&mut [0])? {
            0 => Ok(None),
            _ => Err(ArchiveError::Damaged { sequence: self.next, what: "something follows the end mark" }),
        }
    }
}

/// Whether a chunk is the one that must come now, and undamaged.
fn check(chunk: &SnapshotChunk, expected: u64) -> Result<(), ArchiveError> {
    let damaged = |what| Err(ArchiveError::Damaged { sequence: expected, what });
    if chunk.sequence != expected {
        return damaged("it is out of order");
    }
    if crc32fast::hash(&chunk.data) != chunk.crc32 {
        return damaged("its checksum does not match");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(sequence: u64, data: &'static [u8], last: bool) -> SnapshotChunk {
        SnapshotChunk { sequence, data: Bytes::from_static(data), crc32: crc32fast::hash(data), last }
    }

    fn file() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.append(&chunk(0, b"one", false)).unwrap();
        writer.append(&chunk(1, b"two", true)).unwrap();
        writer.finish().unwrap().0
    }

    fn verify(file: &[u8]) -> Result<Totals, ArchiveError> {
        Reader::new(file)?.verify()
    }

    #[test]
    fn a_finished_file_verifies_and_reads_back() {
        assert_eq!(verify(&file()).unwrap(), Totals { chunks: 2, bytes: 6 });
        let bytes = file();
        let mut reader = Reader::new(&bytes[..]).unwrap();
        assert_eq!(reader.next_chunk().unwrap(), Some(chunk(0, b"one", false)));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let file = file();
        for length in 0..file.len() {
            assert!(verify(&file[..length]).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn a_file_with_any_byte_changed_or_added_is_refused() {
        let file = file();
        for (at, bit) in (0..file.len()).flat_map(|at| [0x01, 0x40].map(|bit| (at, bit))) {
            let mut changed = file.clone();
            changed[at] ^= bit;
            assert!(verify(&changed).is_err(), "byte {at}, bit {bit:#x}");
        }
        assert!(verify(&[&file[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_snapshot_without_its_last_chunk_is_not_finished() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.append(&chunk(0, b"one", false)).unwrap();
        assert!(matches!(writer.finish(), Err(ArchiveError::Cut { chunks: 1 })));
    }
}
