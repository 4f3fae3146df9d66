//! Rules about the cards of a machine together, and about those of several machines.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::super::{reference, segment};
use super::Guest;
use super::data::{Card, Match};
use crate::cli::validate::finding::{Finding, Severity};
use crate::cli::validate::inventory::{Interface, Inventory, Machine};
use crate::net::cidr;

/// Judges the cards of a guest against each other and against the machine's interfaces.
pub fn judge(guest: &Guest, inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    if guest.cards.is_empty() && !guest.machine.interfaces.is_empty() {
        let message = "networkData sets up no card, and keeps cloud-init from asking for DHCP by itself";
        findings.push(
            guest
                .finding(Severity::Warning, "network-data-nothing", message)
                .remedy("ethernets: {enp1s0: {dhcp4: true}}, or no networkData at all"),
        );
    }
    findings.extend(default_routes(guest));
    findings.extend(same_subnet(guest));
    findings.extend(left_out(guest, inventory));
    findings
}

/// Two cards, and no networkData: cloud-init sets up the first.
pub fn without_data(machine: &Machine) -> Option<Finding> {
    let by_cloud_init = machine.volumes.iter().find(|volume| {
        ["cloudInitNoCloud", "cloudInitConfigDrive"].iter().any(|kind| {
            volume.get(kind).is_some_and(|source| {
                ["networkData", "networkDataBase64", "networkDataSecretRef"]
                    .iter()
                    .all(|key| source.get(key).is_none())
            })
        })
    })?;
    let present: Vec<&Interface> = machine.interfaces.iter().filter(|interface| !interface.away).collect();
    let second = present.get(1)?;
    let message = format!(
        "without networkData cloud-init sets up the first card only, not interface {:?}",
        second.name
    );
    Some(Finding::new(Severity::Hint, "card-left-out", machine.place.at(by_cloud_init.line), message).remedy(
        "add networkData with an entry for each interface, unless the image sets up all cards by itself",
    ))
}

/// Of two default routes with one metric the guest takes either.
fn default_routes(guest: &Guest) -> Option<Finding> {
    let finding = |severity, (one, other): (&Card, &Card), what: &str| {
        let message =
            format!("networkData gives {:?} and {:?} a default route each, {what}", one.name, other.name);
        guest
            .finding(severity, "two-default-routes", message)
            .remedy("on one of them: dhcp4-overrides: {use-routes: false}, no gateway, or a higher metric")
    };
    if let Some(both) = rivals(guest, |card| card.dhcp_route) {
        return Some(finding(Severity::Warning, both, "both by DHCP"));
    }
    if let Some(both) = rivals(guest, gateway_v4).or_else(|| rivals(guest, gateway_v6)) {
        return Some(finding(Severity::Warning, both, "of the same metric"));
    }
    let cards = || guest.cards.iter().map(|(card, _)| card);
    let by_dhcp = cards().find(|card| card.dhcp_route.is_some())?;
    let other = cards().find(|card| card.name != by_dhcp.name && gateway_v4(card).is_some())?;
    Some(finding(Severity::Hint, (by_dhcp, other), "the first by DHCP: the other outweighs it"))
}

/// Two cards whose routes have the same metric, or none both.
fn rivals<'a>(guest: &'a Guest, metric: fn(&Card) -> Option<Option<i64>>) -> Option<(&'a Card, &'a Card)> {
    let routed: Vec<(&Card, Option<i64>)> =
        guest.cards.iter().filter_map(|(card, _)| Some((card, metric(card)?))).collect();
    routed.iter().enumerate().find_map(|(index, (card, metric))| {
        let (earlier, _) = routed[..index].iter().find(|(_, other)| other == metric)?;
        Some((*earlier, *card))
    })
}

fn gateway_v4(card: &Card) -> Option<Option<i64>> {
    card.gateways.iter().find(|gateway| gateway.ip.is_ipv4()).map(|gateway| gateway.metric)
}

fn gateway_v6(card: &Card) -> Option<Option<i64>> {
    card.gateways.iter().find(|gateway| gateway.ip.is_ipv6()).map(|gateway| gateway.metric)
}

