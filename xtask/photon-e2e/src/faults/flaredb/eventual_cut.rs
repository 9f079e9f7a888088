//! A follower that is cut off from its peers, and falls visibly behind for readers of timestamped records.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use flaredb_client::{Error, RdbClient};

use super::{EVENTUAL, Flaredb};
use crate::{
    faults::{
        nemesis::{Arena, CAUGHT_UP_AT_MOST, Proof, both_ways},
        network::{End, cut},
    },
    wait::wait_for,
};

const CONVERGED_AT_MOST: Duration = Duration::from_secs(2);
const READ_TIMEOUT: Duration = Duration::from_secs(1);
const LAG_ALLOWED: Duration = Duration::from_secs(1);
/// Between a packet that gets through and the first that does not.
const LAG_TOLERANCE_MS: u64 = 500;
const KEPT: &str = "cut-kept";
const DELETED: &str = "cut-deleted";

impl Arena<Flaredb> {
    pub(super) async fn eventual_cut(&mut self) -> Result<Proof> {
        let (victim, _) = self.any_follower().await?;
        let others = self.others(victim);
        let writer = self.cluster.client(&others, READ_TIMEOUT * 10)?;
        let reader = self.cluster.client(&[victim], READ_TIMEOUT)?;
        let secret = format!("kept-{}", self.now_ms());
        writer.raw_put(EVENTUAL, DELETED, secret.as_str()).await?;
        reader.join_session(EVENTUAL, &writer.session(EVENTUAL));
        ensure!(
            reader.raw_get(EVENTUAL, DELETED).await?.record.is_some(),
            "a session did not read its write"
        );
        let length = if self.long { Duration::from_secs(30) } else { Duration::from_secs(4) };
        let peers: Vec<End> = others.iter().copied().map(End::Node).collect();
        let cut = cut(&both_ways(End::Node(victim), &peers))?;
        let started = Instant::now();
        // The first writes after a cut may have to wait for an election.
        writer.raw_put(EVENTUAL, KEPT, secret.as_str()).await?;
        writer.raw_delete(EVENTUAL, DELETED).await?;
        self.last(length.saturating_sub(started.elapsed())).await;
        let cut_ms = u64::try_from(started.elapsed().as_millis())?;
        let lag_ms = self.tells_its_lag(&reader, cut_ms, &secret).await?;
        let dropped = cut.heal()?;
        ensure!(dropped > 0, "no packet was dropped");
        let converged = self.converges(&reader, &writer, &secret).await?;
        Ok(Proof {
            what: format!("{} was cut off for {cut_ms} ms: {dropped} packets dropped", self.name(victim)),
            effect: format!(
                "it told a lag of {lag_ms} ms; a read that allows 1,000 ms and one with a newer session were \
                 refused; it converged in {} ms and the delete stayed",
                converged.as_millis()
            ),
        })
    }

    /// What a reader at a follower that is cut off must be told.
    async fn tells_its_lag(&self, reader: &RdbClient, cut_ms: u64, secret: &str) -> Result<u64> {
        let stale = reader.raw_get(EVENTUAL, DELETED).await?;
        let lag_ms = stale.staleness.lag_ms;
        ensure!(
            lag_ms + LAG_TOLERANCE_MS >= cut_ms,
            "cut off for {cut_ms} ms, it tells a lag of {lag_ms} ms"
        );
        let value = stale.record.map(|record| record.value).unwrap_or_default();
        ensure!(value == secret.as_bytes(), "a node that was cut off knows what it cannot know");
        match reader.raw_get_within(EVENTUAL, KEPT, LAG_ALLOWED).await {
            Err(Error::Unavailable { .. }) => Ok(lag_ms),
            Err(error) => Err(error).context("a read with a smaller allowed lag ended otherwise"),
            Ok(read) => bail!("a read that allows 1,000 ms of lag was answered: {read:?}"),
        }
    }

    /// How long until the follower has what was written while it was away.
    async fn converges(&self, reader: &RdbClient, writer: &RdbClient, secret: &str) -> Result<Duration> {
        let healed = Instant::now();
        wait_for("the follower to have what it missed", CAUGHT_UP_AT_MOST, async || {
            let kept = reader.raw_get(EVENTUAL, KEPT).await.ok()?.record?;
            (kept.value == secret.as_bytes()).then_some(())
        })
        .await?;
        let converged = healed.elapsed();
        reader.join_session(EVENTUAL, &writer.session(EVENTUAL));
        ensure!(reader.raw_get(EVENTUAL, DELETED).await?.record.is_none(), "a delete did not stay");
        ensure!(converged <= CONVERGED_AT_MOST, "it converged only after {} ms", converged.as_millis());
        Ok(converged)
    }
}
