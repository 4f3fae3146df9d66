//! What is refused: the right code, the fact and the remedy, and a node that is as it was before.

use crate::support;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::namespace::Namespace;
use support::plugin::Outcome;
use support::wire::{frame, send_frame};
use support::{Before, Lab, conf, other_plugins_pair, vm_conf, wait_until, with_result};

/// Runs an ADD that must fail and change nothing.
fn refused(lab: &Lab, pod: &Namespace, code: u64, add: impl FnOnce() -> Outcome) -> String {
    let before = Before::new(lab, pod);
    let said = add().error(code);
    before.assert_unchanged(&said);
    said
}

fn contains(said: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in: {said}");
}

#[test]
fn a_missing_bridge_is_not_made_but_named_with_those_that_are_there() {
    let lab = Lab::new("");
    lab.bridge("storage", "");
    let pod = lab.pod();
    let said = refused(&lab, &pod, 100, || lab.add(&vm_conf(json!({"bridge": "br-typo"})), &pod));
    contains(&said, &["bridge br-typo does not exist", "br0", "storage", "remedy:"]);
}

#[test]
fn a_command_to_paste_does_what_it_says_whatever_the_bridge_is_called() {
    let lab = Lab::empty();
    let pod = lab.pod();
    for name in ["x;echo\u{e9}", "it's"] {
        let said = refused(&lab, &pod, 100, || lab.add(&vm_conf(json!({"bridge": name})), &pod));
        let (_, command) = said.split_once("or: ").unwrap();
        let (command, _) = command.split_once(" type bridge").unwrap();
        lab.node.pipe("sh", &["-c", &format!("{command} type bridge")], "");
        assert!(lab.node.has(name), "{command}");
        let said = refused(&lab, &pod, 102, || lab.add(&vm_conf(json!({"bridge": name})), &pod));
        let (_, command) = said.split_once("remedy: ").unwrap();
        lab.node.pipe("sh", &["-c", command], "");
        lab.add(&vm_conf(json!({"bridge": name})), &pod).ok();
        lab.del(&vm_conf(json!({})), &pod).ok();
    }
}

#[test]
fn an_interface_that_is_no_bridge_is_named_with_its_kind() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let said = refused(&lab, &pod, 101, || lab.add(&conf(json!({"bridge": "ens192"})), &pod));
    contains(&said, &["ens192 is not a bridge but a veth"]);
}

#[test]
fn a_bridge_that_is_down_is_not_set_up_by_us() {
    let lab = Lab::new("");
    lab.node.ip("link set br0 down");
    let pod = lab.pod();
    let said = refused(&lab, &pod, 102, || lab.add(&conf(json!({})), &pod));
    contains(&said, &["bridge br0 is down", "ip link set br0 up"]);
}

#[test]
fn a_vlan_on_a_bridge_that_does_not_filter_would_not_isolate() {
    let lab = Lab::new("");
    let pod = lab.pod();
    for (asked, meant) in [
        (json!({"vlan": 100}), "VLAN 100 would"),
        (json!({"vlanTrunk": [{"id": 42}, {"minID": 50, "maxID": 60}]}), "a trunk of VLAN 42,50-60 would"),
    ] {
        let said = refused(&lab, &pod, 103, || lab.add(&conf(asked), &pod));
        contains(&said, &["vlan_filtering off", meant, "ip link set br0 type bridge vlan_filtering 1"]);
    }
}

#[test]
fn an_interface_that_exists_is_left_alone() {
    let lab = Lab::new("");
    let pod = lab.pod();
    pod.ip("link add net1 type bridge");
    let said = refused(&lab, &pod, 107, || lab.add(&conf(json!({})), &pod));
    contains(&said, &["interface net1 already exists in the container"]);
    pod.ip("link del net1");
    lab.add(&conf(json!({})), &pod).ok();
    let said = refused(&lab, &pod, 107, || lab.add(&conf(json!({})), &pod));
    contains(&said, &["net1", "attached already"]);
}

#[test]
fn a_full_bridge_says_that_it_is_full() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let pairs: Vec<String> = (0..1022)
        .map(|n| format!("link add p{n} type veth peer name q{n}\nlink set p{n} master br0"))
        .collect();
    lab.node.ip(&pairs.join("\n"));
    let one_more =
        lab.node.pipe("ip", &["-batch", "-"], "link add p type veth peer name q\nlink set p master br0");
    assert!(!one_more.status.success(), "the bridge is full");
    let said = refused(&lab, &pod, 108, || lab.add(&conf(json!({})), &pod));
    contains(&said, &["no free port", "1023"]);
    lab.node.ip("link set p7 nomaster");
    lab.add(&conf(json!({})), &pod).ok();
}

#[test]
fn a_netns_that_is_stale_gone_or_none_is_named() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let stale = lab.files.join("stale");
    std::fs::write(&stale, "").unwrap();
    let fifo = lab.files.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in
        [stale.as_path(), fifo.as_path(), "/nowhere".as_ref(), "/proc/self/ns/mnt".as_ref(), "/".as_ref()]
    {
        let said = refused(&lab, &pod, 8, || lab.call("ADD", &conf(json!({})), "c1", path, "net1").run());
        contains(&said, &["CNI_NETNS", &path.to_string_lossy()]);
    }
}

