//! Where things are: the repository, its scripts, the programs, and what all tests on one cluster share.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A script of `e2e/cluster`.
pub fn script(name: &str) -> Command {
    Command::new(root().join("e2e/cluster").join(name))
}

/// Name of the local cluster: MAINSTAY_CLUSTER, or `mainstay`.
pub(crate) fn name() -> String {
    std::env::var("MAINSTAY_CLUSTER").unwrap_or_else(|_| "mainstay".into())
}

/// A file that all tests on one cluster share. Those on another do not disturb them.
pub(crate) fn shared(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("mainstay-e2e.{}.{what}", name()))
}

/// The program `name`: from the variable that is its name in capitals, from PATH, or from the local cluster's cache.
///
/// # Errors
/// If there is none.
pub fn program(name: &str) -> Result<PathBuf> {
    let variable = name.to_uppercase();
    if let Some(given) = std::env::var_os(&variable).filter(|given| !given.is_empty()) {
        return Ok(given.into());
    }
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain([cache().join("bin")])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    ensure!(found.is_some(), "there is no {name} in PATH; e2e/cluster/up makes one, or set {variable}");
    found.with_context(|| format!("find {name}"))
}

/// Where the scripts of the local cluster keep what they built.
fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("MAINSTAY_CACHE").map_or_else(
        || std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("mainstay"),
        PathBuf::from,
    )
}
