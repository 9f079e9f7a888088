//! The load of the DNS benchmark: a generator that saturates a server from one core.

use std::{
    fs,
    io::{IoSlice, IoSliceMut},
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt, sockopt},
};
use serde::{Deserialize, Serialize};

/// Datagrams of one system call.
pub(super) const BATCH: usize = 64;
/// Room for one datagram.
pub(super) const DATAGRAM_BYTES: usize = 4096;
const SOCKETS: usize = 8;
/// Queries in flight on each socket.
const WINDOW: usize = 64;
/// The kernel's room for datagrams that wait.
pub(super) const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// After so long without any answer, what is in flight counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(200);
/// One query in so many has its latency recorded, so that the clock does not slow the generator.
const LATENCY_SAMPLE: u16 = 16;

/// Where to send which queries, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Blast {
    /// The server.
    server: SocketAddrV4,
    /// Queries, one `name TYPE` on each line.
    queries: PathBuf,
    /// For how long.
    seconds: u64,
}

/// What a run of the generator saw.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Blasted {
    /// Answers a second.
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Answers in all.
    pub(crate) answers: u64,
    /// Of them, NOERROR.
    pub(crate) noerror: u64,
    /// Of them, NXDOMAIN.
    pub(crate) nxdomain: u64,
    /// Queries without an answer.
    pub(crate) lost: u64,
}

