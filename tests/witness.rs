//! What drops a guest's DHCP on the node although a healthy server answers, and what only looks healthy: each row is made for
//! real, and the plugin says where the frame was last seen and what dropped it.

use crate::support;

use std::any::Any;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bridge_dhcp::dhcp::discover;
use bridge_dhcp::net::MacAddress;
use dhcproto::v4::{Decodable, Message, MessageType};
use nix::sys::socket::{MsgFlags, send};
use serde_json::{Value, json};
use support::faulty::{FaultyServer, answer, tagged};
use support::feature::{Feature, needs};
use support::guest::DhcpServer;
use support::namespace::Namespace;
use support::plugin::{Outcome, executable};
use support::wire::{bound_socket, frame};
use support::{Before, Lab, host_side, vm_conf, wait_until};

/// What a fault needs to last.
type Guards = Vec<Box<dyn Any>>;

const ANSWER_LOST: &str =
    "the DHCP answer entered bridge br0 by ens192 and reached no port: this node drops it";
const QUESTION_LOST: &str =
    "the DHCP question of a port of bridge br0 never left by ens192: this node drops it";

/// A row: the test's name, what the kernel must have, the bridge's options, the fault, the config's keys, the code, and what
/// must be said.
macro_rules! table {
    ($($name:ident: [$($feature:ident)*] $options:literal, $fault:expr, $conf:tt => $code:literal $says:expr;)+) => {
        $(
            #[test]
            fn $name() {
                $(if !needs(Feature::$feature) { return; })*
                diagnosed(stringify!($name), $options, $fault, json!($conf), $code, &$says);
            }
        )+
    };
}

