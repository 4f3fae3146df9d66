//! The objects in the files, typed as far as the rules look at them.

use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

use super::document::{Node, parse};
use super::finding::{Finding, Place, Severity};
use crate::cni::config::NetConf;
use crate::net::VlanRange;

/// The `type` under which this plugin is called.
pub const OWN_TYPE: &str = "bridge-dhcp";

/// A CNI config, or one in a list.
#[derive(Debug)]
pub struct Plugin {
    pub kind: String,
    /// Its object, with name and version as the runtime adds them.
    pub object: Map<String, Value>,
    /// The config as ADD reads it, where it is ours and ADD would take it.
    pub conf: Option<NetConf>,
}

/// What a NetworkAttachmentDefinition or a file under /etc/cni/net.d configures.
#[derive(Debug)]
pub struct Network {
    pub place: Place,
    /// Namespace and name of the NetworkAttachmentDefinition; none for a plain file.
    pub identity: Option<Identity>,
    /// `k8s.v1.cni.cncf.io/resourceName`.
    pub resource: Option<String>,
    /// The config's own `name`.
    pub config_name: Option<String>,
    pub plugins: Vec<Plugin>,
}

/// A Kubernetes object's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub namespace: Option<String>,
    pub name: String,
}

impl Identity {
    fn read(node: &Node) -> Option<Self> {
        let metadata = node.get("metadata")?;
        let namespace = metadata.text("namespace").map(str::to_string);
        Some(Self { namespace, name: metadata.text("name")?.to_string() })
    }

    /// Whether `reference` (`name` or `namespace/name`), made in the namespace `from`, may mean this object. What has
    /// no namespace in the file gets it when it is applied, so it fits any.
    pub fn is_meant_by(&self, reference: &str, from: Option<&str>) -> bool {
        let (namespace, name) = match reference.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (from, reference),
        };
        let fits = |own: &String| namespace.is_none_or(|wanted| wanted == own);
        self.name == name && self.namespace.as_ref().is_none_or(fits)
    }
}

/// A VirtualMachine's template or a VirtualMachineInstance.
#[derive(Debug)]
pub struct Machine {
    pub place: Place,
    pub identity: Identity,
    pub interfaces: Vec<Interface>,
    pub networks: Vec<MachineNetwork>,
    pub volumes: Vec<Node>,
}

/// `spec.domain.devices.interfaces[]`.
#[derive(Debug)]
pub struct Interface {
    pub line: usize,
    pub name: String,
    pub mac: Option<String>,
    /// `bridge`, `masquerade`, `sriov`, ...
    pub binding: Option<String>,
}

/// `spec.networks[]`.
#[derive(Debug)]
pub struct MachineNetwork {
    pub line: usize,
    pub name: String,
    /// `multus.networkName`.
    pub multus: Option<String>,
}

/// A bridge in a NodeNetworkConfigurationPolicy.
#[derive(Debug)]
pub struct PolicyBridge {
    pub place: Place,
    pub name: String,
    pub mtu: Option<i64>,
    pub addresses: Vec<IpNetwork>,
    /// `bridge.options.stp.enabled`.
    pub stp: Option<bool>,
    pub ports: Vec<PolicyPort>,
}

/// A port of such a bridge.
#[derive(Debug)]
pub struct PolicyPort {
    pub name: String,
    /// The VLANs that pass it; `None` where the policy turns filtering off for it.
    pub vlans: Option<Vec<VlanRange>>,
}

/// Everything in the files.
#[derive(Debug, Default)]
pub struct Inventory {
    pub networks: Vec<Network>,
    pub machines: Vec<Machine>,
    pub bridges: Vec<PolicyBridge>,
    /// How many policies there are, with and without bridges.
    pub policies: usize,
    /// What could not be read.
    pub unreadable: Vec<Finding>,
}

impl Inventory {
    /// Adds what a file holds.
    pub fn read(&mut self, file: &str, text: &str) {
        let place = |line| Place { file: file.to_string(), line, document: 1, object: String::new() };
        let mut unreadable = |line, why: String| {
            self.unreadable.push(Finding::new(
                Severity::Error,
                "syntax",
                place(line),
                format!("{file} {why}"),
            ));
        };
        // JSON is YAML, too, but its own parser names the mistakes that matter, such as a trailing comma.
        if text.trim_start().starts_with('{') {
            match serde_json::from_str::<Value>(text) {
                Err(error) => return unreadable(error.line(), format!("is not JSON: {error}")),
                Ok(Value::Object(object)) if !object.contains_key("kind") => {
                    return self.read_config(place(1), None, None, object);
                }
                Ok(_) => {}
            }
        }
        let documents = match parse(text) {
            Ok(documents) => documents,
            Err((line, why)) => return unreadable(line, why),
        };
        if documents.iter().all(Node::is_null) {
            return unreadable(1, "is empty".into());
        }
        for (number, document) in documents.iter().enumerate().filter(|(_, document)| !document.is_null()) {
            self.read_object(file, number + 1, document);
        }
    }

