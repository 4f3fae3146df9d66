//! What is particular to a bridge, as the kernel shows it.

use std::fmt;

/// Who runs the spanning tree protocol of a bridge (IFLA_BR_STP_STATE, net/bridge/br_private.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stp {
    /// Nobody: each port forwards at once.
    #[default]
    Off,
    /// The kernel: a new port forwards after listening and learning.
    Kernel,
    /// A daemon, which decides when a port forwards.
    Daemon,
}

impl fmt::Display for Stp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Kernel => "on",
            Self::Daemon => "on, by a daemon of the node",
        })
    }
}

/// What is particular to a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// IFLA_BR_VLAN_FILTERING.
    pub vlan_filtering: bool,
    /// IFLA_BR_VLAN_DEFAULT_PVID; 0 is none.
    pub default_pvid: u16,
    /// Spanning tree.
    pub stp: Stp,
    /// Seconds in each of listening and learning.
    pub forward_delay: u32,
    /// IFLA_BR_NF_CALL_IPTABLES: this bridge's frames pass iptables whatever the sysctl says.
    pub nf_call_iptables: bool,
}
