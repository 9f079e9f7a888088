//! Carries out changes of zones: reads, lets [`crate::plan`] decide, commits, and decides again when somebody
//! else was first.
//!
//! Changes of one zone queue up in this process (fairly), since they would only conflict; the compare in the
//! commit, not the queue, is what makes two processes safe. A commit whose outcome is unknown is sent again under
//! the same commit id until it is known: the store applies an id once. Every change answers after its commit;
//! waiting for the data plane is the caller's.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use metadata_store::{Commit, IdempotencyId, MetadataStore as _, StoreError, Version, Write};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    metadata::{
        FlareDbMetadataStore, decode, keys,
        records::{ChangeRecord, DoneRecord, Id, RecordSetRecord, SoaRecord, TrashRecord, ZoneRecord},
    },
    plan::{self, Author, Basis, Planned, Refused, Request, Row},
};

/// Zones whose changes queue up share one of these queues.
const QUEUES: usize = 64;

/// Lost races after which a change is given up; each means that another process made progress.
pub(crate) const ATTEMPTS_MAX: u32 = 64;

/// Longest pause after a lost race.
const GIVE_WAY_MS_MAX: u32 = 50;

/// Times that a commit of unknown outcome is sent again.
const RESENDS_MAX: u32 = 5;

/// Reads of rows under way at a time, for one change.
const READS_MAX: usize = 16;

/// Changes zones in the metadata store.
#[derive(Debug, Clone)]
pub struct Editor {
    store: FlareDbMetadataStore,
    queues: Arc<[Mutex<()>; QUEUES]>,
}

/// Why a zone was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// No such zone.
    #[error("zone {zone}: does not exist")]
    NoZone {
        /// Which.
        zone: String,
    },
    /// It is there already.
    #[error("zone {zone}: exists already")]
    ZoneExists {
        /// Which.
        zone: String,
    },
    /// The request cannot be carried out on what is there.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The idempotency id stands for another request.
    #[error("idempotency id {id:?}: was used for another change of this zone; take a new one")]
    IdReused {
        /// The id.
        id: String,
    },
    /// Others were first, again and again.
    #[error("zone {zone}: {ATTEMPTS_MAX} attempts lost against other writers; try again")]
    Contended {
        /// Which.
        zone: String,
    },
    /// An import took so long that its rows were collected.
    #[error("zone {zone}: the import took too long and was given up; nothing was changed")]
    ImportExpired {
        /// Which.
        zone: String,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A zone's name in the forms that are needed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneName {
    /// Absolute, lower case, with the final dot.
    pub text: String,
    /// In wire form, lower case.
    pub wire: Vec<u8>,
}

impl ZoneName {
    /// Key of the zone's record.
    pub fn key(&self) -> String {
        keys::zone(&self.wire)
    }
}

/// What a change led to.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Serial after it.
    pub serial: u32,
    /// Revision that wrote it.
    pub version: Version,
    /// Record sets that it wrote.
    pub record_sets: Vec<RecordSetRecord>,
}

/// A zone as it was read or written.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The zone.
    pub zone: ZoneRecord,
    /// Its version.
    pub version: Version,
}

/// What a new zone starts with.
#[derive(Debug, Clone)]
pub struct NewZone {
    /// Its name.
    pub name: ZoneName,
    /// Its start of authority.
    pub soa: SoaRecord,
    /// Its name servers.
    pub name_servers: RecordSetRecord,
}

impl Editor {
    /// An editor of what is in `store`.
    pub fn new(store: FlareDbMetadataStore) -> Editor {
        Editor { store, queues: Arc::new(std::array::from_fn(|_| Mutex::new(()))) }
    }

    /// The store that it edits.
    pub fn store(&self) -> &FlareDbMetadataStore {
        &self.store
    }

