//! A steady stream of committed changes beside the load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flashdns_proto::v1::{ChangeRecordSetsRequest, RecordSetChange};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{peers::Server, zone};

/// Changes to commit in each second.
pub(super) const PER_S: u32 = 200;
/// Owners that the changes go over.
const OWNERS: u32 = 1_000;
/// Changes on their way at once, at the most.
const IN_FLIGHT_MAX: usize = 64;

/// Commits changes for so many seconds; returns how many a second were acknowledged.
///
/// # Errors
/// When a change fails, or fewer than nine in ten could be committed in time.
pub(super) async fn commit(ours: &Server, seconds: u64) -> Result<f64> {
    let client = ours.cloud()?.record_sets()?;
    let mut tick = interval(Duration::from_secs(1) / PER_S);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut on_their_way = JoinSet::new();
    let started = Instant::now();
    let mut number = 0;
    while started.elapsed() < Duration::from_secs(seconds) {
        tick.tick().await;
        if on_their_way.len() >= IN_FLIGHT_MAX {
            on_their_way.join_next().await.context("no change was on its way")???;
        }
        number += 1;
        let change = RecordSetChange {
            name: format!("changing{}.{}", number % OWNERS, zone::NAME),
            r#type: "A".to_owned(),
            ttl_s: 60,
            data: vec![format!("10.200.{}.{}", (number >> 8) & 255, number & 255)],
            ..Default::default()
        };
        let request = ChangeRecordSetsRequest {
            zone: zone::NAME.to_owned(),
            changes: vec![change],
            ..Default::default()
        };
        let mut client = client.clone();
        on_their_way.spawn(async move { client.change_record_sets(request).await.map(drop) });
    }
    while let Some(done) = on_their_way.join_next().await {
        done??;
    }
    let rate = f64::from(number) / started.elapsed().as_secs_f64();
    ensure!(rate > f64::from(PER_S) * 0.9, "only {rate:.0} changes a second were committed beside the load");
    Ok(rate)
}
