//! What a step needs to know of the things that it makes or changes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::net::{Link, MacAddress, VlanRange};

/// A bridge to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Its name.
    pub name: String,
    /// Its MAC, set explicitly, so that ports never change it.
    pub mac: MacAddress,
    /// Its MTU; `None` takes the kernel's.
    pub mtu: Option<u32>,
    /// Whether it filters VLANs.
    pub vlan_filtering: bool,
}

/// A veth pair: the host side a port of the bridge, the container side in the container's network namespace, both
/// down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethSpec {
    /// The host side's name.
    pub host: String,
    /// The host side's MAC.
    pub host_mac: MacAddress,
    /// The host side's MTU; `None` takes the kernel's.
    pub host_mtu: Option<u32>,
    /// The bridge that the host side is a port of.
    pub bridge: String,
    /// The container side's name.
    pub ifname: String,
    /// The container side's MAC.
    pub mac: MacAddress,
    /// The container side's MTU; `None` takes the kernel's.
    pub mtu: Option<u32>,
}

/// What a port shall be besides its VLANs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// The port.
    pub port: String,
    /// Its IFLA_IFALIAS.
    pub alias: String,
    /// Frames may leave through the port they came in.
    pub hairpin: bool,
    /// It talks to non-isolated ports only.
    pub isolated: bool,
}

/// Another plugin's interface that becomes a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnslaveSpec {
    /// The interface.
    pub port: String,
    /// The bridge.
    pub bridge: String,
    /// MTU that it must have so as not to change the bridge's; `None` leaves it.
    pub mtu: Option<u32>,
    /// MAC that it must have so as not to change the bridge's; `None` leaves it.
    pub mac: Option<MacAddress>,
    /// What it was before.
    pub before: Link,
}

/// The VLANs to put on a port and the one to take off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanSpec {
    /// The port.
    pub port: String,
    /// VLAN of untagged frames (PVID, egress untagged).
    pub native: u16,
    /// Tagged VLANs, as ascending disjoint ranges.
    pub tagged: Vec<VlanRange>,
    /// The bridge's default VLAN, where it shall leave the port.
    pub remove: Option<u16>,
}

/// Whose network namespace is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The plugin's own.
    Node,
    /// The container's, which CNI_NETNS names.
    Container,
}

/// A kernel parameter under /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlSpec {
    /// Where.
    pub place: Place,
    /// Its path below /proc/sys.
    pub key: String,
    /// What it shall be.
    pub value: String,
    /// What it was, where that must come back; not for what goes away with an interface.
    pub before: Option<String>,
}

/// A route in the container, over its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// Destination.
    pub destination: IpNetwork,
    /// Next hops; none is a destination on the link, several share the traffic.
    pub gateways: Vec<IpAddr>,
    /// Routing table; `None` is the main one.
    pub table: Option<u32>,
    /// RT_SCOPE_ number; `None` is the universe.
    pub scope: Option<u8>,
    /// Metric; `None` is the kernel's default.
    pub priority: Option<u32>,
    /// RTAX_MTU in bytes.
    pub mtu: Option<u32>,
    /// RTAX_ADVMSS in bytes.
    pub advmss: Option<u32>,
}

/// The interface that carries a bridge's gateway addresses in one VLAN: a veth whose other end is a port in that VLAN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanGatewaySpec {
    /// Its name, `BRIDGE.VLAN`.
    pub name: String,
    /// Its MAC.
    pub mac: MacAddress,
    /// The port's MAC.
    pub port_mac: MacAddress,
    /// The bridge.
    pub bridge: String,
    /// The bridge's MTU.
    pub mtu: u32,
    /// The port and its VLAN.
    pub vlans: VlanSpec,
}
