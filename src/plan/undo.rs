//! How a step is taken back, as data.

use std::fmt;

use ipnetwork::IpNetwork;

use super::spec::Place;
use crate::net::{Link, MacAddress, PortVlans};

/// How a step is taken back. Each is idempotent, so that it may also undo a step that was only half done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// Delete the bridge, unless it has ports by now.
    DeleteBridge {
        /// The bridge.
        name: String,
        /// The MAC that this attachment gave it: a bridge with another MAC was made by another program.
        mac: MacAddress,
    },
    /// Delete the veth pair by its host side; VLANs, flags and labels go with it.
    DeleteVeth {
        /// The host side.
        name: String,
        /// The MAC that this attachment gave it, where that is known: a link with another MAC was made by another program.
        mac: Option<MacAddress>,
    },
    /// Take the interface off the bridge and give it back its MTU, MAC and state.
    Release(Box<Link>),
    /// Delete the veth pair by its host side as it was seen.
    DeletePair(Box<Link>),
    /// Take our names off another plugin's interface.
    RemoveNames {
        /// The interface.
        port: String,
        /// Its index.
        index: u32,
        /// The names.
        names: Vec<String>,
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

impl fmt::Display for Undo {
    /// The undo as an error names it, behind "cannot".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeleteBridge { name, .. } => write!(f, "delete bridge {name}"),
            Self::DeleteVeth { name, .. } => write!(f, "delete {name}"),
            Self::Release(link) => write!(f, "take {} off its bridge", link.name),
            Self::DeletePair(link) => write!(f, "delete {}", link.name),
            Self::RemoveNames { port, names, .. } => {
                write!(f, "take the name {} off {port}", names.join(" and "))
            }
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
