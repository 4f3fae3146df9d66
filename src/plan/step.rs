//! The steps that an attachment is made of, as data: our own verbs, and how each is undone.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::plan::facts::{Link, PortVlans};
use crate::request::mac::MacAddress;
use crate::request::vlan::VlanRange;

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
    /// The one that CNI_NETNS names.
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

/// One change of the node or the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create a bridge, up.
    CreateBridge(BridgeSpec),
    /// Create the veth pair.
    AddVeth(VethSpec),
    /// Make another plugin's interface a port, and leave it down.
    Enslave(EnslaveSpec),
    /// Give another plugin's interface the name under which DEL finds it.
    AddAlternativeName {
        /// The interface.
        port: String,
        /// The derived name.
        name: String,
    },
    /// Label another plugin's interface before it becomes a port.
    Label {
        /// The interface.
        port: String,
        /// Its IFLA_IFALIAS.
        alias: String,
        /// What it was before.
        before: Link,
    },
    /// Label a port of another plugin's and set its flags.
    MarkPort {
        /// What it shall be.
        spec: PortSpec,
        /// What it was before.
        before: Link,
    },
    /// Label the port, set its flags, keep the kernel from giving it an IPv6 address.
    ConfigurePort(PortSpec),
    /// Set the port's VLANs.
    SetVlans(VlanSpec),
    /// Set the VLANs of a port that carried some before.
    ReplaceVlans {
        /// What they shall be.
        spec: VlanSpec,
        /// What they were.
        before: PortVlans,
    },
    /// Make the bridge promiscuous, where it is not yet.
    SetPromiscuous {
        /// The bridge.
        bridge: String,
    },
    /// Keep the kernel from sending IPv6 frames of its own on the container side.
    SilenceContainer {
        /// The container side.
        ifname: String,
    },
    /// Set the container side up.
    RaiseContainer {
        /// The container side.
        ifname: String,
    },
    /// Set the port up.
    RaisePort {
        /// The port.
        port: String,
        /// Whether to wait until it forwards.
        await_forwarding: bool,
    },
    /// Let only frames with this Ethernet source enter the bridge from the port.
    Protect {
        /// The port.
        port: String,
        /// The derived name of the host side, which DEL knows; the port's own unless that is another plugin's.
        owner: String,
        /// The attachment's MAC.
        mac: MacAddress,
    },
    /// Set a kernel parameter.
    SetSysctl(SysctlSpec),
    /// Give the container side addresses, and wait until they can be used.
    AddAddresses {
        /// The container side.
        ifname: String,
        /// Host addresses with the subnets' prefix lengths.
        addresses: Vec<IpNetwork>,
    },
    /// Add a route in the container.
    AddRoute {
        /// The container side.
        ifname: String,
        /// The route.
        route: RouteSpec,
    },
    /// Have the kernel tell the neighbours the container side's addresses.
    Announce {
        /// The container side.
        ifname: String,
        /// Its MAC.
        mac: MacAddress,
    },
    /// Create the interface that carries a bridge's gateway addresses in one VLAN.
    AddVlanGateway(VlanGatewaySpec),
    /// Give the bridge, or its interface in a VLAN, a gateway address.
    AddGateway {
        /// The interface.
        link: String,
        /// The address with the subnet's prefix length.
        address: IpNetwork,
    },
    /// Take another address off the bridge (`forceAddress`).
    RemoveGateway {
        /// The interface.
        link: String,
        /// The address.
        address: IpNetwork,
    },
    /// Fix the bridge's MAC, so that it stays when ports come and go.
    PinMac {
        /// The bridge.
        bridge: String,
        /// The MAC that it has.
        mac: MacAddress,
    },
    /// Masquerade what leaves the attachment's subnets.
    Masquerade {
        /// The host side, under whose name the rules are found again.
        port: String,
        /// The container's addresses.
        addresses: Vec<IpNetwork>,
    },
}

