//! A node that explains itself: each row is a fault made for real between a guest and its DHCP server, and what the
//! plugin then says. The network config of a row is that of a VM with `dhcpProbe`, 2.5 s unless it says otherwise.

use crate::support;

use std::any::Any;
use std::sync::Mutex;
use std::time::Instant;

use dhcproto::v4::{DhcpOption, MessageType};
use serde_json::{Value, json};
use support::faulty::{FaultyServer, answer};
use support::feature::{Feature, needs};
use support::guest::DhcpServer;
use support::namespace::Namespace;
use support::wire::Capture;
use support::{Before, Lab, vm_conf, wait_until};

const MAC: &str = "02:00:00:00:00:99";

/// What a fault needs to last: servers, rules' owners.
type Guards = Vec<Box<dyn Any>>;

/// A row: the test's name, what the kernel must have, the bridge's options, the fault, the config's keys, the code, and
/// what message and details must say.
macro_rules! table {
    ($($name:ident: [$($feature:ident)*] $options:literal, $fault:expr, $conf:tt => $code:literal $says:expr;)+) => {
        $(
            #[test]
            fn $name() {
                $(if !needs(Feature::$feature) { return; })*
                diagnosed($options, $fault, json!($conf), $code, &$says);
            }
        )+
    };
}

table! {
    nobody_answers: [] "", |_| vec![], {} => 110 ["no DHCP server answers on bridge br0", "exhausted pool", "uplinks: ens192 (carrier, forwarding"];
    the_answers_come_tagged: [] "", |lab| tagging(lab, 5), {} => 110 ["no DHCP server answers on bridge br0 untagged: ", "replies came tagged VLAN 5", "untag VLAN 5"];
    the_pool_is_exhausted: [] "", exhausted_pool, {} => 110 ["exhausted pool"];
    the_server_knows_registered_clients_only: [] "", |lab| dnsmasq(lab, "--dhcp-ignore=tag:!known"), {} => 110 ["registered clients only"];
    the_server_ignores_this_mac: [] "", |lab| dnsmasq(lab, "--dhcp-host=02:00:00:00:00:99,ignore"), {} => 111 ["10.77.0.1 answers ", "but not 02:00:00:00:00:99", "denies this MAC"];
    one_address_is_left_and_held_for_the_probe: [] "", held_address, {} => 111 ["its pool is exhausted", "not answered either", "free addresses"];
    a_switch_snoops: [] "", snooping_switch, {} => 111 ["DHCP snooping", "ephemeral"];
    a_hypervisor_drops_foreign_macs: [] "", foreign_macs_dropped, {} => 111 ["only this node's own MAC", "forged transmits"];
    br_netfilter_drops: [BridgeNetfilter] "", forward_drop, {"macspoofchk": true} => 112 ["br_netfilter", "bridge-nf-call-iptables", "sysctl -w"];
    br_netfilter_drops_by_nftables: [BridgeNetfilter Nat] "", nft_forward_drop, {} => 112 ["br_netfilter", "policy drop of table ip filter chain FORWARD", "remedy: iptables -I FORWARD"];
    a_bridge_rule_drops: [] "", bridge_rule, {} => 112 ["nftables hook forward of table bridge guard chain forward", "nft delete rule bridge guard forward handle "];
    the_uplink_is_isolated: [] "", isolated_uplink, {"portIsolation": true} => 112 ["port ens192 is isolated", "isolated off"];
    the_only_server_is_isolated: [] "", isolated_server, {"portIsolation": true, "uplinkCheck": "off"} => 112 ["\"portIsolation\" is set and port local is isolated"];
    the_uplink_takes_no_broadcasts: [] "", unflooded_uplink, {} => 112 ["port ens192 has bcast_flood off", "bridge link set dev ens192 bcast_flood on"];
    the_server_is_a_rogue: [] "", |lab| dnsmasq(lab, ""), {"dhcpProbe": {"timeout": "3s", "servers": ["10.77.0.9"]}} => 113 ["rogue DHCP server 10.77.0.1 (MAC ", "10.77.0.9"];
    the_subnet_is_wrong: [] "", |lab| dnsmasq(lab, ""), {"dhcpProbe": {"timeout": "3s", "subnets": ["192.168.7.0/24"]}} => 114 ["offers 10.77.0.1", "192.168.7.0/24"];
    stp_is_on: [] "", stp, {"dhcpProbe": true} => 115 ["runs STP", "forwards only after 30 s", "stp_state 0"];
    the_uplink_does_not_forward_yet: [] "", blocked_uplink, {"dhcpProbe": true} => 115 ["no uplink of bridge br0 forwards", "ens192 listening", "it forwards in "];
    the_server_says_no: [] "", refusing, {} => 116 ["NAK instead of an offer", "wrong network"];
    the_server_talks_garbage: [] "", |lab| faulty(lab, |_| vec![b"garbage".to_vec()]), {} => 116 ["malformed DHCP replies", "7 bytes"];
    the_server_answers_others_only: [] "", others_only, {} => 116 ["answers others"];
    there_is_no_uplink: [] "", no_uplink, {"uplinkCheck": "off"} => 105 ["no port that leads off the node"];
    there_is_no_uplink_and_it_is_looked_at: [] "", no_uplink, {} => 105 ["no port that leads off the node"];
    the_uplink_has_no_carrier: [] "", no_carrier, {"uplinkCheck": "off"} => 106 ["no uplink of bridge br0 has a carrier"];
    the_vlan_is_not_on_the_uplink: [VlanFiltering] "vlan_filtering 1", |lab| dnsmasq(lab, ""), {"vlan": 120, "uplinkCheck": "off"} => 104 ["VLAN 120 is not allowed on any uplink", "bridge vlan add dev ens192 vid 120"];
    the_bridge_has_no_default_vlan: [VlanFiltering] "vlan_filtering 1 vlan_default_pvid 0", |lab| dnsmasq(lab, ""), {"uplinkCheck": "off"} => 104 ["br0 filters VLANs and has no default one", "without \"vlan\"", "ens192[none]"];
    nobody_answers_in_the_vlan: [VlanFiltering] "vlan_filtering 1", vlan_on_the_uplink, {"vlan": 120} => 110 ["bridge br0 VLAN 120", "br0 itself is not in VLAN 120"];
    the_bridge_is_missing: [] "", |lab| { lab.node.ip("link del br0"); vec![] }, {} => 100 ["bridge br0 does not exist"];
    the_bridge_is_down: [] "", |lab| { lab.node.ip("link set br0 down"); vec![] }, {} => 102 ["br0 is down"];
}

