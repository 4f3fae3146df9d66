//! An ADD to which the kernel refuses anything takes back what it did, by itself, and says what was refused.

use crate::support;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::ipam::{gateway_with_rules, remove_gateways, routing_lab};
use support::namespace::Namespace;
use support::{Before, Lab, conf, other_plugins_pair, strace, vm_conf, with_result};

/// What speaks to the kernel: messages, answers, sockets, namespaces, and the files of /proc and /sys.
const REFUSABLE: [&str; 8] =
    ["sendto", "sendmsg", "recvfrom", "recvmsg", "socket", "bind", "setns", "openat"];

/// Refuses ADDs each such call in turn. Some do without what they were refused; those are taken off by DEL, and `reset`
/// takes away what DEL leaves.
fn takes_back(lab: &Lab, conf: &Value, reset: impl Fn(&Lab)) {
    takes_back_in(lab, &lab.pod(), conf, reset);
}

fn takes_back_in(lab: &Lab, pod: &Namespace, conf: &Value, reset: impl Fn(&Lab)) {
    let before = Before::new(lab, pod);
    let add = lab.call("ADD", conf, "c1", pod.path(), "net1");
    let places = strace::places(lab, &add);
    lab.del(conf, pod).ok();
    reset(lab);
    before.assert_unchanged("after a whole attachment");

    let (mut refused, mut tried) = (0, 0);
    for place in places.iter().filter(|(name, _)| REFUSABLE.contains(&name.as_str())) {
        tried += 1;
        let outcome = strace::at(&add, place, "error=EPERM").run();
        if outcome.succeeded {
            lab.del(conf, pod).ok();
            reset(lab);
        } else {
            refused += 1;
            let said = &outcome.json;
            println!("{place:?}: {}: {}", said["code"], said["msg"]);
        }
        before.assert_unchanged(&format!("refused {place:?}"));
    }
    println!("measured: ADD survives {tried} refusals of the kernel; {refused} of them end it, nothing left");
    assert!(refused > tried / 2, "{refused} of {tried}");
}

#[test]
fn refused_in_vm_mode() {
    takes_back(&Lab::new(""), &vm_conf(json!({"macspoofchk": true, "portIsolation": true})), |_| {});
}

#[test]
fn refused_with_a_bridge_to_create() {
    let conf = conf(json!({"createBridge": true, "macspoofchk": true}));
    takes_back(&Lab::empty(), &conf, |lab| lab.node.ip("link del br0"));
}

#[test]
fn refused_in_promiscuous_mode() {
    takes_back(&Lab::new(""), &vm_conf(json!({"promiscMode": true})), |lab| {
        lab.node.ip("link set br0 promisc off");
    });
}

#[test]
fn refused_with_vlans() {
    if needs(Feature::VlanFiltering) {
        takes_back(
            &Lab::new("vlan_filtering 1"),
            &conf(json!({"vlanTrunk": [{"minID": 100, "maxID": 200}]})),
            |_| {},
        );
    }
}

#[test]
fn refused_with_addresses_a_gateway_and_rules() {
    if !needs(Feature::Nat) {
        return;
    }
    takes_back(&routing_lab(), &gateway_with_rules(), remove_gateways);
}

#[test]
fn refused_behind_another_plugin() {
    let lab = Lab::new("address 02:ff:ff:00:00:0b ");
    let pod = lab.pod();
    let result = other_plugins_pair(&lab, &pod);
    let conf = conf(json!({"cniVersion": "1.0.0", "portIsolation": true, "macspoofchk": true}));
    takes_back_in(&lab, &pod, &with_result(&conf, &result), |_| {});
}
