//! IPAM plugins for the lab: `host-local` of the distribution, and one that does what a test says.

use serde_json::{Value, json};

use super::{Lab, conf, plugin};

/// How many addresses `host-local` holds reserved.
pub fn reservations(lab: &Lab) -> usize {
    let networks = std::fs::read_dir(lab.files.join("ipam/lan")).into_iter().flatten();
    let names = networks.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(|first: char| first.is_ascii_digit() || first == 'f')).count()
}

/// `host-local` with its files in the lab's own directory.
pub fn host_local(lab: &Lab, ranges: Value) -> Value {
    json!({"type": "host-local", "ranges": ranges, "dataDir": lab.files.join("ipam")})
}

/// The config of an attachment with a gateway on the bridge, in both families, with some keys changed or added.
pub fn gateway_conf(lab: &Lab, changes: Value) -> Value {
    let ranges = json!([[{"subnet": "10.1.2.0/24"}], [{"subnet": "fd00:1::/64"}]]);
    let mut conf = conf(json!({
        "cniVersion": "1.0.0", "isDefaultGateway": true, "ipam": host_local(lab, ranges),
    }));
    conf.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    conf
}

/// A config with addresses of both families, a gateway for them, and rules of every kind.
pub fn gateway_with_rules() -> Value {
    let addresses = json!([{"address": "10.1.2.2/24"}, {"address": "fd00:1::2/64"}]);
    conf(json!({
        "cniVersion": "1.0.0", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
        "ipam": {"type": "static", "addresses": addresses},
    }))
}

/// A lab whose node forwards in both families already, which an ADD with a gateway would begin and nothing ends.
pub fn routing_lab() -> Lab {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    lab.node.forward();
    lab
}

/// Takes the gateway addresses off the bridge, which keeps them.
pub fn remove_gateways(lab: &Lab) {
    lab.node.ip("address flush dev br0 scope global");
}

/// An executable that plays an IPAM plugin; the directory for CNI_PATH.
pub fn fake(lab: &Lab, script: &str) -> String {
    let calls = lab.files.join("calls");
    let script = format!("conf=$(cat)\necho \"$CNI_COMMAND $conf\" >>{}\n{script}", calls.display());
    plugin::script(&lab.files, "fake", &script)
}

/// What the plugin of [`fake`] was asked for, in order.
pub fn calls(lab: &Lab) -> Vec<String> {
    let log = std::fs::read_to_string(lab.files.join("calls")).unwrap_or_default();
    log.lines().map(|line| line.split(' ').next().unwrap().to_string()).collect()
}
