//! How the registers are kept in a Strong namespace: by compared writes and batches of the client library.

use std::sync::Arc;

use bytes::Bytes;
use flaredb_client::{CommitRequest, Error, RdbClient, Read, Swap, Write, idempotency_id, write};
use rand::{RngExt as _, rngs::StdRng};

use super::{super::STRONG, unknown};
use crate::faults::{
    history::{Did, Outcome},
    load::{Shared, strong::Requests},
};

/// Requests through the client library.
#[derive(Debug)]
pub(super) struct Routed {
    router: RdbClient,
    /// One client for each slot, which asks that node and no other.
    nodes: Arc<Vec<RdbClient>>,
}

impl Routed {
    /// By a router of its own, and clients of single nodes that are shared.
    pub(super) fn new(router: RdbClient, nodes: Arc<Vec<RdbClient>>) -> Self {
        Self { router, nodes }
    }
}

impl Requests for Routed {
    async fn ask(&mut self, shared: &Shared, key: &str, did: &Did, random: &mut StdRng) -> Outcome {
        match did {
            Did::Get => {
                // Some go where the client library sends them.
                let routed = random.random_bool(0.2);
                let slot = shared.any_slot(random);
                let node = self.nodes.get(slot).filter(|_| !routed);
                found(node.unwrap_or(&self.router).get(STRONG, key.to_owned()).await)
            }
            // Scenarios of their own look at scans, which are no single request.
            Did::List => Outcome::Failed("it is not asked for lists".to_owned()),
            Did::Swap(expected, value) => {
                swapped(self.router.cas_put(STRONG, key, value.as_str(), *expected).await)
            }
            Did::Delete(expected) => swapped(self.router.cas_delete(STRONG, key, *expected).await),
            Did::Put(value) => self.commit(&[(key, value.as_str())], random).await,
            Did::Pair(other, value) => {
                self.commit(&[(key, value.as_str()), (other, value.as_str())], random).await
            }
        }
    }
}

impl Routed {
    /// One write in two carries an id, by which the client library resolves unknown outcomes.
    async fn commit(&self, writes: &[(&str, &str)], random: &mut StdRng) -> Outcome {
        let put = |(key, value): &(&str, &str)| Write {
            key: (*key).to_owned().into(),
            op: Some(write::Op::Put((*value).to_owned().into())),
        };
        let idempotency_id = if random.random_bool(0.5) { idempotency_id() } else { Bytes::new() };
        let request = CommitRequest {
            namespace: STRONG.to_owned(),
            writes: writes.iter().map(put).collect(),
            idempotency_id,
            ..CommitRequest::default()
        };
        match self.router.commit(request).await {
            Ok(revision) => Outcome::Done(revision),
            Err(error) => failed(&error),
        }
    }
}

/// What a read came to.
pub(super) fn found(read: Result<Read, Error>) -> Outcome {
    match read {
        Ok(Read { record: Some(record), revision }) => {
            Outcome::Found(record.version, String::from_utf8_lossy(&record.value).into_owned(), revision)
        }
        Ok(Read { record: None, revision }) => Outcome::Found(0, String::new(), revision),
        // A read that was not answered has no effect, whatever became of it.
        Err(error) => Outcome::Failed(unknown(&error).1),
    }
}

fn swapped(swap: Result<Swap, Error>) -> Outcome {
    match swap {
        Ok(Swap::Done(revision)) => Outcome::Done(revision),
        Ok(Swap::Conflict { version, .. }) => Outcome::Conflict(version),
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> Outcome {
    match unknown(error) {
        (true, words) => Outcome::Unknown(words),
        (false, words) => Outcome::Failed(words),
    }
}