table! {
    netdev_ingress_drops_all: [Netdev] "", |lab| nft(lab, "netdev guard", "ingress device ens192 priority 0; policy drop;", ""), {} => 112 [ANSWER_LOST, "table netdev guard chain c"];
    netdev_ingress_drops_answers: [Netdev] "", |lab| nft(lab, "netdev guard", "ingress device ens192 priority 0;", "udp dport 68 drop"), {} => 112 [ANSWER_LOST, "table netdev guard chain c", "nft delete rule netdev guard c handle "];
    netdev_egress_drops_questions: [Netdev] "", |lab| nft(lab, "netdev guard", "egress device ens192 priority 0;", "udp dport 67 drop"), {} => 112 [QUESTION_LOST, "table netdev guard chain c", "nft delete rule netdev guard c handle "];
    inet_ingress_drops_answers: [Netdev] "", |lab| nft(lab, "inet guard", "ingress device ens192 priority 0;", "udp dport 68 drop"), {} => 112 [ANSWER_LOST, "table inet guard chain c"];
    the_reverse_path_filter_drops_answers: [BridgeNetfilter Nat] "", |lab| nft(lab, "ip guard", "prerouting priority raw;", "fib saddr . iif oif missing drop"), {} => 112 [ANSWER_LOST, "table ip guard chain c", "br_netfilter"];
    inet_prerouting_drops_answers: [BridgeNetfilter Nat] "", |lab| nft(lab, "inet guard", "prerouting priority mangle;", "udp dport 68 drop"), {} => 112 [ANSWER_LOST, "table inet guard chain c"];
    ip_postrouting_drops_answers: [BridgeNetfilter Nat] "", |lab| nft(lab, "ip guard", "postrouting priority 0;", "udp dport 68 drop"), {} => 112 [ANSWER_LOST, "table ip guard chain c"];
    bridge_prerouting_drops_answers: [] "", |lab| nft(lab, "bridge guard", "prerouting priority -300;", "udp dport 68 drop"), {} => 112 [ANSWER_LOST, "table bridge guard chain c", "nft delete rule bridge guard c handle "];
    bridge_prerouting_drops_questions: [] "", |lab| nft(lab, "bridge guard", "prerouting priority 0;", "udp dport 67 drop"), {} => 112 [QUESTION_LOST, "table bridge guard chain c"];
    bridge_postrouting_drops_questions: [] "", |lab| nft(lab, "bridge guard", "postrouting priority 300;", "udp dport 67 drop"), {} => 112 [QUESTION_LOST, "table bridge guard chain c"];
    a_verdict_map_drops_answers: [] "", |lab| nft(lab, "bridge guard", "forward priority -200;", "udp dport vmap { 67 : accept, 68 : drop }"), {} => 112 [ANSWER_LOST, "table bridge guard chain c"];
    a_chain_that_is_jumped_to_drops: [] "", jumped_to, {} => 112 [ANSWER_LOST, "table bridge guard chain deep", "nft delete rule bridge guard deep handle "];
    ebtables_of_nftables_drops: [EbtablesNft] "", |lab| { lab.node.run("ebtables-nft -A FORWARD -p IPv4 --ip-protocol udp --ip-destination-port 68 -j DROP"); dnsmasq(lab) }, {} => 112 [ANSWER_LOST, "table bridge filter chain FORWARD"];
    legacy_iptables_drops: [BridgeNetfilter] "", |lab| { lab.node.run("iptables-legacy -I FORWARD -p udp -j DROP"); dnsmasq(lab) }, {} => 112 [QUESTION_LOST, "iptables' FORWARD chain"];
    a_queue_without_room_drops_questions: [Tbf] "", |lab| { lab.node.run("tc qdisc add dev ens192 root tbf rate 1kbit burst 100 limit 100"); dnsmasq(lab) }, {} => 112 [QUESTION_LOST, "qdisc tbf of ens192"];
    tc_redirects_answers_away: [U32Mirred] "", |lab| redirected(lab, "ingress", 68), {} => 112 [ANSWER_LOST, "tc filter u32 on ens192 ingress"];
    tc_redirects_questions_away: [U32Mirred] "", |lab| redirected(lab, "egress", 67), {} => 112 [QUESTION_LOST, "tc filter u32 on ens192 egress"];
    tc_drops_answers: [TcActions] "", |lab| tc(lab, "ingress matchall action drop"), {} => 112 [ANSWER_LOST, "tc filter matchall on ens192 ingress"];
    tc_drops_questions: [TcActions] "", |lab| tc(lab, "egress protocol ip flower ip_proto udp dst_port 67 action drop"), {} => 112 [QUESTION_LOST, "tc filter flower on ens192 egress"];
    tc_polices_answers: [TcActions] "", |lab| tc(lab, "ingress matchall action police rate 8kbit burst 64 conform-exceed drop"), {} => 112 [ANSWER_LOST, "tc filter matchall on ens192 ingress"];
    legacy_ebtables_drops: [EbtablesLegacy] "", |lab| { lab.node.run("ebtables-legacy -A FORWARD -p IPv4 --ip-protocol udp --ip-destination-port 68 -j DROP"); dnsmasq(lab) }, {} => 112 [ANSWER_LOST, "ebtables-legacy"];
    the_uplink_is_locked: [] "", locked_uplink, {} => 112 [ANSWER_LOST, "port ens192 is locked", "bridge link set dev ens192 locked off"];
    the_uplink_is_isolated: [] "", |lab| { lab.node.ip("link set ens192 type bridge_slave isolated on"); dnsmasq(lab) }, {"portIsolation": true} => 112 [QUESTION_LOST, "port ens192 is isolated"];
    the_uplink_floods_no_broadcasts: [] "", |lab| { lab.node.ip("link set ens192 type bridge_slave bcast_flood off"); dnsmasq(lab) }, {} => 112 [QUESTION_LOST, "port ens192 has bcast_flood off"];
    an_xdp_program_drops_answers: [Xdp] "", xdp, {} => 110 ["seen leaving by ens192", "XDP program", "ip link set dev ens192 xdp off"];
    nobody_answers: [] "", |_| vec![], {} => 110 ["no DHCP server answers on bridge br0: ", "seen leaving by ens192, and no reply within"];
    frames_come_back: [] "", reflected, {} => 117 ["comes back by it", "a loop, or a switch that reflects frames"];
    only_other_vlans_are_heard: [] "", |lab| chatter(lab, &[10, 20]), {} => 118 ["heard on ens192 in ", ": 10, 20; nothing untagged", "native (untagged) VLAN"];
    none_of_the_vlan_is_heard: [VlanFiltering] "vlan_filtering 1", |lab| { lab.node.run("bridge vlan add dev ens192 vid 120"); chatter(lab, &[0, 10, 20]) }, {"vlan": 120} => 118 [": untagged, 10, 20; nothing in VLAN 120", "allow VLAN 120, tagged, on the switch port behind ens192"];
    answers_come_with_another_tag: [VlanFiltering] "vlan_filtering 1", |lab| { lab.lan.ip("address add 10.77.0.1/24 dev lan0"); vec![Box::new(FaultyServer::tagging(&lab.lan, "lan0", 5))] }, {} => 110 ["replies came tagged VLAN 5", "untag VLAN 5"];
}

