//! The command line of `chainfire`: the server itself, and what must be done while it does not run.
//!
//! An operator's verbs against a running cluster are `etcdctl`'s, which speaks the same API; ours are for what it does not
//! know ([`crate::verbs`]).

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{Agent, ChainFire, restore, verbs};

/// ChainFire: a replicated store of configuration and coordination that speaks etcd's v3 API.
#[derive(Debug, Parser)]
#[command(name = "chainfire", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "Examples:
  chainfire serve --config /etc/photon/chainfire.toml
  chainfire agent --config /etc/photon/chainfire-agent.toml
  chainfire members --endpoints https://db1:2379 --ca ca.crt --cert own.crt --key own.key
  etcdctl --endpoints https://db1:2379 snapshot save backup.db
  chainfire snapshot restore backup.db --data-dir /var/lib/chainfire --cluster photon --node-id 1 \\
      --member 1=https://db1:2380 --member 2=https://db2:2380 --member 3=https://db3:2380";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs a node.
    Serve(photon_runtime::ServeArgs),
    /// Runs gossip alone, on a machine that holds none of ChainFire's data.
    Agent(photon_runtime::ServeArgs),
    /// What is done with files that `etcdctl snapshot save` has saved.
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Shows who belongs to the cluster and which machines are there.
    Members(verbs::Options),
    /// Shows which services are registered, or the instances of one.
    Services {
        /// The service.
        name: Option<String>,
        #[command(flatten)]
        options: verbs::Options,
    },
    /// The keys of gossip.
    #[command(subcommand)]
    Gossip(verbs::Gossip),
}

#[derive(Debug, Subcommand)]
enum Snapshot {
    /// Makes the data folder of a node of a new cluster, which begins with what the snapshot holds. Done once for each of
    /// its first members, all with the same file and the same members.
    Restore(restore::Args),
}

/// The whole `main` of the binary.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Err(error) => usage(&error),
        Ok(Cli { verb: Verb::Serve(args) }) => photon_runtime::run_with::<ChainFire>(args),
        Ok(Cli { verb: Verb::Agent(args) }) => photon_runtime::run_with::<Agent>(args),
        Ok(Cli { verb: Verb::Members(options) }) => verbs::members(&options),
        Ok(Cli { verb: Verb::Services { name, options } }) => verbs::services(name.as_deref(), &options),
        Ok(Cli { verb: Verb::Gossip(verb) }) => verbs::gossip(verb),
        Ok(Cli { verb: Verb::Snapshot(Snapshot::Restore(args)) }) => report(&restore::restore(&args)),
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    // That the message itself cannot be printed changes nothing about the exit code.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS }
}

#[expect(clippy::print_stderr, reason = "a verb talks to whoever has typed it")]
fn report(restored: &Result<restore::Restored, restore::RestoreError>) -> ExitCode {
    match restored {
        Ok(restored) => {
            eprintln!("restored {} bytes into {}", restored.bytes, restored.folder.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", photon_runtime::errors::chain(error));
            ExitCode::FAILURE
        }
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
}
