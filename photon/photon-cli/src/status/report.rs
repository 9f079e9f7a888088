//! What a process says about itself in a health check's metadata.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The part of the report that is shown.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Report {
    pub(super) service: String,
    pub(super) node: String,
    pub(super) version: String,
    pub(super) draining: bool,
    conditions: BTreeMap<String, Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    ok: bool,
    #[serde(default)]
    reason: Option<String>,
}

impl Report {
    /// Reads a report; one of an older or newer version that cannot be read is none.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// The conditions that are not met, with their reasons; of a process that meets all, what else there is to know.
    pub(super) fn why(&self) -> String {
        let unmet = self.words(|condition| !condition.ok);
        if unmet.is_empty() { self.words(|condition| condition.reason.is_some()) } else { unmet }
    }

    fn words(&self, wanted: impl Fn(&Condition) -> bool) -> String {
        let shown = self.conditions.iter().filter(|(_, condition)| wanted(condition));
        let words = shown.map(|(name, condition)| match &condition.reason {
            Some(reason) => format!("{name}: {reason}"),
            None => name.clone(),
        });
        words.collect::<Vec<_>>().join("; ")
    }
}
