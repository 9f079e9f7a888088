//! `photon dns record`: the record sets of a zone.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use flashdns_proto::v1::{self, record_set_change::Precondition};
use serde::Serialize;

use super::{absolute, within};
use crate::{
    connect::FlashDns,
    output::{self, Output, Row},
};

/// How many rows one page of a listing asks for.
const PAGE_ROWS: u32 = 500;

/// Verbs on record sets.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create a record set, e.g. `photon dns record create example.org www A 192.0.2.1 192.0.2.2`.
    Create(Set),
    /// List the record sets of a zone.
    List {
        /// The zone.
        zone: String,
    },
    /// Show one record set.
    Show(Which),
    /// Replace the records of a record set.
    Update {
        #[command(flatten)]
        set: Set,
        /// Only if the record set is still at this version.
        #[arg(long, default_value_t = 0)]
        if_version: u64,
    },
    /// Delete a record set.
    Delete {
        #[command(flatten)]
        which: Which,
        /// Only if the record set is still at this version.
        #[arg(long, default_value_t = 0)]
        if_version: u64,
        /// A word for the change log.
        #[arg(long, default_value = "")]
        comment: String,
    },
}

/// Names one record set.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The zone.
    zone: String,
    /// The owner's name, relative to the zone; `@` is the zone itself.
    name: String,
    /// The type: A, AAAA, CNAME, MX, TXT, NS, SRV, CAA, PTR, … or TYPE123.
    r#type: String,
}

/// A record set as it shall be.
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    which: Which,
    /// The records' data in presentation form, an argument each, e.g. "10 mail.example.org.".
    #[arg(required = true)]
    data: Vec<String>,
    /// Seconds for which resolvers may cache the records.
    #[arg(long, default_value_t = 300)]
    ttl_s: u32,
    /// A word for the change log.
    #[arg(long, default_value = "")]
    comment: String,
}

#[derive(Serialize)]
struct RecordSetRow {
    name: String,
    r#type: String,
    ttl_s: u32,
    data: Vec<String>,
    version: u64,
}

impl From<v1::RecordSet> for RecordSetRow {
    fn from(set: v1::RecordSet) -> Self {
        Self { name: set.name, r#type: set.r#type, ttl_s: set.ttl_s, data: set.data, version: set.version }
    }
}

impl Row for RecordSetRow {
    const COLUMNS: &'static [&'static str] = &["NAME", "TYPE", "TTL (S)", "DATA", "VERSION"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.r#type.clone(),
            self.ttl_s.to_string(),
            self.data.join("\n"),
            self.version.to_string(),
        ]
    }
}

/// Carries out a verb on record sets.
///
/// # Errors
/// The call's status, under a sentence that says what did not happen.
pub(super) async fn run(verb: Verb, client: FlashDns, output: Output) -> Result<()> {
    match verb {
        Verb::Create(set) => write(&client, set, Precondition::Absent, 0, output).await,
        Verb::Update { set, if_version } => {
            write(&client, set, Precondition::Present, if_version, output).await
        }
        Verb::List { zone } => list(&client, &zone, output).await,
        Verb::Show(which) => show(&client, &which, output).await,
        Verb::Delete { which, if_version, comment } => delete(&client, &which, if_version, comment).await,
    }
}

fn change(which: &Which, precondition: Precondition, version: u64) -> v1::RecordSetChange {
    v1::RecordSetChange {
        name: within(&which.name, &which.zone),
        r#type: which.r#type.to_ascii_uppercase(),
        precondition: precondition.into(),
        version,
        ..Default::default()
    }
}

async fn commit(
    client: &FlashDns,
    zone: &str,
    change: v1::RecordSetChange,
    comment: String,
) -> Result<v1::ChangeRecordSetsResponse> {
    let what = format!("{} {} was not changed", change.name, change.r#type);
    let request = v1::ChangeRecordSetsRequest {
        zone: absolute(zone),
        changes: vec![change],
        comment,
        ..Default::default()
    };
    let changed = client.record_sets().change_record_sets(client.request(request)).await;
    Ok(changed.context(what)?.into_inner())
}

async fn write(
    client: &FlashDns,
    set: Set,
    precondition: Precondition,
    if_version: u64,
    output: Output,
) -> Result<()> {
    let mut wanted = change(&set.which, precondition, if_version);
    wanted.data = set.data;
    wanted.ttl_s = set.ttl_s;
    let changed = commit(client, &set.which.zone, wanted, set.comment).await?;
    Ok(output.rows(&changed.record_sets.into_iter().map(RecordSetRow::from).collect::<Vec<_>>())?)
}

async fn delete(client: &FlashDns, which: &Which, if_version: u64, comment: String) -> Result<()> {
    let gone = change(which, Precondition::Present, if_version);
    let words = format!("deleted {} {}", gone.name, gone.r#type);
    commit(client, &which.zone, gone, comment).await?;
    Ok(output::line(&words)?)
}

async fn show(client: &FlashDns, which: &Which, output: Output) -> Result<()> {
    let request = v1::GetRecordSetRequest {
        zone: absolute(&which.zone),
        name: within(&which.name, &which.zone),
        r#type: which.r#type.to_ascii_uppercase(),
    };
    let found = client.record_sets().get_record_set(client.request(request)).await;
    Ok(output.row(&RecordSetRow::from(found.context("the record set cannot be shown")?.into_inner()))?)
}

async fn list(client: &FlashDns, zone: &str, output: Output) -> Result<()> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListRecordSetsRequest {
            zone: absolute(zone),
            page_size: PAGE_ROWS,
            page_token,
            name: String::new(),
        };
        let page = client.record_sets().list_record_sets(client.request(request)).await;
        let page = page.with_context(|| format!("the records of {zone} cannot be listed"))?.into_inner();
        rows.extend(page.record_sets.into_iter().map(RecordSetRow::from));
        if page.next_page_token.is_empty() {
            return Ok(output.rows(&rows)?);
        }
        page_token = page.next_page_token;
    }
}
