//! Wrong command lines and contexts: exit code 64, what is wrong and what to type instead.

use expect_test::{Expect, expect};

use crate::photon::Home;

fn refused(words: &[&str], expected: Expect) {
    let home = Home::new();
    let ended = home.photon(words);
    assert_eq!((ended.code, ended.stdout.as_str()), (64, ""), "{words:?}: {}", ended.stderr);
    expected.assert_eq(&ended.stderr);
}

#[test]
fn misspelt_verb_is_refused_with_the_nearest_one() {
    refused(
        &["statsu"],
        expect![[r#"
        error: unrecognized subcommand 'statsu'

          tip: a similar subcommand exists: 'status'

        Usage: photon [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["dns", "zone", "creat", "example.org"],
        expect![[r#"
        error: unrecognized subcommand 'creat'

          tip: a similar subcommand exists: 'create'

        Usage: photon dns zone [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn missing_or_wrong_argument_is_named() {
    refused(
        &["dns", "zone", "create"],
        expect![[r#"
        error: the following required arguments were not provided:
          <ZONE>

        Usage: photon dns zone create <ZONE>

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["dns", "record", "create", "example.org", "www", "A"],
        expect![[r#"
        error: the following required arguments were not provided:
          <DATA>...

        Usage: photon dns record create <ZONE> <NAME> <TYPE> <DATA>...

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["--timeout-s", "0", "status"],
        expect![[r#"
        error: invalid value '0' for '--timeout-s <TIMEOUT_S>': 0 is not in 1..=300

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["--output", "xml", "status"],
        expect![[r#"
        error: invalid value 'xml' for '--output <OUTPUT>'
          [possible values: table, json]

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["pki", "issue", "--dir", "pki", "--service", "a/b", "--node", "1", "--address", "x"],
        expect![[r#"
            error: invalid value 'a/b' for '--service <NAME>': expected up to 63 letters, digits, '.', '_' and '-'

            For more information, try '--help'.
        "#]],
    );
}

#[test]
fn without_a_context_the_way_to_get_one_is_shown() {
    refused(
        &["status"],
        expect![[r#"
        error: no context is set: `cargo xtask up` writes one, or photon context set NAME --flaredb-endpoint URL --flashdns-endpoint URL --ca FILE --token-file FILE
    "#]],
    );
    refused(
        &["context", "use", "work"],
        expect![[r#"
            error: context "work" is not in the context file; it has: none yet
        "#]],
    );
}

#[test]
fn context_whose_files_are_missing_is_refused_by_name() {
    let home = Home::new();
    home.must(&[
        "context",
        "set",
        "work",
        "--flashdns-endpoint",
        "https://127.0.0.1:1",
        "--ca",
        "ca.crt",
        "--token-file",
        "t",
    ]);
    let ended = home.photon(&["dns", "zone", "list"]);
    assert_eq!(ended.code, 64);
    expect![[r#"
        error: the context cannot be used: cannot read ~/ca.crt: No such file or directory (os error 2)
    "#]]
    .assert_eq(&ended.stderr);
}

#[test]
fn contexts_are_set_used_listed_and_shown() {
    let home = Home::new();
    for name in ["home", "work"] {
        home.must(&["context", "set", name, "--ca", "/pki/ca.crt", "--token-file", "/pki/token"]);
    }
    home.must(&["context", "use", "home"]);
    expect![[r#"
        CURRENT  NAME  FLAREDB  FLASHDNS  CHAINFIRE  CA           TOKEN FILE
        *        home                                /pki/ca.crt  /pki/token
                 work                                /pki/ca.crt  /pki/token
    "#]]
    .assert_eq(&home.must(&["context", "list"]));
    expect![[r#"
        {
          "name": "home",
          "current": true,
          "flaredb_endpoints": [],
          "flashdns_endpoint": null,
          "chainfire_endpoints": [],
          "ca": "/pki/ca.crt",
          "token_file": "/pki/token",
          "cert": null,
          "key": null
        }
    "#]]
    .assert_eq(&home.must(&["--output", "json", "context", "show"]));
    expect![[r#"
        {
          "name": "work",
          "current": false,
          "flaredb_endpoints": [],
          "flashdns_endpoint": null,
          "chainfire_endpoints": [],
          "ca": "/pki/ca.crt",
          "token_file": "/pki/token",
          "cert": null,
          "key": null
        }
    "#]]
    .assert_eq(&home.must(&["--context", "work", "--output", "json", "context", "show"]));
}

#[test]
fn help_shows_examples() {
    let home = Home::new();
    // The parser pads empty lines with spaces, which nobody sees.
    let help = |words: &[&str]| home.must(words).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    expect![[r#"
        PhotonCloud's command line

        Usage: photon [OPTIONS] <COMMAND>

        Commands:
          status       Show every process of the cloud: its role, its health and, if it is not ready, why
          cluster      Who is there: ChainFire's members
          dns          Zones and records
          context      Where the cloud is and who you are there
          pki          The cloud's own certificate authority and tokens
          completions  Print the completion script of a shell, e.g. `photon completions bash >
                       /etc/bash_completion.d/photon`
          help         Print this message or the help of the given subcommand(s)

        Options:
              --context <NAME>
                  Which context of the context file to use; by default the current one

                  [env: PHOTON_CONTEXT=]

          -o, --output <OUTPUT>
                  What to print: a table for people or JSON for programs

                  Possible values:
                  - table: Aligned columns under a header
                  - json:  JSON

                  [default: table]

              --timeout-s <TIMEOUT_S>
                  Seconds after which a call is given up

                  [default: 10]

          -h, --help
                  Print help (see a summary with '-h')

          -V, --version
                  Print version

        Examples:
          photon status
          photon dns zone create example.org
          photon dns record create example.org www A 192.0.2.1
          photon --output json dns record list example.org"#]]
    .assert_eq(&help(&["--help"]));
    expect![[r#"
        The cloud's own certificate authority and tokens

        Usage: photon pki [OPTIONS] <COMMAND>

        Commands:
          init   Make a certificate authority, e.g. `photon pki init --dir pki --cluster photon`
          issue  Issue a service's certificate, e.g. `photon pki issue --dir pki --service flaredb --node 1
                 --address db1.example.org`
          token  Make a person's token, e.g. `photon pki token --dir pki --name ada --role viewer`
          help   Print this message or the help of the given subcommand(s)

        Options:
              --context <NAME>         Which context of the context file to use; by default the current one
                                       [env: PHOTON_CONTEXT=]
          -o, --output <OUTPUT>        What to print: a table for people or JSON for programs [default:
                                       table] [possible values: table, json]
              --timeout-s <TIMEOUT_S>  Seconds after which a call is given up [default: 10]
          -h, --help                   Print help (see more with '--help')

        Examples:
          photon pki init --dir pki --cluster photon
          photon pki issue --dir pki --service flaredb --node 1 --address db1.example.org --address
          192.0.2.1
          photon pki token --dir pki --name ada --role viewer"#]]
    .assert_eq(&help(&["pki", "-h"]));
}

#[test]
fn completion_script_is_printed_for_a_shell() {
    let home = Home::new();
    assert!(home.must(&["completions", "bash"]).contains("complete -F _photon"));
}
