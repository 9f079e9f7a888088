//! Where our dependencies come from and under which licences: the rules of `deny.toml`, checked without its tool.
//!
//! `cargo deny` reads the same file and checks more (advisories, duplicates); it is run as well where it is installed.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, Result};
use cargo_metadata::Metadata;
use spdx::{Expression, ParseMode};

use crate::{setup, workspace};

/// Locked packages at most; each is code that somebody has to trust.
const PACKAGES_MAX: usize = 450;

/// What `deny.toml` says.
struct Rules {
    licences: Vec<String>,
    banned: BTreeMap<String, String>,
}

pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let rules = rules()?;
    let mut findings = Vec::new();
    let count = metadata.packages.len();
    if count > PACKAGES_MAX {
        findings.push(format!("Cargo.lock: {count} packages; at most {PACKAGES_MAX} are allowed"));
    }
    for package in &metadata.packages {
        let name = format!("{} {}", package.name, package.version);
        if let Some(reason) = rules.banned.get(package.name.as_str()) {
            findings.push(format!("{name} is banned: {reason}"));
        }
        if package.source.as_ref().is_some_and(|source| !source.is_crates_io()) {
            findings.push(format!("{name} does not come from crates.io"));
        }
        let licence = package.license.as_deref().unwrap_or("no licence");
        if !allowed(licence, &rules.licences) {
            findings.push(format!("{name}: {licence} is not among the licences of deny.toml"));
        }
    }
    findings.extend(cargo_deny()?);
    Ok(findings)
}

fn rules() -> Result<Rules> {
    let text = fs::read_to_string(workspace::root().join("deny.toml")).context("deny.toml cannot be read")?;
    let table: toml::Table = text.parse().context("deny.toml is not TOML")?;
    let list = |section: &str, key: &str| {
        let value = table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_array);
        value.cloned().with_context(|| format!("deny.toml has no list {section}.{key}"))
    };
    let text = |value: &toml::Value| value.as_str().map(str::to_owned);
    let licences = list("licenses", "allow")?.iter().filter_map(text).collect();
    let ban = |entry: &toml::Value| Some((text(entry.get("crate")?)?, text(entry.get("reason")?)?));
    let banned = list("bans", "deny")?.iter().filter_map(ban).collect();
    Ok(Rules { licences, banned })
}

/// Whether an SPDX expression can be satisfied by the allowed licences (SPDX 2.3, annex D).
fn allowed(licence: &str, allowed: &[String]) -> bool {
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|requirement| allowed.iter().any(|name| *name == requirement.to_string()))
    })
}

fn cargo_deny() -> Result<Option<String>> {
    if !setup::on_path("cargo-deny") {
        return Ok(None);
    }
    let mut deny = Command::new("cargo-deny");
    deny.current_dir(workspace::root()).args(["check", "licenses", "bans", "sources"]);
    let output = deny.output().context("cargo-deny cannot be started")?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_passes_when_one_way_to_satisfy_it_is_allowed() {
        let ours = ["MIT".to_owned(), "Apache-2.0".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for (licence, verdict) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("no licence", false),
        ] {
            assert_eq!(allowed(licence, &ours), verdict, "{licence}");
        }
    }
}
