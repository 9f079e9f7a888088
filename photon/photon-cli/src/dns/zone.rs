//! `photon dns zone`: zones as wholes, their zone files and their change log.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use flashdns_proto::v1;
use serde::Serialize;

use super::absolute;
use crate::{
    connect::FlashDns,
    output::{self, Output, Row},
};

/// How many rows one page of a listing asks for.
const PAGE_ROWS: u32 = 500;

/// Verbs on zones.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a zone, e.g. `photon dns zone create example.org`.
    Create {
        /// The zone's name.
        zone: String,
        /// A name server of the zone; repeat it for each. Default: ns1 in the zone.
        #[arg(long = "name-server", value_name = "NAME")]
        name_servers: Vec<String>,
        #[command(flatten)]
        soa: SoaArgs,
        /// A word for the change log.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// List the zones.
    List,
    /// Show a zone and whether it is served.
    Show {
        /// The zone's name.
        zone: String,
    },
    /// Change the SOA of a zone.
    Update {
        /// The zone's name.
        zone: String,
        #[command(flatten)]
        soa: SoaArgs,
        /// Only if the zone is still at this version.
        #[arg(long, default_value_t = 0)]
        if_version: u64,
        /// A word for the change log.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Delete a zone with its records.
    Delete {
        /// The zone's name.
        zone: String,
        /// Only if the zone is still at this version.
        #[arg(long, default_value_t = 0)]
        if_version: u64,
    },
    /// Replace a zone's records by those of a zone file.
    Import {
        /// The zone's name; it is created if it is not there.
        zone: String,
        /// The zone file.
        file: PathBuf,
        /// A word for the change log.
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// Print a zone as a zone file.
    Export {
        /// The zone's name.
        zone: String,
    },
    /// Show what changed in a zone, when and by whom, newest first.
    History {
        /// The zone's name.
        zone: String,
    },
}

/// Fields of an SOA record that can be set; those not given keep their value.
#[derive(Debug, Args)]
pub(crate) struct SoaArgs {
    /// Primary name server.
    #[arg(long, value_name = "NAME")]
    primary: Option<String>,
    /// Mailbox of the person responsible, as a domain name.
    #[arg(long, value_name = "NAME")]
    mailbox: Option<String>,
    /// Seconds between a secondary's checks.
    #[arg(long, value_name = "SECONDS")]
    refresh_s: Option<u32>,
    /// Seconds before a secondary tries a failed check again.
    #[arg(long, value_name = "SECONDS")]
    retry_s: Option<u32>,
    /// Seconds after which a secondary stops answering.
    #[arg(long, value_name = "SECONDS")]
    expire_s: Option<u32>,
    /// Seconds for which "no such name" may be cached.
    #[arg(long, value_name = "SECONDS")]
    minimum_s: Option<u32>,
    /// Seconds for which the SOA record itself may be cached.
    #[arg(long, value_name = "SECONDS")]
    soa_ttl_s: Option<u32>,
}

impl SoaArgs {
    /// `soa` with what was given on the command line put over it.
    fn over(self, soa: v1::Soa) -> v1::Soa {
        v1::Soa {
            primary: self.primary.map_or(soa.primary, |name| absolute(&name)),
            mailbox: self.mailbox.map_or(soa.mailbox, |name| absolute(&name)),
            refresh_s: self.refresh_s.unwrap_or(soa.refresh_s),
            retry_s: self.retry_s.unwrap_or(soa.retry_s),
            expire_s: self.expire_s.unwrap_or(soa.expire_s),
            minimum_s: self.minimum_s.unwrap_or(soa.minimum_s),
            ttl_s: self.soa_ttl_s.unwrap_or(soa.ttl_s),
        }
    }
}

/// The condition that says whether the data plane answers with the zone.
const SERVED: &str = "Served";

#[derive(Serialize)]
struct ZoneRow {
    name: String,
    serial: u32,
    record_sets: u64,
    version: u64,
    served: bool,
    /// What is wrong with it, served or not.
    problems: Vec<String>,
}

impl From<v1::Zone> for ZoneRow {
    fn from(zone: v1::Zone) -> Self {
        let failed = || zone.conditions.iter().filter(|condition| !condition.ok);
        Self {
            served: !failed().any(|condition| condition.r#type == SERVED),
            problems: failed().map(|condition| condition.message.clone()).collect(),
            name: zone.name,
            serial: zone.serial,
            record_sets: zone.record_sets,
            version: zone.version,
        }
    }
}

impl Row for ZoneRow {
    const COLUMNS: &'static [&'static str] =
        &["ZONE", "SERIAL", "RECORD SETS", "VERSION", "SERVED", "PROBLEMS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.serial.to_string(),
            self.record_sets.to_string(),
            self.version.to_string(),
            if self.served { "yes" } else { "no" }.to_owned(),
            self.problems.join("; "),
        ]
    }
}

#[derive(Serialize)]
struct ChangeRow {
    serial: u32,
    at_unix_ms: i64,
    actor: String,
    comment: String,
    removed: Vec<String>,
    added: Vec<String>,
}

impl From<v1::Change> for ChangeRow {
    fn from(change: v1::Change) -> Self {
        let words = |sets: Vec<v1::RecordSet>| {
            sets.into_iter()
                .map(|set| format!("{} {} {}", set.name, set.r#type, set.data.join(" ")))
                .collect()
        };
        Self {
            serial: change.serial,
            at_unix_ms: change.at_unix_ms,
            actor: change.actor,
            comment: change.comment,
            removed: words(change.removed),
            added: words(change.added),
        }
    }
}

impl Row for ChangeRow {
    const COLUMNS: &'static [&'static str] =
        &["SERIAL", "AT (UNIX MS)", "ACTOR", "COMMENT", "REMOVED", "ADDED"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.serial.to_string(),
            self.at_unix_ms.to_string(),
            self.actor.clone(),
            self.comment.clone(),
            self.removed.join("\n"),
            self.added.join("\n"),
        ]
    }
}

/// Carries out a verb on zones.
///
/// # Errors
/// The call's status, under a sentence that says what did not happen.
pub(super) async fn run(verb: Verb, client: FlashDns, output: Output) -> Result<()> {
    match verb {
        Verb::Create { zone, name_servers, soa, comment } => {
            let request = v1::CreateZoneRequest {
                name: absolute(&zone),
                soa: Some(soa.over(v1::Soa::default())),
                name_servers: name_servers.iter().map(|name| absolute(name)).collect(),
                comment,
            };
            let created = client.zones().create_zone(client.request(request)).await;
            show(created.with_context(|| format!("zone {zone} was not created"))?, output)
        }
        Verb::List => list(&client, output).await,
        Verb::Show { zone } => show_one(&client, &zone, output).await,
        Verb::Update { zone, soa, if_version, comment } => {
            update(&client, &zone, soa, if_version, comment, output).await
        }
        Verb::Delete { zone, if_version } => delete(&client, &zone, if_version).await,
        Verb::Import { zone, file, comment } => import(&client, &zone, &file, comment, output).await,
        Verb::Export { zone } => export(&client, &zone).await,
        Verb::History { zone } => history(&client, &zone, output).await,
    }
}

fn show(zone: tonic::Response<v1::Zone>, output: Output) -> Result<()> {
    Ok(output.row(&ZoneRow::from(zone.into_inner()))?)
}

async fn get(client: &FlashDns, zone: &str) -> Result<tonic::Response<v1::Zone>> {
    let request = v1::GetZoneRequest { name: absolute(zone) };
    client
        .zones()
        .get_zone(client.request(request))
        .await
        .with_context(|| format!("zone {zone} cannot be shown"))
}

async fn show_one(client: &FlashDns, zone: &str, output: Output) -> Result<()> {
    show(get(client, zone).await?, output)
}

async fn list(client: &FlashDns, output: Output) -> Result<()> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListZonesRequest { page_size: PAGE_ROWS, page_token };
        let page =
            client.zones().list_zones(client.request(request)).await.context("zones cannot be listed")?;
        let page = page.into_inner();
        rows.extend(page.zones.into_iter().map(ZoneRow::from));
        if page.next_page_token.is_empty() {
            return Ok(output.rows(&rows)?);
        }
        page_token = page.next_page_token;
    }
}

