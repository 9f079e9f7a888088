//! Keeps asking whether this replica is up to date, and tells readiness and watchers.
//!
//! The question is a read index: it is answered only when a leader with a quorum exists and this replica has applied
//! all that was committed. So "ready" means that a linearizable read works here, and nothing less.

use std::{sync::Arc, time::Duration};

use flaredb_raft::Group;
use photon_runtime::Condition;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::hub::Hub;

/// How often the question is asked; watchers get progress as often.
const EVERY: Duration = Duration::from_millis(500);

/// An answer that takes longer makes the node not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// Confirms the replica of `group` for as long as it is polled.
pub(crate) async fn keep(group: Group, hub: Arc<Hub>, ready: Condition) {
    ready.not_ready("no leader has been heard yet");
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let asked = Instant::now();
        match timeout(PATIENCE, group.read_index()).await {
            Ok(Ok(_index)) => {
                hub.confirm(asked);
                ready.ok();
            }
            Ok(Err(error)) => ready.not_ready(error.to_string()),
            Err(_elapsed) => ready.not_ready(why(&group)),
        }
    }
}

fn why(group: &Group) -> String {
    let status = group.status();
    match status.leader {
        None => "no leader is known: are enough of the members running and reachable?".to_owned(),
        Some(leader) => format!(
            "node {leader} leads, but did not answer in {} ms or this node (at {}) has not caught up",
            PATIENCE.as_millis(),
            status.applied_index
        ),
    }
}
