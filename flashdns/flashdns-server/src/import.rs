//! Replaces all records of a zone by those of a zone file, of any size, as one step of its serial.
//!
//! The rows are written under a generation of their own, in commits of bounded size that nobody can see, and one
//! last commit makes that generation the zone's. Before the first row is written the generation is noted as
//! trash; the last commit claims it and leaves the old generation as trash instead. So a crash at any point
//! leaves the zone as it was, or as it is to be, and nothing that would never be collected.

use futures::{StreamExt as _, TryStreamExt as _};
use metadata_store::{Commit, MetadataStore as _, StoreError, Version, Write};

use crate::{
    editor::{ATTEMPTS_MAX, EditError, Editor, Stored, ZoneName, commit_of, first_serial, give_way},
    metadata::{
        decode, keys,
        records::{ChangeRecord, Id, RecordSetRecord, SoaRecord, TrashRecord, ZoneRecord},
    },
    plan::{self, Author},
};

/// Rows of one commit; the store takes 1,024 operations.
const ROWS_MAX: usize = 500;
/// Bytes of one commit; the store takes 8 MiB.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// Commits of rows under way at a time.
const COMMITS_MAX: usize = 4;
/// How long an import may take before its rows are collected.
const EXPIRES_MS: i64 = 15 * 60 * 1000;
/// Record sets up to which the log lists what an import changed.
const LISTED_SETS_MAX: usize = 5000;

/// A zone file that was read and found valid.
#[derive(Debug, Clone)]
pub struct ZoneFile {
    /// Its start of authority.
    pub soa: SoaRecord,
    /// The serial in it.
    pub serial: u32,
    /// Its record sets but the start of authority, each once, with the owner in wire form, lower case.
    pub sets: Vec<(Vec<u8>, RecordSetRecord)>,
    /// Records in it.
    pub records: u64,
}

/// The generation that an import writes.
struct Generation {
    root: Id,
    /// Version of the note that makes it trash unless claimed.
    trash: Version,
}

