//! Where a machine's networkData stands: in the machine, in base64, or in a Secret of the same files.

use super::Guest;
use super::data::{self, Data};
use crate::cli::validate::document::{Node, parse};
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Inventory, Machine, Secret};
use crate::cli::validate::read::decoded;

const CONFIG_DRIVE: &str = "cloudInitConfigDrive";
const KINDS: [&str; 2] = ["cloudInitNoCloud", CONFIG_DRIVE];
/// The keys of a Secret that KubeVirt looks for, for networkData and for userData.
const NETWORK_KEYS: [&str; 2] = ["networkdata", "networkData"];
const USER_KEYS: [&str; 2] = ["userdata", "userData"];

/// Text with the place of each of its lines.
struct Text<'a> {
    text: String,
    place: Place,
    /// The node that is the text, where it stands in a file as it is.
    node: Option<&'a Node>,
}

impl Text<'_> {
    fn at(&self, line: usize) -> Place {
        self.node.map_or_else(|| self.place.clone(), |node| self.place.at(node.line_of(line)))
    }
}

/// Reads a machine's networkData; none where there is none, or none that says anything about cards.
pub fn network_data<'a>(machine: &'a Machine, inventory: &Inventory) -> (Option<Guest<'a>>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut guest = None;
    for (kind, source) in sources(machine) {
        let text = match texts(source, machine, inventory) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(finding) => {
                findings.push(*finding);
                continue;
            }
        };
        match data::read(&text.text, kind == CONFIG_DRIVE) {
            Ok(Data::OpenStack) => findings.push(unread(text.place, "OpenStack's form of networkData")),
            Ok(Data::Disabled) => {}
            Ok(Data::Empty) => findings.push(Finding::new(
                Severity::Hint,
                "network-data-nothing",
                text.place,
                "networkData is empty: cloud-init asks for DHCP on the first card only",
            )),
            Ok(Data::Cards(cards, faults)) => {
                let wrong = |fault: data::Fault| {
                    let message = format!("networkData: {}", fault.message);
                    Finding::new(Severity::Error, "network-data", text.at(fault.line), message)
                        .remedy(fault.remedy)
                };
                findings.extend(faults.into_iter().map(wrong));
                let cards = cards.into_iter().map(|card| {
                    let place = text.at(card.line);
                    (card, place)
                });
                guest = Some(Guest { machine, cards: cards.collect(), place: text.place.clone() });
            }
            Err((line, why)) => {
                let message = format!("networkData {why}");
                findings.push(Finding::new(Severity::Error, "network-data", text.at(line), message));
            }
        }
    }
    (guest, findings)
}

/// Whether userData sets up the network, which cloud-init does not look for there.
pub fn user_data(machine: &Machine, inventory: &Inventory) -> Vec<Finding> {
    let judge = |(_, source): (&str, &Node)| {
        let plain = source.get("userData");
        let (text, place) = match (plain, source.text("userDataBase64"), source.path(&["secretRef", "name"]))
        {
            (Some(node), ..) => (node.as_text()?.to_string(), machine.place.at(node.line)),
            (None, Some(encoded), _) => (decoded(encoded).ok()?, machine.place.clone()),
            (None, None, name) => {
                let secret = secret(machine, name?.as_text()?, inventory)?;
                let (_, line, text) =
                    secret.entries.iter().find(|(key, ..)| USER_KEYS.contains(&key.as_str()))?;
                (text.clone(), secret.place.at(*line))
            }
        };
        let documents = parse(&text).ok().filter(|_| text.trim_start().starts_with("#cloud-config"))?;
        let network = documents.first()?.get("network")?;
        let place = plain.map_or(place, |node| machine.place.at(node.line_of(network.line)));
        let message = "userData has \"network\", which cloud-init looks for in networkData only";
        Some(
            Finding::new(Severity::Warning, "network-in-user-data", place, message)
                .remedy("write what is below it to networkData, beside userData"),
        )
    };
    sources(machine).filter_map(judge).collect()
}

fn sources(machine: &Machine) -> impl Iterator<Item = (&'static str, &Node)> {
    let of_volume = |volume| KINDS.into_iter().filter_map(move |kind| Some((kind, Node::get(volume, kind)?)));
    machine.volumes.iter().flat_map(of_volume)
}

fn texts<'a>(
    source: &'a Node,
    machine: &'a Machine,
    inventory: &Inventory,
) -> Result<Option<Text<'a>>, Box<Finding>> {
    let text = |node: &Node| {
        node.as_text().map(str::to_string).ok_or_else(|| format!("is {}, not text", node.shown()))
    };
    let wrong = |node: &Node, why: String| {
        let place = machine.place.at(node.line);
        Box::new(
            Finding::new(Severity::Error, "network-data", place, format!("networkData {why}"))
                .remedy("write it as a block, \"networkData: |\""),
        )
    };
    if let Some(node) = source.get("networkData") {
        let text = text(node).map_err(|why| wrong(node, why))?;
        return Ok(Some(Text { text, place: machine.place.at(node.line), node: Some(node) }));
    }
    if let Some(node) = source.get("networkDataBase64") {
        let text = text(node).and_then(|text| decoded(&text)).map_err(|why| wrong(node, why))?;
        return Ok(Some(Text { text, place: machine.place.at(node.line), node: None }));
    }
    let Some(reference) = source.get("networkDataSecretRef") else { return Ok(None) };
    let place = machine.place.at(reference.line);
    let name = reference.text("name").unwrap_or_default();
    match secret(machine, name, inventory) {
        Some(secret) => of_secret(secret, place).map(Some),
        None => Err(Box::new(unread(
            place,
            &format!("Secret {name:?} of networkDataSecretRef is not in these files: it"),
        ))),
    }
}

fn of_secret<'a>(secret: &Secret, place: Place) -> Result<Text<'a>, Box<Finding>> {
    match secret.entries.iter().find(|(key, ..)| NETWORK_KEYS.contains(&key.as_str())) {
        Some((_, line, text)) => Ok(Text { text: text.clone(), place: secret.place.at(*line), node: None }),
        None => {
            let keys: Vec<&str> = secret.entries.iter().map(|(key, ..)| key.as_str()).collect();
            let message =
                format!("{} has no key \"networkdata\" (keys: {})", secret.place.subject(), keys.join(", "));
            let finding = Finding::new(Severity::Error, "network-data", place, message);
            Err(Box::new(finding.remedy("call the key networkdata")))
        }
    }
}

fn secret<'a>(machine: &Machine, name: &str, inventory: &'a Inventory) -> Option<&'a Secret> {
    let here = machine.identity.namespace.as_deref();
    let fits = |secret: &&Secret| {
        let theirs = secret.identity.namespace.as_deref();
        secret.identity.name == name && (here.is_none() || theirs.is_none() || here == theirs)
    };
    inventory.secrets.iter().find(fits)
}

fn unread(place: Place, what: &str) -> Finding {
    Finding::new(Severity::Hint, "network-data-unread", place, format!("{what} is not looked into"))
}
