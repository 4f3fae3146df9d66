//! The field's words, without I/O: what a MAC, a name, a VLAN, a link, a port and a bridge are.
//!
//! - `mac`: a unicast Ethernet address.
//! - `name`: names as CNI and the kernel allow them.
//! - [`vlan`]: VLAN ids, their ranges, and those of one port.
//! - [`cidr`]: an address with its prefix length.
//! - `link`: a network interface as the kernel shows it.
//! - `port`: what is particular to a bridge port.
//! - `bridge`: what is particular to a bridge.
//! - `firewall`: what may drop bridged frames.

mod bridge;
pub mod cidr;
mod firewall;
mod link;
mod mac;
mod name;
mod port;
pub mod vlan;

pub use bridge::{Bridge, Stp};
pub use firewall::{DropRule, Firewall, FirewallHook, Guards, IPTABLES_OPENING, TrafficFilter};
pub use link::{BridgeSeen, Known, Link, Traffic, Uplink};
pub use mac::MacAddress;
pub use name::{ContainerId, InterfaceName, NetworkName};
pub use port::{Port, PortState, PortVlans};
pub use vlan::{VlanRange, Vlans};
