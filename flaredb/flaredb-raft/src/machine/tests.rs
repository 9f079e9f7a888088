//! The adapter over a journal.

use futures::stream;
use openraft::entry::RaftPayload as _;

use super::*;
use crate::{
    entry::{Command, Payload},
    journal::Journal,
    types::CommittedLeaderId,
};

fn machine_of(journal: &Journal, checkpoint_bytes: u64) -> Machine {
    let fatal = FatalHook::new(|error| panic!("{error}"));
    Machine::open(1, Arc::new(journal.clone()), checkpoint_bytes, fatal, Metrics::default()).unwrap()
}

fn entry(index: u64) -> io::Result<EntryResponder<TypeConfig>> {
    let log_id = LogId::new(CommittedLeaderId { term: 1, node_id: 1 }, index);
    Ok((Entry::new(log_id, Payload::normal(Command::new(index.to_string().as_bytes()))), None))
}

#[tokio::test]
async fn what_a_snapshot_shows_survives_a_power_cut() {
    let journal = Journal::default();
    let mut machine = machine_of(&journal, 1 << 20);
    machine.apply(stream::iter((0..5).map(entry))).await.unwrap();
    let snapshot = machine.build_snapshot().await.unwrap();
    machine.apply(stream::iter((5..7).map(entry))).await.unwrap();
    journal.lose_unflushed();
    drop(machine);
    let reopened = machine_of(&journal, 1 << 20).applied_state().await.unwrap();
    assert_eq!(reopened.0, snapshot.meta.last_log_id);
    assert_eq!(journal.commands(), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn ready_entries_are_applied_in_bounded_batches() {
    let journal = Journal::default();
    let mut machine = machine_of(&journal, 1 << 20);
    machine.apply(stream::iter((0..2500).map(entry))).await.unwrap();
    assert_eq!(journal.commands().len(), 2500);
    assert_eq!(machine.0.metrics.apply_batches.get(), 3);
    assert_eq!(*machine.0.watch_applied().borrow(), 2500);
}

#[tokio::test]
async fn checkpoint_is_due_after_so_many_bytes() {
    let journal = Journal::default();
    let mut machine = machine_of(&journal, 1000);
    machine.apply(stream::iter((0..10).map(entry))).await.unwrap();
    assert!(machine.0.checkpoint_due.notified().now_or_never().is_none());
    machine.apply(stream::iter((10..100).map(entry))).await.unwrap();
    assert!(machine.0.checkpoint_due.notified().now_or_never().is_some());
}

#[tokio::test]
async fn state_machine_that_fails_is_fatal() {
    let journal = Journal::default();
    let (sent, tripped) = std::sync::mpsc::sync_channel(1);
    let fatal = FatalHook::new(move |error| sent.send(error.to_string()).unwrap());
    let machine = Machine::open(1, Arc::new(journal), 1000, fatal, Metrics::default());
    let mut machine = machine.unwrap();
    machine.apply(stream::iter((5..6).map(entry))).await.unwrap();
    // The journal refuses to go back.
    assert!(machine.apply(stream::iter((2..3).map(entry))).await.is_err());
    assert_eq!(tripped.recv().unwrap(), "the state machine of region 1 failed");
}
