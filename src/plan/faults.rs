//! The words for what cannot be planned on this node.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::cni::config::DEADLINE_MAX;
use crate::error::{Code, Error, quoted};
use crate::net::{Link, VlanRange, Vlans};

/// Smallest MTU of a link that carries IPv6 (RFC 8200 section 5).
pub const IPV6_MTU_MIN: u32 = 1280;

/// How many uplinks are written out where all of them are meant: a bridge may have hundreds of ports.
pub const UPLINKS_MAX: usize = 8;

/// Code 100.
pub fn bridge_missing(bridge: &str, present: &[String]) -> Error {
    let present = if present.is_empty() { "none".to_string() } else { present.join(", ") };
    Error::new(
        Code::BridgeMissing,
        format!("bridge {bridge} does not exist on this node (bridges present: {present})"),
    )
    .remedy(format!(
        "correct \"bridge\" in the network config, or create it with its uplink (nmstate, or: ip link add {} type bridge)",
        quoted(bridge)
    ))
}

/// Code 101.
pub fn not_a_bridge(link: &Link) -> Error {
    let kind = link.kind.as_deref().unwrap_or("hardware");
    Error::new(Code::NotABridge, format!("{} is not a bridge but a {kind} interface", link.name)).remedy(
        "correct \"bridge\" in the network config; `ip link show type bridge` lists the node's bridges",
    )
}

/// Code 102.
pub fn bridge_down(bridge: &str) -> Error {
    Error::new(Code::BridgeDown, format!("bridge {bridge} is down, no frame passes it"))
        .remedy(format!("ip link set {} up", quoted(bridge)))
}

/// Code 103.
pub fn vlan_filtering_off(bridge: &str, vlans: &Vlans) -> Error {
    let asked = match vlans.tagged.as_slice() {
        [] => format!("VLAN {}", vlans.native),
        trunk => format!("a trunk of VLAN {}", VlanRange::listed(trunk)),
    };
    Error::new(
        Code::VlanFilteringOff,
        format!("bridge {bridge} has vlan_filtering off, so {asked} would not isolate"),
    )
    .remedy(format!(
        "in the node's NodeNetworkConfigurationPolicy (nmstate) give the bridge's ports a vlan (mode: trunk, trunk-tags); by hand, which stops the ports' tagged frames until `bridge vlan add` allows each VLAN again: ip link set {} type bridge vlan_filtering 1",
        quoted(bridge)
    ))
}

/// Code 104. The VLAN `untagged` belongs on the uplink `first` as its untagged one.
pub fn vlan_not_on_uplink(
    bridge: &str,
    missing: &[VlanRange],
    uplinks: &[String],
    first: &str,
    untagged: Option<u16>,
) -> Error {
    let command = |range: &VlanRange| {
        let flags = if untagged.map(VlanRange::single) == Some(*range) { " pvid untagged" } else { "" };
        format!("bridge vlan add dev {first} vid {range}{flags}")
    };
    let ids = missing.iter().map(VlanRange::to_string).collect::<Vec<_>>();
    let verb = if ids.len() == 1 && !ids[0].contains('-') { "is" } else { "are" };
    Error::new(
        Code::VlanNotOnUplink,
        format!(
            "VLAN {} {verb} not allowed on any uplink of {bridge} (uplinks: {})",
            ids.join(","),
            uplinks.join(", ")
        ),
    )
    .remedy(missing.iter().map(command).collect::<Vec<_>>().join("; "))
}

/// Code 104: an attachment without a VLAN on a bridge that gives its ports none.
pub fn no_default_vlan(bridge: &str, uplinks: &[String]) -> Error {
    Error::new(
        Code::VlanNotOnUplink,
        format!(
            "bridge {bridge} filters VLANs and has no default one: without \"vlan\", all frames of the attachment are dropped"
        ),
    )
    .evidence(format!("vlan_default_pvid is 0; VLANs of the uplinks: {}", uplinks.join(", ")))
    .remedy(format!(
        "set \"vlan\" in the network config, or give new ports a default: ip link set {} type bridge vlan_default_pvid 1",
        quoted(bridge)
    ))
}

/// Code 105.
pub fn no_uplink(bridge: &str) -> Error {
    Error::new(
        Code::NoUplink,
        format!("bridge {bridge} has no port that leads off the node: no NIC, bond or VLAN device is enslaved to it"),
    )
    .remedy(format!(
        "make the NIC a port of {bridge} in its NodeNetworkConfigurationPolicy; by hand this cuts off a node whose address is on the NIC: ip link set NIC master {}",
        quoted(bridge)
    ))
}

/// Code 106.
pub fn uplink_no_carrier(bridge: &str, uplinks: &[String]) -> Error {
    let raised: Vec<String> =
        uplinks.iter().take(UPLINKS_MAX).map(|uplink| format!("ip link set {uplink} up")).collect();
    Error::new(
        Code::UplinkNoCarrier,
        format!("no uplink of bridge {bridge} has a carrier (uplinks: {})", uplinks.join(", ")),
    )
    .remedy(format!("check cable, switch port or hypervisor; {}", raised.join("; ")))
}

