//! A consistent view of a region, read in chunks that say where the next one starts.
//!
//! A chunk is a run of rows, each `family u8 | key length u32 | key | value length u32 | value`.

use std::{sync::Arc, time::Duration};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use rocksdb::DB;
use sha2::{Digest as _, Sha256};

use crate::{
    Applied, Engine, EngineError, NamespaceInfo, RegionId,
    codec::{take, take_u8, take_u32},
    engine::{FAMILIES, META},
    region::{applied_key, counters_key, is_state, parse_applied},
};

/// Rows of this size at most are read by [`Snapshot::hash`] at once.
const HASHED_BYTES: usize = 1 << 20;

type View<'a> = rocksdb::Snapshot<'a>;

self_cell::self_cell!(
    struct OwnedView {
        owner: Arc<DB>,

        #[not_covariant]
        dependent: View,
    }
);

/// A point-in-time view of a region.
pub struct Snapshot {
    view: OwnedView,
    engine: Engine,
    region: RegionId,
    applied: Applied,
    /// The namespaces of the region, by number, whose rows are in the view.
    namespaces: Vec<NamespaceInfo>,
}

/// One piece of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// A run of rows.
    pub data: Bytes,
    /// The cursor of the next piece; `None`: this was the last.
    pub next: Option<Vec<u8>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("region", &self.region).field("applied", &self.applied).finish()
    }
}

impl Snapshot {
    pub(crate) fn take(engine: &Engine, region: RegionId) -> Result<Self, EngineError> {
        let view = OwnedView::new(Arc::clone(&engine.db), |db| db.snapshot());
        let mut snapshot = Self {
            view,
            engine: engine.clone(),
            region,
            applied: Applied::default(),
            namespaces: Vec::new(),
        };
        let row = snapshot.view.with_dependent(|_, view| {
            Ok::<_, EngineError>(view.get_cf(engine.family(META)?, applied_key(region))?)
        })?;
        snapshot.applied = row.map_or(Ok(Applied::default()), |row| parse_applied(&row))?;
        snapshot.namespaces = snapshot.read_namespaces()?;
        Ok(snapshot)
    }

    /// The position that the view shows.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The namespaces in the view.
    pub(crate) fn namespaces(&self) -> &[NamespaceInfo] {
        &self.namespaces
    }

    fn read_namespaces(&self) -> Result<Vec<NamespaceInfo>, EngineError> {
        let mut namespaces = Vec::new();
        let data = self.read_family(0, &[], usize::MAX)?.0;
        for row in rows(&data) {
            let row = row?;
            if row.key != counters_key(self.region) {
                namespaces.push(NamespaceInfo::decode(row.value)?);
            }
        }
        // Those of a restore that has not finished come behind the others.
        namespaces.sort_by_key(|info| info.id);
        Ok(namespaces)
    }

    /// Reads the piece at `cursor` (empty: the first) of about `bytes_max` bytes.
    ///
    /// # Errors
    /// When the state cannot be read or the cursor is none.
    pub fn read(&self, cursor: &[u8], bytes_max: usize) -> Result<Chunk, EngineError> {
        let (mut family, start) = if cursor.is_empty() { (0, &[][..]) } else { take_u8(cursor, "cursor")? };
        let mut start = start.to_vec();
        let mut data = BytesMut::new();
        while usize::from(family) < FAMILIES.len() {
            let (rows, next) = self.read_family(family, &start, bytes_max.saturating_sub(data.len()))?;
            data.extend_from_slice(&rows);
            if let Some(key) = next {
                return Ok(Chunk { data: data.freeze(), next: Some([&[family], &key[..]].concat()) });
            }
            family += 1;
            start.clear();
        }
        Ok(Chunk { data: data.freeze(), next: None })
    }

