//! VM mode: the interface is there as KubeVirt needs it, silent and down, and a guest behind it gets its lease.

use crate::support;

use serde_json::json;
use support::guest::{DhcpServer, lease, wire};
use support::wire::{Capture, Monitor, from_mac};
use support::{Before, Lab, host_side, vm_conf};

const MAC: &str = "02:00:00:00:00:99";

#[test]
fn the_container_side_is_down_from_creation_to_return_and_no_frame_has_its_mac() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let monitor = Monitor::start(&pod);
    let capture = Capture::start(&lab.lan, "lan0");
    let result = lab.add(&vm_conf(json!({"mtu": 1400, "runtimeConfig": {"mac": MAC}})), &pod).ok();

    let announced: Vec<_> = monitor.stop().into_iter().filter(|(name, _)| name == "net1").collect();
    assert!(!announced.is_empty(), "the monitor saw the interface appear");
    assert!(announced.iter().all(|(_, up)| !up), "{announced:?}");
    let frames = capture.stop();
    assert!(from_mac(&frames, MAC).is_empty());
    let host = result["interfaces"][1]["mac"].as_str().unwrap();
    assert!(from_mac(&frames, host).is_empty(), "the host side is silent, too");

    let link = pod.link("net1");
    assert_eq!(
        (&link["address"], &link["mtu"], &link["operstate"]),
        (&json!(MAC), &json!(1400), &json!("DOWN"))
    );
    assert_eq!(link["inet6_addr_gen_mode"], "none");
    assert_eq!(pod.ip_json("address show dev net1")[0]["addr_info"], json!([]));
    assert_eq!(result["interfaces"][2]["mac"], MAC);
    assert_eq!(result["interfaces"][2]["mtu"], 1400);
}

#[test]
fn the_host_side_is_a_port_that_sends_nothing_of_its_own_and_says_whose_it_is() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"portIsolation": true, "hairpinMode": true})), &pod).ok();
    let port = lab.port(&host_side("c1", "net1"));
    assert_eq!(port["master"], "br0");
    assert!(port["flags"].as_array().unwrap().contains(&json!("UP")));
    assert!(port["address"].as_str().unwrap().starts_with("fe:"));
    assert_eq!(port["inet6_addr_gen_mode"], "none");
    let flags = &port["linkinfo"]["info_slave_data"];
    assert_eq!((&flags["isolated"], &flags["hairpin"]), (&json!(true), &json!(true)));
    let alias = port["ifalias"].as_str().unwrap();
    for part in ["network=lan", "container=c1", "ifname=net1"] {
        assert!(alias.contains(part), "{alias}");
    }
}

#[test]
fn the_probe_for_it_sends_nothing_but_questions_and_teaches_the_bridge_nothing() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let capture = Capture::start(&lab.lan, "lan0");
    // Nobody answers: the probe lasts until it is killed.
    let asked = vm_conf(json!({"dhcpProbe": {"timeout": "10s"}}));
    let mut add = lab.call("ADD", &asked, "c1", pod.path(), "net1").start();
    let is_question = |frame: &&Vec<u8>| frame.get(36..38) == Some(&[0, 67]);
    support::wait_until("it asks three times", || capture.seen().iter().filter(is_question).count() >= 3);
    let ports = lab.ports("br0");
    let port = lab.port(ports.iter().find(|name| name.starts_with("vethprobe")).unwrap());
    add.kill().unwrap();
    add.wait().unwrap();
    assert_eq!(port["linkinfo"]["info_slave_data"]["learning"], false);
    let frames = capture.stop();
    let source = &frames.iter().find(is_question).unwrap()[6..12];
    let others = frames.iter().filter(|frame| frame[6..12] == *source && !is_question(frame));
    assert_eq!(others.count(), 0);
}

#[test]
fn a_guest_wired_by_kubevirt_gets_its_lease_and_del_leaves_nothing() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let conf = vm_conf(json!({"runtimeConfig": {"mac": MAC}}));
    let result = lab.add(&conf, &pod).ok();
    let guest = wire(&pod, "net1", MAC, 1500);
    assert!(lease(&guest).is_some_and(|address| address.starts_with("10.77.0.1")));
    lab.check(&conf, &result, &pod).ok();

    lab.del(&json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge-dhcp"}), &pod).ok();
    assert!(!pod.has("x-nic"), "the renamed container side went with its host side");
    assert!(!pod.has("net1"), "KubeVirt's placeholder went, too");
    pod.ip("link del k6t-x\nlink del tapx");
    before.assert_unchanged("after DEL");
}

#[test]
fn without_a_requested_mac_the_interface_gets_a_local_one() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let result = lab.add(&vm_conf(json!({})), &pod).ok();
    let mac = pod.link("net1")["address"].as_str().unwrap().to_string();
    assert_eq!(u8::from_str_radix(&mac[..2], 16).unwrap() & 3, 2, "{mac}");
    assert_eq!(result["interfaces"][2]["mac"], mac);
}

#[test]
fn a_mac_may_come_from_cni_args() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let arguments = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=vm;MAC={MAC}");
    lab.call("ADD", &vm_conf(json!({})), "c1", pod.path(), "net1").set("CNI_ARGS", &arguments).run().ok();
    assert_eq!(pod.link("net1")["address"], MAC);
    assert!(lab.port(&host_side("c1", "net1"))["ifalias"].as_str().unwrap().contains("pod=ns/vm"));
}