/// Linux answers for one subnet on one card, whichever the frame came in.
fn same_subnet(guest: &Guest) -> Option<Finding> {
    let all: Vec<(&Card, IpNetwork)> = guest
        .cards
        .iter()
        .flat_map(|(card, _)| {
            card.addresses.iter().filter_map(move |text| Some((card, cidr::parse(text).ok()?)))
        })
        .collect();
    let whole = |network: &IpNetwork| (network.network(), network.prefix());
    let (card, network, other) = all.iter().enumerate().find_map(|(index, (card, network))| {
        let clash = |(earlier, theirs): &&(&Card, IpNetwork)| {
            earlier.name != card.name && whole(theirs) == whole(network)
        };
        Some((card, network, all[..index].iter().find(clash)?.0))
    })?;
    let (address, prefix) = whole(network);
    let message = format!(
        "networkData gives {:?} and {:?} addresses of one subnet, {address}/{prefix}",
        other.name, card.name
    );
    Some(
        guest
            .finding(Severity::Warning, "same-subnet", message)
            .remedy("give both addresses to one card, or the other card none"),
    )
}

/// networkData keeps cloud-init from setting up what it does not name.
fn left_out(guest: &Guest, inventory: &Inventory) -> Vec<Finding> {
    let cards = || guest.cards.iter().map(|(card, _)| card);
    if guest.cards.is_empty() || cards().any(|card| card.matched == Match::Pattern) {
        return Vec::new();
    }
    let present = |interface: &&Interface| {
        let bridged = interface.bindings.is_empty()
            || interface.bindings.iter().any(|binding| matches!(*binding, "bridge" | "masquerade" | "passt"));
        bridged && !interface.away
    };
    let all: Vec<&Interface> = guest.machine.interfaces.iter().filter(present).collect();
    let named = |interface: &&Interface| {
        cards().any(|card| guest.interface(card).is_some_and(|own| own.name == interface.name))
    };
    let unnamed: Vec<&Interface> = all.iter().filter(|interface| !named(interface)).copied().collect();
    // A card that is known by its name in the guest may be any of them.
    let by_name = cards().filter(|card| guest.interface(card).is_none()).count();
    let missing = unnamed.len().saturating_sub(by_name);
    // A trunk is a router's or an appliance's, which sets itself up.
    let candidates = unnamed.into_iter().filter(|interface| !is_trunk(guest.machine, interface, inventory));
    let finding = |interface: &Interface| {
        let message = format!(
            "networkData says nothing of interface {:?}: the guest leaves that card without an address",
            interface.name
        );
        let mac = interface.mac.as_deref().unwrap_or("...");
        Finding::new(Severity::Warning, "card-left-out", guest.machine.place.at(interface.line), message)
            .remedy(format!(
                "ethernets: {{{}: {{match: {{macaddress: \"{mac}\"}}, dhcp4: true}}}}",
                interface.name
            ))
    };
    // Which of several is left out is certain only where MACs name the others; the last ones are the likely ones.
    let mut candidates: Vec<&Interface> = candidates.collect();
    let first = candidates.len().saturating_sub(missing);
    candidates.drain(first..).map(finding).collect()
}

fn is_trunk(machine: &Machine, interface: &Interface, inventory: &Inventory) -> bool {
    let conf = reference::of(machine, interface, inventory).and_then(|network| network.conf());
    conf.and_then(|conf| conf.vlans.as_ref()).is_some_and(|vlans| !vlans.tagged.is_empty())
}

/// One address for two machines works for neither, and addresses are copied with the files they stand in.
pub fn same_addresses(guests: &[Guest], inventory: &Inventory) -> Vec<Finding> {
    let all: Vec<(IpAddr, &Guest, &Card, &Interface)> = guests
        .iter()
        .flat_map(|guest| {
            let addressed = guest.cards.iter().filter_map(|(card, _)| Some((card, guest.interface(card)?)));
            addressed.flat_map(move |(card, interface)| {
                let parsed = card.addresses.iter().filter_map(|text| cidr::parse(text).ok());
                parsed.map(move |address| (address.ip(), guest, card, interface))
            })
        })
        .collect();
    let repeated = all.iter().enumerate().filter_map(|(index, (ip, guest, card, interface))| {
        let clash = |(earlier, other, _, second): &&(IpAddr, &Guest, &Card, &Interface)| {
            earlier == ip
                && !std::ptr::eq(*other, *guest)
                && segment::is_shared((guest.machine, interface), (other.machine, second), inventory)
        };
        let (_, other, ..) = all[..index].iter().find(clash)?;
        let message = format!(
            "networkData of {:?}: {ip} is also the address of {}",
            card.name, other.machine.place.object
        );
        Some(guest.finding(Severity::Error, "address-duplicate", message).remedy("give each machine its own"))
    });
    repeated.collect()
}
