//! Which catalog the records make: the whole decision of the data plane's feed, without I/O, clock or lock.
//!
//! Rows may come before the zone that they belong to (an import writes them first) or after it was gone (the
//! sweeper deletes them): rows of a generation that no zone names are only kept, not served, so what is served
//! changes in the one revision that names them. A record that cannot be read changes nothing but the zone's
//! condition; the zone keeps what it had.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use flashdns_core::{Catalog, Change, Name, RrSet, Zone};
use metadata_store::{Event, Record, Revision, Version};
use photon_runtime::errors::chain;

use super::serving::{self, ZoneState};
use crate::{
    checkpoint::{Checkpoint, SavedZone},
    metadata::{
        decode_value, keys,
        records::{Id, RecordSetRecord, ZoneRecord},
    },
    served::ZoneStatus,
    text,
};

/// Events, or rows of a generation that becomes live, from which a revision is too long for a task that others
/// share a thread with.
const HEAVY_ROWS: usize = 2000;

/// Rows by key, as the data plane wants them.
type Rows = BTreeMap<String, RrSet>;

/// Changes of record sets by the key of the zone that serves them.
type Changes = BTreeMap<String, Vec<Change>>;

/// Everything that the catalog is computed from.
#[derive(Debug, Default)]
pub(crate) struct State {
    version: Version,
    zones: BTreeMap<String, ZoneState>,
    /// Zone key by the generation that it serves.
    live: BTreeMap<Id, String>,
    /// Rows of generations that no zone names.
    staged: BTreeMap<Id, Rows>,
    /// Why rows cannot be read, by key.
    unreadable: BTreeMap<Id, BTreeMap<String, String>>,
    catalog: Catalog,
}

/// A list that is not complete yet. Nothing is compiled before it is, since no half of it may be served.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    state: State,
    zones: Vec<Record>,
}

/// A zone to be merged elsewhere: its overlay has grown.
#[derive(Debug)]
pub(crate) struct Merge {
    key: String,
    zone: Arc<Zone>,
}

/// A zone as it was merged, to be handed back with [`State::finish_merge`].
#[derive(Debug)]
pub(crate) struct Merged {
    key: String,
    from: Arc<Zone>,
    zone: Zone,
}

/// What became of the zones that a revision touched; `None`: gone.
pub(crate) type Touched = Vec<(String, Option<ZoneStatus>)>;

impl Merge {
    /// Does the work, which is as long as the zone is large.
    pub(crate) fn run(self) -> Merged {
        let zone = self.zone.merged();
        Merged { key: self.key, from: self.zone, zone }
    }
}

impl Loading {
    /// Takes one record of the list.
    pub(crate) fn add(&mut self, record: Record) {
        if record.key.starts_with(keys::ZONES) {
            self.zones.push(record);
        } else if record.key.starts_with(keys::RECORD_SETS) {
            let change = self.state.row(&record.key, Some(&record.value));
            debug_assert!(change.is_none(), "no generation is live before the list is complete");
        }
    }

    /// The complete list, which is of `version`, as the state to go on from.
    pub(crate) fn finish(self, version: Version) -> State {
        let Loading { mut state, zones } = self;
        for record in zones {
            state.put_zone(&record.key, &record.value, record.version, &mut Changes::new());
        }
        state.version = version;
        let keys: Vec<String> = state.zones.keys().cloned().collect();
        state.publish(keys);
        state
    }
}

impl State {
    /// What a checkpoint was made of.
    pub(crate) fn restore(checkpoint: Checkpoint) -> State {
        let mut state = State { version: checkpoint.revision, ..State::default() };
        for SavedZone { record, version, sets } in checkpoint.zones {
            let rows = sets.into_iter().filter_map(|set| set.into_rrset().ok()).collect();
            let zone = ZoneState::compile(record, version, rows);
            state.zones.insert(zone.key(), zone);
        }
        let keys: Vec<String> = state.zones.keys().cloned().collect();
        state.publish(keys);
        state
    }

