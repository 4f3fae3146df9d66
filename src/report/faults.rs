//! The errors about the node, in the words that the pod's event shows.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use crate::kernel::netlink::Refusal;
use crate::plan::facts::Link;
use crate::plan::names::Label;
use crate::plan::step::{Step, Undo};
use crate::report::{Code, Error};
use crate::request::environment::Attachment;
use crate::request::mac::MacAddress;
use crate::request::netconf::DEADLINE_MAX;
use crate::request::vlan::VlanRange;

/// Smallest MTU of a link that carries IPv6 (RFC 8200 section 5).
pub const IPV6_MTU_MIN: u32 = 1280;

/// How many uplinks are written out where all of them are meant: a bridge may have hundreds of ports.
pub const UPLINKS_MAX: usize = 8;

/// What the kernel's EPERM asks for: namespaces are entered and made (CAP_SYS_ADMIN), links changed (CAP_NET_ADMIN), and
/// the probe's frames sent (CAP_NET_RAW).
const PRIVILEGES: &str = "run it as root of the node with CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: a debug container needs all of them";

/// Code 124: what the kernel refused while it was being looked at.
pub fn unseen(what: &str, refusal: &Refusal) -> Error {
    let error = Error::new(Code::Kernel, format!("cannot read {what}: {refusal}"));
    if refusal.errno == Errno::EPERM { error.remedy(PRIVILEGES) } else { error }
}

/// Code 8, or 124 where the kernel lets this process into no namespace at all. `why` says what was tried.
pub fn no_netns(path: &Path, why: &str, refusal: &io::Error) -> Error {
    let shown = path.display();
    if refusal.raw_os_error() == Some(Errno::EPERM as i32) {
        return Error::new(Code::Kernel, format!("may not enter CNI_NETNS {shown}: {refusal}"))
            .remedy(PRIVILEGES);
    }
    Error::new(Code::InvalidNetns, format!("CNI_NETNS {shown} {why}: {refusal}"))
        .remedy("the container is gone or was never there: let the runtime make a new sandbox")
}

/// Code 124: what was made a port of the bridge.
pub fn no_port_any_more(port: &str, bridge: &str) -> Error {
    Error::new(
        Code::Kernel,
        format!("{port} is no port of bridge {bridge} any more: somebody changed the bridge or its ports meanwhile"),
    )
    .remedy("see who else configures the bridge: ip monitor link")
}

/// Code 124: the lock of an attachment, a bridge or a gateway.
pub fn no_lock(whose: &str, error: &io::Error) -> Error {
    Error::new(Code::Kernel, format!("cannot take the {whose}'s lock: {error}"))
}

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

