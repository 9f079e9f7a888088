//! What a node does about its own room and its peers'.

use flaredb_raft::MemberStatus;

/// What follows from the room of a node and of its peers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Writes are let in.
    Open,
    /// Writes are refused.
    Refuse(String),
    /// Another node should lead.
    HandOver {
        /// The most up-to-date voter with room.
        to: u64,
        /// Why this node should not.
        why: String,
    },
}

/// What a node does about its own room and its peers'. Pure.
pub(super) fn decide(own: Option<&str>, leads: bool, members: &[MemberStatus]) -> Decision {
    let voters: Vec<&MemberStatus> = members.iter().filter(|member| member.voter).collect();
    if !leads {
        return Decision::Open;
    }
    let short: Vec<u64> = voters.iter().filter(|voter| voter.short_of_space).map(|voter| voter.id).collect();
    let roomy = voters.iter().filter(|voter| !voter.short_of_space).max_by_key(|voter| voter.matched_index);
    match (own, roomy) {
        (None, _) if short.is_empty() => Decision::Open,
        (Some(why), None) => Decision::Refuse(why.to_owned()),
        _ if voters.len() - short.len() <= voters.len() / 2 => {
            Decision::Refuse(format!("no quorum has room, voters {short:?} are short of space"))
        }
        (Some(why), Some(voter)) => Decision::HandOver { to: voter.id, why: why.to_owned() },
        (None, _) => Decision::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(short: &[bool]) -> Vec<MemberStatus> {
        let member = |(id, &short_of_space): (u64, &bool)| MemberStatus {
            id,
            endpoint: String::new(),
            voter: true,
            matched_index: None,
            short_of_space,
        };
        (1..).zip(short).map(member).collect()
    }

    #[test]
    fn short_leader_hands_over_to_a_voter_with_room_and_refuses_when_there_is_none() {
        let why = || "why".to_owned();
        let own = Some("why");
        let decided = |short: &[bool]| decide(own, true, &members(short));
        assert_eq!(decided(&[true, false, false]), Decision::HandOver { to: 3, why: why() });
        assert_eq!(decided(&[true, true, true]), Decision::Refuse(why()));
        assert_eq!(decided(&[true]), Decision::Refuse(why()));
        assert!(matches!(decided(&[true, true, false]), Decision::Refuse(_)));
    }

    #[test]
    fn leader_with_room_writes_while_a_quorum_has_room() {
        let decided = |short: &[bool]| decide(None, true, &members(short));
        assert_eq!(decided(&[false, false, false]), Decision::Open);
        assert_eq!(decided(&[false, true, false]), Decision::Open);
        assert!(matches!(decided(&[false, true, true]), Decision::Refuse(why) if why.contains("[2, 3]")));
    }

    #[test]
    fn follower_refuses_nothing_by_itself() {
        assert_eq!(decide(Some("why"), false, &members(&[true, true, true])), Decision::Open);
    }
}
