//! Rules about virtual machines: interfaces and networks that fit together, and bindings that the networks allow.

use serde_json::Value;

use super::reference;
use crate::cli::validate::finding::{Finding, Severity};
use crate::cli::validate::inventory::{Interface, Inventory, Machine, MachineNetwork, Multus, Network};
use crate::cli::validate::spelling;
use crate::net::MacAddress;

/// `spec.domain.devices.interfaces[]` (KubeVirt's API, v1.Interface).
const INTERFACE_KEYS: [&str; 18] = [
    "name",
    "state",
    "model",
    "bridge",
    "masquerade",
    "sriov",
    "passt",
    "slirp",
    "macvtap",
    "passtBinding",
    "binding",
    "ports",
    "macAddress",
    "bootOrder",
    "pciAddress",
    "dhcpOptions",
    "tag",
    "acpiIndex",
];

/// Judges all machines.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    inventory.machines.iter().flat_map(|machine| judge_one(machine, inventory)).collect()
}

fn judge_one(machine: &Machine, inventory: &Inventory) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        machine.interfaces.iter().flat_map(|interface| judge_interface(machine, interface)).collect();
    findings.extend(same_names(machine));
    for network in &machine.networks {
        findings.extend(judge_network(machine, network, inventory));
    }
    findings.extend(two_defaults(machine));
    findings.extend(disks(machine));
    findings
}

fn judge_interface(machine: &Machine, interface: &Interface) -> Vec<Finding> {
    let name = &interface.name;
    let finding = |severity, rule, message: String| {
        Finding::new(severity, rule, machine.place.at(interface.line), message)
    };
    let mut findings = Vec::new();
    if machine.network(interface).is_none() {
        let known: Vec<&str> = machine.networks.iter().map(|network| network.name.as_str()).collect();
        let message =
            format!("interface {name:?} has no network of that name (networks: {})", known.join(", "));
        findings.push(
            finding(Severity::Error, "interface-without-network", message)
                .remedy("give the entry of spec.networks and the interface the same name"),
        );
    }
    if let Some(mac) = &interface.mac
        && let Err(why) = MacAddress::parse(mac)
    {
        let message = format!("interface {name:?} has macAddress {mac:?}, which is {why}");
        findings.push(
            finding(Severity::Error, "mac-invalid", message)
                .remedy("macAddress: \"02:00:00:00:00:10\", with an even first byte"),
        );
    }
    if interface.bindings.len() > 1 {
        let message = format!("interface {name:?} has two bindings: {}", interface.bindings.join(" and "));
        findings.push(finding(Severity::Error, "two-bindings", message).remedy("keep one of them"));
    }
    for key in &interface.keys {
        if let Some(meant) = spelling::meant(key, INTERFACE_KEYS) {
            let message = format!("interface {name:?} has the unknown key {key:?}");
            findings.push(
                finding(Severity::Error, "interface-key", message).remedy(format!("rename it to {meant:?}")),
            );
        }
    }
    findings
}

fn same_names(machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, interface) in machine.interfaces.iter().enumerate() {
        if machine.interfaces[..index].iter().any(|earlier| earlier.name == interface.name) {
            let message = format!("two interfaces are called {:?}", interface.name);
            let place = machine.place.at(interface.line);
            findings.push(
                Finding::new(Severity::Error, "interface-twice", place, message)
                    .remedy("give each its own name, and a network of that name"),
            );
        }
    }
    findings
}

fn judge_network(machine: &Machine, network: &MachineNetwork, inventory: &Inventory) -> Vec<Finding> {
    let name = &network.name;
    let place = || machine.place.at(network.line);
    let mut findings = Vec::new();
    let interface = machine.interfaces.iter().find(|interface| interface.name == *name);
    if interface.is_none() {
        let message = format!("network {name:?} has no interface of that name");
        findings.push(
            Finding::new(Severity::Error, "network-without-interface", place(), message)
                .remedy("add it to spec.domain.devices.interfaces, or remove the network"),
        );
    }
    let Some(multus) = &network.multus else { return findings };
    let Some(reference) = &multus.reference else {
        findings.push(unnamed(network, multus).at(place()));
        return findings;
    };
    let namespace = machine.identity.namespace.as_deref();
    match (reference::definition(reference, namespace, inventory), interface) {
        (None, _) => findings.push(reference::missing(reference, namespace, inventory, place())),
        (Some(definition), Some(interface)) => {
            findings.extend(binding(machine, interface, definition));
            findings.extend(as_default(multus, definition).map(|finding| finding.at(place())));
        }
        (Some(_), None) => {}
    }
    findings
}

fn unnamed(network: &MachineNetwork, multus: &Multus) -> Draft {
    let key = multus.keys.iter().find(|key| ["name", "network"].contains(&key.as_str()));
    let near = || multus.keys.iter().find(|key| spelling::meant(key, ["networkName"]).is_some());
    let message = match key.or_else(near) {
        Some(key) => format!("network {:?} has multus.{key}, which is no key", network.name),
        None => format!("network {:?} names no NetworkAttachmentDefinition", network.name),
    };
    Draft::new(Severity::Error, "network-name", message, "multus: {networkName: ...}")
}

