//! What was seen on the node before anything was decided; the kernel fills it in, the plan reads it.

use std::fmt;

use crate::request::mac::MacAddress;
use crate::request::vlan::{VlanRange, merged, without};

/// The state of a bridge port (IFLA_BRPORT_STATE, include/uapi/linux/if_bridge.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "IEEE 802.1D's own words")]
pub enum PortState {
    Disabled,
    Listening,
    Learning,
    Forwarding,
    Blocking,
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        })
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index in its network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
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
    /// For a veth: its peer is in another network namespace (IFLA_LINK_NETNSID).
    pub peer_elsewhere: bool,
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
            peer_elsewhere: false,
            virtio: false,
            bridge: None,
            port: None,
        }
    }
}

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

/// What is particular to a bridge port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Whether frames pass it.
    pub state: PortState,
    /// Frames may leave through the port they came in.
    pub hairpin: bool,
    /// It talks to non-isolated ports only.
    pub isolated: bool,
    /// Broadcasts of other ports leave through it (IFLA_BRPORT_BCAST_FLOOD); the bridge device's own always do.
    pub broadcast_flood: bool,
    /// Hundredths of a second until its state changes (IFLA_BRPORT_FORWARD_DELAY_TIMER).
    pub forward_timer: u64,
}

impl Port {
    /// A port as the kernel makes it, in this state.
    pub fn plain(state: PortState) -> Self {
        Self { state, hairpin: false, isolated: false, broadcast_flood: true, forward_timer: 0 }
    }
}

/// The VLANs that a port carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortVlans {
    /// VLAN of untagged frames that come in.
    pub pvid: Option<u16>,
    /// VLANs whose frames leave untagged: ascending, disjoint.
    pub untagged: Vec<VlanRange>,
    /// VLANs whose frames leave tagged: ascending, disjoint.
    pub tagged: Vec<VlanRange>,
}

impl PortVlans {
    /// Whether frames of the VLAN pass the port.
    pub fn contains(&self, id: u16) -> bool {
        self.untagged.iter().chain(&self.tagged).any(|range| range.contains(id))
    }

    /// Whether the VLAN's frames leave untagged.
    pub fn is_untagged(&self, id: u16) -> bool {
        self.untagged.iter().any(|range| range.contains(id))
    }

    /// Whether the VLAN's frames leave as they are to come in: untagged both ways, or tagged.
    pub fn is_symmetric(&self, id: u16) -> bool {
        self.is_untagged(id) == (self.pvid == Some(id))
    }

    /// All of them, tagged or not: ascending, disjoint.
    pub fn all(&self) -> Vec<VlanRange> {
        merged(self.untagged.iter().chain(&self.tagged).copied().collect())
    }
}

impl fmt::Display for PortVlans {
    /// With the flags that `bridge vlan` has for them, as in `1 (pvid untagged), 20-30`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = |ranges: &[VlanRange]| match self.pvid {
            Some(id) => without(ranges.to_vec(), id),
            None => ranges.to_vec(),
        };
        let pvid = self.pvid.map(|id| {
            let flags = if self.is_untagged(id) { " (pvid untagged)" } else { " (pvid)" };
            (VlanRange::single(id), flags)
        });
        let untagged = others(&self.untagged).into_iter().map(|range| (range, " (untagged)"));
        let tagged = others(&self.tagged).into_iter().map(|range| (range, ""));
        let mut all: Vec<_> = pvid.into_iter().chain(untagged).chain(tagged).collect();
        all.sort();
        if all.is_empty() {
            return f.write_str("none");
        }
        let shown: Vec<String> = all.iter().map(|(range, flags)| format!("{range}{flags}")).collect();
        f.write_str(&shown.join(", "))
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
    /// The port behind which it is, or the interface whose own it is: a port, or the bridge itself.
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

/// What may drop bridged frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firewall {
    /// net.bridge.bridge-nf-call-iptables; `None` where br_netfilter is not loaded.
    pub call_iptables: Option<bool>,
    /// Tables that the legacy iptables has in use.
    pub legacy_tables: Vec<String>,
    /// Base chains of nftables at hooks that bridged frames may pass.
    pub hooks: Vec<FirewallHook>,
}

impl Firewall {
    /// Whether br_netfilter shows the bridge's frames to iptables and IP's hooks: the sysctl and the bridge's own switch
    /// each do that, and neither without the module.
    pub fn sees_frames_of(&self, bridge: &Bridge) -> bool {
        self.call_iptables.is_some_and(|everywhere| everywhere || bridge.nf_call_iptables)
    }
}

/// Longest name of a table or chain that is shown, in characters.
const FIREWALL_NAME_MAX: usize = 24;
/// The command that lets bridged frames pass iptables.
pub const IPTABLES_OPENING: &str = "iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT";

/// A base chain of nftables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallHook {
    /// `bridge`, or with br_netfilter `ip` and `inet`.
    pub family: &'static str,
    /// Its table.
    pub table: String,
    /// Its name.
    pub chain: String,
    /// `prerouting`, `forward` or `postrouting`.
    pub hook: &'static str,
    /// What no rule decides is dropped.
    pub policy_drop: bool,
}

impl FirewallHook {
    /// The chain as `nft` names it, cut where its owner chose long names.
    pub fn owner(&self) -> String {
        let short = |name: &str| name.chars().take(FIREWALL_NAME_MAX).collect::<String>();
        format!("table {} {} chain {}", self.family, short(&self.table), short(&self.chain))
    }

    /// The command that lets this bridge's frames pass the chain: all that br_netfilter shows to IP's chains, DHCP in
    /// one of the bridge family, whose owner filters on purpose. Another chain may still drop them.
    pub fn opening(&self, bridge: &str) -> String {
        let frames = match (self.family, self.table.as_str(), self.chain.as_str()) {
            // Who has made this one has iptables, but perhaps no nft.
            ("ip", "filter", "FORWARD") => return IPTABLES_OPENING.to_string(),
            ("bridge", ..) => "udp dport '{ 67, 68 }'".to_string(),
            // Quoted, also for the shell: a bridge may be called like a word of nft's language.
            _ => format!("iifname '\"{bridge}\"'"),
        };
        format!("nft insert rule {} {} {} {frames} accept", self.family, self.table, self.chain)
    }
}
