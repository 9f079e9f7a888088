//! Where things are: the workspace, the caches outside it, and cargo with the environment that our builds need.
//!
//! Everything that is built lands in one target folder outside the clone, so that a fresh clone does not compile
//! every dependency again.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest)
}

/// `~/.cache/photoncloud`: what is built once and kept.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` says where caches are.
pub(crate) fn cache() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder).join("photoncloud"));
    }
    let home = env::var_os("HOME").context("HOME is not set; set it, or XDG_CACHE_HOME")?;
    Ok(PathBuf::from(home).join(".cache/photoncloud"))
}

/// Where cargo builds: `CARGO_TARGET_DIR` where it is set, else a folder in the cache.
pub(crate) fn target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Ok(cache()?.join("target")),
    }
}

/// The variables that every cargo call of ours has.
pub(crate) fn build_environment() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut variables = vec![("CARGO_TARGET_DIR", target()?)];
    if env::var_os("ROCKSDB_LIB_DIR").is_none() {
        let library = crate::rocksdb::folder(&metadata()?)?;
        if library.join(crate::rocksdb::LIBRARY).exists() {
            variables.push(("ROCKSDB_LIB_DIR", library));
            variables.push(("ROCKSDB_STATIC", PathBuf::from("1")));
        }
    }
    Ok(variables)
}

/// cargo at the root of the workspace, with [`build_environment`].
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    // What `cargo run` set for xtask itself would make cargo think that everything has changed.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo.envs(build_environment()?);
    Ok(cargo)
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{name} cannot be started"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("`{name} {}` failed ({status})", arguments.join(" "));
    }
    Ok(())
}

/// What cargo knows about the workspace and everything it links.
pub(crate) fn metadata() -> Result<Metadata> {
    MetadataCommand::new()
        .current_dir(root())
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .context("cargo metadata failed")
}

/// The package of this name that the lock file chose.
pub(crate) fn package<'a>(metadata: &'a Metadata, name: &str) -> Result<&'a Package> {
    metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == name)
        .with_context(|| format!("{name} is not in Cargo.lock"))
}