fn diagnosed(options: &str, fault: impl FnOnce(&Lab) -> Guards, keys: Value, code: u64, says: &[&str]) {
    let lab = Lab::new(options);
    let _guards = fault(&lab);
    let pod = lab.pod();
    let mut conf = vm_conf(json!({"runtimeConfig": {"mac": MAC}, "dhcpProbe": {"timeout": "3500ms"}}));
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let before = Before::new(&lab, &pod);
    let started = Instant::now();
    let said = lab.add(&conf, &pod).error(code);
    let elapsed = started.elapsed().as_millis();
    println!("said after {elapsed} ms: {code}: {}", said.lines().next().unwrap());
    support::assert_diagnosis(&said, says);
    lab.wait_until_probes_are_gone("br0");
    before.assert_unchanged("after the failed ADD");
}

#[test]
fn without_a_fault_the_same_labs_answer() {
    let lab = Lab::new("");
    let _guards = dnsmasq(&lab, "--dhcp-host=02:00:00:00:00:99,10.77.0.150");
    let pod = lab.pod();
    let probe = json!({"servers": ["10.77.0.1"], "subnets": ["10.77.0.0/24"]});
    lab.add(&vm_conf(json!({"runtimeConfig": {"mac": MAC}, "dhcpProbe": probe})), &pod).ok();
}

#[test]
fn a_tag_of_priority_alone_is_none() {
    let lab = Lab::new("");
    let _guards = tagging(&lab, 0);
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"runtimeConfig": {"mac": MAC}, "dhcpProbe": true})), &pod).ok();
}

#[test]
fn the_tag_that_a_filtering_bridge_takes_off_is_none() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    lab.node.run("bridge vlan add dev ens192 vid 120 untagged");
    let _guards = tagging(&lab, 120);
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"vlan": 120, "dhcpProbe": true})), &pod).ok();
}

