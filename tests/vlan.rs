//! VLANs: policy before traffic, ranges, and what is refused.

use crate::support;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::namespace::text;
use support::plugin::executable;
use support::wire::{Capture, Flood, frame, from_mac};
use support::{Before, Lab, conf, host_side, other_plugins_pair, vm_conf, wait_until, with_result};

/// The VLANs of the host side, as [`vlans_of`].
fn vlans(lab: &Lab) -> Vec<String> {
    vlans_of(lab, &host_side("c1", "net1"))
}

/// The VLANs of a port as `id` or `id-end` with flags.
fn vlans_of(lab: &Lab, port: &str) -> Vec<String> {
    let shown = |entry: &Value| {
        let end = entry["vlanEnd"].as_u64().map(|end| format!("-{end}")).unwrap_or_default();
        let flags = entry["flags"]
            .as_array()
            .map(|flags| flags.iter().map(|f| format!(" {}", f.as_str().unwrap())).collect::<String>());
        format!("{}{end}{}", entry["vlan"], flags.unwrap_or_default())
    };
    lab.node.vlans(port).iter().map(shown).collect()
}

#[test]
fn no_frame_of_a_pod_with_a_vlan_ever_gets_into_another() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    lab.node.run("bridge vlan add dev ens192 vid 100");
    let other = support::namespace::Namespace::new("other");
    lab.node.ip(&format!(
        "link add native type veth peer name eth0 netns {}\nlink set native master br0\nlink set native up",
        other.name()
    ));
    other.ip("link set eth0 up");
    let mac = "02:00:00:00:00:66";
    for round in 0..5 {
        let pod = lab.pod();
        let untagged = Capture::start(&other, "eth0");
        let uplink = Capture::start(&lab.lan, "lan0");
        let flood = Flood::start(&pod, "net1", frame([2, 0, 0, 0, 0, 0x66], round));
        lab.add(&conf(json!({"vlan": 100, "runtimeConfig": {"mac": mac}})), &pod).ok();
        wait_until("the uplink sees the flood", || !from_mac(&uplink.seen(), mac).is_empty());
        flood.stop();
        let (untagged, uplink) = (untagged.stop(), uplink.stop());
        assert!(from_mac(&untagged, mac).is_empty(), "round {round}: a frame got into VLAN 1");
        assert!(!from_mac(&uplink, mac).is_empty(), "its own VLAN carries them");
        lab.del(&conf(json!({})), &pod).ok();
    }
}

#[test]
fn an_access_port_has_its_vlan_only() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"vlan": 100})), &pod).ok();
    assert_eq!(vlans(&lab), ["100 PVID Egress Untagged"]);
    lab.del(&conf(json!({})), &pod).ok();
    lab.add(&vm_conf(json!({"vlan": 100, "preserveDefaultVlan": true})), &pod).ok();
    assert_eq!(vlans(&lab), ["1 Egress Untagged", "100 PVID Egress Untagged"]);
}

#[test]
fn another_plugins_port_has_the_vlan_only_or_its_own_again_when_the_add_fails() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let result = other_plugins_pair(&lab, &pod);
    lab.node.ip("link set ptp0 master br0");
    wait_until("the port forwards", || lab.node.forwards("ptp0"));
    lab.node.run("bridge vlan add dev ptp0 vid 7 pvid untagged");
    lab.node.run("bridge vlan add dev ptp0 vid 8");
    lab.obstruct_rules();
    let before = Before::new(&lab, &pod);
    let asked = with_result(&conf(json!({"cniVersion": "1.0.0", "vlan": 100, "macspoofchk": true})), &result);
    lab.add(&asked, &pod).error(120);
    before.assert_unchanged("after nftables refused");
    assert_eq!(vlans_of(&lab, "ptp0"), ["1 Egress Untagged", "7 PVID Egress Untagged", "8"]);
    lab.node.run("nft flush ruleset");
    lab.add(&asked, &pod).ok();
    assert_eq!(vlans_of(&lab, "ptp0"), ["100 PVID Egress Untagged"]);
}

#[test]
fn a_trunk_is_given_as_ranges() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let trunk = json!([{"minID": 10, "maxID": 20}, {"id": 4094}, {"minID": 15, "maxID": 30}]);
    let asked = vm_conf(json!({"vlan": 12, "vlanTrunk": trunk}));
    let result = lab.add(&asked, &pod).ok();
    assert_eq!(vlans(&lab), ["10-11", "12 PVID Egress Untagged", "13-30", "4094"]);
    lab.check(&asked, &result, &pod).ok();
    lab.del(&asked, &pod).ok();
    let everything = vm_conf(json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]}));
    let result = lab.add(&everything, &pod).ok();
    assert_eq!(vlans(&lab), ["1 PVID Egress Untagged", "2-4094"]);
    lab.check(&everything, &result, &pod).ok();
}

#[test]
fn a_trunk_of_all_vlans_is_as_many_requests_as_one_vlan() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let trace = lab.files.join("trace").to_string_lossy().into_owned();
    let sent = |keys: Value| {
        let asked = vm_conf(keys);
        let add = lab.call("ADD", &asked, "c1", pod.path(), "net1");
        add.under(&["strace", "-f", "-e", "trace=sendto,sendmsg,sendmmsg", "-o", &trace]).run().ok();
        lab.del(&asked, &pod).ok();
        let calls = std::fs::read_to_string(&trace).unwrap();
        calls.lines().filter(|line| line.contains("send") && !line.contains("resumed>")).count()
    };
    let one = sent(json!({"vlan": 100}));
    assert!(sent(json!({})) < one, "a VLAN is a request of its own");
    // Without VLAN 1, which is taken off the port for VLAN 100 alone, too.
    assert_eq!(sent(json!({"vlan": 100, "vlanTrunk": [{"minID": 2, "maxID": 4094}]})), one);
}

