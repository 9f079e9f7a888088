//! A hash map that is copied cheaply: the copy shares every shard that is not written to.
//!
//! It exists because a snapshot of thousands of entries is replaced many times a second while others read the
//! old one; cloning all of it, or a lock around it, would make the cost of a change depend on how much there is.

use std::sync::Arc;

use hashbrown::HashTable;

/// One shard holds a 64th of the entries.
const SHARDS: usize = 64;

/// An entry knows its own key.
pub(crate) trait Entry: Clone {
    /// Hash of its key.
    fn hash(&self) -> u32;
    /// Whether the other has the same key.
    fn is_same(&self, other: &Self) -> bool;
}

type Shard<T> = Option<Arc<HashTable<T>>>;

/// The map. Empty, it is one null pointer.
#[derive(Debug, Clone)]
pub(crate) struct Shards<T> {
    shards: Option<Arc<[Shard<T>; SHARDS]>>,
    len: usize,
}

impl<T> Default for Shards<T> {
    fn default() -> Self {
        Shards { shards: None, len: 0 }
    }
}

/// Shards are told apart by the low bits; the table inside uses all of the spread hash.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn index(hash: u32) -> usize {
    usize::from(hash.to_le_bytes()[0]) % SHARDS
}

impl<T: Entry> Shards<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entry with this hash that `matches`.
    pub(crate) fn find(&self, hash: u32, matches: impl Fn(&T) -> bool) -> Option<&T> {
        let shard = self.shards.as_deref()?.get(index(hash))?.as_deref()?;
        shard.find(spread(hash), |entry| entry.hash() == hash && matches(entry))
    }

    /// Puts an entry in place of the one with its key.
    pub(crate) fn insert(&mut self, entry: T) {
        let hash = entry.hash();
        let shard = self.shard(hash);
        match shard.find_mut(spread(hash), |other| other.is_same(&entry)) {
            Some(found) => *found = entry,
            None => {
                shard.insert_unique(spread(hash), entry, |entry| spread(entry.hash()));
                self.len += 1;
            }
        }
    }

    /// Removes the entry with this hash that `matches`.
    pub(crate) fn remove(&mut self, hash: u32, matches: impl Fn(&T) -> bool) {
        if self.find(hash, &matches).is_none() {
            return;
        }
        if let Ok(found) = self.shard(hash).find_entry(spread(hash), |entry| matches(entry)) {
            found.remove();
            self.len -= 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().flat_map(|shards| shards.iter()).flatten().flat_map(|shard| shard.iter())
    }

    fn shard(&mut self, hash: u32) -> &mut HashTable<T> {
        let shards = self.shards.get_or_insert_with(|| Arc::new(std::array::from_fn(|_| None)));
        let shard = &mut Arc::make_mut(shards)[index(hash)];
        Arc::make_mut(shard.get_or_insert_with(Arc::default))
    }
}
