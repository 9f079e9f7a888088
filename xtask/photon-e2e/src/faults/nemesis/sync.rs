//! Syncs that fail and syncs that take long. After a failed one nobody knows what is on the disk: the node must end,
//! and must not acknowledge anything by trying again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Arena, Proof, trace::Tracer};
use crate::{
    faults::subject::{Load as _, Subject},
    wait::wait_for,
};

const ENDS_AT_MOST: Duration = Duration::from_secs(20);
/// How long each sync takes on a slow disk.
const SLOW_MS: std::ops::RangeInclusive<u64> = 60..=200;
/// What strace appends to a call that it made fail, or made wait.
const INJECTED: &str = "(INJECTED)";
const DELAYED: &str = "(DELAYED)";

impl<S: Subject> Arena<S> {
    pub(super) async fn sync_error(&mut self) -> Result<Proof> {
        let victim = self.any_member()?;
        let (leader, _) = self.cluster.leader().await?;
        let pid = self.cluster.pid(victim)?;
        let tracer = Tracer::attach(&self.cluster, victim, "error=EIO", "").await?;
        let ended =
            wait_for("the node to end", ENDS_AT_MOST, async || self.cluster.ended(victim).ok().flatten())
                .await;
        let since = self.now_ms();
        let failed = tracer.detach()?.matches(INJECTED).count();
        let status = ended.with_context(|| format!("{failed} syncs failed and it runs on"))?;
        ensure!(failed > 0, "it ended with {status}, but no sync failed");
        ensure!(!status.success(), "it ended as if all were well");
        let resumed = self.load.resumed(since).await?;
        self.cluster.run(victim, &[])?;
        let role = if victim == leader { "the leader" } else { "a follower" };
        Ok(Proof {
            what: format!(
                "{failed} syncs of {role}, {}, ended with EIO; pid {pid} ended by itself: {status}",
                self.name(victim)
            ),
            effect: format!("next write after {} ms", resumed.as_millis()),
        })
    }

    pub(super) async fn slow_disk(&mut self) -> Result<Proof> {
        let victim = self.any_member()?;
        let (leader, _) = self.cluster.leader().await?;
        let (before, length) = (self.load.recorder().totals(), self.length(2_500, 5_000));
        let slow_ms = self.length(*SLOW_MS.start(), *SLOW_MS.end()).as_millis();
        let delay = format!("delay_enter={}", slow_ms * 1000);
        let tracer = Tracer::attach(&self.cluster, victim, &delay, "").await?;
        self.last(length).await;
        let delayed = tracer.detach()?.matches(DELAYED).count();
        ensure!(delayed > 0, "no sync was slow");
        let after = self.load.recorder().totals();
        let role = if victim == leader { "the leader" } else { "a follower" };
        Ok(Proof {
            what: format!("{delayed} syncs of {role}, {}, took {slow_ms} ms longer", self.name(victim)),
            effect: format!(
                "{} writes acknowledged meanwhile, {} requests refused or unanswered",
                after.0 - before.0,
                after.1 - before.1
            ),
        })
    }
}
