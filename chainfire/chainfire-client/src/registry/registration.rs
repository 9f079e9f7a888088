//! An instance that is registered: its record under a lease, which is kept alive and made anew when it is lost.

use std::time::Duration;

use chainfire_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest, request_op::Request as Op};
use photon_dial::pause;
use tokio::time::sleep;

use super::instance::Instance;
use crate::{Client, Error};

/// Seconds that a lease lasts, at least and at most: below, one lost packet ends it; above, a machine that died is shown
/// for longer than anybody wants to wait.
const TTL_S: std::ops::RangeInclusive<u64> = 2..=3_600;

/// A registered instance. Its record lives for as long as somebody awaits [`Registration::keep`], and its time to live
/// after that.
#[derive(Debug)]
pub struct Registration {
    client: Client,
    instance: Instance,
    ttl_s: i64,
    lease: i64,
}

impl Registration {
    pub(super) async fn begin(client: Client, instance: Instance, ttl: Duration) -> Result<Self, Error> {
        instance.check()?;
        let ttl_s = ttl_s(ttl)?;
        let mut registration = Self { client, instance, ttl_s, lease: 0 };
        registration.announce().await?;
        Ok(registration)
    }

    /// What is registered.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Keeps the instance registered while it is awaited, through every failure that time can cure. It may be dropped at
    /// any time and awaited again. Returns why it cannot go on.
    pub async fn keep(&mut self) -> Error {
        let mut failures = 0;
        loop {
            let lost = self.client.keep_alive(self.lease).until_lost().await;
            if is_final(&lost) {
                return lost;
            }
            tracing::warn!(error = %lost, instance = self.instance.key(), "a registration's lease was lost");
            while let Err(error) = self.announce().await {
                if is_final(&error) {
                    return error;
                }
                tracing::warn!(%error, instance = self.instance.key(), "an instance cannot be registered yet");
                sleep(pause(failures, rand::random())).await;
                failures = failures.saturating_add(1);
            }
            failures = 0;
        }
    }

    /// Says something else about the same instance, such as that it is not well.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is another instance; [`Error::NotFound`] when the lease was lost, which
    /// [`Registration::keep`] makes good, with what is said here; and any other.
    pub async fn update(&mut self, instance: Instance) -> Result<(), Error> {
        instance.check()?;
        if instance.key() != self.instance.key() {
            let (found, accepted) = (instance.key(), self.instance.key());
            return Err(Error::Invalid { field: "instance", found, accepted });
        }
        self.instance = instance;
        self.put(self.lease).await
    }

    /// Takes the instance out at once.
    ///
    /// # Errors
    /// Any [`Error`]; the record then ends with its lease.
    pub async fn deregister(self) -> Result<(), Error> {
        self.client.revoke(self.lease).await
    }

    /// Makes a lease, and the record under it.
    async fn announce(&mut self) -> Result<(), Error> {
        let (lease, _) = self.client.grant(self.ttl_s).await?;
        self.put(lease).await?;
        self.lease = lease;
        Ok(())
    }

    /// Nobody else writes this record, so to write it twice is as good as once.
    async fn put(&self, lease: i64) -> Result<(), Error> {
        let (key, value) = (self.instance.key().into(), self.instance.encode()?.into());
        let put = PutRequest { key, value, lease, ..PutRequest::default() };
        let success = vec![RequestOp { request: Some(Op::RequestPut(put)) }];
        self.client.txn_repeatable(TxnRequest { success, ..TxnRequest::default() }).await.map(drop)
    }
}

fn ttl_s(ttl: Duration) -> Result<i64, Error> {
    let accepted = || format!("{} to {} seconds", TTL_S.start(), TTL_S.end());
    let invalid = || Error::Invalid { field: "ttl", found: format!("{ttl:?}"), accepted: accepted() };
    match TTL_S.contains(&ttl.as_secs()) {
        true => i64::try_from(ttl.as_secs()).map_err(|_too_long| invalid()),
        false => Err(invalid()),
    }
}

/// Whether trying again cannot help.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::Invalid { .. } | Error::TooLarge { .. } | Error::Denied { .. } | Error::Protocol { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_to_live_that_cannot_work_is_refused() {
        assert_eq!(ttl_s(Duration::from_secs(10)).unwrap(), 10);
        assert!(ttl_s(Duration::from_millis(900)).is_err() && ttl_s(Duration::MAX).is_err());
    }
}
