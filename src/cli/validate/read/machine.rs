//! Virtual machines, alone and in pools.

use crate::cli::validate::document::Node;
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Identity, Interface, Inventory, Machine, MachineNetwork, Multus};

const BINDINGS: [&str; 7] = ["bridge", "masquerade", "sriov", "passt", "slirp", "macvtap", "binding"];

impl Inventory {
    pub(super) fn read_machine(&mut self, place: Place, identity: Identity, node: &Node, path: &[&str]) {
        let Some(spec) = node.path(path) else {
            let shown = path.join(".");
            let message = format!("{shown} is missing, so there is no machine to check");
            let finding = Finding::new(Severity::Error, "no-machine", place, message);
            return self
                .findings
                .push(finding.remedy(format!("write domain, networks and volumes under {shown}")));
        };
        let devices = spec.path(&["domain", "devices"]);
        let list = |key| devices.map(|devices| devices.list(key)).unwrap_or_default();
        let named = |node: &Node| Some((node.line, node.text("name")?.to_string()));
        self.machines.push(Machine {
            place,
            identity,
            interfaces: list("interfaces").iter().map(interface).collect(),
            networks: spec.list("networks").iter().map(network).collect(),
            volumes: spec.list("volumes").to_vec(),
            disks: list("disks").iter().chain(list("filesystems")).filter_map(named).collect(),
        });
    }
}

fn keys(node: &Node) -> Vec<String> {
    node.entries().iter().map(|(key, _)| key.clone()).collect()
}

fn interface(node: &Node) -> Interface {
    Interface {
        line: node.line,
        name: node.text("name").unwrap_or_default().to_string(),
        mac: node.text("macAddress").map(str::to_string),
        bindings: BINDINGS.into_iter().filter(|key| node.get(key).is_some()).collect(),
        away: matches!(node.text("state"), Some("absent" | "down")),
        keys: keys(node),
    }
}

fn network(node: &Node) -> MachineNetwork {
    MachineNetwork {
        line: node.line,
        name: node.text("name").unwrap_or_default().to_string(),
        multus: node.get("multus").map(|multus| Multus {
            reference: multus.text("networkName").map(str::to_string),
            default: multus.boolean("default") == Some(true),
            keys: keys(multus),
        }),
        pod: node.get("pod").is_some(),
    }
}
