//! `photon status` against a real process of the runtime, behind TLS and a token as in a cloud.

use std::net::TcpListener;

use photon_runtime::{
    AuthConfig, CommonRef, Context, GrpcServer, HasCommon, LogConfig, Process, ServerConfig, Service,
    StartError, Started, TlsConfig,
};
use serde::{Deserialize, Serialize};

use crate::photon::{Ended, Home};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    server: ServerConfig,
    tls: TlsConfig,
    auth: AuthConfig,
    log: LogConfig,
}

impl HasCommon for Config {
    fn common(&self) -> CommonRef<'_> {
        CommonRef { server: &self.server, tls: &self.tls, auth: &self.auth, log: &self.log }
    }
}

/// A process that is called like FlashDNS and does nothing.
#[derive(Debug)]
struct Idle;

impl Service for Idle {
    const NAME: &'static str = "flashdns";
    type Config = Config;

    async fn start(_config: Config, _context: Context) -> Result<Started, StartError> {
        Ok(GrpcServer::new().into())
    }
}

async fn idle(home: &Home) -> Process {
    home.must(&["pki", "init", "--dir", "pki", "--cluster", "photon"]);
    home.must(&[
        "pki",
        "issue",
        "--dir",
        "pki",
        "--service",
        "flashdns",
        "--node",
        "1",
        "--address",
        "127.0.0.1",
    ]);
    home.must(&["pki", "token", "--dir", "pki", "--name", "admin", "--role", "admin"]);
    let file = |name: &str| Some(home.path().join("pki").join(name));
    let config = Config {
        tls: TlsConfig { cert: file("flashdns-1.crt"), key: file("flashdns-1.key"), ca: file("ca.crt") },
        auth: AuthConfig { tokens_file: file("tokens.toml"), ..AuthConfig::default() },
        ..Config::default()
    };
    Process::start::<Idle>(config).await.unwrap()
}

async fn photon(home: Home, words: &'static [&'static str]) -> (Home, Ended) {
    let run = tokio::task::spawn_blocking(move || {
        let ended = home.photon(words);
        (home, ended)
    });
    run.await.unwrap()
}

#[tokio::test]
async fn every_process_is_shown_and_the_exit_code_tells_whether_all_are_ready() {
    let home = Home::new();
    let process = idle(&home).await;
    let dns = format!("https://{}", process.grpc_address());
    let set = ["context", "set", "test", "--ca", "pki/ca.crt", "--token-file", "pki/admin.token"];
    home.must(&[&set[..], &["--flashdns-endpoint", &dns]].concat());

    let (home, ended) = photon(home, &["status"]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    assert!(ended.stdout.contains("flashdns/1") && ended.stdout.contains("ready"), "{}", ended.stdout);

    process.health().condition("metadata").not_ready("no answer for 31 s");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("https://{free}");
    home.must(&[&set[..], &["--flashdns-endpoint", &dns, "--flaredb-endpoint", &gone]].concat());
    let (home, ended) = photon(home, &["--output", "json", "status"]).await;
    assert_eq!(ended.code, 5);
    expect_test::expect![[r#"
        error: 2 of 2 processes are not ready
    "#]]
    .assert_eq(&ended.stderr);
    let shown = ended.stdout.replace(&dns, "https://dns").replace(&gone, "https://gone");
    expect_test::expect![[r#"
        [
          {
            "process": "flaredb",
            "endpoint": "https://gone",
            "role": "database",
            "health": "no_answer",
            "version": "-",
            "applied": null,
            "lag": null,
            "why": "tcp connect error: Connection refused (os error 111)"
          },
          {
            "process": "flashdns/1",
            "endpoint": "https://dns",
            "role": "dns",
            "health": "not_ready",
            "version": "0.1.0",
            "applied": null,
            "lag": null,
            "why": "metadata: no answer for 31 s"
          }
        ]
    "#]]
    .assert_eq(&shown);
    process.stop().await.unwrap();
    drop(home);
}