fn diagnosed(
    name: &str,
    options: &str,
    fault: impl FnOnce(&Lab) -> Guards,
    keys: Value,
    code: u64,
    says: &[&str],
) {
    let lab = Lab::new(options);
    let _guards = fault(&lab);
    let pod = lab.pod();
    let mut conf = vm_conf(json!({"dhcpProbe": {"timeout": "2500ms"}}));
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let before = Before::new(&lab, &pod);
    let said = lab.add(&conf, &pod).error(code);
    println!("measured: {:40} {}", name.replace('_', " "), said.lines().next().unwrap());
    support::assert_diagnosis(&said, says);
    lab.wait_until_probes_are_gone("br0");
    before.assert_unchanged("after the failed ADD");
}

#[test]
fn frames_that_come_back_are_a_kept_warning_where_an_offer_came() {
    let lab = Lab::new("");
    let _guards = reflected(&lab);
    lab.lan.ip("address add 10.77.0.1/24 dev sw0");
    let options = ["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600"];
    let _server = DhcpServer::on(&lab.lan, "sw0", &lab.files.join("leases"), &options);
    let pod = lab.pod();
    let conf = vm_conf(json!({"dhcpProbe": true}));
    lab.add(&conf, &pod).ok();
    let alias = lab.port(&host_side("c1", "net1"))["ifalias"].as_str().unwrap().to_string();
    assert!(alias.contains(" warned=117"), "{alias}");
    let doctor = lab.node.pipe(&executable(), &["doctor", "--bridge", "br0", "--json"], "");
    let said: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let dhcp = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "dhcp").unwrap();
    assert_eq!((doctor.status.code(), &dhcp["code"]), (Some(1), &117.into()), "{said}");
    println!("measured: {:40} {}", "frames come back, an offer, too", dhcp["message"]);
}

/// What a bond's idle member hears of its own is no loop, and its members are looked at.
#[test]
fn a_bonds_members_are_listened_to() {
    if !needs(Feature::Bonding) {
        return;
    }
    let lab = Lab::empty();
    lab.bridge("br0", "");
    let lan = lab.lan.name();
    lab.lan.ip("link add sw0 type bridge\nlink set sw0 up");
    lab.node.ip(&format!(
        "link add bond0 type bond mode active-backup\nlink add eth0 type veth peer name lan0 netns {lan}\nlink add eth1 type veth peer name lan1 netns {lan}\nlink set eth0 master bond0\nlink set eth1 master bond0\nlink set bond0 master br0\nlink set bond0 up"
    ));
    lab.lan.ip("link set lan0 master sw0\nlink set lan1 master sw0\nlink set lan0 up\nlink set lan1 up");
    wait_until("both switch ports forward", || lab.lan.forwards("lan0") && lab.lan.forwards("lan1"));
    wait_until("the bond forwards", || lab.node.forwards("bond0"));
    let pod = lab.pod();
    let said = lab.add(&vm_conf(json!({"dhcpProbe": {"timeout": "2500ms"}})), &pod).error(110);
    assert!(said.contains("seen leaving by bond0"), "{said}");
    assert!(said.contains("seen at eth0 in") && said.contains("seen at eth1 in"), "{said}");
    println!("measured: {:40} {}", "a bond's idle member hears questions", said.lines().next().unwrap());
}

