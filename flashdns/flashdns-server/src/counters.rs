//! What the data plane counts, and how it comes to Prometheus without the workers sharing a cache line.
//!
//! A worker tallies a batch in plain integers and adds them once to its own padded [`Counters`]; a scrape sums
//! over all workers. Nothing here is exact at an instant; everything is exact in the end.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter},
};

/// Response codes that fit the header (RFC 1035 §4.1.1).
const RCODES: usize = 16;

const RCODE_NAMES: [&str; RCODES] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "RCODE11", "RCODE12", "RCODE13", "RCODE14", "RCODE15",
];

/// Counts of one batch or message.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    queries: u64,
    dropped: u64,
    failed: u64,
    truncated: u64,
    reply_bytes: u64,
    rcodes: [u64; RCODES],
}

impl Tally {
    /// Notes a reply as it goes out.
    pub(crate) fn reply(&mut self, reply: &[u8]) {
        if let [_, _, flags, code, ..] = reply {
            self.truncated += u64::from(flags >> 1 & 1);
            self.rcodes[usize::from(code & 0xf)] += 1;
        }
        self.reply_bytes += reply.len() as u64;
    }

    /// Notes what came in: `dropped` got no reply by our choice, `failed` none by the kernel's.
    pub(crate) fn received(&mut self, queries: usize, dropped: usize, failed: usize) {
        self.queries += queries as u64;
        self.dropped += dropped as u64;
        self.failed += failed as u64;
    }
}

/// Running totals of one worker, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    queries: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    truncated: AtomicU64,
    reply_bytes: AtomicU64,
    rcodes: [AtomicU64; RCODES],
}

impl Counters {
    /// Adds a tally.
    pub(crate) fn add(&self, tally: &Tally) {
        let pairs = [
            (&self.queries, tally.queries),
            (&self.dropped, tally.dropped),
            (&self.failed, tally.failed),
            (&self.truncated, tally.truncated),
            (&self.reply_bytes, tally.reply_bytes),
        ];
        let rcodes = self.rcodes.iter().zip(tally.rcodes);
        for (total, more) in pairs.into_iter().chain(rcodes).filter(|(_, more)| *more > 0) {
            total.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Tally {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            queries: load(&self.queries),
            dropped: load(&self.dropped),
            failed: load(&self.failed),
            truncated: load(&self.truncated),
            reply_bytes: load(&self.reply_bytes),
            rcodes: std::array::from_fn(|code| load(&self.rcodes[code])),
        }
    }
}

/// The counters of all workers of all transports.
#[derive(Debug, Default, Clone)]
pub(crate) struct Scoreboard(Arc<RwLock<Vec<Worker>>>);

/// Its transport and its counters.
type Worker = (&'static str, Arc<Counters>);

impl Scoreboard {
    /// A new worker's counters under its transport (`udp`, `tcp`).
    pub(crate) fn worker(&self, transport: &'static str) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        let mut workers = self.0.write().unwrap_or_else(PoisonError::into_inner);
        workers.push((transport, Arc::clone(&counters)));
        counters
    }

    fn total(&self, transport: &str) -> Tally {
        let workers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut total = Tally::default();
        for (_, counters) in workers.iter().filter(|(of, _)| *of == transport) {
            total.merge(&counters.read());
        }
        total
    }
}

impl Tally {
    fn merge(&mut self, other: &Tally) {
        self.queries += other.queries;
        self.dropped += other.dropped;
        self.failed += other.failed;
        self.truncated += other.truncated;
        self.reply_bytes += other.reply_bytes;
        for (total, more) in self.rcodes.iter_mut().zip(other.rcodes) {
            *total += more;
        }
    }
}

const TRANSPORTS: [&str; 2] = ["udp", "tcp"];

/// One counter family: its name without `_total`, its help, and where it is in a tally.
type Family = (&'static str, &'static str, fn(&Tally) -> u64);

const FAMILIES: [Family; 5] = [
    ("flashdns_dns_queries", "Messages received", |tally| tally.queries),
    ("flashdns_dns_dropped", "Messages that got no reply because they are no query", |tally| tally.dropped),
    ("flashdns_dns_send_failures", "Replies that the kernel refused", |tally| tally.failed),
    ("flashdns_dns_truncated", "Replies that say that they are truncated", |tally| tally.truncated),
    ("flashdns_dns_reply_bytes", "Bytes of replies", |tally| tally.reply_bytes),
];

impl Collector for Scoreboard {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let totals = TRANSPORTS.map(|transport| (transport, self.total(transport)));
        for (name, help, value) in FAMILIES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (transport, total) in &totals {
                let labels = [("transport", *transport)];
                ConstCounter::new(value(total)).encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "flashdns_dns_replies",
            "Replies by response code",
            None,
            MetricType::Counter,
        )?;
        for (transport, total) in &totals {
            let codes = RCODE_NAMES.iter().zip(total.rcodes).filter(|(_, count)| *count > 0);
            for (code, count) in codes {
                let labels = [("transport", *transport), ("rcode", *code)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn scrape_sums_over_the_workers_of_a_transport() {
        let board = Scoreboard::default();
        for reply in [[0, 0, 0x82, 3], [0, 0, 0x80, 0]] {
            let mut tally = Tally::default();
            tally.received(2, 1, 0);
            tally.reply(&reply);
            board.worker("udp").add(&tally);
        }
        let mut registry = Registry::default();
        registry.register_collector(Box::new(board));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "flashdns_dns_queries_total{transport=\"udp\"} 4",
            "flashdns_dns_queries_total{transport=\"tcp\"} 0",
            "flashdns_dns_truncated_total{transport=\"udp\"} 1",
            "flashdns_dns_replies_total{transport=\"udp\",rcode=\"NXDOMAIN\"} 1",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