#[test]
fn the_plugins_own_namespace_is_no_containers() {
    let lab = Lab::new("");
    let pod = lab.pod();
    for operation in ["ADD", "CHECK", "DEL"] {
        let asked = support::with_result(&conf(json!({})), &json!({"interfaces": []}));
        let call = lab.call(operation, &asked, "c1", lab.node.path(), "net1");
        let said = refused(&lab, &pod, 8, || call.run());
        contains(&said, &["should not be the same"]);
    }
    let call =
        lab.call("ADD", &conf(json!({})), "c1", lab.node.path(), "net1").set("CNI_NETNS_OVERRIDE", "true");
    call.run().ok();
    assert!(lab.node.has("net1"));
}

#[test]
fn another_plugins_port_stays_on_the_bridge_where_that_put_it() {
    let lab = Lab::new("");
    lab.bridge("br1", "");
    let pod = lab.pod();
    let result = other_plugins_pair(&lab, &pod);
    lab.node.ip("link set ptp0 master br1");
    wait_until("the port forwards", || lab.node.forwards("ptp0"));
    let asked = with_result(&conf(json!({"cniVersion": "1.0.0"})), &result);
    let said = refused(&lab, &pod, 7, || lab.add(&asked, &pod));
    contains(&said, &["ptp0", "a port of another bridge, not of br0"]);
}

#[test]
fn a_larger_mtu_than_the_bridges_would_lose_frames() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let said = refused(&lab, &pod, 7, || lab.add(&conf(json!({"mtu": 9000})), &pod));
    contains(&said, &["9000", "1500", "ip link set br0 mtu 9000"]);
    lab.add(&conf(json!({"mtu": 1500})), &pod).ok();
}

#[test]
fn behind_another_plugin_only_an_interface_that_can_be_meant_is_a_candidate() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    lab.node.ip("tuntap add tap0 mode tap\nlink set tap0 alias its-makers\n\
                 link add net1 type veth peer name net1-peer\nlink add other0 type veth peer name other1");
    let chained = |names: &[&str]| {
        let on_the_node = names.iter().map(|name| json!({"name": name}));
        let inside = json!({"name": "net1", "sandbox": pod.path()});
        let result = json!({"interfaces": on_the_node.chain([inside]).collect::<Value>()});
        support::with_result(&conf(json!({"cniVersion": "1.0.0"})), &result)
    };
    let said = refused(&lab, &pod, 7, || lab.add(&chained(&["br0", "tap0", "other0"]), &pod));
    contains(&said, &["tap0", "other0"]);
    // The bridge is none, nor is what lies in the container, whatever the node has under that name.
    let asked = chained(&["br0", "tap0"]);
    lab.add(&asked, &pod).ok();
    assert_eq!(
        (&lab.port("tap0")["master"], &lab.port("tap0")["ifalias"]),
        (&json!("br0"), &json!("its-makers"))
    );
    lab.del(&asked, &pod).ok();
    // The one whose other end the container has outweighs the others.
    lab.node.ip("link set net1-peer name inside");
    lab.node.ip(&format!("link set other1 name net1 netns {}", pod.name()));
    lab.add(&chained(&["br0", "tap0", "net1", "other0"]), &pod).ok();
    assert_eq!(lab.port("other0")["master"], "br0");
}

#[test]
fn uplinks_are_judged_when_asked_and_warned_about_otherwise() {
    let lab = Lab::empty();
    lab.bridge("br0", "");
    let pod = lab.pod();
    let strict = vm_conf(json!({"uplinkCheck": "fail"}));
    let said = refused(&lab, &pod, 105, || lab.add(&strict, &pod));
    contains(&said, &["no port that leads off the node"]);
    let outcome = lab.add(&vm_conf(json!({})), &pod);
    assert!(outcome.stderr.contains("leads off the node"), "{}", outcome.stderr);
    outcome.ok();
    lab.del(&conf(json!({})), &pod).ok();
    let silent = lab.add(&vm_conf(json!({"uplinkCheck": "off"})), &pod);
    assert_eq!(silent.stderr, "");
    silent.ok();
    lab.del(&conf(json!({})), &pod).ok();

    lab.uplink("br0", "ens192");
    lab.add(&strict, &pod).ok();
    lab.del(&conf(json!({})), &pod).ok();
    lab.lan.ip("link set lan0 down");
    wait_until("the bridge lost its carrier", || lab.port("br0")["operstate"] == "DOWN");
    let said = refused(&lab, &pod, 106, || lab.add(&strict, &pod));
    contains(&said, &["carrier", "ens192"]);
}

