//! `KvRaw`: last-writer-wins records of Eventual namespaces.
//!
//! A write is as durable as a Strong one. A read is whatever this replica holds, and says how far that is; a
//! session token makes it wait until the replica holds what the caller has seen.

use bytes::Bytes;
use flaredb_engine::NamespaceInfo;
use flaredb_proto::{
    v1::{
        KvDelete, KvPut, NamespaceMode, RawDeleteRequest, RawDeleteResponse, RawGetRequest, RawGetResponse,
        RawPutRequest, RawPutResponse, RawRecord, RawScanRequest, RawScanResponse, Staleness,
        flare_request::Command, kv_raw_server::KvRaw,
    },
    validate,
};
use photon_runtime::Action;
use tonic::{Request, Response, Status};

use super::{Api, off_the_reactor};
use crate::{
    region::{self, Region, Written, check_mode},
    session::Session,
    status::Refusal,
};

#[tonic::async_trait]
impl KvRaw for Api {
    async fn raw_put(&self, request: Request<RawPutRequest>) -> Result<Response<RawPutResponse>, Status> {
        let region = self.allow(&request, Action::Write, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::raw_put(&request).map_err(Refusal::from)?;
        let ts = self.stamp(request.ts)?;
        let command = |namespace_id| {
            Command::KvPut(KvPut {
                namespace_id,
                key: request.key.clone(),
                value: request.value.clone(),
                ts,
                origin: request.origin,
            })
        };
        let (ts, session_token) = write(region, &request.namespace, command).await?;
        Ok(Response::new(RawPutResponse { success: true, ts, session_token }))
    }

    async fn raw_get(&self, request: Request<RawGetRequest>) -> Result<Response<RawGetResponse>, Status> {
        let region = self.allow(&request, Action::Read, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::raw_get(&request).map_err(Refusal::from)?;
        let namespace = eventual(region, &request.namespace, &request.session_token).await?;
        check_lag(region, request.max_lag_ms)?;
        let before = region.session();
        let found = region.state.raw_get(namespace.id, &request.key);
        let record = found.map_err(|error| Refusal::unreadable(&namespace.name, error))?;
        let staleness = Some(staleness(region, before));
        Ok(Response::new(match record {
            None => RawGetResponse { staleness, ..RawGetResponse::default() },
            Some(record) => RawGetResponse { found: true, value: record.value, ts: record.ts, staleness },
        }))
    }

    async fn raw_scan(&self, request: Request<RawScanRequest>) -> Result<Response<RawScanResponse>, Status> {
        let region = self.allow(&request, Action::Read, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::raw_scan(&request).map_err(Refusal::from)?;
        Ok(Response::new(scan(region, request).await?))
    }

    async fn raw_delete(
        &self,
        request: Request<RawDeleteRequest>,
    ) -> Result<Response<RawDeleteResponse>, Status> {
        let region = self.allow(&request, Action::Write, &request.get_ref().namespace)?;
        let request = request.into_inner();
        validate::raw_delete(&request).map_err(Refusal::from)?;
        let ts = self.stamp(request.ts)?;
        let command = |namespace_id| {
            Command::KvDelete(KvDelete { namespace_id, key: request.key.clone(), ts, origin: request.origin })
        };
        let (ts, session_token) = write(region, &request.namespace, command).await?;
        Ok(Response::new(RawDeleteResponse { success: true, ts, session_token }))
    }
}

impl Api {
    /// The caller's timestamp, or one of this node's clock.
    fn stamp(&self, ts: u64) -> Result<u64, Refusal> {
        if ts == 0 {
            return Ok(self.clock.now());
        }
        self.clock.observe(ts).map_err(|refused| {
            Refusal::invalid("ts", refused.to_string(), "a timestamp of a correct clock, or 0")
        })?;
        Ok(ts)
    }
}

async fn write(
    region: &Region,
    namespace: &str,
    command: impl Fn(u32) -> Command,
) -> Result<(u64, Bytes), Refusal> {
    match region.write(namespace, NamespaceMode::Eventual, command).await? {
        Written::Done(ts) => Ok((ts, region.session().encode())),
        Written::Conflicts(_) => Err(region::unexpected("an eventual write")),
    }
}

/// The namespace, on a replica that has applied what the session saw.
async fn eventual(region: &Region, name: &str, token: &Bytes) -> Result<NamespaceInfo, Refusal> {
    region.hub.recovered().await;
    wait_for(region, token).await?;
    let namespace = region.namespace(name).await?;
    check_mode(&namespace, NamespaceMode::Eventual)?;
    Ok(namespace)
}

/// Refuses for a replica that is further behind than the caller allows; 0 allows anything.
fn check_lag(region: &Region, max_lag_ms: u64) -> Result<(), Refusal> {
    let lag_ms = region.group.status().leader_contact_ms;
    if max_lag_ms == 0 || lag_ms <= max_lag_ms {
        return Ok(());
    }
    Err(Refusal::Unavailable(format!(
        "this replica last heard from a leader {lag_ms} ms ago, at most {max_lag_ms} ms are allowed"
    )))
}

/// Waits as long as the caller's deadline allows.
async fn wait_for(region: &Region, token: &Bytes) -> Result<(), Refusal> {
    if token.is_empty() {
        return Ok(());
    }
    let session = Session::decode(token).filter(|session| session.region == region.id).ok_or_else(|| {
        Refusal::invalid("session_token", "other bytes", "a token that a write or read returned")
    })?;
    let mut applied = region.group.watch_applied();
    let reached = applied.wait_for(|&index| index >= session.index).await;
    reached.map(drop).map_err(|_stopped| Refusal::Unavailable("this replica has stopped".to_owned()))
}

async fn scan(region: &Region, request: RawScanRequest) -> Result<RawScanResponse, Refusal> {
    let namespace = eventual(region, &request.namespace, &request.session_token).await?;
    check_lag(region, request.max_lag_ms)?;
    let before = region.session();
    let state = region.state.clone();
    let read = move || {
        let end = (!request.end_key.is_empty()).then_some(&request.end_key[..]);
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        state.raw_scan(namespace.id, &request.start_key, end, limit)
    };
    let page = off_the_reactor(&namespace.name, read).await?;
    let staleness = Some(staleness(region, before));
    let records = page.records.into_iter();
    let records =
        records.map(|record| RawRecord { key: record.key, value: record.value, ts: record.ts }).collect();
    Ok(RawScanResponse { records, next_key: page.next.unwrap_or_default(), staleness })
}

/// How far this replica was. The index is from before the read, so that it never claims too much; the token is from
/// after it, so that a later read elsewhere never shows less.
fn staleness(region: &Region, before: Session) -> Staleness {
    Staleness {
        applied_index: before.index,
        lag_ms: region.group.status().leader_contact_ms,
        session_token: region.session().encode(),
    }
}
