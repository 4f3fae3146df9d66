//! Rules about one card: its MAC is an interface's, its addresses and gateways are the network's.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::super::reference;
use super::Guest;
use super::data::{Card, Gateway, Match};
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Interface, Inventory, Machine};
use crate::net::MacAddress;
use crate::net::cidr;

/// Judges a card.
pub fn judge(guest: &Guest, card: &Card, place: &Place, inventory: &Inventory) -> Vec<Finding> {
    let on = On { card, place };
    let mut findings: Vec<Finding> = faults(&on);
    findings.extend(on_mac(&on, guest));
    findings.extend(on_nothing(&on));
    let networks: Vec<IpNetwork> = card.addresses.iter().filter_map(|text| cidr::parse(text).ok()).collect();
    let wrong = card.addresses.iter().filter_map(|text| cidr::parse(text).err());
    findings
        .extend(wrong.map(|why| on.error("network-data-address", why).remedy("addresses: [10.77.0.10/24]")));
    findings.extend(networks.iter().filter_map(|network| on_host(&on, *network)));
    findings.extend(card.gateways.iter().filter_map(|gateway| on_gateway(&on, gateway.clone(), &networks)));
    if let Some(interface) = guest.interface(card) {
        findings.extend(on_network(&on, guest.machine, interface, &networks, inventory));
        findings.extend(on_vlans(&on, guest.machine, interface, inventory));
    }
    findings
}

/// The card that a finding is about.
struct On<'a> {
    card: &'a Card,
    place: &'a Place,
}

impl On<'_> {
    fn error(&self, rule: &'static str, fact: impl std::fmt::Display) -> Finding {
        self.finding(Severity::Error, rule, fact)
    }

    fn finding(&self, severity: Severity, rule: &'static str, fact: impl std::fmt::Display) -> Finding {
        Finding::new(
            severity,
            rule,
            self.place.clone(),
            format!("networkData of {:?}: {fact}", self.card.name),
        )
    }
}

fn faults(on: &On) -> Vec<Finding> {
    let fault =
        |fault: &super::data::Fault| on.error("network-data", &fault.message).remedy(fault.remedy.clone());
    on.card.faults.iter().map(fault).collect()
}

/// cloud-init finds the card by this MAC, or leaves it alone.
fn on_mac(on: &On, guest: &Guest) -> Option<Finding> {
    let Match::Mac(written) = &on.card.matched else { return by_name(on) };
    let mac = match MacAddress::parse(written) {
        Ok(mac) => mac,
        Err(why) => return Some(on.error("network-data-mac", format_args!("MAC {written:?} is {why}"))),
    };
    if guest.interface(on.card).is_some() {
        return None;
    }
    let unset = guest.machine.interfaces.iter().find(|interface| interface.mac.is_none());
    Some(match unset {
        Some(interface) => on
            .error(
                "network-data-mac",
                format_args!(
                    "it is for MAC {mac}, but interface {:?} has no macAddress and gets a random one",
                    interface.name
                ),
            )
            .remedy(format!("macAddress: \"{mac}\"")),
        None => on
            .error("network-data-mac", format_args!("it is for MAC {mac}, which no interface of the VM has"))
            .remedy("give both the same MAC; cloud-init leaves a card alone that it does not find"),
    })
}

/// Images that use udev's names have no eth0.
fn by_name(on: &On) -> Option<Finding> {
    let number = on.card.name.strip_prefix("eth")?;
    let old = on.card.matched == Match::Name
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit());
    old.then(|| {
        on.finding(
            Severity::Hint,
            "network-data-name",
            "without \"match\" this is the card's name, which is enp1s0 in most images",
        )
        .remedy("match: {macaddress: ...} with the interface's macAddress")
    })
}

fn on_nothing(on: &On) -> Option<Finding> {
    let card = on.card;
    let set = card.dhcp4 || card.dhcp6 || card.carries || card.idle || !card.addresses.is_empty();
    (!set && card.faults.is_empty()).then(|| {
        on.finding(Severity::Warning, "network-data-nothing", "it has neither DHCP nor an address")
            .remedy("dhcp4: true, or addresses; optional: true, if it is to have none")
    })
}

/// The first and the last address of an IPv4 subnet are nobody's.
fn on_host(on: &On, network: IpNetwork) -> Option<Finding> {
    let IpNetwork::V4(v4) = network else { return None };
    let what = match v4.ip() {
        _ if v4.prefix() > 30 => return None,
        ip if ip == v4.network() => "the subnet's own address",
        ip if ip == v4.broadcast() => "the subnet's broadcast address",
        _ => return None,
    };
    Some(
        on.error("network-data-address", format_args!("{network} is {what}"))
            .remedy("give an address between"),
    )
}

