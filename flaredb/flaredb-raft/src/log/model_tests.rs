//! The log against a model of it: whatever is appended, taken back, purged, skipped by a snapshot, collected and
//! reopened, in whatever order, the log holds what the model holds.

use std::{path::Path, sync::Arc};

use openraft::{
    RaftLogReader as _,
    entry::{RaftEntry as _, RaftPayload as _},
    storage::{IOFlushed, RaftLogStorage as _},
    type_config::TypeConfigExt as _,
};
use proptest::{prelude::*, sample::Index};

use super::{Engine, open, region::RegionLog, store::LogStore, writer};
use crate::{
    FatalHook, LogConfig, Metrics,
    entry::{Command, Entry, Payload},
    types::{CommittedLeaderId, LogId, TypeConfig, Vote},
};

const REGIONS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// Takes back some entries and appends others in their place.
    Append {
        region: Index,
        taken_back: usize,
        appended: usize,
        bytes: usize,
    },
    /// Purges some of the oldest entries.
    Purge {
        region: Index,
        upto: Index,
    },
    /// Installs a snapshot that is ahead of the log.
    Skip {
        region: Index,
        ahead: u64,
    },
    Vote {
        region: Index,
    },
    /// Removes the files that are not needed.
    Collect,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let region = || any::<Index>();
    prop_oneof![
        8 => (region(), 0..4usize, 1..20usize, 0..6000usize).prop_map(|(region, taken_back, appended, bytes)| {
            Step::Append { region, taken_back, appended, bytes }
        }),
        3 => (region(), any::<Index>()).prop_map(|(region, upto)| Step::Purge { region, upto }),
        1 => (region(), 1..50u64).prop_map(|(region, ahead)| Step::Skip { region, ahead }),
        1 => region().prop_map(|region| Step::Vote { region }),
        2 => Just(Step::Collect),
        2 => Just(Step::Reopen),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    purged: Option<LogId>,
    entries: Vec<Entry>,
    vote: Option<Vote>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id()).or(self.purged)
    }
}

struct Log {
    engine: Arc<Engine>,
    writer: writer::WriterHandle,
    thread: std::thread::JoinHandle<()>,
    regions: Vec<Arc<RegionLog>>,
}

impl Log {
    fn open(dir: &Path) -> Self {
        let (segment_bytes, retained_bytes) = (32 << 10, 128 << 10);
        let config =
            LogConfig { segment_bytes, retained_bytes, prefill_bytes: 64 << 10, cache_bytes_max: 8 << 10 };
        let engine = open(dir, &config).unwrap();
        let fatal = FatalHook::new(|error| panic!("{error}"));
        let (writer, thread) = writer::spawn(Arc::clone(&engine), fatal, Metrics::default()).unwrap();
        let region = |id| Arc::new(RegionLog::open(Arc::clone(&engine), id as u64, 8 << 10).unwrap());
        let regions = (0..REGIONS).map(region).collect();
        Self { engine, writer, thread, regions }
    }

    fn store(&self, region: usize) -> LogStore {
        LogStore::new(Arc::clone(&self.regions[region]), self.writer.clone())
    }

    async fn close(self) {
        self.writer.stop().await;
        self.thread.join().unwrap();
    }
}

struct Run {
    log: Option<Log>,
    dir: tempfile::TempDir,
    models: Vec<Model>,
    term: u64,
}

impl Run {
    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    async fn run(&mut self, step: Step) {
        self.term += 1;
        match step {
            Step::Append { region, taken_back, appended, bytes } => {
                self.append(region.index(REGIONS), taken_back, appended, bytes).await;
            }
            Step::Purge { region, upto } => {
                self.purge(region.index(REGIONS), |length| upto.index(length) + 1).await
            }
            Step::Skip { region, ahead } => self.skip(region.index(REGIONS), ahead).await,
            Step::Vote { region } => {
                let vote = Vote::new(self.term, 1);
                self.log().store(region.index(REGIONS)).save_vote(&vote).await.unwrap();
                self.models[region.index(REGIONS)].vote = Some(vote);
            }
            Step::Collect => drop(self.log().engine.collect().unwrap()),
            Step::Reopen => {
                self.log.take().unwrap().close().await;
                self.log = Some(Log::open(self.dir.path()));
            }
        }
    }

    async fn append(&mut self, region: usize, taken_back: usize, appended: usize, bytes: usize) {
        let mut store = self.log().store(region);
        let (term, model) = (self.term, &mut self.models[region]);
        let kept = model.entries.len().saturating_sub(taken_back);
        if kept < model.entries.len() {
            model.entries.truncate(kept);
            store.truncate_after(model.last()).await.unwrap();
        }
        let first = model.last().map_or(0, |last| last.index + 1);
        let log_id = |index| LogId::new(CommittedLeaderId { term, node_id: 1 }, index);
        let body = vec![1; bytes];
        let entry = |index| Entry::new(log_id(index), Payload::normal(Command::new(&body)));
        let entries: Vec<Entry> = (first..first + appended as u64).map(entry).collect();
        let (done, flushed) = TypeConfig::oneshot();
        store.append(entries.clone(), IOFlushed::signal(done)).await.unwrap();
        flushed.await.unwrap().unwrap();
        model.entries.extend(entries);
    }

    async fn purge(&mut self, region: usize, count: impl FnOnce(usize) -> usize) {
        let mut store = self.log().store(region);
        let model = &mut self.models[region];
        if model.entries.is_empty() {
            return;
        }
        let count = count(model.entries.len());
        model.purged = model.entries.drain(..count).last().map(|entry| entry.log_id());
        store.purge(model.purged.unwrap()).await.unwrap();
    }

    async fn skip(&mut self, region: usize, ahead: u64) {
        let mut store = self.log().store(region);
        let (term, model) = (self.term, &mut self.models[region]);
        let index = model.last().map_or(0, |last| last.index) + ahead;
        let purged = LogId::new(CommittedLeaderId { term, node_id: 1 }, index);
        store.purge(purged).await.unwrap();
        *model = Model { purged: Some(purged), entries: Vec::new(), vote: model.vote };
    }

    async fn check(&self) {
        for (region, model) in self.models.iter().enumerate() {
            let mut store = self.log().store(region);
            let state = store.get_log_state().await.unwrap();
            let found = Model {
                purged: state.last_purged_log_id,
                entries: store.try_get_log_entries(..).await.unwrap(),
                vote: store.read_vote().await.unwrap(),
            };
            assert_eq!(&found, model, "region {region}");
            assert_eq!(state.last_log_id, model.last());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn log_holds_what_its_model_holds(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let log = Some(Log::open(dir.path()));
            let mut run = Run { log, dir, models: vec![Model::default(); REGIONS], term: 0 };
            for step in steps {
                run.run(step).await;
                run.check().await;
            }
            run.run(Step::Reopen).await;
            run.check().await;
            run.log.take().unwrap().close().await;
        });
    }
}

#[tokio::test]
async fn purged_log_gives_its_files_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    let mut run = Run { log: Some(log), dir, models: vec![Model::default(); REGIONS], term: 0 };
    for _round in 0..40 {
        run.append(0, 0, 16, 4 << 10).await;
        // The other region hardly ever writes; its entries must not hold everything back.
        run.append(1, 0, 1, 10).await;
        run.purge(0, |length| length - 1).await;
        drop(run.log().engine.collect().unwrap());
    }
    let used = run.log().engine.used_bytes();
    assert!(used < 512 << 10, "{used} bytes are in use after 2.6 MB of purged entries");
    run.check().await;
    run.log.take().unwrap().close().await;
}
