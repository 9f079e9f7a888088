//! `flaredb get`, `put`, `delete` and `scan`: records, in whichever mode their namespace is.
//!
//! A write without `--if-version` reads the record first and then compares with what it read; when somebody else was
//! in between it reads again, a few times, and never writes over what it has not seen.

use std::io::{IsTerminal as _, Read as _};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use flaredb_client::{RdbClient, Swap};
use flaredb_proto::{limits, v1::NamespaceMode};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{
    Options,
    failure::{Failure, Misuse},
    output::{self, Row},
};

/// Reads before a write without `--if-version` gives up against other writers.
const ATTEMPTS: u32 = 5;

/// Reads one record.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The namespace.
    namespace: String,
    /// The key; other bytes than text as base64:...
    key: String,
    /// Prints the value's bytes as they are, and nothing else.
    #[arg(long)]
    raw: bool,
}

/// Writes one record.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The namespace.
    namespace: String,
    /// The key; other bytes than text as base64:...
    key: String,
    /// The value; - reads it from stdin, other bytes than text as base64:...
    value: String,
    /// Only if the record is at this version; 0: only if there is none.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

/// Deletes one record.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The namespace.
    namespace: String,
    /// The key; other bytes than text as base64:...
    key: String,
    /// Only if the record is at this version.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

/// Reads a range of records.
#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// The namespace.
    namespace: String,
    /// Only keys that start with it; other bytes than text as base64:...
    #[arg(long, default_value = "")]
    prefix: String,
    /// At most so many records.
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    /// Keys and versions only.
    #[arg(long)]
    keys_only: bool,
}

/// A record as it is printed; `version` is a timestamp in Eventual namespaces.
#[derive(Serialize)]
struct Shown {
    key: String,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] = &["KEY", "VERSION", "VALUE"];

    fn cells(&self) -> Vec<String> {
        vec![self.key.clone(), self.version.to_string(), self.value.clone().unwrap_or_default()]
    }
}

impl Get {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<()> {
        let key = bytes_of("key", &self.key)?;
        let client = options.connect.client().await?;
        let found = read(&client, &self.namespace, key).await?;
        let missing = || Failure::NoRecord { namespace: self.namespace.clone(), key: self.key.clone() };
        let (value, version) = found.ok_or_else(missing)?;
        if self.raw {
            return Ok(output::bytes(&value)?);
        }
        Ok(options.output.row(&Shown { key: self.key, version, value: Some(output::text(&value)) })?)
    }
}

/// Value and version, or timestamp, of one record.
async fn read(client: &RdbClient, namespace: &str, key: Bytes) -> anyhow::Result<Option<(Bytes, u64)>> {
    Ok(match mode(client, namespace).await? {
        NamespaceMode::Eventual => {
            client.raw_get(namespace, key).await?.record.map(|record| (record.value, record.ts))
        }
        _ => client.get(namespace, key).await?.record.map(|record| (record.value, record.version)),
    })
}

async fn mode(client: &RdbClient, namespace: &str) -> anyhow::Result<NamespaceMode> {
    Ok(client.namespaces().describe(namespace).await?.mode())
}

impl Put {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<()> {
        let key = bytes_of("key", &self.key)?;
        let value = self.value()?;
        let client = options.connect.client().await?;
        if mode(&client, &self.namespace).await? == NamespaceMode::Eventual {
            refuse_version(self.if_version)?;
            let written = client.raw_put(&self.namespace, key, value).await?;
            return Ok(options.output.row(&Shown { key: self.key, version: written.ts, value: None })?);
        }
        let version = self.put_strong(&client, key, value).await?;
        Ok(options.output.row(&Shown { key: self.key, version, value: None })?)
    }

    async fn put_strong(&self, client: &RdbClient, key: Bytes, value: Bytes) -> anyhow::Result<u64> {
        for _attempt in 0..ATTEMPTS {
            let expected = match self.if_version {
                Some(version) => version,
                None => version_now(client, &self.namespace, &key).await?,
            };
            match client.cas_put(&self.namespace, key.clone(), value.clone(), expected).await? {
                Swap::Done(version) => return Ok(version),
                Swap::Conflict { version: found, .. } if self.if_version.is_some() => {
                    return Err(Failure::Conflict { key: self.key.clone(), expected, found }.into());
                }
                Swap::Conflict { .. } => {}
            }
        }
        Err(Failure::Contended { key: self.key.clone(), attempts: ATTEMPTS }.into())
    }

