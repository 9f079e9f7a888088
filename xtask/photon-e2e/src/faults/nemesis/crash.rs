//! `kill -9` of one node or all, and planned restarts.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Arena, Proof};
use crate::faults::subject::{Load as _, Subject};

impl<S: Subject> Arena<S> {
    /// How long until a write went on is told as well.
    pub(super) async fn leader_dies(&mut self) -> Result<(Proof, Duration)> {
        let (leader, term) = self.cluster.leader().await?;
        let died = self.cluster.kill_9(leader)?;
        let since = self.now_ms();
        let resumed = self.load.resumed(since).await?;
        let (new, new_term) = self.cluster.leader_but(&[leader]).await?;
        ensure!(new_term > term, "there was no election");
        self.cluster.run(leader, &[])?;
        let proof = Proof {
            what: format!("{} led in term {term}; {died}", self.name(leader)),
            effect: format!(
                "{} leads in term {new_term}; first new write after {} ms",
                self.name(new),
                resumed.as_millis()
            ),
        };
        Ok((proof, resumed))
    }

    pub(super) async fn kill_any(&mut self) -> Result<Proof> {
        let victim = self.any_member()?;
        let died = self.cluster.kill_9(victim)?;
        let since = self.now_ms();
        let resumed = self.load.resumed(since).await?;
        self.cluster.run(victim, &[])?;
        Ok(Proof {
            what: format!("{}: {died}", self.name(victim)),
            effect: format!("next write after {} ms", resumed.as_millis()),
        })
    }

    pub(super) async fn kill_all(&mut self) -> Result<Proof> {
        let members = self.cluster.members();
        let mut deaths = Vec::new();
        for &slot in &members {
            deaths.push(self.cluster.kill_9(slot)?);
        }
        let since = self.now_ms();
        for &slot in &members {
            self.cluster.run(slot, &[])?;
        }
        let resumed = self.load.resumed(since).await?;
        Ok(Proof {
            what: deaths.join(", "),
            effect: format!("first write {} ms after all were started again", resumed.as_millis()),
        })
    }

    pub(super) async fn rolling_restart(&mut self) -> Result<Proof> {
        let (mut stopped, before) = (Vec::new(), self.load.recorder().totals());
        for slot in self.cluster.members() {
            let pid = self.cluster.pid(slot)?;
            self.cluster.stop(slot)?;
            stopped.push(format!("{} (pid {pid})", self.name(slot)));
            self.cluster.run(slot, &[])?;
            self.cluster.ready().await?;
        }
        let after = self.load.recorder().totals();
        Ok(Proof {
            what: format!("{} ended in order after SIGTERM", stopped.join(", ")),
            effect: format!(
                "{} writes acknowledged meanwhile, {} requests without an answer",
                after.0 - before.0,
                after.1 - before.1
            ),
        })
    }
}