    fn read_object(&mut self, file: &str, document: usize, node: &Node) {
        let kind = node.text("kind").unwrap_or_default();
        if let Some(of) = kind.strip_suffix("List") {
            // Items of a list of one kind, as the API itself answers, do not repeat it.
            for item in node.list("items") {
                match item.text("kind") {
                    Some(_) => self.read_object(file, document, item),
                    None => self.read_single(file, document, item, of),
                }
            }
            return;
        }
        self.read_single(file, document, node, kind);
    }

    fn read_single(&mut self, file: &str, document: usize, node: &Node, kind: &str) {
        let identity = Identity::read(node);
        let shown = identity.as_ref().map(|identity| match &identity.namespace {
            Some(namespace) => format!("{kind} {namespace}/{}", identity.name),
            None => format!("{kind} {}", identity.name),
        });
        let object = shown.unwrap_or_else(|| kind.to_string());
        let place = Place { file: file.to_string(), line: node.line, document, object };
        match (kind, identity) {
            ("", _) => self.unreadable.push(Finding::new(
                Severity::Error,
                "syntax",
                place,
                "is neither a network config in JSON nor a Kubernetes object: it has no \"kind\"",
            )),
            ("NetworkAttachmentDefinition" | "VirtualMachine" | "VirtualMachineInstance", None) => {
                self.unreadable.push(Finding::new(Severity::Error, "syntax", place, "has no metadata.name"));
            }
            ("NetworkAttachmentDefinition", Some(identity)) => self.read_definition(place, identity, node),
            ("VirtualMachine", Some(identity)) => {
                self.read_machine(place, identity, node.path(&["spec", "template", "spec"]));
            }
            ("VirtualMachineInstance", Some(identity)) => {
                self.read_machine(place, identity, node.get("spec"));
            }
            ("NodeNetworkConfigurationPolicy", _) => self.read_policy(&place, node),
            _ => {}
        }
    }

    fn read_definition(&mut self, place: Place, identity: Identity, node: &Node) {
        let annotations = node.path(&["metadata", "annotations"]);
        let resource = annotations.and_then(|all| all.text("k8s.v1.cni.cncf.io/resourceName"));
        let Some(config) = node.path(&["spec", "config"]) else {
            let message = "has no spec.config: Multus looks for a config file of this name on each node";
            return self.unreadable.push(Finding::new(Severity::Hint, "no-config", place, message));
        };
        let place = place.at(config.line);
        let Some(text) = config.as_text() else {
            let finding =
                Finding::new(Severity::Error, "syntax", place, "spec.config is no text, but YAML of its own");
            return self
                .unreadable
                .push(finding.remedy("write it as a block, \"config: |\", with JSON in it"));
        };
        match serde_json::from_str(text) {
            Ok(object) => self.read_config(place, Some(identity), resource.map(str::to_string), object),
            Err(error) => self.unreadable.push(
                Finding::new(Severity::Error, "syntax", place, format!("spec.config is not a JSON object: {error}"))
                    .remedy("write it as a block, \"config: |\", and mind commas and quotes; lines count from its begin"),
            ),
        }
    }

