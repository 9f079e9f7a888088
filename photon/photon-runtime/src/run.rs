//! The whole `main` of a service: the command line, the configuration, the logs, the process, the signals.
//!
//! What goes wrong before the process serves is one message on stderr, whatever `[log]` says. Exit codes: 64 for the
//! command line and the configuration, 1 for everything that fails at run time.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, Command, FromArgMatches as _};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    auth::Authenticator,
    config::{ConfigError, HasCommon as _, Sources, load},
    errors::chain,
    process::Process,
    service::{BoxError, Service},
    telemetry,
    tls::Tls,
};

/// Exit code for a wrong command line or configuration (`EX_USAGE`).
const USAGE: u8 = 64;

/// What `serve` understands.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// The configuration file: TOML, or JSON when its name ends in .json.
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one value over the file and the environment, e.g. --set server.listen=127.0.0.1:7000; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Checks the configuration and every file that it names, and exits.
    #[arg(long, conflicts_with = "print_config")]
    pub check_config: bool,
    /// Prints the configuration as it is in effect, secrets hidden, and exits.
    #[arg(long)]
    pub print_config: bool,
}

/// Why a process ended other than well.
enum Failure {
    Config(BoxError),
    Start(BoxError),
    Run(BoxError),
}

/// Runs a service whose command line is [`ServeArgs`] and nothing else.
#[must_use]
pub fn run<S: Service>() -> ExitCode {
    let command = Command::new(S::NAME).version(env!("CARGO_PKG_VERSION")).after_help(examples(S::NAME));
    let args = ServeArgs::augment_args(command)
        .try_get_matches()
        .and_then(|matches| ServeArgs::from_arg_matches(&matches));
    match args {
        Ok(args) => run_with::<S>(args),
        Err(error) => usage(&error),
    }
}

/// Runs a service that has a command line of its own, with the part of it that is the runtime's.
#[must_use]
pub fn run_with<S: Service>(args: ServeArgs) -> ExitCode {
    let done = match (args.check_config, args.print_config) {
        (true, _) => check::<S>(args),
        (_, true) => print::<S>(args),
        _ => serve::<S>(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(S::NAME, &failure),
    }
}

fn examples(name: &str) -> String {
    let variable = name.to_ascii_uppercase().replace('-', "_");
    format!(
        "Examples:
  {name} --config /etc/photon/{name}.toml
  {name} --config /etc/photon/{name}.toml --check-config
  {variable}__SERVER__LISTEN=127.0.0.1:7000 {name} --set log.filter=debug --print-config"
    )
}

fn usage(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr leaves nobody to tell.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

fn config<S: Service>(args: ServeArgs) -> Result<S::Config, ConfigError> {
    load(&Sources::of_process(S::NAME, args.config, args.set), S::validate)
}

fn check<S: Service>(args: ServeArgs) -> Result<(), Failure> {
    let config = config::<S>(args)?;
    let common = config.common();
    Tls::load(common.tls, common.auth, S::NAME)?;
    Authenticator::load(common.auth)?;
    Ok(())
}

fn print<S: Service>(args: ServeArgs) -> Result<(), Failure> {
    let text = toml::to_string_pretty(&config::<S>(args)?).map_err(|error| Failure::Config(error.into()))?;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that went away (`… | head`) has what it wanted.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Run(error.into())),
        _ => Ok(()),
    }
}

fn serve<S: Service>(args: ServeArgs) -> Result<(), Failure> {
    let config = config::<S>(args)?;
    telemetry::init(config.common().log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Start(error.into()))?;
    let ended = runtime.block_on(until_signalled::<S>(config));
    // What has not ended by now was named already; blocking work must not hold the process.
    runtime.shutdown_background();
    ended
}

async fn until_signalled<S: Service>(config: S::Config) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| Failure::Start(error.into()))?;
    let process = tokio::select! {
        process = Process::start::<S>(config) => process,
        name = signals.next() => {
            tracing::info!(signal = name, "ended while it was starting");
            return Ok(());
        }
    };
    let process = process.map_err(|error| match error.is_config() {
        true => Failure::Config(error.into_inner()),
        false => Failure::Start(error.into_inner()),
    })?;
    tracing::info!(service = S::NAME, grpc = %process.grpc_address(), admin = %process.admin_address(), "serving");
    let shutdown = process.shutdown().clone();
    let twice = async {
        tracing::info!(signal = signals.next().await, "asked to end; a second signal ends it at once");
        shutdown.request();
        signals.next().await
    };
    tokio::select! {
        ended = process.wait() => ended.map_err(|error| Failure::Run(error.into())),
        name = twice => Err(Failure::Run(format!("a second signal ({name}) ended it before it had drained").into())),
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.into())
    }
}

fn report(service: &str, failure: &Failure) -> ExitCode {
    let (what, error, code) = match failure {
        Failure::Config(error) => ("is not configured right", error, ExitCode::from(USAGE)),
        Failure::Start(error) => ("did not start", error, ExitCode::FAILURE),
        Failure::Run(error) => ("failed", error, ExitCode::FAILURE),
    };
    // A closed stderr leaves nobody to tell.
    drop(writeln!(std::io::stderr().lock(), "error: {service} {what}: {}", chain(error.as_ref())));
    code
}
