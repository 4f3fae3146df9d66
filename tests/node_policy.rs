//! The node's owner decides: what a hostile author of networks tries is refused before the node has changed, what the policy
//! gives is attached as it says, and no log leads root elsewhere.

use crate::support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::examples::folder;
use support::feature::{Feature, needs};
use support::namespace::{Namespace, text};
use support::plugin::{Call, Outcome, executable, script};
use support::{Before, Lab, conf, host_side, other_plugins_pair, vm_conf, wait_until, with_result};

/// Where the policy is on a lab's node.
fn place(lab: &Lab) -> PathBuf {
    lab.files.join("etc/cni/bridge-dhcp/policy.yaml")
}

fn write_policy(lab: &Lab, policy: &str) {
    std::fs::create_dir_all(place(lab).parent().unwrap()).unwrap();
    std::fs::write(place(lab), policy).unwrap();
}

/// The policy of conf-examples.
fn three_tenants() -> String {
    std::fs::read_to_string(folder().join("install/policy/tenants.policy")).unwrap()
}

/// A node with `br-lan`, `br-trunk` and `br-mgmt`, and the policy of conf-examples.
fn node() -> Lab {
    let lab = Lab::empty();
    for bridge in ["br-lan", "br-trunk", "br-mgmt"] {
        lab.bridge(bridge, "");
    }
    lab.uplink("br-lan", "ens192");
    write_policy(&lab, &three_tenants());
    lab
}

fn arguments(namespace: &str) -> String {
    format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=pod")
}

fn add<'a>(lab: &'a Lab, namespace: &str, conf: &Value, pod: &Namespace) -> Call<'a> {
    lab.call("ADD", conf, "c1", pod.path(), "net1").set("CNI_ARGS", &arguments(namespace))
}

/// All files of the lab, with their sizes.
fn files(directory: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        found.push((path.clone(), if metadata.is_file() { metadata.len() } else { 0 }));
        if metadata.is_dir() {
            found.extend(files(&path));
        }
    }
    found.sort();
    found
}

/// A config of tenant A's, of the first of its VLANs, with some keys changed or added.
fn of_a(changes: Value) -> Value {
    merged(json!({"bridge": "br-trunk", "vlan": 100}), changes)
}

/// A config of tenant B's.
fn of_b(changes: Value) -> Value {
    merged(json!({"bridge": "br-trunk", "name": "b-lan", "ipam": {"type": "host-local"}}), changes)
}

/// A config of tenant C's.
fn of_c(changes: Value) -> Value {
    merged(json!({"bridge": "br-lan"}), changes)
}

fn merged(mut first: Value, changes: Value) -> Value {
    first.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    conf(first)
}

