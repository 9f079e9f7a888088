//! The command line of `flaredb`: the server itself, and an operator's verbs against a running cluster.
//!
//! Data goes to stdout, talk to stderr. A verb that fails says what failed, why, and what to do next; its exit code
//! tells the kind: 64 usage, 1 failure, 3 not found, 4 conflict, 5 unavailable.

mod archive;
mod connect;
mod data;
mod doctor;
mod failure;
mod member;
mod namespace;
mod output;
mod snapshot;
mod status;
mod watch;

use std::{future::Future, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::FlareDb;

/// FlareDB: the replicated database that holds the records of every PhotonCloud service.
#[derive(Debug, Parser)]
#[command(name = "flaredb", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  flaredb serve --config /etc/photon/flaredb.toml
  flaredb status --endpoints https://db1:7401,https://db2:7401 --ca ca.pem --token pct_...
  flaredb doctor
  flaredb namespace create notes --mode strong
  flaredb put notes greeting hello --if-version 0
  flaredb scan notes --prefix gr --output json";

/// What every verb but `serve` understands.
#[derive(Clone, Debug, Args)]
#[group(skip)]
struct Options {
    #[command(flatten)]
    connect: connect::Options,
    /// How to print what was found.
    #[arg(long, short, global = true, value_enum, default_value = "table", env = "FLAREDB_OUTPUT")]
    output: output::Output,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs a node.
    Serve(photon_runtime::ServeArgs),
    /// Shows every node that answers: its role, its term, how far it is, what it lacks to be ready.
    Status,
    /// Examines every node: clocks, disks, certificates, quorum and lag. Exits with 1 if something is bad.
    Doctor,
    /// Shows and changes who belongs to the cluster.
    #[command(alias = "members")]
    Member {
        /// What to do; without it, they are listed.
        #[command(subcommand)]
        verb: Option<member::Verb>,
    },
    /// Makes, shows and deletes namespaces.
    #[command(alias = "namespaces", subcommand)]
    Namespace(namespace::Verb),
    /// Reads one record.
    Get(data::Get),
    /// Writes one record.
    Put(data::Put),
    /// Deletes one record.
    Delete(data::Delete),
    /// Reads a range of records, in the order of their keys.
    Scan(data::Scan),
    /// Prints changes as they happen, until it is interrupted.
    Watch(watch::Watch),
    /// Saves the whole cluster into a file, or restores a new cluster from one.
    #[command(subcommand)]
    Snapshot(snapshot::Verb),
}

/// The whole `main` of the binary.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Err(error) => failure::usage(&error),
        Ok(Cli { verb: Verb::Serve(args), .. }) => photon_runtime::run_with::<FlareDb>(args),
        Ok(Cli { verb, options }) => operate(verb, &options),
    }
}

fn operate(verb: Verb, options: &Options) -> ExitCode {
    match run(perform(verb, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

/// A verb is one conversation; one thread is enough.
fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn perform(verb: Verb, options: &Options) -> anyhow::Result<()> {
    match verb {
        // Taken by `main` before; it runs a runtime of its own.
        Verb::Serve(_) => Ok(()),
        Verb::Status => status::status(options).await,
        Verb::Doctor => doctor::run(options).await,
        Verb::Member { verb } => member::run(verb.unwrap_or(member::Verb::List), options).await,
        Verb::Namespace(verb) => namespace::run(verb, options).await,
        Verb::Get(get) => get.run(options).await,
        Verb::Put(put) => put.run(options).await,
        Verb::Delete(delete) => delete.run(options).await,
        Verb::Scan(scan) => scan.run(options).await,
        Verb::Watch(watch) => watch.run(options).await,
        Verb::Snapshot(verb) => snapshot::run(verb, options).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn members_is_the_same_as_member() {
        for words in [&["member", "list"][..], &["members", "list"], &["members"]] {
            assert!(Cli::try_parse_from(["flaredb"].iter().chain(words)).is_ok(), "{words:?}");
        }
    }
}
