//! Where the node's file system begins for what this program keeps in it.

use std::path::{Path, PathBuf};

/// Another root, for tests that need directories of their own. Who sets the environment of a plugin that runs as root is
/// root; neither a pod nor a network config has a hand in it.
const ROOT: &str = "BRIDGE_DHCP_ROOT";

/// The root of this process's files.
pub fn of_this_process() -> PathBuf {
    let root = std::env::var_os(ROOT).map(PathBuf::from).filter(|root| root.is_absolute());
    root.unwrap_or_else(|| PathBuf::from("/"))
}

/// An absolute path of the node, below that root.
pub fn path(absolute: &Path) -> PathBuf {
    of_this_process().join(absolute.strip_prefix("/").unwrap_or(absolute))
}
