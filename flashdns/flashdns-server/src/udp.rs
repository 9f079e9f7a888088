//! Answers DNS over UDP: plain threads pinned to cores, each with its own socket, batch and counters.
//!
//! No async runtime, no queue and no lock is between a datagram and its answer; a task for each datagram costs
//! more than the answer. The threads end within [`socket`]'s blocking bound after `stop` is raised, having sent
//! what they had received. They know nothing of zones: [`Answerer`] does.

mod batch;
mod socket;

use std::{
    io,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use flashdns_core::Lookahead;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use self::{
    batch::{BATCH, Batch},
    socket::Bound,
};
use crate::{
    answerer::Answerer,
    counters::{Counters, Tally},
};

/// Failing receives in a row after which a worker gives up and the process ends: it would only spin.
const FAILURES_MAX: u32 = 100;

/// What a set of workers serves, and how.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Addresses that every worker listens on, ports chosen.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Workers for each address.
    pub(crate) workers: usize,
    /// Largest reply.
    pub(crate) payload_max: u16,
    /// Bind each worker to a core.
    pub(crate) pin: bool,
}

/// Running workers. Dropping it does not stop them; raise `stop`, then [`Workers::join`].
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
}

/// One thread's whole world.
struct Worker {
    bound: Bound,
    answerer: Answerer,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    payload_max: u16,
    core: Option<usize>,
}

/// Binds the sockets of all workers; the threads start with [`start`]. Two steps, so that a taken port is told
/// before anything runs.
///
/// # Errors
/// The address, and what the kernel said about it.
pub(crate) fn bind(plan: &Plan) -> Result<Sockets, (SocketAddr, io::Error)> {
    let mut sockets = Vec::new();
    for &address in &plan.addresses {
        for _ in 0..plan.workers {
            sockets.push(socket::bind(address).map_err(|error| (address, error))?);
        }
    }
    Ok(Sockets(sockets))
}

/// The bound sockets of workers that do not run yet.
#[derive(Debug)]
pub(crate) struct Sockets(Vec<Bound>);

/// Starts one thread for each socket.
///
/// # Errors
/// The system refused a thread; those that run are stopped by `stop`.
pub(crate) fn start(
    plan: &Plan,
    sockets: Sockets,
    answerer: &Answerer,
    stop: &Arc<AtomicBool>,
    mut counters: impl FnMut() -> Arc<Counters>,
) -> io::Result<Workers> {
    let cores = if plan.pin { allowed_cores() } else { Vec::new() };
    let mut threads = Vec::with_capacity(sockets.0.len());
    for (index, bound) in sockets.0.into_iter().enumerate() {
        let core = (!cores.is_empty()).then(|| cores[index % plan.workers.max(1) % cores.len()]);
        let worker = Worker {
            bound,
            answerer: answerer.clone(),
            counters: counters(),
            stop: Arc::clone(stop),
            payload_max: plan.payload_max,
            core,
        };
        threads.push(thread::Builder::new().name(format!("dns-udp-{index}")).spawn(move || worker.run())?);
    }
    Ok(Workers { threads })
}

impl Workers {
    /// Waits until every worker has ended; blocks the calling thread.
    ///
    /// # Errors
    /// The first failure of a worker; a panic of one is such.
    pub(crate) fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread.join().unwrap_or_else(|_panic| Err(io::Error::other("UDP worker panicked")));
            result = result.and(ended);
        }
        result
    }
}

/// Cores for workers when the config does not say: those that this process may use.
pub(crate) fn core_count() -> usize {
    allowed_cores().len().max(1)
}

fn allowed_cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

impl Worker {
    fn run(self) -> io::Result<()> {
        self.pin();
        let mut batch = Batch::new(usize::from(self.payload_max), self.bound.packet_info);
        let mut ahead = Lookahead::new(BATCH);
        let mut failures = 0;
        while !self.stop.load(Ordering::Relaxed) {
            match batch.receive(self.bound.socket.as_fd()) {
                Ok(received) => {
                    failures = 0;
                    self.answer(&mut batch, &mut ahead, received);
                }
                Err(error) if is_idle(&error) => (),
                Err(error) => {
                    failures += 1;
                    self.endure(failures, error)?;
                }
            }
        }
        Ok(())
    }

    /// One snapshot answers the whole batch.
    fn answer(&self, batch: &mut Batch, ahead: &mut Lookahead, received: usize) {
        let mut tally = Tally::default();
        let snapshot = self.answerer.snapshot();
        let read = snapshot.read(ahead, batch.queries(received));
        let dropped = batch.answer(received, |index, query, reply| {
            read.udp(index, query, self.payload_max, reply, &mut tally)
        });
        let sent = batch.send(self.bound.socket.as_fd());
        tally.received(received, dropped, sent.failed);
        self.counters.add(&tally);
    }

    /// A failing receive is mostly one datagram's error; a socket that only fails ends the process.
    fn endure(&self, failures: u32, error: io::Error) -> io::Result<()> {
        tracing::warn!(%error, failures, "UDP receive failed");
        if failures >= FAILURES_MAX {
            // The worker's end is only seen when all are joined, so the others have to end too.
            self.stop.store(true, Ordering::Relaxed);
            return Err(error);
        }
        thread::sleep(Duration::from_millis(10));
        Ok(())
    }

    fn pin(&self) {
        let Some(core) = self.core else { return };
        let mut set = CpuSet::new();
        let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
        if let Err(error) = pinned {
            tracing::warn!(core, %error, "UDP worker is not pinned; it runs wherever the kernel puts it");
        }
    }
}

fn is_idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
    )
}
