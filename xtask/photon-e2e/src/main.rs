//! `photon-e2e`: clusters of real processes, broken on purpose, and benchmarks beside peers.
//!
//! `cargo xtask e2e` and `cargo xtask bench` build the binaries and run this. Every scenario starts its own cloud in
//! a temporary folder on free loopback ports, and waits on conditions, never on time. The seed is printed, and the
//! same seed makes the same choices again.

mod bare;
mod bench;
mod cloud;
mod dns;
mod ports;
mod process;
mod scenarios;
mod wait;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tests of whole clusters, and benchmarks.
#[derive(Debug, Parser)]
#[command(name = "photon-e2e")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the scenarios.
    Run(scenarios::Options),
    /// Measure beside a peer.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Load a DNS server from one core; a part of the DNS benchmark.
    #[command(hide = true)]
    DnsBlast(bench::Blast),
    /// Answer every datagram with one record; a part of the DNS benchmark.
    #[command(hide = true)]
    DnsEcho {
        /// Loopback port to answer on.
        port: u16,
    },
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "photon_e2e=info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::DnsBlast(options) => bench::blast(&options).map(|()| ExitCode::SUCCESS),
        Verb::DnsEcho { port } => bench::echo(port).map(|()| ExitCode::SUCCESS),
        Verb::Bench(bench) => runtime()?.block_on(bench::run(bench)).map(|()| ExitCode::SUCCESS),
        Verb::Run(options) => runtime()?.block_on(scenarios::run(options)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
