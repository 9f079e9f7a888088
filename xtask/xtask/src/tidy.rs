//! The house rules that no compiler checks: dependency arrows, licences and sources, the shape of files.
//!
//! Each rule is a function from what it looks at to its findings; a finding says where, what, and what would be right.

mod arrows;
mod files;
mod supply;

use anyhow::{Result, bail};

use crate::{progress, workspace};

/// Checks all rules and prints every finding.
///
/// # Errors
/// When there is a finding, or the workspace cannot be read.
pub(crate) fn run() -> Result<()> {
    let metadata = workspace::metadata()?;
    let mut findings = arrows::check(&metadata)?;
    findings.extend(supply::check(&metadata)?);
    findings.extend(files::check(workspace::root())?);
    for finding in &findings {
        progress::say(finding);
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}
