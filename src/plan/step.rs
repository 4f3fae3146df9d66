//! The steps that an attachment is made of, as data: our own verbs.

use std::fmt;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::spec::{
    BridgeSpec, EnslaveSpec, PortSpec, RouteSpec, SysctlSpec, VethSpec, VlanGatewaySpec, VlanSpec,
};
use super::undo::Undo;
use crate::net::{Link, MacAddress, PortVlans};

/// One change of the node or the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Create a bridge, up.
    CreateBridge(BridgeSpec),
    /// Create the veth pair.
    AddVeth(VethSpec),
    /// Make another plugin's interface a port, and leave it down.
    Enslave(EnslaveSpec),
    /// Give a link the alternative names by which it is known as ours and found.
    AddNames {
        /// The link.
        port: String,
        /// Its index; 0 where only its name is known.
        index: u32,
        /// The names.
        names: Vec<String>,
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
    /// Give the container side a leased address, which the kernel takes away when the lease is over.
    LeaseAddress {
        /// The container side.
        ifname: String,
        /// The address with the subnet's prefix length.
        address: IpNetwork,
        /// What is left of the lease.
        lasts: Duration,
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
            // Those of a link that this ADD made go with it.
            Self::AddNames { index: 0, .. } => None,
            Self::AddNames { port, index, names } => {
                Some(Undo::RemoveNames { port: port.clone(), index: *index, names: names.clone() })
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
            | Self::LeaseAddress { .. }
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
            Self::AddNames { port, names, .. } => {
                write!(f, "give {port} the alternative name {}", names.join(" and "))
            }
            Self::Label { port, .. } => write!(f, "label {port}"),
            Self::MarkPort { spec, .. } => write!(f, "set label and flags of port {}", spec.port),
            Self::SetPromiscuous { bridge } => write!(f, "make bridge {bridge} promiscuous"),
            Self::SilenceContainer { ifname } => write!(f, "silence IPv6 on {ifname} in the container"),
            Self::RaiseContainer { ifname } => write!(f, "set {ifname} up in the container"),
            Self::RaisePort { port, .. } => write!(f, "set port {port} up"),
            Self::Protect { port, mac, .. } => write!(f, "let only {mac} pass port {port}"),
            Self::SetSysctl(spec) => write!(f, "set {} to {}", spec.key, spec.value),
            Self::AddAddresses { ifname, addresses } => write!(f, "give {ifname} {}", shown(addresses)),
            Self::LeaseAddress { ifname, address, .. } => write!(f, "give {ifname} the leased {address}"),
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

fn shown(addresses: &[IpNetwork]) -> String {
    addresses.iter().map(IpNetwork::to_string).collect::<Vec<_>>().join(", ")
}
