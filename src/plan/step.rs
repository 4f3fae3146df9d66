//! The steps that an attachment is made of, as data: our own verbs, and how each is undone.

use std::fmt;

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
    /// Make the bridge promiscuous.
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
}

/// How a step is taken back. Each is idempotent, so that it may also undo a step that was only half done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// Delete the bridge, unless it has ports by now.
    DeleteBridge(String),
    /// Delete the veth pair by its host side; VLANs, flags and labels go with it.
    DeleteVeth(String),
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
}

impl Step {
    /// What takes the step back; `None` where an earlier step's undo does.
    pub fn undo(&self) -> Option<Undo> {
        match self {
            Self::CreateBridge(spec) => Some(Undo::DeleteBridge(spec.name.clone())),
            Self::AddVeth(spec) => Some(Undo::DeleteVeth(spec.host.clone())),
            Self::SetPromiscuous { bridge } => Some(Undo::ClearPromiscuous(bridge.clone())),
            Self::Enslave(spec) => Some(Undo::Release(Box::new(spec.before.clone()))),
            Self::AddAlternativeName { port, name } => {
                Some(Undo::RemoveAlternativeName { port: port.clone(), name: name.clone() })
            }
            Self::MarkPort { before, .. } => Some(Undo::UnmarkPort(Box::new(before.clone()))),
            Self::ReplaceVlans { spec, before } => {
                Some(Undo::RestoreVlans { port: spec.port.clone(), vlans: before.clone() })
            }
            Self::ConfigurePort(_)
            | Self::SetVlans(_)
            | Self::SilenceContainer { .. }
            | Self::RaiseContainer { .. }
            | Self::RaisePort { .. } => None,
        }
    }
}

impl Step {
    /// Whether the kernel does all of the step or nothing, so that a refused one needs no undo. A bridge that is
    /// there already, for one, must not be deleted because it could not be created.
    pub fn is_atomic(&self) -> bool {
        matches!(self, Self::CreateBridge(_) | Self::AddVeth(_))
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
            Self::MarkPort { spec, .. } => write!(f, "set label and flags of port {}", spec.port),
            Self::SetPromiscuous { bridge } => write!(f, "make bridge {bridge} promiscuous"),
            Self::SilenceContainer { ifname } => write!(f, "silence IPv6 on {ifname} in the container"),
            Self::RaiseContainer { ifname } => write!(f, "set {ifname} up in the container"),
            Self::RaisePort { port, .. } => write!(f, "set port {port} up"),
        }
    }
}

impl fmt::Display for Undo {
    /// The undo as an error names it, behind "cannot".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteBridge(name) => write!(f, "delete bridge {name}"),
            Self::DeleteVeth(name) => write!(f, "delete {name}"),
            Self::Release(link) => write!(f, "take {} off its bridge", link.name),
            Self::RemoveAlternativeName { port, name } => write!(f, "take the name {name} off {port}"),
            Self::UnmarkPort(link) => write!(f, "restore label and flags of {}", link.name),
            Self::RestoreVlans { port, .. } => write!(f, "restore the VLANs of {port}"),
            Self::ClearPromiscuous(name) => write!(f, "make bridge {name} non-promiscuous"),
        }
    }
}
