//! What must hold of deadlines.

use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(id: i64, epoch: u64) -> Lease {
    Lease { id, ttl_s: 10, epoch, keys: 0, left_ms: 0 }
}

fn ids(due: &[LeaseEpoch]) -> Vec<i64> {
    due.iter().map(|lease| lease.id).collect()
}

#[test]
fn lease_that_is_kept_alive_is_not_due() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&lease(1, 5), at(0));
    deadlines.learn(&lease(2, 6), at(0));
    assert_eq!(deadlines.renew(1, at(9)), Renewal::Renewed { ttl_s: 10 });
    assert_eq!(ids(&deadlines.due(at(10), 9)), [2]);
    assert!(deadlines.due(at(18), 9).is_empty());
    assert_eq!(ids(&deadlines.due(at(19), 9)), [1]);
    assert_eq!(deadlines.newest_epoch(), 6);
}

#[test]
fn lease_whose_end_is_under_way_is_not_renewed_before_that_is_known() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&lease(1, 5), at(0));
    let due = deadlines.due(at(10), 9);
    assert_eq!(deadlines.renew(1, at(10)), Renewal::Undecided);
    assert!(deadlines.due(at(99), 9).is_empty());
    deadlines.still_there(&due[0]);
    assert_eq!(deadlines.renew(1, at(11)), Renewal::Renewed { ttl_s: 10 });
    let due = deadlines.due(at(21), 9);
    deadlines.ended(&due[0]);
    assert_eq!(deadlines.renew(1, at(21)), Renewal::Unknown);
}

#[test]
fn all_have_their_whole_time_after_a_time_in_which_nobody_was_there() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&lease(1, 5), at(0));
    deadlines.renew_all(at(50));
    assert!(deadlines.due(at(59), 9).is_empty());
    assert_eq!(deadlines.left(1, at(53)), Some(Left { ttl_s: 10, left: at(7) }));
    assert_eq!(ids(&deadlines.due(at(60), 9)), [1]);
}

#[test]
fn number_that_is_granted_anew_is_another_lease() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&lease(1, 5), at(0));
    let due = deadlines.due(at(10), 9);
    deadlines.learn(&lease(1, 7), at(10));
    deadlines.learn(&lease(1, 5), at(10));
    deadlines.ended(&due[0]);
    assert_eq!(deadlines.renew(1, at(11)), Renewal::Renewed { ttl_s: 10 });
}

#[test]
fn those_that_are_due_come_in_pieces() {
    let mut deadlines = Deadlines::default();
    (1..=5).for_each(|id| deadlines.learn(&lease(id, 5), at(0)));
    assert_eq!(ids(&deadlines.due(at(10), 3)), [1, 2, 3]);
    assert_eq!(ids(&deadlines.due(at(10), 3)), [4, 5]);
}

/// What the log is to say now: leases and seconds.
fn unsaid(deadlines: &mut Deadlines, seconds: u64) -> Vec<(i64, u64)> {
    let left = |said: &LeaseLeft| (said.lease.unwrap().id, said.left_ms / 1_000);
    deadlines.unsaid(at(seconds), 9).iter().map(left).collect()
}

#[test]
fn log_says_what_is_left_of_a_lease_that_nobody_keeps_alive_from_its_half_on() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&Lease { ttl_s: 80, ..lease(1, 5) }, at(0));
    deadlines.learn(&Lease { ttl_s: 80, ..lease(2, 6) }, at(0));
    assert!(unsaid(&mut deadlines, 39).is_empty());
    deadlines.renew(2, at(39));
    assert_eq!(unsaid(&mut deadlines, 41), [(1, 39)]);
    assert!(unsaid(&mut deadlines, 50).is_empty());
    assert_eq!(unsaid(&mut deadlines, 51), [(1, 29)]);
    assert_eq!(unsaid(&mut deadlines, 61), [(1, 19)]);
    assert_eq!(unsaid(&mut deadlines, 71), [(1, 9)]);
    assert!(unsaid(&mut deadlines, 78).is_empty());
    assert_eq!(ids(&deadlines.due(at(80), 9)), [1]);
}

#[test]
fn next_leader_gives_a_lease_what_the_log_says_and_so_does_one_that_was_stopped() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&Lease { left_ms: 3_000, ..lease(1, 5) }, at(100));
    assert_eq!(deadlines.left(1, at(100)), Some(Left { ttl_s: 10, left: at(3) }));
    deadlines.renew_all(at(150));
    assert!(deadlines.due(at(152), 9).is_empty());
    assert_eq!(ids(&deadlines.due(at(153), 9)), [1]);
}

#[test]
fn late_holder_is_answered_when_the_log_says_that_the_lease_has_its_whole_time() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&lease(1, 5), at(0));
    let low = deadlines.unsaid(at(6), 9);
    assert_eq!(deadlines.renew(1, at(9)), Renewal::Undecided);
    assert!(deadlines.due(at(11), 9).is_empty());
    deadlines.said(&low, at(11));
    assert_eq!(deadlines.renew(1, at(11)), Renewal::Undecided);
    let all = deadlines.unsaid(at(11), 9);
    assert_eq!(all[0].left_ms, 0);
    assert_eq!(deadlines.unsaid(at(11), 9), all, "it is said until it is there");
    deadlines.said(&all, at(12));
    assert_eq!(deadlines.left(1, at(12)), Some(Left { ttl_s: 10, left: at(10) }));
    assert_eq!(deadlines.renew(1, at(13)), Renewal::Renewed { ttl_s: 10 });
    assert!(deadlines.unsaid(at(17), 9).is_empty());
}

#[test]
fn what_the_log_says_of_an_earlier_grant_is_not_of_the_later_one() {
    let mut deadlines = Deadlines::default();
    deadlines.learn(&Lease { left_ms: 3_000, ..lease(1, 5) }, at(0));
    deadlines.renew(1, at(1));
    let all = deadlines.unsaid(at(1), 9);
    deadlines.learn(&lease(1, 7), at(1));
    deadlines.said(&all, at(5));
    assert_eq!(deadlines.left(1, at(5)), Some(Left { ttl_s: 10, left: at(6) }));
}
