//! `cargo xtask test`: every check that CI makes, as stages with their seconds.
//!
//! All stages run, also after one that failed, so that one run tells everything. They share one profile and one target
//! folder, so that no dependency is compiled twice.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::{heavy, progress, setup, tidy, workspace};

/// Which checks to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only stages whose name contains this: format, tidy, clippy, tests, doc tests, docs, simulation, e2e.
    #[arg(long, default_value = "")]
    stage: String,
}

struct Stage {
    name: &'static str,
    run: fn() -> Result<()>,
}

/// Cheap stages come first.
const STAGES: [Stage; 9] = [
    Stage { name: "setup", run: || setup::run(setup::Scope::Test) },
    Stage { name: "format", run: || cargo(&["fmt", "--all", "--check"]) },
    Stage { name: "tidy", run: tidy::run },
    Stage { name: "clippy", run: clippy },
    Stage { name: "tests", run: tests },
    Stage { name: "doc tests", run: || cargo(&["test", "--locked", "--workspace", "--doc", "--quiet"]) },
    Stage { name: "docs", run: docs },
    Stage { name: "simulation", run: heavy::simulation },
    Stage { name: "e2e", run: || heavy::e2e(&[]) },
];

/// Runs the stages and prints what each took.
///
/// # Errors
/// When a stage failed; it names them all.
#[expect(clippy::print_stdout, reason = "the report is this command's result")]
pub(crate) fn run(options: &Options) -> Result<()> {
    let (mut report, mut failed) = (Vec::new(), Vec::new());
    for stage in STAGES.iter().filter(|stage| stage.name == "setup" || stage.name.contains(&options.stage)) {
        progress::say(&format!("── {}", stage.name));
        let started = Instant::now();
        let outcome = (stage.run)();
        let seconds = started.elapsed().as_secs();
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        report.push(format!("{:10} {seconds:5} s  {verdict}", stage.name));
        if let Err(error) = outcome {
            progress::say(&format!("{}: {error:#}", stage.name));
            failed.push(stage.name);
        }
    }
    println!("\n{}", report.join("\n"));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    workspace::run(workspace::cargo()?.args(arguments))
}

fn clippy() -> Result<()> {
    cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])
}

/// With nextest where it is installed, since it runs each test in a process of its own and says which are slow.
fn tests() -> Result<()> {
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output();
    if nextest.is_ok_and(|output| output.status.success()) {
        return cargo(&["nextest", "run", "--locked", "--workspace", "--profile", "ci"]);
    }
    cargo(&["test", "--locked", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
}

fn docs() -> Result<()> {
    let mut cargo = workspace::cargo()?;
    cargo.args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    workspace::run(cargo.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}
