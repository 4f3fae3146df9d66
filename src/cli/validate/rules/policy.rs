//! Rules about node policies alone: bridges with a way to the LAN, NICs that are ports of one bridge and nothing else.

use crate::cli::validate::finding::{Finding, Severity};
use crate::cli::validate::inventory::{Inventory, PolicyBridge, PolicyDevice, PolicyPort};
use crate::net::InterfaceName;

/// Judges all bridges of all policies.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let mut findings: Vec<Finding> = inventory.bridges.iter().flat_map(judge_bridge).collect();
    findings.extend(inventory.bridges.iter().flat_map(|bridge| addressed_ports(bridge, inventory)));
    findings.extend(shared_ports(inventory));
    findings
}

fn judge_bridge(bridge: &PolicyBridge) -> Vec<Finding> {
    let name = &bridge.name;
    let finding =
        |severity, rule, message: String| Finding::new(severity, rule, bridge.place.clone(), message);
    let mut findings = Vec::new();
    if InterfaceName::parse(name).is_none() {
        let message = format!(
            "bridge name {name:?} has {} bytes: an interface name has 1 to 15, no '/', ':' or white space",
            name.len()
        );
        findings.push(
            finding(Severity::Error, "bridge-name", message)
                .remedy("give a shorter name, here and in the networks"),
        );
    }
    if bridge.ports.is_empty() {
        let message = format!("bridge {name} has no port: no frame leaves the node");
        findings.push(
            finding(Severity::Warning, "bridge-without-uplink", message).remedy("add the NIC to bridge.port"),
        );
    }
    if bridge.stp != Some(false) {
        let how = if bridge.stp.is_some() { "on" } else { "not set, and on by default" };
        let message =
            format!("STP of bridge {name} is {how}: a new port drops all frames for 30 s, DHCP's too");
        findings.push(
            finding(Severity::Hint, "stp", message)
                .remedy("bridge.options.stp.enabled: false, unless the bridge closes a loop"),
        );
    }
    findings
}

/// A port hands its frames to the bridge: an address on the NIC itself answers nobody.
fn addressed_ports(bridge: &PolicyBridge, inventory: &Inventory) -> Vec<Finding> {
    let is_port = |device: &&PolicyDevice| {
        device.addressed
            && device.nodes == bridge.nodes
            && bridge.ports.iter().any(|port| port.name == device.name)
    };
    let finding = |device: &PolicyDevice| {
        let message =
            format!("{} is a port of bridge {} and has an address of its own", device.name, bridge.name);
        Finding::new(Severity::Error, "port-with-address", device.place.clone(), message)
            .remedy(format!("give the address to {}, as ipv4 or ipv6 of the bridge", bridge.name))
    };
    inventory.devices.iter().filter(is_port).map(finding).collect()
}

/// A NIC is a port of one bridge at a time.
fn shared_ports(inventory: &Inventory) -> Vec<Finding> {
    let all: Vec<(&PolicyBridge, &PolicyPort)> = inventory
        .bridges
        .iter()
        .flat_map(|bridge| bridge.ports.iter().map(move |port| (bridge, port)))
        .collect();
    let repeated = all.iter().enumerate().filter_map(|(index, (bridge, port))| {
        let clash = |(other, second): &&(&PolicyBridge, &PolicyPort)| {
            second.name == port.name && other.name != bridge.name && other.nodes == bridge.nodes
        };
        let (other, _) = all[..index].iter().find(clash)?;
        let message =
            format!("{} is a port of bridge {} and of bridge {}", port.name, other.name, bridge.name);
        let finding =
            Finding::new(Severity::Error, "port-of-two-bridges", bridge.place.at(port.line), message);
        Some(finding.remedy(
            "leave it in one; two VLANs of one NIC need one bridge that filters, or a VLAN device each",
        ))
    });
    repeated.collect()
}