fn on_gateway(on: &On, gateway: Gateway, networks: &[IpNetwork]) -> Option<Finding> {
    let ip = gateway.ip;
    if networks.iter().any(|network| network.ip() == ip) {
        let finding =
            on.error("network-data-gateway", format_args!("gateway {ip} is the card's own address"));
        return Some(finding.remedy("give the router's address as gateway"));
    }
    let of_family = networks.iter().any(|network| network.is_ipv4() == ip.is_ipv4());
    // IPv6 routers are known by their link-local address (RFC 4861, section 4.2), which is in no subnet of the LAN's.
    let everywhere = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if !of_family || everywhere || networks.iter().any(|network| network.contains(ip)) {
        return None;
    }
    let subnets = on.card.addresses.join(", ");
    Some(
        on.error("network-data-gateway", format_args!("gateway {ip} is in none of its subnets ({subnets})"))
            .remedy("give a gateway in the subnet, or correct the address and its prefix length"),
    )
}

/// What is known of the network's subnets.
fn on_network(
    on: &On,
    machine: &Machine,
    interface: &Interface,
    networks: &[IpNetwork],
    inventory: &Inventory,
) -> Vec<Finding> {
    let expected = subnets(machine, interface, inventory);
    let mut findings = Vec::new();
    for address in networks {
        let known: Vec<&(IpNetwork, String)> =
            expected.iter().filter(|(subnet, _)| subnet.is_ipv4() == address.is_ipv4()).collect();
        if let Some((_, whose)) =
            known.iter().find(|(subnet, whose)| subnet.ip() == address.ip() && whose.starts_with("bridge"))
        {
            let fact = format!("{} is the address of {whose}", address.ip());
            findings
                .push(on.error("network-data-address", fact).remedy("give the guest an address of its own"));
        }
        if !known.is_empty() && !known.iter().any(|(subnet, _)| subnet.contains(address.ip())) {
            let all: Vec<String> = known
                .iter()
                .map(|(subnet, whose)| format!("{}/{} of {whose}", subnet.network(), subnet.prefix()))
                .collect();
            let fact = format!("{address} is outside of {}", all.join(" and "));
            findings.push(on.error("network-data-address", fact).remedy("give an address in the subnet"));
        }
    }
    findings
}

/// The subnets that are known to be on a machine's network, and how each is known.
fn subnets(machine: &Machine, interface: &Interface, inventory: &Inventory) -> Vec<(IpNetwork, String)> {
    let definition = reference::of(machine, interface, inventory);
    let Some(conf) = definition.and_then(|network| network.conf()) else { return Vec::new() };
    let probed = conf.dhcp_probe.iter().flat_map(|probe| &probe.subnets);
    let probed = probed.map(|subnet| (*subnet, "\"dhcpProbe.subnets\"".to_string()));
    // In a VLAN of its own the network has other subnets than the bridge's device.
    let untagged = conf.vlans.as_ref().is_none_or(|vlans| vlans.native == 1);
    let bridges = inventory.bridges.iter().filter(|bridge| untagged && bridge.name == conf.bridge.as_str());
    let of_bridges =
        bridges.flat_map(|bridge| bridge.addresses.iter().map(|a| (*a, format!("bridge {}", bridge.name))));
    probed.chain(of_bridges).collect()
}

/// Frames that the guest tags reach the LAN where the port carries their VLAN tagged.
fn on_vlans(on: &On, machine: &Machine, interface: &Interface, inventory: &Inventory) -> Vec<Finding> {
    let Some(network) = reference::of(machine, interface, inventory) else { return Vec::new() };
    let Some(port) = network.plugins.iter().find_map(|plugin| plugin.conf.as_ref()?.vlans.as_ref()) else {
        return Vec::new();
    };
    let carried = |id: i64| {
        port.tagged.iter().any(|range| (i64::from(range.first)..=i64::from(range.last)).contains(&id))
    };
    let finding = |id: &i64| {
        let subject = network.place.subject();
        if *id == i64::from(port.native) {
            let fact = format!("the guest tags VLAN {id}, which {subject} gives it untagged");
            return on
                .error("guest-vlan", fact)
                .remedy("give the address to the card itself, without a VLAN on it");
        }
        let fact = format!("the guest tags VLAN {id}, which {subject} does not carry");
        on.error("guest-vlan", fact).remedy(format!("\"vlanTrunk\": [{{\"id\": {id}}}]"))
    };
    on.card.vlans.iter().filter(|id| !carried(**id)).map(finding).collect()
}
