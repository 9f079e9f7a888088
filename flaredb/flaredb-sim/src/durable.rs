//! Whether what is acknowledged is on disks: when a writer is told, the entry must survive on a quorum of them.
//!
//! It looks for the proposed bytes in what the power would leave of each log, and so asks nothing of the code that it
//! judges. A log that is purged no longer has them; then the state must have been flushed beyond them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::disk::Disk;

/// The disks of all machines. Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct Durable(Arc<Mutex<BTreeMap<u64, Machine>>>);

struct Machine {
    disk: Arc<Disk>,
    /// How far its state is on its disk.
    flushed: u64,
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durable")
    }
}

impl Durable {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Machine>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, node: u64, disk: Arc<Disk>) {
        self.lock().insert(node, Machine { disk, flushed: 0 });
    }

    /// Takes note of how far a node's state is on its disk.
    pub(crate) fn flushed(&self, node: u64, index: u64) {
        if let Some(machine) = self.lock().get_mut(&node) {
            machine.flushed = machine.flushed.max(index);
        }
    }

    /// How many machines would still have a command, applied at `index`, if the power of all were cut now.
    pub(crate) fn holders(&self, command: &[u8], index: u64) -> usize {
        let holds = |machine: &&Machine| machine.flushed >= index || machine.disk.would_keep(command);
        self.lock().values().filter(holds).count()
    }
}

/// How many disks make a quorum of so many voters, or of one fewer: the membership may be about to change.
pub(crate) fn quorum(voters: usize) -> usize {
    voters.saturating_sub(1) / 2 + 1
}

#[cfg(test)]
mod tests {
    use flaredb_raft::simulation::SimulatedDisk as _;

    use super::*;
    use crate::dice::Dice;

    #[test]
    fn disk_holds_an_entry_once_it_is_synced_or_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let (durable, disk) = (Durable::default(), Disk::new(Dice::new(1)));
        durable.add(1, Arc::clone(&disk));
        let file = disk.mount().create(&dir.path().join("log")).unwrap();
        file.write_at(3, b"entry").unwrap();
        assert_eq!(durable.holders(b"entry", 7), 0);
        file.sync().unwrap();
        assert_eq!(durable.holders(b"entry", 7), 1);
        assert_eq!(durable.holders(b"other", 7), 0);
        durable.flushed(1, 7);
        assert_eq!(durable.holders(b"other", 7), 1);
    }

    #[test]
    fn quorum_is_one_of_the_membership_before_or_after_a_change() {
        assert_eq!([3, 4, 5, 6].map(quorum), [2, 2, 3, 3]);
    }
}
