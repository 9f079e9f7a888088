//! The scenarios: each starts a cloud of its own, says in its name what must hold, and fails when it does not.

mod conformance;
mod differential;
mod edits;
mod elections;
mod etcdctl;
mod faults;
mod kills;
mod leaders;
mod overload;
mod prefixes;
mod refusals;
mod registry;
mod scale;
mod suites;
mod syscalls;
mod writers;

use std::{path::PathBuf, pin::Pin, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use crate::cloud::Backend;

/// Which scenarios to run, and with what.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// Something else than the scenarios.
    #[command(subcommand)]
    pub(crate) what: Option<What>,
    /// Makes the same choices again; by default a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Only scenarios whose name contains this. Some take long and run only when they are meant.
    #[arg(long, default_value = "")]
    filter: String,
    /// Only with this metadata backend; by default with each that the scenario knows.
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Keep the folders of the clouds, also of scenarios that passed.
    #[arg(long)]
    keep: bool,
}

/// What can be run beside the scenarios.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// Break a FlareDB cluster under load in every way, and check what its clients saw.
    Flaredb(crate::faults::Options),
    /// Do the same to a ChainFire cluster, or to one of etcd.
    Chainfire(crate::faults::V3Options),
    /// Kill nodes of ChainFire's gossip and of Serf's, and measure how soon the others know.
    Gossip(crate::gossip::Options),
}

/// What a scenario is given.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// Seed of every choice that the scenario makes.
    pub(crate) seed: u64,
    /// A folder of its own.
    pub(crate) folder: PathBuf,
}

type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

struct Scenario {
    name: &'static str,
    backend: Backend,
    start: fn(Run) -> Outcome,
}

macro_rules! scenarios {
    ($($backend:ident $module:ident :: $name:ident),+ $(,)?) => {
        [$(Scenario {
            name: stringify!($name),
            backend: Backend::$backend,
            start: |run| Box::pin($module::$name(run)),
        }),+]
    };
}

/// Those that take too long, or need a machine of their own, and run only when they are named.
fn by_name() -> impl Iterator<Item = Scenario> {
    scenarios![
        Flaredb elections::nobody_is_elected_without_a_cause_in_ten_minutes,
        Flaredb elections::nobody_is_elected_without_a_cause_in_half_a_minute,
        Flaredb faults::dead_node_with_2_gib_is_replaced_under_load,
        Flaredb scale::scan_of_two_million_keys_is_of_one_revision_and_takes_little_memory,
        Flaredb scale::ten_gib_are_held_with_2_gib_of_memory_and_served_ten_seconds_after_a_kill,
        Chainfire suites::suites_of_others_pass_on_etcd,
        Chainfire suites::suites_of_others_pass_on_chainfire,
        Flaredb overload::ten_times_the_clients_are_refused_or_served_for_a_minute,
    ]
    .into_iter()
}

fn all() -> impl Iterator<Item = Scenario> {
    scenarios![
        Flaredb edits::every_change_is_answered_within_100_ms_of_the_command,
        Flaredb kills::acknowledged_writes_survive_kills_of_the_leader_and_of_all_nodes,
        Flaredb leaders::no_write_is_lost_when_the_leader_is_killed_twenty_times_under_64_writers,
        Flaredb faults::flaredb_keeps_its_promises_under_faults,
        Flaredb faults::dead_node_is_replaced_under_load,
        Chainfire faults::leases_survive_a_stopped_leader_and_clocks_an_hour_off,
        Chainfire faults::no_write_is_lost_when_chainfires_leader_is_killed_twenty_times,
        Flaredb scale::scan_beside_a_writer_is_of_one_revision_and_takes_little_memory,
        Flaredb scale::killed_node_serves_what_it_held_within_ten_seconds,
        Embedded conformance::embedded_backend_passes_the_conformance_suite,
        Flaredb conformance::flaredb_with_one_node_passes_the_conformance_suite,
        Flaredb conformance::flaredb_with_three_nodes_passes_the_conformance_suite,
        Chainfire conformance::chainfire_backend_with_one_etcd_passes_the_conformance_suite,
        Chainfire conformance::chainfire_backend_with_three_etcds_passes_the_conformance_suite,
        Chainfire conformance::chainfire_backend_with_three_chainfires_passes_the_conformance_suite,
        Chainfire etcdctl::etcdctl_drives_etcd,
        Chainfire etcdctl::etcdctl_drives_chainfire,
        Chainfire registry::instances_are_found_for_as_long_as_they_may_be_called,
        Chainfire registry::process_is_registered_while_it_takes_calls,
        Flaredb prefixes::each_service_owns_its_namespace_and_nothing_else,
        Embedded prefixes::flashdns_serves_from_the_embedded_backend,
        Chainfire prefixes::flashdns_serves_from_the_chainfire_backend,
        Flaredb prefixes::flashdns_serves_from_the_flaredb_backend,
        Flaredb syscalls::no_write_is_acknowledged_before_a_quorum_has_synced_it,
        Flaredb syscalls::one_sync_serves_many_writers,
        Embedded differential::answers_agree_with_nsd_and_knot_where_those_agree,
        Flaredb refusals::wrong_calls_are_refused_with_one_clear_message,
        Flaredb refusals::processes_that_cannot_start_say_why,
    ]
    .into_iter()
}

/// A figure that a scenario found, under its line.
#[expect(clippy::print_stdout, reason = "the report is this command's result")]
fn say(figure: &str) {
    println!("       {figure}");
}

/// Runs the chosen scenarios one after the other; fails if any did.
///
/// # Errors
/// When the folder for their data cannot be made.
#[expect(clippy::print_stdout, reason = "the report is this command's result")]
pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(rand::random);
    println!("seed {seed} (repeat with: cargo xtask e2e --seed {seed})");
    let root = tempfile::Builder::new().prefix("photon-e2e-").tempdir()?;
    let (mut passed, mut failed) = (0, 0);
    let named = by_name().filter(|_| !options.filter.is_empty());
    let chosen = all().chain(named).filter(|scenario| {
        scenario.name.contains(&options.filter)
            && options.backend.is_none_or(|backend| backend == scenario.backend)
    });
    for scenario in chosen {
        println!("     … {}", scenario.name);
        let folder = root.path().join(scenario.name);
        std::fs::create_dir(&folder).context("the folder of the scenario cannot be made")?;
        let started = Instant::now();
        let outcome = (scenario.start)(Run { seed, folder: folder.clone() }).await;
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("PASS {} ({seconds:.1} s)", scenario.name);
                if !options.keep {
                    std::fs::remove_dir_all(&folder)?;
                }
            }
            Err(error) => {
                failed += 1;
                println!("FAIL {} ({seconds:.1} s, seed {seed}): {error:#}", scenario.name);
            }
        }
    }
    if failed > 0 || options.keep {
        println!("data and logs are kept in {}", root.keep().display());
    }
    if passed + failed == 0 {
        println!("no scenario has {:?} in its name; they are:", options.filter);
        all().chain(by_name()).for_each(|scenario| println!("     {}", scenario.name));
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