/// How a step is taken back. Each is idempotent, so that it may also undo a step that was only half done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// Delete the bridge, unless it has ports by now.
    DeleteBridge {
        /// The bridge.
        name: String,
        /// The MAC that it was made with: one with another was made by somebody else.
        mac: MacAddress,
    },
    /// Delete the veth pair by its host side; VLANs, flags and labels go with it.
    DeleteVeth {
        /// The host side.
        name: String,
        /// The MAC that it was made with, where that is known: one with another was made by somebody else.
        mac: Option<MacAddress>,
    },
    /// Take the interface off the bridge and give it back its MTU, MAC and state.
    Release(Box<Link>),
    /// Take the derived name off another plugin's interface.
    RemoveAlternativeName {
        /// The interface.
        port: String,
        /// The derived name.
        name: String,
    },
    /// Give the port back its label and flags.
    UnmarkPort(Box<Link>),
    /// Give the port back its VLANs.
    RestoreVlans {
        /// The port.
        port: String,
        /// What they were.
        vlans: PortVlans,
    },
    /// Make the bridge non-promiscuous again.
    ClearPromiscuous(String),
    /// Remove the MAC check of the port.
    Unprotect(String),
    /// Give a kernel parameter its former value.
    RestoreSysctl {
        /// Where.
        place: Place,
        /// Its path below /proc/sys.
        key: String,
        /// The former value.
        value: String,
    },
    /// Take the address off the bridge.
    RemoveGateway {
        /// The interface.
        link: String,
        /// The address.
        address: IpNetwork,
    },
    /// Give the bridge back the address.
    RestoreGateway {
        /// The interface.
        link: String,
        /// The address.
        address: IpNetwork,
    },
    /// Remove the masquerading of the host side.
    RemoveMasquerade(String),
}

impl Step {
    /// What takes the step back; `None` where an earlier step's undo does.
    pub fn undo(&self) -> Option<Undo> {
        match self {
            Self::CreateBridge(spec) => Some(Undo::DeleteBridge { name: spec.name.clone(), mac: spec.mac }),
            Self::AddVeth(spec) => {
                Some(Undo::DeleteVeth { name: spec.host.clone(), mac: Some(spec.host_mac) })
            }
            Self::SetPromiscuous { bridge } => Some(Undo::ClearPromiscuous(bridge.clone())),
            Self::Enslave(spec) => Some(Undo::Release(Box::new(spec.before.clone()))),
            Self::AddAlternativeName { port, name } => {
                Some(Undo::RemoveAlternativeName { port: port.clone(), name: name.clone() })
            }
            Self::Label { before, .. } | Self::MarkPort { before, .. } => {
                Some(Undo::UnmarkPort(Box::new(before.clone())))
            }
            Self::ReplaceVlans { spec, before } => {
                Some(Undo::RestoreVlans { port: spec.port.clone(), vlans: before.clone() })
            }
            Self::Protect { owner, .. } => Some(Undo::Unprotect(owner.clone())),
            Self::SetSysctl(spec) => spec.before.as_ref().map(|value| Undo::RestoreSysctl {
                place: spec.place,
                key: spec.key.clone(),
                value: value.clone(),
            }),
            Self::AddVlanGateway(spec) => {
                Some(Undo::DeleteVeth { name: spec.vlans.port.clone(), mac: Some(spec.port_mac) })
            }
            Self::AddGateway { link, address } => {
                Some(Undo::RemoveGateway { link: link.clone(), address: *address })
            }
            Self::RemoveGateway { link, address } => {
                Some(Undo::RestoreGateway { link: link.clone(), address: *address })
            }
            Self::Masquerade { port, .. } => Some(Undo::RemoveMasquerade(port.clone())),
            Self::ConfigurePort(_)
            | Self::SetVlans(_)
            | Self::SilenceContainer { .. }
            | Self::RaiseContainer { .. }
            | Self::RaisePort { .. }
            | Self::AddAddresses { .. }
            | Self::AddRoute { .. }
            | Self::Announce { .. }
            | Self::PinMac { .. } => None,
        }
    }
}

