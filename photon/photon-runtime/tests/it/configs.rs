//! What a person reads when the configuration is wrong, to the letter.

use std::fs;

use expect_test::{Expect, expect};
use photon_runtime::{
    Service as _,
    config::{Sources, load},
    errors::chain,
};

use crate::probe::{Config, Probe};

const TLS: &str = "auth.tokens_file=/tokens.toml";

/// Loads a file with this text, these variables and these flags.
fn loaded(file: &str, variables: &[(&str, &str)], settings: &[&str]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probe.toml");
    fs::write(&path, file).unwrap();
    let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = [TLS].iter().chain(settings).map(|&setting| setting.to_owned()).collect();
    let sources = Sources { service: Probe::NAME, file: Some(path), variables, settings };
    load(&sources, Probe::validate)
        .map_err(|error| chain(&error).to_string().replace(&folder.path().display().to_string(), "/etc"))
}

fn check(file: &str, variables: &[(&str, &str)], settings: &[&str], expected: Expect) {
    expected.assert_eq(&loaded(file, variables, settings).unwrap_err());
}

#[test]
fn later_layers_win_key_by_key() {
    let file = "[probe]\nworkers = 1\ngate = \"file\"\n[log]\nfilter = \"warn\"\n";
    let config =
        loaded(file, &[("PROBE__PROBE__WORKERS", "2"), ("OTHER__X", "1")], &["log.filter=debug"]).unwrap();
    assert_eq!((config.probe.workers, config.probe.gate.as_str()), (2, "file"));
    assert_eq!(config.log.filter, "debug");
}

#[test]
fn unknown_key_is_refused_with_the_nearest_known_one() {
    check(
        "[server]\nlistn = \"127.0.0.1:1\"\n",
        &[],
        &[],
        expect!["/etc/probe.toml: unknown key server.listn; did you mean server.listen?"],
    );
    check(
        "[surver]\nlisten = \"127.0.0.1:1\"\n",
        &[],
        &[],
        expect!["/etc/probe.toml: unknown key surver; did you mean server?"],
    );
    check(
        "",
        &[("PROBE__PROBE__WORKRES", "2")],
        &[],
        expect![
            "environment variable PROBE__PROBE__WORKRES: unknown key probe.workres; did you mean PROBE__PROBE__WORKERS?"
        ],
    );
    check(
        "",
        &[],
        &["probe.colour=red"],
        expect!["--set: unknown key probe.colour; known here are gate, fail, workers, password"],
    );
}

#[test]
fn value_of_a_wrong_type_is_refused_with_what_was_found() {
    check(
        "[server]\nrequests_max = \"many\"\n",
        &[],
        &[],
        expect![[
            r#"/etc/probe.toml: server.requests_max: found "many", expected a whole number from 0 to 4294967295"#
        ]],
    );
    check(
        "[server]\nlisten = 7000\n",
        &[],
        &[],
        expect!["/etc/probe.toml: server.listen: found 7000, expected a string in quotes"],
    );
    check(
        "[server]\nlisten = \"localhost\"\n",
        &[],
        &[],
        expect![[
            r#"/etc/probe.toml: server.listen: found "localhost", expected an IP address and a port, such as 127.0.0.1:7000 or [::1]:7000"#
        ]],
    );
    check(
        "[log]\nformat = \"xml\"\n",
        &[],
        &[],
        expect![[r#"/etc/probe.toml: log.format: found "xml", expected one of auto, human, json"#]],
    );
    check(
        "",
        &[("PROBE__PROBE__WORKERS", "-1")],
        &[],
        expect![
            "environment variable PROBE__PROBE__WORKERS: probe.workers: found -1, expected a whole number from 0 to 65535"
        ],
    );
    check(
        "",
        &[("PROBE__SERVER", "x")],
        &[],
        expect![[r#"environment variable PROBE__SERVER: server: found "x", expected a table"#]],
    );
}

#[test]
fn value_that_is_out_of_bounds_is_refused_with_where_it_was_set() {
    check(
        "[server]\nmessage_bytes_max = 1\n",
        &[],
        &[],
        expect!["/etc/probe.toml: server.message_bytes_max: found 1, expected 1024 to 67108864"],
    );
    check(
        "",
        &[("PROBE__SERVER__DRAIN_TIMEOUT_MS", "0")],
        &[],
        expect![
            "environment variable PROBE__SERVER__DRAIN_TIMEOUT_MS: server.drain_timeout_ms: found 0, expected at least 1"
        ],
    );
    check("", &[], &["probe.workers=65"], expect!["--set: probe.workers: found 65, expected 0 to 64"]);
    check(
        "",
        &[],
        &["log.filter=a=b=c"],
        expect![[
            r#"--set: log.filter: found "a=b=c", expected directives such as info,h2=warn (error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5)"#
        ]],
    );
    check(
        "",
        &[],
        &["auth.cluster=a b"],
        expect![[
            r#"--set: auth.cluster: found "a b", expected a name of up to 63 letters, digits, '.', '_' and '-'"#
        ]],
    );
}

#[test]
fn what_is_not_safe_is_refused() {
    check(
        "[server]\nlisten = \"0.0.0.0:7000\"\n",
        &[],
        &[],
        expect![[
            r#"/etc/probe.toml: server.listen: found "0.0.0.0:7000", expected a loopback address, or a certificate under [tls]: plaintext does not leave the machine"#
        ]],
    );
    check(
        "[server]\nadmin_listen = \"[::]:7000\"\n",
        &[],
        &[],
        expect![[
            r#"/etc/probe.toml: server.admin_listen: found "[::]:7000", expected a loopback address: this port is plain HTTP without authentication"#
        ]],
    );
    check(
        "[tls]\ncert = \"/own.crt\"\n",
        &[],
        &[],
        expect!["tls.key: found nothing, expected a PEM file, since tls.cert is set"],
    );
}

#[test]
fn server_that_nobody_could_authenticate_to_is_refused() {
    let error = load(&Sources { service: Probe::NAME, ..Sources::default() }, Probe::validate).unwrap_err();
    expect!["auth.tokens_file: found nothing, expected a file of tokens, or a certificate under [tls]: with neither, nobody could authenticate"].assert_eq(&error.to_string());
}

#[test]
fn file_that_cannot_be_read_or_parsed_is_named() {
    check(
        "[server\n",
        &[],
        &[],
        expect![[r#"
        /etc/probe.toml: TOML parse error at line 1, column 8
          |
        1 | [server
          |        ^
        unclosed table, expected `]`"#]],
    );
    let missing =
        Sources { service: Probe::NAME, file: Some("/nowhere/probe.toml".into()), ..Sources::default() };
    let error = load(&missing, Probe::validate).unwrap_err();
    expect!["cannot read /nowhere/probe.toml: No such file or directory (os error 2)"]
        .assert_eq(&chain(&error).to_string());
}

#[test]
fn setting_that_is_no_pair_is_refused() {
    check(
        "",
        &[],
        &["server.listen"],
        expect!["--set server.listen: expected KEY=VALUE, such as server.listen=127.0.0.1:7000"],
    );
}

#[test]
fn printed_configuration_hides_secrets_and_is_read_back() {
    let config = loaded("", &[], &["probe.password=hunter2"]).unwrap();
    let printed = toml::to_string_pretty(&config).unwrap();
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("password = \"<hidden>\""), "{printed}");
    assert!(loaded(&printed, &[], &[]).is_ok());
}
