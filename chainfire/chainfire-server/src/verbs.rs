//! An operator's verbs against nodes that run, for what etcd's own tools do not know: gossip, its keys, the registry.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 64 for the command line, 1 for everything that fails.

mod connect;
mod keys;
mod members;
mod services;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use photon_runtime::output::{Output, remark};

pub(crate) use self::connect::Connect;

/// What every verb understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    connect: Connect,
    /// How to print what was found.
    #[arg(long, short, value_enum, default_value = "table", env = "CHAINFIRE_OUTPUT")]
    output: Output,
}

/// What can be done about gossip.
#[derive(Debug, Subcommand)]
pub(crate) enum Gossip {
    /// Makes, shows and changes the keys by which nodes know each other's packets. A change takes three rounds, each over
    /// all nodes: add the new key, use it, remove the old one.
    #[command(subcommand)]
    Keys(keys::Verb),
}

/// Shows who belongs to the cluster and which machines are there.
pub(crate) fn members(options: &Options) -> ExitCode {
    run(members::run(options))
}

/// Shows what is registered.
pub(crate) fn services(name: Option<&str>, options: &Options) -> ExitCode {
    run(services::run(name, options))
}

/// Does something about gossip.
pub(crate) fn gossip(verb: Gossip) -> ExitCode {
    let Gossip::Keys(verb) = verb;
    run(keys::run(verb))
}

/// A verb is one conversation; one thread is enough.
fn run(work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(work));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            remark(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
