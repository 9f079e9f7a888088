//! `photon`: one command line for the whole cloud.
//!
//! Data goes to stdout, talk to stderr. Every verb prints a table for people or, with `--output json`, the same
//! facts for programs. An error says what failed, why, and what to do next, and its exit code tells the kind:
//! 64 usage, 1 failure, 3 not found, 4 conflict, 5 unavailable.
//!
//! Start at [`cli`] for the verbs; each service has a module of its own.

mod cli;
mod cluster;
mod connect;
mod context;
mod dns;
mod failure;
mod pki;
mod status;

use std::process::ExitCode;

use clap::Parser as _;
use photon_runtime::output;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    match cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}
