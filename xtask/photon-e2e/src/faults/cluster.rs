//! Nodes of a store as real processes, each in a slot of the network with a small disk of its own.
//!
//! Slots outlive nodes: when a node is removed from the cluster, another one with a new id takes its slot, since an id
//! is never given twice.

mod disk;
mod folders;
mod plan;

use std::{path::Path, process::ExitStatus, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

pub(super) use self::{
    disk::{Disk, Disks},
    folders::{Folders, Member},
    plan::{CLUSTER, Plan, url},
};
use super::{
    network::{Network, output},
    subject::{Role, Standing, Subject},
};
use crate::{
    process::{Process, resident_bytes_max},
    wait::{Patience, wait_for},
};

/// Where the members of the first cluster are; one more slot is spare.
pub(super) const MEMBERS: usize = 3;
/// All slots.
pub(super) const SLOTS: usize = MEMBERS + 1;

const READY_AT_MOST: Duration = Duration::from_secs(30);
const OBEYS_WITHIN: Duration = Duration::from_secs(2);
/// How the kernel shows a process that SIGSTOP stopped.
const STOPPED: char = 'T';

/// A running cluster; its processes, disks and network go with it, in this order.
#[derive(Debug)]
pub(super) struct Cluster<S> {
    slots: Vec<Slot>,
    subject: S,
    folders: Folders,
    network: Network,
    next_id: u64,
}

/// What is in a slot.
#[derive(Debug)]
pub(super) struct Slot {
    process: Option<Process>,
    /// The node's id; `None`: the slot is spare.
    pub(super) id: Option<u64>,
    /// Its disk.
    pub(super) disk: Disk,
    /// The words that start its node.
    words: Vec<String>,
}

impl<S: Subject> Cluster<S> {
    /// Makes what the store needs, network and disks below `folder`, starts the first members and waits until they are ready.
    ///
    /// # Errors
    /// When something that is needed is missing, or a node does not become ready; with its last words.
    pub(super) async fn start(folder: &Path, disks: Disks) -> Result<Self> {
        let folders = Folders::new(folder)?;
        let subject = S::new(&folders, disks)?;
        let network = Network::new(SLOTS)?;
        let mut slots = Vec::new();
        for slot in 0..SLOTS {
            let disk = Disk::new(folders.disk(slot), disks)?;
            slots.push(Slot { process: None, id: None, disk, words: Vec::new() });
        }
        let mut cluster = Self { slots, subject, folders, network, next_id: 1 };
        let members: Vec<Member> = (0..MEMBERS).zip(1..).map(|(slot, id)| Member { id, slot }).collect();
        for member in &members {
            cluster.settle(member.slot, &members)?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Puts a node with a new id into a spare slot and starts it. Without members, it waits to be added.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn settle(&mut self, slot: usize, members: &[Member]) -> Result<u64> {
        let id = self.next_id;
        self.settle_as(id, slot, members)?;
        Ok(id)
    }

    /// The same with an id that was given to it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn settle_as(&mut self, id: u64, slot: usize, members: &[Member]) -> Result<()> {
        self.next_id = self.next_id.max(id.saturating_add(1));
        let words = self.subject.prepare(&self.folders, Member { id, slot }, members)?;
        let settled = self.slot_mut(slot)?;
        settled.id = Some(id);
        settled.words = words;
        self.run(slot, &[])
    }

    /// Ends what is in a slot for good, and empties its disk.
    ///
    /// # Errors
    /// When the disk cannot be emptied.
    pub(super) fn vacate(&mut self, slot: usize) -> Result<()> {
        let slot = self.slot_mut(slot)?;
        slot.process = None;
        slot.id = None;
        slot.disk.erase()
    }

    /// Starts a slot's node, with more words before its command.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn run(&mut self, slot: usize, before: &[String]) -> Result<()> {
        let words = [before, &self.slot(slot)?.words].concat();
        let process = self.start_beside(slot, &words, &self.folders.log(self.id(slot)?))?;
        self.slot_mut(slot)?.process = Some(process);
        Ok(())
    }

    /// Starts a command in a slot's namespace.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start_beside(&self, slot: usize, command: &[String], log: &Path) -> Result<Process> {
        let words = [&self.network.wrapper(slot)?, command].concat();
        let (program, arguments) = words.split_first().context("there is nothing to start")?;
        Process::start(program, arguments, log)
    }

    /// What a command prints in a slot's namespace.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub(super) fn output_in(&self, slot: usize, command: &[&str]) -> Result<String> {
        let wrapper = self.network.wrapper(slot)?;
        let words: Vec<&str> = wrapper.iter().map(String::as_str).chain(command.iter().copied()).collect();
        let (program, arguments) = words.split_first().context("there is nothing to start")?;
        output(program, arguments)
    }

    /// The slots with nodes of the cluster.
    pub(super) fn members(&self) -> Vec<usize> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.id.is_some()).map(|(number, _)| number).collect()
    }

    /// The slot without a node.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn spare(&self) -> Result<usize> {
        self.slots.iter().position(|slot| slot.id.is_none()).context("there is no spare slot")
    }

    /// A slot.
    ///
    /// # Errors
    /// When there is none of that number.
    pub(super) fn slot(&self, slot: usize) -> Result<&Slot> {
        self.slots.get(slot).context("there is no such slot")
    }

    fn slot_mut(&mut self, slot: usize) -> Result<&mut Slot> {
        self.slots.get_mut(slot).context("there is no such slot")
    }

    /// A slot's node.
    ///
    /// # Errors
    /// When the slot is spare.
    pub(super) fn id(&self, slot: usize) -> Result<u64> {
        self.slot(slot)?.id.context("the slot is spare")
    }

    /// Where things are.
    pub(super) fn folders(&self) -> &Folders {
        &self.folders
    }

    /// The store.
    pub(super) fn subject(&self) -> &S {
        &self.subject
    }

    /// The id that the next node will have.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Copies what a node has logged on its disk to where it outlives the disks.
    pub(super) fn keep_logs(&self) {
        let Some(name) = S::KEPT else { return };
        for slot in self.members() {
            let log = self.folders.disk(slot).join(name);
            let kept = self.folders.logs().join(format!("kept-in-slot-{slot}.log"));
            if let Err(error) = std::fs::copy(&log, kept) {
                tracing::warn!("{} is not kept: {error}", log.display());
            }
        }
    }

    /// Starts every node again that does not run.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(super) fn revive(&mut self) -> Result<()> {
        for slot in self.members() {
            let process = self.slot_mut(slot)?.process.as_mut();
            let runs = process.is_some_and(|process| process.ended().is_ok_and(|ended| ended.is_none()));
            if !runs {
                self.run(slot, &[])?;
            }
        }
        Ok(())
    }

    /// SIGKILL; returns how the process ended.
    ///
    /// # Errors
    /// When it does not run, or did not end by the signal.
    pub(super) fn kill_9(&mut self, slot: usize) -> Result<String> {
        let mut process = self.slot_mut(slot)?.process.take().context("it does not run")?;
        let pid = process.pid();
        process.kill_9()?;
        let status = process.ended()?.context("it did not end")?;
        Ok(format!("pid {pid} ended by {status}"))
    }

    /// SIGKILL, without waiting for the end: what is traced ends only when its tracer has seen it.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn strike(&self, slot: usize) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.pid(slot)?)?), Signal::SIGKILL)?)
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not run, does not end in time, or does not end well.
    pub(super) fn stop(&mut self, slot: usize) -> Result<()> {
        let mut process = self.slot_mut(slot)?.process.take().context("it does not run")?;
        let status = process.terminate()?;
        ensure!(S::ended_well(status), "after SIGTERM it ended with {status}: {}", process.last_words());
        Ok(())
    }

    /// How a slot's node ended, if it has; it then no longer counts as running.
    ///
    /// # Errors
    /// When it did not run.
    pub(super) fn ended(&mut self, slot: usize) -> Result<Option<ExitStatus>> {
        let slot = self.slot_mut(slot)?;
        let status = slot.process.as_mut().context("it does not run")?.ended()?;
        if status.is_some() {
            slot.process = None;
        }
        Ok(status)
    }

    /// Stops a node where it is. A thread that is on a CPU stops a moment after the signal was sent: this returns
    /// when the kernel shows the process as stopped.
    ///
    /// # Errors
    /// When it does not run, or does not stop in time.
    pub(super) async fn freeze(&self, slot: usize) -> Result<()> {
        let pid = self.pid(slot)?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGSTOP)?;
        let patience = Patience::new("the process to be stopped", OBEYS_WITHIN);
        while state_of(pid)? != STOPPED {
            patience.look_again().await?;
        }
        Ok(())
    }

    /// Lets a stopped node run on.
    ///
    /// # Errors
    /// When it was not stopped any more, or does not run on in time.
    pub(super) async fn thaw(&self, slot: usize) -> Result<()> {
        let pid = self.pid(slot)?;
        let before = state_of(pid)?;
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGCONT)?;
        ensure!(before == STOPPED, "it should have been stopped, but was in state {before}");
        let patience = Patience::new("the process to run on", OBEYS_WITHIN);
        while state_of(pid)? == STOPPED {
            patience.look_again().await?;
        }
        Ok(())
    }

    /// The process id of a slot's node.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn pid(&self, slot: usize) -> Result<u32> {
        Ok(self.slot(slot)?.process.as_ref().context("it does not run")?.pid())
    }

    /// The most memory that a slot's node has had in RAM.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn resident_bytes_max(&self, slot: usize) -> Result<u64> {
        resident_bytes_max(self.slot(slot)?.process.as_ref().context("it does not run")?)
    }

    /// Waits until every node of the cluster says that it is ready.
    ///
    /// # Errors
    /// When one has ended or is not ready in time; with its last words.
    pub(super) async fn ready(&mut self) -> Result<()> {
        for slot in self.members() {
            self.ready_in(slot).await?;
        }
        Ok(())
    }

    async fn ready_in(&mut self, number: usize) -> Result<()> {
        let patience = Patience::new("it to be ready", READY_AT_MOST);
        loop {
            let doubts = self.subject.doubts(number).await;
            if doubts.as_ref().is_ok_and(String::is_empty) {
                return Ok(());
            }
            let process = self.slot_mut(number)?.process.as_mut().context("it does not run")?;
            if let Some(ended) = process.ended()? {
                bail!("node in slot {number} ended with {ended}; its last words:\n{}", process.last_words());
            }
            patience.look_again().await.with_context(|| {
                format!("slot {number} says {doubts:?}; its last words:\n{}", process.last_words())
            })?;
        }
    }

    /// What a slot's node says of its replica.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub(super) async fn standing(&self, slot: usize) -> Result<Standing> {
        self.subject.standing(slot).await
    }

    /// The slot that leads with the highest term, by its own word, and the term; other than `not`.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn leader_but(&self, not: &[usize]) -> Result<(usize, u64)> {
        wait_for("a leader", READY_AT_MOST, async || {
            let mut newest = None;
            for slot in self.members().into_iter().filter(|slot| !not.contains(slot)) {
                let Ok(standing) = self.standing(slot).await else { continue };
                if standing.role == Role::Leader && newest.is_none_or(|(_, term)| term < standing.term) {
                    newest = Some((slot, standing.term));
                }
            }
            newest
        })
        .await
    }

    /// The slot that leads, and the term.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn leader(&self) -> Result<(usize, u64)> {
        self.leader_but(&[]).await
    }
}

/// The state of a process in `/proc/PID/stat` (proc(5)).
fn state_of(pid: u32) -> Result<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat has no name")?;
    fields.chars().next().context("/proc/PID/stat has no state")
}
