//! The `Zones` service.

use flashdns_proto::v1::{self, zones_server::Zones};
use futures::{StreamExt as _, stream::BoxStream};
use metadata_store::{MetadataStore as _, Version};
use tonic::{Request, Response, Status};

use super::{Api, IMPORT_SERVED_WITHIN, changes, page_size, reader, status, wire, writer, zone_name};
use crate::{
    clock,
    editor::{NewZone, Stored, ZoneName},
    import,
    metadata::{
        decode, keys,
        records::{RecordSetRecord, SoaRecord, ZoneRecord},
    },
    page::PageToken,
    plan::{self, Request as Wanted},
    text,
};

/// Zones of a page.
const PAGE_MAX: usize = 1000;
/// Rows of one part of an export.
const EXPORT_ROWS: usize = 500;
/// Name servers of a new zone.
const NAME_SERVERS_MAX: usize = 32;
/// TTL of a new zone's NS records.
const NAME_SERVER_TTL_S: u32 = 3600;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct ZonesApi(pub(crate) Api);

#[tonic::async_trait]
impl Zones for ZonesApi {
    type ExportZoneStream = BoxStream<'static, Result<v1::ExportZoneResponse, Status>>;

    async fn create_zone(
        &self,
        request: Request<v1::CreateZoneRequest>,
    ) -> Result<Response<v1::Zone>, Status> {
        let author = writer(&request, &request.get_ref().comment)?;
        let new = new_zone(request.into_inner())?;
        let stored = self.0.editor.create(&new, &author).await?;
        self.0.wait_served(stored.version).await;
        Ok(Response::new(self.show(&new.name, stored)))
    }

    async fn get_zone(&self, request: Request<v1::GetZoneRequest>) -> Result<Response<v1::Zone>, Status> {
        reader(&request)?;
        let name = zone_name(&request.get_ref().name)?;
        let stored = self.0.editor.zone(&name).await?;
        Ok(Response::new(self.show(&name, stored)))
    }

    async fn list_zones(
        &self,
        request: Request<v1::ListZonesRequest>,
    ) -> Result<Response<v1::ListZonesResponse>, Status> {
        reader(&request)?;
        let v1::ListZonesRequest { page_size: asked, page_token } = request.into_inner();
        let size = page_size(asked, 100, PAGE_MAX);
        let from = PageToken::parse(&page_token, keys::ZONES)?;
        let page = self.0.editor.store().scan(keys::ZONES, size, from.store()).await;
        let page = page.map_err(|error| status::store(&error))?;
        let zones: Result<Vec<v1::Zone>, Status> =
            page.records.iter().map(|record| self.listed(record)).collect();
        let next_page_token = PageToken::next(keys::ZONES, page.next);
        Ok(Response::new(v1::ListZonesResponse { zones: zones?, next_page_token }))
    }

    async fn update_zone(
        &self,
        request: Request<v1::UpdateZoneRequest>,
    ) -> Result<Response<v1::Zone>, Status> {
        let author = writer(&request, &request.get_ref().comment)?;
        let v1::UpdateZoneRequest { name, soa, expected_version, .. } = request.into_inner();
        let name = zone_name(&name)?;
        let before = self.0.editor.zone(&name).await?;
        let soa = checked_soa(&name, wire::soa_record(soa.unwrap_or_default(), before.zone.soa))?;
        let expected = Version(expected_version);
        let wanted = Wanted { changes: Vec::new(), soa: Some(soa), expected, author, repeat: None };
        let changed = self.0.editor.change(&name, &wanted).await?;
        self.0.wait_served(changed.version).await;
        let stored = self.0.editor.zone(&name).await?;
        Ok(Response::new(self.show(&name, stored)))
    }

    async fn delete_zone(
        &self,
        request: Request<v1::DeleteZoneRequest>,
    ) -> Result<Response<v1::DeleteZoneResponse>, Status> {
        let author = writer(&request, "")?;
        let v1::DeleteZoneRequest { name, expected_version } = request.into_inner();
        let name = zone_name(&name)?;
        let version = self.0.editor.delete(&name, Version(expected_version), author.at_unix_ms).await?;
        tracing::info!(zone = name.text, actor = author.actor, "zone deleted");
        self.0.sweep.notify_one();
        self.0.wait_served(version).await;
        Ok(Response::new(v1::DeleteZoneResponse { version: version.0 }))
    }

    async fn import_zone(
        &self,
        request: Request<v1::ImportZoneRequest>,
    ) -> Result<Response<v1::ImportZoneResponse>, Status> {
        let author = writer(&request, &request.get_ref().comment)?;
        let v1::ImportZoneRequest { name, zone_file, .. } = request.into_inner();
        let name = zone_name(&name)?;
        let _turn = self.0.import_turn().await?;
        let file = parse(name.clone(), zone_file).await?;
        let stored = import::import(&self.0.editor, &name, &file, &author).await?;
        self.0.sweep.notify_one();
        self.0.wait_served_within(stored.version, IMPORT_SERVED_WITHIN).await;
        let zone = Some(self.show(&name, stored));
        Ok(Response::new(v1::ImportZoneResponse { zone, records: file.records }))
    }

    async fn export_zone(
        &self,
        request: Request<v1::ExportZoneRequest>,
    ) -> Result<Response<Self::ExportZoneStream>, Status> {
        reader(&request)?;
        let name = zone_name(&request.get_ref().name)?;
        let Stored { zone, .. } = self.0.editor.zone(&name).await?;
        Ok(Response::new(self.export(zone)))
    }

