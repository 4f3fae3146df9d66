//! Which NetworkAttachmentDefinition a name in a machine or pod means.

use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Identity, Interface, Inventory, Machine, Network};
use crate::cli::validate::spelling;

/// The definition that `reference` (`name` or `namespace/name`), made in the namespace `from`, means, where the files have
/// it. What has no namespace in the file gets it when it is applied, so it fits any.
pub fn definition<'a>(reference: &str, from: Option<&str>, inventory: &'a Inventory) -> Option<&'a Network> {
    let (namespace, name) = split(reference, from);
    let meant = |identity: &Identity| identity.name == name && fits(identity, namespace);
    inventory.networks.iter().find(|network| network.identity.as_ref().is_some_and(meant))
}

/// The definition of a machine's interface, where the files have it.
pub fn of<'a>(machine: &Machine, interface: &Interface, inventory: &'a Inventory) -> Option<&'a Network> {
    let reference = machine.network(interface)?.reference()?;
    definition(reference, machine.identity.namespace.as_deref(), inventory)
}

/// That the files do not have it, and which of theirs is likely to be meant.
pub fn missing(reference: &str, from: Option<&str>, inventory: &Inventory, place: Place) -> Finding {
    let (namespace, name) = split(reference, from);
    let known: Vec<&Identity> =
        inventory.networks.iter().filter_map(|network| network.identity.as_ref()).collect();
    // A namespace that is written is meant, unless it is a slip.
    let near = |identity: &Identity| match (reference.split_once('/'), &identity.namespace) {
        (Some((wanted, _)), Some(own)) => spelling::meant_name(wanted, [own.as_str()]).is_some(),
        _ => true,
    };
    let named = || known.iter().find(|identity| identity.name == name && near(identity));
    // Names have no dots where they were made with care; who writes one separates a namespace.
    let dotted = || known.iter().find(|identity| name.split('.').skip(1).any(|part| part == identity.name));
    let slipped = || {
        let near = known.iter().filter(|identity| fits(identity, namespace));
        let meant = spelling::meant_name(name, near.map(|identity| identity.name.as_str()))?;
        known.iter().find(|identity| identity.name == meant)
    };
    match named().or_else(slipped).or_else(dotted) {
        Some(other) => {
            let message =
                format!("there is no NetworkAttachmentDefinition {reference} in these files, but {other}");
            Finding::new(Severity::Warning, "definition-elsewhere", place, message)
                .remedy(format!("write {other}, if that is meant"))
        }
        None => {
            let message = format!(
                "NetworkAttachmentDefinition {reference} is not in these files: not checked against it"
            );
            Finding::new(Severity::Hint, "definition-missing", place, message)
        }
    }
}

fn split<'a>(reference: &'a str, from: Option<&'a str>) -> (Option<&'a str>, &'a str) {
    reference.split_once('/').map_or((from, reference), |(namespace, name)| (Some(namespace), name))
}

fn fits(identity: &Identity, namespace: Option<&str>) -> bool {
    let same = |own: &String| namespace.is_none_or(|wanted| wanted == own);
    identity.namespace.as_ref().is_none_or(same)
}
