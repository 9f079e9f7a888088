//! The certificate authority: what it writes, who may read it, and what it refuses to replace.

use std::{fs, os::unix::fs::PermissionsExt as _};

use expect_test::expect;
use photon_runtime::{AuthConfig, Authenticator, Tls, TlsConfig};

use crate::photon::Home;

#[test]
fn what_it_makes_is_what_a_server_takes_and_secrets_are_their_owners_only() {
    let home = Home::new();
    expect![[r#"
        wrote pki/ca.key
        wrote pki/cluster
        wrote pki/ca.crt
    "#]]
    .assert_eq(&home.must(&["pki", "init", "--dir", "pki", "--cluster", "photon"]));
    let issue = [
        "pki",
        "issue",
        "--dir",
        "pki",
        "--service",
        "flaredb",
        "--node",
        "1",
        "--address",
        "127.0.0.1",
        "--address",
        "localhost",
    ];
    expect![[r#"
        wrote pki/flaredb-1.key
        wrote pki/flaredb-1.crt
    "#]]
    .assert_eq(&home.must(&issue));
    expect![[r#"
        wrote pki/admin.token
        wrote pki/tokens.toml
    "#]]
    .assert_eq(&home.must(&["pki", "token", "--dir", "pki", "--name", "admin", "--role", "admin"]));
    home.must(&["pki", "token", "--dir", "pki", "--name", "ada", "--role", "viewer"]);

    let file = |name: &str| Some(home.path().join("pki").join(name));
    let tls = TlsConfig { cert: file("flaredb-1.crt"), key: file("flaredb-1.key"), ca: file("ca.crt") };
    let auth = AuthConfig { cluster: "photon".to_owned(), tokens_file: file("tokens.toml") };
    let loaded = Tls::load(&tls, &auth, "flaredb").unwrap().unwrap();
    assert_eq!(loaded.identity().to_string(), "spiffe://photon/flaredb/1");
    Authenticator::load(&auth).unwrap();
    for secret in ["ca.key", "flaredb-1.key", "admin.token", "ada.token", "tokens.toml"] {
        let mode = fs::metadata(home.path().join("pki").join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn authority_is_never_replaced_and_a_name_has_one_token() {
    let home = Home::new();
    home.must(&["pki", "init", "--dir", "pki", "--cluster", "photon"]);
    let before = fs::read(home.path().join("pki/ca.key")).unwrap();
    let again = home.photon(&["pki", "init", "--dir", "pki", "--cluster", "photon"]);
    assert_eq!((again.code, fs::read(home.path().join("pki/ca.key")).unwrap()), (64, before));
    expect![[r#"
        error: pki/ca.crt is there already, and replacing it voids every certificate; choose another --dir
    "#]]
    .assert_eq(&again.stderr);
    home.must(&["pki", "token", "--dir", "pki", "--name", "ada", "--role", "viewer"]);
    let token = fs::read(home.path().join("pki/ada.token")).unwrap();
    let again = home.photon(&["pki", "token", "--dir", "pki", "--name", "ada", "--role", "admin"]);
    assert_eq!((again.code, fs::read(home.path().join("pki/ada.token")).unwrap()), (64, token));
    expect![[r#"
        error: pki/tokens.toml: two tokens are named "ada", expected a name for each
    "#]]
    .assert_eq(&again.stderr);
}

#[test]
fn certificate_without_an_authority_is_refused_with_the_way_to_make_one() {
    let home = Home::new();
    let ended = home.photon(&[
        "pki",
        "issue",
        "--dir",
        "pki",
        "--service",
        "flaredb",
        "--node",
        "1",
        "--address",
        "x",
    ]);
    assert_eq!(ended.code, 64);
    expect![[r#"
        error: pki/ca.crt is not there; make an authority: photon pki init --dir pki --cluster NAME
    "#]]
    .assert_eq(&ended.stderr);
}
