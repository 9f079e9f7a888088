//! The dependency arrows between our crates are those of the table in `ARCHITECTURE.md`, and the crates are those of
//! its tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, Package};

use crate::workspace;

/// Crates at most; a crate exists only where two packages link it or a pure core must be tested alone.
const CRATES_MAX: usize = 28;

/// What one crate may depend on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Allowed {
    always: BTreeSet<String>,
    in_tests: BTreeSet<String>,
}

pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let file = workspace::root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&file).context("ARCHITECTURE.md cannot be read")?;
    let table = table(&text);
    let members = metadata.workspace_packages();
    let names: BTreeSet<_> = members.iter().map(|package| package.name.to_string()).collect();
    let mut findings = Vec::new();
    if members.len() > CRATES_MAX {
        findings.push(format!("{} crates; at most {CRATES_MAX} are allowed", members.len()));
    }
    for package in &members {
        let name = package.name.as_str();
        if !text.contains(&format!("| `{name}` | ")) {
            findings.push(format!("ARCHITECTURE.md: {name} is not in the tree"));
        }
        match table.get(name) {
            Some(allowed) => findings.extend(excess(package, allowed, &names)),
            None => findings.push(format!("ARCHITECTURE.md: {name} is not in the table of arrows")),
        }
        findings.extend(manifest(package)?);
    }
    let gone = table.keys().filter(|name| !names.contains(*name));
    findings
        .extend(gone.map(|name| format!("ARCHITECTURE.md: the table of arrows has {name}, which is gone")));
    Ok(findings)
}

/// Arrows that the manifest has and the table has not.
fn excess(package: &Package, allowed: &Allowed, ours: &BTreeSet<String>) -> Vec<String> {
    let name = &package.name;
    let arrows = package.dependencies.iter().filter(|dependency| ours.contains(&dependency.name));
    let forbidden = arrows.filter(|dependency| {
        let in_tests = dependency.kind == DependencyKind::Development;
        let tests = if in_tests { &allowed.in_tests } else { &allowed.always };
        !allowed.always.contains(&dependency.name) && !tests.contains(&dependency.name)
    });
    forbidden
        .map(|to| format!("{name} may not depend on {} (ARCHITECTURE.md, table of arrows)", to.name))
        .collect()
}

/// Versions stand in the root manifest alone, and every crate says what it is.
fn manifest(package: &Package) -> Result<Vec<String>> {
    let text = fs::read_to_string(&package.manifest_path)?;
    let parsed: toml::Table =
        text.parse().with_context(|| format!("{} is not TOML", package.manifest_path))?;
    let mut findings = Vec::new();
    if package.description.as_deref().unwrap_or_default().is_empty() {
        findings.push(format!("{}: description is empty", package.name));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let entries = parsed.get(section).and_then(toml::Value::as_table).into_iter().flatten();
        let own = entries.filter(|(_, entry)| entry.get("workspace").is_none());
        findings.extend(own.map(|(name, _)| {
            format!(
                "{}: {section}.{name} is not `workspace = true`; versions stand in the root manifest",
                package.name
            )
        }));
    }
    Ok(findings)
}

/// The rows `| crate | may depend on | in tests also on |`.
fn table(text: &str) -> BTreeMap<String, Allowed> {
    let header = "| crate | may depend on |";
    let rows = text.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    rows.take_while(|line| line.starts_with('|')).filter_map(row).collect()
}

fn row(line: &str) -> Option<(String, Allowed)> {
    let mut cells = line.trim_matches('|').split('|').map(names);
    let name = cells.next()?.into_iter().next()?;
    let always = cells.next().unwrap_or_default();
    let in_tests = cells.next().unwrap_or_default();
    Some((name, Allowed { always, in_tests }))
}

/// What stands between backquotes.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_arrows_is_read_from_markdown() {
        let text = "x\n\n| crate | may depend on | in tests also on |\n| --- | --- | --- |\n| `a` | `b` `c` | `d` |\n| `b` | | |\n\ny";
        let table = table(text);
        assert_eq!(table["a"].always, BTreeSet::from(["b".to_owned(), "c".to_owned()]));
        assert_eq!(table["a"].in_tests, BTreeSet::from(["d".to_owned()]));
        assert_eq!(table["b"], Allowed::default());
        assert_eq!(table.len(), 2);
    }
}
