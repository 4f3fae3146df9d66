//! A network interface as the kernel shows it, alone and as the part that it plays for a bridge.

use super::bridge::Bridge;
use super::mac::MacAddress;
use super::port::{Port, PortVlans};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index in its network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alternative names (IFLA_ALT_IFNAME).
    pub alternative: Vec<String>,
    /// IFLA_INFO_KIND; `None` for hardware.
    pub kind: Option<String>,
    /// Its MAC, where it has a unicast Ethernet one.
    pub mac: Option<MacAddress>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// IFF_UP.
    pub up: bool,
    /// IFF_LOWER_UP.
    pub carrier: bool,
    /// IFF_PROMISC as set on the interface itself.
    pub promiscuous: bool,
    /// Index of the bridge that it is a port of.
    pub master: Option<u32>,
    /// IFLA_IFALIAS.
    pub alias: Option<String>,
    /// For a veth: index of its peer, in the peer's namespace.
    pub peer: Option<u32>,
    /// For a veth whose peer is in another network namespace: this one's number for that (IFLA_LINK_NETNSID).
    pub peer_netns: Option<i32>,
    /// For a tap: its frames have virtio headers (IFLA_TUN_VNET_HDR), as a virtual machine's have and a VPN's have not.
    pub virtio: bool,
    /// What it is as a bridge.
    pub bridge: Option<Bridge>,
    /// What it is as a bridge port.
    pub port: Option<Port>,
}

#[cfg(test)]
impl Link {
    /// An interface that is up and has nothing particular.
    pub fn plain(name: &str) -> Self {
        Self {
            index: 3,
            name: name.to_string(),
            kind: None,
            mac: None,
            mtu: 1500,
            up: true,
            carrier: true,
            promiscuous: false,
            master: None,
            alias: None,
            peer: None,
            peer_netns: None,
            alternative: Vec::new(),
            virtio: false,
            bridge: None,
            port: None,
        }
    }
}

/// A port that may lead off the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The port.
    pub link: Link,
    /// Its VLANs, where the bridge filters them.
    pub vlans: Option<PortVlans>,
}

/// Where a bridge's forwarding table has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The port behind which the address was learned, or, where `own` is set, the port or bridge whose own address it is.
    pub link: Link,
    /// It is the interface's own: frames to it end on the node.
    pub own: bool,
}

/// What was seen of the bridge that the config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BridgeSeen {
    /// There is no interface of that name; these bridges are there.
    Missing {
        /// Names of the node's bridges.
        present: Vec<String>,
    },
    /// The interface of that name.
    Present(Box<Link>),
}

/// Frames that an interface has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// By this interface.
    pub sent: u64,
    /// By this interface.
    pub received: u64,
}
