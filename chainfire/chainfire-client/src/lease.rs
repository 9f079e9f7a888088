//! Leases: granting, ending, asking, and keeping one alive.

use std::time::Duration;

use chainfire_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
    LeaseTimeToLiveRequest, lease_client::LeaseClient,
};
use futures::stream;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{Client, Error, client::Plan};

/// A lease is renewed so many times before it would end.
const RENEWALS: u32 = 3;
/// Between two attempts to renew it.
const PAUSE: Duration = Duration::from_millis(250);

/// Keeps one lease alive while it is awaited.
#[derive(Debug)]
pub struct KeepAlive {
    client: Client,
    id: i64,
}

impl Client {
    /// Grants a lease of so many seconds; returns its number and the time that the server gave it. An attempt in doubt
    /// is repeated: what it leaves behind is a lease that nobody keeps.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn grant(&self, ttl_s: i64) -> Result<(i64, i64), Error> {
        let send = |channel, request| async move { LeaseClient::new(channel).lease_grant(request).await };
        let answer = self.call(Plan::REPEATABLE, LeaseGrantRequest { ttl: ttl_s, id: 0 }, send).await?;
        Ok((answer.id, answer.ttl))
    }

    /// Ends a lease, and with it its keys. That there is none is no error.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn revoke(&self, id: i64) -> Result<(), Error> {
        let send = |channel, request| async move { LeaseClient::new(channel).lease_revoke(request).await };
        match self.call(Plan::REPEATABLE, LeaseRevokeRequest { id }, send).await {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Seconds that are left of a lease; `None`: there is no such lease.
    ///
    /// # Errors
    /// Any [`Error`] but an unknown outcome.
    pub async fn time_to_live(&self, id: i64) -> Result<Option<i64>, Error> {
        let send =
            |channel, request| async move { LeaseClient::new(channel).lease_time_to_live(request).await };
        let answer = self.call(Plan::READ, LeaseTimeToLiveRequest { id, keys: false }, send).await?;
        Ok((answer.ttl >= 0).then_some(answer.ttl))
    }

    /// Keeps a lease alive.
    pub fn keep_alive(&self, id: i64) -> KeepAlive {
        KeepAlive { client: self.clone(), id }
    }
}

impl KeepAlive {
    /// Renews the lease once; returns the time that it has from now on.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it has ended, and any other but an unknown outcome.
    pub async fn renew(&self) -> Result<Duration, Error> {
        self.renew_within(self.client.request_timeout()).await
    }

    async fn renew_within(&self, timeout: Duration) -> Result<Duration, Error> {
        let plan = Plan::READ.streaming().within(timeout);
        let answer = self.client.call(plan, LeaseKeepAliveRequest { id: self.id }, renewed).await?;
        let ttl_s = u64::try_from(answer.ttl).unwrap_or(0);
        if ttl_s == 0 {
            return Err(Error::NotFound { message: format!("lease {:x} has ended", self.id) });
        }
        Ok(Duration::from_secs(ttl_s))
    }

    /// Renews the lease again and again. Returns once it is not certain any more that it lives: [`Error::NotFound`] when
    /// it has ended, or why nobody confirmed it for as long as it had left.
    pub async fn until_lost(&self) -> Error {
        // What was there before is not known, so the first renewal has a call's time.
        let mut ends = Instant::now() + self.client.request_timeout();
        loop {
            let asked = Instant::now();
            match self.renew_within(ends.saturating_duration_since(asked)).await {
                Ok(ttl) => {
                    // The server's time began after the question was sent.
                    ends = asked + ttl;
                    sleep_until(asked + ttl / RENEWALS).await;
                }
                Err(error) if error.is_definite() || Instant::now() + PAUSE >= ends => return error,
                Err(error) => {
                    tracing::warn!(%error, lease = self.id, "a lease could not be renewed yet");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Opens a stream for one renewal and reads its answer.
async fn renewed(
    channel: Channel,
    request: Request<LeaseKeepAliveRequest>,
) -> Result<Response<LeaseKeepAliveResponse>, Status> {
    let once = request.map(|request| stream::iter([request]));
    let mut answers = LeaseClient::new(channel).lease_keep_alive(once).await?.into_inner();
    let answer = answers.message().await?;
    answer.map(Response::new).ok_or_else(|| Status::unavailable("the stream ended without an answer"))
}
