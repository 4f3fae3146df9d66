//! Network configs, in NetworkAttachmentDefinitions and as files.

use serde_json::{Map, Value};

use super::{json, syntax};
use crate::cli::validate::document::Node;
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{ALIKE, Identity, Inventory, Network, OWN_TYPE, Plugin};
use crate::cli::validate::spelling;
use crate::cni::config::NetConf;

/// What stands around a config.
pub struct Frame {
    place: Place,
    identity: Option<Identity>,
    resource: Option<String>,
    vlan_label: Option<String>,
}

impl Frame {
    /// A file that holds nothing but a config.
    pub fn plain(place: Place) -> Self {
        Self { place, identity: None, resource: None, vlan_label: None }
    }
}

impl Inventory {
    pub(super) fn read_definition(&mut self, place: Place, identity: Identity, node: &Node) {
        let annotation = |key| node.path(&["metadata", "annotations"])?.text(key).map(str::to_string);
        let label = |key| node.path(&["metadata", "labels"])?.text(key).map(str::to_string);
        let Some(config) = node.path(&["spec", "config"]) else {
            return self.findings.push(without_config(place, node.get("spec")));
        };
        let frame = Frame {
            place: place.at(config.line),
            identity: Some(identity),
            resource: annotation("k8s.v1.cni.cncf.io/resourceName"),
            vlan_label: label("network.harvesterhci.io/vlan-id"),
        };
        let Some(text) = config.as_text() else {
            let finding = syntax(frame.place, "spec.config is no text, but YAML of its own");
            return self.findings.push(finding.remedy("write it as a block, \"config: |\", with JSON in it"));
        };
        match json::object(text) {
            Ok((object, twice)) => {
                self.stands_twice(frame.place.clone(), twice);
                self.read_config(frame, object);
            }
            Err(mistake) => {
                self.unreadable(place.at(config.line_of(mistake.line)), "spec.config", &mistake);
            }
        }
    }

    pub(super) fn read_config(&mut self, frame: Frame, object: Map<String, Value>) {
        let config_name = object.get("name").and_then(Value::as_str).map(str::to_string);
        let plugins = match object.get("plugins") {
            Some(Value::Array(plugins)) => {
                let shared = ["name", "cniVersion"].map(|key| (key, object.get(key).cloned()));
                let with_shared = |plugin: &Map<String, Value>| {
                    shared.iter().fold(plugin.clone(), |mut plugin, (key, value)| {
                        plugin.extend(value.clone().map(|value| ((*key).to_string(), value)));
                        plugin
                    })
                };
                plugins.iter().filter_map(Value::as_object).map(with_shared).collect()
            }
            Some(_) => {
                let message = "config key \"plugins\" is no list";
                let finding = Finding::new(Severity::Error, "config", frame.place, message);
                return self.findings.push(finding.remedy("\"plugins\": [ {\"type\": ...}, ... ]"));
            }
            None => vec![object],
        };
        let plugins = plugins.into_iter().map(|object| {
            let kind = object.get("type").and_then(Value::as_str).unwrap_or_default().to_string();
            let readable = kind == OWN_TYPE || ALIKE.contains(&kind.as_str());
            let conf = if readable { NetConf::parse(&object).ok() } else { None };
            Plugin { kind, object, conf }
        });
        let Frame { place, identity, resource, vlan_label } = frame;
        let plugins = plugins.collect();
        self.networks.push(Network { place, identity, resource, vlan_label, config_name, plugins });
    }
}

fn without_config(place: Place, spec: Option<&Node>) -> Finding {
    let keys = spec.map(Node::entries).unwrap_or_default().iter();
    let near = keys.map(|(key, _)| key.as_str()).find(|key| spelling::meant(key, ["config"]).is_some());
    match near {
        Some(key) => Finding::new(
            Severity::Error,
            "no-config",
            place,
            format!("spec.{key} is no key of a NetworkAttachmentDefinition"),
        )
        .remedy("spec.config"),
        None => Finding::new(
            Severity::Hint,
            "no-config",
            place,
            "spec.config is missing: Multus looks for a config file of this name on each node",
        ),
    }
}
