//! What the simulation meets too seldom to rely on.

use foca::{Member, State};

use super::*;
use crate::{event::Event, keyring::Key};

fn identity(node: u64) -> Identity {
    Identity::new(NodeId(node), ([10, 0, 0, 1], u16::try_from(node).unwrap()).into(), 1)
}

/// Node 1, which knows that node 2 is suspected.
fn gossip(out: &mut Outbox) -> Gossip {
    let start = Start {
        config: Config::default(),
        identity: identity(1),
        metadata: Metadata::new("node-1", "", vec![], vec![]).unwrap(),
        seeds: vec![],
        keyring: Keyring::new(Key::new([1; 32])),
        entropy: [1; 32],
    };
    let mut gossip = Gossip::new(start, Metrics::default()).unwrap();
    let suspected = std::iter::once(Member::new(identity(2), 0, State::Suspect));
    let applied = gossip.swim.apply_many(suspected, true, &mut gossip.effects);
    gossip.settle(Duration::ZERO, applied, None, out);
    gossip
}

#[test]
fn suspicion_whose_end_was_never_heard_of_is_brought_before_the_suspect_and_then_ended() {
    let mut out = Outbox::default();
    let mut gossip = gossip(&mut out);
    assert_eq!(std::mem::take(&mut out.events), [Event::Joined(identity(2))]);
    let (patience, suspects) = (gossip.config.suspicion_of(2), gossip.suspects());
    gossip.doubt(Duration::ZERO, &suspects, &mut out);
    assert_eq!(out.packets.len(), 0, "it is somebody else's suspicion");
    gossip.doubt(patience * 2, &suspects, &mut out);
    assert_eq!(out.packets.iter().map(|packet| packet.to).collect::<Vec<_>>(), [identity(2).addr]);
    gossip.doubt(patience * 3, &suspects, &mut out);
    assert_eq!(out.events, [Event::FailedHint(NodeId(2))]);
}

#[test]
fn suspicion_that_was_refuted_and_raised_again_begins_anew() {
    let mut out = Outbox::default();
    let mut gossip = gossip(&mut out);
    out.events.clear();
    let (patience, suspects) = (gossip.config.suspicion_of(2), gossip.suspects());
    gossip.doubt(Duration::ZERO, &suspects, &mut out);
    let again = BTreeSet::from([(identity(2), 1)]);
    gossip.doubt(patience * 3, &again, &mut out);
    assert_eq!(out.events, []);
}
