//! Rules about what networks ask of bridges and what node policies make of these.

use crate::cli::validate::finding::{Finding, Severity};
use crate::cli::validate::inventory::{Inventory, Network, PolicyBridge, PolicyPort};
use crate::cli::validate::spelling;
use crate::cni::config::NetConf;
use crate::net::vlan::merged;
use crate::net::{VlanRange, Vlans};

/// Judges all networks against the bridges of the policies.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let confs = inventory.networks.iter().filter_map(|network| Some((network, network.conf()?)));
    confs.flat_map(|(network, conf)| judge_network(network, conf, inventory)).collect()
}

fn judge_network(network: &Network, conf: &NetConf, inventory: &Inventory) -> Vec<Finding> {
    let named = |bridge: &&PolicyBridge| bridge.name == conf.bridge.as_str();
    let bridges: Vec<&PolicyBridge> = inventory.bridges.iter().filter(named).collect();
    if bridges.is_empty() {
        return without_policy(network, conf, inventory).into_iter().collect();
    }
    let asked = network.plugins.iter().find_map(|plugin| plugin.conf.as_ref()?.vlans.as_ref());
    let judge = |bridge: &PolicyBridge| {
        let of_vlans = asked.map_or_else(|| default_vlan(bridge), |wanted| vlans(wanted, bridge));
        let said = [of_vlans, mtu(conf, bridge)];
        let finding = |(severity, rule, message, remedy): Judgement| {
            Finding::new(severity, rule, network.place.clone(), message).remedy(remedy)
        };
        said.into_iter().flatten().map(finding).collect::<Vec<_>>()
    };
    bridges.into_iter().flat_map(judge).collect()
}

/// No policy of the files makes the bridge, though there are some.
fn without_policy(network: &Network, conf: &NetConf, inventory: &Inventory) -> Option<Finding> {
    if inventory.policies == 0 || conf.create_bridge {
        return None;
    }
    let bridge = conf.bridge.as_str();
    let finding =
        |severity, rule, message: String| Finding::new(severity, rule, network.place.clone(), message);
    if let Some(device) = inventory.devices.iter().find(|device| device.name == bridge) {
        let message = format!("{bridge} is of type {:?} in the policy, not \"linux-bridge\"", device.kind);
        let under = inventory.bridges.iter().find(|other| other.ports.iter().any(|port| port.name == bridge));
        let remedy = match under {
            Some(over) => format!("\"bridge\": {:?}, of which {bridge} is a port", over.name),
            None => "make it a linux-bridge, or name another bridge".into(),
        };
        return Some(finding(Severity::Error, "not-a-linux-bridge", message).remedy(remedy));
    }
    let message = format!("no policy in these files makes bridge {bridge}");
    let names = || inventory.bridges.iter().map(|bridge| bridge.name.as_str());
    let port_of = inventory.bridges.iter().find(|other| other.ports.iter().any(|port| port.name == bridge));
    let remedy =
        match port_of.map(|over| over.name.as_str()).or_else(|| spelling::meant_name(bridge, names())) {
            Some(meant) => format!("\"bridge\": {meant:?}, if that is meant"),
            None => format!(
                "name one of theirs ({}), or give the policy that makes it, too",
                names().collect::<Vec<_>>().join(", ")
            ),
        };
    Some(finding(Severity::Warning, "bridge-without-policy", message).remedy(remedy))
}

type Judgement = (Severity, &'static str, String, String);

/// The ports whose VLANs the policy sets; the bridge filters where there is one.
fn filtered(bridge: &PolicyBridge) -> Vec<(&PolicyPort, &Vec<VlanRange>)> {
    bridge.ports.iter().filter_map(|port| Some((port, port.vlans.as_ref()?))).collect()
}

fn names(ports: &[(&PolicyPort, &Vec<VlanRange>)], between: &str) -> String {
    ports.iter().map(|(port, _)| port.name.as_str()).collect::<Vec<_>>().join(between)
}

/// Whether the frames of the network's VLANs leave the node, as far as its policy says.
fn vlans(wanted: &Vlans, bridge: &PolicyBridge) -> Option<Judgement> {
    if bridge.ports.is_empty() {
        return None;
    }
    let filtered = filtered(bridge);
    if filtered.is_empty() {
        return Some((
            Severity::Error,
            "vlan-filtering-off",
            format!(
                "the network wants VLAN {} on bridge {}, whose policy turns VLAN filtering off (\"vlan: {{}}\")",
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
    Some((
        Severity::Error,
        "vlan-not-in-trunk",
        format!(
            "VLAN {} passes no port of bridge {} (ports: {})",
            VlanRange::listed(&missing),
            bridge.name,
            names(&filtered, ", ")
        ),
        format!(
            "add it to trunk-tags of {} in the policy ({}:{})",
            names(&filtered, " or "),
            bridge.place.file,
            bridge.place.line
        ),
    ))
}

/// A network without VLANs is in the bridge's default one, and the uplink may be in another.
fn default_vlan(bridge: &PolicyBridge) -> Option<Judgement> {
    let filtered = filtered(bridge);
    let id = bridge.default_pvid;
    let passes = filtered.iter().any(|(_, ranges)| ranges.iter().any(|range| range.contains(id)));
    if filtered.is_empty() || filtered.len() < bridge.ports.len() || passes {
        return None;
    }
    let carried: Vec<VlanRange> = filtered.iter().flat_map(|(_, ranges)| ranges.iter().copied()).collect();
    Some((
        Severity::Warning,
        "default-vlan-not-on-uplink",
        format!(
            "without \"vlan\" the network is in VLAN {id} of bridge {}, whose ports ({}) carry {} only",
            bridge.name,
            names(&filtered, ", "),
            VlanRange::listed(&merged(carried.clone()))
        ),
        carried.first().map_or_else(
            || "give the network a \"vlan\"".to_string(),
            |range| format!("\"vlan\": {}, or another that the uplink carries", range.first),
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
