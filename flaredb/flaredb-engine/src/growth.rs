//! What writes add to and take from a namespace's size.

use crate::NamespaceInfo;

/// What a write adds to and takes from a namespace's size.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Growth {
    pub(crate) keys: i64,
    pub(crate) bytes: i64,
}

impl Growth {
    /// From a record of `before` bytes (key and value) to one of `after`; `None`: no record.
    pub(crate) fn add(&mut self, before: Option<usize>, after: Option<usize>) {
        let size = |bytes: Option<usize>| bytes.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        self.keys += i64::from(after.is_some()) - i64::from(before.is_some());
        self.bytes += size(after) - size(before);
    }

    /// The namespace's size after this growth.
    pub(crate) fn of(self, info: &NamespaceInfo) -> Size {
        let keys = info.keys.saturating_add_signed(self.keys);
        let bytes = info.bytes.saturating_add_signed(self.bytes);
        Size { keys, bytes }
    }
}

/// The size of a namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) keys: u64,
    pub(crate) bytes: u64,
}

impl Size {
    pub(crate) fn set(self, info: &mut NamespaceInfo) {
        info.keys = self.keys;
        info.bytes = self.bytes;
    }
}
