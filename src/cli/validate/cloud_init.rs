//! Rules about a guest's own network settings, cloud-init networkData: MAC and addresses that fit VM and bridge.

use std::net::IpAddr;

use data_encoding::BASE64;
use ipnetwork::IpNetwork;

use super::document::{Node, parse};
use super::finding::{Finding, Place, Severity};
use super::kinds::{Inventory, Machine};
use super::machine::definition;
use crate::net::{MacAddress, cidr};

/// One network card as the guest is told to set it up.
struct Card {
    name: String,
    mac: Option<String>,
    /// Addresses with prefix length, as written.
    addresses: Vec<String>,
    gateways: Vec<IpAddr>,
}

/// Judges the networkData of all machines.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let of_machine = |machine| judge_machine(machine, inventory);
    inventory.machines.iter().flat_map(of_machine).collect()
}

fn judge_machine(machine: &Machine, inventory: &Inventory) -> Vec<Finding> {
    const CONFIG_DRIVE: &str = "cloudInitConfigDrive";
    let kinds = ["cloudInitNoCloud", CONFIG_DRIVE];
    let of_volume = |volume| kinds.into_iter().filter_map(move |kind| Some((kind, Node::get(volume, kind)?)));
    let mut findings = Vec::new();
    for (kind, source) in machine.volumes.iter().flat_map(of_volume) {
        let unread = |node: &Node, what: &str| {
            let message = format!("{what} is not looked into");
            Finding::new(Severity::Hint, "network-data-unread", machine.place.at(node.line), message)
        };
        findings.extend(source.get("networkDataSecretRef").map(|node| unread(node, "networkDataSecretRef")));
        let text = |node: &Node| node.as_text().map(str::to_string).ok_or("is no text".to_string());
        let plain = source.get("networkData").map(|node| (node, text(node)));
        let encoded = source.get("networkDataBase64");
        let encoded = encoded.map(|node| (node, text(node).and_then(|text| decoded(&text))));
        for (node, text) in plain.into_iter().chain(encoded) {
            let place = machine.place.at(node.line);
            match text.and_then(|text| network_data(&text, kind == CONFIG_DRIVE)) {
                Ok(Data::OpenStack) => findings.push(unread(node, "OpenStack's form of networkData")),
                Ok(Data::Cards(cards)) => {
                    let judge = |card: &Card| judge_card(card, machine, inventory, &place);
                    findings.extend(cards.iter().flat_map(judge));
                }
                Err(why) => {
                    let message = format!("networkData {why}");
                    findings.push(Finding::new(Severity::Error, "network-data", place, message));
                }
            }
        }
    }
    findings
}

