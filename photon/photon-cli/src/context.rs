//! Contexts: where a cloud is and who you are there, kept in one TOML file of the user's.
//!
//! The file is `$PHOTON_CONFIG`, else `$XDG_CONFIG_HOME/photon/contexts.toml`, else `~/.config/photon/contexts.toml`.
//! It names the files that hold secrets and never holds a secret itself.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::{
    failure::Misuse,
    output::{Output, Row, line},
};

/// Verbs on contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a context and make it the current one.
    Set(Set),
    /// Make a context the current one.
    Use {
        /// Name of the context.
        name: String,
    },
    /// List the contexts.
    List,
    /// Show the current context, or the one that --context names.
    Show,
}

/// A context as given on the command line.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Name of the context.
    name: String,
    /// A FlareDB node's gRPC endpoint; repeat it for each node.
    #[arg(long, value_name = "URL")]
    flaredb_endpoint: Vec<String>,
    /// FlashDNS's gRPC endpoint.
    #[arg(long, value_name = "URL")]
    flashdns_endpoint: Option<String>,
    /// The client URL of a ChainFire node; repeat it for each node.
    #[arg(long, value_name = "URL")]
    chainfire_endpoint: Vec<String>,
    /// The cloud's CA certificate (PEM).
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// File with your bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Your certificate (PEM), which ChainFire asks for where `client.tls` is `mutual`.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of your certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Where a cloud is and who you are there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// gRPC endpoints of FlareDB's nodes.
    #[serde(default)]
    pub(crate) flaredb_endpoints: Vec<String>,
    /// FlashDNS's gRPC endpoint.
    #[serde(default)]
    pub(crate) flashdns_endpoint: Option<String>,
    /// Client URLs of ChainFire's nodes.
    #[serde(default)]
    pub(crate) chainfire_endpoints: Vec<String>,
    /// The cloud's CA certificate.
    pub(crate) ca: PathBuf,
    /// File with the bearer token.
    pub(crate) token_file: PathBuf,
    /// The person's certificate.
    #[serde(default)]
    pub(crate) cert: Option<PathBuf>,
    /// The key of it.
    #[serde(default)]
    pub(crate) key: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    #[serde(default)]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    current: bool,
    #[serde(flatten)]
    context: &'a Context,
}

impl Row for Listed<'_> {
    const COLUMNS: &'static [&'static str] =
        &["CURRENT", "NAME", "FLAREDB", "FLASHDNS", "CHAINFIRE", "CA", "TOKEN FILE"];

    fn cells(&self) -> Vec<String> {
        vec![
            if self.current { "*" } else { "" }.to_owned(),
            self.name.to_owned(),
            self.context.flaredb_endpoints.join(","),
            self.context.flashdns_endpoint.clone().unwrap_or_default(),
            self.context.chainfire_endpoints.join(","),
            self.context.ca.display().to_string(),
            self.context.token_file.display().to_string(),
        ]
    }
}

/// Carries out a verb on contexts.
///
/// # Errors
/// When the file cannot be read, parsed or written, or the name is not in it.
pub(crate) fn run(verb: Verb, named: Option<&str>, output: Output) -> Result<()> {
    let path = file_path()?;
    let mut contexts = read(&path)?;
    match verb {
        Verb::Set(set) => {
            contexts.set(set)?;
            write(&path, &contexts)
        }
        Verb::Use { name } => {
            contexts.select(Some(&name))?;
            contexts.current = Some(name);
            write(&path, &contexts)
        }
        Verb::List => Ok(output.rows(&contexts.listed().collect::<Vec<_>>())?),
        Verb::Show => {
            let shown = contexts.name(named)?;
            Ok(contexts
                .listed()
                .filter(|listed| listed.name == shown)
                .try_for_each(|listed| output.row(&listed))?)
        }
    }
}

