//! The change log of a zone, newest first.
//!
//! Sequences of a log have no gaps, so a page is read by its keys; its token is the sequence that comes next.

use flashdns_proto::v1;
use futures::{StreamExt as _, TryStreamExt as _};
use metadata_store::{MetadataStore as _, Version};
use tonic::Status;

use super::{Api, page_size, status, wire, zone_name};
use crate::metadata::{
    decode, keys,
    records::{ChangeRecord, Id},
};

/// Changes of a page. An entry may be large.
const PAGE_MAX: usize = 100;
/// Bytes of a page's entries, but for the last.
const PAGE_BYTES_MAX: usize = 2 << 20;
/// Entries read at a time.
const READS_MAX: usize = 8;

/// One page of a zone's log.
pub(super) async fn list(
    api: &Api,
    request: v1::ListChangesRequest,
) -> Result<v1::ListChangesResponse, Status> {
    let zone = api.editor.zone(&zone_name(&request.zone)?).await?.zone;
    let newest = from(&request.page_token, zone.change_seq)?;
    let size = page_size(request.page_size, 20, PAGE_MAX) as u64;
    let sequences = (1..=newest).rev().take_while(|sequence| newest - sequence < size);
    let mut entries = futures::stream::iter(sequences)
        .map(|sequence| async move { Ok::<_, Status>((sequence, entry(api, zone.id, sequence).await?)) })
        .buffered(READS_MAX);
    let (mut page, mut bytes, mut oldest) = (v1::ListChangesResponse::default(), 0, newest + 1);
    while let Some((sequence, entry)) = entries.try_next().await? {
        oldest = sequence;
        if let Some((record, size)) = entry {
            bytes += size;
            page.changes.push(wire::change(record));
        }
        if bytes > PAGE_BYTES_MAX {
            break;
        }
    }
    if oldest > 1 && newest > 0 {
        page.next_page_token = (oldest - 1).to_string();
    }
    Ok(page)
}

/// The sequence that a page begins with.
fn from(token: &str, newest: u64) -> Result<u64, Status> {
    if token.is_empty() {
        return Ok(newest);
    }
    let wrong = || Status::invalid_argument("page_token: not one of this list; begin again without it");
    let sequence: u64 = token.parse().map_err(|_malformed| wrong())?;
    if (1..=newest).contains(&sequence) { Ok(sequence) } else { Err(wrong()) }
}

async fn entry(api: &Api, zone: Id, sequence: u64) -> Result<Option<(ChangeRecord, usize)>, Status> {
    let found = api.editor.store().get(&keys::change(zone, sequence), Version(0)).await;
    let Some(record) = found.map_err(|error| status::store(&error))? else { return Ok(None) };
    let change = decode(&record).map_err(|error| status::store(&error))?;
    Ok(Some((change, record.value.len())))
}