/// Others' broadcasts and DHCP, a thousand frames a second.
fn noise(lab: &Lab) -> Guards {
    let stranger = MacAddress::local([2, 0, 0, 0, 0xaa, 3]);
    let asks = discover::message(stranger, 0x0bad_cafe, Duration::ZERO).unwrap();
    let question = Message::from_bytes(&asks).unwrap();
    let offer = answer(&question, MessageType::Offer, |_| {});
    let mut frames = vec![frame([2, 0, 0, 0, 0xaa, 2], 2); 8];
    frames.push(tagged(0, &offer));
    frames.push(bridge_dhcp::dhcp::frame::broadcast(stranger, &asks));
    repeating(lab, frames, Duration::from_millis(10))
}

#[test]
fn healthy_probes_on_a_loud_lan_raise_no_alarm() {
    let lab = Lab::new("");
    let _noise = noise(&lab);
    let quick = DhcpServer::start(&lab);
    let pods: Vec<Namespace> = (0..16).map(|_| lab.pod()).collect();
    let all_answered = |timeout: &str| {
        let conf = vm_conf(json!({"dhcpProbe": {"timeout": timeout}, "deadline": "60s"}));
        let call = |operation, (number, pod): (usize, &Namespace)| {
            lab.call(operation, &conf, &format!("c{number}"), pod.path(), "net1")
        };
        let started: Vec<_> = pods.iter().enumerate().map(|pod| call("ADD", pod).start()).collect();
        for child in started {
            Outcome::from(child.wait_with_output().unwrap()).ok();
        }
        for (number, pod) in pods.iter().enumerate() {
            let port = lab.port(&host_side(&format!("c{number}"), "net1"));
            let alias = port["ifalias"].as_str().unwrap();
            assert!(!alias.contains("warned="), "{alias}");
            call("DEL", (number, pod)).run().ok();
        }
    };
    all_answered("20s");
    drop(quick);
    // One that pings first is answered when the listeners are there already.
    let _slow = DhcpServer::with(&lab, &["--dhcp-range=10.77.0.100,10.77.0.200,3600"]);
    all_answered("5s");
}

#[test]
fn a_person_sees_the_way_and_where_it_ends() {
    if !needs(Feature::Netdev) {
        return;
    }
    let lab = Lab::new("");
    let _guards = nft(&lab, "netdev guard", "ingress device ens192 priority 0;", "udp dport 68 drop");
    let by_hand = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        String::from_utf8(lab.node.pipe(&executable(), &words, "").stdout).unwrap()
    };
    let picture = "\n  question  port ---> br0 ---> ens192 ---> LAN\n  answer    port      br0  X-- ens192 <--- LAN\n                           ^\n                          nftables hook ingress of table netdev guard chain c\n";
    for command in ["probe", "doctor"] {
        let said = by_hand(&format!("{command} --bridge br0 --timeout 2500ms"));
        assert!(said.contains(picture) && !said.contains('\x1b'), "{said}");
        let said: Value =
            serde_json::from_str(&by_hand(&format!("{command} --bridge br0 --timeout 2500ms --json")))
                .unwrap();
        let hop = |at: usize| said["way"]["hops"][at].clone();
        assert_eq!(
            hop(2),
            json!({"at": "uplink", "name": "ens192", "question": "yes", "answer": "yes"}),
            "{said}"
        );
        assert_eq!(
            hop(0),
            json!({"at": "port", "name": "port", "question": "yes", "answer": "no"}),
            "{said}"
        );
        assert!(said["way"]["dropper"].as_str().unwrap().contains("table netdev guard"), "{said}");
    }
    lab.node.nft("delete table netdev guard");
    let well = by_hand("doctor --bridge br0");
    assert!(well.contains("\n  answer    port <--- br0 <--- ens192 <--- LAN\n"), "{well}");
    assert!(!by_hand("probe --bridge br0").contains("question"), "an answer needs no picture");
}