/// The context called `name`, or the current one.
///
/// # Errors
/// When there is none, with what to type to get one.
pub(crate) fn load(name: Option<&str>) -> Result<Context> {
    Ok(read(&file_path()?)?.select(name)?.clone())
}

impl Contexts {
    fn set(&mut self, set: Set) -> Result<()> {
        let absolute =
            |option, path: PathBuf| std::path::absolute(path).with_context(|| format!("{option} is no path"));
        let context = Context {
            flaredb_endpoints: set.flaredb_endpoint,
            flashdns_endpoint: set.flashdns_endpoint,
            chainfire_endpoints: set.chainfire_endpoint,
            ca: absolute("--ca", set.ca)?,
            token_file: absolute("--token-file", set.token_file)?,
            cert: set.cert.map(|path| absolute("--cert", path)).transpose()?,
            key: set.key.map(|path| absolute("--key", path)).transpose()?,
        };
        self.current = Some(set.name.clone());
        self.contexts.insert(set.name, context);
        Ok(())
    }

    fn select(&self, name: Option<&str>) -> Result<&Context> {
        let name = self.name(name)?;
        self.contexts.get(name).ok_or_else(|| self.unknown(name).into())
    }

    /// The name that is meant: the one given, or the current one's.
    fn name<'a>(&'a self, given: Option<&'a str>) -> Result<&'a str> {
        let Some(name) = given.or(self.current.as_deref()) else {
            return Err(Misuse(NO_CONTEXT.to_owned()).into());
        };
        if self.contexts.contains_key(name) { Ok(name) } else { Err(self.unknown(name).into()) }
    }

    fn unknown(&self, name: &str) -> Misuse {
        let known = self.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none yet".to_owned() } else { known };
        Misuse(format!("context {name:?} is not in the context file; it has: {known}"))
    }

    fn listed(&self) -> impl Iterator<Item = Listed<'_>> {
        self.contexts.iter().map(|(name, context)| Listed {
            name,
            current: self.current.as_deref() == Some(name),
            context,
        })
    }
}

const NO_CONTEXT: &str = "no context is set: `cargo xtask up` writes one, or \
    photon context set NAME --flaredb-endpoint URL --flashdns-endpoint URL --ca FILE --token-file FILE";

fn file_path() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PHOTON_CONFIG") {
        return Ok(path.into());
    }
    let base = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let base =
        base.ok_or_else(|| Misuse("neither PHOTON_CONFIG, XDG_CONFIG_HOME nor HOME is set".to_owned()))?;
    Ok(base.join("photon/contexts.toml"))
}

fn read(path: &Path) -> Result<Contexts> {
    match fs::read_to_string(path) {
        Ok(text) => {
            toml::from_str(&text).map_err(|error| Misuse(format!("{}: {error}", path.display())).into())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Contexts::default()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn write(path: &Path, contexts: &Contexts) -> Result<()> {
    let folder = path.parent().context("the context file has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let partial = path.with_extension("toml.partial");
    fs::write(&partial, toml::to_string_pretty(contexts)?)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(line(&format!("wrote {}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(text: &str) -> Contexts {
        toml::from_str(text).unwrap()
    }

    const TWO: &str = "current = \"home\"\n\
        [contexts.home]\nca = \"/ca\"\ntoken_file = \"/token\"\n\
        [contexts.work]\nca = \"/ca2\"\ntoken_file = \"/token2\"\n";

    #[test]
    fn current_context_is_used_unless_another_is_named() {
        let contexts = contexts(TWO);
        assert_eq!(contexts.select(None).unwrap().ca, Path::new("/ca"));
        assert_eq!(contexts.select(Some("work")).unwrap().ca, Path::new("/ca2"));
    }

    #[test]
    fn unknown_context_is_refused_with_the_known_ones() {
        let message = contexts(TWO).select(Some("wrok")).unwrap_err().to_string();
        assert_eq!(message, "context \"wrok\" is not in the context file; it has: home, work");
    }
}