    /// Waits until no other change of this zone is under way in this process.
    pub(crate) async fn queue(&self, name: &ZoneName) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&name.wire);
        let index = usize::try_from(hash % QUEUES as u64).unwrap_or(0);
        self.queues[index].lock().await
    }

    /// The zone as it is now, if it is.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, name: &ZoneName) -> Result<Option<Stored>, EditError> {
        let Some(record) = self.store.get(&name.key(), Version(0)).await? else { return Ok(None) };
        Ok(Some(Stored { zone: decode(&record)?, version: record.version }))
    }

    /// The zone as it is now.
    ///
    /// # Errors
    /// [`EditError::NoZone`], or the store's.
    pub async fn zone(&self, name: &ZoneName) -> Result<Stored, EditError> {
        self.find(name).await?.ok_or_else(|| EditError::NoZone { zone: name.text.clone() })
    }

    /// Creates a zone.
    ///
    /// # Errors
    /// [`EditError::ZoneExists`], or the store's.
    pub async fn create(&self, new: &NewZone, author: &Author) -> Result<Stored, EditError> {
        let _turn = self.queue(&new.name).await;
        let zone = ZoneRecord {
            name: new.name.text.clone(),
            id: Id::random(),
            root: Id::random(),
            serial: first_serial(author.at_unix_ms),
            soa: new.soa.clone(),
            record_sets: 2,
            created_unix_ms: author.at_unix_ms,
            change_seq: 1,
        };
        let entry = ChangeRecord {
            serial: zone.serial,
            at_unix_ms: author.at_unix_ms,
            actor: author.actor.clone(),
            comment: author.comment.clone(),
            removed: Vec::new(),
            added: vec![plan::soa_set(&zone), new.name_servers.clone()],
            unlisted: false,
        };
        let rows = keys::record_set(zone.root, &new.name.wire, "NS");
        let writes = vec![
            plan::put(new.name.key(), &zone)?,
            plan::put(rows, &new.name_servers)?,
            plan::log_entry(&zone, &entry)?,
        ];
        let commit = commit_of(vec![plan::compare(new.name.key(), Version(0))], writes);
        match self.commit(commit).await {
            Ok(version) => Ok(Stored { zone, version }),
            Err(StoreError::Conflict(_)) => Err(EditError::ZoneExists { zone: zone.name }),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a zone with its rows and its log; answers the revision that did it.
    ///
    /// # Errors
    /// [`EditError::NoZone`], [`Refused::ZoneVersion`], or the store's.
    pub async fn delete(
        &self,
        name: &ZoneName,
        expected: Version,
        now_ms: i64,
    ) -> Result<Version, EditError> {
        let _turn = self.queue(name).await;
        for attempt in 1..=ATTEMPTS_MAX {
            let Stored { zone, version } = self.zone(name).await?;
            if expected.0 != 0 && expected != version {
                return Err(Refused::ZoneVersion { zone: zone.name, expected, found: version }.into());
            }
            let trash = TrashRecord {
                prefixes: vec![keys::rows(zone.root), keys::log(zone.id), keys::answers(zone.id)],
                not_before_unix_ms: now_ms,
                doomed: false,
            };
            let writes = vec![Write::Delete { key: name.key() }, plan::put(keys::trash(zone.id), &trash)?];
            match self.commit(commit_of(vec![plan::compare(name.key(), version)], writes)).await {
                Err(StoreError::Conflict(_)) => give_way(attempt).await,
                other => return Ok(other?),
            }
        }
        Err(EditError::Contended { zone: name.text.clone() })
    }

    /// Changes record sets or the start of authority, as one step of the serial.
    ///
    /// # Errors
    /// [`EditError::NoZone`], [`EditError::Refused`], [`EditError::IdReused`], [`EditError::Contended`], or the
    /// store's.
    pub async fn change(&self, name: &ZoneName, request: &Request) -> Result<Changed, EditError> {
        let _turn = self.queue(name).await;
        for attempt in 1..=ATTEMPTS_MAX {
            let stored = self.zone(name).await?;
            if let Some(done) = self.answered(&stored.zone, request).await? {
                return Ok(done);
            }
            let basis = self.basis(name, stored, request).await?;
            let Some(planned) = plan::plan(&basis, request)? else { return Ok(unchanged(&basis, request)) };
            let Planned { compares, writes, zone, record_sets } = planned;
            match self.commit(commit_of(compares, writes)).await {
                Ok(version) => return Ok(Changed { serial: zone.serial, version, record_sets }),
                Err(StoreError::Conflict(_)) => give_way(attempt).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(EditError::Contended { zone: name.text.clone() })
    }

    /// What the same request was answered before, if it was.
    async fn answered(&self, zone: &ZoneRecord, request: &Request) -> Result<Option<Changed>, EditError> {
        let Some((id, fingerprint)) = &request.repeat else { return Ok(None) };
        let Some(record) = self.store.get(&keys::answer(zone.id, id), Version(0)).await? else {
            return Ok(None);
        };
        let done: DoneRecord = decode(&record)?;
        if done.fingerprint != *fingerprint {
            return Err(EditError::IdReused { id: id.clone() });
        }
        Ok(Some(Changed { serial: done.serial, version: record.version, record_sets: done.record_sets }))
    }

    /// Reads every row of every owner that the request touches. The reads are of different moments; the compare
    /// of the zone, which every change of a row writes, makes them one.
    async fn basis(&self, name: &ZoneName, stored: Stored, request: &Request) -> Result<Basis, EditError> {
        let Stored { zone, version } = stored;
        let mut owners: Vec<&[u8]> = request.changes.iter().map(|change| change.owner.as_slice()).collect();
        owners.sort_unstable();
        owners.dedup();
        let prefixes: Vec<String> = owners.into_iter().map(|owner| keys::owner(zone.root, owner)).collect();
        let pages: Vec<Vec<(String, Row)>> = futures::stream::iter(prefixes)
            .map(|prefix| self.rows(prefix))
            .buffered(READS_MAX)
            .try_collect()
            .await?;
        let rows: BTreeMap<String, Row> = pages.into_iter().flatten().collect();
        Ok(Basis { zone, version, apex: name.wire.clone(), rows })
    }

    /// All rows of one owner; [`plan::OWNER_SETS_MAX`] bounds how many there can be.
    async fn rows(&self, prefix: String) -> Result<Vec<(String, Row)>, EditError> {
        let (mut rows, mut token) = (Vec::new(), None);
        loop {
            let page = self.store.scan(&prefix, plan::OWNER_SETS_MAX, token.as_ref()).await?;
            for record in page.records {
                let row = Row { set: decode(&record)?, version: record.version };
                rows.push((record.key, row));
            }
            token = page.next;
            if token.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Commits, and finds out what became of it when that is not told at once.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        let mut resends = 0;
        loop {
            match self.store.commit(commit.clone()).await {
                Err(StoreError::Indeterminate { .. }) if resends < RESENDS_MAX => resends += 1,
                other => return other,
            }
            tokio::time::sleep(Duration::from_millis(20) * resends).await;
        }
    }
}

/// Waits after a lost race, longer each time: a writer that is further from the store would lose to a busy neighbour
/// for as long as that has work.
pub(crate) async fn give_way(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(1) * attempt.min(GIVE_WAY_MS_MAX)).await;
}

/// A commit under an id of its own.
pub(crate) fn commit_of(compares: Vec<metadata_store::Compare>, writes: Vec<Write>) -> Commit {
    Commit { compares, writes, idempotency_id: Some(IdempotencyId::random()) }
}

/// A zone that is deleted and created again must not go back behind the serials that secondaries have seen, so a
/// new zone starts at the clock; it would take a change every second for its whole life to come past it.
pub(crate) fn first_serial(now_ms: i64) -> u32 {
    u32::try_from(now_ms / 1000).unwrap_or(1).max(1)
}

fn unchanged(basis: &Basis, request: &Request) -> Changed {
    let record_sets = request
        .changes
        .iter()
        .map(|change| &change.set)
        .filter(|set| !set.data.is_empty())
        .cloned()
        .collect();
    Changed { serial: basis.zone.serial, version: basis.version, record_sets }
}
