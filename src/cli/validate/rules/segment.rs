//! Whether two cards of machines are on one LAN.

use super::reference;
use crate::cli::validate::inventory::{Interface, Inventory, Machine};
use crate::net::Vlans;

/// An interface of a machine.
pub type Card<'a> = (&'a Machine, &'a Interface);

/// Whether two interfaces that differ are told apart by nothing but MAC and address: those of one machine, and those of two
/// machines on one network.
pub fn is_shared((one, first): Card, (other, second): Card, inventory: &Inventory) -> bool {
    if std::ptr::eq(one, other) {
        return true;
    }
    // The same machine, and what was made of it to run.
    if one.identity == other.identity && one.place.object != other.place.object {
        return false;
    }
    let (Some(first), Some(second)) = (network((one, first), inventory), network((other, second), inventory))
    else {
        return false;
    };
    first.name == second.name || (first.wire.is_some() && first.wire == second.wire)
}

#[derive(PartialEq)]
struct Segment {
    /// Namespace and name of the definition, whether the files have it or not.
    name: (String, String),
    /// Bridge and VLANs, where the files say them.
    wire: Option<(String, Option<Vlans>)>,
}

fn network((machine, interface): Card, inventory: &Inventory) -> Option<Segment> {
    let reference = machine.network(interface)?.reference()?;
    let namespace = machine.identity.namespace.as_deref();
    let (in_namespace, name) =
        reference.split_once('/').unwrap_or((namespace.unwrap_or_default(), reference));
    let conf = reference::of(machine, interface, inventory).and_then(|network| network.conf());
    Some(Segment {
        name: (in_namespace.to_string(), name.to_string()),
        wire: conf.map(|conf| (conf.bridge.to_string(), conf.vlans.clone())),
    })
}
