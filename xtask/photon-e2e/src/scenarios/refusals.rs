//! What people get when they are wrong: one clear message, the right code, and nothing changed.

use std::{fs, net::TcpListener, time::Duration};

use anyhow::{Context as _, Result, ensure};
use flaredb_client::{Error, RdbClient};
use flaredb_proto::{limits::VALUE_BYTES_MAX, v1::CasRequest};
use photon_runtime::Token;
use tonic::Code;

use super::Run;
use crate::{
    cloud::{Cloud, Layout},
    wait::wait_for,
};

const NAMESPACE: &str = "refusals";
const ENDS_AT_MOST: Duration = Duration::from_secs(10);
const CONFIG: i32 = 64;
const FAILURE: i32 = 1;

/// A wrong token, an unknown namespace and an oversized value: by the client that everybody uses, and by calls that
/// no client of ours would send. None of them moves the namespace's revision.
pub(super) async fn wrong_calls_are_refused_with_one_clear_message(run: Run) -> Result<()> {
    let cloud = Cloud::start(&run.folder, Layout { dns: false, ..Layout::default() }).await?;
    cloud.create_namespace(NAMESPACE).await?;
    let client = cloud.rdb().await?;
    let before = client.create(NAMESPACE, "key", "value").await?;
    by_the_client(&cloud, &client).await?;
    by_bare_calls(&cloud).await?;
    let after = client.create(NAMESPACE, "last", "value").await?;
    ensure!(after == before + 1, "a refused call moved the revision from {before} to {after}");
    Ok(())
}

async fn by_the_client(cloud: &Cloud, client: &RdbClient) -> Result<()> {
    let stranger = cloud.rdb_with_token("pct_wrong").await?;
    let refused = stranger.create(NAMESPACE, "other", "value").await;
    ensure!(matches!(refused, Err(Error::Unauthenticated { .. })), "a wrong token got {refused:?}");

    let refused = client.create("nowhere", "key", "value").await;
    ensure!(matches!(refused, Err(Error::NotFound { .. })), "an unknown namespace got {refused:?}");
    let message = refused.err().context("no error")?.to_string();
    ensure!(message.contains("nowhere"), "the message does not name the namespace: {message}");

    let refused = client.create(NAMESPACE, "big", "x".repeat(VALUE_BYTES_MAX + 1)).await;
    let message = refused.err().context("an oversized value was taken")?.to_string();
    ensure!(names_the_limit(&message), "no field or limit in: {message}");
    Ok(())
}

async fn by_bare_calls(cloud: &Cloud) -> Result<()> {
    let put = |namespace: &str, bytes| CasRequest {
        namespace: namespace.to_owned(),
        key: "bare".into(),
        value: vec![b'x'; bytes].into(),
        ..CasRequest::default()
    };
    let (operator, stranger) = (cloud.operator()?.token, Some(Token::generate()));
    for (what, token, request, code) in [
        ("no token", None, put(NAMESPACE, 1), Code::Unauthenticated),
        ("a wrong token", stranger, put(NAMESPACE, 1), Code::Unauthenticated),
        ("an unknown namespace", operator.clone(), put("nowhere", 1), Code::NotFound),
        ("an oversized value", operator, put(NAMESPACE, VALUE_BYTES_MAX + 1), Code::InvalidArgument),
    ] {
        let answered = cloud.kv_cas(token)?.compare_and_swap(request).await;
        let status = answered.err().with_context(|| format!("{what} was accepted"))?;
        ensure!(status.code() == code, "{what} got {status:?}");
        ensure!(
            code != Code::InvalidArgument || names_the_limit(status.message()),
            "no field or limit in: {status:?}"
        );
        ensure!(!status.message().contains('\n'), "more than one line for {what}: {status:?}");
    }
    Ok(())
}

fn names_the_limit(message: &str) -> bool {
    message.contains("value") && message.contains(&VALUE_BYTES_MAX.to_string())
}

/// A bad config, a taken port and a bad certificate: an exit code, and a message with the field and the value.
pub(super) async fn processes_that_cannot_start_say_why(run: Run) -> Result<()> {
    let mut cloud = Cloud::start(&run.folder, Layout { dns: false, ..Layout::default() }).await?;
    let good = fs::read_to_string(cloud.config_file(0))?;
    let certificate = fs::read_to_string(cloud.certificate(0).0)?;
    cloud.stop_node(0)?;

    fs::write(cloud.config_file(0), format!("{good}\n[surver]\nlisten = \"x\"\n"))?;
    let words = start_in_vain(&mut cloud, CONFIG).await?;
    ensure!(words.contains("surver") && words.contains("server"), "no key or suggestion in: {words}");

    fs::write(cloud.config_file(0), &good)?;
    let taken = TcpListener::bind(("127.0.0.1", cloud.database_port(0)))?;
    let words = start_in_vain(&mut cloud, FAILURE).await?;
    ensure!(words.contains("server.listen") && words.contains("in use"), "no key or cause in: {words}");
    drop(taken);

    fs::write(cloud.certificate(0).0, "no certificate\n")?;
    let words = start_in_vain(&mut cloud, CONFIG).await?;
    let file = cloud.certificate(0).0.display().to_string();
    ensure!(words.contains(&file), "the certificate's file is not named in: {words}");

    fs::write(cloud.certificate(0).0, certificate)?;
    cloud.start_node(0)?;
    cloud.ready().await
}

async fn start_in_vain(cloud: &mut Cloud, code: i32) -> Result<String> {
    let log = cloud.log_file(0);
    fs::write(&log, "")?;
    cloud.start_node(0)?;
    let status =
        wait_for("the process to refuse to start", ENDS_AT_MOST, async || cloud.node_ended(0).ok().flatten())
            .await?;
    let words = fs::read_to_string(&log)?;
    ensure!(status.code() == Some(code), "it ended with {status}, not {code}: {words}");
    ensure!(
        !words.contains("panicked") && !words.contains("backtrace"),
        "a panic instead of a message: {words}"
    );
    Ok(words)
}
