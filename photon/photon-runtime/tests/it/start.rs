//! Starts that fail: one message that says what to change, and nothing left behind.

use std::net::TcpListener;

use photon_runtime::{Process, ServeArgs, StartError, run_with};

use crate::{
    cloud::{Cloud, leaf},
    probe::{Config, Probe},
};

async fn refusal(config: Config) -> StartError {
    Process::start::<Probe>(config).await.unwrap_err()
}

#[tokio::test]
async fn taken_port_is_named_with_its_key() {
    let cloud = Cloud::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = cloud.config("taken");
    config.server.listen = address;
    let error = refusal(config).await;
    let expected = format!("server.listen: cannot listen on {address}: Address already in use (os error 98)");
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_config());
}

#[tokio::test]
async fn port_is_free_again_after_the_service_failed_to_start() {
    let cloud = Cloud::new();
    let mut config = cloud.config("failing");
    config.server.listen = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    config.probe.fail = true;
    assert_eq!(refusal(config.clone()).await.to_string(), "the disk is on fire");
    config.probe.fail = false;
    Process::start::<Probe>(config).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn certificate_that_cannot_be_used_is_refused_with_its_file_and_reason() {
    let cloud = Cloud::new();
    let other_ca =
        photon_runtime::pki::create_ca("photon", photon_runtime::pki::Validity::days(1).unwrap()).unwrap();
    let foreign = leaf(&other_ca, "photon", "probe");
    let neighbour = leaf(&cloud.ca, "photon", "flaredb");
    let elsewhere = leaf(&cloud.ca, "proton", "probe");
    let mut messages = String::new();
    for (cert, key) in [
        ("nonsense", "nonsense"),
        (&foreign.cert_pem, &foreign.key_pem),
        (&neighbour.cert_pem, &neighbour.key_pem),
        (&elsewhere.cert_pem, &elsewhere.key_pem),
        (&leaf(&cloud.ca, "photon", "probe").cert_pem, &neighbour.key_pem),
    ] {
        cloud.write("own.crt", cert);
        cloud.write("own.key", key);
        let error = refusal(cloud.config("certificates")).await;
        assert!(error.is_config(), "{error}");
        messages += &format!("{error}\n").replace(&cloud.folder.path().display().to_string(), "/pki");
    }
    expect_test::expect![[r#"
        tls.cert: /pki/own.crt: found no certificate, expected PEM with BEGIN CERTIFICATE
        tls.cert: /pki/own.crt: it is not signed by the CA in tls.ca
        tls.cert: /pki/own.crt: it is spiffe://photon/flaredb/1, expected a certificate of service probe
        tls.cert: /pki/own.crt: it is spiffe://proton/probe/1, of another cluster than photon
        tls.key: /pki/own.key: it is not the key of the certificate in tls.cert
    "#]]
    .assert_eq(&messages);
}

#[test]
fn exit_codes_tell_configuration_from_success() {
    let cloud = Cloud::new();
    let file = cloud.write("good.toml", &toml::to_string(&cloud.config("exit")).unwrap());
    let checked = |set: &[&str]| {
        let set = set.iter().map(|&setting| setting.to_owned()).collect();
        let args = ServeArgs { config: Some(file.clone()), set, check_config: true, print_config: false };
        format!("{:?}", run_with::<Probe>(args))
    };
    assert_eq!(checked(&[]), "ExitCode(unix_exit_status(0))");
    assert_eq!(checked(&["probe.workers=65"]), "ExitCode(unix_exit_status(64))");
    assert_eq!(checked(&["tls.cert=/nowhere"]), "ExitCode(unix_exit_status(64))");
}
