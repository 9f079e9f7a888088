//! What people get when they are wrong: one clear message, the right code, and nothing changed.

use std::{fs, net::TcpListener, time::Duration};

use anyhow::{Context as _, Result, ensure};
use flaredb_client::Error;

use super::Run;
use crate::{
    cloud::{Cloud, Layout},
    wait::wait_for,
};

const ENDS_AT_MOST: Duration = Duration::from_secs(10);
const CONFIG: i32 = 64;
const FAILURE: i32 = 1;

/// A wrong token, an unknown namespace and an oversized value, by the client that everybody uses.
pub(super) async fn wrong_calls_are_refused_with_one_clear_message(run: Run) -> Result<()> {
    let cloud = Cloud::start(&run.folder, Layout { dns: false, ..Layout::default() }).await?;
    cloud.create_namespace("refusals").await?;
    let client = cloud.rdb()?;
    let before = client.create("refusals", "key", "value").await?;

    let stranger = cloud.rdb_with_token("pct_wrong")?;
    let refused = stranger.create("refusals", "other", "value").await;
    ensure!(matches!(refused, Err(Error::Unauthenticated { .. })), "a wrong token got {refused:?}");

    let refused = client.create("nowhere", "key", "value").await;
    ensure!(matches!(refused, Err(Error::NotFound { .. })), "an unknown namespace got {refused:?}");
    let message = refused.err().context("no error")?.to_string();
    ensure!(message.contains("nowhere"), "the message does not name the namespace: {message}");

    let refused = client.create("refusals", "big", "x".repeat((1 << 20) + 1)).await;
    let message = refused.err().context("an oversized value was taken")?.to_string();
    ensure!(message.contains("value") && message.contains("1048576"), "no field or limit in: {message}");

    let after = client.create("refusals", "last", "value").await?;
    ensure!(after == before + 1, "a refused call moved the revision from {before} to {after}");
    Ok(())
}

/// A bad config, a taken port and a bad certificate: an exit code, and a message with the field and the value.
pub(super) async fn processes_that_cannot_start_say_why(run: Run) -> Result<()> {
    let mut cloud = Cloud::start(&run.folder, Layout { dns: false, ..Layout::default() }).await?;
    let good = fs::read_to_string(cloud.config_file(0))?;
    let certificate = fs::read_to_string(cloud.certificate_file(0))?;
    cloud.stop_node(0)?;

    fs::write(cloud.config_file(0), format!("{good}\n[surver]\nlisten = \"x\"\n"))?;
    let words = start_in_vain(&mut cloud, CONFIG).await?;
    ensure!(words.contains("surver") && words.contains("server"), "no key or suggestion in: {words}");

    fs::write(cloud.config_file(0), &good)?;
    let taken = TcpListener::bind(("127.0.0.1", cloud.database_port(0)))?;
    let words = start_in_vain(&mut cloud, FAILURE).await?;
    ensure!(words.contains("server.listen") && words.contains("in use"), "no key or cause in: {words}");
    drop(taken);

    fs::write(cloud.certificate_file(0), "no certificate\n")?;
    let words = start_in_vain(&mut cloud, CONFIG).await?;
    let file = cloud.certificate_file(0).display().to_string();
    ensure!(words.contains(&file), "the certificate's file is not named in: {words}");

    fs::write(cloud.certificate_file(0), certificate)?;
    cloud.start_node(0)?;
    cloud.ready().await
}

async fn start_in_vain(cloud: &mut Cloud, code: i32) -> Result<String> {
    let log = cloud.log_file(0);
    fs::write(&log, "")?;
    cloud.start_node(0)?;
    let status = wait_for("the process to refuse to start", ENDS_AT_MOST, async || {
        cloud.node_ended(0).ok().flatten()
    })
    .await?;
    let words = fs::read_to_string(&log)?;
    ensure!(status.code() == Some(code), "it ended with {status}, not {code}: {words}");
    ensure!(!words.contains("panicked") && !words.contains("backtrace"), "a panic instead of a message: {words}");
    Ok(words)
}
