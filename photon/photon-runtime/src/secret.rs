//! Config values that must not be seen: in `--print-config`, in debug output, in logs.
//!
//! A secret is written as `<hidden>` by everything but [`Secret::expose`], so that a value read back from a printed
//! config is wrong rather than leaked.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

const HIDDEN: &str = "<hidden>";

/// A string that only [`expose`](Secret::expose) shows. The default, an empty one, means "not set" and is no secret.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { HIDDEN }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_shown_by_expose_and_nothing_else() {
        let secret = Secret::new("pct_hunter2");
        assert_eq!(secret.expose(), "pct_hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(<hidden>)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"<hidden>\"");
        assert_eq!(serde_json::to_string(&Secret::default()).unwrap(), "\"\"");
    }
}
