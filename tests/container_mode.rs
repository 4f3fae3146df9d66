//! Container mode without IPAM: the interface is up and its port forwards when ADD returns.

use crate::support;

use std::path::Path;

use serde_json::json;
use support::plugin::script;
use support::wire::{Capture, frame, from_mac, send_frame};
use support::{Before, Lab, conf, host_side, other_plugins_pair, vm_conf, wait_until, with_result};

#[test]
fn the_first_frame_after_add_reaches_the_lan() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let mac = "02:00:00:00:00:11";
    lab.add(&conf(json!({"runtimeConfig": {"mac": mac}})), &pod).ok();
    assert_eq!(lab.port(&host_side("c1", "net1"))["linkinfo"]["info_slave_data"]["state"], "forwarding");
    let capture = Capture::start(&lab.lan, "lan0");
    assert!(send_frame(&pod, "net1", &frame([2, 0, 0, 0, 0, 0x11], 7)));
    wait_until("the LAN sees the frame", || !from_mac(&capture.seen(), mac).is_empty());
    let frames = capture.stop();
    assert_eq!(from_mac(&frames, mac).iter().filter(|frame| frame[14..] == [7; 46]).count(), 1);
}

fn jumbo_lab() -> Lab {
    let lab = Lab::new("");
    lab.lan.ip("link set lan0 mtu 9000");
    // The bridge follows its uplink's MTU; nobody pins its own.
    lab.node.ip("link set ens192 mtu 9000");
    assert_eq!(lab.port("br0")["mtu"], 9000);
    lab
}

#[test]
fn a_jumbo_bridge_keeps_its_mtu_when_a_default_attachment_joins() {
    let lab = jumbo_lab();
    let pods = [lab.pod(), lab.pod()];
    lab.add(&conf(json!({})), &pods[0]).ok();
    lab.call("ADD", &conf(json!({"mtu": 1400})), "c2", pods[1].path(), "net1").run().ok();
    assert_eq!(lab.port("br0")["mtu"], 9000);
    assert_eq!(lab.port(&host_side("c1", "net1"))["mtu"], 9000);
    assert_eq!(lab.port(&host_side("c2", "net1"))["mtu"], 9000);
    assert_eq!((&pods[0].link("net1")["mtu"], &pods[1].link("net1")["mtu"]), (&json!(9000), &json!(1400)));
}

#[test]
fn nor_does_a_probe_lower_it() {
    let lab = jumbo_lab();
    let pod = lab.pod();
    // Nobody answers: the probe lasts until it is killed.
    let asked = conf(json!({"dhcpProbe": {"timeout": "10s"}}));
    let mut add = lab.call("ADD", &asked, "c1", pod.path(), "net1").start();
    wait_until("the probe's port appears", || lab.probe_ports("br0") == 1);
    let mtu = lab.port("br0")["mtu"].clone();
    add.kill().unwrap();
    add.wait().unwrap();
    assert_eq!(mtu, 9000);
}

#[test]
fn another_plugins_interface_changes_neither_mac_nor_mtu_of_the_bridge() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let seen = || [lab.port("br0")["address"].clone(), lab.port("br0")["mtu"].clone()];
    let before = seen();
    let result = other_plugins_pair(&lab, &pod);
    let chained = with_result(&conf(json!({"cniVersion": "1.0.0"})), &result);
    lab.add(&chained, &pod).ok();
    assert_eq!(seen(), before);
    lab.del(&chained, &pod).ok();
    assert_eq!(seen(), before);
}

#[test]
fn the_bridge_keeps_its_mac_when_ports_come_and_go() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let mac = lab.port("br0")["address"].clone();
    for _ in 0..5 {
        lab.add(&conf(json!({})), &pod).ok();
        assert_eq!(lab.port("br0")["address"], mac);
        lab.del(&conf(json!({})), &pod).ok();
        assert_eq!(lab.port("br0")["address"], mac);
    }
}

#[test]
fn a_created_bridge_keeps_the_mtu_that_the_config_names() {
    for mtu in [68, 1499, 1500, 5000] {
        let lab = Lab::empty();
        let asked = vm_conf(json!({"bridge": "made", "createBridge": true, "mtu": mtu}));
        for _ in 0..2 {
            let pod = lab.pod();
            lab.add(&asked, &pod).ok();
            assert_eq!(lab.port("made")["mtu"], mtu);
            lab.del(&asked, &pod).ok();
            assert_eq!(lab.port("made")["mtu"], mtu, "without a port");
        }
        // Nor does a smaller port of somebody else's lower it.
        lab.node.ip("link add small mtu 1280 type veth peer name peer\nlink set small master made");
        assert_eq!(lab.port("made")["mtu"], mtu);
    }
}

#[test]
fn the_host_side_has_no_ipv6_address() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&conf(json!({})), &pod).ok();
    let shown = lab.node.ip_json(&format!("address show dev {}", host_side("c1", "net1")));
    assert_eq!(shown[0]["addr_info"], json!([]));
}

#[test]
fn a_promiscuous_bridge_and_a_created_one_are_exceptions_by_name() {
    let lab = Lab::empty();
    let pod = lab.pod();
    let asked = conf(json!({"bridge": "made", "createBridge": true, "promiscMode": true, "mtu": 1300}));
    let result = lab.add(&asked, &pod).ok();
    let bridge = lab.port("made");
    assert!(bridge["flags"].as_array().unwrap().contains(&json!("PROMISC")));
    assert_eq!((&bridge["mtu"], &result["interfaces"][0]["mac"]), (&json!(1300), &bridge["address"]));
}

#[test]
fn a_slow_stp_bridge_does_not_hold_up_the_pod() {
    let lab = Lab::empty();
    lab.bridge("br0", "stp_state 1 forward_delay 1500");
    let pod = lab.pod();
    let outcome = lab.add(&conf(json!({})), &pod);
    assert!(outcome.stderr.contains("runs STP") && outcome.stderr.contains("30 s"), "{}", outcome.stderr);
    outcome.ok();
}

#[test]
fn a_slow_stp_bridge_is_no_place_to_ask_for_a_lease() {
    let lab = Lab::empty();
    lab.bridge("br0", "address 02:00:00:00:00:b0 stp_state 1 forward_delay 1500");
    let pod = lab.pod();
    let asked = lab.files.join("asked");
    let path = script(&lab.files, "dhcp", &format!("touch {}; exit 1", asked.display()));
    let before = Before::new(&lab, &pod);
    let conf = conf(json!({"ipam": {"type": "dhcp"}}));
    let said = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().error(115);
    for part in [
        "runs STP",
        "30 s",
        "15 s",
        "ip link set br0 type bridge stp_state 0",
        "raise \"deadline\" to \"45s\"",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let said = lab.call("STATUS", &conf, "", Path::new(""), "").set("CNI_PATH", &path).run().error(50);
    assert!(said.contains("runs STP"), "{said}");
    assert!(!asked.exists());
    before.assert_unchanged("after the refusal");
}

#[test]
fn a_quick_stp_bridge_is_waited_for() {
    let lab = Lab::empty();
    lab.bridge("br0", "stp_state 1 forward_delay 200");
    let pod = lab.pod();
    lab.add(&conf(json!({})), &pod).ok();
    assert_eq!(lab.port(&host_side("c1", "net1"))["linkinfo"]["info_slave_data"]["state"], "forwarding");
}
