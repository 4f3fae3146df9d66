//! MAC-spoof check and masquerading of an attachment: in place before the first frame, noticed when taken away, gone after DEL.
use crate::support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::ipam::gateway_conf;
use support::namespace::Namespace;
use support::plugin::{Call, Outcome, script};
use support::wire::{Capture, Flood, frame, from_mac, send_frame};
use support::{Before, Lab, conf, host_side, other_plugins_pair, strace, vm_conf, wait_until, with_result};

const MAC: &str = "02:00:00:00:00:01";
const SPOOFED: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn guarded(changes: Value) -> Value {
    let mut conf = conf(json!({"macspoofchk": true, "runtimeConfig": {"mac": MAC}}));
    conf.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    conf
}

fn rules(lab: &Lab) -> String {
    lab.node.run("nft list ruleset")
}

/// The frames with this source that reach the LAN, once one with the attachment's own source has.
fn pass(lab: &Lab, pod: &Namespace, source: [u8; 6]) -> usize {
    let capture = Capture::start(&lab.lan, "lan0");
    assert!(send_frame(pod, "net1", &frame(source, 1)));
    assert!(send_frame(pod, "net1", &frame(OWN, 2)));
    wait_until("the frame with its own source arrives", || !from_mac(&capture.seen(), MAC).is_empty());
    let text = source.map(|octet| format!("{octet:02x}")).join(":");
    from_mac(&capture.stop(), &text).len()
}

#[test]
fn not_one_spoofed_frame_passes_from_the_moment_the_interface_appears() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let capture = Capture::start(&lab.lan, "lan0");
    let flood = Flood::start(&pod, "net1", frame(SPOOFED, 9));
    lab.add(&guarded(json!({})), &pod).ok();
    assert!(send_frame(&pod, "net1", &frame(OWN, 2)));
    wait_until("the frame with its own source arrives", || !from_mac(&capture.seen(), MAC).is_empty());
    flood.stop();
    assert_eq!(from_mac(&capture.stop(), "02:00:00:00:00:66").len(), 0);
}

/// Runs a call whose messages to the kernel last, while the pod sends spoofed frames between any two of them.
fn under_fire(call: &Call, pod: &Namespace) -> Outcome {
    let mut child = strace::slowly(call).start();
    while child.try_wait().unwrap().is_none() {
        send_frame(pod, "net1", &frame(SPOOFED, 9));
        // Not in a tight loop: a kernel of one processor has the call to run.
        std::thread::sleep(Duration::from_millis(2));
    }
    Outcome::from(child.wait_with_output().unwrap())
}

#[test]
fn nor_while_another_plugins_interface_that_is_up_joins() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let result = other_plugins_pair(&lab, &pod);
    pod.ip(&format!("link set net1 address {MAC}"));
    let chained = json!({"cniVersion": "1.0.0", "macspoofchk": true, "deadline": "60s"});
    let chained = with_result(&conf(chained), &result);
    let capture = Capture::start(&lab.lan, "lan0");
    under_fire(&lab.call("ADD", &chained, "c1", pod.path(), "net1"), &pod).ok();
    assert!(send_frame(&pod, "net1", &frame(OWN, 2)));
    wait_until("the frame with its own source arrives", || !from_mac(&capture.seen(), MAC).is_empty());
    assert_eq!(from_mac(&capture.stop(), "02:00:00:00:00:66").len(), 0);
}

#[test]
fn nor_while_it_goes_away() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&guarded(json!({})), &pod).ok();
    let capture = Capture::start(&lab.lan, "lan0");
    assert!(send_frame(&pod, "net1", &frame(OWN, 2)));
    wait_until("the frame with its own source arrives", || !from_mac(&capture.seen(), MAC).is_empty());
    under_fire(&lab.call("DEL", &guarded(json!({})), "c1", pod.path(), "net1"), &pod).ok();
    assert_eq!(from_mac(&capture.stop(), "02:00:00:00:00:66").len(), 0);
}

#[test]
fn without_the_check_the_same_frames_pass() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&guarded(json!({"macspoofchk": false})), &pod).ok();
    assert_eq!(pass(&lab, &pod, SPOOFED), 1);
    assert_eq!(rules(&lab), "");
}

