//! Readiness: named conditions, each kept by whoever knows whether it holds, and the draining that overrides them.
//!
//! A condition is not met until its owner says so: a process never looks ready because somebody forgot to report.
//! `/readyz` and gRPC health read this one state, so they cannot disagree.

mod grpc;
mod report;

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;

pub use self::report::PROCESS_METADATA;
pub(crate) use self::{grpc::Server, report::About};

/// The readiness of the process. Clones are of the same process.
#[derive(Debug, Clone)]
pub struct Health(watch::Sender<Readiness>);

/// What is known about the readiness of the process; what `/readyz` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The process is on its way out; not ready whatever the conditions say.
    pub draining: bool,
    /// Every condition by its name.
    pub conditions: BTreeMap<&'static str, State>,
}

/// The state of one condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whether it is met.
    pub ok: bool,
    /// Why not; or, of one that is met, what there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A handle with which the owner of a condition reports it.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    health: watch::Sender<Readiness>,
}

impl Default for Health {
    fn default() -> Self {
        Self(watch::Sender::new(Readiness::default()))
    }
}

impl Readiness {
    /// Whether calls are welcome.
    pub fn is_ready(&self) -> bool {
        !self.draining && self.conditions.values().all(|state| state.ok)
    }
}

impl Health {
    /// Adds a condition, not met until its handle says so.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition { name, health: self.0.clone() };
        condition.not_ready("not reported yet");
        condition
    }

    /// The readiness now.
    pub fn readiness(&self) -> Readiness {
        self.0.borrow().clone()
    }

    /// The readiness now and whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Readiness> {
        self.0.subscribe()
    }

    pub(crate) fn drain(&self) {
        self.0.send_modify(|readiness| readiness.draining = true);
    }
}

impl Condition {
    /// It is met.
    pub fn ok(&self) {
        self.set(State { ok: true, reason: None });
    }

    /// It is met, and there is something to know, such as how old the data is.
    pub fn ok_with(&self, note: impl Into<String>) {
        self.set(State { ok: true, reason: Some(note.into()) });
    }

    /// It is not met.
    pub fn not_ready(&self, why: impl Into<String>) {
        self.set(State { ok: false, reason: Some(why.into()) });
    }

    fn set(&self, state: State) {
        self.health.send_if_modified(|readiness| {
            let before = readiness.conditions.insert(self.name, state);
            before.as_ref() != readiness.conditions.get(self.name)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_is_ready_when_every_condition_says_so() {
        let health = Health::default();
        let (raft, disk) = (health.condition("raft"), health.condition("disk"));
        raft.ok();
        assert!(!health.readiness().is_ready());
        disk.ok_with("80 % full");
        assert!(health.readiness().is_ready());
        raft.not_ready("no leader");
        assert_eq!(health.readiness().conditions["raft"].reason.as_deref(), Some("no leader"));
        assert!(!health.readiness().is_ready());
    }

    #[test]
    fn draining_process_is_not_ready_whatever_its_conditions_say() {
        let health = Health::default();
        let condition = health.condition("raft");
        health.drain();
        condition.ok();
        assert!(!health.readiness().is_ready());
    }

    #[test]
    fn same_report_twice_is_no_change() {
        let health = Health::default();
        let condition = health.condition("raft");
        let mut watch = health.watch();
        condition.ok();
        watch.mark_unchanged();
        condition.ok();
        assert!(!watch.has_changed().unwrap());
    }
}
