//! What was served last, in a local file, so that a restart answers before the metadata store is reachable.
//!
//! It is a cache: it is never the truth, it is replaced by the first list of the store, and a file that is torn,
//! of another version or of another machine's making is refused whole, by its checksum, rather than half used.
//! A new file takes the old one's place in one rename, after it is on disk.
//!
//! Format, integers big-endian: magic, revision `u64`, written at `i64` ms, zones `u32`; for each zone its record
//! as JSON (`u32` length), its version `u64`, record sets `u32`; for each record set its owner in wire form (`u8`
//! length), type `u16`, TTL `u32`, records `u16`, each with a `u16` length; last the CRC-32 of all before it.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::Arc,
};

use flashdns_core::{Name, NameError, RrSet, Zone};
use metadata_store::Version;

use crate::metadata::records::ZoneRecord;

const MAGIC: &[u8; 8] = b"FDNSCKP1";
const FILE_NAME: &str = "zones.checkpoint";

/// A file larger than this is not of our making.
const FILE_BYTES_MAX: u64 = 8 << 30;

/// One record set as the data plane has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<Box<[u8]>>,
}

impl Rows {
    /// The record set that they are.
    pub(crate) fn into_rrset(self) -> Result<RrSet, NameError> {
        let Rows { owner, rtype, ttl, data } = self;
        Ok(RrSet { owner: Name::from_wire(&owner)?, rtype, ttl, data })
    }
}

/// One zone of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedZone {
    pub(crate) record: ZoneRecord,
    pub(crate) version: Version,
    pub(crate) sets: Vec<Rows>,
}

/// A checkpoint as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) revision: Version,
    pub(crate) written_unix_ms: i64,
    pub(crate) zones: Vec<SavedZone>,
}

/// Why a checkpoint is not used. The process starts without it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckpointError {
    /// It cannot be read or written.
    #[error("{path}", path = path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{path}: {what}; delete it, it is made anew", path = path.display())]
    Damaged { path: PathBuf, what: &'static str },
}

/// Where checkpoints of this process are.
#[derive(Debug, Clone)]
pub(crate) struct Shelf {
    path: PathBuf,
}

impl Shelf {
    /// In `data_dir`, which is made if it is not there.
    pub(crate) fn open(data_dir: &Path) -> Result<Shelf, CheckpointError> {
        let shelf = Shelf { path: data_dir.join(FILE_NAME) };
        fs::create_dir_all(data_dir).map_err(|source| shelf.io(source))?;
        Ok(shelf)
    }

    /// The last checkpoint, if there is one.
    pub(crate) fn load(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let size = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.io(source)),
        };
        if size > FILE_BYTES_MAX {
            return Err(self.damaged("too large"));
        }
        let bytes = fs::read(&self.path).map_err(|source| self.io(source))?;
        decode(&bytes).map(Some).map_err(|what| self.damaged(what))
    }

    /// Writes these zones, as they were at `revision`, in place of the last checkpoint.
    pub(crate) fn save_zones(
        &self,
        revision: Version,
        written_unix_ms: i64,
        zones: &[(ZoneRecord, Version, Arc<Zone>)],
    ) -> Result<(), CheckpointError> {
        self.save(|writer| {
            writer.head(revision, written_unix_ms, zones.len())?;
            for (record, version, zone) in zones {
                writer.zone(record, *version, zone.rrset_count())?;
                for set in zone.rrsets() {
                    let RrSet { owner, rtype, ttl, data } = &set;
                    writer.set(owner.as_wire(), *rtype, *ttl, data.iter().map(|data| &**data))?;
                }
            }
            Ok(())
        })
    }

    /// Writes a checkpoint through `fill` and puts it in place of the last.
    fn save(
        &self,
        fill: impl FnOnce(&mut Writer<BufWriter<File>>) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let new = self.path.with_extension("new");
        self.write(&new, fill).map_err(|source| CheckpointError::Io { path: new, source })
    }

    fn write(
        &self,
        new: &Path,
        fill: impl FnOnce(&mut Writer<BufWriter<File>>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut writer = Writer {
            inner: BufWriter::with_capacity(1 << 18, File::create(new)?),
            crc: crc32fast::Hasher::new(),
        };
        fill(&mut writer)?;
        let file = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        // The rename itself is only durable once the folder is.
        self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn io(&self, source: io::Error) -> CheckpointError {
        CheckpointError::Io { path: self.path.clone(), source }
    }

    fn damaged(&self, what: &'static str) -> CheckpointError {
        CheckpointError::Damaged { path: self.path.clone(), what }
    }
}

/// Writes the format, summing as it goes.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    inner: W,
    crc: crc32fast::Hasher,
}

impl<W: io::Write> Writer<W> {
    pub(crate) fn head(&mut self, revision: Version, written_unix_ms: i64, zones: usize) -> io::Result<()> {
        self.bytes(MAGIC)?;
        self.bytes(&revision.0.to_be_bytes())?;
        self.bytes(&written_unix_ms.to_be_bytes())?;
        self.bytes(&length::<u32>(zones)?.to_be_bytes())
    }

    /// A zone's head; exactly `sets` calls of [`Writer::set`] follow.
    pub(crate) fn zone(&mut self, record: &ZoneRecord, version: Version, sets: usize) -> io::Result<()> {
        let json = serde_json::to_vec(record)?;
        self.bytes(&length::<u32>(json.len())?.to_be_bytes())?;
        self.bytes(&json)?;
        self.bytes(&version.0.to_be_bytes())?;
        self.bytes(&length::<u32>(sets)?.to_be_bytes())
    }

