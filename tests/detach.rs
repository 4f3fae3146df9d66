//! DEL in every shape that real runtimes call it in (CONTRACT section 8): success, and nothing is left.

use crate::support;

use serde_json::{Value, json};
use support::guest::wire;
use support::namespace::Namespace;
use support::plugin::Call;
use support::{Before, Lab, host_side, vm_conf};

/// Attaches, lets `del` detach, and compares.
fn detaches(del: impl Fn(&Lab, &Namespace, &Value)) {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let result = lab.add(&vm_conf(json!({})), &pod).ok();
    assert!(lab.node.has(&host_side("c1", "net1")));
    del(&lab, &pod, &result);
    before.assert_unchanged("afterwards");
}

fn stripped() -> Value {
    json!({"cniVersion": "1.0.0", "ipam": {}, "name": "lan", "type": "bridge-dhcp"})
}

fn succeed(call: Call) {
    let outcome = call.run();
    assert_eq!(outcome.json, Value::Null, "DEL prints nothing: {}", outcome.json);
    assert!(outcome.succeeded);
}

#[test]
fn with_the_stripped_config_of_multus() {
    detaches(|lab, pod, result| {
        let conf = support::with_result(&stripped(), result);
        succeed(lab.call("DEL", &conf, "c1", pod.path(), "net1"));
    });
}

#[test]
fn with_the_daemons_keys_of_a_hotplug() {
    let daemon = json!({
        "cniVersion": "0.3.1", "logLevel": "verbose", "logToStderr": true, "chrootDir": "/hostroot",
        "socketDir": "/run/multus", "binDir": "/opt/cni/bin", "cniConfigDir": "/etc/cni/net.d",
        "multusAutoconfigDir": "/etc/cni/net.d",
    });
    detaches(|lab, pod, _| succeed(lab.call("DEL", &vm_conf(daemon.clone()), "c1", pod.path(), "net1")));
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&vm_conf(daemon.clone()), &pod).ok();
}

#[test]
fn twice() {
    detaches(|lab, pod, _| {
        succeed(lab.call("DEL", &vm_conf(json!({})), "c1", pod.path(), "net1"));
        succeed(lab.call("DEL", &vm_conf(json!({})), "c1", pod.path(), "net1"));
    });
}

#[test]
fn without_a_netns_or_with_one_that_is_gone() {
    detaches(|lab, pod, _| {
        succeed(lab.call("DEL", &stripped(), "c1", pod.path(), "net1").unset("CNI_NETNS"))
    });
    detaches(|lab, pod, _| {
        succeed(lab.call("DEL", &stripped(), "c1", pod.path(), "net1").set("CNI_NETNS", ""))
    });
    detaches(|lab, _, _| succeed(lab.call("DEL", &stripped(), "c1", "/run/netns/gone".as_ref(), "net1")));
}

#[test]
fn after_the_netns_took_the_pair_with_it() {
    let lab = Lab::new("");
    let before = lab.snapshot();
    let pod = lab.pod();
    let path = pod.path().to_path_buf();
    lab.add(&vm_conf(json!({})), &pod).ok();
    drop(pod);
    support::wait_until("the kernel removed the pair", || !lab.node.has(&host_side("c1", "net1")));
    succeed(lab.call("DEL", &stripped(), "c1", &path, "net1"));
    lab.snapshot().assert_same(&before, "afterwards");
}

#[test]
fn after_kubevirts_wiring_also_twice_and_without_a_netns() {
    for netns in ["as at ADD", ""] {
        let lab = Lab::new("");
        let pod = lab.pod();
        let before = lab.snapshot();
        let mac = "02:00:00:00:00:99";
        lab.add(&vm_conf(json!({"runtimeConfig": {"mac": mac}})), &pod).ok();
        let _guest = wire(&pod, "net1", mac, 1500);
        for _ in 0..2 {
            let call = lab.call("DEL", &stripped(), "c1", pod.path(), "net1");
            succeed(if netns.is_empty() { call.unset("CNI_NETNS") } else { call });
            assert!(!pod.has("x-nic"), "the renamed container side, netns {netns:?}");
            lab.snapshot().assert_same(&before, "after DEL");
        }
        assert_eq!(pod.has("net1"), netns.is_empty(), "the placeholder goes where it can be reached");
    }
}

#[test]
fn with_a_config_that_add_would_refuse() {
    let broken =
        json!({"bridge": 7, "vlan": "x", "master": "eth0", "ipam": {"type": 1}, "prevResult": {"ips": [{}]}});
    detaches(|lab, pod, _| succeed(lab.call("DEL", &vm_conf(broken.clone()), "c1", pod.path(), "net1")));
}

#[test]
fn after_the_bridge_is_gone() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&vm_conf(json!({})), &pod).ok();
    lab.node.ip("link del br0");
    succeed(lab.call("DEL", &stripped(), "c1", pod.path(), "net1"));
    assert!(!lab.node.has(&host_side("c1", "net1")) && !pod.has("net1"));
}

#[test]
fn without_touching_what_only_looks_like_ours() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let name = host_side("c1", "net1");
    lab.node
        .ip(&format!("link add {name} type veth peer name foreign\nlink set {name} alias somebody-elses"));
    succeed(lab.call("DEL", &stripped(), "c1", pod.path(), "net1"));
    assert!(lab.node.has(&name));

    lab.call("ADD", &vm_conf(json!({})), "c2", pod.path(), "net1").run().ok();
    pod.ip("link set net1 name moved\nlink add net1 address 02:00:00:00:00:77 type bridge");
    succeed(lab.call("DEL", &stripped(), "c2", pod.path(), "net1"));
    assert!(pod.has("net1") && !pod.has("moved"), "its MAC is not the attachment's");
}