/// What tenants try against their own rule: whose, the config, and what of it the refusal names.
fn attempts() -> Vec<(&'static str, Value, &'static str)> {
    let range = |first: u16, last: u16| json!([{"minID": first, "maxID": last}]);
    let local = |more: Value| {
        let mut ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}]]});
        ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"ipam": ipam})
    };
    let forged =
        json!({"cniVersion": "1.1.0", "interfaces": [{"name": "ens192"}, {"name": "net1", "sandbox": "/x"}]});
    let empty = json!({"cniVersion": "1.1.0", "interfaces": []});
    vec![
        ("tenant-a", of_a(json!({"bridge": "br-mgmt"})), "bridge br-mgmt"),
        ("tenant-a", of_a(json!({"bridge": "br-lan"})), "bridge br-lan"),
        ("tenant-a", of_a(json!({"bridge": "BR-TRUNK"})), "bridge BR-TRUNK"),
        ("tenant-a", of_a(json!({"bridge": "br-trunk2"})), "bridge br-trunk2"),
        ("tenant-a", of_a(json!({"bridge": "br-trunk.100"})), "bridge br-trunk.100"),
        ("tenant-a", of_a(json!({"bridge": "br-*"})), "bridge br-*"),
        ("tenant-a", of_a(json!({"bridge": "*"})), "bridge *"),
        ("tenant-a", of_a(json!({"vlan": 99})), "VLAN 99"),
        ("tenant-a", of_a(json!({"vlan": 120})), "VLAN 120"),
        ("tenant-a", of_a(json!({"vlan": 4094})), "VLAN 4094"),
        ("tenant-a", of_a(json!({"vlan": 1})), "VLAN 1 "),
        ("tenant-a", of_a(json!({"vlan": 0})), "\"vlan\" is required"),
        ("tenant-a", of_a(json!({"vlan": null})), "\"vlan\" is required"),
        ("tenant-a", of_a(json!({"vlan": null, "vlanTrunk": []})), "\"vlan\" is required"),
        ("tenant-a", of_a(json!({"vlan": null, "vlanTrunk": [{"id": 100}]})), "VLAN 1 "),
        ("tenant-a", of_a(json!({"vlanTrunk": [{"id": 120}]})), "\"vlanTrunk\""),
        ("tenant-a", of_a(json!({"vlanTrunk": range(101, 120)})), "\"vlanTrunk\""),
        ("tenant-a", of_a(json!({"vlanTrunk": range(99, 110)})), "\"vlanTrunk\""),
        ("tenant-a", of_a(json!({"vlanTrunk": range(1, 4094)})), "\"vlanTrunk\""),
        (
            "tenant-a",
            of_a(json!({"vlanTrunk": [{"id": 101}, {"id": 102}, {"id": 103, "minID": 104, "maxID": 200}]})),
            "\"vlanTrunk\"",
        ),
        ("tenant-a", of_a(json!({"preserveDefaultVlan": true})), "preserveDefaultVlan"),
        ("tenant-a", of_a(json!({"mtu": 9000})), "\"mtu\" is forbidden"),
        ("tenant-a", of_a(json!({"mtu": 0})), "\"mtu\" is forbidden"),
        ("tenant-a", of_a(json!({"createBridge": true})), "\"createBridge\""),
        ("tenant-a", of_a(json!({"isGateway": true})), "\"isGateway\""),
        ("tenant-a", of_a(json!({"isDefaultGateway": true})), "\"isGateway\""),
        ("tenant-a", of_a(json!({"isGateway": true, "createBridge": false})), "\"isGateway\""),
        ("tenant-a", of_a(json!({"forceAddress": true})), "\"forceAddress\""),
        ("tenant-a", of_a(json!({"promiscMode": true})), "\"promiscMode\""),
        ("tenant-a", of_a(json!({"hairpinMode": true})), "\"hairpinMode\""),
        ("tenant-a", of_a(json!({"ipMasq": true})), "\"ipMasq\""),
        ("tenant-a", of_a(json!({"prevResult": forged})), "\"prevResult\""),
        ("tenant-a", of_a(json!({"prevResult": empty})), "\"prevResult\""),
        ("tenant-a", of_a(json!({"logFile": "/etc/cron.d/x"})), "\"logFile\""),
        ("tenant-a", of_a(json!({"logFile": "/var/log/bridge-dhcp/../auth.log"})), "\"logFile\""),
        ("tenant-a", of_a(json!({"logFile": "/var/log/bridge-dhcp2/x"})), "\"logFile\""),
        ("tenant-a", of_a(json!({"logFile": "var/log/bridge-dhcp/x"})), "\"logFile\""),
        ("tenant-a", of_a(json!({"logFile": "../../var/log/bridge-dhcp/x"})), "\"logFile\""),
        ("tenant-a", of_a(json!({"logFile": "/proc/self/root/etc/x"})), "\"logFile\""),
        ("tenant-a", of_a(json!({"logFile": "/dev/stdout"})), "\"logFile\""),
        ("tenant-a", of_a(json!({"logFile": "/VAR/LOG/BRIDGE-DHCP/x"})), "\"logFile\""),
        ("tenant-b", of_b(json!({"logFile": "/var/log/bridge-dhcp/x"})), "\"logFile\""),
        ("tenant-b", of_b(json!({"logFile": "/var/log/bridge-dhcp/tenant-b/../x"})), "\"logFile\""),
        ("tenant-b", of_b(json!({"bridge": "br-lan"})), "bridge br-lan"),
        ("tenant-b-dev", of_b(json!({"bridge": "br-mgmt"})), "bridge br-mgmt"),
        ("tenant-b", of_b(json!({"vlanTrunk": [{"id": 201}]})), "\"vlanTrunk\""),
        ("tenant-b", of_b(json!({"ipam": {"type": "dhcp"}})), "IPAM plugin dhcp"),
        ("tenant-b", of_b(json!({"ipam": {"type": "bridge-dhcp"}})), "IPAM plugin bridge-dhcp"),
        ("tenant-b", of_b(json!({"ipam": {"type": "Host-Local"}})), "IPAM plugin Host-Local"),
        ("tenant-b", of_b(json!({"ipam": {"TYPE": "whereabouts"}})), "IPAM plugin whereabouts"),
        ("tenant-b", of_b(json!({"ipam": {"type": "../../../bin/sh"}})), "IPAM plugin ../../../bin/sh"),
        ("tenant-b", of_b(local(json!({"dataDir": "/etc/cron.d"}))), "dataDir"),
        ("tenant-b", of_b(local(json!({"DataDir": "/etc"}))), "DataDir"),
        ("tenant-b", of_b(local(json!({"datadir": "etc"}))), "datadir"),
        ("tenant-b", of_b(local(json!({"resolvConf": "/etc/shadow"}))), "resolvConf"),
        ("tenant-b", of_b(local(json!({"more": {"deep": ["/root/.ssh/id"]}}))), "/root/.ssh/id"),
        ("tenant-b", of_b(local(json!({"daemonSocketPath": "x.sock"}))), "daemonSocketPath"),
        ("tenant-c", of_c(json!({"vlan": 100})), "VLAN 100"),
        ("tenant-c", of_c(json!({"vlanTrunk": range(2, 4094)})), "VLAN 1 "),
        ("tenant-c", of_c(json!({"bridge": "br-c"})), "bridge br-c"),
        ("tenant-c", of_c(json!({"forceAddress": true, "isGateway": true})), "\"forceAddress\""),
        ("tenant-c", of_c(json!({"bridge": "br-mgmt", "createBridge": true})), "bridge br-mgmt"),
        ("tenant-c", of_c(json!({"ipam": {"type": "static", "addresses": []}})), "IPAM plugin static"),
    ]
}