/// Replaces the zone's records by the file's, or creates the zone with them.
///
/// # Errors
/// [`EditError::ImportExpired`], [`EditError::Contended`], or the store's; the zone is as it was.
pub async fn import(
    editor: &Editor,
    name: &ZoneName,
    file: &ZoneFile,
    author: &Author,
) -> Result<Stored, EditError> {
    let generation = announce(editor, author).await?;
    write_rows(editor, generation.root, file).await?;
    // Only the last step has to take its turn: nobody sees the rows before.
    let _turn = editor.queue(name).await;
    for attempt in 1..=ATTEMPTS_MAX {
        let before = editor.find(name).await?;
        let (zone, commit) = flip(editor, name, file, author, &generation, before).await?;
        match editor.commit(commit).await {
            Ok(version) => return Ok(Stored { zone, version }),
            Err(StoreError::Conflict(_)) => {
                still_ours(editor, name, &generation).await?;
                give_way(attempt).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(EditError::Contended { zone: name.text.clone() })
}

async fn announce(editor: &Editor, author: &Author) -> Result<Generation, EditError> {
    let root = Id::random();
    let note = trash(vec![keys::rows(root)], author.at_unix_ms + EXPIRES_MS);
    let write = plan::put(keys::trash(root), &note)?;
    let trash = editor.commit(commit_of(Vec::new(), vec![write])).await?;
    Ok(Generation { root, trash })
}

fn trash(prefixes: Vec<String>, not_before_unix_ms: i64) -> TrashRecord {
    TrashRecord { prefixes, not_before_unix_ms, doomed: false }
}

async fn write_rows(editor: &Editor, root: Id, file: &ZoneFile) -> Result<(), EditError> {
    let commits = batches(root, file)?.into_iter().map(|writes| commit_of(Vec::new(), writes));
    futures::stream::iter(commits)
        .map(|commit| editor.commit(commit))
        .buffer_unordered(COMMITS_MAX)
        .try_for_each(|_version| std::future::ready(Ok(())))
        .await?;
    Ok(())
}

/// The rows in commits of bounded size.
fn batches(root: Id, file: &ZoneFile) -> Result<Vec<Vec<Write>>, EditError> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (owner, set) in &file.sets {
        let write = plan::put(keys::record_set(root, owner, &set.rtype), set)?;
        let more = size(&write);
        if batch.len() == ROWS_MAX || (bytes + more > COMMIT_BYTES_MAX && !batch.is_empty()) {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += more;
        batch.push(write);
    }
    batches.push(batch);
    batches.retain(|batch| !batch.is_empty());
    Ok(batches)
}

fn size(write: &Write) -> usize {
    match write {
        Write::Put { key, value } => key.len() + value.len(),
        Write::Delete { key } => key.len(),
    }
}

/// The zone as it will be, and the commit that makes it so.
async fn flip(
    editor: &Editor,
    name: &ZoneName,
    file: &ZoneFile,
    author: &Author,
    generation: &Generation,
    before: Option<Stored>,
) -> Result<(ZoneRecord, Commit), EditError> {
    let zone = successor(name, file, author, generation.root, before.as_ref().map(|stored| &stored.zone));
    let entry = entry(editor, &zone, file, author, before.as_ref()).await?;
    let version = before.as_ref().map_or(Version(0), |stored| stored.version);
    let compares = vec![
        plan::compare(name.key(), version),
        plan::compare(keys::trash(generation.root), generation.trash),
    ];
    let mut writes = vec![plan::put(name.key(), &zone)?, Write::Delete { key: keys::trash(generation.root) }];
    writes.push(match plan::log_entry(&zone, &entry) {
        Err(plan::Refused::TooLarge { .. }) => plan::log_entry(&zone, &unlisted(entry))?,
        other => other?,
    });
    if let Some(Stored { zone: old, .. }) = &before {
        let note = trash(vec![keys::rows(old.root)], author.at_unix_ms);
        writes.push(plan::put(keys::trash(old.root), &note)?);
    }
    Ok((zone, commit_of(compares, writes)))
}

fn unlisted(entry: ChangeRecord) -> ChangeRecord {
    ChangeRecord { removed: Vec::new(), added: Vec::new(), unlisted: true, ..entry }
}

fn successor(
    name: &ZoneName,
    file: &ZoneFile,
    author: &Author,
    root: Id,
    before: Option<&ZoneRecord>,
) -> ZoneRecord {
    let record_sets = file.sets.len() as u64 + 1;
    let soa = file.soa.clone();
    match before {
        Some(old) => {
            let next = plan::next_serial(old.serial);
            let serial = if plan::is_newer(file.serial, old.serial) { file.serial } else { next };
            ZoneRecord { root, serial, soa, record_sets, change_seq: old.change_seq + 1, ..old.clone() }
        }
        None => ZoneRecord {
            name: name.text.clone(),
            id: Id::random(),
            root,
            serial: if file.serial == 0 { first_serial(author.at_unix_ms) } else { file.serial },
            soa,
            record_sets,
            created_unix_ms: author.at_unix_ms,
            change_seq: 1,
        },
    }
}

/// The log's entry: what differs, as long as both sides are small enough to be compared and listed.
async fn entry(
    editor: &Editor,
    zone: &ZoneRecord,
    file: &ZoneFile,
    author: &Author,
    before: Option<&Stored>,
) -> Result<ChangeRecord, EditError> {
    let entry = ChangeRecord {
        serial: zone.serial,
        at_unix_ms: author.at_unix_ms,
        actor: author.actor.clone(),
        comment: author.comment.clone(),
        removed: Vec::new(),
        added: Vec::new(),
        unlisted: false,
    };
    let before_sets = before.map_or(0, |stored| stored.zone.record_sets);
    if before_sets.saturating_add(zone.record_sets) > LISTED_SETS_MAX as u64 {
        return Ok(unlisted(entry));
    }
    let mut removed = Vec::new();
    if let Some(Stored { zone: old, .. }) = before {
        removed = all_rows(editor, old.root).await?;
        removed.push(plan::soa_set(old));
    }
    let mut added: Vec<RecordSetRecord> = file.sets.iter().map(|(_, set)| set.clone()).collect();
    added.push(plan::soa_set(zone));
    let (removed, added) = without_common(removed, added);
    Ok(ChangeRecord { removed, added, ..entry })
}

type Sets = Vec<RecordSetRecord>;

fn without_common(removed: Sets, added: Sets) -> (Sets, Sets) {
    let key = |set: &RecordSetRecord| (set.name.to_ascii_lowercase(), set.rtype.clone());
    let old: std::collections::BTreeMap<_, _> = removed.iter().map(|set| (key(set), set.clone())).collect();
    let new: std::collections::BTreeMap<_, _> = added.iter().map(|set| (key(set), set.clone())).collect();
    let gone = removed.into_iter().filter(|set| new.get(&key(set)) != Some(set)).collect();
    let come = added.into_iter().filter(|set| old.get(&key(set)) != Some(set)).collect();
    (gone, come)
}

async fn all_rows(editor: &Editor, root: Id) -> Result<Sets, EditError> {
    let (mut sets, mut token) = (Vec::new(), None);
    loop {
        let page = editor.store().scan(&keys::rows(root), ROWS_MAX, token.as_ref()).await?;
        for record in &page.records {
            sets.push(decode(record)?);
        }
        token = page.next;
        if token.is_none() {
            return Ok(sets);
        }
    }
}

/// A lost race is tried again, unless what was lost are the rows.
async fn still_ours(editor: &Editor, name: &ZoneName, generation: &Generation) -> Result<(), EditError> {
    let note = editor.store().get(&keys::trash(generation.root), Version(0)).await?;
    if note.is_some_and(|note| note.version == generation.trash) {
        return Ok(());
    }
    Err(EditError::ImportExpired { zone: name.text.clone() })
}

#[cfg(test)]
mod tests;
