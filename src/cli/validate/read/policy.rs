//! Node policies: the bridges that they make, and the NICs under these.

use ipnetwork::IpNetwork;

use crate::cli::validate::document::Node;
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Inventory, PolicyBridge, PolicyDevice, PolicyPort};
use crate::net::VlanRange;

impl Inventory {
    pub(super) fn read_policy(&mut self, place: &Place, node: &Node) {
        self.policies += 1;
        let wrong = |line, message: &str, remedy: &str| {
            Finding::new(Severity::Error, "policy", place.at(line), message).remedy(remedy)
        };
        let Some(state) = node.path(&["spec", "desiredState"]) else {
            let misplaced = node.path(&["spec", "interfaces"]);
            let finding = misplaced.map(|found| {
                wrong(
                    found.line,
                    "spec.interfaces is no key of a policy: nothing is set up",
                    "spec.desiredState.interfaces",
                )
            });
            return self.findings.extend(finding);
        };
        if !state.is_map() {
            let message = format!("spec.desiredState is {}, not a map", state.shown());
            let remedy = "write it as YAML, without \"|\" behind the key";
            return self.findings.push(wrong(state.line, &message, remedy));
        }
        let nodes = selector(node);
        for interface in state.list("interfaces") {
            let Some(name) = interface.text("name").filter(|_| interface.text("state") != Some("absent"))
            else {
                continue;
            };
            let (place, nodes) = (place.at(interface.line), nodes.clone());
            if interface.text("type") == Some("linux-bridge") {
                let bridge = self.read_bridge(place, nodes, name, interface);
                self.bridges.push(bridge);
            } else {
                self.devices.push(PolicyDevice {
                    place,
                    nodes,
                    name: name.to_string(),
                    kind: interface.text("type").unwrap_or_default().to_string(),
                    addressed: ["ipv4", "ipv6"].iter().any(|family| is_addressed(interface, family)),
                });
            }
        }
    }

    fn read_bridge(&mut self, place: Place, nodes: String, name: &str, interface: &Node) -> PolicyBridge {
        let bridge = interface.get("bridge");
        let options = interface.path(&["bridge", "options"]);
        let lists = bridge.iter().flat_map(|bridge| ["port", "ports"].map(|key| bridge.list(key)));
        let mut ports = Vec::new();
        for port in lists.flatten() {
            match port.as_text() {
                Some(name) => self.findings.push(
                    Finding::new(
                        Severity::Error,
                        "policy",
                        place.at(port.line),
                        format!("bridge.port has {name:?} where an object belongs"),
                    )
                    .remedy(format!("- name: {name}")),
                ),
                None => ports.push(policy_port(port)),
            }
        }
        PolicyBridge {
            place,
            nodes,
            name: name.to_string(),
            mtu: number(interface, "mtu"),
            addresses: ["ipv4", "ipv6"].iter().flat_map(|key| addresses(interface, key)).collect(),
            stp: options.and_then(|options| truth(options.get("stp")?, "enabled")),
            default_pvid: options
                .and_then(|options| u16::try_from(number(options, "vlan-default-pvid")?).ok())
                .unwrap_or(1),
            ports,
        }
    }
}

/// The node selector as text, in the order of its keys.
fn selector(node: &Node) -> String {
    let entries = node.path(&["spec", "nodeSelector"]).map(Node::entries).unwrap_or_default();
    let mut entries: Vec<String> =
        entries.iter().map(|(key, value)| format!("{key}={}", value.as_text().unwrap_or_default())).collect();
    entries.sort_unstable();
    entries.join(",")
}

/// An integer as nmstate reads it, which takes quoted ones, too (its rust/src/lib/deserializer.rs).
fn number(node: &Node, key: &str) -> Option<i64> {
    node.integer(key).or_else(|| node.text(key)?.parse().ok())
}

/// A truth value as nmstate reads it, in any of the spellings that it knows (same file).
fn truth(node: &Node, key: &str) -> Option<bool> {
    let spelled = || match node.text(key)?.to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    };
    let counted = || match node.integer(key)? {
        1 => Some(true),
        0 => Some(false),
        _ => None,
    };
    node.boolean(key).or_else(spelled).or_else(counted)
}

fn is_addressed(interface: &Node, family: &str) -> bool {
    let Some(settings) = interface.get(family) else { return false };
    let asks = truth(settings, "dhcp") == Some(true) || !settings.list("address").is_empty();
    truth(settings, "enabled") != Some(false) && asks
}

fn addresses(interface: &Node, family: &str) -> Vec<IpNetwork> {
    let Some(settings) = interface.get(family).filter(|settings| truth(settings, "enabled") != Some(false))
    else {
        return Vec::new();
    };
    let read = |address: &Node| {
        let prefix = u8::try_from(number(address, "prefix-length")?).ok()?;
        IpNetwork::new(address.text("ip")?.parse().ok()?, prefix).ok()
    };
    settings.list("address").iter().filter_map(read).collect()
}

/// The VLANs of a port as nmstate sets them: without a `vlan` key kubernetes-nmstate makes it a trunk for all; an empty
/// one turns filtering off.
fn policy_port(port: &Node) -> PolicyPort {
    let range = |first: i64, last: i64| {
        Some(VlanRange { first: u16::try_from(first).ok()?, last: u16::try_from(last).ok()? })
    };
    let all = VlanRange { first: 1, last: 4094 };
    let vlans = match port.get("vlan").filter(|vlan| vlan.is_map()) {
        None => Some(vec![all]),
        Some(vlan) if vlan.entries().is_empty() => None,
        Some(vlan) => {
            let tag = |node: &Node, key| number(node, key).and_then(|id| range(id, id));
            let trunk = vlan.list("trunk-tags").iter().filter_map(|item| match item.get("id-range") {
                Some(ends) => range(number(ends, "min")?, number(ends, "max")?),
                None => tag(item, "id"),
            });
            let mut vlans: Vec<VlanRange> = trunk.chain(tag(vlan, "tag")).collect();
            // The kernel's default VLAN stays where no other takes its place.
            if number(vlan, "tag").is_none() {
                vlans.push(VlanRange { first: 1, last: 1 });
            }
            Some(vlans)
        }
    };
    PolicyPort { line: port.line, name: port.text("name").unwrap_or_default().to_string(), vlans }
}