/// The rule that is for a namespace of the example's.
fn rule_of(namespace: &str) -> String {
    let name = &namespace[..namespace.len().min("tenant-x".len())];
    format!("rule {name:?} (line ")
}

#[test]
fn every_way_around_a_rule_is_refused_by_its_name_before_the_node_has_changed() {
    let lab = node();
    let pod = lab.pod();
    // Without the policy some of these would attach, and others would start a program that writes this file.
    let started = lab.files.join("started");
    let bin = script(&lab.files, "whereabouts", &format!("touch {}; exit 1", started.display()));
    let (before, files_before) = (Before::new(&lab, &pod), files(&lab.files));
    let attempts = attempts();
    assert!(attempts.len() >= 60);
    for (namespace, conf, part) in &attempts {
        let call =
            add(&lab, namespace, conf, &pod).set("CNI_PATH", &format!("{bin}:/usr/lib/cni:/opt/cni/bin"));
        let error = call.run().error(140);
        let first = error.lines().next().unwrap();
        assert!(first.contains(&rule_of(namespace)) && first.contains(part), "{conf}: {error}");
        before.assert_unchanged(part);
        assert_eq!(files(&lab.files), files_before, "{conf}");
    }
    assert!(!started.exists());
}

#[test]
fn who_asks_cannot_be_changed_by_the_asker() {
    let lab = node();
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let files_before = files(&lab.files);
    let mine = of_c(json!({}));
    for (arguments, part) in [
        ("IgnoreUnknown=1;K8S_POD_NAMESPACE=tenant-z;K8S_POD_NAME=pod", "rule \"nobody else\""),
        ("K8S_POD_NAMESPACE=tenant-z;K8S_POD_NAMESPACE=tenant-c", "more than once"),
        ("K8S_POD_NAMESPACE=tenant-c;K8S_POD_NAMESPACE=tenant-z", "more than once"),
        ("K8S_POD_NAMESPACE=tenant-c;K8S_POD_NAMESPACE=tenant-c", "more than once"),
        ("K8S_POD_NAMESPACE=Tenant-C", "K8S_POD_NAMESPACE=\"Tenant-C\""),
        ("K8S_POD_NAMESPACE=tenant-c ", "K8S_POD_NAMESPACE"),
        ("K8S_POD_NAMESPACE=*", "K8S_POD_NAMESPACE=\"*\""),
        ("K8S_POD_NAMESPACE=", "K8S_POD_NAMESPACE=\"\""),
        ("k8s_pod_namespace=tenant-c", "rule \"nobody else\""),
        ("K8S_POD_NAME=tenant-c", "rule \"nobody else\""),
        ("", "rule \"nobody else\""),
    ] {
        let call = lab.call("ADD", &mine, "c1", pod.path(), "net1").set("CNI_ARGS", arguments);
        let error = call.run().error(140);
        assert!(error.contains(part), "{arguments}: {error}");
    }
    // What the config says of itself is not asked.
    for claim in [
        json!({"K8S_POD_NAMESPACE": "tenant-c"}),
        json!({"args": {"cni": {"K8S_POD_NAMESPACE": "tenant-c"}}, "runtimeConfig": {"namespace": "tenant-c"}}),
        json!({"policy": "/tmp/mine.yaml", "name": "tenant-c"}),
    ] {
        let error = add(&lab, "tenant-z", &of_c(claim), &pod).run().error(140);
        assert!(error.contains("rule \"nobody else\""), "{error}");
    }
    let elsewhere = add(&lab, "tenant-b", &of_b(json!({"name": "lan"})), &pod).run().error(140);
    assert!(elsewhere.contains("rule \"nobody else\""), "{elsewhere}");
    before.assert_unchanged("all these");
    assert_eq!(files(&lab.files), files_before);
}

