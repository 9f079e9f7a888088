//! Promises about what is there after a crash, and about what an error says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::{join_all, try_join, try_join_all};

use super::case::{Case, Kept, Violation, all, commit, json, keep, plain, put};
use crate::{Commit, MetadataStore, Record, StoreError, Version};

/// Writers at a time.
const WRITERS: u32 = 4;
/// Commits of each writer.
const COMMITS: u32 = 40;
/// Commits after which what keeps the data is ended.
const CRASH_AFTER: u32 = WRITERS * COMMITS / 3;

/// Each with its value and its version, and versions go on rising.
pub(super) async fn acknowledged_commits_survive_a_crash(case: &Case<'_>) -> Kept {
    let mut newest = Version::ABSENT;
    for round in 0..3 {
        let writes = (0..20).map(|number| case.key(&format!("{round}-{number}")));
        let writing = writes.map(|key| async move {
            let version = case_put(case, &key).await?;
            Ok::<_, Violation>(Record { value: json(&key), key, version })
        });
        // Those of one round may be in one write; the last one is alone, and is the last thing before the crash.
        let mut acknowledged = try_join_all(writing).await?;
        let last = case.key(&format!("{round}-last"));
        let version = case_put(case, &last).await?;
        acknowledged.push(Record { value: json(&last), key: last, version });
        case.harness.crash().await?;
        let store = case.connect().await?;
        let found = all(store.as_ref(), &case.folder, 0).await?;
        let lost = acknowledged.iter().find(|record| !found.contains(record));
        keep!(lost.is_none(), "{lost:?} was acknowledged, and is not there after the crash");
        newest = acknowledged.iter().map(|record| record.version).max().unwrap_or(newest);
        let next = commit(store.as_ref(), plain(vec![put(&case.key("next"), "x")])).await?;
        keep!(next > newest, "revision {next} after the crash, {newest} was acknowledged before it");
    }
    Ok(())
}

async fn case_put(case: &Case<'_>, key: &str) -> Result<Version, Violation> {
    let store = case.connect().await?;
    Ok(commit(store.as_ref(), plain(vec![put(key, key)])).await?)
}

/// A commit that was answered.
struct Sent {
    commit: Commit,
    key: String,
    answer: Result<Version, StoreError>,
}

/// An error says that a commit did not happen only when it did not; where it is not known, the same commit sent
/// again finds out. Under a crash, where errors come from.
pub(super) async fn commit_that_failed_did_not_happen(case: &Case<'_>) -> Kept {
    let count = AtomicU32::new(0);
    let writers = (0..WRITERS).map(|writer| write(case, writer, &count));
    let crash = async {
        while count.load(Ordering::Relaxed) < CRASH_AFTER {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, Violation>(case.harness.crash().await?)
    };
    let writing = async { Ok(join_all(writers).await) };
    let (sent, ()) = try_join(writing, crash).await?;
    let store = case.connect().await?;
    let found = all(store.as_ref(), &case.folder, 0).await?;
    for Sent { commit: sent, key, answer } in sent.into_iter().flatten() {
        let version = found.iter().find(|record| record.key == key).map(|record| record.version);
        match answer {
            Ok(acknowledged) => {
                keep!(
                    version == Some(acknowledged),
                    "{key}: acknowledged at {acknowledged}, found {version:?}"
                );
            }
            Err(error) if error.may_have_happened() => resolved(store.as_ref(), sent, version).await?,
            Err(error) => keep!(version.is_none(), "{key}: did not happen ({error}), found {version:?}"),
        }
    }
    Ok(())
}

async fn write(case: &Case<'_>, writer: u32, count: &AtomicU32) -> Vec<Sent> {
    let mut sent = Vec::new();
    let mut store: Option<Arc<dyn MetadataStore>> = None;
    for number in 0..COMMITS {
        count.fetch_add(1, Ordering::Relaxed);
        let key = case.key(&format!("{writer}-{number}"));
        let commit = Commit::put(&key, json("x"), Version::ABSENT);
        let Some(connected) = &store else {
            store = case.harness.connect().await.ok();
            continue;
        };
        let answer = connected.commit(commit.clone()).await;
        if answer.is_err() {
            store = None;
        }
        sent.push(Sent { commit, key, answer });
    }
    sent
}

/// Sent again, a commit that has happened answers the revision that it made, and one that has not happens now.
async fn resolved(store: &dyn MetadataStore, sent: Commit, before: Option<Version>) -> Kept {
    let answer = commit(store, sent.clone()).await?;
    keep!(before.is_none_or(|before| before == answer), "found {before:?}, sent again it made {answer}");
    let again = commit(store, sent).await?;
    keep!(answer == again, "sent twice again it made {answer} and {again}");
    Ok(())
}
