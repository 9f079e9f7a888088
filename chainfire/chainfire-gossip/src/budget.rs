//! How much of a service may be marked down at once: a detector gone wrong must not take a service away.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::NodeId;

/// Percent of a service's instances that may be marked down, at most. More cannot be configured.
pub const DOWN_PERCENT_MAX: u8 = 50;

/// The nodes on which each service has an instance, whether it is marked down or not.
pub type Census = BTreeMap<String, BTreeSet<NodeId>>;

/// The first service of which more than `percent` would be down if `node` were marked down beside those that are.
///
/// A service's only instance is therefore never marked down: nothing would be won by it.
///
/// ```
/// # use std::collections::{BTreeMap, BTreeSet};
/// use chainfire_gossip::{NodeId, exhausted};
///
/// let nodes = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect::<BTreeSet<_>>();
/// let census = BTreeMap::from([("flashdns".to_owned(), nodes(&[1, 2, 3, 4]))]);
/// assert_eq!(exhausted(NodeId(1), &census, &nodes(&[2]), 50), None);
/// assert_eq!(exhausted(NodeId(1), &census, &nodes(&[2, 3]), 50), Some("flashdns"));
/// ```
pub fn exhausted<'a>(
    node: NodeId,
    census: &'a Census,
    down: &BTreeSet<NodeId>,
    percent: u8,
) -> Option<&'a str> {
    let percent = usize::from(percent.min(DOWN_PERCENT_MAX));
    let too_much = |instances: &BTreeSet<NodeId>| {
        let others =
            instances.iter().filter(|instance| **instance != node && down.contains(instance)).count();
        instances.contains(&node) && (others + 1) * 100 > instances.len() * percent
    };
    census.iter().find(|(_, instances)| too_much(instances)).map(|(service, _)| service.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_less_than_half_of_any_service_is_left(
            census in proptest::collection::btree_map("[a-c]", proptest::collection::btree_set((0..12_u64).prop_map(NodeId), 1..8), 1..4),
            failing in proptest::collection::vec((0..12_u64).prop_map(NodeId), 0..12),
            percent: u8,
        ) {
            let mut down = BTreeSet::new();
            for node in failing {
                if exhausted(node, &census, &down, percent).is_none() {
                    down.insert(node);
                }
            }
            for instances in census.values() {
                prop_assert!(instances.intersection(&down).count() * 2 <= instances.len());
            }
        }
    }
}