#[test]
fn what_is_written_to_be_read_in_two_ways_is_not_read_at_all() {
    let lab = node();
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let base = r#""cniVersion": "1.1.0", "name": "lan", "type": "bridge-dhcp", "bridge": "br-lan""#;
    let deep = format!("{{{base}, \"args\": {}{}}}", "[".repeat(1000), "]".repeat(1000));
    let huge = format!("{{{base}, \"args\": \"{}\"}}", "x".repeat(5 << 20));
    for (input, code) in [
        (format!("{{{base}, \"bridge\": \"br-mgmt\"}}"), 7),
        (format!("{{{base}, \"bri\\u0064ge\": \"br-mgmt\"}}"), 7),
        (format!("{{{base}, \"macspoofchk\": true, \"macspoofchk\": false}}"), 7),
        (format!("{{{base}, \"MacSpoofChk\": false}}"), 7),
        (format!("{{{base}, \"PORTISOLATION\": false}}"), 7),
        (format!("{{{base}, \"Bridge\": \"br-mgmt\"}}"), 7),
        (format!("{{{base}, \"VLAN\": 7}}"), 7),
        (format!("{{{base}, \"LogFile\": \"/etc/x\"}}"), 7),
        (format!("{{{base}, \"IPAM\": {{\"type\": \"whereabouts\"}}}}"), 7),
        (format!("{{{base}, \"ipam\": {{\"type\": \"host-local\", \"type\": \"whereabouts\"}}}}"), 7),
        (format!("{{{base}, \"macspoof\\u017fchk\": false, \"macspoofchck\": false}}"), 7),
        (format!("{{{base}, \"vlan\": \"100\"}}"), 7),
        (format!("[{{{base}}}]"), 6),
        (format!("{{{base}}} {{{base}}}"), 6),
        (deep, 6),
        (huge, 5),
    ] {
        let call = add(&lab, "tenant-c", &json!({}), &pod).input(input.clone());
        call.run().error(code);
        before.assert_unchanged(&input[..input.len().min(200)]);
    }
}

