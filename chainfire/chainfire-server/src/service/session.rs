//! One stream of watches: what its client asks for, and what it is sent.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use chainfire_proto::{
    KeyRange,
    etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion as Asked},
};
use chainfire_store::{StoreError, internal::Caller, refusal};
use flaredb_node::Counted;
use flaredb_raft::Leadership;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, interval_at, timeout},
};
use tonic::{Status, Streaming};

use super::watcher::Watcher;
use crate::{api::Api, recent::Batch, status};

/// How often watches that asked for it are told the revision while nothing happens, as etcd's default.
const PROGRESS_EVERY: Duration = Duration::from_secs(600);
/// A client that requires a leader is told when there has been none for this long.
const LEADER_PATIENCE: Duration = Duration::from_secs(3);
/// Events that wait to be sent on one stream, but for those of one more watch.
const EVENTS_MAX: usize = 16_384;
/// What names no watch.
const NO_WATCH: i64 = -1;

/// An open watch, and its place among those that may be open.
struct Open {
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
    _counted: Counted,
}

/// One stream of watches.
pub(super) struct Session {
    api: Api,
    caller: Caller,
    requests: Streaming<WatchRequest>,
    watches: BTreeMap<i64, Open>,
    next_id: i64,
    changes: watch::Receiver<()>,
    leadership: Option<watch::Receiver<Leadership>>,
    ready: VecDeque<WatchResponse>,
    /// The client wants to know the revision that all its watches have got to.
    progress_asked: bool,
    progress: tokio::time::Interval,
}

/// Why a session woke.
enum Wake {
    Asked(Option<WatchRequest>),
    Changed,
    Progress,
}