    fn read_config(
        &mut self,
        place: Place,
        identity: Option<Identity>,
        resource: Option<String>,
        object: Map<String, Value>,
    ) {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_string);
        let config_name = text("name");
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
            _ => vec![object],
        };
        let plugins = plugins.into_iter().map(|object| {
            let kind = object.get("type").and_then(Value::as_str).unwrap_or_default().to_string();
            let conf = if kind == OWN_TYPE { NetConf::parse(&object).ok() } else { None };
            Plugin { kind, object, conf }
        });
        let plugins = plugins.collect();
        self.networks.push(Network { place, identity, resource, config_name, plugins });
    }

    fn read_machine(&mut self, place: Place, identity: Identity, spec: Option<&Node>) {
        let Some(spec) = spec else { return };
        const BINDINGS: [&str; 7] = ["bridge", "masquerade", "sriov", "passt", "slirp", "macvtap", "binding"];
        let devices = spec.path(&["domain", "devices"]);
        let interfaces = devices.map(|devices| devices.list("interfaces")).unwrap_or_default();
        let interface = |node: &Node| Interface {
            line: node.line,
            name: node.text("name").unwrap_or_default().to_string(),
            mac: node.text("macAddress").map(str::to_string),
            binding: BINDINGS.iter().find(|key| node.get(key).is_some()).map(|key| (*key).to_string()),
        };
        let network = |node: &Node| MachineNetwork {
            line: node.line,
            name: node.text("name").unwrap_or_default().to_string(),
            multus: node.path(&["multus", "networkName"]).and_then(Node::as_text).map(str::to_string),
        };
        self.machines.push(Machine {
            place,
            identity,
            interfaces: interfaces.iter().map(interface).collect(),
            networks: spec.list("networks").iter().map(network).collect(),
            volumes: spec.list("volumes").to_vec(),
        });
    }

    fn read_policy(&mut self, place: &Place, node: &Node) {
        self.policies += 1;
        let Some(state) = node.path(&["spec", "desiredState"]) else { return };
        let bridges = state.list("interfaces").iter().filter(|interface| {
            interface.text("type") == Some("linux-bridge") && interface.text("state") != Some("absent")
        });
        self.bridges.extend(bridges.filter_map(|interface| {
            let bridge = interface.get("bridge");
            let ports =
                bridge.iter().flat_map(|bridge| ["port", "ports"].map(|key| bridge.list(key))).flatten();
            Some(PolicyBridge {
                place: place.at(interface.line),
                name: interface.text("name")?.to_string(),
                mtu: number(interface, "mtu"),
                addresses: ["ipv4", "ipv6"].iter().flat_map(|key| addresses(interface, key)).collect(),
                stp: interface.path(&["bridge", "options", "stp"]).and_then(|stp| truth(stp, "enabled")),
                ports: ports.map(policy_port).collect(),
            })
        }));
    }
}

/// An integer as nmstate reads it, which takes quoted ones, too (its rust/src/lib/deserializer.rs).
fn number(node: &Node, key: &str) -> Option<i64> {
    node.integer(key).or_else(|| node.text(key)?.parse().ok())
}

/// A truth value as nmstate reads it, in any of the spellings that it knows (same file).
fn truth(node: &Node, key: &str) -> Option<bool> {
    let spelled = || match node.text(key)?.to_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" => Some(true),
        "0" | "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    };
    let counted = || match node.integer(key)? {
        1 => Some(true),
        0 => Some(false),
        _ => None,
    };
    node.boolean(key).or_else(spelled).or_else(counted)
}

fn addresses(interface: &Node, family: &str) -> Vec<IpNetwork> {
    let Some(settings) = interface.get(family).filter(|settings| truth(settings, "enabled") != Some(false))
    else {
        return Vec::new();
    };
    let read = |address: &Node| {
        let prefix = u8::try_from(number(address, "prefix-length")?).ok()?;
        IpNetwork::new(address.text("ip")?.parse().ok()?, prefix).ok()
    };
    settings.list("address").iter().filter_map(read).collect()
}

/// The VLANs of a port as nmstate sets them: without a `vlan` key kubernetes-nmstate makes it a trunk for all; an empty
/// one turns filtering off.
fn policy_port(port: &Node) -> PolicyPort {
    let range = |first: i64, last: i64| {
        Some(VlanRange { first: u16::try_from(first).ok()?, last: u16::try_from(last).ok()? })
    };
    let all = VlanRange { first: 1, last: 4094 };
    let vlans = match port.get("vlan").filter(|vlan| vlan.is_map()) {
        None => Some(vec![all]),
        Some(vlan) if vlan.entries().is_empty() => None,
        Some(vlan) => {
            let tag = |node: &Node, key| number(node, key).and_then(|id| range(id, id));
            let trunk = vlan.list("trunk-tags").iter().filter_map(|item| match item.get("id-range") {
                Some(ends) => range(number(ends, "min")?, number(ends, "max")?),
                None => tag(item, "id"),
            });
            let mut vlans: Vec<VlanRange> = trunk.chain(tag(vlan, "tag")).collect();
            // The kernel's default VLAN stays where no other takes its place.
            if number(vlan, "tag").is_none() {
                vlans.push(VlanRange { first: 1, last: 1 });
            }
            Some(vlans)
        }
    };
    PolicyPort { name: port.text("name").unwrap_or_default().to_string(), vlans }
}
