//! The world of one run: its machines, its network, its clients, and the time that all of them share.

use std::{path::Path, time::Duration};

use anyhow::Result;
use flaredb_raft::{LogSummary, Role};
use futures::FutureExt as _;
use tokio::{runtime::Runtime, sync::oneshot, time::Instant};

use crate::{
    dice::Dice,
    durable::Durable,
    frontend::{Answer, Ask, Frontend},
    host::{Host, Site, Stage},
    judge::Judge,
    net::Net,
    trace::Trace,
};

/// How far time goes at once. Nothing that is sent arrives within a step.
pub(crate) const STEP_MS: u64 = 2;
/// How often replicas are looked at.
const LOOK_MS: u64 = 50;
/// How often all of their logs and states are.
const LOOK_CLOSELY_MS: u64 = 1000;

/// One run's world.
pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) net: Net,
    pub(crate) judge: Judge,
    pub(crate) trace: Trace,
    pub(crate) clients: Runtime,
    began: Instant,
    /// Where each host's log was looked at last.
    looked_at: Vec<u64>,
    leaders: Vec<u64>,
}

impl World {
    pub(crate) fn new(hosts: u64, dir: &Path, dice: &mut Dice, trace: Trace) -> Result<Self> {
        let judge = Judge::new(trace.clone());
        let net = Net::new(dice.fork(), trace.clone());
        let clients =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let site = Site {
            net: net.clone(),
            judge: judge.clone(),
            durable: Durable::default(),
            entries_kept: dice.pick(&[0, 1, 10, 100]).copied().unwrap_or_default(),
            checkpoint_ms: dice.within(300, 3000),
        };
        let hosts: Vec<Host> =
            (1..=hosts).map(|id| Host::new(id, site.clone(), dir, dice.fork())).collect::<Result<_>>()?;
        let began = clients.block_on(async { Instant::now() });
        let looked_at = vec![1; hosts.len()];
        let leaders = vec![0; hosts.len()];
        Ok(Self { now_ms: 0, hosts, net, judge, trace, clients, began, looked_at, leaders })
    }

    /// Lets time go on by one step.
    pub(crate) fn step(&mut self) {
        self.now_ms += STEP_MS;
        self.trace.set_now(self.now_ms);
        self.net.deliver(self.now_ms);
        for host in &mut self.hosts {
            host.step(STEP_MS);
        }
        let until = self.began + Duration::from_millis(self.now_ms);
        self.clients.block_on(async { tokio::time::sleep_until(until).await });
        self.look();
    }

    /// Lets time go on until something holds; false if it does not in time.
    pub(crate) fn run_until(&mut self, ms_max: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end_ms = self.now_ms + ms_max;
        while self.now_ms < end_ms {
            if holds(self) {
                return true;
            }
            if !self.judge.is_content() {
                return false;
            }
            self.step();
        }
        false
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// Asks a node and waits for its answer.
    pub(crate) fn ask(&mut self, node: u64, ask: Ask, ms_max: u64) -> Option<Answer> {
        let mut answered = self.net.ask(node, ask);
        let mut answer = None;
        self.run_until(ms_max, |_| match answered.try_recv() {
            Ok(found) => {
                answer = Some(found);
                true
            }
            Err(oneshot::error::TryRecvError::Closed) => true,
            Err(oneshot::error::TryRecvError::Empty) => false,
        });
        answer
    }

    pub(crate) fn serving(&self) -> impl Iterator<Item = (&Host, Frontend)> {
        self.hosts.iter().filter(|host| !host.paused).filter_map(|host| Some((host, host.frontend()?)))
    }

    /// Who leads, as the newest leader sees it.
    pub(crate) fn leader(&self) -> Option<(u64, Frontend)> {
        let leads = |(host, frontend): (&Host, Frontend)| {
            let status = frontend.group.status();
            (status.role == Role::Leader).then_some((status.term, host.id, frontend))
        };
        let newest = self.serving().filter_map(leads).max_by_key(|(term, _, _)| *term);
        newest.map(|(_, id, frontend)| (id, frontend))
    }

    fn look(&mut self) {
        for host in self.hosts.iter_mut().filter(|host| host.has_ended()) {
            self.trace.note(format_args!("node {} has ended", host.id));
            if let Err(error) = host.crash(true) {
                self.judge.find(format_args!("{error:#}"));
            }
        }
        for host in &self.hosts {
            let failed = host.stage(|stage| match stage {
                Stage::Failed(reason) => Some(reason.clone()),
                _ => None,
            });
            if let Some(reason) = failed.flatten() {
                self.judge.find(format_args!("node {} does not start: {reason}", host.id));
            }
        }
        if !self.now_ms.is_multiple_of(LOOK_MS) {
            return;
        }
        let closely = self.now_ms.is_multiple_of(LOOK_CLOSELY_MS);
        for at in 0..self.hosts.len() {
            self.look_at(at, closely);
        }
        if closely {
            self.compare_states();
        }
    }

    fn look_at(&mut self, at: usize, closely: bool) {
        let host = &self.hosts[at];
        let Some(frontend) = host.frontend().filter(|_| !host.paused) else { return };
        let id = host.id;
        let (status, applied) = (frontend.group.status(), frontend.state.applied().index);
        let leads = status.role == Role::Leader;
        let newly = leads && self.leaders[at] != status.term;
        let from = if closely || newly { 1 } else { self.looked_at[at] };
        let Some(log) = log_of(host, &frontend, from) else { return };
        self.trace.note(format_args!("node {id} is {} of {} at {applied}", status.role, status.term));
        let flushed = frontend.state.flushed_index();
        // openraft publishes its position after it has saved what else came in, and applies meanwhile.
        let committed = [status.committed_index, log.committed_index, self.judge.installed(id)];
        let committed = committed.into_iter().max().unwrap_or_default();
        let purged = log.purged_index;
        if purged > flushed || flushed > applied || applied > committed {
            self.judge.find(format_args!(
                "node {id} has purged up to {purged}, flushed up to {flushed}, applied up to {applied}, of \
                 {committed} committed"
            ));
        }
        self.judge.log(id, &log);
        self.judge.committed(id, status.term, &log, applied);
        if leads {
            self.leaders[at] = status.term;
            let voters = status.members.iter().filter(|member| member.voter).map(|member| member.id);
            self.judge.notes_leader(status.term, voters.collect());
            self.judge.leads(id, status.term, &log);
        }
        let last = log.entries.last().map_or(log.purged_index, |entry| entry.index);
        self.looked_at[at] = last.saturating_sub(16).max(1);
    }

    /// Tells the judge the states of replicas that are at one position.
    pub(crate) fn compare_states(&self) {
        let positions: Vec<(u64, u64, Frontend)> = self
            .serving()
            .map(|(host, frontend)| (host.id, frontend.state.applied().index, frontend))
            .collect();
        for (id, index, frontend) in &positions {
            let others = positions.iter().filter(|(other, at, _)| other != id && at == index);
            if others.count() == 0 {
                continue;
            }
            if let Ok(hash) = frontend.state.state_hash() {
                self.judge.state(*id, *index, hash);
            }
        }
    }
}

/// A replica's log, unless it must wait for it.
fn log_of(host: &Host, frontend: &Frontend, from: u64) -> Option<LogSummary> {
    let group = frontend.group.clone();
    host.block_on(async move { group.log_summary(from).now_or_never() })?.and_then(Result::ok)
}
