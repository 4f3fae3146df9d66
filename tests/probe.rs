//! What an answered probe does: it finds the offer the way a guest's frames would go, takes no lease, says nothing
//! under the guest's MAC, and leaves nothing, however it ends.

use crate::support;

use std::time::Instant;

use serde_json::{Value, json};
use support::guest::DhcpServer;
use support::namespace::Namespace;
use support::wire::{Capture, from_mac};
use support::{Before, Lab, conf, host_side, vm_conf, wait_until};

const MAC: &str = "02:00:00:00:00:99";

fn probing(probe: Value) -> Value {
    vm_conf(json!({"dhcpProbe": probe, "runtimeConfig": {"mac": MAC}}))
}

#[test]
fn the_offer_is_found_and_no_lease_is_taken() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let leases = || std::fs::read_to_string(lab.files.join("leases")).unwrap_or_default();
    let before = leases();
    let pod = lab.pod();
    let (path, log) = lab.log_file("log");
    let mut asked = probing(json!(true));
    asked["logFile"] = path.into();
    let result = lab.add(&asked, &pod).ok();
    assert_eq!(leases(), before);
    assert!(result["ips"].as_array().is_none_or(Vec::is_empty), "an offer is no address");
    let logged = std::fs::read_to_string(log).unwrap();
    assert!(logged.contains("offer of 10.77.0.1") && logged.contains("from server 10.77.0.1"), "{logged}");
    assert!(!logged.contains("[warning]"), "{logged}");
}

#[test]
fn no_frame_has_the_guests_mac_and_every_probe_has_the_same_other_one() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let capture = Capture::start(&lab.lan, "lan0");
    for _ in 0..3 {
        let pod = lab.pod();
        lab.add(&probing(json!(true)), &pod).ok();
        assert!(pod.link("net1")["operstate"] == "DOWN");
        lab.del(&probing(json!(true)), &pod).ok();
    }
    let frames = capture.stop();
    assert!(from_mac(&frames, MAC).is_empty(), "a frame carries the guest's MAC as its source");
    let discovers: Vec<_> = frames.iter().filter(|frame| frame.get(36..38) == Some(&[0, 67])).collect();
    assert!(discovers.len() >= 3, "{}", discovers.len());
    let chaddr = [2, 0, 0, 0, 0, 0x99];
    for frame in &discovers {
        assert_eq!(frame[6..12], discovers[0][6..12], "one source for every probe of this bridge");
        assert_eq!(frame[6] & 3, 2, "locally administered");
        assert_eq!(frame[70..76], chaddr, "asked for the attachment");
        assert_eq!(frame[52] & 0x80, 0x80, "broadcast flag");
        assert_eq!(frame[282 + 2], 1, "DHCPDISCOVER and nothing else");
    }
}

#[test]
fn the_forwarding_table_gets_no_entry_and_the_bridge_keeps_its_mac() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let pod = lab.pod();
    let mac = lab.port("br0")["address"].clone();
    let capture = Capture::start(&lab.lan, "lan0");
    lab.add(&probing(json!(true)), &pod).ok();
    let frames = capture.stop();
    let discover = frames.iter().find(|frame| frame.get(36..38) == Some(&[0, 67])).unwrap();
    let source = discover[6..12].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    for mac in [MAC, &source] {
        assert_eq!(lab.node.learned(mac), "");
    }
    assert_eq!(lab.port("br0")["address"], mac);
}

#[test]
fn every_mode_probes_and_add_then_del_leaves_nothing() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    for asked in [
        probing(json!(true)),
        probing(json!({"clientMac": "ephemeral"})),
        conf(json!({"dhcpProbe": true})),
        conf(json!({"dhcpProbe": {"servers": ["10.77.0.1"], "subnets": ["10.77.0.0/24"]}})),
        conf(json!({"dhcpProbe": true, "portIsolation": true})),
    ] {
        lab.add(&asked, &pod).ok();
        lab.del(&asked, &pod).ok();
        lab.wait_until_probes_are_gone("br0");
        before.assert_unchanged("after ADD and DEL");
    }
}

#[test]
fn a_kill_at_any_moment_leaves_nothing() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    // Nobody answers: the probe lasts until it is killed.
    let asked = probing(json!({"timeout": "10s"}));
    let mut reached = 0;
    for moment in 0..8 {
        let mut child = lab.call("ADD", &asked, "c1", pod.path(), "net1").start();
        if moment % 2 == 0 {
            wait_until("the probe's port appears", || lab.probe_ports("br0") == 1);
            reached += 1;
        } else {
            // Anywhere before that; a later moment each time.
            std::thread::sleep(std::time::Duration::from_micros(400 * moment));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lab.del(&asked, &pod).ok();
        lab.wait_until_probes_are_gone("br0");
        before.assert_unchanged(&format!("killed at moment {moment}"));
    }
    assert_eq!(reached, 4);
}

#[test]
fn a_node_that_is_too_slow_to_ask_is_told_from_a_silent_server() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let mut asked = probing(json!({"timeout": "100ms"}));
    asked["deadline"] = "60s".into();
    // The namespace of the temporary port takes longer than the probe may.
    let slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=unshare:delay_exit=400000"];
    let said = lab.call("ADD", &asked, "c1", pod.path(), "net1").under(&slow).run().error(122);
    assert!(said.contains("could not ask within 0.1 s") && said.contains("overloaded"), "{said}");
    lab.wait_until_probes_are_gone("br0");
    before.assert_unchanged("after the failed ADD");
}

