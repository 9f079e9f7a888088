//! `photon-e2e`: clusters of real processes, broken on purpose, and benchmarks beside peers.
//!
//! `cargo xtask e2e` and `cargo xtask bench` build the binaries and run this. Every scenario starts its own cloud in
//! a temporary folder on free loopback ports, and waits on conditions, never on time. The seed is printed, and the
//! same seed makes the same choices again. Ctrl-C drops whatever is under way, and with it every process.

mod apart;
mod bench;
mod cloud;
mod dns;
mod etcd;
mod faults;
mod filling;
mod gossip;
mod ports;
mod process;
mod scenarios;
mod wait;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

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
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "photon_e2e=info".into()),
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
        Verb::Bench(bench) => {
            // Threads inherit the network namespace of the one that starts them, so it comes before the runtime.
            bench::enter_namespace(&bench)?;
            until_interrupted(async { bench::run(bench).await.map(|()| ExitCode::SUCCESS) })
        }
        Verb::Run(scenarios::Options { what: Some(scenarios::What::Flaredb(options)), .. }) => {
            faults::enter()?;
            until_interrupted(faults::run(faults::Store::Flaredb, options))
        }
        Verb::Run(scenarios::Options { what: Some(scenarios::What::Chainfire(options)), .. }) => {
            faults::enter()?;
            let (store, options) = options.chosen();
            until_interrupted(faults::run(store, options))
        }
        Verb::Run(scenarios::Options { what: Some(scenarios::What::Gossip(options)), .. }) => {
            faults::enter()?;
            until_interrupted(gossip::run(options))
        }
        Verb::Run(options) => until_interrupted(scenarios::run(options)),
    }
}

/// Drives `work` to its end, or drops it on Ctrl-C or SIGTERM.
fn until_interrupted(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}
