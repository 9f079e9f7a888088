//! Addresses of the names in an answer: what saves the client a question, and for a delegation what makes it
//! reachable at all.
//!
//! Only addresses of the same zone are given. Those of name servers at or below the delegation itself are
//! mandatory: without them the reply is truncated (RFC 9471 §3.1). All others are given as far as there is room.

use super::{
    reply::{Full, Section},
    resolve::Step,
};
use crate::{
    labels::Labels,
    rdata, rtype,
    zone::{blob::Blob, node::Node},
};

/// Names of an answer whose addresses are given. The work for one query is bounded, and more would not fit.
const TARGETS_MAX: usize = 16;

/// Addresses for the names in an answer.
pub(crate) fn for_answer(step: &mut Step<'_, '_, '_>, rtype: u16, set: Blob<'_>, start: usize) {
    let Some(offset) = rdata::target_offset(rtype) else { return };
    let mut seen = [0; TARGETS_MAX];
    for (index, (data, _)) in set.data().take(TARGETS_MAX).enumerate() {
        let Some(target) = target(step, start + data + offset) else { continue };
        let hash = target.hash_at(target.depth());
        let repeated = seen[..index].contains(&hash);
        seen[index] = hash;
        if !repeated
            && (rtype == rtype::NS || is_authoritative(step, &target))
            && let Some(node) = node(step, &target)
            && put(step, &target, node).is_err()
        {
            return;
        }
    }
}

/// Addresses for a delegation at `cut`: first those that it does not work without.
pub(crate) fn for_referral(
    step: &mut Step<'_, '_, '_>,
    cut: usize,
    set: Blob<'_>,
    start: usize,
) -> Result<(), Full> {
    for mandatory in [true, false] {
        for (data, _) in set.data() {
            let Some(target) = target(step, start + data) else { continue };
            if target.is_within(step.name, cut) != mandatory {
                continue;
            }
            let Some(node) = node(step, &target) else { continue };
            match put(step, &target, node) {
                Err(Full) if mandatory => return Err(Full),
                Err(Full) => return Ok(()),
                Ok(()) => (),
            }
        }
    }
    Ok(())
}

/// The name in the data at `at`, if it is in the zone.
fn target(step: &Step<'_, '_, '_>, at: usize) -> Option<Labels> {
    let target = Labels::of(step.reply.written(), at)?;
    target.is_within(step.name, step.zone.depth()).then_some(target)
}

/// The node that has the addresses: that of the name, or the wildcard that stands for it.
fn node<'a>(step: &Step<'a, '_, '_>, target: &Labels) -> Option<Node<'a>> {
    let zone = step.zone;
    zone.find(target, target.depth()).or_else(|| zone.wildcard_for(target))
}

/// Whether no delegation and no DNAME is above or at the name.
fn is_authoritative(step: &Step<'_, '_, '_>, target: &Labels) -> bool {
    let occludes = |depth| {
        let node = step.zone.find(target, depth);
        node.is_some_and(|node| node.is_cut() || (node.is_dname() && depth < target.depth()))
    };
    !(step.zone.depth()..=target.depth()).any(|depth| step.zone.is_special(depth) && occludes(depth))
}

fn put(step: &mut Step<'_, '_, '_>, target: &Labels, node: Node<'_>) -> Result<(), Full> {
    for rtype in [rtype::A, rtype::AAAA] {
        if let Some(set) = node.set(rtype) {
            step.reply.put(Section::Additional, target, target.depth(), set)?;
        }
    }
    Ok(())
}
