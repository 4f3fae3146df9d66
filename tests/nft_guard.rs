//! The MAC-spoof guard in nftables: what passes, what is dropped, and that the ruleset holds one rule or nothing.

use crate::support;

use std::sync::Barrier;

use bridge_dhcp::kernel::nft;
use bridge_dhcp::kernel::nft::guard;
use bridge_dhcp::kernel::nft::guard::Missing;
use bridge_dhcp::net::MacAddress;
use serde_json::Value;
use support::Lab;
use support::namespace::Namespace;
use support::wait_until;
use support::wire::{Capture, send_frame};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FOREIGN: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn mac(octets: [u8; 6]) -> MacAddress {
    MacAddress::new(octets).unwrap()
}

fn ruleset(node: &Namespace) -> String {
    node.run("nft list ruleset")
}

/// The objects of one kind in the guard's table.
fn objects(node: &Namespace, kind: &str) -> Vec<Value> {
    let shown: Value = serde_json::from_str(&node.run("nft -j list ruleset")).unwrap();
    let all = shown["nftables"].as_array().unwrap().iter();
    let ours = all.map(|object| object[kind].clone()).filter(|object| {
        object["family"] == "bridge" && (object["table"] == "bridge_dhcp" || object["name"] == "bridge_dhcp")
    });
    ours.collect()
}

/// Adds a pod with interface `eth0`, whose host side `host` is a forwarding port of `br0`.
fn plug(lab: &Lab, host: &str) -> Namespace {
    let pod = lab.pod();
    lab.node.ip(&format!(
        "link add {host} type veth peer name eth0 netns {}\nlink set {host} master br0\nlink set {host} up",
        pod.name()
    ));
    pod.ip("link set eth0 up");
    wait_until("the port forwards", || lab.node.forwards(host));
    pod
}

/// A header that br_netfilter accepts: 50 bytes from 10.0.0.1, of a protocol for experiments (RFC 791, RFC 3692).
const IPV4: [u8; 20] = [0x45, 0, 0, 50, 0, 0, 0, 0, 64, 253, 0x6f, 0xcf, 10, 0, 0, 1, 255, 255, 255, 255];
/// The same of IPv6: ten bytes that are no header behind it (RFC 8200).
const IPV6: [u8; 8] = [0x60, 0, 0, 0, 0, 10, 59, 64];

/// Broadcast frames of several protocols, plain and under VLAN tags; the last byte of each is its number.
fn frames(source: [u8; 6], first: u8) -> Vec<Vec<u8>> {
    let kinds: [(&[u8], &[u8]); 7] = [
        (&[0x08, 0x00], &IPV4),
        (&[0x86, 0xdd], &IPV6),
        (&[0x08, 0x06], &[]),
        (&[0x88, 0xb5], &[]),
        (&[0x81, 0x00, 0x00, 0x78, 0x08, 0x00], &IPV4),
        (&[0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x00, 0x78, 0x08, 0x06], &[]),
        // A length instead of an ethertype: IEEE 802.3 with LLC.
        (&[0x00, 0x2e], &[]),
    ];
    let frame = |((kind, header), number): (&(&[u8], &[u8]), u8)| {
        let mut frame = [&[0xff; 6][..], &source[..], kind, header].concat();
        frame.resize(63, 0);
        frame.push(number);
        frame
    };
    kinds.iter().zip(first..).map(frame).collect()
}

/// The numbers of the frames of `source` that reach the LAN when the pod sends these.
fn arrivals(lab: &Lab, pod: &Namespace, sent: &[Vec<u8>]) -> Vec<u8> {
    let capture = Capture::start(&lab.lan, "lan0");
    for frame in sent {
        assert!(send_frame(pod, "eth0", frame));
    }
    // The end mark comes behind all others by the same way, from the port's own address.
    let mut end = frames(OWN, 200).remove(3);
    end[63] = 0xee;
    assert!(send_frame(pod, "eth0", &end));
    let numbers = |seen: Vec<Vec<u8>>| {
        let ours = seen.into_iter().filter(|frame| frame[..6] == [0xff; 6] && frame[6] == 2);
        ours.filter_map(|frame| frame.last().copied()).collect::<Vec<_>>()
    };
    wait_until("the end mark arrives", || numbers(capture.seen()).contains(&0xee));
    numbers(capture.stop()).into_iter().filter(|number| *number != 0xee).collect()
}

