//! Where records, remembered addresses and the agent's socket are.

use std::path::{Path, PathBuf};

use crate::kernel::root;

/// On tmpfs: sandboxes end with the node, and their leases with them.
const RUN: &str = "run/bridge-dhcp";
/// What outlives the node's restart.
const STATE: &str = "var/lib/bridge-dhcp";

/// The directories of this node.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        Self::below(&root::of_this_process())
    }

    /// Those below another root.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// One record for each lease.
    pub fn leases(&self) -> PathBuf {
        self.root.join(RUN).join("leases")
    }

    /// One file for each identity that had an address.
    pub fn addresses(&self) -> PathBuf {
        self.root.join(STATE).join("addresses")
    }

    /// Where the agent listens.
    pub fn agent_socket(&self) -> PathBuf {
        self.root.join(RUN).join("agent.sock")
    }
}
