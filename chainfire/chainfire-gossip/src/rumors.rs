//! Metadata that is new, told along with whatever is sent, a bounded number of times each.

use std::collections::BTreeMap;

use crate::{frame::Record, identity::NodeId};

/// Records waiting at most; beyond it the one told most often is dropped, and whoever misses it asks its node.
const RUMORS_MAX: usize = 256;

#[derive(Debug)]
struct Rumor {
    bytes: Vec<u8>,
    left: u32,
}

/// The newest record of each node, for as long as it is news.
#[derive(Debug, Default)]
pub(crate) struct Rumors(BTreeMap<NodeId, Rumor>);

impl Rumors {
    /// Will tell `record` so many times, and no longer what was to be told of its node before.
    pub(crate) fn add(&mut self, record: &Record, times: u32) {
        let mut bytes = Vec::new();
        record.put(&mut bytes);
        self.0.insert(record.node, Rumor { bytes, left: times });
        if self.0.len() > RUMORS_MAX {
            let stale = self.0.iter().min_by_key(|(_, rumor)| rumor.left).map(|(node, _)| *node);
            stale.into_iter().for_each(|node| drop(self.0.remove(&node)));
        }
    }

    /// Writes what fits into `room` bytes, the least told first.
    pub(crate) fn take(&mut self, room: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if self.0.is_empty() {
            return out;
        }
        let mut order = self.0.iter_mut().map(|(_, rumor)| rumor).collect::<Vec<_>>();
        order.sort_by_key(|rumor| std::cmp::Reverse(rumor.left));
        for rumor in order {
            if out.len() + rumor.bytes.len() <= room {
                out.extend_from_slice(&rumor.bytes);
                rumor.left -= 1;
            }
        }
        self.0.retain(|_, rumor| rumor.left > 0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Stamp, metadata::Metadata};

    fn record(node: u64) -> Record {
        let metadata = Metadata::new("n", "", vec![], vec![]).unwrap();
        Record { node: NodeId(node), stamp: Stamp::default(), metadata }
    }

    #[test]
    fn each_record_is_told_as_often_as_asked_and_only_where_there_is_room() {
        let mut rumors = Rumors::default();
        rumors.add(&record(1), 2);
        rumors.add(&record(2), 3);
        let length = 27;
        assert_eq!(rumors.take(length - 1), [0_u8; 0]);
        assert_eq!(rumors.take(length).len(), length, "the one with more to go comes first");
        assert_eq!((0..4).map(|_| rumors.take(1000).len() / length).sum::<usize>(), 4);
    }

    #[test]
    fn records_that_wait_are_bounded() {
        let mut rumors = Rumors::default();
        (0..1000).for_each(|node| rumors.add(&record(node), 5));
        assert_eq!(rumors.0.len(), RUMORS_MAX);
    }
}