    fn value(&self) -> anyhow::Result<Bytes> {
        if self.value != "-" {
            return bytes_of("value", &self.value);
        }
        let mut stdin = std::io::stdin();
        if stdin.is_terminal() {
            output::remark("reading the value from the terminal; Ctrl-D ends it");
        }
        let mut value = Vec::new();
        // One byte more than is accepted is enough to be refused.
        let most = u64::try_from(limits::VALUE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        stdin.by_ref().take(most).read_to_end(&mut value).context("cannot read the value from stdin")?;
        Ok(value.into())
    }
}

impl Delete {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<()> {
        let key = bytes_of("key", &self.key)?;
        let client = options.connect.client().await?;
        if mode(&client, &self.namespace).await? == NamespaceMode::Eventual {
            refuse_version(self.if_version)?;
            client.raw_delete(&self.namespace, key).await?;
        } else {
            self.delete_strong(&client, key).await?;
        }
        output::remark(&format!("{} is deleted", self.key));
        Ok(())
    }

    async fn delete_strong(&self, client: &RdbClient, key: Bytes) -> anyhow::Result<u64> {
        let missing = || Failure::NoRecord { namespace: self.namespace.clone(), key: self.key.clone() };
        for _attempt in 0..ATTEMPTS {
            let expected = match self.if_version {
                Some(version) => version,
                None => version_now(client, &self.namespace, &key).await?,
            };
            if expected == 0 {
                return Err(missing().into());
            }
            match client.cas_delete(&self.namespace, key.clone(), expected).await? {
                Swap::Done(revision) => return Ok(revision),
                Swap::Conflict { version: 0, .. } => return Err(missing().into()),
                Swap::Conflict { version: found, .. } if self.if_version.is_some() => {
                    return Err(Failure::Conflict { key: self.key.clone(), expected, found }.into());
                }
                Swap::Conflict { .. } => {}
            }
        }
        Err(Failure::Contended { key: self.key.clone(), attempts: ATTEMPTS }.into())
    }
}

impl Scan {
    /// Does it.
    pub(crate) async fn run(self, options: &Options) -> anyhow::Result<()> {
        let prefix = bytes_of("prefix", &self.prefix)?;
        let client = options.connect.client().await?;
        let shown = match mode(&client, &self.namespace).await? {
            NamespaceMode::Eventual => self.eventual(&client, prefix).await?,
            _ => self.strong(&client, prefix).await?,
        };
        if shown.len() == self.limit {
            output::remark(&format!("these are the first {}; more with --limit", self.limit));
        }
        Ok(options.output.rows(&shown)?)
    }

    async fn strong(&self, client: &RdbClient, prefix: Bytes) -> anyhow::Result<Vec<Shown>> {
        let records = client.scan_prefix(&self.namespace, prefix).take(self.limit);
        let shown = records.map_ok(|record| self.shown(&record.key, record.version, &record.value));
        Ok(shown.try_collect().await?)
    }

    async fn eventual(&self, client: &RdbClient, prefix: Bytes) -> anyhow::Result<Vec<Shown>> {
        let records = client.raw_scan_prefix(&self.namespace, prefix).take(self.limit);
        let shown = records.map_ok(|record| self.shown(&record.key, record.ts, &record.value));
        Ok(shown.try_collect().await?)
    }

    fn shown(&self, key: &[u8], version: u64, value: &[u8]) -> Shown {
        Shown { key: output::text(key), version, value: (!self.keys_only).then(|| output::text(value)) }
    }
}

/// The version that a record has now; 0: there is none.
async fn version_now(client: &RdbClient, namespace: &str, key: &Bytes) -> anyhow::Result<u64> {
    Ok(client.get(namespace, key.clone()).await?.record.map_or(0, |record| record.version))
}

/// Timestamps decide in Eventual namespaces, so there is no version to compare with.
fn refuse_version(version: Option<u64>) -> anyhow::Result<()> {
    match version {
        None => Ok(()),
        Some(_) => {
            Err(Misuse("--if-version needs a Strong namespace; this one is eventual".to_owned()).into())
        }
    }
}

/// Bytes as they are given on the command line.
pub(crate) fn bytes_of(what: &str, text: &str) -> anyhow::Result<Bytes> {
    let parsed = output::parse_bytes(text);
    parsed.map_err(|error| Misuse(format!("the {what} is no valid base64: {error}")).into())
}
