//! CHECK: passes on what ADD made, also after KubeVirt's wiring, and names what differs.

use crate::support;

use serde_json::json;
use support::guest::wire;
use support::{Lab, conf, host_side, vm_conf};

#[test]
fn right_after_add_and_after_kubevirts_wiring_all_is_well() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let asked = vm_conf(json!({"portIsolation": true, "runtimeConfig": {"mac": "02:00:00:00:00:99"}}));
    let result = lab.add(&asked, &pod).ok();
    lab.check(&asked, &result, &pod).ok();
    let _guest = wire(&pod, "net1", "02:00:00:00:00:99", 1500);
    lab.check(&asked, &result, &pod).ok();
}

#[test]
fn every_difference_is_named() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let asked = conf(json!({"portIsolation": true}));
    let result = lab.add(&asked, &pod).ok();
    let host = host_side("c1", "net1");
    let breaks = [
        (format!("link set {host} type bridge_slave isolated off"), "portIsolation is false, wanted true"),
        (
            format!("link set {host} type bridge_slave isolated on hairpin on"),
            "hairpinMode is true, wanted false",
        ),
        (format!("link set {host} type bridge_slave hairpin off\nlink set {host} down"), "it is down"),
        (format!("link set {host} type bridge_slave locked on"), "it is locked"),
        (format!("link set {host} mtu 1400"), "its MTU is 1400, it was 1500"),
        (format!("link set {host} nomaster"), "no longer a port of br0"),
    ];
    for (change, named) in breaks {
        lab.check(&asked, &result, &pod).ok();
        lab.node.ip(&change);
        let said = lab.check(&asked, &result, &pod).error(123);
        assert!(said.contains(named) && said.contains(&host), "{said}");
        lab.node.ip(&format!(
            "link set {host} master br0 mtu 1500\nlink set {host} up\nlink set {host} type bridge_slave isolated on hairpin off locked off"
        ));
    }
    lab.node.run(&format!("bridge link set dev {host} state 0"));
    assert!(lab.check(&asked, &result, &pod).error(123).contains("does not forward: its state is disabled"));
    lab.node.run(&format!("bridge link set dev {host} state 3"));
    lab.check(&asked, &result, &pod).ok();
    let mac = pod.link("net1")["address"].as_str().unwrap().to_string();
    pod.ip("link set net1 address 02:00:00:00:00:77");
    let said = lab.check(&asked, &result, &pod).error(123);
    assert!(said.contains("has the MAC 02:00:00:00:00:77, it had") && said.contains(&mac), "{said}");
    pod.ip(&format!("link set net1 address {mac}"));
    pod.ip("link set net1 down");
    assert!(lab.check(&asked, &result, &pod).error(123).contains("net1 in the container is down"));
    pod.ip("link set net1 name other");
    assert!(lab.check(&asked, &result, &pod).error(123).contains("now called other"));
}

#[test]
fn what_is_gone_altogether_is_named() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let asked = vm_conf(json!({}));
    let result = lab.add(&asked, &pod).ok();
    let elsewhere = lab.pod();
    let index = pod.link("net1")["ifindex"].clone();
    pod.ip(&format!("link set net1 netns {}", elsewhere.name()));
    assert!(lab.check(&asked, &result, &pod).error(123).contains("no longer in the container"));
    pod.ip(&format!("link add net1 index {index} type bridge"));
    assert!(lab.check(&asked, &result, &pod).error(123).contains("no longer in the container"));
    lab.node.ip(&format!("link del {}", host_side("c1", "net1")));
    assert!(lab.check(&asked, &result, &pod).error(123).contains("does not exist any more"));
    lab.node.ip("link set br0 down");
    lab.check(&asked, &result, &pod).error(102);
    lab.node.ip("link del br0");
    lab.check(&asked, &result, &pod).error(100);
}

#[test]
fn check_needs_a_result_and_a_version_that_has_it() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let call = |changes| lab.call("CHECK", &vm_conf(changes), "c1", pod.path(), "net1").run();
    assert!(call(json!({})).error(7).contains("prevResult"));
    assert!(call(json!({"cniVersion": "0.3.1", "prevResult": {}})).error(1).contains("0.4.0"));
}
