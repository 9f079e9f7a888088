//! `photon dns`: zones and records.
//!
//! Names may be written with or without the final dot; a record's name is taken relative to its zone unless it
//! ends with a dot or with the zone's own name, and `@` is the zone itself.

mod record;
mod zone;

use anyhow::Result;
use clap::Subcommand;

use photon_runtime::output::Output;

use crate::connect::FlashDns;

/// Verbs on zones and records.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Zones: create, list, show, update, delete, import, export, history.
    #[command(subcommand)]
    Zone(zone::Verb),
    /// Record sets: create, list, show, update, delete.
    #[command(subcommand)]
    Record(record::Verb),
}

/// Carries out a verb on zones or records.
///
/// # Errors
/// The call's status, under a sentence that says what did not happen.
pub(crate) async fn run(verb: Verb, context: Option<&str>, output: Output, timeout_s: u64) -> Result<()> {
    let client = FlashDns::connect(context, timeout_s)?;
    match verb {
        Verb::Zone(verb) => zone::run(verb, client, output).await,
        Verb::Record(verb) => record::run(verb, client, output).await,
    }
}

/// `name` with its final dot.
fn absolute(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// The absolute name that `name` means inside `zone`.
fn within(name: &str, zone: &str) -> String {
    let zone = absolute(zone);
    if name == "@" || name.is_empty() {
        return zone;
    }
    if name.ends_with('.') {
        return name.to_owned();
    }
    let dotted = absolute(name);
    let inside = dotted.to_ascii_lowercase();
    let suffix = zone.to_ascii_lowercase();
    if inside == suffix || inside.ends_with(&format!(".{suffix}")) {
        dotted
    } else {
        format!("{name}.{zone}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_names_are_relative_to_their_zone_unless_they_say_otherwise() {
        for (name, meant) in [
            ("@", "example.org."),
            ("www", "www.example.org."),
            ("www.example.org", "www.example.org."),
            ("www.example.org.", "www.example.org."),
            ("example.org", "example.org."),
            ("notexample.org", "notexample.org.example.org."),
            ("other.", "other."),
        ] {
            assert_eq!(within(name, "example.org"), meant, "{name}");
        }
    }
}
