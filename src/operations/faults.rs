//! The words for how an operation ends when neither its plan nor a single step is to blame.

use std::time::Duration;

use crate::cni::environment::Attachment;
use crate::error::{Code, Error, quoted};
use crate::kernel::netlink::Refusal;
use crate::net::{Link, MacAddress};
use crate::plan::label::Label;
use crate::plan::step::Step;
use crate::plan::undo::Undo;

/// Code 124: what was made a port of the bridge.
pub fn no_port_any_more(port: &str, bridge: &str) -> Error {
    Error::new(
        Code::Kernel,
        format!("{port} is no port of bridge {bridge} any more: somebody changed the bridge or its ports meanwhile"),
    )
    .remedy("see who else configures the bridge: ip monitor link")
}

/// Code 100: a bridge that was there when it was planned for.
pub fn vanished(bridge: &str) -> Error {
    Error::new(Code::BridgeMissing, format!("{bridge} has vanished"))
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

/// Code 7: nothing to chain to.
pub fn no_host_side(candidates: &[String]) -> Error {
    let found = if candidates.is_empty() { "none".to_string() } else { candidates.join(", ") };
    Error::new(
        Code::InvalidConfig,
        format!("\"prevResult\" names no single host-side veth or tap to put on the bridge (found: {found})"),
    )
    .remedy("chain after a plugin that makes a veth pair or a tap, such as ptp or bridge, or remove the previous plugin")
}

/// Code 7: an interface that the previous result should not name.
pub fn anothers_port(port: &str, why: &str) -> Error {
    Error::new(Code::InvalidConfig, format!("\"prevResult\" names {port}, which {why}: it is not put on the bridge"))
        .remedy("remove \"prevResult\" from the network config: the runtime adds that of the previous plugin by itself")
}

/// Code 107: the name that the host side would get.
pub fn name_taken(name: &str, link: &Link) -> Error {
    let kind = link.kind.as_deref().unwrap_or("hardware");
    let remedy = match link.name == name {
        true => format!("ip link set {name} name NEW"),
        false => format!("ip link property del dev {} altname {name}", quoted(&link.name)),
    };
    Error::new(
        Code::InterfaceExists,
        format!("the {kind} interface {} has the name {name}, which this attachment needs", link.name),
    )
    .remedy(remedy)
    .evidence("it is no attachment of bridge-dhcp, so DEL leaves it alone")
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

/// Code 5: the result of an ADD that is taken back for it.
pub fn untold(error: &std::io::Error) -> Error {
    Error::new(Code::Io, format!("cannot write the result to standard output: {error}"))
        .remedy("nothing is attached: call ADD again with an output that takes the result")
}

/// Code 126.
pub fn aborted(why: &str) -> Error {
    Error::new(Code::Aborted, format!("ADD was aborted {why}"))
        .remedy("the runtime calls ADD again if the container still wants it")
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
