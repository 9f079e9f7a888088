//! The seeded hash of names, built label by label from the right, so that one pass over a name yields the hash
//! of each of its ancestors.
//!
//! The seed is random for the process and the same for all zones: a query is hashed once, whichever zone it
//! belongs to, and nobody outside can choose names that collide.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    sync::LazyLock,
};

use foldhash::quality::RandomState;

static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// Hash of the root, from which every other begins.
pub(crate) const ROOT: u32 = 0;

/// A handle on the process's seed, fetched once for a pass over a name.
#[derive(Clone, Copy)]
pub(crate) struct Seed(&'static RandomState);

impl Seed {
    pub(crate) fn get() -> Seed {
        Seed(&SEED)
    }

    /// The hash of `label` (lower case) below the name that `parent` is the hash of.
    pub(crate) fn extend(self, parent: u32, label: &[u8]) -> u32 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u32(parent);
        hasher.write(label);
        fold(hasher.finish())
    }

    /// The hash of a whole name in wire form, lower case.
    pub(crate) fn name(self, wire: &[u8]) -> u32 {
        match crate::name::split_first(wire) {
            Some((label, parent)) => self.extend(self.name(parent), label),
            None => ROOT,
        }
    }
}

fn fold(hash: u64) -> u32 {
    let [a, b, c, d, e, f, g, h] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h])
}
