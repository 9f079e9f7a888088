//! Replicas compare what they hold.
//!
//! An audit's entry is the same in every log, whatever else stands there: a [`FlareRequest`] whose first byte no other
//! command has. The leader puts one into the log now and then. Each replica takes a view of its rows where the audit stands in
//! the log, so all views are of the same state, and hashes the next part of them beside everything else. The leader
//! collects the hashes; when some differ, what most voters found goes into the log as the verdict, and a replica that
//! found something else puts itself under quarantine. One audit covers a bounded number of bytes, and the next one goes
//! on behind it, so the cost does not grow with the data.

mod lead;
mod peers;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use flaredb_engine::Snapshot;
use flaredb_proto::v1::{AuditState, AuditVerdict, FlareRequest, flare_request::Command};
use prost::Message as _;
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

pub(crate) use self::lead::lead;
pub use self::{
    lead::Schedule,
    peers::{Answers, AuditsService},
};
use crate::{metrics::Metrics, quarantine::Quarantine};

/// The first byte of an encoded audit and of an encoded verdict: the number of the field and its kind.
const TAGS: [u8; 2] = [(11 << 3) | 2, (12 << 3) | 2];
/// The rest after each MiB: at most 50 MiB/s are read.
const PAUSE: Duration = Duration::from_millis(20);
/// Audits that are remembered.
const REMEMBERED: usize = 16;
/// How long a replica may take to get to an audit and hash its part.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether an encoded command is an audit or a verdict.
pub fn is_audit(command: &[u8]) -> bool {
    command.first().is_some_and(|tag| TAGS.contains(tag))
}

/// What a replica found at an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// SHA-256 of the part.
    pub hash: [u8; 32],
    /// Where the next part starts; `None`: this was the last.
    pub next: Option<Vec<u8>>,
}

/// One audit, as far as it is known here.
#[derive(Debug, Default)]
struct Audit {
    own: Option<Finding>,
    verdict: Option<Bytes>,
}

/// A part that is to be hashed.
#[derive(Debug)]
struct Part {
    index: u64,
    view: Snapshot,
    audit: AuditState,
}

/// This replica's side of the audits.
#[derive(Debug)]
pub struct Auditor {
    quarantine: Arc<Quarantine>,
    metrics: Metrics,
    audits: Mutex<BTreeMap<u64, Audit>>,
    /// The last audit of which this replica has hashed its part.
    hashed: watch::Sender<u64>,
    /// The part that is hashed next. A newer one takes its place: the leader waits for the newest, and a replica that
    /// starts again meets all that are still in its log at once.
    waiting: Mutex<Option<Part>>,
    arrived: Notify,
}

