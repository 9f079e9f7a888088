//! What a follower asks and tells, over a store that answers by script and notes what it was asked.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use tokio::task::yield_now;

use super::*;
use crate::{Commit, Event, Record};

type Revisions = Vec<Result<Revision, StoreError>>;

#[derive(Default)]
struct Scripted(Mutex<Script>);

#[derive(Default)]
struct Script {
    pages: VecDeque<Result<Page, StoreError>>,
    /// Each with whether it ends after its last revision.
    watches: VecDeque<Result<(Revisions, bool), StoreError>>,
    asked: Vec<String>,
}

impl Scripted {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script().asked)
    }
}

#[async_trait]
impl MetadataStore for Scripted {
    async fn get(&self, _key: &str, _at_least: Version) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }

    async fn scan(&self, prefix: &str, _limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        yield_now().await;
        let from = token.map_or(prefix.as_bytes(), |token| &token.start);
        let mut script = self.script();
        script.asked.push(format!("scan {}", String::from_utf8_lossy(from)));
        script.pages.pop_front().unwrap_or_else(|| Err(away()))
    }

    async fn commit(&self, _commit: Commit) -> Result<Version, StoreError> {
        Err(away())
    }

    async fn watch(&self, _prefix: &str, from: Version) -> Result<Watch, StoreError> {
        yield_now().await;
        let mut script = self.script();
        script.asked.push(format!("watch {from}"));
        let (revisions, ends) = script.watches.pop_front().unwrap_or_else(|| Ok((Vec::new(), false)))?;
        let revisions = stream::iter(revisions).then(|revision| async {
            yield_now().await;
            revision
        });
        Ok(if ends { revisions.boxed() } else { revisions.chain(stream::pending()).boxed() })
    }
}

fn away() -> StoreError {
    StoreError::unavailable("away")
}

fn too_old() -> StoreError {
    StoreError::TooOld { requested: Version(8), oldest: Version(20) }
}

fn page(revision: u64, next: Option<&str>) -> Page {
    let revision = Version(revision);
    let next = next.map(|start| Token { revision, start: start.into() });
    Page { records: Vec::new(), revision, next }
}

fn revision(version: u64) -> Revision {
    let event = Event { key: "/f/a".to_owned(), value: Some(Bytes::new()), previous: Version::ABSENT };
    Revision { version: Version(version), events: vec![event] }
}

fn progress(version: u64) -> Revision {
    Revision { version: Version(version), events: Vec::new() }
}

fn follow(script: Script) -> (Arc<Scripted>, Follow) {
    let store = Arc::new(Scripted(Mutex::new(script)));
    (Arc::clone(&store), Follow::new(store, "/f/"))
}

/// The next updates in short: pages with `+` when more follow, revisions by number, losses by their reason.
async fn told(follow: &mut Follow, updates: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..updates {
        told.push(short(&follow.next().await));
    }
    told
}

fn short(update: &Update) -> String {
    match update {
        Update::Page(page) => format!("page {}{}", page.revision, page.next.as_ref().map_or("", |_| "+")),
        Update::Revision(revision) => format!("revision {}", revision.version),
        Update::Lost(lost) => lost.to_string(),
    }
}

const AWAY: &str = "the metadata store is unavailable";

#[tokio::test]
async fn watch_begins_after_the_revision_of_the_list() {
    let (store, mut follow) = follow(Script {
        pages: [Ok(page(7, Some("/f/b"))), Ok(page(7, None))].into(),
        watches: [Ok((vec![Ok(revision(9))], false))].into(),
        ..Script::default()
    });
    assert_eq!(told(&mut follow, 3).await, ["page 7+", "page 7", "revision 9"]);
    assert_eq!(store.asked(), ["scan /f/", "scan /f/b", "watch 8"]);
}

#[tokio::test]
async fn watch_is_resumed_after_the_last_revision_that_was_delivered() {
    let (store, mut follow) = follow(Script {
        pages: [Ok(page(7, None))].into(),
        watches: [
            Ok((vec![Ok(revision(9)), Ok(progress(12))], true)),
            Err(away()),
            Ok((vec![Err(away())], true)),
            Ok((vec![Ok(revision(13))], false)),
        ]
        .into(),
        ..Script::default()
    });
    let wanted = ["page 7", "revision 9", "revision 12", "the watch ended", AWAY, AWAY, "revision 13"];
    assert_eq!(told(&mut follow, wanted.len()).await, wanted);
    assert_eq!(store.asked(), ["scan /f/", "watch 8", "watch 13", "watch 13", "watch 13"]);
}