#[test]
fn what_a_rule_forces_is_on_the_node_whatever_the_config_says() {
    let lab = node();
    let pod = lab.pod();
    let asked =
        of_c(json!({"portIsolation": false, "macspoofchk": false, "disableContainerInterface": true}));
    let result = add(&lab, "tenant-c", &asked, &pod).run().ok();
    let host = host_side("c1", "net1");
    let port = lab.port(&host);
    assert_eq!(port["linkinfo"]["info_slave_data"]["isolated"], true, "{port}");
    assert!(lab.node.run("nft list table bridge bridge_dhcp").contains(&host));
    let check = |conf: &Value| {
        let call = lab.call("CHECK", &with_result(conf, &result), "c1", pod.path(), "net1");
        call.set("CNI_ARGS", &arguments("tenant-c")).run()
    };
    check(&asked).ok();
    lab.node.ip(&format!("link set {host} type bridge_slave isolated off"));
    assert!(check(&asked).error(123).contains("portIsolation"));
}

#[test]
fn a_forced_vlan_is_the_ports_only_one() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::empty();
    lab.bridge("br-trunk", "vlan_filtering 1");
    lab.uplink("br-trunk", "ens192");
    lab.node.run("bridge vlan add dev ens192 vid 100-200");
    let pod = lab.pod();
    write_policy(&lab, &three_tenants());
    for vlan in [json!(null), json!(7), json!(200)] {
        let asked = of_b(json!({"vlan": vlan, "ipam": {}}));
        add(&lab, "tenant-b", &asked, &pod).run().ok();
        let carried = lab.node.vlans(&host_side("c1", "net1"));
        assert!(carried.len() == 1 && carried[0]["vlan"] == 200, "{carried:?}");
        lab.del(&asked, &pod).ok();
    }
    let refused = |conf: &Value| add(&lab, "tenant-a", conf, &pod).run().error(140);
    assert!(refused(&of_a(json!({"vlan": 200}))).contains("VLAN 200"));
}

#[test]
fn a_gateway_that_may_create_no_bridge_uses_one_that_is_there() {
    let lab = node();
    let pod = lab.pod();
    let policy = "rules:\n- name: gateway\n  bridges: [{name: br-*, vlans: [untagged]}]\n  allow: [isGateway]\n  ipam: [host-local]\n  ipamPaths: [IPAM]\n";
    write_policy(&lab, &policy.replace("IPAM", lab.files.join("ipam").to_str().unwrap()));
    let asked = |bridge: &str| support::ipam::gateway_conf(&lab, json!({"bridge": bridge}));
    let error = add(&lab, "x", &asked("br-new"), &pod).run().error(100);
    assert!(error.contains("br-new"), "{error}");
    add(&lab, "x", &asked("br-mgmt"), &pod).run().ok();
}

#[test]
fn a_chained_interface_needs_leave() {
    let lab = node();
    let pod = lab.pod();
    let previous = other_plugins_pair(&lab, &pod);
    let asked = with_result(&of_c(json!({})), &previous);
    let before = Before::new(&lab, &pod);
    assert!(add(&lab, "tenant-c", &asked, &pod).run().error(140).contains("\"prevResult\" is not allowed"));
    before.assert_unchanged("the refusal");
    add(&lab, "platform-x", &asked, &pod).run().ok();
    assert_eq!(lab.port("ptp0")["master"], "br-lan");
}

