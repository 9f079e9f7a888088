//! The list-watch cache over the embedded backend, through crashes and forgotten history.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use metadata_store::{
    Cache, CacheLimits, Commit, MetadataStore, Page, Record, StoreError, Token, Version, Watch, Write,
    conformance::Harness as _,
};

use crate::harness::Embedded;

const SOON: Duration = Duration::from_secs(20);
const FOLDER: &str = "/suite/cached/";

/// Whatever store lives at the moment, as a client of a cluster would find it.
#[derive(Clone)]
struct Living(Arc<Embedded>, Arc<Mutex<bool>>);

impl Living {
    async fn store(&self) -> Result<Arc<dyn MetadataStore>, StoreError> {
        if *self.1.lock().unwrap() {
            return Err(StoreError::unavailable("kept away"));
        }
        self.0.connect().await.map_err(StoreError::unavailable)
    }

    fn keep_away(&self, away: bool) {
        *self.1.lock().unwrap() = away;
    }
}

#[async_trait]
impl MetadataStore for Living {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        self.store().await?.get(key, at_least).await
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        self.store().await?.scan(prefix, limit, token).await
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        self.store().await?.commit(commit).await
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        self.store().await?.watch(prefix, from).await
    }
}

async fn living() -> Living {
    Living(Arc::new(Embedded::start().await), Arc::default())
}

fn cache(store: &Living, limits: CacheLimits) -> Cache {
    Cache::start(Arc::new(store.clone()), FOLDER, limits)
}

async fn write(store: &Embedded, names: &[&str], value: &'static str) -> Version {
    let put = |name: &&str| Write::Put {
        key: format!("{FOLDER}{name}"),
        value: Bytes::from_static(value.as_bytes()),
    };
    let commit = Commit { writes: names.iter().map(put).collect(), ..Commit::default() };
    store.connect().await.unwrap().commit(commit).await.unwrap()
}

fn names(cache: &Cache) -> Vec<String> {
    cache.snapshot().under(FOLDER).map(|record| record.key.replace(FOLDER, "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_has_what_was_there_and_what_comes() {
    let store = living().await;
    write(&store.0, &["a", "b"], "1").await;
    let cache = cache(&store, CacheLimits::default());
    assert!(cache.wait_for(Version::ABSENT, SOON).await, "the first list");
    assert_eq!(names(&cache), ["a", "b"]);
    let version = write(&store.0, &["c"], "1").await;
    assert!(cache.wait_for(version, SOON).await);
    assert_eq!(names(&cache), ["a", "b", "c"]);
    let deleted = store.compare_and_delete(&format!("{FOLDER}c"), version).await.unwrap();
    assert!(cache.wait_for(deleted, SOON).await);
    assert_eq!(names(&cache), ["a", "b"]);
    let staleness = cache.staleness();
    assert!(staleness.fresh_at.is_some() && staleness.problem.is_none(), "{staleness:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reader_never_sees_half_a_revision() {
    let store = living().await;
    let names = ["a", "b", "c", "d"];
    let cache = Arc::new(cache(&store, CacheLimits::default()));
    let reading = Arc::clone(&cache);
    let reader = tokio::task::spawn_blocking(move || {
        while reading.snapshot().get(&format!("{FOLDER}end")).is_none() {
            let snapshot = reading.snapshot();
            let mut records = snapshot.under(FOLDER).filter(|record| !record.key.ends_with("end"));
            let first = records.next().map(|record| record.version);
            assert!(records.all(|record| Some(record.version) == first), "{snapshot:?}");
        }
    });
    for _ in 0..200 {
        write(&store.0, &names, "1").await;
    }
    write(&store.0, &["end"], "1").await;
    tokio::time::timeout(SOON, reader).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_goes_on_after_a_crash_and_says_that_it_was_alone() {
    let store = living().await;
    let first = write(&store.0, &["a"], "1").await;
    let cache = cache(&store, CacheLimits::default());
    assert!(cache.wait_for(first, SOON).await);
    store.keep_away(true);
    store.0.crash().await.unwrap();
    let missed = write(&store.0, &["b"], "1").await;
    while cache.staleness().problem.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&cache), ["a"], "it answers from what it has");
    store.keep_away(false);
    assert!(cache.wait_for(missed, SOON).await);
    assert_eq!(names(&cache), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_lists_anew_when_what_it_missed_is_forgotten() {
    let store = living().await;
    let first = write(&store.0, &["a", "gone"], "1").await;
    let cache = cache(&store, CacheLimits::default());
    assert!(cache.wait_for(first, SOON).await);
    store.keep_away(true);
    store.0.crash().await.unwrap();
    let live = store.0.connect().await.unwrap();
    live.compare_and_delete(&format!("{FOLDER}gone"), first).await.unwrap();
    let missed = write(&store.0, &["b"], "1").await;
    store.0.compact(missed).await.unwrap();
    store.keep_away(false);
    assert!(cache.wait_for(missed, SOON).await);
    assert_eq!(names(&cache), ["a", "b"], "what was deleted meanwhile is not here");
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_that_is_full_stays_as_it_was_and_says_so() {
    let store = living().await;
    let first = write(&store.0, &["a", "b"], "1").await;
    let cache = cache(&store, CacheLimits { records_max: 2, ..CacheLimits::default() });
    assert!(cache.wait_for(first, SOON).await);
    let more = write(&store.0, &["c"], "1").await;
    let problem = loop {
        match cache.staleness().problem {
            Some(problem) => break problem,
            None => tokio::task::yield_now().await,
        }
    };
    assert!(problem.starts_with("3 records are more"), "{problem}");
    assert_eq!(names(&cache), ["a", "b"]);
    store.compare_and_delete(&format!("{FOLDER}c"), more).await.unwrap();
    assert!(cache.wait_for(more.next(), SOON).await, "it fits again");
}
