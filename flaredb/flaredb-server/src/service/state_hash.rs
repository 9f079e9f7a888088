//! The hash of what this replica holds, for whoever compares replicas.

use std::time::Duration;

use flaredb_proto::v1::StateHashResponse;
use tokio::time::timeout;

use super::{Api, off_the_reactor};
use crate::status::Refusal;

/// How long the hash of everything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Answers it. A replica under quarantine answers as well: it is there to be compared.
pub(super) async fn state_hash(api: &Api) -> Result<StateHashResponse, Refusal> {
    let region = api.regions.first()?;
    let state = region.state.clone();
    let hash = off_the_reactor("", move || {
        let view = state.snapshot()?;
        Ok((view.applied().index, view.hash()?))
    });
    let hashed = timeout(PATIENCE, hash).await;
    let (applied_index, hash) = hashed.map_err(|_late| {
        Refusal::Unavailable(format!("hashing everything takes longer than {} s", PATIENCE.as_secs()))
    })??;
    Ok(StateHashResponse { applied_index, sha256: hash.to_vec().into() })
}
