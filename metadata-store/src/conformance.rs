//! The contract as a test suite: one function for each promise, run against a real backend.
//!
//! [`run`] takes a [`Harness`], which connects stores to one service's data, and can end and restart what keeps the
//! data and make it forget history. The suite writes only under `conformance/` in the service's prefix, and each run
//! under a folder of its own, so it can be run against a store that is in use.
//!
//! An error that passes by itself ([`StoreError::is_passing`]) is what every real caller meets now and then, so the
//! suite does what a real caller does: it asks again, for commits under the same id. What it never accepts is an
//! answer that is not true.

mod batches;
mod case;
mod conflicts;
mod crashes;
mod limits;
mod prefixes;
mod races;
mod scans;
mod versions;
mod watches;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures::{FutureExt as _, future::BoxFuture};
use tokio::time::timeout;

use self::case::{Case, Kept, Violation};
use crate::{Cause, MetadataStore, Namespace, StoreError, Version};

/// How long one promise may take.
const PROMISE_TIMEOUT: Duration = Duration::from_secs(180);

/// What keeps the data of one service, from outside.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The service's namespace.
    fn namespace(&self) -> Namespace;

    /// A store on the data, as a process of its own would have it.
    ///
    /// # Errors
    /// When it cannot be opened; ends the promise.
    async fn connect(&self) -> Result<Arc<dyn MetadataStore>, Cause>;

    /// Ends what keeps the data without notice, as `kill -9` does, and starts it again. Stores and watches from
    /// before may answer errors from now on.
    ///
    /// # Errors
    /// When it does not start again; ends the promise.
    async fn crash(&self) -> Result<(), Cause>;

    /// Makes history start behind `up_to`, whatever it takes.
    ///
    /// # Errors
    /// When it cannot; ends the promise.
    async fn compact(&self, up_to: Version) -> Result<(), Cause>;
}

type Promise = for<'a> fn(&'a Case<'a>) -> BoxFuture<'a, Kept>;

macro_rules! promises {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |case| $module::$name(case).boxed())),*]
    };
}

/// Every promise by name.
const PROMISES: &[(&str, Promise)] = promises![
    versions::versions_never_repeat_not_even_after_delete_and_create,
    versions::every_read_sees_what_was_acknowledged_before,
    conflicts::conflict_reports_what_was_found,
    conflicts::delete_of_a_wrong_version_changes_nothing,
    conflicts::delete_of_what_is_absent_is_no_event,
    batches::batch_is_all_or_nothing,
    batches::batch_is_read_whole,
    batches::commit_under_one_id_takes_effect_once,
    races::of_two_racing_writers_exactly_one_wins,
    races::no_update_is_lost,
    scans::pages_of_a_scan_are_of_one_revision,
    scans::token_behind_history_is_told_so,
    scans::token_of_another_scan_is_refused,
    prefixes::prefix_matches_its_own_keys_and_no_neighbours,
    prefixes::key_outside_the_prefix_is_refused,
    watches::watch_sees_each_revision_whole_once_and_in_order,
    watches::watch_goes_on_where_the_last_one_ended,
    watches::watch_from_now_sees_what_comes_next,
    watches::watch_behind_history_is_told_so,
    limits::value_at_the_limit_is_kept_whole,
    limits::what_is_beyond_a_limit_is_refused,
    limits::value_that_is_no_json_is_refused,
    crashes::acknowledged_commits_survive_a_crash,
    crashes::commit_that_failed_did_not_happen,
];

/// What became of one promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name, which is the sentence that has to hold.
    pub promise: &'static str,
    /// How it was broken; `None`: it was kept.
    pub violation: Option<String>,
    /// How long it took to find out.
    pub took: Duration,
}

/// What became of all promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of the run; the same seed makes the same choices.
    pub seed: u64,
    /// One for each promise.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.violations().next().is_none()
    }

    /// The promises that were broken.
    pub fn violations(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.violation.is_some())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance, seed {}", self.seed)?;
        for Outcome { promise, violation, took } in &self.outcomes {
            let ms = took.as_millis();
            match violation {
                None => writeln!(f, "  kept    {promise} ({ms} ms)")?,
                Some(how) => writeln!(f, "  BROKEN  {promise} ({ms} ms): {how}")?,
            }
        }
        Ok(())
    }
}

/// The names of all promises.
pub fn promises() -> impl Iterator<Item = &'static str> {
    PROMISES.iter().map(|(name, _)| *name)
}

/// Runs every promise, one after the other.
pub async fn run(harness: &dyn Harness, seed: u64) -> Report {
    run_only(harness, seed, |_name| true).await
}

/// Runs the promises that are wanted.
pub async fn run_only(harness: &dyn Harness, seed: u64, wanted: impl Fn(&str) -> bool) -> Report {
    let mut outcomes = Vec::new();
    for (promise, check) in PROMISES.iter().filter(|(name, _)| wanted(name)) {
        let started = Instant::now();
        let violation = one(harness, seed, promise, *check).await.err();
        if let Some(how) = &violation {
            tracing::warn!(promise, %how, "promise broken");
        }
        let violation = violation.map(|violation| violation.to_string());
        outcomes.push(Outcome { promise, violation, took: started.elapsed() });
    }
    Report { seed, outcomes }
}

async fn one(harness: &dyn Harness, seed: u64, promise: &str, check: Promise) -> Kept {
    let kept = async {
        let case = Case::new(harness, seed, promise).await?;
        check(&case).await
    };
    timeout(PROMISE_TIMEOUT, kept).await.unwrap_or_else(|_elapsed| {
        Err(Violation::new(format!("not decided after {} s", PROMISE_TIMEOUT.as_secs())))
    })
}
