//! A pod's lease, as config and link show it.

use serde_json::{Value, json};

use super::conf;
use super::namespace::Namespace;

/// The config of a pod that takes a lease, with some keys of `ipam` added.
pub fn leasing(changes: Value) -> Value {
    let mut ipam = json!({"type": "dhcp"});
    ipam.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    conf(json!({"ipam": ipam}))
}

/// The address of `net1`, without its prefix.
pub fn address(pod: &Namespace) -> String {
    let shown = pod.addresses()["net1"][0].as_str().unwrap_or_default().to_string();
    shown.split('/').next().unwrap().to_string()
}
