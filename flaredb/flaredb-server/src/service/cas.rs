//! `KvCas`: linearizable, versioned records of Strong namespaces.

use std::sync::Arc;

use flaredb_engine::{ScanPage, ScanRange};
use flaredb_proto::{
    v1::{
        CasCommit, CasDelete, CasDeleteRequest, CasDeleteResponse, CasPut, CasRequest, CasResponse,
        CommitRequest, CommitResponse, Conflict, GetRequest, GetResponse, NamespaceMode, Record, ScanRequest,
        ScanResponse, WatchRequest, flare_request::Command, kv_cas_server::KvCas,
    },
    validate,
};
use photon_runtime::{Action, Principal, principal};
use tonic::{Request, Response, Status, Streaming};

use super::{Api, commits::Commits, off_the_reactor, watch::Watch};
use crate::{
    region::{Region, Written},
    status::Refusal,
};

#[tonic::async_trait]
impl KvCas for Api {
    type CommitEachStream = Commits;
    type WatchStream = Watch;

    async fn compare_and_swap(&self, request: Request<CasRequest>) -> Result<Response<CasResponse>, Status> {
        let region = self.allow(&request, Action::Write, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::cas(&request).map_err(Refusal::from)?;
        Ok(Response::new(self.swap(region, request).await?))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let region = self.allow(&request, Action::Read, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::get(&request).map_err(Refusal::from)?;
        Ok(Response::new(get(region, &request).await?))
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<ScanResponse>, Status> {
        let region = self.allow(&request, Action::Read, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::scan(&request).map_err(Refusal::from)?;
        Ok(Response::new(scan(region, request).await?))
    }

    async fn compare_and_delete(
        &self,
        request: Request<CasDeleteRequest>,
    ) -> Result<Response<CasDeleteResponse>, Status> {
        let region = self.allow(&request, Action::Write, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::cas_delete(&request).map_err(Refusal::from)?;
        Ok(Response::new(self.compared_delete(region, request).await?))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        let caller = principal(&request)?.clone();
        Ok(Response::new(self.commit_one(&caller, request.into_inner()).await?))
    }

    async fn commit_each(
        &self,
        request: Request<Streaming<CommitRequest>>,
    ) -> Result<Response<Commits>, Status> {
        let caller = principal(&request)?.clone();
        self.regions.first()?.check_leader()?;
        Ok(Response::new(self.open_commits(caller, request.into_inner())))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Watch>, Status> {
        let region = Arc::clone(self.allow(&request, Action::Read, &request.get_ref().namespace)?);
        let request = request.into_inner();
        validate::watch(&request).map_err(Refusal::from)?;
        Ok(Response::new(self.open_watch(region, request).await?))
    }
}

impl Api {
    async fn swap(&self, region: &Region, request: CasRequest) -> Result<CasResponse, Refusal> {
        let ts = self.clock.now();
        let command = |namespace_id| {
            Command::CasPut(CasPut {
                namespace_id,
                key: request.key.clone(),
                value: request.value.clone(),
                expected_version: request.expected_version,
                ts,
                idempotency_id: request.idempotency_id.clone(),
            })
        };
        Ok(match region.write(&request.namespace, NamespaceMode::Strong, command).await? {
            Written::Done(new_version) => CasResponse {
                success: true,
                current_version: request.expected_version,
                new_version,
                ..CasResponse::default()
            },
            Written::Conflicts(found) => {
                let Conflict { actual, actual_value, .. } = first(found);
                CasResponse { current_version: actual, current_value: actual_value, ..CasResponse::default() }
            }
        })
    }

    async fn compared_delete(
        &self,
        region: &Region,
        request: CasDeleteRequest,
    ) -> Result<CasDeleteResponse, Refusal> {
        let ts = self.clock.now();
        let command = |namespace_id| {
            Command::CasDelete(CasDelete {
                namespace_id,
                key: request.key.clone(),
                expected_version: request.expected_version,
                ts,
                idempotency_id: request.idempotency_id.clone(),
            })
        };
        Ok(match region.write(&request.namespace, NamespaceMode::Strong, command).await? {
            Written::Done(revision) => CasDeleteResponse {
                success: true,
                current_version: request.expected_version,
                revision,
                ..CasDeleteResponse::default()
            },
            Written::Conflicts(found) => {
                let Conflict { actual, actual_value, .. } = first(found);
                CasDeleteResponse {
                    current_version: actual,
                    current_value: actual_value,
                    ..CasDeleteResponse::default()
                }
            }
        })
    }

    /// Lets the caller commit a batch, and does it.
    pub(super) async fn commit_one(
        &self,
        caller: &Principal,
        request: CommitRequest,
    ) -> Result<CommitResponse, Status> {
        let region = self.allow_principal(caller, Action::Write, &request.namespace)?;
        validate::commit(&request).map_err(Refusal::from)?;
        Ok(self.batch(region, request).await?)
    }

    async fn batch(&self, region: &Region, request: CommitRequest) -> Result<CommitResponse, Refusal> {
        let ts = self.clock.now();
        let command = |namespace_id| {
            Command::CasCommit(CasCommit {
                namespace_id,
                compares: request.compares.clone(),
                writes: request.writes.clone(),
                ts,
                idempotency_id: request.idempotency_id.clone(),
            })
        };
        Ok(match region.write(&request.namespace, NamespaceMode::Strong, command).await? {
            Written::Done(revision) => {
                CommitResponse { success: true, revision, ..CommitResponse::default() }
            }
            Written::Conflicts(conflicts) => CommitResponse { conflicts, ..CommitResponse::default() },
        })
    }
}

async fn get(region: &Region, request: &GetRequest) -> Result<GetResponse, Refusal> {
    let namespace = region.strong(&request.namespace).await?;
    let found = region.state.get(namespace.id, &request.key);
    let (record, revision) = found.map_err(|error| Refusal::unreadable(&namespace.name, error))?;
    Ok(match record {
        None => GetResponse { revision, ..GetResponse::default() },
        Some(record) => GetResponse { found: true, value: record.value, version: record.version, revision },
    })
}

async fn scan(region: &Region, request: ScanRequest) -> Result<ScanResponse, Refusal> {
    let namespace = region.strong(&request.namespace).await?;
    let state = region.state.clone();
    let read = move || state.scan(namespace.id, range(request));
    let page = off_the_reactor(&namespace.name, read).await?;
    Ok(response(page))
}

fn range(request: ScanRequest) -> ScanRange {
    ScanRange {
        start: request.start_key,
        end: (!request.end_key.is_empty()).then_some(request.end_key),
        limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
        revision: (request.revision > 0).then_some(request.revision),
        keys_only: request.keys_only,
        ..ScanRange::default()
    }
}

fn response(page: ScanPage) -> ScanResponse {
    let records = page
        .records
        .into_iter()
        .map(|record| Record { key: record.key, value: record.value, version: record.version })
        .collect();
    ScanResponse { records, revision: page.revision, next_key: page.next.unwrap_or_default() }
}

/// What was found. A refusal of a one-key write names exactly one conflict.
fn first(conflicts: Vec<Conflict>) -> Conflict {
    conflicts.into_iter().next().unwrap_or_default()
}
