//! A replica that was found to differ from the others: it serves nothing, and says so, until it is replaced.
//!
//! The log that it has is right, so it goes on to replicate and to vote; what it made of the log is not, so it answers
//! no read, leads no write, and does not stand for election. A restart does not cure it: the quarantine is a file in
//! the data folder. It ends when the node is removed and a new one is added with an empty folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use flaredb_raft::Group;
use photon_runtime::Condition;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{identity, metrics::Metrics};

const FILE: &str = "quarantine.json";
/// How often a quarantined leader tries to hand over.
const EVERY: Duration = Duration::from_secs(1);

/// The replica differs from the others; the caller should ask another node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this node is quarantined: {0}")]
pub struct Quarantined(pub String);

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    since_s: u64,
    reason: String,
}

/// Whether this node's replica is to be trusted.
#[derive(Debug)]
pub struct Quarantine {
    folder: PathBuf,
    reason: watch::Sender<Option<String>>,
    /// Whether there is a reason: looked at by every call.
    active: AtomicBool,
}

impl Quarantine {
    /// Reads what an earlier run has found.
    ///
    /// # Errors
    /// When the file cannot be read. One that is damaged counts as a quarantine.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let reason = match fs::read(folder.join(FILE)) {
            Ok(text) => Some(serde_json::from_slice(&text).map_or_else(
                |damaged| format!("{FILE} is there and cannot be read: {damaged}"),
                |mark: Mark| mark.reason,
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let active = AtomicBool::new(reason.is_some());
        Ok(Self { folder: folder.to_owned(), reason: watch::Sender::new(reason), active })
    }

    /// Why the replica is not to be trusted, if it is not.
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Lets a request in, unless the replica is not to be trusted.
    ///
    /// # Errors
    /// [`Quarantined`], so that the caller asks another node.
    pub fn check(&self) -> Result<(), Quarantined> {
        if !self.is_active() {
            return Ok(());
        }
        Err(Quarantined(self.reason().unwrap_or_default()))
    }

    /// Whether what the replica would answer is not to be trusted.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// From now on the replica is not trusted.
    pub(crate) fn begin(&self, reason: String) {
        tracing::error!(reason, "this replica differs from the others and is quarantined; replace this node");
        if let Err(error) = self.write(&reason) {
            tracing::error!(%error, "the quarantine could not be written down; it ends with this process");
        }
        self.reason.send_replace(Some(reason));
        self.active.store(true, Ordering::Release);
    }

    fn write(&self, reason: &str) -> io::Result<()> {
        let since_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let text = serde_json::to_vec(&Mark { since_s, reason: reason.to_owned() })?;
        identity::write_durably(&self.folder, &self.folder.join(FILE), &text)
    }
}

/// Carries a quarantine out as soon as there is one, for as long as it is polled.
pub(crate) async fn enforce(
    quarantine: Arc<Quarantine>,
    group: Group,
    metrics: Metrics,
    ready: Condition,
    serving: CancellationToken,
) {
    ready.ok();
    let mut reason = quarantine.reason.subscribe();
    let Ok(reason) = reason.wait_for(Option::is_some).await.map(|reason| reason.clone()) else { return };
    ready.not_ready(format!("quarantined: {}", reason.unwrap_or_default()));
    metrics.quarantined();
    group.set_electable(false);
    serving.cancel();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if group.leads()
            && let Err(error) = group.transfer_leader(None).await
        {
            tracing::warn!(%error, "quarantined, but leadership was not handed over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarantine_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::open(folder.path()).unwrap();
        quarantine.check().unwrap();
        assert!(!quarantine.is_active());
        quarantine.begin("row 7".to_owned());
        assert!(quarantine.check().unwrap_err().to_string().ends_with("quarantined: row 7"));
        let reopened = Quarantine::open(folder.path()).unwrap();
        assert_eq!(reopened.reason().as_deref(), Some("row 7"));
        assert!(reopened.is_active());
    }

    #[test]
    fn damaged_file_is_a_quarantine_as_well() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(Quarantine::open(folder.path()).unwrap().check().is_err());
    }
}
