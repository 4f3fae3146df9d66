//! An ADD that is killed at any system call leaves nothing that the DEL after it does not remove.

use crate::support;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::ipam::{gateway_with_rules, remove_gateways, routing_lab};
use support::namespace::Namespace;
use support::{Before, Lab, conf, other_plugins_pair, strace, vm_conf, with_result};

/// Kills ADDs at every fifth of the system calls that one of them makes. DEL is given only the standard keys, as by
/// Multus; `reset` takes away what it leaves.
fn survives(lab: &Lab, conf: &Value, reset: impl Fn(&Lab)) {
    survives_in(lab, &lab.pod(), conf, reset);
}

fn survives_in(lab: &Lab, pod: &Namespace, conf: &Value, reset: impl Fn(&Lab)) {
    let before = Before::new(lab, pod);
    let stripped = json!({"cniVersion": "1.0.0", "ipam": {}, "name": "lan", "type": "bridge-dhcp"});
    let add = lab.call("ADD", conf, "c1", pod.path(), "net1");
    let del = lab.call("DEL", &stripped, "c1", pod.path(), "net1");
    let places = strace::places(lab, &add);
    del.run().ok();
    reset(lab);
    before.assert_unchanged("after a whole attachment");

    let mut killed = 0;
    for place in places.iter().step_by(5) {
        let child = strace::at(&add, place, "signal=SIGKILL").start();
        killed += usize::from(!child.wait_with_output().unwrap().status.success());
        del.run().ok();
        reset(lab);
        before.assert_unchanged(&format!("killed at {place:?}"));
    }
    println!("measured: ADD makes {} system calls; killed at {killed} of them, nothing left", places.len());
    assert!(killed > places.len() / 8, "strace killed {killed} of {}", places.len());
}

#[test]
fn killed_in_vm_mode() {
    survives(&Lab::new(""), &vm_conf(json!({})), |_| {});
}

#[test]
fn killed_in_container_mode() {
    survives(&Lab::new(""), &conf(json!({"portIsolation": true, "macspoofchk": true})), |_| {});
}

#[test]
fn killed_with_a_vlan() {
    if needs(Feature::VlanFiltering) {
        survives(&Lab::new("vlan_filtering 1"), &vm_conf(json!({"vlan": 100})), |_| {});
    }
}

#[test]
fn killed_with_addresses_a_gateway_and_rules() {
    if !needs(Feature::Nat) {
        return;
    }
    // host-local would be killed as well, and loses what it has half written.
    survives(&routing_lab(), &gateway_with_rules(), remove_gateways);
}

#[test]
fn killed_behind_another_plugin() {
    let lab = Lab::new("address 02:ff:ff:00:00:0b ");
    let pod = lab.pod();
    let result = other_plugins_pair(&lab, &pod);
    let conf = with_result(
        &conf(json!({"cniVersion": "1.0.0", "portIsolation": true, "macspoofchk": true})),
        &result,
    );
    survives_in(&lab, &pod, &conf, |_| {});
}