/// Text in base64, with line breaks anywhere, as Kubernetes reads it.
fn decoded(text: &str) -> Result<String, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let bytes = BASE64.decode(&digits).map_err(|error| format!("is no base64: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "is base64 of what is no text".into())
}

/// What networkData says.
enum Data {
    /// How these cards are set up.
    Cards(Vec<Card>),
    /// What OpenStack's metadata service would say, which is not looked into.
    OpenStack,
}

/// Reads version 1 and 2 of cloud-init's network config, with or without the key `network` around it; a config drive may
/// have OpenStack's network_data.json instead.
fn network_data(text: &str, config_drive: bool) -> Result<Data, String> {
    let documents = parse(text).map_err(|(line, why)| format!("{why} (line {line} of it)"))?;
    let Some(root) = documents.first().filter(|root| !root.is_null()) else {
        return Ok(Data::Cards(Vec::new()));
    };
    let openstack = ["links", "networks"].iter().any(|key| root.get(key).is_some());
    let root = root.get("network").unwrap_or(root);
    match root.integer("version") {
        Some(1) => {
            let cards = root.list("config").iter().filter(|card| card.text("type") == Some("physical"));
            Ok(Data::Cards(cards.map(card_v1).collect()))
        }
        Some(2) => {
            let cards = root.get("ethernets").map(Node::entries).unwrap_or_default();
            Ok(Data::Cards(cards.iter().map(|(name, card)| card_v2(name, card)).collect()))
        }
        _ if root.text("config") == Some("disabled") => Ok(Data::Cards(Vec::new())),
        _ if openstack && config_drive => Ok(Data::OpenStack),
        _ => Err("has no \"version: 1\" or \"version: 2\"".into()),
    }
}

fn card_v1(card: &Node) -> Card {
    let subnets = card.list("subnets");
    let address = |subnet: &Node| {
        let address = subnet.text("address")?;
        let mask = subnet.text("netmask").and_then(|mask| mask.parse().ok());
        match mask.and_then(|mask| ipnetwork::ip_mask_to_prefix(mask).ok()) {
            Some(prefix) if !address.contains('/') => Some(format!("{address}/{prefix}")),
            _ => Some(address.to_string()),
        }
    };
    Card {
        name: card.text("name").unwrap_or_default().to_string(),
        mac: card.text("mac_address").map(str::to_string),
        addresses: subnets.iter().filter_map(address).collect(),
        gateways: subnets.iter().filter_map(|subnet| subnet.text("gateway")?.parse().ok()).collect(),
    }
}

fn card_v2(name: &str, card: &Node) -> Card {
    let routes = card.list("routes").iter().filter(|route| {
        matches!(route.text("to"), Some("default" | "0.0.0.0/0" | "::/0"))
            && route.boolean("on-link") != Some(true)
    });
    let old = ["gateway4", "gateway6"].into_iter().filter_map(|key| card.text(key));
    Card {
        name: name.to_string(),
        mac: card.path(&["match", "macaddress"]).and_then(Node::as_text).map(str::to_string),
        addresses: card.list("addresses").iter().filter_map(Node::as_text).map(str::to_string).collect(),
        gateways: old
            .chain(routes.filter_map(|route| route.text("via")))
            .filter_map(|ip| ip.parse().ok())
            .collect(),
    }
}

fn judge_card(card: &Card, machine: &Machine, inventory: &Inventory, place: &Place) -> Vec<Finding> {
    let mut findings = Vec::new();
    let error = |rule, message: String| Finding::new(Severity::Error, rule, place.clone(), message);
    let name = &card.name;
    let wanted = card.mac.as_deref().map(MacAddress::parse);
    let has = |mac: MacAddress| {
        machine
            .interfaces
            .iter()
            .find(|i| i.mac.as_deref().is_some_and(|text| MacAddress::parse(text) == Ok(mac)))
    };
    let interface = match wanted {
        Some(Ok(mac)) => has(mac),
        Some(Err(_)) => None,
        None if machine.interfaces.len() == 1 => machine.interfaces.first(),
        None => None,
    };
    match (wanted, interface) {
        (Some(Err(why)), _) => {
            let mac = card.mac.as_deref().unwrap_or_default();
            findings.push(error(
                "network-data-mac",
                format!("networkData of {name:?} has MAC {mac:?}, which is {why}"),
            ));
        }
        (Some(Ok(mac)), None) => {
            let unset = machine.interfaces.iter().find(|interface| interface.mac.is_none());
            findings.push(match unset {
                Some(interface) => error(
                    "network-data-mac",
                    format!("networkData of {name:?} is for MAC {mac}, but interface {:?} has no macAddress and gets a random one", interface.name),
                )
                .remedy(format!("macAddress: {mac}")),
                None => error(
                    "network-data-mac",
                    format!("networkData of {name:?} is for MAC {mac}, which no interface of the VM has"),
                )
                .remedy("cloud-init then leaves the card alone: give both the same MAC"),
            });
        }
        _ => {}
    }

    let mut networks = Vec::new();
    for text in &card.addresses {
        match cidr::parse(text) {
            Ok(network) => networks.push(network),
            Err(why) => {
                findings.push(error("network-data-address", format!("networkData of {name:?}: {why}")))
            }
        }
    }
    let of_family = |gateway: &IpAddr| networks.iter().any(|network| network.is_ipv4() == gateway.is_ipv4());
    for gateway in card.gateways.iter().filter(|gateway| of_family(gateway)) {
        if !networks.iter().any(|network| network.contains(*gateway)) {
            let message = format!(
                "networkData of {name:?} has gateway {gateway}, which is in none of its subnets ({})",
                card.addresses.join(", ")
            );
            findings.push(error("network-data-gateway", message));
        }
    }
    let Some(interface) = interface else { return findings };
    let Some(network) = machine.networks.iter().find(|network| network.name == interface.name) else {
        return findings;
    };
    let expected = subnets(machine, network, inventory);
    for address in &networks {
        let known: Vec<&(IpNetwork, String)> =
            expected.iter().filter(|(subnet, _)| subnet.is_ipv4() == address.is_ipv4()).collect();
        if let Some((_, whose)) =
            known.iter().find(|(subnet, whose)| subnet.ip() == address.ip() && whose.starts_with("bridge"))
        {
            findings.push(error(
                "network-data-address",
                format!("networkData of {name:?} has {}, the address of {whose}", address.ip()),
            ));
        }
        if !known.is_empty() && !known.iter().any(|(subnet, _)| subnet.contains(address.ip())) {
            let all: Vec<String> = known
                .iter()
                .map(|(subnet, whose)| format!("{}/{} of {whose}", subnet.network(), subnet.prefix()))
                .collect();
            findings.push(error(
                "network-data-address",
                format!("networkData of {name:?} has {address}, outside of {}", all.join(" and ")),
            ));
        }
    }
    findings
}

/// The subnets that are known to be on a machine's network, and how each is known.
fn subnets(
    machine: &Machine,
    network: &super::kinds::MachineNetwork,
    inventory: &Inventory,
) -> Vec<(IpNetwork, String)> {
    let Some(definition) = definition(machine, network, inventory) else { return Vec::new() };
    let confs: Vec<_> = definition.plugins.iter().filter_map(|plugin| plugin.conf.as_ref()).collect();
    let probed = confs
        .iter()
        .filter_map(|conf| conf.dhcp_probe.as_ref())
        .flat_map(|probe| probe.subnets.iter().map(|subnet| (*subnet, "\"dhcpProbe.subnets\"".to_string())));
    // In a VLAN of its own the network has other subnets than the bridge's device.
    let untagged = confs.iter().filter(|conf| conf.vlans.as_ref().is_none_or(|vlans| vlans.native == 1));
    let of_bridges = untagged.flat_map(|conf| {
        let bridges = inventory.bridges.iter().filter(|bridge| bridge.name == conf.bridge.as_str());
        bridges.flat_map(|bridge| bridge.addresses.iter().map(|a| (*a, format!("bridge {}", bridge.name))))
    });
    probed.chain(of_bridges).collect()
}
