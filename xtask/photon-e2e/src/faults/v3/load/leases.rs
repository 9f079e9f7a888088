//! A client that is granted a lease, ties a key to it, renews it for a while, and then ends it or leaves it to its end.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chainfire_client::{Client, Error};
use chainfire_proto::etcdserverpb::PutRequest;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{sleep, timeout};

use super::requests::done;
use crate::faults::{
    check::lease::{Lease, Renewal},
    history::{Did, LEASED, NEVER, Operation, Outcome},
    load::Shared,
};

const TTL_S: i64 = 3;
/// So many renewals, about one each second.
const RENEWALS: std::ops::Range<u32> = 1..9;
const EVERY: Duration = Duration::from_millis(900);
const PAUSE: Duration = Duration::from_millis(100);
/// One attempt to renew: short beside the lease, so that another node is asked in time.
const RENEW_AT_MOST: Duration = Duration::from_millis(600);
/// Numbers of these clients follow those of the others.
const FIRST: u32 = 80;

/// Holds one lease after the other until it is told to stop.
pub(super) async fn run(
    shared: Arc<Shared>,
    client: Client,
    leases: Arc<Mutex<Vec<Lease>>>,
    number: u32,
    seed: u64,
) {
    let number = FIRST + number;
    let random = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
    let mut holder = Holder { shared, client, number, random, sequence: 0 };
    while holder.shared.runs() {
        match holder.hold().await {
            Some(lease) => leases.lock().unwrap_or_else(PoisonError::into_inner).push(lease),
            None => sleep(PAUSE).await,
        }
    }
}

struct Holder {
    shared: Arc<Shared>,
    client: Client,
    number: u32,
    random: StdRng,
    sequence: u64,
}

impl Holder {
    /// A lease from its grant to its end; `None`: it was not granted.
    async fn hold(&mut self) -> Option<Lease> {
        let called_ms = self.shared.recorder.now_ms();
        let (id, ttl_s) = self.client.grant(TTL_S).await.ok()?;
        self.sequence += 1;
        let mut lease = Lease {
            id,
            key: format!("{LEASED}{}-{}", self.number, self.sequence),
            renewals: vec![Renewal { called_ms, ttl_ms: u64::try_from(ttl_s).ok()? * 1000 }],
            ..Lease::default()
        };
        lease.tied = self.tie(&lease.key, id).await;
        lease.left_ms = self.shared.recorder.now_ms();
        for _ in 0..self.random.random_range(RENEWALS) {
            if !lease.tied || !self.shared.runs() || lease.told_gone_ms.is_some() {
                break;
            }
            sleep(EVERY).await;
            self.renew(&mut lease).await;
        }
        if self.random.random_bool(0.4) {
            lease.revoke_called_ms = Some(self.shared.recorder.now_ms());
            lease.revoked = self.client.revoke(id).await.is_ok();
        }
        Some(lease)
    }

    /// Whether the key was acknowledged.
    async fn tie(&self, key: &str, lease: i64) -> bool {
        let recorder = &self.shared.recorder;
        let value = format!("{key}-{lease:x}");
        let (at_ms, called) = (recorder.now_ms(), recorder.tick());
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.clone().into(),
            lease,
            ..PutRequest::default()
        };
        let outcome = done(self.client.put(request).await.map(|answer| answer.header));
        let tied = matches!(outcome, Outcome::Done(_));
        let (client, key, did) = (self.number, key.to_owned(), Did::Put(value));
        recorder.note(Operation { client, key, did, outcome, called, returned: NEVER, at_ms });
        tied
    }

    /// Renews until it was answered, the lease's time is over or the run is.
    async fn renew(&self, lease: &mut Lease) {
        let recorder = &self.shared.recorder;
        loop {
            let called_ms = recorder.now_ms();
            let renewed = timeout(RENEW_AT_MOST, self.client.keep_alive(lease.id).renew()).await;
            lease.left_ms = recorder.now_ms();
            match renewed {
                Ok(Ok(ttl)) => {
                    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                    return lease.renewals.push(Renewal { called_ms, ttl_ms });
                }
                Ok(Err(Error::NotFound { .. })) => {
                    lease.told_gone_ms = Some(lease.left_ms);
                    return;
                }
                _ if lease.lapses_ms() < lease.left_ms || !self.shared.runs() => return,
                _ => sleep(PAUSE).await,
            }
        }
    }
}
