//! Markers: keys that say which commits were carried out, outside of every service's prefix.
//!
//! A marker is written in its commit's own transaction, so its revision is the commit's. It goes with a lease: long
//! after its commit can be in doubt, and without anybody to clean up. Each lease is used for a short time and for a
//! bounded number of markers, so that its end is a small deletion and not one of everything; it is never kept alive.

use std::time::Duration;

use bytes::Bytes;
use chainfire_client::{Client, Error};
use tokio::{sync::Mutex, time::Instant};

use crate::{IdempotencyId, Namespace};

/// How long a marker is there at least, but for the time below.
const TTL_S: i64 = 600;
/// How long a lease is given to new markers.
const USED_FOR: Duration = Duration::from_secs(60);
/// How many markers it is given to.
const MARKERS_MAX: u32 = 1_000;
/// Where markers are; behind it the service's name, so that a role can be given one service's alone.
const FOLDER: &str = "/metadata-commits";

/// A key that says that a commit was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) key: Bytes,
    pub(super) lease: i64,
}

/// The lease that new markers get.
#[derive(Debug)]
struct Lease {
    id: i64,
    granted: Instant,
    markers: u32,
}

/// One service's markers.
#[derive(Debug)]
pub(super) struct Markers {
    client: Client,
    service: &'static str,
    lease: Mutex<Option<Lease>>,
}

impl Markers {
    pub(super) fn of(client: Client, namespace: Namespace) -> Markers {
        Markers { client, service: namespace.name, lease: Mutex::default() }
    }

    /// The marker of a commit. It may take a grant of a lease.
    ///
    /// # Errors
    /// When there is none to be had; nothing was committed.
    pub(super) async fn marker(&self, id: &IdempotencyId) -> Result<Marker, Error> {
        let key = Bytes::from(format!("{FOLDER}/{}/{id}", self.service));
        let mut lease = self.lease.lock().await;
        let reusable = lease.as_mut().filter(|lease| lease.is_reusable());
        if let Some(lease) = reusable {
            lease.markers += 1;
            return Ok(Marker { key, lease: lease.id });
        }
        // Its time counts from before it began.
        let granted = Instant::now();
        let (id, _ttl_s) = self.client.grant(TTL_S).await.map_err(not_granted)?;
        *lease = Some(Lease { id, granted, markers: 1 });
        Ok(Marker { key, lease: id })
    }

    /// A lease has ended before its time.
    pub(super) async fn forget(&self, id: i64) {
        let mut lease = self.lease.lock().await;
        if lease.as_ref().is_some_and(|lease| lease.id == id) {
            *lease = None;
        }
    }
}

impl Lease {
    fn is_reusable(&self) -> bool {
        self.granted.elapsed() < USED_FOR && self.markers < MARKERS_MAX
    }
}

/// A lease that may or may not be there harms nothing: the commit was not sent.
fn not_granted(error: Error) -> Error {
    match error {
        Error::Indeterminate { source } => Error::Unavailable { source },
        other => other,
    }
}
