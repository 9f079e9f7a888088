//! How long a put takes to reach many watchers of its key.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use chainfire_proto::etcdserverpb::{
    PutRequest, WatchCreateRequest, WatchRequest, WatchResponse, kv_client::KvClient,
    watch_client::WatchClient, watch_request::RequestUnion,
};
use futures::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tonic::{Streaming, transport::Channel};

use super::{
    Side, Usage,
    etcd::Speakers,
    load::{self, WARM_UP, histogram},
};

const KEY: &[u8] = b"/watched";
/// How long one put may take to reach everybody.
const RECEIVED_AT_MOST: Duration = Duration::from_secs(20);

/// What putter and watchers share.
#[derive(Debug)]
struct Clock {
    started: Instant,
    /// When the put under way was sent, in microseconds from the start; 0: it does not count.
    sent_us: AtomicU64,
    /// One for each receipt.
    received: Semaphore,
}

/// One watcher's stream.
struct Watching {
    answers: Streaming<WatchResponse>,
    /// Dropped, it ends the stream.
    _requests: oneshot::Sender<()>,
}

/// Puts a watched key again and again; an operation is one receipt.
///
/// # Errors
/// When a watch ends or a put does not reach everybody in time.
pub(super) async fn run(
    speakers: &Speakers,
    watchers: u32,
    seconds: u64,
    usage: impl Fn() -> Result<Usage>,
) -> Result<Side> {
    let channels = speakers.channels(watchers).await?;
    let clock =
        Arc::new(Clock { started: Instant::now(), sent_us: AtomicU64::new(0), received: Semaphore::new(0) });
    let mut tasks = JoinSet::new();
    let (latencies, mut recorded) = mpsc::channel(usize::try_from(watchers)?);
    let mut stops = Vec::new();
    for (_, channel) in (0..watchers).zip(channels.iter().cycle()) {
        let (stop, stopped) = oneshot::channel();
        stops.push(stop);
        let watching = watch(channel.clone()).await?;
        tasks.spawn(receive(watching, Arc::clone(&clock), stopped, latencies.clone()));
    }
    drop(latencies);
    let mut kv = KvClient::new(channels.first().context("there is no connection")?.clone());
    put_for(&mut kv, &clock, watchers, WARM_UP, false).await?;
    let (before, started) = (usage()?, Instant::now());
    put_for(&mut kv, &clock, watchers, Duration::from_secs(seconds), true).await?;
    let (elapsed_s, after) = (started.elapsed().as_secs_f64(), usage()?);
    drop(stops);
    let mut all = histogram()?;
    while let Some(latencies) = recorded.recv().await {
        all.add(latencies)?;
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    ensure!(!all.is_empty(), "nothing was received in {elapsed_s:.1} s");
    Ok(load::side(&all, elapsed_s, before, after))
}

/// Opens a watch, and waits until it is there.
async fn watch(channel: Channel) -> Result<Watching> {
    let create = WatchCreateRequest { key: Bytes::from_static(KEY), ..WatchCreateRequest::default() };
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let (requests, end) = oneshot::channel::<()>();
    // Nothing else is asked, but the stream has to stay open.
    let open = stream::once(end).filter_map(|_ended| std::future::ready(None));
    let requests_in = stream::iter([create]).chain(open);
    let mut answers = WatchClient::new(channel).watch(requests_in).await?.into_inner();
    let first = answers.message().await?.context("a watch ended at once")?;
    ensure!(first.created && !first.canceled, "a watch was not created: {}", first.cancel_reason);
    Ok(Watching { answers, _requests: requests })
}

/// Notes each receipt, until it is stopped.
async fn receive(
    mut watching: Watching,
    clock: Arc<Clock>,
    mut stopped: oneshot::Receiver<()>,
    latencies: mpsc::Sender<Histogram<u64>>,
) -> Result<()> {
    let mut own = histogram()?;
    loop {
        let answer = tokio::select! {
            answer = watching.answers.message() => answer?.context("a watch ended")?,
            _ = &mut stopped => break,
        };
        for _ in &answer.events {
            let sent_us = clock.sent_us.load(Ordering::Acquire);
            if sent_us > 0 {
                own.saturating_record(clock.now_us().saturating_sub(sent_us).max(1));
            }
            clock.received.add_permits(1);
        }
    }
    latencies.send(own).await.context("nobody wants the latencies")
}

impl Clock {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// One put after the other, each when everybody has the one before.
async fn put_for(
    kv: &mut KvClient<Channel>,
    clock: &Clock,
    watchers: u32,
    time: Duration,
    counts: bool,
) -> Result<()> {
    let (began, value) = (Instant::now(), Bytes::from_static(&[b'v'; super::workload::VALUE_BYTES]));
    while began.elapsed() < time {
        clock.sent_us.store(if counts { clock.now_us().max(1) } else { 0 }, Ordering::Release);
        let put = PutRequest { key: Bytes::from_static(KEY), value: value.clone(), ..PutRequest::default() };
        kv.put(put).await?;
        match timeout(RECEIVED_AT_MOST, clock.received.acquire_many(watchers)).await {
            Ok(received) => received?.forget(),
            Err(_elapsed) => bail!("a put did not reach every watcher in {} s", RECEIVED_AT_MOST.as_secs()),
        }
    }
    Ok(())
}
