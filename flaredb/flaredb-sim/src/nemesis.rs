//! What goes wrong, and when it is over.

use anyhow::Result;
use flaredb_raft::Role;

use crate::{
    dice::Dice,
    frontend::{Ask, Change},
    net::Quality,
    world::World,
};

/// The voters that a region is brought back to when it has more.
const VOTERS: usize = 3;

/// What a run is mostly about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Everything,
    Members,
    LeftBehind,
    Crashes,
}

/// What ends a fault.
#[derive(Clone, Copy, Debug)]
enum End {
    Start(usize),
    /// It starts again once it has stopped in order.
    Restart(usize),
    Resume(usize),
    Heal,
    Calm,
    QuickDisk(usize),
    /// The log is purged meanwhile.
    Checkpoint,
}

/// Brings faults about.
pub(crate) struct Nemesis {
    dice: Dice,
    theme: Theme,
    next_ms: u64,
    /// Longest time between two faults.
    pause_ms_max: u64,
    ends: Vec<(u64, End)>,
    /// Faults of each kind, for who wants to know that there were any.
    pub(crate) faults: u64,
}

impl Nemesis {
    pub(crate) fn new(mut dice: Dice) -> Self {
        let themes =
            [Theme::Everything, Theme::Everything, Theme::Members, Theme::LeftBehind, Theme::Crashes];
        let theme = dice.pick(&themes).copied().unwrap_or(Theme::Everything);
        let pause_ms_max = dice.pick(&[800, 1500, 3000]).copied().unwrap_or_default();
        Self { dice, theme, next_ms: 500, pause_ms_max, ends: Vec::new(), faults: 0 }
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, world: &mut World) -> Result<()> {
        let now_ms = world.now_ms;
        let due: Vec<End> =
            self.ends.extract_if(.., |(at_ms, _)| *at_ms <= now_ms).map(|(_, end)| end).collect();
        for end in due {
            self.end(world, end)?;
        }
        if now_ms >= self.next_ms {
            self.next_ms = now_ms + self.dice.within(100, self.pause_ms_max);
            self.faults += 1;
            self.fault(world)?;
        }
        Ok(())
    }

    /// Ends everything that is wrong.
    pub(crate) fn end_all(&mut self, world: &mut World) -> Result<()> {
        world.trace.note(format_args!("all faults end"));
        world.net.heal();
        world.net.set_quality(Quality::GOOD);
        self.ends.clear();
        for host in &mut world.hosts {
            host.disk().set_write_ms_max(2);
            host.disk().set_fails(false);
            host.paused = false;
        }
        world.run_until(5000, |world| {
            world
                .hosts
                .iter_mut()
                .all(|host| !host.is_running() || host.frontend().is_some() || host.has_stopped())
        });
        for host in world.hosts.iter_mut().filter(|host| !host.is_running()) {
            host.start()?;
        }
        Ok(())
    }

    fn end(&mut self, world: &mut World, end: End) -> Result<()> {
        world.trace.note(format_args!("{end:?}"));
        match end {
            End::Start(at) if !world.hosts[at].is_running() => world.hosts[at].start()?,
            End::Start(at) if world.hosts[at].disk().fails() => self.ends.push((world.now_ms + 100, end)),
            End::Restart(at) if world.hosts[at].is_running() && !world.hosts[at].has_stopped() => {
                self.ends.push((world.now_ms + 50, end));
            }
            End::Restart(at) => world.hosts[at].start()?,
            End::Start(_) => {}
            End::Resume(at) => world.hosts[at].paused = false,
            End::Heal => world.net.heal(),
            End::Calm => world.net.set_quality(Quality::GOOD),
            End::Checkpoint => self.checkpoint(world),
            End::QuickDisk(at) => world.hosts[at].disk().set_write_ms_max(4),
        }
        Ok(())
    }

    fn later(&mut self, world: &World, low_ms: u64, high_ms: u64, end: End) {
        let after_ms = self.dice.within(low_ms, high_ms);
        self.ends.push((world.now_ms + after_ms, end));
    }

    fn fault(&mut self, world: &mut World) -> Result<()> {
        let kind = match self.theme {
            Theme::Members if self.dice.permille(600) => 99,
            Theme::LeftBehind if self.dice.permille(500) => 85,
            Theme::Crashes if self.dice.permille(500) => self.dice.below(38),
            _ => self.dice.below(100),
        };
        world.trace.note(format_args!("fault {kind}"));
        let any = self.dice.index(world.hosts.len());
        let leader = world.leader().and_then(|(id, _)| world.hosts.iter().position(|host| host.id == id));
        let target = if self.dice.permille(500) { leader.unwrap_or(any) } else { any };
        match kind {
            0..22 => self.crash(world, target)?,
            22..32 => self.crash_several(world)?,
            32..38 => self.stop(world, target),
            38..58 => self.partition(world, target),
            58..68 => self.pause(world, target),
            68..78 => self.spoil(world),
            78..81 => self.slow_disk(world, target),
            81..83 => self.fail_sync(world, target),
            83..85 => self.change(world, Change::Transfer),
            85..88 => self.leave_behind(world)?,
            88..92 => self.checkpoint(world),
            _ => self.change_members(world),
        }
        Ok(())
    }

