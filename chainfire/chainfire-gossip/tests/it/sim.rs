//! Whole clusters in simulated time: what the protocol promises, over many seeds.

mod act;
mod court;
mod net;
mod node;
mod report;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use act::Act;
use net::Block;
use report::{Report, p99};
use world::{GENERATION, Plan, World};

/// Plays the seeds on all cores, in no order; the outcomes are in theirs.
fn play(seeds: u64, plan: impl Fn(u64) -> Plan + Sync) -> Vec<Report> {
    let next = AtomicU64::new(0);
    let run = || {
        let mut reports = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return reports;
            }
            reports.push((seed, World::new(seed, plan(seed)).play()));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut reports = thread::scope(|scope| {
        let threads = (0..cores).map(|_| scope.spawn(run)).collect::<Vec<_>>();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    reports.sort_by_key(|(seed, _)| *seed);
    reports.into_iter().map(|(_, report)| report).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Nothing happens to them.
fn quiet(nodes: usize, loss_percent: u32, length: Duration) -> Plan {
    Plan { nodes, stalling: 0, loss_percent, script: vec![], length }
}

/// 64 nodes of which 16 stall over and over, 5 % loss, and three that die.
fn rough(_seed: u64) -> Plan {
    Plan {
        nodes: 64,
        stalling: 16,
        loss_percent: 5,
        script: [10, 14, 18].map(|at| (secs(at), Act::Kill)).to_vec(),
        length: secs(24),
    }
}

#[test]
fn no_healthy_node_is_marked_failed_and_failures_are_known_to_all_soon_while_a_quarter_stalls() {
    let reports = play(100, rough);
    for (seed, report) in reports.iter().enumerate() {
        assert_eq!(report.wrongly_marked, [], "seed {seed}");
        assert_eq!((report.kills.len(), report.malformed, report.swim_errors), (3, 0, 0), "seed {seed}");
        assert!(report.replayed > 0, "seed {seed}: recordings that nobody notices prove nothing");
        assert_eq!(report.overspent, 0, "seed {seed}: more than half of a service was down");
    }
    let known = p99(reports.iter().flat_map(|report| report.kills.iter().map(|kill| kill.known_after)));
    let marked = p99(reports.iter().flat_map(|report| report.kills.iter().map(|kill| kill.marked_after)));
    println!("{}", report::summary(&reports));
    assert!(reports.iter().all(|report| report.stall_hints > 0), "stalls that nobody notices prove nothing");
    assert!(
        reports.iter().flat_map(|report| &report.kills).all(|kill| kill.known_after < secs(6)),
        "nobody misses it"
    );
    assert!(known <= Duration::from_millis(3500), "known to all after {known:?} at p99");
    assert!(marked <= secs(4), "marked after {marked:?} at p99");
}

#[test]
fn five_nodes_know_of_a_failure_within_two_seconds() {
    let plan = |_| Plan { script: vec![(secs(6), Act::Kill)], ..quiet(5, 1, secs(12)) };
    let reports = play(300, plan);
    let known = p99(reports.iter().flat_map(|report| report.kills.iter().map(|kill| kill.known_after)));
    println!("{}", report::summary(&reports));
    assert!(known <= secs(2), "known to all after {known:?} at p99");
    assert!(reports.iter().all(|report| report.wrongly_marked.is_empty()));
}

#[test]
fn node_that_only_gossip_cannot_reach_is_not_marked_failed() {
    let plan =
        |_| Plan { script: vec![(secs(6), Act::Block(Some(Block::Gossip(3))))], ..quiet(8, 1, secs(20)) };
    for (seed, report) in play(20, plan).iter().enumerate() {
        assert!(report.wrong_hints >= 7, "seed {seed}: gossip thinks that it failed");
        assert_eq!(report.wrongly_marked, [], "seed {seed}");
    }
}

#[test]
fn node_that_udp_cannot_reach_is_asked_over_tcp_and_not_even_thought_to_have_failed() {
    let plan =
        |_| Plan { script: vec![(secs(6), Act::Block(Some(Block::Datagrams(3))))], ..quiet(8, 0, secs(20)) };
    for (seed, report) in play(20, plan).iter().enumerate() {
        assert_eq!((report.wrong_hints, report.strangers), (0, 0), "seed {seed}");
    }
}

#[test]
fn two_sides_of_a_partition_and_a_node_that_was_alone_find_back() {
    for first in [1, 3] {
        let (part, heal) = (Act::Block(Some(Block::Split(first))), Act::Block(None));
        let plan = |_| Plan { script: vec![(secs(6), part), (secs(20), heal)], ..quiet(8, 1, secs(30)) };
        for (seed, report) in play(20, plan).iter().enumerate() {
            assert!(report.wrong_hints > 0, "seed {seed}: there was no partition");
            assert_eq!((report.strangers, report.untold), (0, 0), "seed {seed}, {first} apart");
        }
    }
}

#[test]
fn node_that_starts_again_is_known_at_once_even_when_its_clock_has_gone_back() {
    for generation in [1, GENERATION, GENERATION + 1] {
        let restart = Act::Restart { node: 3, generation };
        let plan = |_| Plan { script: vec![(secs(6), restart)], ..quiet(8, 1, secs(12)) };
        for (seed, report) in play(20, plan).iter().enumerate() {
            assert_eq!((report.strangers, report.untold), (0, 0), "seed {seed}, generation {generation}");
        }
    }
}

#[test]
fn farewell_is_heard_by_all_and_taken_for_a_failure_by_none() {
    let plan = |_| Plan { script: vec![(secs(6), Act::Leave(3))], ..quiet(16, 5, secs(10)) };
    for (seed, report) in play(50, plan).iter().enumerate() {
        assert_eq!((report.farewells_missed, report.farewell_hints), (0, 0), "seed {seed}");
    }
}

#[test]
fn all_nodes_join_although_a_fifth_of_the_packets_is_lost() {
    let plan = |_| Plan { script: vec![(secs(10), Act::Rename(3))], ..quiet(64, 20, secs(15)) };
    for (seed, report) in play(20, plan).iter().enumerate() {
        assert_eq!(report.strangers, 0, "seed {seed}: pairs of nodes that do not know each other");
        assert_eq!(report.untold, 0, "seed {seed}: metadata that is not known");
    }
}

#[test]
fn same_seed_gives_the_same_trace() {
    let traces = play(4, |seed| rough(seed / 2));
    let [first, again, other, _] = [0, 1, 2, 3].map(|at| World::new(at / 2, rough(0)).play().trace);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_eq!(traces[0].trace, first, "threads make no difference");
}
