//! GC removes exactly the attachments of its network that nobody owns; STATUS says whether ADD would be served.

use crate::support;

use serde_json::{Value, json};
use support::{Lab, conf, host_side, vm_conf, wait_until};

fn collect(lab: &Lab, conf: &Value) -> support::plugin::Outcome {
    let unset = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];
    let call = lab.call("GC", conf, "c1", "/x".as_ref(), "net1");
    // Real runtimes set these variables, but empty.
    unset.iter().fold(call, |call, name| call.set(name, "")).run()
}

#[test]
fn only_what_is_not_valid_and_of_this_network_goes() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let long = "l".repeat(200);
    for (network, container, ifname) in [
        ("lan", "c1", "net1"),
        ("lan", "c1", "net2"),
        ("lan", "c2", "net3"),
        ("other", "c3", "net4"),
        ("lan", &long, "net5"),
        ("lan", "c6", "net6"),
    ] {
        let asked = vm_conf(json!({"name": network}));
        lab.call("ADD", &asked, container, pod.path(), ifname).run().ok();
    }
    lab.node.ip("link add veth01234567 type veth peer name foreign\nlink set veth01234567 master br0");
    let valid = json!([{"containerID": "c1", "ifname": "net1"}, {"containerID": long, "ifname": "net5"}]);
    let asked = conf(
        json!({"cni.dev/valid-attachments": valid, "cni.dev/attachments": [{"containerID": "c6", "ifname": "net6"}]}),
    );
    collect(&lab, &asked).ok();
    for (stays, container, ifname) in [
        (true, "c1", "net1"),
        (false, "c1", "net2"),
        (false, "c2", "net3"),
        (true, "c3", "net4"),
        (true, &long, "net5"),
        (true, "c6", "net6"),
    ] {
        assert_eq!(lab.node.has(&host_side(container, ifname)), stays, "{container}/{ifname}");
    }
    assert!(lab.node.has("veth01234567") && lab.node.has("ens192"));
    collect(&lab, &conf(json!({"cni.dev/valid-attachments": null}))).ok();
    assert!(!lab.node.has(&host_side("c1", "net1")) && lab.node.has(&host_side("c3", "net4")));
}

#[test]
fn without_the_list_of_valid_ones_nothing_is_removed() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&vm_conf(json!({})), &pod).ok();
    assert!(collect(&lab, &conf(json!({}))).error(7).contains("cni.dev/valid-attachments"));
    let wrong = json!({"cni.dev/valid-attachments": [{"containerID": "c1"}]});
    collect(&lab, &conf(wrong)).error(7);
    assert!(lab.node.has(&host_side("c1", "net1")));
    collect(&lab, &conf(json!({"cniVersion": "1.0.0", "cni.dev/valid-attachments": []}))).error(1);
}

#[test]
fn status_says_whether_add_would_be_served() {
    let lab = Lab::new("");
    let status = |changes: Value| {
        let call = lab.call("STATUS", &conf(changes), "c1", "/x".as_ref(), "net1");
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]
            .iter()
            .fold(call, |call, name| call.set(name, ""))
            .run()
    };
    assert_eq!(status(json!({})).ok(), Value::Null);
    assert!(status(json!({"bridge": "nope"})).error(50).contains("bridge nope does not exist"));
    assert!(status(json!({"bridge": "ens192"})).error(50).contains("not a bridge"));
    assert!(status(json!({"vlan": 5})).error(50).contains("vlan_filtering"));
    status(json!({"cniVersion": "1.0.0"})).error(1);
    status(json!({"uplinkCheck": "fail"})).ok();
    lab.lan.ip("link set lan0 down");
    wait_until("the bridge lost its carrier", || lab.port("br0")["operstate"] == "DOWN");
    assert!(status(json!({"uplinkCheck": "fail"})).error(51).contains("code 106"));
    lab.node.ip("link del ens192");
    assert!(status(json!({"uplinkCheck": "fail"})).error(51).contains("code 105"));
    status(json!({})).ok();
    lab.node.ip("link set br0 down");
    assert!(status(json!({})).error(51).contains("bridge br0 is down"));
}