#[test]
fn a_server_that_pings_first_is_waited_for() {
    let lab = Lab::new("");
    let _server = DhcpServer::with(&lab, &["--dhcp-range=10.77.0.100,10.77.0.200,3600"]);
    let pod = lab.pod();
    let started = Instant::now();
    lab.add(&vm_conf(json!({"runtimeConfig": {"mac": MAC}, "dhcpProbe": true})), &pod).ok();
    println!("measured: ADD with dnsmasq's ping check takes {:?}", started.elapsed());
}

#[test]
fn stp_that_is_quick_enough_is_waited_for() {
    let lab = Lab::new("");
    let _guards = dnsmasq(&lab, "");
    lab.node.ip("link set br0 type bridge stp_state 1 forward_delay 200");
    wait_until("the uplink forwards", || lab.node.forwards("ens192"));
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"dhcpProbe": {"timeout": "9s"}})), &pod).ok();
}

fn dnsmasq(lab: &Lab, option: &str) -> Guards {
    let fixed = ["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600", "--dhcp-option=3,10.77.0.1"];
    let options: Vec<&str> =
        fixed.into_iter().chain([option].into_iter().filter(|text| !text.is_empty())).collect();
    vec![Box::new(DhcpServer::with(lab, &options))]
}

fn exhausted_pool(lab: &Lab) -> Guards {
    // In dnsmasq's own form: expiry, MAC, address, name, client identifier.
    std::fs::write(lab.files.join("leases"), "4102444799 02:00:00:00:aa:aa 10.77.0.100 * *\n").unwrap();
    vec![Box::new(DhcpServer::with(lab, &["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.100,3600"]))]
}

/// As ISC dhcpd does, which keeps an address for whom it was offered to: here for the first that asks, a probe.
fn held_address(lab: &Lab) -> Guards {
    let holder = Mutex::new(None);
    let guards = faulty(lab, move |question| {
        let mut holder = holder.lock().unwrap();
        let holder = holder.get_or_insert(question.chaddr().to_vec());
        if holder == question.chaddr() { vec![answer(question, MessageType::Offer, |_| {})] } else { vec![] }
    });
    let pod = lab.pod();
    let conf = vm_conf(json!({"dhcpProbe": true}));
    lab.add(&conf, &pod).ok();
    lab.del(&conf, &pod).ok();
    lab.wait_until_probes_are_gone("br0");
    guards
}

fn faulty(lab: &Lab, answers: impl Fn(&dhcproto::v4::Message) -> Vec<Vec<u8>> + Send + 'static) -> Guards {
    lab.lan.ip("address add 10.77.0.1/24 dev lan0");
    vec![Box::new(FaultyServer::start(&lab.lan, "lan0", answers))]
}

fn tagging(lab: &Lab, vlan: u16) -> Guards {
    lab.lan.ip("address add 10.77.0.1/24 dev lan0");
    vec![Box::new(FaultyServer::tagging(&lab.lan, "lan0", vlan))]
}

fn refusing(lab: &Lab) -> Guards {
    faulty(lab, |question| {
        vec![answer(question, MessageType::Nak, |message| {
            message.opts_mut().insert(DhcpOption::Message("wrong network".into()));
        })]
    })
}

fn others_only(lab: &Lab) -> Guards {
    faulty(lab, |question| {
        vec![answer(question, MessageType::Ack, |message| {
            message.set_xid(message.xid() ^ 0xffff).set_chaddr(&[2, 0, 0, 0, 0xaa, 0xaa]);
        })]
    })
}

/// Makes the LAN's end of the uplink a switch whose rule sees every frame; the server stands behind it.
fn switch(lab: &Lab, rule: &str) -> Guards {
    lab.lan.ip("link add sw0 type bridge\nlink set lan0 master sw0\nlink set sw0 up\naddress add 10.77.0.1/24 dev sw0");
    lab.lan.nft(&format!(
        "table bridge switch {{ chain in {{ type filter hook input priority 0; {rule} drop\n}}\n}}"
    ));
    wait_until("the switch forwards", || lab.lan.forwards("lan0"));
    let options = ["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600", "--dhcp-option=3,10.77.0.1"];
    vec![Box::new(DhcpServer::on(&lab.lan, "sw0", &lab.files.join("leases"), &options))]
}

