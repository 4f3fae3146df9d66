//! Secrets, as far as they hold cloud-init's data.

use super::decoded;
use crate::cli::validate::document::Node;
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Identity, Inventory, Secret};

impl Inventory {
    pub(super) fn read_secret(&mut self, place: Place, identity: Identity, node: &Node) {
        let mut entries = Vec::new();
        // What stringData has, data loses.
        for (key, value) in node.get("stringData").map(Node::entries).unwrap_or_default() {
            entries.push((key.clone(), value.line, value.as_text().unwrap_or_default().to_string()));
        }
        for (key, value) in node.get("data").map(Node::entries).unwrap_or_default() {
            match decoded(value.as_text().unwrap_or_default()) {
                Ok(text) => entries.push((key.clone(), value.line, text)),
                // Certificates and the like are nobody's text.
                Err(why) if key.to_lowercase().contains("network") => self.findings.push(Finding::new(
                    Severity::Error,
                    "network-data",
                    place.at(value.line),
                    format!("data.{key} {why}"),
                )),
                Err(_) => {}
            }
        }
        self.secrets.push(Secret { place, identity, entries });
    }
}