/// Loads a server and prints what it saw as JSON.
///
/// # Errors
/// When the query file cannot be read or a socket fails.
#[expect(clippy::print_stdout, reason = "the figures are this command's result")]
pub(crate) fn blast(options: &Blast) -> Result<()> {
    let mut generator = Generator::new(options)?;
    let seen = generator.run(Duration::from_secs(options.seconds))?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

struct Lane {
    socket: UdpSocket,
    in_flight: usize,
}

struct Generator {
    queries: Vec<Vec<u8>>,
    next: usize,
    id: u16,
    lanes: Vec<Lane>,
    /// One for each direction: sending leaves pointers to the addresses of the moment in its headers.
    received: MultiHeaders<()>,
    sent: MultiHeaders<()>,
    buffers: Vec<[u8; DATAGRAM_BYTES]>,
    sent_at: Vec<Option<Instant>>,
    latencies: Histogram<u64>,
    seen: Blasted,
}

impl Generator {
    fn new(options: &Blast) -> Result<Self> {
        let queries = read_queries(&options.queries)?;
        let mut lanes = Vec::new();
        for _ in 0..SOCKETS {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
            socket.connect(options.server)?;
            socket.set_nonblocking(true)?;
            lanes.push(Lane { socket, in_flight: 0 });
        }
        Ok(Self {
            queries,
            next: 0,
            id: 0,
            lanes,
            received: MultiHeaders::preallocate(BATCH, None),
            sent: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; DATAGRAM_BYTES]; BATCH],
            sent_at: vec![None; usize::from(u16::MAX) + 1],
            latencies: Histogram::new_with_bounds(1, 10_000_000, 3)?,
            seen: Blasted::default(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for a table")]
    fn run(&mut self, at_most: Duration) -> Result<Blasted> {
        let started = Instant::now();
        let mut last_answer = started;
        while started.elapsed() < at_most {
            let before = self.seen.answers;
            for lane in 0..self.lanes.len() {
                self.receive(lane)?;
                self.send(lane)?;
            }
            if self.seen.answers != before {
                last_answer = Instant::now();
            } else {
                self.wait()?;
                if last_answer.elapsed() > LOST_AFTER {
                    self.give_up_on_what_is_in_flight();
                    last_answer = Instant::now();
                }
            }
        }
        self.seen.rate = self.seen.answers as f64 / started.elapsed().as_secs_f64();
        self.seen.p50_us = self.latencies.value_at_quantile(0.5) as f64;
        self.seen.p99_us = self.latencies.value_at_quantile(0.99) as f64;
        Ok(self.seen)
    }

    fn wait(&mut self) -> Result<()> {
        use std::os::fd::AsFd as _;
        let mut sockets: Vec<_> =
            self.lanes.iter().map(|lane| PollFd::new(lane.socket.as_fd(), PollFlags::POLLIN)).collect();
        poll(&mut sockets, PollTimeout::from(1_u8))?;
        Ok(())
    }

    fn give_up_on_what_is_in_flight(&mut self) {
        for lane in &mut self.lanes {
            self.seen.lost += lane.in_flight as u64;
            lane.in_flight = 0;
        }
    }

    fn receive(&mut self, lane: usize) -> Result<()> {
        loop {
            let mut lengths = [0; BATCH];
            let got = {
                let mut slices: Vec<_> =
                    self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
                let socket = self.lanes[lane].socket.as_raw_fd();
                let answers =
                    recvmmsg(socket, &mut self.received, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
                match answers {
                    Ok(answers) => {
                        answers.zip(&mut lengths).map(|(answer, length)| *length = answer.bytes).count()
                    }
                    Err(Errno::EAGAIN | Errno::ECONNREFUSED) => 0,
                    Err(error) => return Err(error.into()),
                }
            };
            for (buffer, length) in lengths.into_iter().enumerate().take(got) {
                self.count(buffer, length);
            }
            self.lanes[lane].in_flight = self.lanes[lane].in_flight.saturating_sub(got);
            if got < BATCH {
                return Ok(());
            }
        }
    }

    fn count(&mut self, buffer: usize, bytes: usize) {
        let answer = &self.buffers[buffer];
        if bytes < 12 {
            return;
        }
        let id = u16::from_be_bytes([answer[0], answer[1]]);
        self.seen.answers += 1;
        match answer[3] & 15 {
            0 => self.seen.noerror += 1,
            3 => self.seen.nxdomain += 1,
            _ => {}
        }
        if let Some(sent) = self.sent_at[usize::from(id)].take() {
            let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.latencies.saturating_record(micros.max(1));
        }
    }

    fn send(&mut self, lane: usize) -> Result<()> {
        let room = (WINDOW - self.lanes[lane].in_flight.min(WINDOW)).min(BATCH);
        if room < WINDOW / 4 {
            return Ok(());
        }
        let batch: Vec<usize> = (0..room).map(|ahead| (self.next + ahead) % self.queries.len()).collect();
        for &query in &batch {
            self.stamp(query);
        }
        let slices: Vec<_> = batch.iter().map(|&query| [IoSlice::new(&self.queries[query])]).collect();
        let socket = self.lanes[lane].socket.as_raw_fd();
        let none: [ControlMessage<'_>; 0] = [];
        let sent = sendmmsg(socket, &mut self.sent, &slices, vec![None; room], none, MsgFlags::MSG_DONTWAIT);
        let sent = match sent {
            Ok(sent) => sent.count(),
            Err(Errno::EAGAIN | Errno::ECONNREFUSED | Errno::ENOBUFS) => 0,
            Err(error) => return Err(error.into()),
        };
        self.lanes[lane].in_flight += sent;
        self.next = (self.next + room) % self.queries.len();
        Ok(())
    }

    fn stamp(&mut self, query: usize) {
        self.id = self.id.wrapping_add(1);
        self.queries[query][..2].copy_from_slice(&self.id.to_be_bytes());
        self.sent_at[usize::from(self.id)] = self.id.is_multiple_of(LATENCY_SAMPLE).then(Instant::now);
    }
}

fn read_queries(path: &Path) -> Result<Vec<Vec<u8>>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let queries = text.lines().map(query).collect::<Result<Vec<_>>>()?;
    ensure!(queries.len() > BATCH, "{} holds fewer queries than one batch", path.display());
    Ok(queries)
}

/// The packet that asks for a line `name TYPE`.
fn query(line: &str) -> Result<Vec<u8>> {
    let (name, rtype) = line.split_once(' ').with_context(|| format!("{line:?} is no query"))?;
    let rtype: u16 = match rtype.trim() {
        "A" => 1,
        "NS" => 2,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "SRV" => 33,
        other => anyhow::bail!("the generator knows no type {other}"),
    };
    let mut packet = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        packet.push(u8::try_from(label.len())?);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&rtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    Ok(packet)
}
