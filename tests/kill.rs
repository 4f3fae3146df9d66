//! An ADD that is killed at any system call leaves nothing that the DEL after it does not remove.

mod support;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::namespace::Namespace;
use support::{Before, Lab, conf, gateway_with_rules, other_plugins_pair, strace, vm_conf, with_result};

/// Kills ADDs at every fifth of the system calls that one of them makes. DEL is given only what `stripped` says.
fn survives(lab: &Lab, conf: &Value, stripped: &Value) {
    survives_in(lab, &lab.pod(), conf, stripped);
}

fn survives_in(lab: &Lab, pod: &Namespace, conf: &Value, stripped: &Value) {
    let add = lab.call("ADD", conf, "c1", pod.path(), "net1");
    let del = lab.call("DEL", stripped, "c1", pod.path(), "net1");
    let places = strace::places(lab, &add);
    del.run().ok();
    // A bridge keeps its gateway addresses, so what one whole attachment left is the measure.
    let before = Before::new(lab, pod);

    let mut killed = 0;
    for place in places.iter().step_by(5) {
        let child = strace::at(&add, place, "signal=SIGKILL").start();
        killed += usize::from(!child.wait_with_output().unwrap().status.success());
        del.run().ok();
        before.assert_unchanged(&format!("killed at {place:?}"));
    }
    println!("measured: ADD makes {} system calls; killed at {killed} of them, nothing left", places.len());
    assert!(killed > places.len() / 8, "strace killed {killed} of {}", places.len());
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
    survives(&Lab::new(""), &gateway_with_rules(), &stripped());
}

#[test]
fn killed_behind_another_plugin() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let result = other_plugins_pair(&lab, &pod);
    let conf = with_result(
        &conf(json!({"cniVersion": "1.0.0", "portIsolation": true, "macspoofchk": true})),
        &result,
    );
    survives_in(&lab, &pod, &conf, &stripped());
}