#[test]
fn check_notices_a_flushed_ruleset_and_the_next_add_heals_it() {
    let lab = Lab::new("");
    let (pod, second) = (lab.pod(), lab.pod());
    let result = lab.add(&guarded(json!({})), &pod).ok();
    lab.check(&guarded(json!({})), &result, &pod).ok();
    lab.node.run("nft flush ruleset");
    assert!(lab.check(&guarded(json!({})), &result, &pod).error(123).contains("MAC-spoof guard"));
    let other = guarded(json!({"runtimeConfig": {"mac": "02:00:00:00:00:02"}}));
    lab.call("ADD", &other, "c2", second.path(), "net1").run().ok();
    assert!(rules(&lab).contains(&host_side("c2", "net1")));
}

#[test]
fn del_removes_the_rules_with_and_without_netns_and_after_the_link_has_vanished() {
    let lab = Lab::new("");
    let stripped = json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge-dhcp"});
    lab.node.run("nft add table bridge unrelated");
    let before = rules(&lab);
    for how in ["with netns", "without netns", "netns gone"] {
        let pod = lab.pod();
        lab.add(&vm_conf(guarded(json!({}))), &pod).ok();
        assert!(rules(&lab).contains(MAC), "{how}");
        match how {
            "with netns" => lab.del(&stripped, &pod).ok(),
            "without netns" => lab.call("DEL", &stripped, "c1", Path::new(""), "net1").run().ok(),
            _ => {
                let path = pod.path().to_path_buf();
                drop(pod);
                wait_until("the link vanishes with its namespace", || {
                    !lab.node.has(&host_side("c1", "net1"))
                });
                lab.call("DEL", &stripped, "c1", &path, "net1").run().ok()
            }
        };
        assert_eq!(rules(&lab), before, "{how}");
    }
}

#[test]
fn gc_removes_rules_whose_port_has_vanished_and_no_others() {
    let lab = Lab::new("");
    let (gone, stays) = (lab.pod(), lab.pod());
    lab.add(&guarded(json!({})), &gone).ok();
    let other = guarded(json!({"name": "other", "runtimeConfig": {"mac": "02:00:00:00:00:02"}}));
    lab.call("ADD", &other, "c2", stays.path(), "net1").run().ok();
    drop(gone);
    wait_until("the link vanishes with its namespace", || !lab.node.has(&host_side("c1", "net1")));
    let gc = conf(json!({"cni.dev/valid-attachments": []}));
    lab.call("GC", &gc, "", Path::new(""), "").run().ok();
    let left = rules(&lab);
    assert!(!left.contains(MAC) && left.contains("02:00:00:00:00:02"), "{left}");
}

#[test]
fn a_ruleset_in_the_way_fails_the_add_and_leaves_everything_as_it_was() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    lab.obstruct_rules();
    let before = Before::new(&lab, &pod);
    let error = lab.add(&guarded(json!({})), &pod).error(120);
    assert!(error.contains("cannot let only 02:00:00:00:00:01 pass port"), "{error}");
    before.assert_unchanged("after nftables refused");
}

#[test]
fn another_plugins_port_gets_its_flags_back_then() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    let result = other_plugins_pair(&lab, &pod);
    lab.node.ip("link set ptp0 master br0\nlink set ptp0 type bridge_slave isolated on hairpin on");
    wait_until("the port forwards", || lab.node.forwards("ptp0"));
    lab.obstruct_rules();
    let before = Before::new(&lab, &pod);
    let chained = with_result(&conf(json!({"cniVersion": "1.0.0", "macspoofchk": true})), &result);
    lab.add(&chained, &pod).error(120);
    before.assert_unchanged("after nftables refused");
}

/// Behind the node lies a host that knows no way back to the pods.
fn outside(lab: &Lab) -> Namespace {
    let outside = Namespace::new("outside");
    lab.node.ip(&format!(
        "link add ext0 type veth peer name eth0 netns {}\naddress add 192.0.2.1/24 dev ext0\naddress add 2001:db8::1/64 dev ext0 nodad\nlink set ext0 up",
        outside.name()
    ));
    outside
        .ip("address add 192.0.2.2/24 dev eth0\naddress add 2001:db8::2/64 dev eth0 nodad\nlink set eth0 up");
    outside
}

fn reaches(pod: &Namespace, address: &str, patience: &str) -> bool {
    pod.pipe("busybox", &["ping", "-c1", "-W", patience, address], "").status.success()
}

