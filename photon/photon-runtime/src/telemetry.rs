//! Logs: for people on a terminal, one JSON object a line elsewhere, always on stderr.
//!
//! Set up once by [`run`](crate::run()); libraries and tests only emit events.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use crate::config::{ConfigError, LogConfig, LogFormat};

/// Starts logging, and logs panics as events instead of printing them.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init(config: &LogConfig) -> Result<(), ConfigError> {
    let filter = parse_filter(&config.filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let human = match config.format {
        LogFormat::Auto => stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let started = match human {
        true => builder.with_ansi(stderr().is_terminal()).finish().try_init(),
        false => builder.json().flatten_event(true).finish().try_init(),
    };
    // A process that has a subscriber already, as a test may, keeps it.
    if let Err(error) = started {
        tracing::debug!(%error, "logging was set up before");
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    Ok(())
}

/// Parses the directives of `log.filter`.
pub(crate) fn parse_filter(filter: &str) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(filter).map_err(|error| {
        ConfigError::invalid(
            "log.filter",
            format!("{filter:?}"),
            format!("directives such as info,h2=warn ({error})"),
        )
    })
}
