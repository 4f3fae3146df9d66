//! Rules about what there may be only one of: an object of a name, a MAC on a network.

use std::collections::HashMap;

use super::segment;
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Interface, Inventory, Machine};
use crate::net::MacAddress;

/// Judges everything against what stands before it.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let mut findings = same_objects(inventory);
    findings.extend(same_macs(inventory));
    findings
}

/// Of two objects with one name, the one that is applied last is left.
fn same_objects(inventory: &Inventory) -> Vec<Finding> {
    let mut seen: HashMap<&str, &Place> = HashMap::new();
    let repeated = inventory.named.iter().filter_map(|place| {
        let earlier = seen.insert(&place.object, place)?;
        let message = format!(
            "{} is also in {}:{}: the one that is applied last is left",
            place.object, earlier.file, earlier.line
        );
        Some(
            Finding::new(Severity::Warning, "object-twice", place.clone(), message)
                .remedy("remove one, or rename it"),
        )
    });
    repeated.collect()
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
            earlier == mac && segment::is_shared((machine, interface), (other, second), inventory)
        };
        let (_, other, _) = all[..index].iter().find(clash)?;
        let message = format!(
            "interface {:?} has MAC {mac}, as an interface of {} has",
            interface.name, other.place.object
        );
        let finding =
            Finding::new(Severity::Error, "mac-duplicate", machine.place.at(interface.line), message);
        Some(finding.remedy("give each its own, or leave macAddress out"))
    });
    repeated.collect()
}
