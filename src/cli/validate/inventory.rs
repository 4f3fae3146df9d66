//! The objects in the files, typed as far as the rules look at them.

use std::collections::BTreeMap;
use std::fmt;

use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

use super::document::Node;
use super::finding::{Finding, Place};
use crate::cni::config::NetConf;
use crate::net::VlanRange;

/// The `type` under which this plugin is called.
pub const OWN_TYPE: &str = "bridge-dhcp";
/// Plugins whose configs have the same keys; their networks are read as what they would be here.
pub const ALIKE: [&str; 2] = ["bridge", "cnv-bridge"];

/// Everything in the files.
#[derive(Debug, Default)]
pub struct Inventory {
    pub networks: Vec<Network>,
    pub machines: Vec<Machine>,
    pub pods: Vec<Pod>,
    pub secrets: Vec<Secret>,
    pub bridges: Vec<PolicyBridge>,
    /// What else policies set up: NICs, bonds, bridges of other kinds.
    pub devices: Vec<PolicyDevice>,
    /// How many policies there are, with and without bridges.
    pub policies: usize,
    pub tally: Tally,
    /// What was found while reading.
    pub findings: Vec<Finding>,
    /// Every object that has a name.
    pub named: Vec<Place>,
}

/// How much of the files the rules look at.
#[derive(Debug, Default)]
pub struct Tally {
    /// Objects and configs that were read.
    pub checked: usize,
    /// Objects of other kinds, counted by kind.
    pub passed_over: BTreeMap<String, usize>,
}

/// A Kubernetes object's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub namespace: Option<String>,
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A CNI config, or one in a list.
#[derive(Debug)]
pub struct Plugin {
    pub kind: String,
    /// Its object, with name and version as the runtime adds them.
    pub object: Map<String, Value>,
    /// The config as ADD reads it, where it is ours or has our keys and ADD would take it.
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
    /// Harvester's label `network.harvesterhci.io/vlan-id`.
    pub vlan_label: Option<String>,
    /// The config's own `name`.
    pub config_name: Option<String>,
    pub plugins: Vec<Plugin>,
}

impl Network {
    /// The config that attaches: this plugin's where there is one, or one with the same keys.
    pub fn conf(&self) -> Option<&NetConf> {
        let own = self.plugins.iter().filter(|plugin| plugin.kind == OWN_TYPE);
        own.chain(&self.plugins).find_map(|plugin| plugin.conf.as_ref())
    }

    /// Whether a plugin of the network is this one.
    pub fn is_own(&self) -> bool {
        self.plugins.iter().any(|plugin| plugin.kind == OWN_TYPE)
    }

    /// Whether any plugin of the network gives addresses.
    pub fn has_ipam(&self) -> bool {
        let kind = |plugin: &Plugin| plugin.object.get("ipam")?.get("type")?.as_str().map(str::len);
        self.plugins.iter().any(|plugin| kind(plugin).is_some_and(|length| length > 0))
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
    /// Names of its disks and file systems, with their lines.
    pub disks: Vec<(usize, String)>,
}

impl Machine {
    /// The interface's network.
    pub fn network(&self, interface: &Interface) -> Option<&MachineNetwork> {
        self.networks.iter().find(|network| network.name == interface.name)
    }
}

/// `spec.domain.devices.interfaces[]`.
#[derive(Debug)]
pub struct Interface {
    pub line: usize,
    pub name: String,
    pub mac: Option<String>,
    /// `bridge`, `masquerade`, `sriov`, ...; one is right.
    pub bindings: Vec<&'static str>,
    /// It is to be unplugged, or its link is down on purpose.
    pub away: bool,
    pub keys: Vec<String>,
}

/// `spec.networks[]`.
#[derive(Debug)]
pub struct MachineNetwork {
    pub line: usize,
    pub name: String,
    /// The keys of `multus`, where that is what it is.
    pub multus: Option<Multus>,
    /// It is the pod's own network.
    pub pod: bool,
}

/// `multus` of a machine's network.
#[derive(Debug)]
pub struct Multus {
    /// `networkName`.
    pub reference: Option<String>,
    /// `default`: it takes the place of the pod network.
    pub default: bool,
    pub keys: Vec<String>,
}

impl MachineNetwork {
    /// The NetworkAttachmentDefinition that is meant, as written.
    pub fn reference(&self) -> Option<&str> {
        self.multus.as_ref()?.reference.as_deref()
    }
}

/// A pod, or the template of a workload.
#[derive(Debug)]
pub struct Pod {
    pub place: Place,
    pub namespace: Option<String>,
    /// How many there are at a time; none where that depends on the nodes.
    pub replicas: Option<i64>,
    pub attachments: Vec<Attachment>,
    /// `v1.multus-cni.io/default-network`.
    pub default_network: Option<Attachment>,
}

/// One network that a pod's annotation asks for.
#[derive(Debug, Clone, Default)]
pub struct Attachment {
    pub line: usize,
    /// `name` or `namespace/name`.
    pub reference: String,
    pub ifname: Option<String>,
    pub mac: Option<String>,
    pub ips: Vec<String>,
}

/// What a Secret has for cloud-init, decoded.
#[derive(Debug)]
pub struct Secret {
    pub place: Place,
    pub identity: Identity,
    /// Keys with their lines and texts.
    pub entries: Vec<(String, usize, String)>,
}

/// A bridge in a NodeNetworkConfigurationPolicy.
#[derive(Debug)]
pub struct PolicyBridge {
    pub place: Place,
    /// The nodes of the policy, as text that is equal for equal selectors.
    pub nodes: String,
    pub name: String,
    pub mtu: Option<i64>,
    pub addresses: Vec<IpNetwork>,
    /// `bridge.options.stp.enabled`.
    pub stp: Option<bool>,
    /// `bridge.options.vlan-default-pvid`.
    pub default_pvid: u16,
    pub ports: Vec<PolicyPort>,
}

/// A port of such a bridge.
#[derive(Debug)]
pub struct PolicyPort {
    pub line: usize,
    pub name: String,
    /// The VLANs that pass it; `None` where the policy turns filtering off for it.
    pub vlans: Option<Vec<VlanRange>>,
}

/// An interface of a policy that is no Linux bridge.
#[derive(Debug)]
pub struct PolicyDevice {
    pub place: Place,
    pub nodes: String,
    pub name: String,
    pub kind: String,
    /// It has an address, or asks for one.
    pub addressed: bool,
}
