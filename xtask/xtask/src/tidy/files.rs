//! The shape of source files: each opens with why it exists, holds one idea, and leaves nothing unfinished.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Lines of a file that need no reason.
const LINES_MAX: usize = 600;

/// The word in a file's first comment that says why it is longer than that.
const REASON: &str = "Long because";

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in sources(root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        findings.extend(faults(&text).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    Ok(findings)
}

fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push("does not open with `//!`".to_owned());
    }
    let opening: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let lines = text.lines().count();
    if lines > LINES_MAX && !opening.contains(REASON) {
        faults.push(format!("{lines} lines; over {LINES_MAX} need a \"{REASON} …\" in the first comment"));
    }
    let unfinished = ["to", "do!("].concat();
    if text.contains(&unfinished) {
        faults.push("is unfinished".to_owned());
    }
    faults
}

/// Every Rust file, without what was built.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_first_comment_and_one_too_long_are_found() {
        assert_eq!(faults("fn main() {}").len(), 1);
        let long = "x\n".repeat(601);
        assert_eq!(faults(&format!("//! Why.\n{long}")).len(), 1);
        assert!(faults(&format!("//! Long because it is a table.\n{long}")).is_empty());
    }
}
