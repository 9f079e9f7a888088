//! One zone as it is served: its record, its compiled form, and what of it could not be compiled.
//!
//! Every change is taken as far as it can be: a record set that the data plane refuses is left out and named in
//! the zone's condition, and all others are served, so one bad row never holds back the rest of a zone.

use std::{collections::BTreeMap, sync::Arc};

use flashdns_core::{Change, Name, RrSet, Zone, rtype};
use metadata_store::Version;

use crate::{
    metadata::{
        keys,
        records::{Id, ZoneRecord},
    },
    plan,
    served::ZoneStatus,
    text,
};

/// An overlay is merged when it has more names than this, and more than a 16th of the zone.
const OVERLAY_MAX: usize = 1024;

/// A zone with what is served of it.
#[derive(Debug)]
pub(super) struct ZoneState {
    record: ZoneRecord,
    version: Version,
    /// `None`: not even its start of authority can be served.
    zone: Option<Arc<Zone>>,
    /// Why the zone's record is not served as it is.
    problem: Option<String>,
    /// Record sets that the data plane refuses, with the reason.
    refused: BTreeMap<(Vec<u8>, u16), String>,
    merging: Option<Merging>,
}

/// A merge under way elsewhere.
#[derive(Debug)]
struct Merging {
    /// What is being merged.
    from: Arc<Zone>,
    /// What came since.
    since: Vec<Change>,
}

impl ZoneState {
    /// Compiles the zone from its record and rows.
    pub(super) fn compile(record: ZoneRecord, version: Version, rows: Vec<RrSet>) -> ZoneState {
        let mut state =
            ZoneState { record, version, zone: None, problem: None, refused: BTreeMap::new(), merging: None };
        let rows: Vec<RrSet> = rows.into_iter().filter(|row| row.rtype != rtype::SOA).collect();
        if let Err(problem) = state.try_compile(rows) {
            state.fail(problem);
        }
        state
    }

    fn try_compile(&mut self, rows: Vec<RrSet>) -> Result<(), String> {
        let name = Name::parse(&self.record.name).map_err(|error| error.to_string())?;
        let soa = soa(&self.record)?;
        let sets = rows.iter().chain([&soa]).cloned();
        if let Ok(zone) = Zone::compile(name.clone(), sets) {
            self.zone = Some(Arc::new(zone));
            return Ok(());
        }
        let zone = Zone::compile(name, [soa]).map_err(|error| error.to_string())?;
        self.zone = Some(Arc::new(zone));
        self.change(rows.into_iter().map(Change::Put).collect());
        self.zone = self.zone.take().map(|zone| Arc::new(zone.merged()));
        Ok(())
    }

    /// The zone's next record, of the same generation; the change that it is for what is served.
    pub(super) fn update(&mut self, record: ZoneRecord, version: Version) -> Option<Change> {
        let soa = soa(&record);
        (self.record, self.version, self.problem) = (record, version, None);
        match soa {
            Ok(set) => Some(Change::Put(set)),
            Err(problem) => {
                self.fail(problem);
                None
            }
        }
    }

    /// Notes why the zone's record is not served as it is.
    pub(super) fn fail(&mut self, problem: String) {
        self.problem = Some(problem);
    }

    /// Takes changes over, all at once as far as readers can see.
    pub(super) fn change(&mut self, changes: Vec<Change>) {
        for change in &changes {
            self.refused.remove(&(change.owner().to_lowercase().as_wire().to_vec(), change.rtype()));
        }
        if let Some(zone) = &self.zone {
            let next = apply(Arc::clone(zone), &changes, &mut self.refused);
            self.zone = Some(next);
        }
        if let Some(merging) = &mut self.merging {
            merging.since.extend(changes);
        }
    }

    /// What is to be merged, when it is time for that.
    pub(super) fn begin_merge(&mut self) -> Option<Arc<Zone>> {
        let zone = self.zone.as_ref()?;
        let is_time = zone.overlay_len() > OVERLAY_MAX.max(zone.rrset_count() / 16);
        if is_time { self.force_merge() } else { None }
    }