/// What is wrong with a policy's file, or a directory of it.
fn spoil(lab: &Lab, what: &str) {
    let file = place(lab);
    let directory = file.parent().unwrap().to_path_buf();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let away = lab.files.join("elsewhere");
    match what {
        "writable by all" => mode(&file, 0o666),
        "writable by its group" => mode(&file, 0o664),
        "another owner" => std::os::unix::fs::chown(&file, Some(1000), None).unwrap(),
        "a symbolic link" => {
            std::fs::rename(&file, &away).unwrap();
            symlink(&away, &file).unwrap();
        }
        "a link to nothing" => {
            std::fs::remove_file(&file).unwrap();
            symlink(&away, &file).unwrap();
        }
        "a directory" => {
            std::fs::remove_file(&file).unwrap();
            std::fs::create_dir(&file).unwrap();
        }
        "a pipe" => {
            std::fs::remove_file(&file).unwrap();
            nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
        }
        "its directory writable by all" => mode(&directory, 0o777),
        "its directory another's" => {
            std::os::unix::fs::chown(directory.parent().unwrap(), Some(1000), None).unwrap()
        }
        "its directory a link" => {
            std::fs::rename(&directory, &away).unwrap();
            symlink(&away, &directory).unwrap();
        }
        "its directory a link to nothing" => {
            std::fs::remove_dir_all(&directory).unwrap();
            symlink(&away, &directory).unwrap();
        }
        "too large" => std::fs::write(&file, format!("rules: []\n#{}", "x".repeat(1 << 20))).unwrap(),
        "empty" => std::fs::write(&file, "").unwrap(),
        "no YAML" => std::fs::write(&file, "rules: [").unwrap(),
        "no text" => std::fs::write(&file, b"rules: []\xff").unwrap(),
        "a misspelt key" => std::fs::write(&file, three_tenants().replace("forbid:", "forbidden:")).unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn a_policy_that_cannot_be_used_refuses_all_but_del_and_gc() {
    for what in [
        "writable by all",
        "writable by its group",
        "another owner",
        "a symbolic link",
        "a link to nothing",
        "a directory",
        "a pipe",
        "its directory writable by all",
        "its directory another's",
        "its directory a link",
        "its directory a link to nothing",
        "too large",
        "empty",
        "no YAML",
        "no text",
        "a misspelt key",
    ] {
        let lab = node();
        let pod = lab.pod();
        let clean = Before::new(&lab, &pod);
        let asked = of_c(json!({"disableContainerInterface": true}));
        let attached = add(&lab, "tenant-c", &asked, &pod).run().ok();
        let state = || lab.port(&host_side("c1", "net1"))["linkinfo"]["info_slave_data"]["state"].clone();
        wait_until("the bridge has noted that the port has no carrier", || state() == "disabled");
        spoil(&lab, what);
        let before = Before::new(&lab, &pod);
        let another =
            lab.call("ADD", &asked, "c2", pod.path(), "net2").set("CNI_ARGS", &arguments("platform-x"));
        let error = another.run().error(141);
        assert!(error.contains("node policy"), "{what}: {error}");
        let check = lab.call("CHECK", &with_result(&asked, &attached), "c1", pod.path(), "net1");
        check.set("CNI_ARGS", &arguments("tenant-c")).run().error(141);
        lab.call("STATUS", &asked, "", pod.path(), "").run().error(50);
        before.assert_unchanged(what);
        let valid = json!([{"containerID": "c1", "ifname": "net1"}]);
        let collect = |valid: Value| {
            let asked = merged(asked.clone(), json!({"cni.dev/valid-attachments": valid}));
            lab.call("GC", &asked, "", pod.path(), "").run().ok();
        };
        collect(valid);
        before.assert_unchanged("a collection that keeps it");
        if what.contains("link") {
            collect(json!([]));
        } else {
            lab.call("DEL", &asked, "c1", pod.path(), "net1")
                .set("CNI_ARGS", &arguments("tenant-c"))
                .run()
                .ok();
        }
        clean.assert_unchanged(what);
    }
}

#[test]
fn what_the_policy_no_longer_allows_is_still_removed() {
    let lab = node();
    let pod = lab.pod();
    let clean = Before::new(&lab, &pod);
    let asked = of_c(json!({"disableContainerInterface": true, "logFile": "/var/log/bridge-dhcp/c"}));
    add(&lab, "tenant-c", &asked, &pod).run().ok();
    let logged = || std::fs::read_to_string(lab.log_file("c").1).unwrap();
    let said = logged();
    assert!(said.contains("attached net1"), "{said}");
    write_policy(&lab, "rules: []");
    lab.call("DEL", &asked, "c1", pod.path(), "net1").set("CNI_ARGS", &arguments("tenant-c")).run().ok();
    clean.assert_unchanged("DEL");
    assert_eq!(logged(), said, "whom no rule allows a log has none");
    let error = add(&lab, "tenant-c", &asked, &pod).run().error(140);
    assert!(error.contains("no rule is for namespace tenant-c, network lan"), "{error}");
}

#[test]
fn status_needs_a_rule_for_the_network_and_names_the_last_that_refuses() {
    let lab = node();
    let status = |conf: Value| lab.call("STATUS", &conf, "", Path::new(""), "").run();
    status(of_c(json!({}))).ok();
    status(of_b(json!({"vlan": null, "ipam": {}, "uplinkCheck": "off", "bridge": "br-lan"}))).ok();
    write_policy(
        &lab,
        "rules:\n- name: a\n  networks: [lan]\n  bridges: [{name: br-x, vlans: [untagged]}]\n",
    );
    let error = status(of_c(json!({}))).error(50);
    assert!(error.contains("rule \"a\" (line 2)") && error.contains("code 140"), "{error}");
    assert!(status(of_c(json!({"name": "other"}))).error(50).contains("no rule"));
}

#[test]
fn without_a_policy_logs_stay_in_their_directory_and_follow_no_link() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let outside = lab.files.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "").unwrap();
    let logs = lab.files.join("var/log/bridge-dhcp");
    let attach = |path: &str| -> Outcome {
        let asked = vm_conf(json!({"logFile": path}));
        let outcome = lab.add(&asked, &pod);
        assert!(outcome.succeeded, "{path}: {}", outcome.json);
        lab.del(&asked, &pod).ok();
        outcome
    };
    attach("/var/log/bridge-dhcp/good").ok();
    assert!(std::fs::read_to_string(logs.join("good")).unwrap().contains("attached net1"));
    assert_eq!(std::fs::metadata(logs.join("good")).unwrap().permissions().mode() & 0o777, 0o600);
    symlink(&outside, logs.join("linked")).unwrap();
    symlink(outside.join("precious"), logs.join("link")).unwrap();
    symlink("good", logs.join("inner")).unwrap();
    std::fs::hard_link(outside.join("precious"), logs.join("hard")).unwrap();
    let said = std::fs::metadata(logs.join("good")).unwrap().len();
    for path in [
        "/var/log/bridge-dhcp/linked/new",
        "/var/log/bridge-dhcp/link",
        "/var/log/bridge-dhcp/inner",
        "/var/log/bridge-dhcp/hard",
        "/var/log/bridge-dhcp/../../outside/new",
        "/var/log/bridge-dhcp/./../x",
        "/var/log/bridge-dhcp",
        "/var/log/other",
        "/tmp/x",
        outside.join("new").to_str().unwrap(),
    ] {
        let outcome = attach(path);
        assert!(outcome.stderr.contains("cannot open logFile"), "{path}: {}", outcome.stderr);
    }
    assert_eq!(files(&outside), [(outside.join("precious"), 0)]);
    assert_eq!(std::fs::metadata(logs.join("good")).unwrap().len(), said);
    std::fs::remove_dir_all(&logs).unwrap();
    symlink(&outside, &logs).unwrap();
    assert!(attach("/var/log/bridge-dhcp/good").stderr.contains("cannot open logFile"));
    std::fs::remove_file(&logs).unwrap();
    std::fs::create_dir(&logs).unwrap();
    std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(attach("/var/log/bridge-dhcp/good").stderr.contains("only its owner writes to"));
}

