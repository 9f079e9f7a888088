//! The simulation itself: it repeats itself, it passes, and it finds what is planted.

use std::process::{Command, Output};

#[expect(clippy::unwrap_used, reason = "a test that cannot run its program fails")]
fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flaredb-sim")).args(arguments).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn same_seed_gives_the_same_trace() {
    for seed in ["2", "3"] {
        let runs = [(); 2].map(|()| printed(&sim(&["one", "--seed", seed, "--verbose"])));
        assert!(runs[0].contains("trace"));
        assert_eq!(runs[0], runs[1]);
    }
}

#[test]
fn some_seeds_pass() {
    let output = sim(&["--seeds", "6"]);
    assert!(output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains("6 passed, 0 failed"));
}

#[test]
fn log_opens_with_all_that_was_acknowledged_wherever_the_power_is_cut() {
    let output = sim(&["power-cut", "--points", "500"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[cfg(feature = "planted")]
#[test]
fn planted_bugs_are_found() {
    let output = sim(&["--seeds", "200", "--plant", "all"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[cfg(feature = "planted")]
#[test]
fn log_that_is_not_synced_loses_entries_when_the_power_is_cut() {
    assert!(!sim(&["power-cut", "--points", "500", "--plant", "skip-fsync"]).status.success());
}
