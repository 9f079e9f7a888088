//! Finds what answers a query: RFC 1034 §4.3.2, with the clarifications of RFC 2181, RFC 2308, RFC 4592, RFC 6672
//! and RFC 8020.
//!
//! An alias is followed inside all zones of the catalog, as one server that is authoritative for both sides may.
//! A chain ends where it leaves the catalog, meets a name that it has been at, or after [`CHAIN_MAX`] links.

use super::{
    Rcode, additional,
    query::Query,
    reply::{Full, Reply, Section},
};
use crate::{
    Catalog, Zone,
    labels::Labels,
    name::NAME_BYTES_MAX,
    rtype,
    zone::{blob::RECORD_HEAD, node::Node},
};

/// Links of a chain of aliases that are followed.
pub(crate) const CHAIN_MAX: usize = 16;

/// What comes after a step.
pub(crate) enum Next {
    /// The reply is complete.
    Done,
    /// An alias was written; its target is at this place of the reply.
    Follow(usize),
}

/// What the chain has been at, as places of the reply.
#[derive(Default)]
pub(crate) struct Trail {
    names: [u16; CHAIN_MAX],
    length: usize,
    /// Owners of redirections that were written: a record set is written once, however often it applies.
    redirections: [u16; CHAIN_MAX],
    redirected: usize,
}

/// Answers `query` into `reply`.
pub(crate) fn resolve(catalog: &Catalog, query: &Query, reply: &mut Reply<'_>) {
    let Some(zone) = zone_of(catalog, &query.name, query.rtype) else { return reply.fail(Rcode::REFUSED) };
    reply.set_authoritative();
    let (rtype, mut trail) = (query.rtype, Trail::default());
    let mut step = Step { zone, name: &query.name, rtype, first: true, reply, trail: &mut trail };
    let mut next = step.run();
    trail.note(&query.name);
    while let Ok(Next::Follow(at)) = next {
        let Some(name) = Labels::of(reply.written(), at) else { return };
        if trail.has(&name, reply.written()) || trail.note(&name) {
            return;
        }
        let Some(zone) = zone_of(catalog, &name, rtype) else { return };
        next = Step { zone, name: &name, rtype, first: false, reply, trail: &mut trail }.run();
    }
    if next.is_err() {
        reply.truncate();
    }
}

/// The zone that answers for a name. A delegation's DS is the parent's to answer (RFC 4035 §3.1.4.1).
pub(crate) fn zone_of<'a>(catalog: &'a Catalog, name: &Labels, rtype: u16) -> Option<&'a Zone> {
    let depth = name.depth();
    let parent = if rtype == rtype::DS && depth > 0 { catalog.find(name, depth - 1) } else { None };
    parent.or_else(|| catalog.find(name, depth))
}

impl Trail {
    /// Returns whether the chain has become too long.
    fn note(&mut self, name: &Labels) -> bool {
        let Some(place) = self.names.get_mut(self.length) else { return true };
        *place = name.place(name.depth());
        self.length += 1;
        false
    }

    fn has(&self, name: &Labels, message: &[u8]) -> bool {
        let places = self.names.iter().take(self.length);
        places.filter_map(|&place| Labels::of(message, usize::from(place))).any(|other| other.is(name))
    }

    /// Where the redirection of the ancestor of `name` at `depth` was written, if it was.
    fn redirection(&self, name: &Labels, depth: usize, message: &[u8]) -> Option<usize> {
        let starts = self.redirections.iter().take(self.redirected).map(|&start| usize::from(start));
        let is_this = |start: &usize| {
            Labels::of(message, *start)
                .is_some_and(|owner| owner.depth() == depth && name.is_within(&owner, depth))
        };
        starts.into_iter().find(is_this)
    }

    fn note_redirection(&mut self, start: usize) {
        if let (Some(place), Ok(start)) = (self.redirections.get_mut(self.redirected), u16::try_from(start)) {
            *place = start;
            self.redirected += 1;
        }
    }
}

/// One name of the chain in one zone.
pub(crate) struct Step<'a, 'b, 'o> {
    pub(crate) zone: &'a Zone,
    pub(crate) name: &'b Labels,
    pub(crate) rtype: u16,
    /// Whether this is the name that was asked for.
    pub(crate) first: bool,
    pub(crate) reply: &'b mut Reply<'o>,
    trail: &'b mut Trail,
}