#[test]
fn mac_addresses_that_no_interface_may_carry_are_refused() {
    let lab = Lab::new("");
    let pod = lab.pod();
    for mac in
        ["01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "02:00:00", "zz:00:00:00:00:01"]
    {
        let config = |asked: Value| lab.add(&conf(asked), &pod);
        contains(
            &refused(&lab, &pod, 7, || config(json!({"runtimeConfig": {"mac": mac}}))),
            &["runtimeConfig.mac", mac],
        );
        contains(
            &refused(&lab, &pod, 7, || config(json!({"args": {"cni": {"mac": mac}}}))),
            &["args.cni.mac", mac],
        );
        let call = lab
            .call("ADD", &conf(json!({})), "c1", pod.path(), "net1")
            .set("CNI_ARGS", &format!("MAC={mac}"));
        contains(&refused(&lab, &pod, 4, || call.run()), &["CNI_ARGS", mac]);
    }
}

#[test]
fn a_mac_that_another_local_port_uses_is_named_with_its_owner() {
    let lab = Lab::new("");
    let pods = [lab.pod(), lab.pod()];
    let asked = conf(json!({"runtimeConfig": {"mac": "02:00:00:00:00:55"}}));
    lab.add(&asked, &pods[0]).ok();
    assert!(send_frame(&pods[0], "net1", &frame([2, 0, 0, 0, 0, 0x55], 1)));
    let host = support::host_side("c1", "net1");
    wait_until("the bridge learns the MAC", || lab.node.learned("02:00:00:00:00:55").contains(&host));
    let said = lab.call("ADD", &asked, "c2", pods[1].path(), "net1").run().error(109);
    contains(&said, &["02:00:00:00:00:55", &host, "container c1"]);
    contains(&lab.add(&asked, &pods[0]).error(107), &["attached already"]);
    // The node's own addresses would win.
    let of = |link: &str| lab.port(link)["address"].as_str().unwrap().to_string();
    lab.node.ip("link set br0 address 02:00:00:00:00:b0");
    for link in ["br0", "ens192", &host] {
        let own = conf(json!({"runtimeConfig": {"mac": of(link)}}));
        let said = lab.call("ADD", &own, "c2", pods[1].path(), "net1").run().error(109);
        contains(&said, &[&of(link), link, "own address"]);
    }
    // Behind the uplink it is a VM that migrates here.
    let elsewhere = conf(json!({"runtimeConfig": {"mac": "02:00:00:00:00:56"}}));
    assert!(send_frame(&lab.lan, "lan0", &frame([2, 0, 0, 0, 0, 0x56], 1)));
    wait_until("the bridge learns the MAC", || lab.node.learned("02:00:00:00:00:56").contains("ens192"));
    lab.call("ADD", &elsewhere, "c2", pods[1].path(), "net1").run().ok();
}

#[test]
fn the_same_mac_in_another_vlan_is_another_host() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pods = [lab.pod(), lab.pod()];
    let mac = "02:00:00:00:00:55";
    let asked = |vlan: u16| conf(json!({"vlan": vlan, "runtimeConfig": {"mac": mac}}));
    lab.add(&asked(100), &pods[0]).ok();
    assert!(send_frame(&pods[0], "net1", &frame([2, 0, 0, 0, 0, 0x55], 1)));
    wait_until("the bridge learns the MAC", || lab.node.learned(mac).contains("vlan 100"));
    let second = |vlan| lab.call("ADD", &asked(vlan), "c2", pods[1].path(), "net1").run();
    contains(&second(100).error(109), &[mac, "container c1"]);
    second(200).ok();
}

#[test]
fn a_port_leads_off_the_node_unless_a_container_or_a_virtual_machine_is_behind_it() {
    let lab = Lab::empty();
    lab.bridge("br0", "address 02:00:00:00:00:b0 ");
    let (pod, container) = (lab.pod(), lab.pod());
    let asked = vm_conf(json!({"uplinkCheck": "fail", "runtimeConfig": {"mac": "02:00:00:00:00:57"}}));
    let add = || lab.add(&asked, &pod);
    let learn = |port: &str| {
        lab.node.run(&format!("bridge fdb add 02:00:00:00:00:57 dev {port} master static"));
    };
    // No program is behind the taps.
    lab.node.ip("tuntap add tap0 mode tap vnet_hdr\nlink set tap0 master br0 up");
    add().error(105);
    lab.node.ip("tuntap add tap1 mode tap\nlink set tap1 master br0 up");
    contains(&add().error(106), &["uplinks: tap1"]);

    lab.node.ip(&format!(
        "link add veth0 type veth peer name eth0 netns {}\nlink set veth0 master br0 up",
        container.name()
    ));
    container.ip("link set eth0 up");
    contains(&add().error(106), &["uplinks: tap1"]);
    learn("veth0");
    let ignored = |lab: &Lab| {
        let mut asked = asked.clone();
        asked["uplinkCheck"] = "off".into();
        lab.add(&asked, &pod)
    };
    ignored(&lab).error(109);
    lab.node.ip("link del veth0");

    for port in ["tap0", "tap1"] {
        learn(port);
        ignored(&lab).ok();
        lab.del(&asked, &pod).ok();
        lab.node.ip(&format!("link set {port} nomaster"));
    }
    // To another bridge of the node, and perhaps on from there.
    lab.node.ip("link add veth0 type veth peer name veth1\nlink set veth1 up\nlink set veth0 master br0 up");
    learn("veth0");
    add().ok();
}
