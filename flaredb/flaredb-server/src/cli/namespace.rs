//! `flaredb namespace`: makes, shows and deletes namespaces.

use clap::{Subcommand, ValueEnum};
use flaredb_proto::v1::{self, CreateNamespaceRequest, NamespaceMode};
use serde::Serialize;

use super::{
    Options,
    failure::Misuse,
    output::{self, Row},
};
use crate::status::mode_name;

/// What to do with namespaces.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Makes a namespace.
    Create {
        /// Its name: lower-case letters, digits and hyphens.
        name: String,
        /// Strong: linearizable compare-and-swap. Eventual: last writer wins, reads at any replica.
        #[arg(long, value_enum, default_value = "strong")]
        mode: Mode,
        /// Every key must start with it.
        #[arg(long, default_value = "")]
        key_prefix: String,
        /// Most records; 0: no bound.
        #[arg(long, default_value_t = 0)]
        keys_max: u64,
        /// Most bytes of keys and values; 0: no bound.
        #[arg(long, default_value_t = 0)]
        bytes_max: u64,
    },
    /// Lists the namespaces that you may read.
    List,
    /// Shows one namespace.
    #[command(alias = "show")]
    Describe {
        /// Its name.
        name: String,
    },
    /// Deletes a namespace with everything in it.
    Delete {
        /// Its name.
        name: String,
        /// Yes, with everything in it.
        #[arg(long)]
        yes: bool,
    },
}

/// A namespace's mode, for ever.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Linearizable.
    Strong,
    /// Last writer wins.
    Eventual,
}

impl From<Mode> for NamespaceMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Strong => Self::Strong,
            Mode::Eventual => Self::Eventual,
        }
    }
}

#[derive(Serialize)]
struct Shown {
    name: String,
    id: u32,
    mode: &'static str,
    key_prefix: String,
    keys: u64,
    bytes: u64,
    keys_max: u64,
    bytes_max: u64,
    revision: u64,
    oldest_revision: u64,
}

impl From<v1::Namespace> for Shown {
    fn from(namespace: v1::Namespace) -> Self {
        Self {
            id: namespace.id,
            mode: mode_name(namespace.mode()),
            key_prefix: output::text(&namespace.key_prefix),
            keys: namespace.keys,
            bytes: namespace.bytes,
            keys_max: namespace.keys_max,
            bytes_max: namespace.bytes_max,
            revision: namespace.revision,
            oldest_revision: namespace.oldest_revision,
            name: namespace.name,
        }
    }
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "ID", "MODE", "PREFIX", "KEYS", "BYTES", "REVISION", "OLDEST"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.id.to_string(),
            self.mode.to_owned(),
            self.key_prefix.clone(),
            bounded(self.keys, self.keys_max),
            bounded(self.bytes, self.bytes_max),
            self.revision.to_string(),
            self.oldest_revision.to_string(),
        ]
    }
}

fn bounded(count: u64, most: u64) -> String {
    if most == 0 { count.to_string() } else { format!("{count}/{most}") }
}

/// Does it.
pub(crate) async fn run(verb: Verb, options: &Options) -> anyhow::Result<()> {
    let namespaces = options.connect.client().await?.namespaces();
    match verb {
        Verb::Create { name, mode, key_prefix, keys_max, bytes_max } => {
            let mode = NamespaceMode::from(mode).into();
            let key_prefix = output::parse_bytes(&key_prefix)?;
            let request = CreateNamespaceRequest { name, mode, key_prefix, keys_max, bytes_max };
            Ok(options.output.row(&Shown::from(namespaces.create(request).await?))?)
        }
        Verb::List => {
            let shown: Vec<Shown> = namespaces.list().await?.into_iter().map(Into::into).collect();
            Ok(options.output.rows(&shown)?)
        }
        Verb::Describe { name } => Ok(options.output.row(&Shown::from(namespaces.describe(&name).await?))?),
        Verb::Delete { name, yes } => {
            if !yes {
                let words = format!("this deletes every record of {name:?}; say --yes if that is meant");
                return Err(Misuse(words).into());
            }
            namespaces.delete(&name).await?;
            output::remark(&format!("namespace {name} is deleted"));
            Ok(())
        }
    }
}