impl Step {
    /// Whether the kernel does all of the step or nothing, so that a refused one needs no undo. A bridge that is
    /// there already, for one, must not be deleted because it could not be created.
    pub fn is_atomic(&self) -> bool {
        matches!(
            self,
            Self::CreateBridge(_)
                | Self::AddVeth(_)
                | Self::AddAlternativeName { .. }
                | Self::AddGateway { .. }
                | Self::Protect { .. }
                | Self::Masquerade { .. }
        )
    }
}

impl fmt::Display for Step {
    /// The step as an error names it, behind "cannot".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateBridge(spec) => write!(f, "create bridge {}", spec.name),
            Self::AddVeth(spec) => {
                write!(
                    f,
                    "create {} on bridge {} with {} in the container",
                    spec.host, spec.bridge, spec.ifname
                )
            }
            Self::ConfigurePort(spec) => write!(f, "set label and flags of port {}", spec.port),
            Self::SetVlans(spec) | Self::ReplaceVlans { spec, .. } => {
                write!(f, "set the VLANs of port {}", spec.port)
            }
            Self::Enslave(spec) => write!(f, "make {} a port of bridge {}", spec.port, spec.bridge),
            Self::AddAlternativeName { port, name } => write!(f, "give {port} the alternative name {name}"),
            Self::Label { port, .. } => write!(f, "label {port}"),
            Self::MarkPort { spec, .. } => write!(f, "set label and flags of port {}", spec.port),
            Self::SetPromiscuous { bridge } => write!(f, "make bridge {bridge} promiscuous"),
            Self::SilenceContainer { ifname } => write!(f, "silence IPv6 on {ifname} in the container"),
            Self::RaiseContainer { ifname } => write!(f, "set {ifname} up in the container"),
            Self::RaisePort { port, .. } => write!(f, "set port {port} up"),
            Self::Protect { port, mac, .. } => write!(f, "let only {mac} pass port {port}"),
            Self::SetSysctl(spec) => write!(f, "set {} to {}", spec.key, spec.value),
            Self::AddAddresses { ifname, addresses } => write!(f, "give {ifname} {}", shown(addresses)),
            Self::AddRoute { ifname, route } => {
                write!(f, "add the route to {} over {ifname}", route.destination)?;
                route.gateways.iter().try_for_each(|gateway| write!(f, " via {gateway}"))
            }
            Self::Announce { ifname, .. } => write!(f, "announce the addresses of {ifname}"),
            Self::AddVlanGateway(spec) => write!(f, "create {} in VLAN {}", spec.name, spec.vlans.native),
            Self::AddGateway { link, address } => write!(f, "give {link} the gateway address {address}"),
            Self::RemoveGateway { link, address } => write!(f, "take {address} off {link}"),
            Self::PinMac { bridge, mac } => write!(f, "fix the MAC of bridge {bridge} as {mac}"),
            Self::Masquerade { addresses, .. } => write!(f, "masquerade {}", shown(addresses)),
        }
    }
}

impl fmt::Display for Undo {
    /// The undo as an error names it, behind "cannot".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteBridge { name, .. } => write!(f, "delete bridge {name}"),
            Self::DeleteVeth { name, .. } => write!(f, "delete {name}"),
            Self::Release(link) => write!(f, "take {} off its bridge", link.name),
            Self::RemoveAlternativeName { port, name } => write!(f, "take the name {name} off {port}"),
            Self::UnmarkPort(link) => write!(f, "restore label and flags of {}", link.name),
            Self::RestoreVlans { port, .. } => write!(f, "restore the VLANs of {port}"),
            Self::ClearPromiscuous(name) => write!(f, "make bridge {name} non-promiscuous"),
            Self::Unprotect(port) => write!(f, "remove the MAC check of port {port}"),
            Self::RestoreSysctl { key, value, .. } => write!(f, "set {key} back to {value}"),
            Self::RemoveGateway { link, address } => write!(f, "take {address} off {link}"),
            Self::RestoreGateway { link, address } => write!(f, "give {address} back to {link}"),
            Self::RemoveMasquerade(port) => write!(f, "remove the masquerading of {port}"),
        }
    }
}

fn shown(addresses: &[IpNetwork]) -> String {
    addresses.iter().map(IpNetwork::to_string).collect::<Vec<_>>().join(", ")
}
