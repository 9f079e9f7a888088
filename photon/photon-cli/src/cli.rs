//! The verbs of `photon`, and which module carries each out.

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::{cluster, context, dns, output::Output, pki, status};

const EXAMPLES: &str = "Examples:
  photon status
  photon dns zone create example.org
  photon dns record create example.org www A 192.0.2.1
  photon --output json dns record list example.org";

const STATUS_EXAMPLES: &str = "Examples:
  photon status
  photon --context work --output json status

Exits with 5 when a process is not ready or does not answer.";

const CONTEXT_EXAMPLES: &str = "Examples:
  photon context set work --flaredb-endpoint https://db1:7001 --flashdns-endpoint https://dns1:7201 \\
      --chainfire-endpoint https://db1:2379 --cert ada.crt --key ada.key --ca ca.crt --token-file ada.token
  photon context use work
  photon context list";

const PKI_EXAMPLES: &str = "Examples:
  photon pki init --dir pki --cluster photon
  photon pki issue --dir pki --service flaredb --node 1 --address db1.example.org --address 192.0.2.1
  photon pki token --dir pki --name ada --role viewer";

const CLUSTER_EXAMPLES: &str = "Examples:
  photon cluster members
  photon --output json cluster members";

const DNS_EXAMPLES: &str = "Examples:
  photon dns zone create example.org
  photon dns zone import example.org ./example.org.zone
  photon dns record create example.org www A 192.0.2.1 192.0.2.2
  photon dns record update example.org www A 192.0.2.3 --if-version 7";

/// PhotonCloud's command line.
#[derive(Debug, Parser)]
#[command(
    name = "photon",
    version,
    about = "PhotonCloud's command line",
    after_help = EXAMPLES
)]
pub(crate) struct Cli {
    /// Which context of the context file to use; by default the current one.
    #[arg(long, global = true, env = "PHOTON_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// What to print: a table for people or JSON for programs.
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// Seconds after which a call is given up.
    #[arg(long, global = true, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) timeout_s: u64,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show every process of the cloud: its role, its health and, if it is not ready, why.
    #[command(after_help = STATUS_EXAMPLES)]
    Status,
    /// Who is there: ChainFire's members.
    #[command(subcommand, after_help = CLUSTER_EXAMPLES)]
    Cluster(cluster::Verb),
    /// Zones and records.
    #[command(subcommand, after_help = DNS_EXAMPLES)]
    Dns(dns::Verb),
    /// Where the cloud is and who you are there.
    #[command(subcommand, after_help = CONTEXT_EXAMPLES)]
    Context(context::Verb),
    /// The cloud's own certificate authority and tokens.
    #[command(subcommand, after_help = PKI_EXAMPLES)]
    Pki(pki::Verb),
    /// Print the completion script of a shell, e.g. `photon completions bash > /etc/bash_completion.d/photon`.
    Completions {
        /// The shell to complete for.
        shell: Shell,
    },
}

/// Carries out one command line.
///
/// # Errors
/// Whatever the verb failed with; [`crate::failure`] turns it into words and an exit code.
pub(crate) fn run(cli: Cli) -> Result<()> {
    match cli.verb {
        Verb::Status => block_on(status::run(cli.context.as_deref(), cli.output, cli.timeout_s)),
        Verb::Cluster(verb) => {
            block_on(cluster::run(verb, cli.context.as_deref(), cli.output, cli.timeout_s))
        }
        Verb::Dns(verb) => block_on(dns::run(verb, cli.context.as_deref(), cli.output, cli.timeout_s)),
        Verb::Context(verb) => context::run(verb, cli.context.as_deref(), cli.output),
        Verb::Pki(verb) => pki::run(verb),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "photon", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Runs one verb's calls on a runtime that lives as long as they do.
fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the async runtime did not start")?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_their_options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_of_every_group_of_verbs_has_examples() {
        let photon = Cli::command();
        let groups = photon.get_subcommands().filter(|verb| verb.has_subcommands());
        for command in groups.chain([&photon]) {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.starts_with("Examples:\n  photon "), "{} has no examples", command.get_name());
        }
    }

    #[test]
    fn every_verb_has_a_description() {
        fn visit(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            command.get_subcommands().filter(|verb| verb.get_name() != "help").for_each(visit);
        }
        visit(&Cli::command());
    }
}