async fn update(
    client: &FlashDns,
    zone: &str,
    soa: SoaArgs,
    if_version: u64,
    comment: String,
    output: Output,
) -> Result<()> {
    let now = get(client, zone).await?.into_inner();
    let request = v1::UpdateZoneRequest {
        name: absolute(zone),
        soa: Some(soa.over(now.soa.unwrap_or_default())),
        // The fields that were not given come from `now`, so nothing may have changed since.
        expected_version: if if_version == 0 { now.version } else { if_version },
        comment,
    };
    let updated = client.zones().update_zone(client.request(request)).await;
    show(updated.with_context(|| format!("zone {zone} was not updated"))?, output)
}

async fn delete(client: &FlashDns, zone: &str, if_version: u64) -> Result<()> {
    let request = v1::DeleteZoneRequest { name: absolute(zone), expected_version: if_version };
    let deleted = client.zones().delete_zone(client.request(request)).await;
    deleted.with_context(|| format!("zone {zone} was not deleted"))?;
    Ok(output::line(&format!("deleted {}", absolute(zone)))?)
}

async fn import(
    client: &FlashDns,
    zone: &str,
    file: &std::path::Path,
    comment: String,
    output: Output,
) -> Result<()> {
    let zone_file =
        std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let request = v1::ImportZoneRequest { name: absolute(zone), zone_file, comment };
    let imported = client.zones().import_zone(client.request(request)).await;
    let imported = imported.with_context(|| format!("zone {zone} was not imported"))?.into_inner();
    Ok(output.row(&ZoneRow::from(imported.zone.unwrap_or_default()))?)
}

async fn export(client: &FlashDns, zone: &str) -> Result<()> {
    let failed = || format!("zone {zone} cannot be exported");
    let request = v1::ExportZoneRequest { name: absolute(zone) };
    let mut chunks =
        client.zones().export_zone(client.request(request)).await.with_context(failed)?.into_inner();
    while let Some(chunk) = chunks.message().await.with_context(failed)? {
        output::bytes(chunk.text.as_bytes())?;
    }
    Ok(())
}

async fn history(client: &FlashDns, zone: &str, output: Output) -> Result<()> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListChangesRequest { zone: absolute(zone), page_size: PAGE_ROWS, page_token };
        let page = client.zones().list_changes(client.request(request)).await;
        let page = page.with_context(|| format!("the history of {zone} cannot be shown"))?.into_inner();
        rows.extend(page.changes.into_iter().map(ChangeRow::from));
        if page.next_page_token.is_empty() {
            return Ok(output.rows(&rows)?);
        }
        page_token = page.next_page_token;
    }
}