    /// The revision that this is of.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// What is to be served.
    pub(crate) fn catalog(&self) -> Catalog {
        self.catalog.clone()
    }

    /// The zones as a checkpoint keeps them.
    pub(crate) fn zones(&self) -> Vec<(ZoneRecord, Version, Arc<Zone>)> {
        self.zones.values().filter_map(ZoneState::saved).collect()
    }

    /// The status of every zone.
    pub(crate) fn statuses(&self) -> Touched {
        self.zones.keys().map(|key| (key.clone(), self.status(key))).collect()
    }

    /// Whether applying this revision takes long.
    pub(crate) fn is_heavy(&self, revision: &Revision) -> bool {
        let adopted = |Event { key, value, .. }: &Event| {
            let value = value.as_ref().filter(|_| key.starts_with(keys::ZONES));
            let zone = value.and_then(|value| decode_value::<ZoneRecord>(key, value).ok());
            zone.and_then(|zone| self.staged.get(&zone.root)).map_or(0, BTreeMap::len)
        };
        revision.events.iter().map(|event| 1 + adopted(event)).sum::<usize>() >= HEAVY_ROWS
    }

    /// Takes over one revision, whole.
    pub(crate) fn apply(&mut self, revision: &Revision) -> Touched {
        let mut changes = Changes::new();
        let under = |prefix| revision.events.iter().filter(move |event| event.key.starts_with(prefix));
        for Event { key, value, .. } in under(keys::RECORD_SETS) {
            if let Some((zone, change)) = self.row(key, value.as_deref()) {
                changes.entry(zone).or_default().extend(change);
            }
        }
        let mut touched = BTreeSet::new();
        for Event { key, value, .. } in under(keys::ZONES) {
            touched.insert(key.clone());
            match value {
                Some(value) => self.put_zone(key, value, revision.version, &mut changes),
                None => self.drop_zone(key, &mut changes),
            }
        }
        for (key, changes) in changes {
            if let Some(zone) = self.zones.get_mut(&key) {
                zone.change(changes);
            }
            touched.insert(key);
        }
        self.version = revision.version;
        self.publish(touched)
    }

    /// Zones whose overlay has grown so much that they should be merged. Each is handed out once, until it is
    /// handed back.
    pub(crate) fn begin_merges(&mut self, touched: &Touched) -> Vec<Merge> {
        let mut merges = Vec::new();
        for (key, _) in touched {
            let zone = self.zones.get_mut(key).and_then(ZoneState::begin_merge);
            merges.extend(zone.map(|zone| Merge { key: key.clone(), zone }));
        }
        merges
    }

    /// Takes a merged zone back, with what changed meanwhile put over it.
    pub(crate) fn finish_merge(&mut self, merged: Merged) {
        let Merged { key, from, zone } = merged;
        if self.zones.get_mut(&key).is_some_and(|state| state.finish_merge(&from, zone)) {
            self.publish([key]);
        }
    }

    /// Notes one row; the change that it is for the zone which serves it, if one does.
    fn row(&mut self, key: &str, value: Option<&[u8]>) -> Option<(String, Option<Change>)> {
        let Some(keys::RowKey { root, owner, mnemonic }) = keys::parse_row(key) else {
            tracing::warn!(key, "not a key of a record set; passed over");
            return None;
        };
        let change = change_of(key, &owner, mnemonic, value);
        let unreadable = self.unreadable.entry(root).or_default();
        match &change {
            Ok(_) => unreadable.remove(key),
            Err(why) => unreadable.insert(key.to_owned(), why.clone()),
        };
        if unreadable.is_empty() {
            self.unreadable.remove(&root);
        }
        if let Some(zone) = self.live.get(&root) {
            return Some((zone.clone(), change.ok()));
        }
        self.stage(root, key, change.ok());
        None
    }