    /// Rows of one family from `start` on, and where to go on if there was no room for all.
    fn read_family(
        &self,
        family: u8,
        start: &[u8],
        bytes_max: usize,
    ) -> Result<(Bytes, Option<Vec<u8>>), EngineError> {
        let name = name_of(family)?;
        let mut data = BytesMut::new();
        self.view.with_dependent(|_, view| {
            let mut options = Engine::in_order();
            // What is read once from end to end would drive out what is read often.
            options.fill_cache(false);
            let mut rows = view.raw_iterator_cf_opt(self.engine.family(name)?, options);
            rows.seek(start);
            while let Some((key, value)) = rows.item() {
                if self.holds(name, key) {
                    if data.len() + key.len() + value.len() > bytes_max && !(data.is_empty() && start == key)
                    {
                        return Ok((data.freeze(), Some(key.to_vec())));
                    }
                    put_row(&mut data, family, key, value)?;
                }
                rows.next();
            }
            rows.status()?;
            Ok((data.freeze(), None))
        })
    }

    /// Whether a row belongs to the region's state.
    fn holds(&self, family: &str, key: &[u8]) -> bool {
        if family == META {
            return is_state(self.region, key);
        }
        let id = key.first_chunk().map(|id| u32::from_be_bytes(*id));
        id.is_some_and(|id| self.namespaces.binary_search_by_key(&id, |info| info.id.0).is_ok())
    }

    /// SHA-256 over all rows.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn hash(&self) -> Result<[u8; 32], EngineError> {
        Ok(self.hash_part(&[], u64::MAX, Duration::ZERO)?.0)
    }

    /// SHA-256 over about `bytes_max` bytes of rows from `cursor` on (empty: from the first), and the cursor of what
    /// follows. Rests for `pause` after each MiB, so that nobody else waits for the disk.
    ///
    /// # Errors
    /// When the state cannot be read or the cursor is none.
    pub fn hash_part(
        &self,
        cursor: &[u8],
        bytes_max: u64,
        pause: Duration,
    ) -> Result<([u8; 32], Option<Vec<u8>>), EngineError> {
        let mut hash = Sha256::new();
        let (mut next, mut bytes) = (Some(cursor.to_vec()), 0_u64);
        while let Some(at) = next.as_ref().filter(|_| bytes < bytes_max) {
            let chunk = self.read(at, HASHED_BYTES)?;
            hash.update(&chunk.data);
            bytes = bytes.saturating_add(u64::try_from(chunk.data.len()).unwrap_or(u64::MAX));
            next = chunk.next;
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        Ok((hash.finalize().into(), next))
    }
}

fn put_row(data: &mut BytesMut, family: u8, key: &[u8], value: &[u8]) -> Result<(), EngineError> {
    let length =
        |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_large| EngineError::Corrupt { what: "row" });
    data.put_u8(family);
    data.put_u32(length(key)?);
    data.put_slice(key);
    data.put_u32(length(value)?);
    data.put_slice(value);
    Ok(())
}

fn name_of(family: u8) -> Result<&'static str, EngineError> {
    FAMILIES.get(usize::from(family)).copied().ok_or(EngineError::Corrupt { what: "snapshot row" })
}

/// A row of a chunk.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) family: &'static str,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// The rows of a chunk, up to the first that is damaged.
pub(crate) fn rows(mut data: &[u8]) -> impl Iterator<Item = Result<Row<'_>, EngineError>> {
    std::iter::from_fn(move || {
        if data.is_empty() {
            return None;
        }
        let row = row(data);
        let used = row.as_ref().map_or(data.len(), |row| 9 + row.key.len() + row.value.len());
        data.advance(used);
        Some(row)
    })
}

fn row(data: &[u8]) -> Result<Row<'_>, EngineError> {
    const WHAT: &str = "snapshot row";
    let bytes = |length: u32| usize::try_from(length).map_err(|_large| EngineError::Corrupt { what: WHAT });
    let (family, rest) = take_u8(data, WHAT)?;
    let (length, rest) = take_u32(rest, WHAT)?;
    let (key, rest) = take(rest, bytes(length)?, WHAT)?;
    let (length, rest) = take_u32(rest, WHAT)?;
    let (value, _) = take(rest, bytes(length)?, WHAT)?;
    Ok(Row { family: name_of(family)?, key, value })
}