/// A finding whose place is known to the caller.
struct Draft(Severity, &'static str, String, String);

impl Draft {
    fn new(severity: Severity, rule: &'static str, message: String, remedy: impl Into<String>) -> Self {
        Self(severity, rule, message, remedy.into())
    }

    fn at(self, place: super::super::finding::Place) -> Finding {
        Finding::new(self.0, self.1, place, self.2).remedy(self.3)
    }
}

/// Container runtimes start no pod whose first interface has no address.
fn as_default(multus: &Multus, network: &Network) -> Option<Draft> {
    (multus.default && network.conf().is_some() && !network.has_ipam()).then(|| {
        let message = format!(
            "multus.default is true for {}, which gives no addresses: no runtime starts that pod",
            network.place.subject()
        );
        Draft::new(
            Severity::Error,
            "default-without-address",
            message,
            "keep the pod network as \"pod: {}\", and make this one a second network",
        )
    })
}

/// The pod has one default network.
fn two_defaults(machine: &Machine) -> Option<Finding> {
    let default = |network: &&MachineNetwork| {
        network.pod || network.multus.as_ref().is_some_and(|multus| multus.default)
    };
    let second = machine.networks.iter().filter(default).nth(1)?;
    let message = "there are two default networks: \"pod\" and \"multus.default\" exclude each other";
    let finding = Finding::new(Severity::Error, "two-defaults", machine.place.at(second.line), message);
    Some(finding.remedy("remove \"default: true\", or the pod network"))
}

/// KubeVirt attaches a volume that no disk names, but starts no machine with a disk that has no volume.
fn disks(machine: &Machine) -> Vec<Finding> {
    let volumes: Vec<&str> = machine.volumes.iter().filter_map(|volume| volume.text("name")).collect();
    let without = machine.disks.iter().filter(|(_, name)| !volumes.contains(&name.as_str()));
    let finding = |(line, name): &(usize, String)| {
        let message = format!("disk {name:?} has no volume of that name (volumes: {})", volumes.join(", "));
        Finding::new(Severity::Error, "disk-without-volume", machine.place.at(*line), message)
            .remedy("give the entry of spec.volumes and the disk the same name")
    };
    without.map(finding).collect()
}

/// What the way that KubeVirt joins guest and pod asks of the network.
fn binding(machine: &Machine, interface: &Interface, network: &Network) -> Option<Finding> {
    let name = &interface.name;
    let definition = network.place.subject();
    let finding = |severity, rule, message: String, remedy: &str| {
        Some(Finding::new(severity, rule, machine.place.at(interface.line), message).remedy(remedy))
    };
    let first = network.plugins.first()?;
    let binding = interface.bindings.first().copied();
    match binding {
        Some("masquerade") => {
            let message =
                format!("interface {name:?} has masquerade binding, which is for the pod network only");
            return finding(Severity::Error, "masquerade-on-multus", message, "use \"bridge: {}\"");
        }
        Some("sriov") if network.conf().is_some() => {
            let message =
                format!("interface {name:?} has sriov binding, but {definition} is of type {:?}", first.kind);
            return finding(Severity::Error, "sriov-on-bridge", message, "use \"bridge: {}\"");
        }
        Some("bridge") => {}
        _ => return None,
    }
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
    container_mode(machine, interface, network)
}

/// Bridge binding on a network whose container side is up.
fn container_mode(machine: &Machine, interface: &Interface, network: &Network) -> Option<Finding> {
    let conf = network.conf().filter(|_| {
        network.plugins.iter().all(|plugin| plugin.conf.as_ref().is_none_or(|conf| !conf.vm_mode))
    })?;
    let (name, definition) = (&interface.name, network.place.subject());
    // Another plugin's network is what it is; the finding says what it would be with this one.
    let severity = |own| if network.is_own() { own } else { Severity::Hint };
    let place = machine.place.at(interface.line);
    let ipam = network.plugins.iter().find_map(|plugin| plugin.conf.as_ref()?.ipam.as_ref());
    Some(match ipam.or(conf.ipam.as_ref()) {
        Some(ipam) => {
            let message = format!(
                "interface {name:?} has bridge binding on {definition} with ipam {:?}: KubeVirt's own DHCP server would answer the guest instead of the LAN's",
                ipam.plugin
            );
            Finding::new(severity(Severity::Error), "ipam-for-vm", place, message)
                .remedy(in_the_guest(interface, network))
        }
        None => {
            let message = format!(
                "interface {name:?} has bridge binding on {definition} in container mode: the pod announces the VM's MAC during live migration"
            );
            Finding::new(severity(Severity::Warning), "container-mode-for-vm", place, message)
                .remedy("set \"disableContainerInterface\": true in the network config")
        }
    })
}

/// Where the address belongs instead, as a volume to copy.
fn in_the_guest(interface: &Interface, network: &Network) -> String {
    let mac = interface.mac.as_deref().unwrap_or("02:00:00:00:00:10");
    let mut lines = vec![
        "in the network config replace \"ipam\" by \"disableContainerInterface\": true; the guest sets itself up:".to_string(),
        "- name: cloud-init".into(),
        "  cloudInitNoCloud:".into(),
        "    networkData: |".into(),
        "      version: 2".into(),
        "      ethernets:".into(),
        format!("        {}:", interface.name),
        format!("          match: {{macaddress: \"{mac}\"}}"),
    ];
    match fixed_address(network) {
        Some((address, gateway)) => {
            lines.push(format!("          addresses: [{address}]"));
            lines.extend(
                gateway.map(|gateway| format!("          routes: [{{to: 0.0.0.0/0, via: {gateway}}}]")),
            );
        }
        None => lines.push("          dhcp4: true".into()),
    }
    if interface.mac.is_none() {
        lines.push(format!("and give the interface this macAddress: \"{mac}\""));
    }
    lines.join("\n")
}

/// The first address of `static`, and its gateway.
fn fixed_address(network: &Network) -> Option<(String, Option<String>)> {
    let entry =
        network.plugins.iter().find_map(|plugin| plugin.object.get("ipam")?.get("addresses")?.get(0))?;
    let text = |key| entry.get(key).and_then(Value::as_str).map(str::to_string);
    Some((text("address")?, text("gateway")))
}