impl Session {
    pub(super) fn new(
        api: Api,
        caller: Caller,
        requests: Streaming<WatchRequest>,
        requires_leader: bool,
    ) -> Self {
        let leadership = requires_leader.then(|| api.leadership.clone());
        Self {
            caller,
            requests,
            watches: BTreeMap::new(),
            next_id: 0,
            changes: api.changes.subscribe(),
            leadership,
            ready: VecDeque::new(),
            progress_asked: false,
            progress: interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY),
            api,
        }
    }

    /// The next thing to send; `None` once the client has no more to ask and nothing to wait for.
    pub(super) async fn next(&mut self) -> Result<Option<WatchResponse>, Status> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Ok(Some(response));
            }
            // Seen before the read: a change during the read wakes the wait behind it.
            self.changes.mark_unchanged();
            if self.read().await? {
                continue;
            }
            self.answer_progress();
            if !self.ready.is_empty() {
                continue;
            }
            match self.wait().await? {
                Wake::Asked(None) => return Ok(None),
                Wake::Asked(Some(request)) => self.answer(request),
                Wake::Changed => {}
                Wake::Progress => self.report_progress(),
            }
        }
    }

    /// Reads what the watches that are furthest behind have not got; whether there was something to read.
    async fn read(&mut self) -> Result<bool, Status> {
        let revision = self.api.store.revision();
        let behind = self.watches.values().map(|open| open.watcher.next()).min();
        let Some(from) = behind.filter(|next| *next <= revision) else { return Ok(false) };
        match self.api.recent.read(from).await {
            Ok(batch) => {
                self.deliver(from, &batch).await?;
                Ok(batch.next > from)
            }
            Err(StoreError::Refused(refusal)) if refusal == refusal::COMPACTED => {
                self.cancel_compacted()?;
                Ok(true)
            }
            Err(error) => Err(status::unreadable(error)),
        }
    }

    /// Hands a batch that begins at `from` to the watches that are within it, as many as have room for their events;
    /// the others are still behind and come next.
    async fn deliver(&mut self, from: i64, batch: &Batch) -> Result<(), Status> {
        let (header, mut waiting) = (self.api.header_now(), 0);
        for (id, open) in &mut self.watches {
            if !(from..batch.next).contains(&open.watcher.next()) {
                continue;
            }
            if waiting > EVENTS_MAX {
                break;
            }
            let events = open.watcher.take(batch);
            let events = open.watcher.with_previous(&self.api, events).await?;
            waiting += events.len();
            self.ready.extend(open.watcher.responses(*id, &header, events));
        }
        Ok(())
    }

    /// Ends the watches whose next revision is forgotten.
    fn cancel_compacted(&mut self) -> Result<(), Status> {
        let compacted = self.api.store.compacted().map_err(status::unreadable)?;
        let header = self.api.header_now();
        let lost = self.watches.extract_if(.., |_, open| open.watcher.next() < compacted);
        let cancelled = lost.map(|(watch_id, _)| WatchResponse {
            header: Some(header),
            watch_id,
            canceled: true,
            compact_revision: compacted,
            cancel_reason: refusal::COMPACTED.message.into_owned(),
            ..WatchResponse::default()
        });
        self.ready.extend(cancelled);
        Ok(())
    }

    async fn wait(&mut self) -> Result<Wake, Status> {
        let Self { api, requests, changes, leadership, progress, .. } = self;
        tokio::select! {
            () = api.node.stop.cancelled() => Err(status::refused(refusal::STOPPED)),
            asked = requests.message() => Ok(Wake::Asked(asked?)),
            _changed = changes.changed() => Ok(Wake::Changed),
            _tick = progress.tick() => Ok(Wake::Progress),
            () = leaderless(leadership) => Err(status::refused(refusal::NO_LEADER)),
        }
    }

    fn answer(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(Asked::CreateRequest(create)) => self.create(create),
            Some(Asked::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(Asked::ProgressRequest(_)) => self.progress_asked = true,
            None => {}
        }
    }

    fn create(&mut self, request: WatchCreateRequest) {
        // Said as it is meant: a client that is cut off goes on from the revision that it was told.
        let revision = self.api.store.revision();
        let watcher = Watcher::new(&request, revision);
        match self.admit(&request, &watcher) {
            Ok((id, place)) => {
                self.ready.push_back(self.created(id, revision));
                let counted = self.api.metrics.watcher();
                self.watches.insert(id, Open { watcher, _place: place, _counted: counted });
            }
            Err(reason) => {
                let refused = WatchResponse {
                    canceled: true,
                    cancel_reason: reason,
                    ..self.created(NO_WATCH, revision)
                };
                self.ready.push_back(refused);
            }
        }
    }

    /// The number of a new watch and its place, or why there is none.
    fn admit(
        &mut self,
        request: &WatchCreateRequest,
        watcher: &Watcher,
    ) -> Result<(i64, OwnedSemaphorePermit), String> {
        let range: &KeyRange = watcher.range();
        if range.is_empty() {
            return Err("mvcc: watcher range is empty".to_owned());
        }
        let auth = self.api.store.auth().map_err(|error| error.to_string())?;
        auth.may_read(&self.caller, range).map_err(|refusal| refusal.to_string())?;
        let place = self.api.watches.enter_owned().map_err(|busy| busy.to_string())?;
        if request.watch_id != 0 && self.watches.contains_key(&request.watch_id) {
            return Err("mvcc: duplicate watch ID provided on the WatchStream".to_owned());
        }
        Ok((if request.watch_id == 0 { self.free_id() } else { request.watch_id }, place))
    }

    fn free_id(&mut self) -> i64 {
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn created(&self, watch_id: i64, revision: i64) -> WatchResponse {
        let header = Some(self.api.header(revision));
        WatchResponse { header, watch_id, created: true, ..WatchResponse::default() }
    }

    fn cancel(&mut self, watch_id: i64) {
        if self.watches.remove(&watch_id).is_some() {
            let header = Some(self.api.header_now());
            self.ready.push_back(WatchResponse {
                header,
                watch_id,
                canceled: true,
                ..WatchResponse::default()
            });
        }
    }

    /// Answers a request for progress once all watches have got everything.
    fn answer_progress(&mut self) {
        let header = self.api.header_now();
        if self.progress_asked && self.watches.values().all(|open| open.watcher.next() > header.revision) {
            self.progress_asked = false;
            self.ready.push_back(WatchResponse {
                header: Some(header),
                watch_id: NO_WATCH,
                ..WatchResponse::default()
            });
        }
    }

    /// Tells watches that had nothing to say for a whole interval how far they are.
    fn report_progress(&mut self) {
        let header = self.api.header_now();
        for (id, open) in &mut self.watches {
            if open.watcher.progress_is_due() && open.watcher.next() > header.revision {
                let header = Some(header);
                self.ready.push_back(WatchResponse { header, watch_id: *id, ..WatchResponse::default() });
            }
        }
    }
}

/// Ends once nobody has led for a while; never without anybody to ask.
async fn leaderless(leadership: &mut Option<watch::Receiver<Leadership>>) {
    let Some(leadership) = leadership else { return std::future::pending().await };
    loop {
        let led = |known: &Leadership| known.leader.is_some();
        if leadership.wait_for(|known| !led(known)).await.is_err() {
            return;
        }
        if timeout(LEADER_PATIENCE, leadership.wait_for(led)).await.is_err() {
            return;
        }
    }
}
