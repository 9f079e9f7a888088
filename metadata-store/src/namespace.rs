//! Which keys a service owns.

use crate::StoreError;

/// A service's part of the metadata store: one Strong namespace of its own name, and the prefix of all of its keys.
///
/// The prefix begins and ends with `/`, so that `/fiberlb/` is never the beginning of a key of `/fiberlb2/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// The namespace's name, which is the service's.
    pub name: &'static str,
    /// What every key starts with.
    pub prefix: &'static str,
}

impl Namespace {
    /// Refuses a key that is not the service's.
    pub(crate) fn check_key(&self, key: &str) -> Result<(), StoreError> {
        if key.starts_with(self.prefix) {
            return Ok(());
        }
        Err(self.outside("key", key))
    }

    /// Refuses to look beyond the service's keys, or at half a path segment: a prefix that does not end with `/`
    /// would match its neighbours' names as well.
    pub(crate) fn check_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        if prefix.starts_with(self.prefix) && prefix.ends_with('/') {
            return Ok(());
        }
        Err(self.outside("prefix", prefix))
    }

    fn outside(&self, field: &'static str, found: &str) -> StoreError {
        let end = if field == "prefix" { " and ends with \"/\"" } else { "" };
        StoreError::invalid(field, format!("{found:?}"), format!("what starts with {:?}{end}", self.prefix))
    }
}