#[test]
fn pods_reach_each_other_the_gateway_and_through_masquerade_the_outside() {
    if !needs(Feature::Nat) {
        return;
    }
    let lab = Lab::new("");
    let _outside = outside(&lab);
    let (pod, second) = (lab.pod(), lab.pod());
    let before = rules(&lab);
    let conf = gateway_conf(&lab, json!({"ipMasq": true}));
    let result = lab.add(&conf, &pod).ok();
    lab.call("ADD", &conf, "c2", second.path(), "net1").run().ok();
    for address in ["10.1.2.1", "10.1.2.3", "192.0.2.2", "fd00:1::1", "fd00:1::3", "2001:db8::2"] {
        assert!(reaches(&pod, address, "5"), "{address}");
    }
    lab.check(&conf, &result, &pod).ok();
    lab.node.run("nft flush ruleset");
    assert!(lab.check(&conf, &result, &pod).error(123).contains("masquerade"));
    lab.del(&conf, &pod).ok();
    lab.call("DEL", &conf, "c2", Path::new(""), "net1").run().ok();
    assert_eq!(rules(&lab), before);
    lab.add(&conf, &pod).ok();
    assert_ne!(rules(&lab), before);
    lab.del(&conf, &pod).ok();
    assert_eq!(rules(&lab), before, "with rules to remove");
}

#[test]
fn without_masquerade_nothing_comes_back_from_outside() {
    let lab = Lab::new("");
    let _outside = outside(&lab);
    let pod = lab.pod();
    lab.add(&gateway_conf(&lab, json!({"ipMasq": false})), &pod).ok();
    assert!(reaches(&pod, "10.1.2.1", "5"));
    assert!(!reaches(&pod, "192.0.2.2", "1"));
}

#[test]
fn the_check_applies_to_another_plugins_interface_too() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let ptp = json!({
        "cniVersion": "1.0.0", "name": "lan", "type": "ptp",
        "ipam": {"type": "host-local", "dataDir": lab.files.join("ipam"), "subnet": "10.1.2.0/24"},
    });
    let result =
        lab.call("ADD", &ptp, "c1", pod.path(), "net1").with_executable("/usr/lib/cni/ptp").run().ok();
    pod.ip(&format!("link set net1 address {MAC}"));
    let chained = support::with_result(&conf(json!({"cniVersion": "1.0.0", "macspoofchk": true})), &result);
    lab.add(&chained, &pod).ok();
    assert_eq!(pass(&lab, &pod, SPOOFED), 0);
    lab.check(&chained, &result, &pod).ok();
    let before = lab.snapshot();
    lab.add(&chained, &pod).error(107);
    lab.snapshot().assert_same(&before, "after a second ADD");
    lab.check(&chained, &result, &pod).ok();
    lab.del(&chained, &pod).ok();
    assert_eq!(rules(&lab), "");
}

#[test]
fn del_leaves_another_plugins_interface_to_that_plugin() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    lab.node.ip(&format!("link add ptp0 type veth peer name net1 netns {}\nlink set ptp0 up", pod.name()));
    pod.ip("link set net1 up");
    let before = Before::new(&lab, &pod);
    let interfaces = json!([{"name": "ptp0"}, {"name": "net1", "sandbox": pod.path()}]);
    let result = json!({"cniVersion": "1.0.0", "interfaces": interfaces});
    let conf = support::with_result(&conf(json!({"cniVersion": "1.0.0", "portIsolation": true})), &result);
    lab.add(&conf, &pod).ok();
    lab.del(&conf, &pod).ok();
    before.assert_unchanged("after DEL");
}

#[test]
fn the_check_of_another_plugins_interface_goes_although_the_interface_went_first() {
    let lab = Lab::new("");
    for stays in [false, true] {
        let pod = lab.pod();
        lab.node.ip("link add other0 type veth peer name other1\nlink set other0 up");
        lab.node.ip(&format!("link set other1 name net1 netns {}", pod.name()));
        pod.ip("link set net1 up");
        let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "other0"}]});
        let chained =
            support::with_result(&conf(json!({"cniVersion": "1.0.0", "macspoofchk": true})), &result);
        lab.add(&chained, &pod).ok();
        lab.check(&chained, &result, &pod).ok();
        assert!(rules(&lab).contains("other0"));
        if !stays {
            lab.node.ip("link del other0");
        }
        lab.call("DEL", &conf(json!({})), "c1", std::path::Path::new(""), "net1").run().ok();
        assert_eq!(rules(&lab), "", "where the interface stays: {stays}");
    }
}

