//! Says on `/readyz` how the served zones stand to the metadata store.
//!
//! Ready means: what is answered is known to be, or to have been until a moment ago, what the store says, and changes
//! can be made. A process that has not reached the store yet, or not for too long, is not ready, and answers queries
//! all the same: old answers are better than none, but who chooses between nodes should know.

use std::time::Duration;

use photon_runtime::Condition;
use tokio_util::sync::CancellationToken;

use crate::served::{Freshness, Served};

/// Between two looks when nothing changes.
const PERIOD: Duration = Duration::from_millis(500);

/// Reports until `shutdown`.
pub(crate) async fn report(
    served: Served,
    condition: Condition,
    stale_max: Duration,
    shutdown: CancellationToken,
) {
    loop {
        match judge(&served.freshness(), stale_max) {
            Verdict::Fresh => condition.ok(),
            Verdict::Old(note) => condition.ok_with(note),
            Verdict::TooOld(why) => condition.not_ready(why),
        }
        let changed = async { drop(tokio::time::timeout(PERIOD, served.changed()).await) };
        if shutdown.run_until_cancelled(changed).await.is_none() {
            return;
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fresh,
    Old(String),
    TooOld(String),
}

fn judge(freshness: &Freshness, stale_max: Duration) -> Verdict {
    let because = freshness.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let Some(stale) = freshness.stale else {
        return Verdict::TooOld(format!("no zones yet, the metadata store was not reached{because}"));
    };
    let age =
        format!("zones are as of {} s ago, the metadata store is not followed{because}", stale.as_secs());
    match &freshness.error {
        _ if stale > stale_max || !freshness.reached => Verdict::TooOld(age),
        Some(_) => Verdict::Old(age),
        None => Verdict::Fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(30);

    fn judged(stale_s: Option<u64>, error: Option<&str>) -> Verdict {
        let (stale, error) = (stale_s.map(Duration::from_secs), error.map(str::to_owned));
        judge(&Freshness { stale, reached: true, error }, MAX)
    }

    #[test]
    fn process_is_ready_while_its_zones_are_young_enough() {
        assert_eq!(judged(Some(3), None), Verdict::Fresh);
        assert!(matches!(judged(Some(3), Some("no route")), Verdict::Old(_)));
        assert!(matches!(judged(Some(31), None), Verdict::TooOld(_)));
        assert!(matches!(judged(None, None), Verdict::TooOld(_)));
    }

    #[test]
    fn process_that_has_not_reached_the_store_is_not_ready_however_young_its_checkpoint_is() {
        let freshness = Freshness { stale: Some(Duration::ZERO), reached: false, error: None };
        assert!(matches!(judge(&freshness, MAX), Verdict::TooOld(_)));
    }

    #[test]
    fn reason_says_how_old_the_zones_are_and_why() {
        let Verdict::TooOld(why) = judged(Some(61), Some("no route")) else { panic!("61 s are too old") };
        assert_eq!(why, "zones are as of 61 s ago, the metadata store is not followed: no route");
    }
}