    fn stage(&mut self, root: Id, key: &str, change: Option<Change>) {
        let rows = self.staged.entry(root).or_default();
        match change {
            Some(Change::Put(set)) => drop(rows.insert(key.to_owned(), set)),
            Some(Change::Delete { .. }) => drop(rows.remove(key)),
            None => (),
        }
        if rows.is_empty() {
            self.staged.remove(&root);
        }
    }

    fn put_zone(&mut self, key: &str, value: &[u8], version: Version, changes: &mut Changes) {
        let zone = match read_zone(key, value) {
            Ok(zone) => zone,
            Err(why) => return self.unreadable_zone(key, &why),
        };
        if let Some(known) = self.zones.get_mut(key).filter(|known| known.root() == zone.root) {
            let soa = known.update(zone, version);
            changes.entry(key.to_owned()).or_default().extend(soa);
            return;
        }
        self.drop_zone(key, changes);
        let rows = self.staged.remove(&zone.root).unwrap_or_default();
        self.live.insert(zone.root, key.to_owned());
        self.zones.insert(key.to_owned(), ZoneState::compile(zone, version, rows.into_values().collect()));
    }

    fn unreadable_zone(&mut self, key: &str, why: &str) {
        tracing::warn!(key, why, "zone cannot be read; what it had is still served");
        if let Some(zone) = self.zones.get_mut(key) {
            zone.fail(format!("the zone's record cannot be read: {why}"));
        }
    }

    fn drop_zone(&mut self, key: &str, changes: &mut Changes) {
        changes.remove(key);
        if let Some(zone) = self.zones.remove(key) {
            self.live.remove(&zone.root());
            self.unreadable.remove(&zone.root());
            self.forget(&zone);
        }
    }

    fn forget(&mut self, zone: &ZoneState) {
        if let Ok(name) = Name::parse(zone.name()) {
            self.catalog = self.catalog.without_zone(&name);
        }
    }

    /// Puts the zones into the catalog, and says what they are now.
    fn publish(&mut self, touched: impl IntoIterator<Item = String>) -> Touched {
        let mut statuses = Vec::new();
        for key in touched {
            if let Some(zone) = self.zones.get(&key).and_then(ZoneState::zone) {
                self.catalog = self.catalog.with_zone(Arc::clone(zone));
            }
            let status = self.status(&key);
            statuses.push((key, status));
        }
        statuses
    }

    fn status(&self, key: &str) -> Option<ZoneStatus> {
        let zone = self.zones.get(key)?;
        let unreadable = self.unreadable.get(&zone.root());
        Some(serving::status(zone, unreadable))
    }
}

fn read_zone(key: &str, value: &[u8]) -> Result<ZoneRecord, String> {
    let zone: ZoneRecord = decode_value(key, value).map_err(|error| chain(&error).to_string())?;
    let name = Name::parse(&zone.name).map_err(|error| error.to_string())?;
    if keys::zone(name.as_wire()) != key {
        return Err(format!("holds zone {}, which belongs under another key", zone.name));
    }
    Ok(zone)
}

/// The change that a row is, or why it cannot be served.
fn change_of(key: &str, owner: &[u8], mnemonic: &str, value: Option<&[u8]>) -> Result<Change, String> {
    let Some(value) = value else {
        let owner = Name::from_wire(owner).map_err(|error| error.to_string())?;
        let rtype = text::type_number(mnemonic).map_err(|error| error.to_string())?;
        return Ok(Change::Delete { owner, rtype });
    };
    let record: RecordSetRecord = decode_value(key, value).map_err(|error| chain(&error).to_string())?;
    let set = text::rrset(&record).map_err(|error| error.to_string())?;
    if !set.owner.as_wire().eq_ignore_ascii_case(owner) || record.rtype != mnemonic {
        return Err(format!("holds {} {}, which belongs under another key", record.name, record.rtype));
    }
    Ok(Change::Put(set))
}

#[cfg(test)]
mod tests;