    fn crash(&mut self, world: &mut World, at: usize) -> Result<()> {
        if world.hosts[at].is_running() {
            let power = self.dice.permille(700);
            world.trace.note(format_args!("crash {at}, power {power}"));
            world.hosts[at].crash(power)?;
            self.later(world, 20, 1500, End::Start(at));
        }
        Ok(())
    }

    fn crash_several(&mut self, world: &mut World) -> Result<()> {
        let all = self.dice.permille(600);
        for at in 0..world.hosts.len() {
            if all || self.dice.permille(600) {
                self.crash(world, at)?;
            }
        }
        Ok(())
    }

    fn stop(&mut self, world: &mut World, at: usize) {
        if world.hosts[at].frontend().is_some() && !world.hosts[at].paused {
            world.net.stop(world.hosts[at].id);
            self.later(world, 50, 800, End::Restart(at));
        }
    }

    fn partition(&mut self, world: &mut World, at: usize) {
        let (out, back) = match self.dice.below(4) {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        self.isolate(world, at, out, back);
        self.later(world, 100, 1500, End::Heal);
    }

    /// Cuts a node off in one direction or both.
    fn isolate(&self, world: &World, at: usize, out: bool, back: bool) {
        let alone = world.hosts[at].id;
        for other in (1..=world.hosts.len() as u64).filter(|other| *other != alone) {
            if out {
                world.net.cut(alone, other);
            }
            if back {
                world.net.cut(other, alone);
            }
        }
    }

    fn pause(&mut self, world: &mut World, at: usize) {
        if world.hosts[at].frontend().is_some() {
            world.hosts[at].paused = true;
            self.later(world, 50, 2000, End::Resume(at));
        }
    }

    fn spoil(&mut self, world: &mut World) {
        world.net.set_quality(Quality {
            lost_permille: self.dice.within(0, 200),
            repeated_permille: self.dice.within(0, 200),
            delay_ms_max: self.dice.within(3, 150),
        });
        self.later(world, 200, 1500, End::Calm);
    }

    fn slow_disk(&mut self, world: &mut World, at: usize) {
        world.hosts[at].disk().set_write_ms_max(self.dice.within(20, 200));
        self.later(world, 200, 1500, End::QuickDisk(at));
    }

    /// A follower misses so much that the log no longer has it.
    fn leave_behind(&mut self, world: &mut World) -> Result<()> {
        let leader = world.leader().map(|(id, _)| id);
        let followers: Vec<usize> =
            (0..world.hosts.len()).filter(|at| Some(world.hosts[*at].id) != leader).collect();
        let Some(at) = self.dice.pick(&followers).copied() else { return Ok(()) };
        self.later(world, 400, 800, End::Checkpoint);
        if self.dice.permille(500) {
            self.isolate(world, at, true, true);
            self.later(world, 900, 1500, End::Heal);
        } else if world.hosts[at].is_running() {
            world.hosts[at].crash(self.dice.permille(500))?;
            self.later(world, 900, 1500, End::Start(at));
        }
        Ok(())
    }

    fn fail_sync(&mut self, world: &mut World, at: usize) {
        if world.hosts[at].frontend().is_some() {
            world.hosts[at].disk().set_fails(true);
            self.later(world, 100, 1500, End::Start(at));
        }
    }

    fn change(&mut self, world: &World, change: Change) {
        if let Some((leader, _)) = world.leader() {
            // Nobody waits for it: what comes of it is seen in the members.
            drop(world.net.ask(leader, Ask::Change(change)));
        }
    }

    fn checkpoint(&mut self, world: &World) {
        for host in &world.hosts {
            drop(world.net.ask(host.id, Ask::Change(Change::Checkpoint)));
        }
    }

    /// Adds who is missing, promotes who learns, and removes somebody when there are enough.
    fn change_members(&mut self, world: &World) {
        let Some((_, frontend)) = world.leader() else { return };
        let status = frontend.group.status();
        if status.role != Role::Leader {
            return;
        }
        let is_member = |id: &u64| status.members.iter().any(|member| member.id == *id);
        let missing: Vec<u64> = (1..=world.hosts.len() as u64).filter(|id| !is_member(id)).collect();
        let learners: Vec<u64> =
            status.members.iter().filter(|member| !member.voter).map(|member| member.id).collect();
        let voters: Vec<u64> =
            status.members.iter().filter(|member| member.voter).map(|member| member.id).collect();
        let change = match (self.dice.pick(&missing), self.dice.pick(&learners), self.dice.pick(&voters)) {
            (_, Some(learner), _) => Change::Promote(*learner),
            (Some(missing), None, _) => Change::Learn(*missing),
            (None, None, Some(voter)) if voters.len() > VOTERS => Change::Remove(*voter),
            _ => return,
        };
        self.change(world, change);
    }
}
