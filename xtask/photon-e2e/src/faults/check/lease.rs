//! What a lease promises: as long as it is renewed in time it is there, and when nobody renews it, it ends within one
//! more of its terms.
//!
//! All times are of this process's monotonic clock. A renewal counts from when it was called, an end from when a watch
//! told of it: the lease may have lived longer than between those, never shorter, so what is told here is certain.

use std::collections::BTreeMap;

use super::Violations;

/// What a watch needs to tell of an end, on a busy machine.
const GRACE_MS: u64 = 3_000;

/// A lease with one key, as its holder knows it.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(in crate::faults) struct Lease {
    /// Its number.
    pub(in crate::faults) id: i64,
    /// The key.
    pub(in crate::faults) key: String,
    /// Whether the write of the key was acknowledged.
    pub(in crate::faults) tied: bool,
    /// Its grant and the renewals that were confirmed.
    pub(in crate::faults) renewals: Vec<Renewal>,
    /// When its holder was told that it is gone.
    pub(in crate::faults) told_gone_ms: Option<u64>,
    /// When the last attempt to renew it had ended: nobody renews it from then on.
    pub(in crate::faults) left_ms: u64,
    /// When its holder asked to end it.
    pub(in crate::faults) revoke_called_ms: Option<u64>,
    /// Whether that was acknowledged.
    pub(in crate::faults) revoked: bool,
}

/// One renewal that was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(in crate::faults) struct Renewal {
    /// When it was sent.
    pub(in crate::faults) called_ms: u64,
    /// For how long it is from then on, at least.
    pub(in crate::faults) ttl_ms: u64,
}

impl Lease {
    /// Until when it must be there.
    pub(in crate::faults) fn lapses_ms(&self) -> u64 {
        self.renewals.iter().map(|renewal| renewal.called_ms + renewal.ttl_ms).max().unwrap_or(0)
    }

    fn ttl_ms(&self) -> u64 {
        self.renewals.iter().map(|renewal| renewal.ttl_ms).max().unwrap_or(0)
    }
}

/// What is known beside the holders' notes.
#[derive(Clone, Debug, Default)]
pub(in crate::faults) struct Seen {
    /// Key → when the first watch told that it was deleted.
    pub(in crate::faults) deleted_ms: BTreeMap<String, u64>,
    /// From when to when something was broken. A leader that is new gives each lease its whole term again.
    pub(in crate::faults) broken_ms: Vec<(u64, u64)>,
    /// When the last look was.
    pub(in crate::faults) ended_ms: u64,
}

/// Everything that does not hold.
pub(in crate::faults) fn check(leases: &[Lease], seen: &Seen) -> Violations {
    leases.iter().flat_map(|lease| lost(lease, seen).into_iter().chain(held(lease, seen))).collect()
}

/// That it was gone although it had been renewed in time, and nobody had ended it.
fn lost(lease: &Lease, seen: &Seen) -> Option<String> {
    let deleted_ms = seen.deleted_ms.get(&lease.key).copied();
    let gone_ms = [deleted_ms, lease.told_gone_ms].into_iter().flatten().min()?;
    let was_ended = lease.revoke_called_ms.is_some_and(|called_ms| called_ms <= gone_ms);
    let lapses_ms = lease.lapses_ms();
    (!was_ended && gone_ms < lapses_ms)
        .then(|| format!("gone at {gone_ms} ms, though it was renewed until {lapses_ms} ms: {lease:?}"))
}