#[test]
fn only_the_own_source_address_enters_by_a_protected_port() {
    let lab = Lab::new("");
    let (pod, other) = (plug(&lab, "veth1"), plug(&lab, "veth2"));
    assert_eq!(arrivals(&lab, &pod, &frames(FOREIGN, 1)), [1, 2, 3, 4, 5, 6, 7], "nothing is protected yet");

    lab.node.enter(|| guard::protect("veth1", mac(OWN))).unwrap();
    let all = [frames(OWN, 1), frames(FOREIGN, 11)].concat();
    assert_eq!(arrivals(&lab, &pod, &all), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(
        arrivals(&lab, &other, &frames(FOREIGN, 1)),
        [1, 2, 3, 4, 5, 6, 7],
        "another port is not protected"
    );

    lab.node.enter(|| guard::unprotect("veth1")).unwrap();
    assert_eq!(arrivals(&lab, &pod, &frames(FOREIGN, 1)), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn one_ports_address_does_not_pass_by_another_protected_port() {
    let lab = Lab::new("");
    let pod = plug(&lab, "veth1");
    lab.node.enter(|| guard::protect("veth1", mac(OWN))).unwrap();
    lab.node.enter(|| guard::protect("veth2", mac(FOREIGN))).unwrap();
    assert_eq!(arrivals(&lab, &pod, &frames(FOREIGN, 1)), [0; 0]);
}

#[test]
fn a_new_address_replaces_the_ports_old_one() {
    let node = Namespace::new("node");
    node.enter(|| guard::protect("veth1", mac(FOREIGN))).unwrap();
    node.enter(|| guard::protect("veth1", mac(OWN))).unwrap();
    assert_eq!(node.enter(|| guard::verify("veth1", mac(FOREIGN))).unwrap(), [Missing::Address]);
    assert_eq!(node.enter(|| guard::verify("veth1", mac(OWN))).unwrap(), []);
}

#[test]
fn the_ruleset_holds_one_rule_however_many_ports_are_protected_at_once() {
    let node = Namespace::new("node");
    let start = Barrier::new(16);
    std::thread::scope(|scope| {
        for number in 0..16u8 {
            let (node, start) = (&node, &start);
            scope.spawn(move || {
                node.enter(|| {
                    start.wait();
                    guard::protect(&format!("veth{number}"), mac([2, 0, 0, 0, 1, number])).unwrap();
                });
            });
        }
    });
    for number in 0..16u8 {
        let missing = node.enter(|| guard::verify(&format!("veth{number}"), mac([2, 0, 0, 0, 1, number])));
        assert_eq!(missing.unwrap(), [], "veth{number}");
    }
    let rules = objects(&node, "rule");
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert!(
        ruleset(&node).contains("iifname @ports iifname . ether saddr != @allowed drop"),
        "{}",
        ruleset(&node)
    );
    let chains = objects(&node, "chain");
    assert_eq!(chains.len(), 1);
    assert_eq!((&chains[0]["hook"], &chains[0]["prio"]), (&"prerouting".into(), &Value::from(-300)));
    for set in objects(&node, "set") {
        assert_eq!(set["elem"].as_array().unwrap().len(), 16, "{set}");
    }
    assert_eq!(node.enter(nft::attachments).unwrap().len(), 16);
}

/// Tables of others, among them the incumbent's guard at the same hook.
const OTHERS: &str = r#"
table bridge nat {
    chain cni-br-iface-x {
        ether saddr != 02:00:00:00:00:09 drop
    }
    chain PREROUTING {
        type filter hook prerouting priority dstnat; policy accept;
        iifname "veth9" jump cni-br-iface-x
    }
}
table bridge filter {
    set ports {
        type inet_service
        elements = { 22 }
    }
    chain input {
        type filter hook input priority 0; policy accept;
        udp dport @ports accept
    }
}
"#;

#[test]
fn nothing_is_left_when_the_last_port_goes() {
    let node = Namespace::new("node");
    for others in ["", OTHERS] {
        node.nft(others);
        let before = ruleset(&node);
        assert_eq!(before.is_empty(), others.is_empty());
        node.enter(|| guard::protect("veth1", mac(OWN))).unwrap();
        node.enter(|| guard::protect("veth2", mac(FOREIGN))).unwrap();
        node.enter(|| guard::unprotect("veth1")).unwrap();
        assert_eq!(node.enter(|| guard::verify("veth2", mac(FOREIGN))).unwrap(), []);
        assert_eq!(
            node.enter(|| guard::verify("veth1", mac(OWN))).unwrap(),
            [Missing::Port, Missing::Address]
        );
        node.enter(|| guard::unprotect("veth1")).unwrap();
        assert_ne!(ruleset(&node), before);
        node.enter(|| guard::unprotect("veth2")).unwrap();
        assert_eq!(ruleset(&node), before);
        node.enter(|| guard::unprotect("veth2")).unwrap();
        assert_eq!(ruleset(&node), before);
    }
}

#[test]
fn what_others_take_away_is_noticed_and_restored() {
    use Missing::{Address, Chain, Port, Rule, Table};
    let lab = Lab::new("");
    let pod = plug(&lab, "veth1");
    let table = "bridge bridge_dhcp";
    let damages: [(String, &[Missing]); 8] = [
        (format!("flush chain {table} prerouting"), &[Rule]),
        (format!("insert rule {table} prerouting accept"), &[Rule]),
        (format!("flush set {table} ports"), &[Port]),
        (format!("flush set {table} allowed"), &[Address]),
        (format!("flush chain {table} prerouting; delete chain {table} prerouting"), &[Chain]),
        (
            format!(
                "flush chain {table} prerouting; delete chain {table} prerouting; add chain {table} prerouting {{ type filter hook prerouting priority 0; }}"
            ),
            &[Chain],
        ),
        (format!("add table {table} {{ flags dormant; }}"), &[Table]),
        ("flush ruleset".to_string(), &[Chain, Port, Address]),
    ];
    lab.node.enter(|| guard::protect("veth1", mac(OWN))).unwrap();
    for (damage, missing) in damages {
        lab.node.nft(&damage);
        assert_eq!(lab.node.enter(|| guard::verify("veth1", mac(OWN))).unwrap(), missing, "{damage}");
        lab.node.enter(|| guard::protect("veth1", mac(OWN))).unwrap();
        assert_eq!(lab.node.enter(|| guard::verify("veth1", mac(OWN))).unwrap(), [], "{damage}");
        assert_eq!(objects(&lab.node, "rule").len(), 1, "{damage}");
        assert_eq!(arrivals(&lab, &pod, &frames(FOREIGN, 1)), [0; 0], "{damage}");
    }
    let whole = ruleset(&lab.node);
    lab.node.nft(&format!("flush ruleset; {whole}"));
    assert_eq!(ruleset(&lab.node), whole, "can be stored and loaded");
    assert_eq!(lab.node.enter(|| guard::verify("veth1", mac(OWN))).unwrap(), []);
    for damage in [format!("flush set {table} allowed"), format!("flush set {table} ports")] {
        lab.node.nft(&damage);
        lab.node.enter(|| guard::unprotect("veth1")).unwrap();
        assert_eq!(ruleset(&lab.node), "", "{damage}");
        lab.node.enter(|| guard::protect("veth1", mac(OWN))).unwrap();
    }
}
