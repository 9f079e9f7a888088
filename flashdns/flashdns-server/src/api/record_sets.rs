//! The `RecordSets` service.

use std::collections::BTreeSet;

use flashdns_proto::v1::{self, record_set_change::Precondition as Asked, record_sets_server::RecordSets};
use metadata_store::{MetadataStore as _, Version};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{Api, page_size, reader, status, wire, writer, zone_name};
use crate::{
    editor::{Stored, ZoneName},
    metadata::{
        decode, keys,
        records::{RecordSetRecord, ZoneRecord},
    },
    page::PageToken,
    plan::{self, Precondition, Request as Wanted, SetChange},
    text,
};

/// Record sets of a page.
const PAGE_MAX: usize = 1000;
/// Changes of one request; with the zone, its log and the answer they fit one commit.
const CHANGES_MAX: usize = 500;
/// TTL where the request has none.
const TTL_DEFAULT_S: u32 = 300;
/// As the store's own ids.
const IDEMPOTENCY_ID_BYTES_MAX: usize = 64;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct RecordSetsApi(pub(crate) Api);

#[tonic::async_trait]
impl RecordSets for RecordSetsApi {
    async fn list_record_sets(
        &self,
        request: Request<v1::ListRecordSetsRequest>,
    ) -> Result<Response<v1::ListRecordSetsResponse>, Status> {
        reader(&request)?;
        let request = request.into_inner();
        let name = zone_name(&request.zone)?;
        let Stored { zone, version } = self.0.editor.zone(&name).await?;
        let (from, has_soa) = first_page(&name, &zone, &request)?;
        let size = page_size(request.page_size, 100, PAGE_MAX);
        let mut page = v1::ListRecordSetsResponse::default();
        if from.is_first && has_soa {
            page.record_sets.push(wire::record_set(plan::soa_set(&zone), version));
        }
        self.fill(&mut page, &from, size).await?;
        Ok(Response::new(page))
    }