#[test]
fn a_tap_of_another_plugin_joins_is_checked_and_leaves() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    lab.node.ip("tuntap add tap0 mode tap\nlink set tap0 address 02:00:00:00:00:0c up");
    let before = lab.snapshot();
    let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "tap0"}, {"name": "no-interface-has-such-a-name"}]});
    let chained = |changes| support::with_result(&conf(changes), &result);
    let conf = chained(json!({"cniVersion": "1.0.0", "portIsolation": true}));
    lab.add(&conf, &pod).ok();
    assert_eq!(lab.port("tap0")["linkinfo"]["info_slave_data"]["isolated"], true);
    lab.check(&conf, &result, &pod).ok();
    lab.node.ip("link set tap0 nomaster");
    assert!(lab.check(&conf, &result, &pod).error(123).contains("no longer a port"));
    lab.node.ip("link set tap0 master br0");
    lab.del(&conf, &pod).ok();
    lab.snapshot().assert_same(&before, "after DEL");
}

#[test]
fn a_chained_config_refuses_what_only_the_plugin_with_the_addresses_can_do() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "ens192"}]});
    for key in ["isGateway", "isDefaultGateway", "ipMasq"] {
        let chained = support::with_result(&conf(json!({"cniVersion": "1.0.0", key: true})), &result);
        assert!(lab.add(&chained, &pod).error(7).contains(key));
    }
}

#[test]
fn vm_mode_refuses_what_another_plugin_has_raised() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    let result = support::other_plugins_pair(&lab, &pod);
    let chained = support::with_result(&vm_conf(json!({"cniVersion": "1.0.0"})), &result);
    let before = Before::new(&lab, &pod);
    let said = lab.add(&chained, &pod).error(7);
    assert!(said.contains("left net1 up") && said.contains("disableContainerInterface"), "{said}");
    before.assert_unchanged("after the refusal");
    pod.ip("link set net1 down");
    lab.add(&chained, &pod).ok();
}

/// The previous plugin's pair, a port of the bridge already, as `bridge` hands it on.
fn joined_pair(lab: &Lab, pod: &Namespace) -> Value {
    let result = other_plugins_pair(lab, pod);
    lab.node.ip("link set ptp0 mtu 1500 address fe:00:00:00:00:0c master br0");
    pod.ip(&format!("link set net1 mtu 1500 address {MAC}"));
    wait_until("the port forwards", || lab.node.forwards("ptp0"));
    result
}

#[test]
fn del_of_a_chain_takes_the_guard_only_with_the_port() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let result = joined_pair(&lab, &pod);
    let chained = with_result(&conf(json!({"cniVersion": "1.0.0", "macspoofchk": true})), &result);
    lab.add(&chained, &pod).ok();
    assert_eq!(pass(&lab, &pod, SPOOFED), 0);
    // The runtime calls it before the previous plugin's DEL, which may never come.
    let capture = Capture::start(&lab.lan, "lan0");
    let flood = Flood::start(&pod, "net1", frame(SPOOFED, 9));
    lab.del(&chained, &pod).ok();
    flood.stop();
    assert_eq!(from_mac(&capture.stop(), "02:00:00:00:00:66").len(), 0);
    assert!(!rules(&lab).contains("bridge_dhcp"), "{}", rules(&lab));
    assert!(lab.port("ptp0")["master"].is_null(), "an unguarded port stays on no bridge");
}

#[test]
fn a_guard_that_a_firewall_reload_took_while_add_waited_is_put_back() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let bin = script(
        &lab.files,
        "flushing",
        "cat >/dev/null\nnft flush ruleset\necho '{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"10.77.0.9/24\"}]}'",
    );
    let asked = guarded(json!({"cniVersion": "1.0.0", "ipam": {"type": "flushing"}}));
    lab.call("ADD", &asked, "c1", pod.path(), "net1").set("CNI_PATH", &bin).run().ok();
    assert_eq!(pass(&lab, &pod, SPOOFED), 0);
}

#[test]
fn an_add_whose_port_was_changed_while_it_waited_is_refused() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let host = host_side("c1", "net1");
    for (change, named) in [
        (format!("bridge link set dev {host} isolated off"), "portIsolation"),
        (format!("ip link set {host} nomaster"), "no port of bridge"),
        (format!("ip link set {host} down"), "it is down"),
    ] {
        let answer = "echo '{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"10.77.0.9/24\"}]}'";
        let bin = script(&lab.files, "meddling", &format!("cat >/dev/null\n{change}\n{answer}"));
        let asked = conf(json!({"cniVersion": "1.0.0", "portIsolation": true, "ipam": {"type": "meddling"}}));
        let outcome = lab.call("ADD", &asked, "c1", pod.path(), "net1").set("CNI_PATH", &bin).run();
        assert!(
            !outcome.succeeded && outcome.json["msg"].as_str().unwrap().contains(named),
            "{}",
            outcome.json
        );
        before.assert_unchanged(&change);
    }
}
