//! Rules about virtual machines: interfaces and networks that fit together, and bindings that the networks allow.

use super::finding::{Finding, Severity};
use super::kinds::{Interface, Inventory, Machine, MachineNetwork, Network};
use crate::net::MacAddress;

/// Judges all machines.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        inventory.machines.iter().flat_map(|machine| judge_one(machine, inventory)).collect();
    findings.extend(same_macs(inventory));
    findings
}

/// The definition that a machine's network means, where the files have it.
pub fn definition<'a>(
    machine: &Machine,
    network: &MachineNetwork,
    inventory: &'a Inventory,
) -> Option<&'a Network> {
    let reference = network.multus.as_deref()?;
    let from = machine.identity.namespace.as_deref();
    let meant = |candidate: &&Network| {
        candidate.identity.as_ref().is_some_and(|identity| identity.is_meant_by(reference, from))
    };
    inventory.networks.iter().find(meant)
}

fn judge_one(machine: &Machine, inventory: &Inventory) -> Vec<Finding> {
    let at = |line| machine.place.at(line);
    let mut findings = Vec::new();
    for interface in &machine.interfaces {
        let name = &interface.name;
        if !machine.networks.iter().any(|network| network.name == *name) {
            let known: Vec<&str> = machine.networks.iter().map(|network| network.name.as_str()).collect();
            let message =
                format!("interface {name:?} has no network of that name (networks: {})", known.join(", "));
            findings.push(
                Finding::new(Severity::Error, "interface-without-network", at(interface.line), message)
                    .remedy("give the entry of spec.networks and the interface the same name"),
            );
        }
        if let Some(mac) = &interface.mac
            && let Err(why) = MacAddress::parse(mac)
        {
            let message = format!("interface {name:?} has macAddress {mac:?}, which is {why}");
            findings.push(Finding::new(Severity::Error, "mac-invalid", at(interface.line), message));
        }
    }
    for network in &machine.networks {
        let name = &network.name;
        let Some(interface) = machine.interfaces.iter().find(|interface| interface.name == *name) else {
            let message = format!("network {name:?} has no interface of that name");
            findings.push(
                Finding::new(Severity::Error, "network-without-interface", at(network.line), message)
                    .remedy("add it to spec.domain.devices.interfaces, or remove the network"),
            );
            continue;
        };
        let Some(reference) = &network.multus else { continue };
        match definition(machine, network, inventory) {
            Some(definition) => findings.extend(binding(machine, interface, definition)),
            None => {
                let message = format!(
                    "no NetworkAttachmentDefinition {reference} in these files: not checked against it"
                );
                findings.push(Finding::new(Severity::Hint, "definition-missing", at(network.line), message));
            }
        }
    }
    findings
}

/// What the way that KubeVirt joins guest and pod asks of the network.
fn binding(machine: &Machine, interface: &Interface, network: &Network) -> Option<Finding> {
    let name = &interface.name;
    let definition = network.place.subject();
    let finding = |severity, rule, message: String, remedy: &str| {
        Some(Finding::new(severity, rule, machine.place.at(interface.line), message).remedy(remedy))
    };
    let binding = interface.binding.as_deref();
    if binding == Some("masquerade") {
        let message = format!("interface {name:?} has masquerade binding, which is for the pod network only");
        return finding(Severity::Error, "masquerade-on-multus", message, "use \"bridge: {}\"");
    }
    if binding != Some("bridge") {
        return None;
    }
    let first = network.plugins.first()?;
    if first.kind == "macvlan" || first.kind == "ipvlan" {
        let message = format!(
            "interface {name:?} has bridge binding on {definition}, whose {} drops frames with the guest's MAC",
            first.kind
        );
        return finding(
            Severity::Error,
            "macvlan-under-bridge-binding",
            message,
            "use a network of type bridge-dhcp with \"disableContainerInterface\": true",
        );
    }
    let conf = network.plugins.iter().find_map(|plugin| plugin.conf.as_ref())?;
    match &conf.ipam {
        _ if conf.vm_mode => None,
        Some(ipam) => finding(
            Severity::Error,
            "ipam-for-vm",
            format!(
                "interface {name:?} has bridge binding on {definition} with ipam {:?}: KubeVirt's own DHCP server would answer the guest instead of the LAN's",
                ipam.plugin
            ),
            "in the network config remove \"ipam\" and set \"disableContainerInterface\": true",
        ),
        None => finding(
            Severity::Warning,
            "container-mode-for-vm",
            format!(
                "interface {name:?} has bridge binding on {definition} in container mode: the pod announces the VM's MAC during live migration"
            ),
            "set \"disableContainerInterface\": true in the network config",
        ),
    }
}

/// Whether two interfaces that differ are told apart by nothing but their MAC: those of one machine, and those of two
/// machines on one network.
fn meet(
    (one, first): (&Machine, &Interface),
    (other, second): (&Machine, &Interface),
    inventory: &Inventory,
) -> bool {
    if std::ptr::eq(one, other) {
        return true;
    }
    // The same machine, and what was made of it to run.
    if one.identity == other.identity && one.place.object != other.place.object {
        return false;
    }
    let network = |machine: &Machine, interface: &Interface| {
        let network = machine.networks.iter().find(|network| network.name == interface.name)?;
        let reference = network.multus.as_deref()?;
        let namespace = machine.identity.namespace.as_deref();
        let full = reference.split_once('/').unwrap_or((namespace.unwrap_or_default(), reference));
        let conf = definition(machine, network, inventory)
            .and_then(|network| network.plugins.iter().find_map(|plugin| plugin.conf.as_ref()));
        let segment = conf.map(|conf| (conf.bridge.to_string(), conf.vlans.clone()));
        Some(((full.0.to_string(), full.1.to_string()), segment))
    };
    let (Some(first), Some(second)) = (network(one, first), network(other, second)) else { return false };
    first.0 == second.0 || (first.1.is_some() && first.1 == second.1)
}

/// One MAC for two interfaces cannot work on one network, and MACs are copied with the files they stand in.
fn same_macs(inventory: &Inventory) -> Vec<Finding> {
    let all = inventory.machines.iter().flat_map(|machine| {
        let known =
            |interface: &'_ Interface| interface.mac.as_deref().and_then(|mac| MacAddress::parse(mac).ok());
        machine.interfaces.iter().filter_map(move |interface| Some((known(interface)?, machine, interface)))
    });
    let all: Vec<_> = all.collect();
    let repeated = all.iter().enumerate().filter_map(|(index, (mac, machine, interface))| {
        let clash = |(earlier, other, second): &&(MacAddress, &Machine, &Interface)| {
            earlier == mac && meet((machine, interface), (other, second), inventory)
        };
        let (_, other, _) = all[..index].iter().find(clash)?;
        let message = format!(
            "interface {:?} has MAC {mac}, as an interface of {} has",
            interface.name, other.place.object
        );
        Some(Finding::new(Severity::Error, "mac-duplicate", machine.place.at(interface.line), message))
    });
    repeated.collect()
}
