//! The hash of what this replica holds, for its leader's audits and for whoever compares replicas.

use std::time::Duration;

use flaredb_proto::v1::{StateHashRequest, StateHashResponse};
use photon_runtime::{Action, Resource, Service as _, authorize, principal};
use tokio::time::timeout;
use tonic::{Request, Status};

use super::{Api, off_the_reactor};
use crate::{FlareDb, status::Refusal};

/// How long the hash of everything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Lets in the nodes of this cluster and its administrators.
pub(super) fn allow<T>(request: &Request<T>) -> Result<(), Status> {
    let caller = principal(request)?;
    authorize(caller, Action::Peer, &Resource::Replicas(FlareDb::NAME))
        .or_else(|_no_peer| authorize(caller, Action::Admin, &Resource::Cluster))?;
    Ok(())
}

/// Answers it. A replica under quarantine answers as well: it is there to be compared.
pub(super) async fn state_hash(api: &Api, request: StateHashRequest) -> Result<StateHashResponse, Refusal> {
    let region = api.regions.first()?;
    if request.audit_index > 0 {
        let found = region.auditor.finding(request.audit_index).await;
        let found = found.ok_or_else(|| {
            Refusal::Unavailable(format!("nothing was found here at audit {}", request.audit_index))
        })?;
        return Ok(StateHashResponse {
            applied_index: request.audit_index,
            sha256: found.hash.to_vec().into(),
        });
    }
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