/// That it was still there one term, and a moment, after it should have ended.
fn held(lease: &Lease, seen: &Seen) -> Option<String> {
    if !lease.tied {
        return None;
    }
    let deleted_ms = seen.deleted_ms.get(&lease.key).copied();
    let allowed_ms = if lease.revoked { GRACE_MS } else { 2 * lease.ttl_ms() + GRACE_MS };
    let from_ms = lease.revoke_called_ms.filter(|_| lease.revoked).unwrap_or(lease.left_ms);
    let mut ends_ms = from_ms + allowed_ms;
    for &(broken_ms, healed_ms) in &seen.broken_ms {
        if broken_ms <= ends_ms {
            ends_ms = ends_ms.max(healed_ms + allowed_ms);
        }
    }
    let there_ms = deleted_ms.unwrap_or(seen.ended_ms);
    (there_ms > ends_ms).then(|| {
        let until = if deleted_ms.is_some() { "until" } else { "and longer than" };
        format!("there {until} {there_ms} ms, but was to end by {ends_ms} ms: {lease:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Granted at 1 s for 3 s, renewed at 3 s, left at 4 s.
    fn lease() -> Lease {
        let renewal = |called_ms| Renewal { called_ms, ttl_ms: 3_000 };
        Lease {
            key: "lease/1".to_owned(),
            tied: true,
            renewals: vec![renewal(1_000), renewal(3_000)],
            left_ms: 4_000,
            ..Lease::default()
        }
    }

    fn gone_at(deleted_ms: u64) -> Seen {
        let deleted_ms = [("lease/1".to_owned(), deleted_ms)].into();
        Seen { deleted_ms, ended_ms: 60_000, ..Seen::default() }
    }

    #[track_caller]
    fn rejected(words: &str, lease: Lease, seen: &Seen) {
        let found = check(&[lease], seen);
        assert!(found.iter().any(|violation| violation.contains(words)), "{words}: {found:?}");
    }

    #[test]
    fn an_end_after_the_last_renewal_and_before_one_more_term_is_accepted() {
        for deleted_ms in [6_000, 10_000] {
            assert_eq!(check(&[lease()], &gone_at(deleted_ms)), Violations::new());
        }
    }

    #[test]
    fn a_lease_that_is_lost_though_it_was_renewed_in_time_is_rejected() {
        rejected("gone at 5000 ms", lease(), &gone_at(5_000));
        rejected("gone at 2000 ms", lease(), &gone_at(2_000));
        let told = Lease { told_gone_ms: Some(5_500), ..lease() };
        rejected("gone at 5500 ms", told, &gone_at(6_500));
    }

    #[test]
    fn a_lease_that_is_held_too_long_or_for_ever_is_rejected() {
        rejected("until 13500 ms", lease(), &gone_at(13_500));
        rejected("longer than 60000 ms", lease(), &Seen { ended_ms: 60_000, ..Seen::default() });
    }

    #[test]
    fn what_is_broken_gives_a_lease_its_term_again() {
        let broken = |broken_ms| Seen { broken_ms: vec![broken_ms], ..gone_at(13_500) };
        assert_eq!(check(&[lease()], &broken((9_000, 11_000))), Violations::new());
        rejected("until 13500 ms", lease(), &broken((1_000, 2_000)));
        rejected("until 13500 ms", lease(), &broken((13_200, 20_000)));
    }

    #[test]
    fn a_lease_that_its_holder_ended_may_go_at_once_and_must() {
        let revoked = Lease { revoke_called_ms: Some(4_000), revoked: true, ..lease() };
        assert_eq!(check(std::slice::from_ref(&revoked), &gone_at(4_100)), Violations::new());
        rejected("gone at 3900 ms", revoked.clone(), &gone_at(3_900));
        rejected("until 7500 ms", revoked, &gone_at(7_500));
        let unknown = Lease { revoke_called_ms: Some(4_000), ..lease() };
        assert_eq!(check(std::slice::from_ref(&unknown), &gone_at(4_100)), Violations::new());
        assert_eq!(check(&[unknown], &gone_at(7_500)), Violations::new());
    }

    #[test]
    fn a_key_that_was_never_acknowledged_need_not_have_been() {
        let untied = Lease { tied: false, ..lease() };
        assert_eq!(check(&[untied], &Seen { ended_ms: 60_000, ..Seen::default() }), Violations::new());
    }
}