impl Auditor {
    /// An auditor that has seen no audit.
    pub fn new(quarantine: Arc<Quarantine>, metrics: Metrics) -> Self {
        Self {
            quarantine,
            metrics,
            audits: Mutex::default(),
            hashed: watch::Sender::new(0),
            waiting: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Takes an audit or a verdict out of the log, where `state` is what was applied up to it.
    pub fn reached(&self, index: u64, command: &[u8], state: &flaredb_engine::Region) {
        match FlareRequest::decode(command).map(|request| request.command) {
            Ok(Some(Command::AuditState(audit))) => match state.snapshot() {
                Ok(view) => {
                    *self.waiting() = Some(Part { index, view, audit });
                    self.arrived.notify_one();
                }
                Err(error) => tracing::warn!(index, %error, "no view for an audit"),
            },
            Ok(Some(Command::AuditVerdict(AuditVerdict { index, hash }))) => {
                self.note(index, |audit| audit.verdict = Some(hash));
            }
            _ => {}
        }
    }

    /// Hashes the parts, one after the other, for as long as it is polled.
    pub async fn work(self: Arc<Self>) {
        loop {
            let next = self.waiting().take();
            let Some(Part { index, view, audit }) = next else {
                self.arrived.notified().await;
                continue;
            };
            let hash = move || view.hash_part(&audit.cursor, audit.bytes_max, PAUSE);
            match tokio::task::spawn_blocking(hash).await {
                Ok(Ok((hash, next))) => {
                    self.note(index, |audit| audit.own = Some(Finding { hash, next }));
                    self.metrics.audited();
                    self.hashed.send_replace(index);
                }
                Ok(Err(error)) => tracing::error!(index, %error, "the rows of an audit cannot be read"),
                Err(error) => tracing::error!(index, %error, "the hashing of an audit ended"),
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Part>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the replica is not to be trusted.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.quarantine.is_active()
    }

    /// The last audit of which this replica has hashed its part; 0: none.
    pub fn last(&self) -> u64 {
        *self.hashed.borrow()
    }

    /// What this replica finds at an audit; `None` if it does not within its time.
    pub async fn finding(&self, index: u64) -> Option<Finding> {
        let mut hashed = self.hashed.subscribe();
        let found = async {
            loop {
                hashed.mark_unchanged();
                if let Some(found) = self.audits().get(&index).and_then(|audit| audit.own.clone()) {
                    return Some(found);
                }
                hashed.changed().await.ok()?;
            }
        };
        timeout(PATIENCE, found).await.ok().flatten()
    }

    fn audits(&self) -> MutexGuard<'_, BTreeMap<u64, Audit>> {
        self.audits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, index: u64, change: impl FnOnce(&mut Audit)) {
        let mut audits = self.audits();
        let audit = audits.entry(index).or_default();
        change(audit);
        let differs = difference(index, audit);
        while audits.len() > REMEMBERED {
            audits.pop_first();
        }
        drop(audits);
        if let Some(reason) = differs.filter(|_| self.quarantine.reason().is_none()) {
            self.quarantine.begin(reason);
        }
    }
}

/// Why this replica is wrong, if it found something else than the verdict says.
fn difference(index: u64, audit: &Audit) -> Option<String> {
    let (own, verdict) = (audit.own.as_ref()?, audit.verdict.as_ref()?);
    (own.hash[..] != verdict[..]).then(|| {
        let (own, others) = (hex(&own.hash), hex(verdict));
        format!(
            "at log index {index} this replica's rows have the hash {own}…, those of most others {others}…"
        )
    })
}

/// The beginning of a hash, for people.
fn hex(hash: &[u8]) -> String {
    hash.iter().take(6).fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use flaredb_engine::{Engine, Options, RegionId};

    use super::*;

    fn finding(hash: u8) -> Finding {
        Finding { hash: [hash; 32], next: None }
    }

    fn auditor(folder: &std::path::Path) -> Auditor {
        Auditor::new(Arc::new(Quarantine::open(folder).unwrap()), Metrics::default())
    }

    #[test]
    fn audits_and_verdicts_are_known_by_their_first_byte() {
        let encoded = |command| FlareRequest { command: Some(command) }.encode_to_vec();
        assert!(is_audit(&encoded(Command::AuditState(AuditState { cursor: "c".into(), bytes_max: 1 }))));
        assert!(is_audit(&encoded(Command::AuditState(AuditState::default()))));
        assert!(is_audit(&encoded(Command::AuditVerdict(AuditVerdict::default()))));
        assert!(!is_audit(&encoded(Command::CasPut(Default::default()))) && !is_audit(b""));
    }

    #[test]
    fn replica_that_found_something_else_is_quarantined_whichever_comes_first() {
        for verdict_first in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let auditor = auditor(folder.path());
            let verdict = |audit: &mut Audit| audit.verdict = Some(vec![1; 32].into());
            if verdict_first {
                auditor.note(5, verdict);
                auditor.note(5, |audit| audit.own = Some(finding(2)));
            } else {
                auditor.note(5, |audit| audit.own = Some(finding(2)));
                auditor.note(5, verdict);
            }
            let reason = auditor.quarantine.reason().unwrap();
            assert!(reason.contains("log index 5") && reason.contains("020202020202…"), "{reason}");
        }
    }

    #[tokio::test]
    async fn of_audits_that_are_met_at_once_the_newest_is_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(&folder.path().join("state"), Options::default()).unwrap();
        let state = engine.region(RegionId(1)).unwrap();
        let auditor = Arc::new(auditor(folder.path()));
        let command = Some(Command::AuditState(AuditState { bytes_max: 1 << 20, ..AuditState::default() }));
        let command = FlareRequest { command }.encode_to_vec();
        (5..=7).for_each(|index| auditor.reached(index, &command, &state));
        tokio::select! {
            () = Arc::clone(&auditor).work() => {}
            found = auditor.finding(7) => assert!(found.is_some()),
        }
        assert_eq!(auditor.audits().keys().copied().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn replica_that_agrees_goes_on_and_remembers_a_bounded_number() {
        let folder = tempfile::tempdir().unwrap();
        let auditor = auditor(folder.path());
        for index in 0..100 {
            auditor.note(index, |audit| audit.own = Some(finding(3)));
            auditor.note(index, |audit| audit.verdict = Some(vec![3; 32].into()));
        }
        assert!(auditor.quarantine.reason().is_none());
        assert_eq!(auditor.audits().len(), REMEMBERED);
    }
}