#[test]
fn onfailure_warn_attaches_and_logs_the_diagnosis() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let (path, log) = lab.log_file("log");
    let mut asked = probing(json!({"timeout": "2s", "onFailure": "warn"}));
    asked["logFile"] = path.into();
    lab.add(&asked, &pod).ok();
    assert!(pod.has("net1"));
    let logged = std::fs::read_to_string(log).unwrap();
    assert!(logged.contains("[warning]") && logged.contains("(code 110)"), "{logged}");
}

/// A LAN behind a second uplink of `br0`: `lan2` has 10.77.0.2 there.
fn second_lan(lab: &Lab) -> Namespace {
    let lan = Namespace::new("first");
    lab.node.ip(&format!(
        "link add up2 type veth peer name lan2 netns {}\nlink set up2 master br0\nlink set up2 up",
        lan.name()
    ));
    lan.ip("link set lan2 up\naddress add 10.77.0.2/24 dev lan2");
    lan
}

#[test]
fn two_servers_and_missing_routers_are_warnings() {
    let lab = Lab::new("");
    let first = second_lan(&lab);
    let _second = DhcpServer::on(
        &first,
        "lan2",
        &lab.files.join("leases2"),
        &["--no-ping", "--dhcp-range=10.77.0.50,10.77.0.60,3600", "--dhcp-option=3"],
    );
    let _server = DhcpServer::with(&lab, &["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.110,3600"]);
    wait_until("the second uplink forwards", || lab.node.forwards("up2"));
    let (path, log) = lab.log_file("log");
    let mut asked = probing(json!(true));
    asked["logFile"] = path.into();
    // The second offer is awaited for milliseconds only: a busy machine may need another try.
    wait_until("both servers answer in time", || {
        let pod = lab.pod();
        lab.add(&asked, &pod).ok();
        lab.del(&asked, &pod).ok();
        std::fs::read_to_string(&log).unwrap().contains("2 DHCP servers answer: ")
    });
    let logged = std::fs::read_to_string(log).unwrap();
    assert!(logged.contains("server 10.77.0.2 names no router"), "{logged}");
}

#[test]
fn another_server_beside_the_allowed_one_is_kept_as_a_warning_or_refused() {
    let lab = Lab::new("");
    let first = second_lan(&lab);
    let range = ["--no-ping", "--dhcp-range=10.77.0.50,10.77.0.60,3600"];
    let _stranger = DhcpServer::on(&first, "lan2", &lab.files.join("leases2"), &range);
    let _server = DhcpServer::with(&lab, &["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.110,3600"]);
    wait_until("the second uplink forwards", || lab.node.forwards("up2"));
    let allowed =
        |others: &str| probing(json!({"timeout": "5s", "servers": ["10.77.0.1"], "otherServers": others}));
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let said = lab.add(&allowed("fail"), &pod).error(113);
    assert!(said.contains("rogue DHCP server 10.77.0.2"), "{said}");
    lab.wait_until_probes_are_gone("br0");
    before.assert_unchanged("after the refusal");
    // The second offer is awaited for milliseconds only: a busy machine may need another try.
    wait_until("the warning is kept in the port's label", || {
        lab.add(&allowed("warn"), &pod).ok();
        let port = lab.port(&host_side("c1", "net1"));
        lab.del(&allowed("warn"), &pod).ok();
        port["ifalias"].as_str().unwrap().contains(" warned=113")
    });
}

#[test]
fn what_an_add_warned_of_stays_with_the_attachment() {
    let lab = Lab::empty();
    lab.bridge("br0", "address 02:00:00:00:0b:00 ");
    let pod = lab.pod();
    let mut conf = probing(json!({"timeout": "300ms", "onFailure": "warn"}));
    conf["uplinkCheck"] = "warn".into();
    conf["isGateway"] = true.into();
    let before = Before::new(&lab, &pod);
    lab.add(&conf, &pod).ok();
    let alias = lab.port(&host_side("c1", "net1"))["ifalias"].as_str().unwrap().to_string();
    assert!(alias.contains(" warned=2+105 ") || alias.ends_with(" warned=2+105"), "{alias}");
    lab.del(&conf, &pod).ok();
    lab.wait_until_probes_are_gone("br0");
    before.assert_unchanged("after DEL");
}

#[test]
fn an_answered_probe_costs_an_add_little() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let time = |conf: &Value| {
        let pod = lab.pod();
        let started = Instant::now();
        lab.add(conf, &pod).ok();
        let elapsed = started.elapsed();
        lab.del(conf, &pod).ok();
        lab.wait_until_probes_are_gone("br0");
        elapsed
    };
    let (plain, probing) = (vm_conf(json!({})), probing(json!(true)));
    // In turns, so that a busy machine is as busy for both.
    let (mut without, mut with): (Vec<_>, Vec<_>) = (0..31).map(|_| (time(&plain), time(&probing))).unzip();
    without.sort();
    with.sort();
    let [without, with] = [without, with].map(|times| times[times.len() / 2]);
    println!("measured: ADD in VM mode {without:?}, with an answered probe {with:?} (medians of 31)");
}