    async fn get_record_set(
        &self,
        request: Request<v1::GetRecordSetRequest>,
    ) -> Result<Response<v1::RecordSet>, Status> {
        reader(&request)?;
        let request = request.into_inner();
        let name = zone_name(&request.zone)?;
        let target = target(&name, &request.name, &request.r#type)?;
        let Stored { zone, version } = self.0.editor.zone(&name).await?;
        if target.set.rtype == "SOA" && target.owner == name.wire {
            return Ok(Response::new(wire::record_set(plan::soa_set(&zone), version)));
        }
        let key = keys::record_set(zone.root, &target.owner, &target.set.rtype);
        let found =
            self.0.editor.store().get(&key, Version(0)).await.map_err(|error| status::store(&error))?;
        let RecordSetRecord { name: owner, rtype, .. } = target.set;
        let record = found.ok_or_else(|| Status::not_found(format!("{owner} {rtype}: does not exist")))?;
        let set = decode(&record).map_err(|error| status::store(&error))?;
        Ok(Response::new(wire::record_set(set, record.version)))
    }

    async fn change_record_sets(
        &self,
        request: Request<v1::ChangeRecordSetsRequest>,
    ) -> Result<Response<v1::ChangeRecordSetsResponse>, Status> {
        let author = writer(&request, &request.get_ref().comment)?;
        let request = request.into_inner();
        let name = zone_name(&request.zone)?;
        let repeat = repeat(&request)?;
        let changes = changes(&name, request.changes)?;
        let wanted = Wanted { changes, soa: None, expected: Version(0), author, repeat };
        let changed = self.0.editor.change(&name, &wanted).await?;
        self.0.wait_served(changed.version).await;
        let set = |set| wire::record_set(set, changed.version);
        Ok(Response::new(v1::ChangeRecordSetsResponse {
            serial: changed.serial,
            version: changed.version.0,
            record_sets: changed.record_sets.into_iter().map(set).collect(),
        }))
    }
}

impl RecordSetsApi {
    /// Adds rows up to `size`, and the token of the next page.
    async fn fill(
        &self,
        page: &mut v1::ListRecordSetsResponse,
        from: &PageToken,
        size: usize,
    ) -> Result<(), Status> {
        let room = size - page.record_sets.len();
        if room == 0 {
            page.next_page_token = PageToken::rows(&from.prefix);
            return Ok(());
        }
        let rows = self.0.editor.store().scan(&from.prefix, room, from.store()).await;
        let rows = rows.map_err(|error| status::store(&error))?;
        for record in &rows.records {
            let set = decode(record).map_err(|error| status::store(&error))?;
            page.record_sets.push(wire::record_set(set, record.version));
        }
        page.next_page_token = PageToken::next(&from.prefix, rows.next);
        Ok(())
    }
}

/// Where the list begins or goes on, and whether the start of authority is in it.
fn first_page(
    name: &ZoneName,
    zone: &ZoneRecord,
    request: &v1::ListRecordSetsRequest,
) -> Result<(PageToken, bool), Status> {
    if !request.page_token.is_empty() {
        return Ok((PageToken::parse(&request.page_token, keys::RECORD_SETS)?, false));
    }
    if request.name.is_empty() {
        return Ok((PageToken::first(keys::rows(zone.root)), true));
    }
    let (owner, _) = text::owner(name, &request.name).map_err(|error| status::bad_text("name", &error))?;
    Ok((PageToken::first(keys::owner(zone.root, &owner)), owner == name.wire))
}

/// A record set that is named but not filled.
fn target(zone: &ZoneName, name: &str, rtype: &str) -> Result<SetChange, Status> {
    let (owner, name) = text::owner(zone, name).map_err(|error| status::bad_text("name", &error))?;
    let rtype = text::mnemonic(rtype).map_err(|error| status::bad_text("type", &error))?;
    let set = RecordSetRecord { name, rtype, ttl_s: 0, data: Vec::new() };
    Ok(SetChange { owner, set, precondition: Precondition::None })
}

fn changes(zone: &ZoneName, asked: Vec<v1::RecordSetChange>) -> Result<Vec<SetChange>, Status> {
    if asked.is_empty() || asked.len() > CHANGES_MAX {
        return Err(status::invalid("changes", asked.len(), "1 to 500 of them"));
    }
    let mut seen = BTreeSet::new();
    let mut changes = Vec::with_capacity(asked.len());
    for (index, asked) in asked.into_iter().enumerate() {
        let change = change(zone, asked)
            .map_err(|error| Status::new(error.code(), format!("changes[{index}].{}", error.message())))?;
        if !seen.insert((change.owner.clone(), change.set.rtype.clone())) {
            let found = format!("{} {} twice", change.set.name, change.set.rtype);
            return Err(status::invalid(&format!("changes[{index}]"), found, "each record set once"));
        }
        changes.push(change);
    }
    Ok(changes)
}

fn change(zone: &ZoneName, asked: v1::RecordSetChange) -> Result<SetChange, Status> {
    let precondition = precondition(&asked)?;
    let target = target(zone, &asked.name, &asked.r#type)?;
    if target.set.rtype == "SOA" {
        let accepted = "any other; the start of authority is changed with the zone (UpdateZone)";
        return Err(status::invalid("type", "SOA", accepted));
    }
    if asked.data.is_empty() {
        return Ok(SetChange { precondition, ..target });
    }
    let ttl_s = if asked.ttl_s == 0 { TTL_DEFAULT_S } else { asked.ttl_s };
    let (owner, set) = text::record_set(zone, &asked.name, &asked.r#type, ttl_s, &asked.data)
        .map_err(|error| status::bad_text("data", &error))?;
    Ok(SetChange { owner, set, precondition })
}

fn precondition(asked: &v1::RecordSetChange) -> Result<Precondition, Status> {
    let version = Version(asked.version);
    match (Asked::try_from(asked.precondition), asked.version) {
        (Ok(Asked::None), 0) => Ok(Precondition::None),
        // A version alone says what is expected as clearly.
        (Ok(Asked::None | Asked::Present), _) => Ok(Precondition::Present(version)),
        (Ok(Asked::Absent), 0) => Ok(Precondition::Absent),
        (Ok(Asked::Absent), _) => {
            Err(status::invalid("version", asked.version, "0 with PRECONDITION_ABSENT"))
        }
        (Err(_unknown), _) => Err(status::invalid("precondition", asked.precondition, "0, 1 or 2")),
    }
}

/// The caller's idempotency id with what tells its request from another's.
fn repeat(request: &v1::ChangeRecordSetsRequest) -> Result<Option<(String, u32)>, Status> {
    let id = &request.idempotency_id;
    if id.is_empty() {
        return Ok(None);
    }
    if id.len() > IDEMPOTENCY_ID_BYTES_MAX {
        return Err(status::invalid("idempotency_id", format!("{} bytes", id.len()), "at most 64 bytes"));
    }
    Ok(Some((id.clone(), crc32fast::hash(&request.encode_to_vec()))))
}