    async fn list_changes(
        &self,
        request: Request<v1::ListChangesRequest>,
    ) -> Result<Response<v1::ListChangesResponse>, Status> {
        reader(&request)?;
        changes::list(&self.0, request.into_inner()).await.map(Response::new)
    }
}

impl ZonesApi {
    fn listed(&self, record: &metadata_store::Record) -> Result<v1::Zone, Status> {
        let zone: ZoneRecord = decode(record).map_err(|error| status::store(&error))?;
        Ok(self.shown(&record.key, Stored { zone, version: record.version }))
    }

    fn show(&self, name: &ZoneName, stored: Stored) -> v1::Zone {
        self.shown(&name.key(), stored)
    }

    fn shown(&self, key: &str, Stored { zone, version }: Stored) -> v1::Zone {
        v1::Zone {
            conditions: self.conditions(key, version),
            name: zone.name,
            serial: zone.serial,
            soa: Some(wire::soa(zone.soa)),
            record_sets: zone.record_sets,
            version: version.0,
            created_unix_ms: zone.created_unix_ms,
        }
    }

    fn conditions(&self, key: &str, version: Version) -> Vec<v1::Condition> {
        let Some(served) = self.0.served.zone(key) else {
            let why = self.0.served.freshness().error.unwrap_or_else(|| "not loaded yet".to_owned());
            return vec![condition("Served", false, format!("not served: {why}"))];
        };
        let current = served.version.0 >= version.0;
        let ok = current && served.problem.is_none();
        let message = match served.problem {
            Some(problem) => problem,
            None if current => format!("serial {}", served.serial),
            None => format!("still serial {}; the data plane is behind", served.serial),
        };
        let lame = served.lame;
        let names = if lame.is_empty() {
            condition("NameServers", true, String::new())
        } else {
            let message = format!("no address in the zone for {}; add A or AAAA records", lame.join(", "));
            condition("NameServers", false, message)
        };
        vec![condition("Served", ok, message), names]
    }

    /// The zone as text, page by page: the start of authority, then every row.
    fn export(&self, zone: ZoneRecord) -> BoxStream<'static, Result<v1::ExportZoneResponse, Status>> {
        let store = self.0.editor.store().clone();
        let head =
            format!("; {} serial {}, exported at {}\n", zone.name, zone.serial, clock::unix_ms() / 1000)
                + &text::zone_file_lines(&plan::soa_set(&zone));
        let prefix = keys::rows(zone.root);
        let pages = futures::stream::try_unfold(Some(None), move |from| {
            let (store, prefix) = (store.clone(), prefix.clone());
            async move {
                let Some(token) = from else { return Ok(None) };
                let page = store.scan(&prefix, EXPORT_ROWS, Option::as_ref(&token)).await;
                let page = page.map_err(|error| status::store(&error))?;
                let mut text = String::new();
                for record in &page.records {
                    let set: RecordSetRecord = decode(record).map_err(|error| status::store(&error))?;
                    text.push_str(&text::zone_file_lines(&set));
                }
                Ok(Some((v1::ExportZoneResponse { text }, page.next.map(Some))))
            }
        });
        let head = futures::stream::iter([Ok(v1::ExportZoneResponse { text: head })]);
        head.chain(pages).boxed()
    }
}

fn condition(r#type: &str, ok: bool, message: String) -> v1::Condition {
    v1::Condition { r#type: r#type.to_owned(), ok, message }
}

/// Reading a large file takes a while, and would hold up every other RPC on this thread.
async fn parse(name: ZoneName, zone_file: String) -> Result<import::ZoneFile, Status> {
    let parsed = tokio::task::spawn_blocking(move || text::zone_file(&name, &zone_file)).await;
    let parsed = parsed.map_err(|error| Status::internal(format!("the zone file's parser died: {error}")))?;
    parsed.map_err(|error| status::bad_text("zone_file", &error))
}

fn new_zone(request: v1::CreateZoneRequest) -> Result<NewZone, Status> {
    let name = zone_name(&request.name)?;
    if request.name_servers.len() > NAME_SERVERS_MAX {
        return Err(status::invalid("name_servers", request.name_servers.len(), "at most 32"));
    }
    let mut servers = request.name_servers;
    if servers.is_empty() {
        servers.push(format!("ns1.{}", name.text));
    }
    let (_, name_servers) = text::record_set(&name, "@", "NS", NAME_SERVER_TTL_S, &servers)
        .map_err(|error| status::bad_text("name_servers", &error))?;
    let primary = name_servers.data.first().cloned().unwrap_or_default();
    let soa = wire::soa_record(request.soa.unwrap_or_default(), default_soa(&name, primary));
    Ok(NewZone { soa: checked_soa(&name, soa)?, name, name_servers })
}

/// Timers as RIPE-203 advises, with a negative TTL that suits zones that change.
fn default_soa(name: &ZoneName, primary: String) -> SoaRecord {
    SoaRecord {
        primary,
        mailbox: format!("hostmaster.{}", name.text),
        refresh_s: 86_400,
        retry_s: 7_200,
        expire_s: 3_600_000,
        minimum_s: 300,
        ttl_s: 3_600,
    }
}

fn checked_soa(name: &ZoneName, soa: SoaRecord) -> Result<SoaRecord, Status> {
    text::soa(name, soa).map_err(|error| status::bad_text("soa", &error))
}