/// Code 7: a larger MTU than the bridge's.
pub fn mtu_larger_than_bridge(bridge: &str, wanted: u32, bridge_mtu: u32) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("config key \"mtu\" is {wanted}, but bridge {bridge} has MTU {bridge_mtu}: larger frames would be lost"),
    )
    .remedy(format!("remove \"mtu\", lower it, or raise the bridge's and its uplink's: ip link set {} mtu {wanted}", quoted(bridge)))
}

/// Code 7: the bridge has another address.
pub fn gateway_in_the_way(link: &str, there: IpNetwork, gateway: IpNetwork) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("{link} already has the address {there}, so it cannot get the gateway address {gateway}"),
    )
    .remedy(format!(
        "set \"forceAddress\": true to replace it, use another bridge, or: ip address del {there} dev {link}"
    ))
}

/// Code 7: the bridge shall have the container's address.
pub fn gateway_is_the_containers(link: &str, gateway: IpAddr) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("{link} would get the gateway address {gateway}, which IPAM gave to the container"),
    )
    .remedy("name another \"gateway\" in \"ipam\", or exclude this address from its range")
}

/// Code 7: an IPv6 address on a link that is too narrow for IPv6.
pub fn mtu_too_small_for_ipv6(ifname: &str, mtu: u32) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("{ifname} has MTU {mtu} and gets an IPv6 address, which needs at least {IPV6_MTU_MIN}"),
    )
    .remedy(format!("raise \"mtu\" and the bridge's to {IPV6_MTU_MIN} or more, or give IPv4 addresses only"))
}

/// Code 7: `BRIDGE.VLAN` is no interface name.
pub fn vlan_gateway_name(name: &str) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("the gateway's interface {name} would have a name longer than 15 characters"),
    )
    .remedy("use a shorter bridge name, or no \"vlan\" together with \"isGateway\"")
}

/// How STP is turned off, and where that makes no loop.
pub fn stp_off(bridge: &str) -> String {
    format!(
        "where only one uplink leads to its LAN (two without STP are a loop), turn STP off: in the NodeNetworkConfigurationPolicy bridge.options.stp.enabled: false, by hand: ip link set {} type bridge stp_state 0",
        quoted(bridge)
    )
}

/// Code 115: the bridge's STP keeps a new port from forwarding until the deadline is over.
pub fn too_slow_for_dhcp(bridge: &str, delay: Duration, deadline: Duration) -> Error {
    let fact = format!(
        "bridge {bridge} runs STP: a new port forwards only after {} s, the deadline of {} s is over by then, and IPAM is \"dhcp\"",
        delay.as_secs(),
        deadline.as_secs_f32()
    );
    let off = stp_off(bridge);
    // What lies beyond the delay is for the lease.
    let enough = DEADLINE_MAX.min(delay + Duration::from_secs(15));
    Error::new(Code::NotForwarding, fact).remedy(match enough > delay {
        true => format!("raise \"deadline\" to \"{}s\" (at most \"60s\"), or {off}", enough.as_secs()),
        false => off,
    })
}

/// Code 7: the previous plugin's interface is elsewhere.
pub fn port_of_another_bridge(port: &str, bridge: &str) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("{port} of the previous plugin is a port of another bridge, not of {bridge}"),
    )
    .remedy("name the same \"bridge\" in both plugins of the chain")
}

/// Code 7: the previous plugin has raised what VM mode wants down.
pub fn container_side_is_up(ifname: &str) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("the previous plugin left {ifname} up, \"disableContainerInterface\" wants it down: it may have sent frames already"),
    )
    .remedy("set \"disableContainerInterface\": true in the previous plugin's config (`bridge` has this key), or remove it here")
}

/// Code 7: a tap's MAC is its guest's secret.
pub fn no_mac_to_check(port: &str) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("\"macspoofchk\" needs the MAC behind {port}, which has no interface in the container"),
    )
    .remedy("request the MAC (runtimeConfig.mac), or remove \"macspoofchk\"")
}

/// Code 115: the uplinks, of a bridge that runs STP. `seconds` until the first forwards, where one will.
pub fn uplink_blocked(bridge: &str, uplinks: &[String], seconds: Option<u64>) -> Error {
    let until = match seconds {
        Some(seconds) => format!("it forwards in {seconds} s"),
        None => "STP blocks it".to_string(),
    };
    let remedy = match uplinks {
        [_] => format!("wait, or, {}", stp_off(bridge)),
        _ => "wait; with more than one uplink STP must stay on, or they are a loop".to_string(),
    };
    uplink_not_forwarding(bridge, uplinks, &until).remedy(remedy)
}

/// Code 115: the uplinks, of a bridge that runs no STP.
pub fn uplink_switched_off(bridge: &str, uplinks: &[String], first: &str) -> Error {
    uplink_not_forwarding(
        bridge,
        uplinks,
        "set so by hand or by a spanning tree daemon, the bridge's STP is off",
    )
    .remedy(format!("unless such a daemon runs (it keeps a loop open): bridge link set dev {first} state 3"))
}

fn uplink_not_forwarding(bridge: &str, uplinks: &[String], why: &str) -> Error {
    let uplinks = uplinks.join(", ");
    Error::new(
        Code::NotForwarding,
        format!("no uplink of bridge {bridge} forwards frames ({uplinks}): {why}"),
    )
}
