//! A name as it stands in a message: its labels, where each of them can be pointed at, and the hash of each of
//! its ancestors.
//!
//! The same reader takes the question of a query and the target of an alias that was just written into the
//! reply, so following an alias needs no second notion of a name. Depths count labels from the root: the root is
//! at depth 0, the whole name at [`Labels::depth`].

use crate::{
    hash::{self, Seed},
    name::{LABEL_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX},
};

/// Octets before this one can be pointed at (RFC 1035 §4.1.4).
pub(crate) const POINTER_END: usize = 0x4000;

/// A name read from a message.
pub(crate) struct Labels {
    /// Uncompressed wire form, lower case.
    wire: [u8; NAME_BYTES_MAX + 1],
    length: usize,
    depth: usize,
    /// Where each label, the leftmost first, begins in `wire`; the root last.
    starts: [u8; LABELS_MAX + 1],
    /// Where each label, the leftmost first, begins in the message; the root last.
    places: [u16; LABELS_MAX + 1],
    /// By depth.
    hashes: [u32; LABELS_MAX + 1],
}

impl Default for Labels {
    fn default() -> Labels {
        Labels {
            wire: [0; NAME_BYTES_MAX + 1],
            length: 0,
            depth: 0,
            starts: [0; LABELS_MAX + 1],
            places: [0; LABELS_MAX + 1],
            hashes: [hash::ROOT; LABELS_MAX + 1],
        }
    }
}

impl Labels {
    /// The name at `at`, which may be compressed; `None` if there is none.
    pub(crate) fn of(message: &[u8], at: usize) -> Option<Labels> {
        let mut name = Labels::default();
        name.read(message, at, true)?;
        Some(name)
    }

    /// Becomes the name at `at` and returns where that ends; `None` if there is none.
    ///
    /// It is read in place, since it is large, and few of its octets are used by most names. A pointer must point
    /// before everything read so far, so that no chain of them is endless.
    pub(crate) fn read(&mut self, message: &[u8], at: usize, pointers: bool) -> Option<usize> {
        (self.length, self.depth) = (0, 0);
        let end = self.collect(message, at, pointers)?;
        self.wire.get_mut(..self.length)?.make_ascii_lowercase();
        self.hash();
        Some(end)
    }

    fn collect(&mut self, message: &[u8], from: usize, pointers: bool) -> Option<usize> {
        let (mut at, mut earliest, mut end) = (from, from, None);
        // Each turn takes a label or follows a pointer that points further back than the last.
        for _ in 0..2 * (LABELS_MAX + 1) {
            let length = usize::from(*message.get(at)?);
            if length > LABEL_BYTES_MAX {
                let to = pointer(message, at).filter(|&to| pointers && to < earliest)?;
                end = end.or(Some(at + 2));
                (at, earliest) = (to, to);
                continue;
            }
            self.push(message.get(at..=at + length)?, at)?;
            at += 1 + length;
            if length == 0 {
                return end.or(Some(at));
            }
            self.depth += 1;
        }
        None
    }

    /// Appends a label with its length octet.
    fn push(&mut self, label: &[u8], at: usize) -> Option<()> {
        let end = self.length + label.len();
        if end > NAME_BYTES_MAX {
            return None;
        }
        self.wire.get_mut(self.length..end)?.copy_from_slice(label);
        *self.starts.get_mut(self.depth)? = u8::try_from(self.length).ok()?;
        *self.places.get_mut(self.depth)? = u16::try_from(at).ok()?;
        self.length = end;
        Some(())
    }

    fn hash(&mut self) {
        let seed = Seed::get();
        let mut hash = hash::ROOT;
        let mut end = self.length.saturating_sub(1);
        for depth in 1..=self.depth {
            let start = usize::from(self.starts[self.depth - depth]);
            hash = seed.extend(hash, self.wire.get(start + 1..end).unwrap_or_default());
            self.hashes[depth] = hash;
            end = start;
        }
    }

    /// Number of labels without the root.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Octets in uncompressed wire form.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    fn index(&self, depth: usize) -> usize {
        self.depth.saturating_sub(depth)
    }

    /// Wire form, lower case, of the ancestor at `depth`.
    pub(crate) fn suffix(&self, depth: usize) -> &[u8] {
        let start = usize::from(self.starts[self.index(depth)]);
        self.wire.get(start..self.length).unwrap_or_default()
    }

    /// Hash of the ancestor at `depth`.
    pub(crate) fn hash_at(&self, depth: usize) -> u32 {
        self.hashes.get(depth).copied().unwrap_or(hash::ROOT)
    }

    /// Where the ancestor at `depth` can be pointed at in the message; it may be beyond what a pointer reaches.
    pub(crate) fn place(&self, depth: usize) -> u16 {
        self.places[self.index(depth)]
    }

    /// Whether this is the same name.
    pub(crate) fn is(&self, other: &Labels) -> bool {
        self.hash_at(self.depth) == other.hash_at(other.depth)
            && self.suffix(self.depth) == other.suffix(other.depth)
    }

    /// Whether this is at or below the ancestor of `other` at `depth`.
    pub(crate) fn is_within(&self, other: &Labels, depth: usize) -> bool {
        self.depth >= depth
            && self.hash_at(depth) == other.hash_at(depth)
            && self.suffix(depth) == other.suffix(depth)
    }
}

fn pointer(message: &[u8], at: usize) -> Option<usize> {
    let high = *message.get(at)?;
    let low = *message.get(at + 1)?;
    (high >= 0xc0).then_some(usize::from(high & 0x3f) << 8 | usize::from(low))
}