#[tokio::test]
async fn what_was_forgotten_is_listed_anew() {
    let (store, mut follow) = follow(Script {
        pages: [Ok(page(7, None)), Ok(page(20, Some("/f/b"))), Err(too_old()), Ok(page(30, None))].into(),
        watches: [Err(too_old()), Ok((vec![Ok(revision(31))], false))].into(),
        ..Script::default()
    });
    let lost = too_old().to_string();
    let wanted = ["page 7", &lost, "page 20+", &lost, "page 30", "revision 31"];
    assert_eq!(told(&mut follow, wanted.len()).await, wanted);
    assert_eq!(store.asked(), ["scan /f/", "watch 8", "scan /f/", "scan /f/b", "scan /f/", "watch 31"]);
}

#[tokio::test]
async fn follower_that_cannot_take_it_gets_everything_anew_after_a_pause() {
    let (store, mut follow) = follow(Script {
        pages: [Ok(page(7, None)), Ok(page(9, None))].into(),
        watches: [Ok((vec![Ok(revision(9))], false))].into(),
        ..Script::default()
    });
    assert_eq!(told(&mut follow, 2).await, ["page 7", "revision 9"]);
    follow.list_anew();
    assert!(matches!(follow.step, Step::Pausing(_)));
    assert_eq!(told(&mut follow, 1).await, ["page 9"]);
    assert_eq!(store.asked(), ["scan /f/", "watch 8", "scan /f/"]);
}

#[tokio::test]
async fn silent_watch_is_taken_for_dead_but_only_while_somebody_waits() {
    let (store, mut follow) = follow(Script {
        pages: [Ok(page(7, None))].into(),
        watches: [Ok((vec![Ok(revision(8)), Ok(revision(9))], false))].into(),
        ..Script::default()
    });
    assert_eq!(told(&mut follow, 2).await, ["page 7", "revision 8"]);
    assert!(matches!(follow.step, Step::Watching(_, None)), "a busy follower is no silence");
    assert_eq!(told(&mut follow, 1).await, ["revision 9"]);
    follow.silence_max = Duration::from_millis(20);
    assert_eq!(told(&mut follow, 1).await, ["the watch fell silent"]);
    assert_eq!(store.asked(), ["scan /f/", "watch 8"]);
}

#[tokio::test]
async fn pauses_grow_until_a_revision_comes() {
    let (_store, mut follow) = follow(Script {
        pages: [Err(away()), Err(away()), Ok(page(7, None))].into(),
        watches: [Ok((vec![Ok(revision(8))], false))].into(),
        ..Script::default()
    });
    let mut pauses_ms = Vec::new();
    for wanted in [AWAY, AWAY, "page 7", "revision 8"] {
        assert_eq!(told(&mut follow, 1).await, [wanted]);
        pauses_ms.push(follow.pause_ms);
    }
    assert_eq!(pauses_ms, [100, 200, 200, 50]);
    (0..20).for_each(|_| follow.pause());
    assert_eq!(follow.pause_ms, PAUSE_MS.1);
}

#[tokio::test]
async fn progress_of_a_replica_that_is_behind_does_not_turn_back() {
    let (_store, mut follow) = follow(Script {
        pages: [Ok(page(7, None))].into(),
        watches: [Ok((vec![Ok(progress(5)), Ok(progress(8)), Ok(progress(6))], true))].into(),
        ..Script::default()
    });
    let wanted = ["page 7", "revision 7", "revision 8", "revision 8", "the watch ended"];
    assert_eq!(told(&mut follow, wanted.len()).await, wanted);
}

#[tokio::test]
async fn call_that_is_dropped_loses_nothing() {
    let (store, mut follow) = follow(Script {
        pages: [Ok(page(7, Some("/f/b"))), Ok(page(7, None))].into(),
        watches: [Ok((vec![Ok(revision(8))], true)), Ok((vec![Ok(revision(9))], false))].into(),
        ..Script::default()
    });
    let wanted = ["page 7+", "page 7", "revision 8", "the watch ended", "revision 9"];
    let (mut told, mut dropped) = (Vec::new(), 0);
    while told.len() < wanted.len() {
        match follow.next().now_or_never() {
            Some(update) => told.push(short(&update)),
            None => dropped += 1,
        }
        yield_now().await;
    }
    assert_eq!(told, wanted);
    assert!(dropped >= wanted.len());
    assert_eq!(store.asked(), ["scan /f/", "scan /f/b", "watch 8", "watch 9"]);
}
