//! Reading aux rows: the small rows without history that commands keep beside records
//! ([`Transaction::put_aux`](crate::Transaction::put_aux)).

use bytes::Bytes;
use rocksdb::{Direction, IteratorMode};

use crate::{NamespaceId, ReadError, Region, engine::RAW, keys};

impl Region {
    /// An aux row.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn aux(&self, namespace: NamespaceId, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.whole(|| {
            let row = self.engine().db.get_cf(self.engine().family(RAW)?, keys::record(namespace, key))?;
            Ok(row.map(Bytes::from))
        })
    }

    /// The aux rows from `start` to before `end`, in order, at most `limit` of them, at one moment.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn aux_rows(
        &self,
        namespace: NamespaceId,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.whole(|| {
            let (start, end) = (keys::record(namespace, start), keys::record(namespace, end));
            let from = IteratorMode::From(&start, Direction::Forward);
            let mut rows = Vec::new();
            for item in self.engine().db.iterator_cf(self.engine().family(RAW)?, from).take(limit) {
                let (key, row) = item?;
                if key[..] >= end[..] {
                    break;
                }
                rows.push((Bytes::copy_from_slice(keys::user_key(&key)?), Bytes::from(row)));
            }
            Ok(rows)
        })
    }
}