#[test]
fn nobody_is_told_to_turn_stp_off_where_that_makes_a_loop() {
    let lab = Lab::new("");
    lab.node.ip("link set br0 type bridge stp_state 1 forward_delay 1500");
    let conf = vm_conf(json!({"dhcpProbe": true, "uplinkCheck": "off"}));
    let pod = lab.pod();
    let alone = lab.add(&conf, &pod).error(115);
    assert!(alone.contains("stp_state 0") && alone.contains("\"timeout\": \"35s\""), "{alone}");
    lab.node.ip(&format!(
        "link add ens224 type veth peer name lan1 netns {}\nlink set ens224 master br0\nlink set ens224 up",
        lab.lan.name()
    ));
    let two = lab.add(&conf, &pod).error(115);
    assert!(!two.contains("stp_state 0") && two.contains("STP must stay on"), "{two}");
    assert!(two.contains("\"timeout\": \"35s\""), "{two}");
}

fn dnsmasq(lab: &Lab) -> Guards {
    vec![Box::new(DhcpServer::start(lab))]
}

/// A healthy server, and a chain on the node with this hook and rule.
fn nft(lab: &Lab, table: &str, hook: &str, rule: &str) -> Guards {
    lab.node.nft(&format!("table {table} {{\nchain c {{\ntype filter hook {hook}\n{rule}\n}}\n}}"));
    dnsmasq(lab)
}

fn jumped_to(lab: &Lab) -> Guards {
    lab.node.nft(
        "table bridge guard {\nchain deep {\nudp dport 68 counter drop\n}\nchain middle {\njump deep\n}\nchain c {\ntype filter hook forward priority -200;\nether type ip goto middle\n}\n}",
    );
    dnsmasq(lab)
}

fn redirected(lab: &Lab, direction: &str, port: u16) -> Guards {
    // Nobody sees there what is sent to it.
    lab.node.ip("link add hole type bridge\nlink set hole up");
    tc(
        lab,
        &format!(
            "{direction} protocol ip u32 match ip protocol 17 0xff match u16 {port} 0xffff at 22 action mirred egress redirect dev hole"
        ),
    )
}

fn tc(lab: &Lab, filter: &str) -> Guards {
    lab.node.run("tc qdisc add dev ens192 clsact");
    lab.node.run(&format!("tc filter add dev ens192 {filter}"));
    dnsmasq(lab)
}

/// A locked port lets in only frames of sources that the bridge has been told of.
fn locked_uplink(lab: &Lab) -> Guards {
    lab.node.ip(
        "link set dev ens192 type bridge_slave locked on learning off\nlink set br0 type bridge fdb_flush",
    );
    dnsmasq(lab)
}

fn xdp(lab: &Lab) -> Guards {
    let object = lab.files.join("drop.o");
    std::fs::write(&object, support::xdp::dropping()).unwrap();
    lab.node.run(&format!("ip link set dev ens192 xdpgeneric object {} section xdp", object.display()));
    dnsmasq(lab)
}

/// The LAN is a switch whose port sends frames back where they came from.
fn reflected(lab: &Lab) -> Guards {
    lab.lan.ip("link add sw0 type bridge\nlink set lan0 master sw0\nlink set sw0 up\nlink set lan0 type bridge_slave hairpin on");
    wait_until("the switch forwards", || lab.lan.forwards("lan0"));
    vec![]
}

/// Sends frames into the LAN, again and again, until the value goes.
struct Chatter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Others' broadcasts, with these tags (0 is none).
fn chatter(lab: &Lab, vlans: &[u16]) -> Guards {
    let of = |&vlan: &u16| {
        let mut frame = frame([2, 0, 0, 0, 0xaa, 1], 1);
        let [high, low] = vlan.to_be_bytes();
        if vlan != 0 {
            frame.splice(12..12, [0x81, 0, high, low]);
        }
        frame
    };
    repeating(lab, vlans.iter().map(of).collect(), Duration::from_millis(50))
}

fn repeating(lab: &Lab, frames: Vec<Vec<u8>>, pace: Duration) -> Guards {
    let socket = lab.lan.enter(|| bound_socket("lan0").unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            frames.iter().for_each(|frame| _ = send(socket.as_raw_fd(), frame, MsgFlags::empty()));
            std::thread::sleep(pace);
        }
    });
    vec![Box::new(Chatter { stop, thread: Some(thread) })]
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
