//! An ADD that is killed at any system call leaves nothing that the DEL after it does not remove.

mod support;

use std::collections::HashMap;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::{Before, Lab, conf, vm_conf};

/// Kills ADDs at every fifth of the system calls that one of them makes. strace counts the calls of one name in one
/// thread, so each is told to it as a name and a number. DEL is given only what `stripped` says.
fn survives(lab: &Lab, conf: &Value, stripped: &Value) {
    let pod = lab.pod();
    let trace = lab.files.join("trace").to_string_lossy().into_owned();
    let add = lab.call("ADD", conf, "c1", pod.path(), "net1");
    let del = lab.call("DEL", stripped, "c1", pod.path(), "net1");
    add.clone().under(&["strace", "-f", "-o", &trace]).run().ok();
    del.run().ok();
    // A bridge keeps its gateway addresses, so what one whole attachment left is the measure.
    let before = Before::new(lab, &pod);

    let places = places(&std::fs::read_to_string(&trace).unwrap());
    let mut killed = 0;
    for (name, number) in places.iter().step_by(5) {
        let inject = format!("inject={name}:signal=SIGKILL:when={number}");
        let child = add.clone().under(&["strace", "-f", "-o", &trace, "-e", &inject]).start();
        killed += usize::from(!child.wait_with_output().unwrap().status.success());
        del.run().ok();
        before.assert_unchanged(&format!("killed at {name} number {number}"));
    }
    println!("measured: ADD makes {} system calls; killed at {killed} of them, nothing left", places.len());
    assert!(killed > places.len() / 8, "strace killed {killed} of {}", places.len());
}

/// The system calls of a trace, each as its name and how often its thread has called that by then.
fn places(trace: &str) -> Vec<(String, usize)> {
    let mut counts = HashMap::new();
    let calls = trace.lines().filter(|line| !line.contains("resumed>"));
    let named = calls.filter_map(|line| {
        let (thread, call) = line.split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        let count = counts.entry((thread.to_string(), name.to_string())).or_insert(0);
        *count += 1;
        Some((name.to_string(), *count))
    });
    named.filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).collect()
}

/// What Multus leaves of a config on DEL: the standard keys.
fn stripped() -> Value {
    json!({"cniVersion": "1.0.0", "ipam": {}, "name": "lan", "type": "bridge-dhcp"})
}

#[test]
fn killed_in_vm_mode() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    survives(&lab, &vm_conf(json!({})), &stripped());
    before.assert_unchanged("after all of it");
}

#[test]
fn killed_in_container_mode() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    survives(&lab, &conf(json!({"portIsolation": true, "macspoofchk": true})), &stripped());
    before.assert_unchanged("after all of it");
}

#[test]
fn killed_with_a_vlan() {
    if needs(Feature::VlanFiltering) {
        survives(&Lab::new("vlan_filtering 1"), &vm_conf(json!({"vlan": 100})), &stripped());
    }
}

#[test]
fn killed_with_addresses_a_gateway_and_rules() {
    if !needs(Feature::Nat) {
        return;
    }
    // host-local would be killed as well, and loses what it has half written.
    let addresses = json!([{"address": "10.1.2.2/24"}, {"address": "fd00:1::2/64"}]);
    let conf = conf(json!({
        "cniVersion": "1.0.0", "isDefaultGateway": true, "ipMasq": true, "macspoofchk": true,
        "ipam": {"type": "static", "addresses": addresses},
    }));
    survives(&Lab::new(""), &conf, &stripped());
}