    /// One record set of the zone.
    pub(crate) fn set<'a>(
        &mut self,
        owner: &[u8],
        rtype: u16,
        ttl: u32,
        data: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> io::Result<()> {
        self.bytes(&length::<u8>(owner.len())?.to_be_bytes())?;
        self.bytes(owner)?;
        self.bytes(&rtype.to_be_bytes())?;
        self.bytes(&ttl.to_be_bytes())?;
        self.bytes(&length::<u16>(data.len())?.to_be_bytes())?;
        for record in data {
            self.bytes(&length::<u16>(record.len())?.to_be_bytes())?;
            self.bytes(record)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&self.crc.finalize().to_be_bytes())?;
        Ok(self.inner)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.inner.write_all(bytes)
    }
}

fn length<T: TryFrom<usize>>(length: usize) -> io::Result<T> {
    T::try_from(length).map_err(|_too_long| io::Error::from(io::ErrorKind::InvalidInput))
}

fn decode(file: &[u8]) -> Result<Checkpoint, &'static str> {
    let (body, sum) = file.split_last_chunk::<4>().ok_or("cut short")?;
    if !body.starts_with(MAGIC) {
        return Err("not a checkpoint of this version");
    }
    if crc32fast::hash(body) != u32::from_be_bytes(*sum) {
        return Err("checksum differs");
    }
    // From here on the bytes are what we wrote; lengths are checked all the same.
    let mut reader = Reader(&body[MAGIC.len()..]);
    let checkpoint = reader.checkpoint().ok_or("lengths do not add up")?;
    if reader.0.is_empty() { Ok(checkpoint) } else { Err("lengths do not add up") }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn checkpoint(&mut self) -> Option<Checkpoint> {
        let revision = Version(u64::from_be_bytes(self.array()?));
        let written_unix_ms = i64::from_be_bytes(self.array()?);
        let count = u32::from_be_bytes(self.array()?);
        let zones = (0..count).map(|_| self.zone()).collect::<Option<Vec<SavedZone>>>()?;
        Some(Checkpoint { revision, written_unix_ms, zones })
    }

    fn zone(&mut self) -> Option<SavedZone> {
        let length = u32::from_be_bytes(self.array()?);
        let record = serde_json::from_slice(self.take(usize::try_from(length).ok()?)?).ok()?;
        let version = Version(u64::from_be_bytes(self.array()?));
        let count = u32::from_be_bytes(self.array()?);
        let sets = (0..count).map(|_| self.set()).collect::<Option<Vec<Rows>>>()?;
        Some(SavedZone { record, version, sets })
    }

    fn set(&mut self) -> Option<Rows> {
        let [length] = self.array()?;
        let owner = self.take(usize::from(length))?.to_vec();
        let rtype = u16::from_be_bytes(self.array()?);
        let ttl = u32::from_be_bytes(self.array()?);
        let count = u16::from_be_bytes(self.array()?);
        let data = (0..count).map(|_| self.record()).collect::<Option<Vec<Box<[u8]>>>>()?;
        Some(Rows { owner, rtype, ttl, data })
    }

    fn record(&mut self) -> Option<Box<[u8]>> {
        let length = u16::from_be_bytes(self.array()?);
        self.take(usize::from(length)).map(Box::from)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::records::{Id, SoaRecord};

    fn record() -> ZoneRecord {
        ZoneRecord {
            name: "example.".to_owned(),
            id: Id::random(),
            root: Id::random(),
            serial: 7,
            soa: SoaRecord {
                primary: "ns1.example.".to_owned(),
                mailbox: "hostmaster.example.".to_owned(),
                refresh_s: 1,
                retry_s: 2,
                expire_s: 3,
                minimum_s: 4,
                ttl_s: 5,
            },
            record_sets: 2,
            created_unix_ms: 1,
            change_seq: 1,
        }
    }

    fn saved() -> Checkpoint {
        let sets = vec![
            Rows {
                owner: b"\x07example\0".to_vec(),
                rtype: 2,
                ttl: 60,
                data: vec![b"\x01a\0".as_slice().into()],
            },
            Rows {
                owner: b"\x01w\x07example\0".to_vec(),
                rtype: 1,
                ttl: 0,
                data: vec![[1, 2, 3, 4].into(), [5; 4].into()],
            },
        ];
        let zone = SavedZone { record: record(), version: Version(9), sets };
        Checkpoint { revision: Version(12), written_unix_ms: 1_700_000_000_000, zones: vec![zone] }
    }

    fn save(shelf: &Shelf, checkpoint: &Checkpoint) {
        let fill = |writer: &mut Writer<BufWriter<File>>| {
            writer.head(checkpoint.revision, checkpoint.written_unix_ms, checkpoint.zones.len())?;
            for zone in &checkpoint.zones {
                writer.zone(&zone.record, zone.version, zone.sets.len())?;
                for set in &zone.sets {
                    writer.set(&set.owner, set.rtype, set.ttl, set.data.iter().map(|data| &**data))?;
                }
            }
            Ok(())
        };
        shelf.save(fill).unwrap();
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&folder.path().join("new/folder")).unwrap();
        assert_eq!(shelf.load().unwrap(), None);
        save(&shelf, &saved());
        save(&shelf, &saved());
        assert_eq!(
            shelf.load().unwrap().map(|found| found.zones[0].sets.clone()),
            Some(saved().zones[0].sets.clone())
        );
    }

    #[test]
    fn damaged_file_is_refused_wherever_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path()).unwrap();
        save(&shelf, &saved());
        let whole = fs::read(&shelf.path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            assert!(decode(&flipped).is_err(), "byte {at}");
            assert!(decode(&whole[..at]).is_err(), "cut at {at}");
        }
        assert!(decode(&whole).is_ok());
    }
}