    /// What is to be merged, unless that is under way.
    pub(super) fn force_merge(&mut self) -> Option<Arc<Zone>> {
        let zone = self.zone.as_ref().filter(|_| self.merging.is_none())?;
        self.merging = Some(Merging { from: Arc::clone(zone), since: Vec::new() });
        Some(Arc::clone(zone))
    }

    /// Takes what was merged from `from`; false when nobody waits for it any more.
    pub(super) fn finish_merge(&mut self, from: &Arc<Zone>, merged: Zone) -> bool {
        let Some(merging) = self.merging.take_if(|merging| Arc::ptr_eq(&merging.from, from)) else {
            return false;
        };
        // What is refused was noted when it came, and some of it was put right since.
        self.zone = Some(apply(Arc::new(merged), &merging.since, &mut BTreeMap::new()));
        true
    }

    pub(super) fn zone(&self) -> Option<&Arc<Zone>> {
        self.zone.as_ref()
    }

    pub(super) fn root(&self) -> Id {
        self.record.root
    }

    pub(super) fn name(&self) -> &str {
        &self.record.name
    }

    /// The key of the zone's record.
    pub(super) fn key(&self) -> String {
        Name::parse(&self.record.name).map(|name| keys::zone(name.as_wire())).unwrap_or_default()
    }

    /// What a checkpoint keeps of it.
    pub(super) fn saved(&self) -> Option<(ZoneRecord, Version, Arc<Zone>)> {
        self.zone.as_ref().map(|zone| (self.record.clone(), self.version, Arc::clone(zone)))
    }
}

/// `zone` after `changes`; those that it refuses are left out and noted.
fn apply(zone: Arc<Zone>, changes: &[Change], refused: &mut BTreeMap<(Vec<u8>, u16), String>) -> Arc<Zone> {
    match (zone.with_changes(changes), changes) {
        (Ok(zone), _) => Arc::new(zone),
        (Err(_), []) => zone,
        // What could not be put is not there to be deleted either.
        (Err(_), [Change::Delete { .. }]) => zone,
        (Err(error), [Change::Put(set)]) => {
            let key = (set.owner.to_lowercase().as_wire().to_vec(), set.rtype);
            refused.insert(key, error.to_string());
            zone
        }
        (Err(_), changes) => {
            let (first, second) = changes.split_at(changes.len() / 2);
            apply(apply(zone, first, refused), second, refused)
        }
    }
}

/// The start of authority as the data plane wants it.
fn soa(record: &ZoneRecord) -> Result<RrSet, String> {
    text::rrset(&plan::soa_set(record)).map_err(|error| error.to_string())
}

/// What is served of a zone, with its rows that cannot be read.
pub(super) fn status(state: &ZoneState, unreadable: Option<&BTreeMap<String, String>>) -> ZoneStatus {
    ZoneStatus {
        serial: state.zone.as_ref().map_or(0, |zone| zone.serial()),
        version: state.version,
        problem: problem(state, unreadable),
        lame: state.zone.as_ref().map(|zone| lame(zone)).unwrap_or_default(),
    }
}

/// The first thing that is wrong, and how much else is.
fn problem(state: &ZoneState, unreadable: Option<&BTreeMap<String, String>>) -> Option<String> {
    if let Some(problem) = &state.problem {
        return Some(problem.clone());
    }
    let unreadable = unreadable.into_iter().flatten().map(|(key, why)| format!("{key}: {why}"));
    let mut wrong = unreadable.chain(state.refused.values().cloned());
    let first = wrong.next()?;
    Some(match wrong.count() {
        0 => format!("a record set is not served: {first}"),
        more => format!("{} record sets are not served, the first: {first}", more + 1),
    })
}

/// Name servers inside the zone that have no address there: nobody finds the zone by them.
fn lame(zone: &Zone) -> Vec<String> {
    let servers = zone.rrset(zone.name(), rtype::NS).map(|set| set.data).unwrap_or_default();
    let names = servers.iter().filter_map(|data| Name::from_wire(data).ok());
    let has_address =
        |name: &Name| [rtype::A, rtype::AAAA].iter().any(|&rtype| zone.rrset(name, rtype).is_some());
    names
        .filter(|name| name.is_within(zone.name()) && !has_address(name))
        .map(|name| name.to_string())
        .collect()
}
