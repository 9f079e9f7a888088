//! Turns changes of record sets into changes of nodes.
//!
//! A name exists because it has record sets or because a name below it exists. So a name that comes or goes
//! changes its parent's count of children, and may make the parent come or go in turn; the apex always exists.
//! Compiling a zone is the same as changing an empty one, which is why there is one code for both.

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use crate::{
    Change, Name, RrSet, Zone, ZoneError,
    name::{LABELS_MAX, split_first},
    rtype,
    zone::{
        blob,
        node::{Content, Node},
    },
};

/// A touched name.
#[derive(Debug)]
struct Draft {
    content: Content,
    existed: bool,
}

/// Changes under way.
#[derive(Debug)]
pub(crate) struct Edit<'a> {
    apex: &'a Name,
    /// What is changed; `None`: an empty zone.
    zone: Option<&'a Zone>,
    /// By name in lower case.
    drafts: HashMap<Box<[u8]>, Draft, RandomState>,
    /// Sets that came less those that went.
    pub(crate) sets_added: isize,
}

/// A node that changed.
#[derive(Debug)]
pub(crate) struct Edited {
    /// In lower case.
    pub(crate) name: Box<[u8]>,
    pub(crate) record: Vec<u8>,
}

impl<'a> Edit<'a> {
    pub(crate) fn new(apex: &'a Name, zone: Option<&'a Zone>) -> Edit<'a> {
        let mut edit = Edit { apex, zone, drafts: HashMap::default(), sets_added: 0 };
        edit.draft(apex.as_wire());
        edit
    }

    /// Makes a change; a set of the same owner and type is replaced.
    pub(crate) fn apply(&mut self, change: &Change) -> Result<(), ZoneError> {
        match change {
            Change::Put(set) => self.put(set).map(|_replaced| ()),
            Change::Delete { owner, rtype } => self.delete(owner, *rtype),
        }
    }

    /// Adds a set that must not be there yet.
    pub(crate) fn add(&mut self, set: &RrSet) -> Result<(), ZoneError> {
        if self.put(set)? {
            return Err(ZoneError::Duplicate { owner: set.owner.clone(), rtype: set.rtype });
        }
        Ok(())
    }

    /// Returns whether a set was replaced.
    fn put(&mut self, set: &RrSet) -> Result<bool, ZoneError> {
        self.check(set)?;
        let content = &mut self.draft(set.owner.as_wire()).content;
        // The name's case can change as long as nothing else was built with it.
        if content.sets.iter().all(|(rtype, _)| *rtype == set.rtype) {
            content.name = set.owner.as_wire().into();
        }
        let encoded = blob::encode(set, &content.name, set.ttl)?;
        let replaced = match content.sets.binary_search_by_key(&set.rtype, |(rtype, _)| *rtype) {
            Ok(at) => {
                content.sets[at].1 = encoded;
                true
            }
            Err(at) => {
                content.sets.insert(at, (set.rtype, encoded));
                self.sets_added += 1;
                false
            }
        };
        Ok(replaced)
    }

    fn check(&self, set: &RrSet) -> Result<(), ZoneError> {
        let (owner, rtype) = (set.owner.clone(), set.rtype);
        if !set.owner.is_within(self.apex) {
            return Err(ZoneError::OutOfZone { owner, zone: self.apex.clone() });
        }
        if !rtype::is_data(set.rtype) {
            return Err(ZoneError::NotData { owner, rtype });
        }
        if set.data.is_empty() {
            return Err(ZoneError::Empty { owner, rtype });
        }
        if set.rtype == rtype::SOA && (set.owner != *self.apex || set.data.len() != 1) {
            return Err(ZoneError::Soa { owner });
        }
        Ok(())
    }

    fn delete(&mut self, owner: &Name, rtype: u16) -> Result<(), ZoneError> {
        if !owner.is_within(self.apex) {
            return Err(ZoneError::OutOfZone { owner: owner.clone(), zone: self.apex.clone() });
        }
        let content = &mut self.draft(owner.as_wire()).content;
        if let Ok(at) = content.sets.binary_search_by_key(&rtype, |(rtype, _)| *rtype) {
            content.sets.remove(at);
            self.sets_added -= 1;
        }
        Ok(())
    }

    /// The draft of a name, as the zone has it if it was not touched yet.
    fn draft(&mut self, name: &[u8]) -> &mut Draft {
        let zone = self.zone;
        self.drafts.entry(name.to_ascii_lowercase().into()).or_insert_with(|| {
            let found = zone.and_then(|zone| zone.node(name));
            let fresh = || Content { name: name.into(), ..Content::default() };
            Draft { content: found.map_or_else(fresh, Content::of), existed: found.is_some() }
        })
    }

    /// Settles which names exist and encodes every touched one, the deepest first.
    pub(crate) fn finish(mut self) -> Result<Vec<Edited>, ZoneError> {
        let mut edited = Vec::with_capacity(self.drafts.len());
        let mut levels: Vec<Vec<Box<[u8]>>> = vec![Vec::new(); LABELS_MAX + 1];
        for name in self.drafts.keys() {
            levels[depth(name)].push(name.clone());
        }
        for at in (0..=LABELS_MAX).rev() {
            for name in std::mem::take(&mut levels[at]) {
                if let Some(parent) = self.settle(&name) {
                    levels[at - 1].push(parent);
                }
                edited.push(self.encode(name)?);
            }
        }
        Ok(edited)
    }

    /// Tells the parent if the name came or went; returns the parent if it was not touched before.
    fn settle(&mut self, name: &[u8]) -> Option<Box<[u8]>> {
        let apex = name.len() == self.apex.as_wire().len();
        let draft = self.drafts.get(name)?;
        let exists = draft.content.exists();
        if apex || exists == draft.existed {
            return None;
        }
        let own = draft.content.name.clone();
        let (label, parent) = split_first(&own)?;
        let fresh = !self.drafts.contains_key(&*parent.to_ascii_lowercase());
        let content = &mut self.draft(parent).content;
        content.children = if exists { content.children + 1 } else { content.children.saturating_sub(1) };
        if label == b"*" {
            content.wildcard = exists;
        }
        fresh.then(|| parent.to_ascii_lowercase().into())
    }

    fn encode(&mut self, name: Box<[u8]>) -> Result<Edited, ZoneError> {
        let apex = name.len() == self.apex.as_wire().len();
        let content = self.drafts.remove(&name).map(|draft| draft.content).unwrap_or_default();
        let too_large = || ZoneError::NameTooLarge {
            owner: Name::from_wire(&name).unwrap_or_else(|_malformed| self.apex.clone()),
        };
        let record = content.encode(apex).ok_or_else(too_large)?;
        Ok(Edited { name, record })
    }
}

fn depth(name: &[u8]) -> usize {
    std::iter::successors(Some(name), |rest| split_first(rest).map(|(_, rest)| rest)).count() - 1
}

impl Edited {
    pub(crate) fn node(&self) -> Node<'_> {
        Node::whole(&self.record)
    }
}
