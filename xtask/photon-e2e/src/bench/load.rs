//! A closed loop of clients, the same for both sides: each sends its next request when the last was answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::{Side, Usage};

/// How long clients run before their figures count.
pub(super) const WARM_UP: Duration = Duration::from_secs(1);
/// Keys that the clients spread over.
pub(crate) const KEYS: u64 = 100_000;
const MIB: f64 = 1_048_576.0;
const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// One client of one side, which can do one operation after the other.
pub(crate) trait Client: Send + 'static {
    /// Does one operation on the key with this number.
    fn operate(&mut self, key: u64) -> impl Future<Output = Result<()>> + Send;
}

/// Loads a side's servers and returns what they did; `usage` reads what they have used so far.
///
/// # Errors
/// When any operation failed: a rate of errors is no rate.
pub(crate) async fn run<C: Client>(
    clients: Vec<C>,
    seconds: u64,
    usage: impl Fn() -> Result<Usage>,
) -> Result<Side> {
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut tasks = JoinSet::new();
    for (number, client) in (0_u64..).zip(clients) {
        tasks.spawn(drive(client, number, Arc::clone(&phase)));
    }
    tokio::time::sleep(WARM_UP).await;
    let (before, started) = (usage()?, Instant::now());
    phase.store(MEASURING, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    phase.store(STOPPED, Ordering::Relaxed);
    let (elapsed_s, after) = (started.elapsed().as_secs_f64(), usage()?);
    let mut latencies = histogram()?;
    while let Some(finished) = tasks.join_next().await {
        latencies.add(finished??)?;
    }
    ensure!(!latencies.is_empty(), "no operation finished in {elapsed_s:.1} s");
    Ok(side(&latencies, elapsed_s, before, after))
}

/// The figures of so many operations.
#[expect(clippy::cast_precision_loss, reason = "figures for a table; 52 bits are plenty")]
pub(super) fn side(latencies: &Histogram<u64>, elapsed_s: f64, before: Usage, after: Usage) -> Side {
    let operations = latencies.len() as f64;
    Side {
        rate: operations / elapsed_s,
        p50_us: latencies.value_at_quantile(0.5) as f64,
        p99_us: latencies.value_at_quantile(0.99) as f64,
        cpu_us: (after.cpu_s - before.cpu_s) * 1e6 / operations,
        resident_mib: Some(after.resident_bytes as f64 / MIB),
        written_bytes: Some(after.written_bytes.saturating_sub(before.written_bytes) as f64 / operations),
    }
}

pub(super) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

async fn drive<C: Client>(mut client: C, number: u64, phase: Arc<AtomicU8>) -> Result<Histogram<u64>> {
    let mut latencies = histogram()?;
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ (number + 1).wrapping_mul(0x0123_4567);
    loop {
        let started = Instant::now();
        client.operate(next(&mut state) % KEYS).await?;
        match phase.load(Ordering::Relaxed) {
            WARMING => {}
            MEASURING => {
                let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                latencies.saturating_record(micros.max(1));
            }
            _ => return Ok(latencies),
        }
    }
}

/// Marsaglia's xorshift64: the same keys in the same order on both sides.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}