#[test]
fn a_bridge_that_is_created_filters_vlans_when_one_is_asked_for() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::empty();
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"createBridge": true, "vlan": 7})), &pod).ok();
    assert_eq!(lab.port("br0")["linkinfo"]["info_data"]["vlan_filtering"], 1);
    assert_eq!(vlans(&lab), ["7 PVID Egress Untagged"]);
}

#[test]
fn a_vlan_that_no_uplink_carries_is_named_with_the_command() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let before = lab.snapshot();
    let asked = vm_conf(json!({"vlan": 120, "uplinkCheck": "fail"}));
    let said = lab.add(&asked, &pod).error(104);
    assert!(said.contains("VLAN 120") && said.contains("ens192[1]"), "{said}");
    assert!(said.contains("bridge vlan add dev ens192 vid 120"), "{said}");
    lab.snapshot().assert_same(&before, "afterwards");
    lab.node.run("bridge vlan add dev ens192 vid 120");
    lab.add(&asked, &pod).ok();
}

#[test]
fn a_bridge_without_a_default_vlan_takes_attachments_and_warns() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1 vlan_default_pvid 0");
    let pod = lab.pod();
    let mut asked = vm_conf(json!({"runtimeConfig": {"mac": "02:00:00:00:00:99"}}));
    let outcome = lab.add(&asked, &pod);
    assert!(outcome.stderr.contains("br0 filters VLANs and has no default one"), "{}", outcome.stderr);
    outcome.ok();
    lab.del(&asked, &pod).ok();
    asked["uplinkCheck"] = "fail".into();
    let said = lab.add(&asked, &pod).error(104);
    assert!(said.contains("vlan_default_pvid 1"), "{said}");
}

#[test]
fn check_names_the_vlan_that_is_gone() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let asked = vm_conf(json!({"vlan": 100, "vlanTrunk": [{"minID": 200, "maxID": 210}]}));
    let result = lab.add(&asked, &pod).ok();
    lab.check(&asked, &result, &pod).ok();
    let host = host_side("c1", "net1");
    lab.node.run(&format!("bridge vlan del dev {host} vid 205"));
    assert!(lab.check(&asked, &result, &pod).error(123).contains("VLAN 200-210"));
    lab.node.run(&format!("bridge vlan add dev {host} vid 205"));
    lab.check(&asked, &result, &pod).ok();
    lab.node.run(&format!("bridge vlan add dev {host} vid 300"));
    assert!(lab.check(&asked, &result, &pod).error(123).contains("VLAN 300 is allowed"));
    lab.node.run(&format!("bridge vlan del dev {host} vid 300"));
    lab.node.run(&format!("bridge vlan del dev {host} vid 100"));
    assert!(lab.check(&asked, &result, &pod).error(123).contains("wanted 100"));
}

#[test]
fn a_gateway_that_a_killed_add_left_unfinished_is_made_anew() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let port = host_side("gateway", "br0.100");
    let made = "address fe:00:00:00:00:01 type veth peer name br0.100";
    lab.node.ip(&format!("link add {port} {made}\nlink set {port} master br0"));
    let ipam = json!({"type": "host-local", "subnet": "10.1.2.0/24", "dataDir": lab.files.join("ipam")});
    let asked =
        json!({"cniVersion": "1.0.0", "vlan": 100, "isGateway": true, "ipam": ipam, "uplinkCheck": "off"});
    lab.add(&conf(asked), &pod).ok();
    assert_eq!(lab.node.vlans(&port), [json!({"vlan": 100, "flags": ["PVID", "Egress Untagged"]})]);
    assert_eq!(lab.port(&port)["inet6_addr_gen_mode"], "none", "it sends nothing of its own");
    pod.run("busybox ping -c1 -W5 10.1.2.1");
}

#[test]
fn an_uplink_without_the_default_vlan_or_with_half_of_it_is_named_with_the_command() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let asked = vm_conf(json!({"uplinkCheck": "fail"}));
    lab.node.run("bridge vlan del dev ens192 vid 1");
    let said = lab.add(&asked, &pod).error(104);
    assert!(said.contains("bridge vlan add dev ens192 vid 1 pvid untagged"), "{said}");
    for (half, fact) in [
        (
            "vid 1 untagged",
            "VLAN 1 leaves uplink ens192 untagged, but untagged frames that come in are dropped",
        ),
        ("vid 1 pvid", "VLAN 1 leaves uplink ens192 tagged, but untagged frames come in to it"),
    ] {
        lab.node.run(&format!("bridge vlan add dev ens192 {half}"));
        let outcome = lab.add(&asked, &pod);
        assert!(outcome.stderr.contains(fact), "{}", outcome.stderr);
        outcome.ok();
        let doctor = lab.node.pipe(&executable(), &["doctor", "--bridge", "br0", "--no-probe"], "");
        assert!(text(&doctor.stdout).contains(&format!("warn  vlan            {fact}")));
        lab.del(&asked, &pod).ok();
    }
    for whole in ["vid 1 pvid untagged", "vid 1"] {
        lab.node.run(&format!("bridge vlan add dev ens192 {whole}"));
        let outcome = lab.add(&asked, &pod);
        assert_eq!(outcome.stderr, "", "{whole}");
        outcome.ok();
        lab.del(&asked, &pod).ok();
    }
}
