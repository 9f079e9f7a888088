//! `cargo xtask`: the developer's commands, and the first thing that a user runs.
//!
//! It compiles in seconds because it links none of the servers: what is heavy is a program of its own (`photon-e2e`),
//! built and started from here. Whatever must be installed, [`setup`] installs, and `up` and `test` call it first.

mod binaries;
mod checks;
mod heavy;
mod progress;
mod rocksdb;
mod setup;
mod tidy;
mod up;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// PhotonCloud's commands for users and developers.
#[derive(Debug, Parser)]
#[command(
    bin_name = "cargo xtask",
    after_help = "Examples:\n  cargo xtask up --nodes 3\n  cargo xtask test\n  cargo xtask e2e --filter kills --seed 7\n  cargo xtask bench flaredb --json bench.json"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install the system packages that building and testing need, and compile RocksDB once.
    Setup,
    /// Start the whole cloud on this machine.
    Up(up::Options),
    /// Run everything that CI checks.
    Test(checks::Options),
    /// Run clusters of real processes, break them, and look whether anything was lost.
    ///
    /// Options are those of the scenarios: --seed S, --filter F, --backend embedded|flaredb|chainfire, --keep. Or, for
    /// faults of all kinds and checks of what clients saw: flaredb --faults all|none|NAME,... --secs N [--seed S], or
    /// chainfire, or chainfire --peer etcd, with the same. Or, for deaths
    /// that gossip is to notice, beside Serf: gossip --rounds N --within-ms N. With --release,
    /// everything is built for release.
    E2e {
        /// Handed over to the scenarios.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Play FlareDB's replicas under crashes, partitions and lost messages, everything from one seed.
    ///
    /// Options are those of the simulation: --seeds N, --from K, or --plant BUG|all for bugs that it must find, or
    /// power-cut --points N for the log alone.
    Sim {
        /// Handed over to the simulation.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check the shape of the workspace: dependency arrows, licences, sources, files.
    Tidy,
    /// Measure beside peers in the same run: `flaredb` and `chainfire` (etcd) or `dns` (NSD, Knot, BIND).
    ///
    /// Options are those of the benchmark: --json FILE, --rounds N, --seconds S.
    Bench {
        /// Handed over to the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<OsString>,
    },
    /// Print the environment of our builds, for cargo calls of your own: `eval "$(cargo xtask env)"`.
    Env,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup => setup::run(setup::Scope::Test),
        Verb::Up(options) => up::run(&options),
        Verb::Test(options) => checks::run(&options),
        Verb::E2e { arguments } => setup::run(setup::Scope::Test).and_then(|()| heavy::e2e(&arguments)),
        Verb::Sim { arguments } => setup::run(setup::Scope::Build).and_then(|()| heavy::sim(&arguments)),
        Verb::Tidy => tidy::run(),
        Verb::Bench { arguments } => setup::run(setup::Scope::Test).and_then(|()| heavy::bench(&arguments)),
        Verb::Env => print_environment(),
    }
}

#[expect(clippy::print_stdout, reason = "the lines are this command's result")]
fn print_environment() -> Result<()> {
    for (name, value) in workspace::build_environment()? {
        println!("export {name}='{}'", value.display());
    }
    Ok(())
}
