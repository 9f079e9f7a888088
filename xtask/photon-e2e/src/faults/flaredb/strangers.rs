//! Processes that do not belong: a node of another cluster that knows where ours is, and a second process with the
//! identity of one of ours.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::Flaredb;
use crate::{
    faults::{
        cluster::{CLUSTER, Member, Plan},
        nemesis::{Arena, Proof},
        subject::Load as _,
    },
    process::Process,
    wait::wait_for,
};

/// Ids of certificates for strangers.
const STRANGER: u64 = 901;
const KNOCKS: u32 = 3;
const KNOCKS_AT_MOST: Duration = Duration::from_secs(15);
const ENDS_AT_MOST: Duration = Duration::from_secs(10);
/// What a node says when it refuses one of another cluster.
const REFUSAL: &str = "a node of another cluster was refused";

impl Arena<Flaredb> {
    /// A machine that stands still for a moment gives cause for an election by itself, so one of three knocks without
    /// any is enough: a stranger that can bring one about does so each time.
    pub(super) async fn foreign_node(&mut self) -> Result<Proof> {
        for _ in 0..KNOCKS {
            if let Some(proof) = self.knock().await? {
                return Ok(proof);
            }
        }
        bail!("a stranger has brought {KNOCKS} elections about");
    }

    /// `None`: there was an election meanwhile.
    async fn knock(&self) -> Result<Option<Proof>> {
        let (leader, term) = self.cluster.leader().await?;
        let logs: Vec<(PathBuf, u64)> = self.log_lengths()?;
        let stranger = self.stranger(STRANGER, "another", "stranger")?;
        let knocked = Instant::now();
        let refusals = wait_for("the stranger to be refused", KNOCKS_AT_MOST, async || {
            let refusals: usize = logs.iter().map(|(log, from)| refusals(log, *from)).sum();
            (refusals > 0).then_some(refusals)
        })
        .await;
        let refusals = refusals.with_context(|| format!("it says:\n{}", stranger.last_words()))?;
        self.last(self.strangers_stay()).await;
        if self.cluster.leader().await? != (leader, term) {
            return Ok(None);
        }
        Ok(Some(Proof {
            what: format!(
                "a node of cluster \"another\" knocked for {} ms and was refused (first {refusals} times at once)",
                knocked.elapsed().as_millis()
            ),
            effect: format!("{} leads on in term {term}", self.name(leader)),
        }))
    }

    pub(super) async fn twin_node(&mut self) -> Result<Proof> {
        let (victim, leader) = self.any_follower().await?;
        let (id, term) = (self.cluster.id(victim)?, self.cluster.standing(leader).await?.term);
        let refused = self.second_on_one_folder(victim).await?;
        let before = self.load.recorder().totals();
        let mut twin = self.stranger(id, CLUSTER, "twin")?;
        self.last(self.strangers_stay()).await;
        ensure!(twin.ended()?.is_none(), "the twin did not run:\n{}", twin.last_words());
        let after = self.load.recorder().totals();
        let (_, now_term) = self.cluster.leader().await?;
        drop(twin);
        Ok(Proof {
            what: format!(
                "a second process on the folder of node {id} ended ({refused}); another with its id and an empty \
                 folder ran beside it"
            ),
            effect: format!(
                "{} writes acknowledged meanwhile; term {term}, then {now_term}",
                after.0 - before.0
            ),
        })
    }

    fn plan(&self) -> &Plan {
        &self.cluster.subject().plan
    }

    fn strangers_stay(&self) -> Duration {
        if self.long { Duration::from_secs(4) } else { Duration::from_secs(2) }
    }

    fn log_lengths(&self) -> Result<Vec<(PathBuf, u64)>> {
        let logs = self.cluster.members().into_iter().map(|slot| {
            let log = self.cluster.folders().log(self.cluster.id(slot)?);
            let length = fs::metadata(&log)?.len();
            Ok((log, length))
        });
        logs.collect()
    }

    /// Starts a node in the spare slot that takes our nodes for its members.
    fn stranger(&self, id: u64, cluster: &str, name: &str) -> Result<Process> {
        let (slot, plan, folders) = (self.cluster.spare()?, self.plan(), self.cluster.folders());
        let us = Member { id, slot };
        plan.issue(Member { id: STRANGER, slot })?;
        let mut members = vec![us];
        for slot in self.cluster.members() {
            members.push(Member { id: self.cluster.id(slot)?, slot });
        }
        let folder = self.cluster.slot(slot)?.disk.folder().join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let text = plan.configuration(us, STRANGER, &unique(members), cluster, &folder);
        let (config, log) =
            (folders.file(&format!("{name}.toml")), folders.logs().join(format!("{name}.log")));
        fs::write(&config, text)?;
        self.cluster.start_beside(slot, &self.plan().command(&config)?, &log)
    }

    /// Starts a node a second time on the same folder, elsewhere; it must end by itself and say why.
    async fn second_on_one_folder(&self, victim: usize) -> Result<String> {
        let (slot, plan, id) = (self.cluster.spare()?, self.plan(), self.cluster.id(victim)?);
        let (us, folders) = (Member { id, slot }, self.cluster.folders());
        plan.issue(Member { id: STRANGER, slot })?;
        let folder = self.cluster.slot(victim)?.disk.folder().join("node");
        let (config, log) = (folders.file("second.toml"), folders.logs().join("second.log"));
        fs::write(&config, plan.configuration(us, STRANGER, &[us], CLUSTER, &folder))?;
        let mut second = self.cluster.start_beside(slot, &self.plan().command(&config)?, &log)?;
        let ended = wait_for("it to end", ENDS_AT_MOST, async || second.ended().ok().flatten()).await;
        let Ok(status) = ended else { bail!("it runs on a folder that is in use:\n{}", second.last_words()) };
        ensure!(!status.success(), "it ended with 0");
        Ok(status.to_string())
    }
}

/// Each id once, the first of it.
fn unique(members: Vec<Member>) -> Vec<Member> {
    let mut kept: Vec<Member> = Vec::new();
    for member in members {
        if kept.iter().all(|other| other.id != member.id) {
            kept.push(member);
        }
    }
    kept
}

/// How often a log says, behind this length, that a stranger was refused.
fn refusals(log: &Path, from: u64) -> usize {
    let text = fs::read(log).unwrap_or_default();
    let new = text.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
    String::from_utf8_lossy(new).matches(REFUSAL).count()
}
