//! `flaredb watch`: prints changes as they happen.

use bytes::Bytes;
use clap::Args;
use futures::TryStreamExt as _;
use serde::Serialize;

use super::{
    Options,
    data::bytes_of,
    output::{self, Row},
};

/// Prints changes as they happen, until it is interrupted.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The namespace.
    namespace: String,
    /// Only keys that start with it; other bytes than text as base64:...
    #[arg(long, default_value = "")]
    prefix: String,
    /// From this revision on, as far as history goes back; 0: from now on.
    #[arg(long, default_value_t = 0, value_name = "REVISION")]
    from: u64,
    /// Ends after so many changes; 0: never.
    #[arg(long, default_value_t = 0)]
    count: u64,
}

/// One change of one record.
#[derive(Serialize)]
struct Shown {
    revision: u64,
    kind: &'static str,
    key: String,
    previous_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] = &["REVISION", "KIND", "KEY", "VALUE"];

    fn cells(&self) -> Vec<String> {
        let value = self.value.clone().unwrap_or_default();
        vec![self.revision.to_string(), self.kind.to_owned(), self.key.clone(), value]
    }
}

fn shown(revision: u64, key: &[u8], value: Option<Bytes>, previous_version: u64) -> Shown {
    let kind = match (&value, previous_version) {
        (None, _) => "delete",
        (Some(_), 0) => "create",
        (Some(_), _) => "update",
    };
    Shown {
        revision,
        kind,
        key: output::text(key),
        previous_version,
        value: value.map(|value| output::text(&value)),
    }
}

impl Watch {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<()> {
        let prefix = bytes_of("prefix", &self.prefix)?;
        let client = options.connect.client().await?;
        let mut revisions = client.watch(&self.namespace, prefix, self.from).await?;
        let mut seen = 0;
        while let Some(revision) = revisions.try_next().await? {
            for event in revision.events {
                let change = shown(revision.revision, &event.key, event.value, event.previous_version);
                options.output.item(&change)?;
                seen += 1;
                if seen == self.count {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