/// A name as a shell takes it. Whoever writes the network config chooses it, and somebody else pastes the command.
pub(super) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    match name.chars().all(plain) {
        true => name.to_string(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

/// Code 100: a bridge that was there when it was planned for.
pub fn vanished(bridge: &str) -> Error {
    Error::new(Code::BridgeMissing, format!("{bridge} has vanished"))
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
pub fn vlan_filtering_off(bridge: &str, native: u16) -> Error {
    Error::new(
        Code::VlanFilteringOff,
        format!("bridge {bridge} has vlan_filtering off, so VLAN {native} would not isolate"),
    )
    .remedy(format!("ip link set {} type bridge vlan_filtering 1", quoted(bridge)))
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

/// Code 124: an IPv6 address on a kernel that was booted without IPv6.
pub fn without_ipv6(step: &Step) -> Error {
    Error::new(Code::Kernel, format!("cannot {step}: this node's kernel runs without IPv6"))
        .remedy("boot the node without ipv6.disable=1, or take the IPv6 ranges out of \"ipam\"")
}

/// Code 7: `BRIDGE.VLAN` is no interface name.
pub fn vlan_gateway_name(name: &str) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("the gateway's interface {name} would have a name longer than 15 characters"),
    )
    .remedy("use a shorter bridge name, or no \"vlan\" together with \"isGateway\"")
}

/// Code 107.
pub fn interface_exists(ifname: &str, host: &str, host_exists: bool) -> Error {
    if host_exists {
        Error::new(
            Code::InterfaceExists,
            format!("interface {ifname} of this container is attached already: its host side {host} exists"),
        )
        .remedy("call DEL for this container and interface first")
    } else {
        Error::new(Code::InterfaceExists, format!("interface {ifname} already exists in the container"))
            .remedy("use another interface name, or remove that interface first")
    }
}

/// Code 108.
pub fn port_limit(bridge: &str) -> Error {
    Error::new(
        Code::PortLimit,
        format!("bridge {bridge} has no free port left: it has 1023, the kernel's limit"),
    )
    .remedy("use a second bridge, or schedule fewer attachments on this node")
}

/// Code 115: the bridge's STP keeps a new port from forwarding until the deadline is over.
pub fn too_slow_for_dhcp(bridge: &str, delay: Duration, deadline: Duration) -> Error {
    let fact = format!(
        "bridge {bridge} runs STP: a new port forwards only after {} s, the deadline of {} s is over by then, and IPAM is \"dhcp\"",
        delay.as_secs(),
        deadline.as_secs_f32()
    );
    let off =
        format!("ip link set {} type bridge stp_state 0 (unless the bridge closes a loop)", quoted(bridge));
    // What lies beyond the delay is for the lease.
    let enough = DEADLINE_MAX.min(delay + Duration::from_secs(15));
    Error::new(Code::NotForwarding, fact).remedy(match enough > delay {
        true => format!("{off}, or raise \"deadline\" to \"{}s\" (at most \"60s\")", enough.as_secs()),
        false => off,
    })
}

/// ADD has used up its deadline: code 121 where the IPAM plugin `awaited` has not answered, 115 where the port does not
/// forward, else 122 with the step that was being carried out.
pub fn too_late(deadline: Duration, awaited: Option<&str>, current: Option<&Step>) -> Error {
    let seconds = deadline.as_secs_f32();
    if let Some(plugin) = awaited {
        return Error::new(
            Code::Ipam,
            format!("IPAM plugin {plugin:?} did not answer within the deadline of {seconds} s"),
        )
        .remedy("ask it by hand with the same config, or raise \"deadline\" (at most \"60s\")");
    }
    let expired = format!("deadline of {seconds} s expired");
    match current {
        Some(Step::RaisePort { port, await_forwarding: true }) => Error::new(
            Code::NotForwarding,
            format!(
                "port {port} did not start forwarding within {seconds} s: the bridge still drops its frames"
            ),
        )
        .evidence(format!("ip -d link show {port} shows the port's state")),
        Some(step) => Error::new(Code::Deadline, format!("{expired}, trying to {step}")),
        None => Error::new(Code::Deadline, expired),
    }
    .remedy("raise \"deadline\" (at most \"60s\") if the node is just slow")
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

/// Code 7: nothing to chain to.
pub fn no_host_side(candidates: &[String]) -> Error {
    let found = if candidates.is_empty() { "none".to_string() } else { candidates.join(", ") };
    Error::new(
        Code::InvalidConfig,
        format!("\"prevResult\" names no single host-side veth or tap to put on the bridge (found: {found})"),
    )
    .remedy("chain after a plugin that makes a veth pair or a tap, such as ptp or bridge, or remove the previous plugin")
}

/// Code 109.
pub fn duplicate_mac(mac: MacAddress, port: &Link, bridge: &str) -> Error {
    let owner =
        port.alias.as_deref().and_then(Label::from_alias).map(|label| format!(" of {}", label.owner()));
    Error::new(
        Code::DuplicateMac,
        format!(
            "MAC {mac} is in use on port {} of bridge {bridge} already{}",
            port.name,
            owner.unwrap_or_default()
        ),
    )
    .remedy(
        "give this interface another MAC; `bridge fdb show` lists the addresses that the bridge has learned",
    )
}

/// Code 109: the MAC of a port, or of the bridge itself.
pub fn mac_of_the_node(mac: MacAddress, link: &Link, bridge: &str) -> Error {
    let whose = match link.name == bridge {
        true => format!("bridge {bridge}"),
        false => format!("port {} of bridge {bridge}", link.name),
    };
    Error::new(
        Code::DuplicateMac,
        format!("MAC {mac} is the own address of {whose}: frames to it end on this node"),
    )
    .remedy("give this interface another MAC")
}

/// Code 11.
pub fn still_running(attachment: &Attachment) -> Error {
    Error::new(
        Code::TryAgainLater,
        format!(
            "an ADD for container {} interface {} is still running",
            attachment.container, attachment.ifname
        ),
    )
    .remedy("call again when it has ended; its deadline is 60 s at the most")
}

/// Code 126.
pub fn aborted(why: &str) -> Error {
    Error::new(Code::Aborted, format!("ADD was aborted {why}"))
        .remedy("the runtime calls ADD again if the container still wants it")
}

/// Code 124: the kernel's own words about a step.
pub fn refused(step: &Step, refusal: &Refusal) -> Error {
    let error = Error::new(Code::Kernel, format!("cannot {step}: {refusal}"));
    match refusal.errno {
        Errno::EPERM => error.remedy(PRIVILEGES),
        _ => error,
    }
}

/// Code 120: the kernel's own words about a change to the ruleset.
pub fn nftables_refused(step: &Step, refusal: &Refusal) -> Error {
    let error = Error::new(Code::Nftables, format!("cannot {step}: nftables says {refusal}"));
    match refusal.errno {
        Errno::EPERM => error.remedy(PRIVILEGES),
        Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => error.remedy(
            "load the kernel's modules: modprobe -a nf_tables nft_chain_nat nft_masq; `nft list ruleset` shows whether it has nftables",
        ),
        _ => error.evidence("`nft list ruleset` shows what is there"),
    }
}

/// Code 125.
pub fn remains(host: &str, refusal: &Refusal) -> Error {
    Error::new(Code::CleanupFailed, format!("cannot remove {host}: {refusal}"))
        .remedy(format!("ip link del {host}"))
}

/// Code 125: nftables rules.
pub fn rules_remain(undo: &Undo, refusal: &Refusal) -> Error {
    Error::new(Code::CleanupFailed, format!("cannot {undo}: {refusal}"))
}

/// Code 125: all that a collection had to leave, one line each.
pub fn stale_remain(lines: &[String]) -> Error {
    lines.iter().fold(
        Error::new(Code::CleanupFailed, format!("{} stale attachments could not be removed", lines.len())),
        Error::evidence,
    )
}

/// Code 123.
pub fn differs(host: &str, differences: &[String]) -> Error {
    differences.iter().fold(
        Error::new(Code::CheckFailed, format!("host side {host} differs: {}", differences.join("; "))),
        |error, difference| error.evidence(difference),
    )
}
