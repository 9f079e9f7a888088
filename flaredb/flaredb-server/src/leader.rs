//! What the leader of a region does beside serving: it decides what may be forgotten.
//!
//! Forgetting is a command in the log, because every replica must forget the same. A leader that is not one any more
//! only wastes a proposal; nothing here has to be exact, and a failed round is followed by the next one.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use flaredb_engine::{NamespaceId, NamespaceInfo, TombstonePage};
use flaredb_proto::v1::{
    CollectTombstones, CompactHistory, NamespaceMode, flare_request::Command, flare_response::Outcome,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    clock,
    config::StorageConfig,
    history::{Progress, Retention},
    region::Region,
    service::off_the_reactor,
    status::Refusal,
};

/// Tombstones are looked for so many times within their retention.
const COLLECTIONS_PER_RETENTION: u32 = 24;

/// Lets the leader of `region` forget history and tombstones, for as long as it is polled.
pub(crate) async fn forget(region: Arc<Region>, config: StorageConfig) {
    let mut tick = interval(Duration::from_millis(config.history_check_ms));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut keeper = Keeper::new(&config);
    loop {
        tick.tick().await;
        if !region.group.leads() {
            keeper.notes.clear();
            continue;
        }
        for plan in keeper.plan(&region.state.namespaces(), keeper.start.elapsed()) {
            if let Err(refusal) = carry_out(&region, plan).await {
                report(region.id, &refusal);
                break;
            }
        }
    }
}

/// What is to be forgotten of one namespace.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// History up to and including a revision.
    History { namespace_id: u32, revision: u64 },
    /// Tombstones that are older than a timestamp.
    Tombstones { namespace_id: u32, before_ts: u64 },
}

async fn carry_out(region: &Region, plan: Plan) -> Result<(), Refusal> {
    match plan {
        Plan::History { namespace_id, revision } => compact(region, namespace_id, revision).await,
        Plan::Tombstones { namespace_id, before_ts } => collect(region, namespace_id, before_ts).await,
    }
}

/// One command forgets a bounded part; this goes on until all of it is forgotten.
async fn compact(region: &Region, namespace_id: u32, revision: u64) -> Result<(), Refusal> {
    loop {
        let command = CompactHistory { namespace_id, revision };
        match region.propose(Command::CompactHistory(command)).await? {
            Outcome::Done(oldest) if oldest <= revision => {}
            // A refusal: the namespace was deleted meanwhile.
            _ => return Ok(()),
        }
    }
}

/// Looks for tombstones here, beside everything else, and names them to all replicas.
async fn collect(region: &Region, namespace_id: u32, before_ts: u64) -> Result<(), Refusal> {
    let mut start = Some(Bytes::new());
    while let Some(at) = start {
        let state = region.state.clone();
        let look = move || state.old_tombstones(NamespaceId(namespace_id), before_ts, &at);
        let TombstonePage { keys, next } = off_the_reactor("", look).await?;
        if !keys.is_empty() {
            let command = CollectTombstones { namespace_id, before_ts, keys };
            region.propose(Command::CollectTombstones(command)).await?;
        }
        start = next;
    }
    Ok(())
}

fn report(region: u64, refusal: &Refusal) {
    match refusal {
        Refusal::NotLeader { .. } | Refusal::Indeterminate => {}
        refusal => {
            tracing::warn!(region, %refusal, "old history was not forgotten; the next round tries again")
        }
    }
}

/// What the leader remembers from round to round.
struct Keeper {
    start: Instant,
    notes: BTreeMap<u32, Progress>,
    keep: Retention,
    tombstones: Duration,
    collected: Option<Duration>,
}

impl Keeper {
    fn new(config: &StorageConfig) -> Self {
        Self {
            start: Instant::now(),
            notes: BTreeMap::new(),
            keep: config.retention(),
            tombstones: Duration::from_millis(config.tombstone_retention_ms),
            collected: None,
        }
    }

    fn plan(&mut self, namespaces: &[NamespaceInfo], now: Duration) -> Vec<Plan> {
        self.notes.retain(|id, _| namespaces.iter().any(|namespace| namespace.id.0 == *id));
        let collect = self.collection_is_due(now);
        namespaces.iter().filter_map(|namespace| self.plan_one(namespace, now, collect)).collect()
    }

    fn plan_one(&mut self, namespace: &NamespaceInfo, now: Duration, collect: bool) -> Option<Plan> {
        let namespace_id = namespace.id.0;
        if namespace.mode == NamespaceMode::Eventual {
            let before_ts = clock::before_now(self.tombstones);
            return collect.then_some(Plan::Tombstones { namespace_id, before_ts });
        }
        let progress = self.notes.entry(namespace_id).or_default();
        progress.note(now, namespace.revision);
        let revision = progress.forget_up_to(now, namespace.oldest_revision, self.keep)?;
        Some(Plan::History { namespace_id, revision })
    }

    fn collection_is_due(&mut self, now: Duration) -> bool {
        let every = self.tombstones / COLLECTIONS_PER_RETENTION;
        let due = self.collected.is_none_or(|last| now.saturating_sub(last) >= every);
        if due {
            self.collected = Some(now);
        }
        due
    }
}