impl<'a> Step<'a, '_, '_> {
    fn run(&mut self) -> Result<Next, Full> {
        let depth = self.name.depth();
        for above in self.zone.depth()..depth {
            if !self.zone.is_special(above) {
                continue;
            }
            let Some(node) = self.zone.find(self.name, above) else { break };
            if node.is_cut() {
                return self.refer(node, above);
            }
            if node.is_dname() {
                return self.redirect(node, above);
            }
        }
        match self.zone.find(self.name, depth) {
            Some(node) if node.is_cut() && self.rtype != rtype::DS => self.refer(node, depth),
            Some(node) => self.serve(node, depth),
            None => self.expand(),
        }
    }

    /// The name does not exist: a wildcard may stand for it (RFC 4592 §3.3).
    fn expand(&mut self) -> Result<Next, Full> {
        match self.zone.wildcard_for(self.name) {
            Some(wildcard) if wildcard.is_cut() => self.refer(wildcard, self.name.depth()),
            Some(wildcard) => self.serve(wildcard, self.name.depth()),
            None => {
                self.reply.fail(Rcode::NAME_ERROR);
                self.deny()
            }
        }
    }

    /// Answers from the node of the name, or the wildcard that stands for it.
    fn serve(&mut self, node: Node<'a>, depth: usize) -> Result<Next, Full> {
        if self.rtype == rtype::ANY {
            return self.serve_any(node, depth);
        }
        if let Some(set) = node.set(self.rtype) {
            let start = self.reply.put(Section::Answer, self.name, depth, set)?;
            additional::for_answer(self, self.rtype, set, start);
            return Ok(Next::Done);
        }
        if node.is_alias()
            && let Some(alias) = node.set(rtype::CNAME)
        {
            let start = self.reply.put(Section::Answer, self.name, depth, alias)?;
            return Ok(Next::Follow(start + RECORD_HEAD));
        }
        self.deny()
    }

    /// One record set stands for all (RFC 8482 §4.1).
    fn serve_any(&mut self, node: Node<'a>, depth: usize) -> Result<Next, Full> {
        match node.all_sets().next() {
            Some((_, set)) => {
                self.reply.put(Section::Answer, self.name, depth, set)?;
                Ok(Next::Done)
            }
            None => self.deny(),
        }
    }

    /// Says with the SOA that there is nothing (RFC 2308 §2).
    fn deny(&mut self) -> Result<Next, Full> {
        match self.zone.negative() {
            Some(soa) => {
                self.reply.put(Section::Authority, self.name, self.zone.depth(), soa)?;
            }
            None => self.reply.fail(Rcode::SERVER_FAILURE),
        }
        Ok(Next::Done)
    }

    /// Applies a DNAME of an ancestor (RFC 6672 §3.2).
    fn redirect(&mut self, node: Node<'a>, depth: usize) -> Result<Next, Full> {
        let Some(set) = node.set(rtype::DNAME) else { return self.deny() };
        let start = match self.trail.redirection(self.name, depth, self.reply.written()) {
            Some(start) => start,
            None => self.reply.put(Section::Answer, self.name, depth, set)?,
        };
        self.trail.note_redirection(start);
        let target = start + RECORD_HEAD;
        let prefix = self.name.length() - self.name.suffix(depth).len();
        let target_length = set.data().next().map_or(0, |(from, to)| to - from);
        if prefix + target_length > NAME_BYTES_MAX {
            self.reply.fail(Rcode::NAME_TOO_LONG);
            return Ok(Next::Done);
        }
        let at = self.reply.put_synthesized(self.name, depth, target, set.ttl())?;
        Ok(if self.rtype == rtype::CNAME { Next::Done } else { Next::Follow(at) })
    }

    /// Refers to the name servers of a delegation (RFC 1034 §4.3.2 step 3b).
    fn refer(&mut self, node: Node<'a>, depth: usize) -> Result<Next, Full> {
        let Some(set) = node.set(rtype::NS) else { return self.deny() };
        if self.first {
            self.reply.set_referral();
        }
        let start = self.reply.put(Section::Authority, self.name, depth, set)?;
        additional::for_referral(self, depth, set, start)?;
        Ok(Next::Done)
    }
}
