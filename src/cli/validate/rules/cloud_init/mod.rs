//! Rules about a guest's own network settings, cloud-init's networkData: where it stands, and that it fits VM and bridge.

mod card;
mod data;
mod guest;
mod source;

use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Interface, Inventory, Machine};
use crate::net::MacAddress;
use data::{Card, Match};

/// A machine whose networkData was read.
struct Guest<'a> {
    machine: &'a Machine,
    /// The file that has the networkData: the machine's, or the Secret's.
    place: Place,
    cards: Vec<(Card, Place)>,
}

impl<'a> Guest<'a> {
    /// The interface of the machine that a card sets up, where that is certain.
    fn interface(&self, card: &Card) -> Option<&'a Interface> {
        let interfaces = &self.machine.interfaces;
        match &card.matched {
            Match::Mac(mac) => {
                let mac = MacAddress::parse(mac).ok()?;
                let has =
                    |i: &&Interface| i.mac.as_deref().is_some_and(|text| MacAddress::parse(text) == Ok(mac));
                interfaces.iter().find(has)
            }
            _ if interfaces.len() == 1 => interfaces.first(),
            _ => None,
        }
    }

    fn finding(&self, severity: Severity, rule: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(severity, rule, self.place.clone(), message)
    }
}

/// Judges the networkData of all machines.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut guests = Vec::new();
    for machine in &inventory.machines {
        findings.extend(source::user_data(machine, inventory));
        let (guest, said) = source::network_data(machine, inventory);
        findings.extend(said);
        findings.extend(guest.is_none().then(|| guest::without_data(machine)).flatten());
        guests.extend(guest);
    }
    for guest in &guests {
        for (card, place) in &guest.cards {
            findings.extend(card::judge(guest, card, place, inventory));
        }
        findings.extend(guest::judge(guest, inventory));
    }
    findings.extend(guest::same_addresses(&guests, inventory));
    findings
}
