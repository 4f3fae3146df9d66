//! Rules between networks and the policies that make the nodes' bridges.

use super::finding::{Finding, Severity};
use super::kinds::{Inventory, PolicyBridge, PolicyPort};
use crate::cni::config::NetConf;
use crate::net::VlanRange;
use crate::net::vlan::merged;

/// Judges all bridges, and all networks on them.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let mut findings: Vec<Finding> = inventory.bridges.iter().flat_map(judge_bridge).collect();
    if inventory.policies == 0 {
        return findings;
    }
    for network in &inventory.networks {
        for conf in network.plugins.iter().filter_map(|plugin| plugin.conf.as_ref()) {
            let name = conf.bridge.as_str();
            let made: Vec<&PolicyBridge> = inventory.bridges.iter().filter(|b| b.name == name).collect();
            if made.is_empty() && !conf.create_bridge {
                let known: Vec<&str> = inventory.bridges.iter().map(|bridge| bridge.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
                let message =
                    format!("no policy in these files makes bridge {name} (bridges that they make: {known})");
                findings.push(
                    Finding::new(Severity::Warning, "bridge-without-policy", network.place.clone(), message)
                        .remedy("correct \"bridge\", or add it to a NodeNetworkConfigurationPolicy"),
                );
            }
            let place = || network.place.clone();
            findings.extend(made.iter().flat_map(|bridge| {
                let of_network =
                    |(severity, rule, message, remedy): (Severity, &'static str, String, String)| {
                        Finding::new(severity, rule, place(), message).remedy(remedy)
                    };
                [vlans(conf, bridge), mtu(conf, bridge)]
                    .into_iter()
                    .flatten()
                    .map(of_network)
                    .collect::<Vec<_>>()
            }));
        }
    }
    findings
}

fn judge_bridge(bridge: &PolicyBridge) -> Vec<Finding> {
    let mut findings = Vec::new();
    if bridge.ports.is_empty() {
        let message = format!("bridge {} has no port: no frame leaves the node", bridge.name);
        findings.push(
            Finding::new(Severity::Warning, "bridge-without-uplink", bridge.place.clone(), message)
                .remedy("add the NIC to bridge.port"),
        );
    }
    if bridge.stp != Some(false) {
        let how = if bridge.stp.is_some() { "on" } else { "not set, and on by default" };
        let message = format!(
            "STP of bridge {} is {how}: a new port drops all frames for 30 s, DHCP's too",
            bridge.name
        );
        findings.push(
            Finding::new(Severity::Hint, "stp", bridge.place.clone(), message)
                .remedy("bridge.options.stp.enabled: false, unless the bridge closes a loop"),
        );
    }
    findings
}

type Judgement = (Severity, &'static str, String, String);

/// Whether the frames of the network's VLANs leave the node, as far as its policy says.
fn vlans(conf: &NetConf, bridge: &PolicyBridge) -> Option<Judgement> {
    let wanted = conf.vlans.as_ref()?;
    let filtered: Vec<(&PolicyPort, &Vec<VlanRange>)> =
        bridge.ports.iter().filter_map(|port| Some((port, port.vlans.as_ref()?))).collect();
    if bridge.ports.is_empty() {
        return None;
    }
    if filtered.is_empty() {
        return Some((
            Severity::Error,
            "vlan-filtering-off",
            format!(
                "VLAN {} on bridge {}, whose policy turns VLAN filtering off (\"vlan: {{}}\")",
                wanted.native, bridge.name
            ),
            "remove the empty \"vlan\" of the bridge's ports, or give them the VLANs".into(),
        ));
    }
    let passes = |id: u16| filtered.iter().any(|(_, ranges)| ranges.iter().any(|range| range.contains(id)));
    // The native VLAN of a trunk is often the node's own affair.
    let asked: Vec<u16> = if wanted.tagged.is_empty() {
        vec![wanted.native]
    } else {
        wanted.tagged.iter().flat_map(|range| range.first..=range.last).collect()
    };
    let missing = asked.into_iter().filter(|id| !passes(*id)).map(VlanRange::single);
    let missing = merged(missing.collect());
    if missing.is_empty() {
        return None;
    }
    let ports: Vec<&str> = filtered.iter().map(|(port, _)| port.name.as_str()).collect();
    Some((
        Severity::Error,
        "vlan-not-in-trunk",
        format!(
            "VLAN {} passes no port of bridge {} (ports: {})",
            VlanRange::listed(&missing),
            bridge.name,
            ports.join(", ")
        ),
        format!(
            "add it to trunk-tags of {} in the policy ({}:{})",
            ports.join(" or "),
            bridge.place.file,
            bridge.place.line
        ),
    ))
}

fn mtu(conf: &NetConf, bridge: &PolicyBridge) -> Option<Judgement> {
    let (wanted, given) = (i64::from(conf.mtu?), bridge.mtu?);
    (wanted > given).then(|| {
        (
            Severity::Error,
            "mtu-larger-than-bridge",
            format!("\"mtu\" is {wanted}, but the policy gives bridge {} {given}", bridge.name),
            "lower it, or raise the bridge's and its uplink's".into(),
        )
    })
}
