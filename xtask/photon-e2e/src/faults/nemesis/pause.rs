//! A leader that is stopped and wakes when another one leads already. It must not answer reads from what it knew.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Arena, Proof};
use crate::faults::subject::{Load as _, Subject};

/// Longer than leases last that clients keep alive meanwhile.
const SLEEP_MS: u64 = 4_500;
/// Reads that wait in the sleeper's sockets when it wakes, all sent after a new leader's writes.
const READS: u32 = 24;
const READ_PATIENCE: Duration = Duration::from_secs(4);
/// Until the reads have been sent.
const SENT_AFTER: Duration = Duration::from_millis(150);

impl<S: Subject> Arena<S> {
    pub(super) async fn pause_leader(&mut self) -> Result<Proof> {
        let (leader, term) = self.cluster.leader().await?;
        let length = self.length(SLEEP_MS, 10_000);
        self.cluster.freeze(leader).await?;
        let since = self.now_ms();
        let outcome = self.while_it_sleeps(leader, since, length).await;
        // Whatever happened, it must not sleep on.
        self.cluster.thaw(leader).await?;
        let (resumed, new, new_term) = outcome?;
        ensure!(new_term > term, "there was no election");
        Ok(Proof {
            what: format!("{} was in state T for {} ms", self.name(leader), self.now_ms() - since),
            effect: format!(
                "{} leads in term {new_term}; first new write after {} ms; {READS} reads met the sleeper as it woke",
                self.name(new),
                resumed.as_millis()
            ),
        })
    }

    async fn while_it_sleeps(
        &mut self,
        leader: usize,
        since: u64,
        length: Duration,
    ) -> Result<(Duration, usize, u64)> {
        let resumed = self.load.resumed(since).await?;
        let (new, new_term) = self.cluster.leader_but(&[leader]).await?;
        self.last(length.saturating_sub(Duration::from_millis(self.now_ms() - since))).await;
        let sent_from = self.now_ms();
        self.load.resumed(sent_from).await?;
        self.load.read_at(&self.cluster, leader, READS, READ_PATIENCE)?;
        self.last(SENT_AFTER).await;
        Ok((resumed, new, new_term))
    }
}