/// The Ethernet source of this bridge's probes, seen on the wire.
fn probe_mac(lab: &Lab) -> Vec<u8> {
    let capture = Capture::start(&lab.lan, "lan0");
    let pod = lab.pod();
    let conf = vm_conf(json!({"dhcpProbe": {"timeout": "2s"}}));
    lab.add(&conf, &pod).error(110);
    lab.wait_until_probes_are_gone("br0");
    let frames = capture.stop();
    let discover = frames.iter().find(|frame| frame.get(36..38) == Some(&[0, 67])).unwrap();
    discover[6..12].to_vec()
}

fn snooping_switch(lab: &Lab) -> Guards {
    let source: String = probe_mac(lab).iter().map(|byte| format!("{byte:02x}")).collect();
    let own = lab.port("br0")["address"].as_str().unwrap().replace(':', "");
    // chaddr lies 28 bytes into the message, behind 8 bytes of UDP header. Both who ask for themselves pass.
    switch(lab, &format!("ether type ip udp dport 67 @th,288,48 != 0x{source} @th,288,48 != 0x{own}"))
}

fn foreign_macs_dropped(lab: &Lab) -> Guards {
    let own = lab.port("br0")["address"].as_str().unwrap().to_string();
    switch(lab, &format!("ether saddr != {own}"))
}

fn forward_drop(lab: &Lab) -> Guards {
    let output = lab.node.pipe("iptables-legacy", &["-P", "FORWARD", "DROP"], "");
    if !output.status.success() {
        return nft_forward_drop(lab);
    }
    dnsmasq(lab, "")
}

/// What the iptables of nftables makes of a FORWARD policy.
fn nft_forward_drop(lab: &Lab) -> Guards {
    lab.node.nft("table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop;\n}\n}");
    dnsmasq(lab, "")
}

fn bridge_rule(lab: &Lab) -> Guards {
    lab.node.nft(
        "table bridge guard { chain forward { type filter hook forward priority -200; ether type ip udp dport 67 drop\n}\n}",
    );
    dnsmasq(lab, "")
}

fn isolated_uplink(lab: &Lab) -> Guards {
    lab.node.ip("link set ens192 type bridge_slave isolated on");
    dnsmasq(lab, "")
}

fn isolated_server(lab: &Lab) -> Guards {
    let guest = Namespace::new("server");
    lab.node.ip(&format!(
        "link add local type veth peer name eth0 netns {}\nlink set local master br0\nlink set local up\nlink set local type bridge_slave isolated on",
        guest.name()
    ));
    guest.ip("link set eth0 up\naddress add 10.77.0.1/24 dev eth0");
    wait_until("the server's port forwards", || lab.node.forwards("local"));
    let options = ["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600"];
    let server = DhcpServer::on(&guest, "eth0", &lab.files.join("leases"), &options);
    vec![Box::new(server), Box::new(guest)]
}

fn unflooded_uplink(lab: &Lab) -> Guards {
    lab.node.ip("link set ens192 type bridge_slave bcast_flood off");
    dnsmasq(lab, "")
}

fn stp(lab: &Lab) -> Guards {
    lab.node.ip("link set br0 type bridge stp_state 1 forward_delay 1500");
    dnsmasq(lab, "")
}

/// The switch behind the uplink claims to be the root of the spanning tree, and the bridge may not believe it.
fn blocked_uplink(lab: &Lab) -> Guards {
    lab.lan.ip("link add sw0 type bridge stp_state 1 priority 0 hello_time 100 forward_delay 200\nlink set lan0 master sw0\nlink set sw0 up");
    lab.node.ip("link set ens192 type bridge_slave root_block on\nlink set br0 type bridge stp_state 1 forward_delay 200");
    wait_until("the uplink is blocked", || {
        lab.port("ens192")["linkinfo"]["info_slave_data"]["state"] == "listening"
    });
    vec![]
}

fn no_uplink(lab: &Lab) -> Guards {
    lab.node.ip("link set ens192 nomaster");
    dnsmasq(lab, "")
}

fn no_carrier(lab: &Lab) -> Guards {
    lab.lan.ip("link set lan0 down");
    wait_until("the carrier goes", || {
        lab.port("ens192")["flags"].as_array().unwrap().contains(&json!("NO-CARRIER"))
    });
    vec![]
}

fn vlan_on_the_uplink(lab: &Lab) -> Guards {
    lab.node.run("bridge vlan add dev ens192 vid 120");
    // The server is in the untagged VLAN.
    dnsmasq(lab, "")
}