fn by_hand(lab: &Lab, words: &[&str]) -> (i32, String) {
    let all: Vec<&str> = ["policy"].iter().chain(words).copied().collect();
    let output = lab.node.pipe(&executable(), &all, "");
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn check_says_which_rule_decides_and_why() {
    let lab = Lab::empty();
    let policy = folder().join("install/policy/tenants.policy");
    let policy = policy.to_str().unwrap();
    let (status, said) = by_hand(&lab, &["check", policy]);
    assert!(status == 0 && said.contains("5 rules") && said.contains("rule \"tenant-b\""), "{said}");
    let definition = lab.files.join("nad.yaml");
    let nad = |config: Value| {
        let object = json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "lan", "namespace": "tenant-a"}, "spec": {"config": config.to_string()},
        });
        std::fs::write(&definition, object.to_string()).unwrap();
        definition.to_str().unwrap()
    };
    let network =
        nad(json!({"cniVersion": "1.0.0", "type": "bridge-dhcp", "bridge": "br-trunk", "vlan": 110}));
    let (status, said) = by_hand(&lab, &["check", policy, "--network", network]);
    for part in [
        "allowed: namespace tenant-a, network lan",
        "passed over: rule \"platform\"",
        "decided by: rule \"tenant-a\"",
        "forces macspoofchk: true",
        "by default uplinkCheck: \"fail\"",
    ] {
        assert!(status == 0 && said.contains(part), "{part}: {said}");
    }
    let (status, said) = by_hand(&lab, &["check", policy, "--network", network, "--namespace", "tenant-c"]);
    assert!(
        status == 1
            && said.contains("refused: namespace tenant-c")
            && said.contains("bridge br-trunk is not"),
        "{said}"
    );
    let list = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "ptp"}, {"type": "bridge-dhcp", "bridge": "br-lan"}]});
    let (status, said) = by_hand(&lab, &["check", policy, "--network", nad(list), "--namespace", "tenant-c"]);
    assert!(status == 1 && said.contains("\"prevResult\" is not allowed"), "{said}");
    let broken = lab.files.join("broken");
    std::fs::write(&broken, "rules:\n- name: a\n  brigdes: []\n").unwrap();
    let (status, said) = by_hand(&lab, &["check", broken.to_str().unwrap()]);
    assert!(status == 1 && said.contains("line 3: a rule has the key \"brigdes\""), "{said}");
}

#[test]
fn install_puts_a_right_policy_into_place_and_leaves_the_old_one_for_a_wrong_one() {
    let lab = Lab::empty();
    let directory = lab.files.join("etc/cni/bridge-dhcp");
    let mounted = lab.files.join("mounted");
    std::fs::write(lab.files.join("data"), three_tenants()).unwrap();
    symlink("data", &mounted).unwrap();
    let words = ["install", mounted.to_str().unwrap(), "--dest", directory.to_str().unwrap()];
    let (status, said) = by_hand(&lab, &words);
    assert!(status == 0 && said.starts_with("installed "), "{said}");
    assert_eq!(std::fs::read_to_string(place(&lab)).unwrap(), three_tenants());
    let pod = lab.pod();
    let error = add(&lab, "tenant-a", &of_a(json!({"vlan": 7})), &pod).run().error(140);
    assert!(error.contains("rule \"tenant-a\""), "{error}");
    std::fs::write(lab.files.join("data"), "rules: [").unwrap();
    assert_eq!(by_hand(&lab, &words).0, 1);
    assert_eq!(std::fs::read_to_string(place(&lab)).unwrap(), three_tenants());
}
