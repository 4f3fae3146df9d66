//! The same configuration given to the incumbent `bridge` and to this plugin, one after the other in identical
//! namespaces: what kernel and runtime see must be the same, but for the intended differences, which are listed here and
//! in the README.
use crate::support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::feature::{Feature, needs, present};
use support::{Lab, conf, wait_until};

/// What one plugin made of a configuration.
#[derive(Debug, PartialEq, Eq)]
struct Made(BTreeMap<String, String>);

const INCUMBENT: &str = "/usr/lib/cni/bridge";

/// Runs ADD with the incumbent or with ours on a fresh node, and describes what is there afterwards; then DEL and describes
/// what is left.
fn make(incumbent: bool, configuration: &Value, prepare: &str) -> Made {
    let lab = Lab::empty();
    if !prepare.is_empty() {
        lab.node.ip(prepare);
    }
    let pod = lab.pod();
    pod.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "1").unwrap());
    let mut configuration = configuration.clone();
    let text = configuration.to_string().replace("DATADIR", lab.files.join("ipam").to_str().unwrap());
    configuration = serde_json::from_str(&text).unwrap();
    let call = |operation: &str, conf: &Value| {
        let call = lab.call(operation, conf, "c1", pod.path(), "eth0").set("CNI_ARGS", "IgnoreUnknown=1");
        if incumbent { call.with_executable(INCUMBENT).run() } else { call.run() }
    };
    let mut made = BTreeMap::new();
    let result = call("ADD", &configuration);
    if !result.succeeded {
        return Made(BTreeMap::from([("failed".to_string(), "yes".to_string())]));
    }
    let result = result.json;
    wait_until("the pod's addresses are settled", || {
        !pod.run("ip -6 address show scope global").contains("tentative")
    });
    made.insert("result ips".into(), result["ips"].to_string());
    made.insert("result routes".into(), normal_routes(&result));
    made.insert("result dns".into(), result["dns"].to_string());
    made.insert("result interfaces".into(), interfaces(&result));
    let host = result["interfaces"][1]["name"].as_str().unwrap();
    describe_pod(&pod, &mut made);
    describe_port(&lab, host, &mut made);
    describe_bridge(&lab, &mut made);
    let mut with_result = configuration.clone();
    with_result["prevResult"] = result.clone();
    made.insert("check".into(), call("CHECK", &with_result).succeeded.to_string());
    made.insert("del".into(), call("DEL", &configuration).succeeded.to_string());
    made.insert("left in the pod".into(), pod.link("eth0").to_string());
    made.insert("left on the node".into(), lab.port(host).to_string());
    let reserved = std::fs::read_dir(lab.files.join("ipam/lan")).into_iter().flatten();
    let reserved = reserved
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with(['1', 'f']));
    made.insert("left of IPAM".into(), reserved.count().to_string());
    Made(made)
}

/// Default routes without a gateway are given one by ours, as runtimes show.
fn normal_routes(result: &Value) -> String {
    let mut routes: Vec<String> =
        result["routes"].as_array().into_iter().flatten().map(Value::to_string).collect();
    routes.sort();
    routes.join(" ")
}

/// Shape of the interfaces: sandbox or not, and that the MAC is there; names and MACs are random or hashes.
fn interfaces(result: &Value) -> String {
    let interfaces = result["interfaces"].as_array().unwrap();
    let shown = interfaces.iter().map(|interface| {
        let name = interface["name"].as_str().unwrap();
        let name = if name.starts_with("veth") { "veth" } else { name };
        format!("{name} mac={} sandbox={}", interface["mac"].is_string(), interface["sandbox"].is_string())
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn describe_pod(pod: &support::namespace::Namespace, made: &mut BTreeMap<String, String>) {
    let link = pod.link("eth0");
    for key in ["mtu", "operstate"] {
        made.insert(format!("pod {key}"), link[key].to_string());
    }
    let addresses = &pod.addresses()["eth0"];
    let has_address = !addresses.is_null();
    made.insert("pod addresses".into(), addresses.to_string());
    let first = &pod.ip_json("-4 address show dev eth0")[0]["addr_info"][0];
    made.insert("pod broadcast address".into(), first["broadcast"].to_string());
    for family in ["-4", "-6"] {
        let shown = pod.run(&format!("ip {family} route show table all"));
        let mut lines: Vec<&str> = shown.lines().map(str::trim).filter(|line| passes(line)).collect();
        lines.sort_unstable();
        made.insert(format!("pod routes {family}"), lines.join("; "));
    }
    let sysctls = ["ipv6/conf/eth0/disable_ipv6", "ipv6/conf/eth0/accept_dad", "ipv4/conf/eth0/arp_notify"];
    for key in sysctls.iter().filter(|_| has_address) {
        let value = pod.enter(|| std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap());
        made.insert(format!("pod {key}"), value.trim().to_string());
    }
}

/// Routes that are neither the kernel's own for link-local addresses nor for its local ones.
fn passes(line: &str) -> bool {
    !line.contains("fe80") && !line.contains("ff00::") && !line.contains("table local")
}

fn describe_port(lab: &Lab, host: &str, made: &mut BTreeMap<String, String>) {
    let link = lab.port(host);
    let port = &link["linkinfo"]["info_slave_data"];
    for key in
        ["hairpin", "isolated", "learning", "flood", "guard", "root_block", "mcast_flood", "neigh_suppress"]
    {
        made.insert(format!("port {key}"), port[key].to_string());
    }
    made.insert("port mtu".into(), link["mtu"].to_string());
    made.insert("port master".into(), link["master"].to_string());
    if present(Feature::VlanFiltering) {
        let vlans = lab.node.vlans(host);
        made.insert("port VLANs".into(), Value::Array(vlans).to_string());
    }
}

fn describe_bridge(lab: &Lab, made: &mut BTreeMap<String, String>) {
    for bridge in ["br0", "br0.100"] {
        let link = lab.port(bridge);
        made.insert(format!("{bridge} mtu"), link["mtu"].to_string());
        made.insert(format!("{bridge} promiscuity"), link["promiscuity"].to_string());
        made.insert(format!("{bridge} filters"), link["linkinfo"]["info_data"]["vlan_filtering"].to_string());
        let mut addresses: Vec<String> =
            lab.node.addresses()[bridge].as_array().into_iter().flatten().map(Value::to_string).collect();
        addresses.sort();
        made.insert(format!("{bridge} addresses"), addresses.join(" "));
    }
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let value = lab.node.enter(|| std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap());
        made.insert(format!("node {key}"), value.trim().to_string());
    }
}

/// A configuration, what the node has before it, and what may differ: the description's key and why.
struct Case {
    name: &'static str,
    changes: Value,
    prepare: &'static str,
    differs: &'static [(&'static str, &'static str)],
    needs: Option<Feature>,
}

const BRIDGE: &str = "link add br0 address 02:00:00:00:00:0b type bridge\nlink set br0 up";
const FILTERING: &str =
    "link add br0 address 02:00:00:00:00:0b type bridge vlan_filtering 1\nlink set br0 up";
const JUMBO: &str = "link add br0 address 02:00:00:00:00:0b mtu 9000 type bridge\nlink set br0 up";

fn host_local(subnets: &[&str]) -> Value {
    let ranges: Vec<Value> = subnets.iter().map(|subnet| json!([{"subnet": subnet}])).collect();
    json!({"type": "host-local", "dataDir": "DATADIR", "ranges": ranges})
}

fn with_routes(mut ipam: Value, routes: Value) -> Value {
    ipam["routes"] = routes;
    ipam
}

fn fixed(addresses: Value, routes: Value) -> Value {
    json!({"type": "static", "addresses": addresses, "routes": routes})
}

fn cases() -> Vec<Case> {
    let v4 = || host_local(&["10.1.2.0/24"]);
    let v6 = || host_local(&["fd00:1::/64"]);
    let dual = || host_local(&["10.1.2.0/24", "fd00:1::/64"]);
    let same = |name, changes, prepare| Case { name, changes, prepare, differs: &[], needs: None };
    let l2 = |name, changes, prepare| Case { name, changes, prepare, differs: L2, needs: None };
    let vlan = |name, changes, differs| {
        let needs = Some(Feature::VlanFiltering);
        Case { name, changes, prepare: FILTERING, differs, needs }
    };
    vec![
        l2("plain L2", json!({}), BRIDGE),
        l2("hairpin", json!({"hairpinMode": true}), BRIDGE),
        l2("promiscuous", json!({"promiscMode": true}), BRIDGE),
        Case {
            name: "MTU below the bridge's",
            changes: json!({"mtu": 1400}),
            prepare: BRIDGE,
            needs: None,
            differs: L2_LARGE_PORT,
        },
        vlan("vlan", json!({"vlan": 100}), L2_VLAN),
        vlan("hairpin and vlan", json!({"vlan": 7, "hairpinMode": true}), L2_VLAN),
        same("v4", json!({"ipam": v4()}), BRIDGE),
        same("v6", json!({"ipam": v6()}), BRIDGE),
        same("dual stack", json!({"ipam": dual()}), BRIDGE),
        same("v4 gateway", json!({"isGateway": true, "ipam": v4()}), BRIDGE),
        same("v6 gateway", json!({"isGateway": true, "ipam": v6()}), BRIDGE),
        same("dual-stack gateway", json!({"isGateway": true, "ipam": dual()}), BRIDGE),
        same("v4 default gateway", json!({"isDefaultGateway": true, "ipam": v4()}), BRIDGE),
        same("v6 default gateway", json!({"isDefaultGateway": true, "ipam": v6()}), BRIDGE),
        same("dual-stack default gateway", json!({"isDefaultGateway": true, "ipam": dual()}), BRIDGE),
        same("gateway on a bridge that is created", json!({"isGateway": true, "ipam": v4()}), ""),
        same(
            "gateway that the bridge has already",
            json!({"isGateway": true, "ipam": v4()}),
            "link add br0 address 02:00:00:00:00:0b type bridge\nlink set br0 up\naddress add 10.1.2.1/24 dev br0",
        ),
        same(
            "another address in the way",
            json!({"isGateway": true, "ipam": v4()}),
            "link add br0 address 02:00:00:00:00:0b type bridge\nlink set br0 up\naddress add 192.168.9.1/24 dev br0",
        ),
        same(
            "another address replaced",
            json!({"isGateway": true, "forceAddress": true, "ipam": v4()}),
            "link add br0 address 02:00:00:00:00:0b type bridge\nlink set br0 up\naddress add 192.168.9.1/24 dev br0",
        ),
        same(
            "another v6 subnet stays",
            json!({"isGateway": true, "ipam": v6()}),
            "link add br0 address 02:00:00:00:00:0b type bridge\nlink set br0 up\naddress add fd77::1/64 dev br0 nodad",
        ),
        same(
            "overlapping v6 subnet in the way",
            json!({"isGateway": true, "ipam": v6()}),
            "link add br0 address 02:00:00:00:00:0b type bridge\nlink set br0 up\naddress add fd00:1::9/64 dev br0 nodad",
        ),
        same(
            "overlapping v6 subnet replaced",
            json!({"isGateway": true, "forceAddress": true, "ipam": v6()}),
            "link add br0 address 02:00:00:00:00:0b type bridge\nlink set br0 up\naddress add fd00:1::9/64 dev br0 nodad",
        ),
        same(
            "a named gateway",
            json!({"isGateway": true, "ipam": {"type": "host-local", "dataDir": "DATADIR", "ranges": [[{"subnet": "10.1.2.0/24", "gateway": "10.1.2.254"}]]}}),
            BRIDGE,
        ),
        same(
            "a part of a subnet",
            json!({"ipam": {"type": "host-local", "dataDir": "DATADIR", "ranges": [[{"subnet": "10.1.0.0/16", "rangeStart": "10.1.7.9", "rangeEnd": "10.1.7.20"}]]}}),
            BRIDGE,
        ),
        same(
            "several ranges of one set",
            json!({"isDefaultGateway": true, "ipam": {"type": "host-local", "dataDir": "DATADIR", "ranges": [[{"subnet": "10.1.2.0/24"}, {"subnet": "10.1.3.0/24"}]]}}),
            BRIDGE,
        ),
        Case {
            name: "routes through the gateway",
            changes: json!({"ipam": with_routes(v4(), json!([{"dst": "10.9.0.0/16"}, {"dst": "0.0.0.0/0"}]))}),
            prepare: BRIDGE,
            needs: None,
            differs: &[("result routes", "a default route names its gateway"), ("check", "passes")],
        },
        same(
            "routes with next hops",
            json!({"ipam": with_routes(dual(), json!([{"dst": "10.9.0.0/16", "gw": "10.1.2.77"}, {"dst": "fd09::/48", "gw": "fd00:1::77"}]))}),
            BRIDGE,
        ),
        same(
            "default gateway beside a named default route",
            json!({"isDefaultGateway": true, "ipam": with_routes(v4(), json!([{"dst": "0.0.0.0/0", "gw": "10.1.2.88"}]))}),
            BRIDGE,
        ),
        same(
            "static",
            json!({"ipam": fixed(json!([{"address": "10.1.2.9/24", "gateway": "10.1.2.1"}]), json!([]))}),
            BRIDGE,
        ),
        same(
            "static, several addresses",
            json!({"ipam": fixed(json!([{"address": "10.1.2.9/24"}, {"address": "10.1.4.9/24"}, {"address": "fd00:1::9/64"}]), json!([]))}),
            BRIDGE,
        ),
        Case {
            name: "static with routes",
            changes: json!({"ipam": fixed(json!([{"address": "10.1.2.9/24", "gateway": "10.1.2.1"}]), json!([{"dst": "0.0.0.0/0"}, {"dst": "10.8.0.0/16", "gw": "10.1.2.6"}]))}),
            prepare: BRIDGE,
            needs: None,
            differs: &[("result routes", "a default route names its gateway")],
        },
        same(
            "dns of the config",
            json!({"dns": {"nameservers": ["10.1.2.53"], "search": ["lan"]}, "ipam": v4()}),
            BRIDGE,
        ),
        Case {
            name: "dns of IPAM",
            changes: json!({"ipam": {"type": "static", "addresses": [{"address": "10.1.2.9/24"}], "dns": {"nameservers": ["10.1.2.53"]}}}),
            prepare: BRIDGE,
            needs: None,
            differs: &[("result dns", "kept where the config has none")],
        },
        same("hairpin with addresses", json!({"hairpinMode": true, "ipam": dual()}), BRIDGE),
        Case {
            name: "MTU with addresses",
            changes: json!({"mtu": 1400, "ipam": v4()}),
            prepare: BRIDGE,
            needs: None,
            differs: LARGE_PORT,
        },
        same(
            "hairpin and promiscuous exclude each other",
            json!({"hairpinMode": true, "promiscMode": true}),
            BRIDGE,
        ),
        Case {
            name: "jumbo bridge, no mtu",
            changes: json!({"ipam": v4()}),
            prepare: JUMBO,
            needs: None,
            differs: &[("pod mtu", "the bridge's"), ("port mtu", "the bridge's"), ("br0 mtu", "kept")],
        },
        Case {
            name: "bridge is missing",
            changes: json!({}),
            prepare: "",
            needs: None,
            differs: &[("failed", "error 100, unless createBridge")],
        },
        Case {
            name: "vlan without filtering",
            changes: json!({"vlan": 5}),
            prepare: BRIDGE,
            needs: Some(Feature::VlanFiltering),
            differs: &[("failed", "error 103")],
        },
        Case {
            name: "MTU above the bridge's",
            changes: json!({"mtu": 9000}),
            prepare: BRIDGE,
            needs: None,
            differs: &[("failed", "error 7")],
        },
        Case {
            name: "two v4 subnets with gateways",
            changes: json!({"isGateway": true, "ipam": host_local(&["10.1.2.0/24", "10.1.3.0/24"])}),
            prepare: BRIDGE,
            needs: None,
            differs: &[("failed", "several subnets share a bridge")],
        },
        vlan("vlan with gateway", json!({"vlan": 100, "isGateway": true, "ipam": v4()}), DEFAULT_VLAN),
    ]
}

const LARGE_PORT: &[(&str, &str)] = &[("port mtu", "the bridge's"), ("br0 mtu", "not lowered")];
const L2_LARGE_PORT: &[(&str, &str)] = &[L2[0], LARGE_PORT[0], LARGE_PORT[1]];
/// Builds before 1.3 leave the default VLAN on the port.
const DEFAULT_VLAN: &[(&str, &str)] = &[("port VLANs", "only the attachment's")];
const L2_VLAN: &[(&str, &str)] = &[L2[0], DEFAULT_VLAN[0]];
/// CHECK of the incumbent asks IPAM with an empty type and always fails.
const L2: &[(&str, &str)] = &[("check", "passes")];

/// Compares the cases; `count` of them must be there.
fn compare(cases: impl Iterator<Item = Case>, at_least: usize) {
    let mut count = 0;
    let mut failures = Vec::new();
    for case in cases {
        count += 1;
        let mut changes = case.changes;
        changes["cniVersion"] = "1.0.0".into();
        let configuration = conf(changes);
        let theirs = make(true, &configuration, case.prepare).0;
        let ours = make(false, &configuration, case.prepare).0;
        let mut keys: Vec<&String> = theirs.keys().chain(ours.keys()).collect();
        keys.sort();
        keys.dedup();
        if theirs.contains_key("failed") != ours.contains_key("failed") {
            keys.retain(|key| *key == "failed");
        }
        for key in keys {
            let listed = case.differs.iter().any(|(name, _)| name == key);
            let (their, our) = (theirs.get(key), ours.get(key));
            if (their != our) != listed {
                failures.push(format!("{}: {key}: bridge {their:?}, bridge-dhcp {our:?}", case.name));
            }
        }
    }
    println!(
        "measured: {count} configurations do what they do with the incumbent, but for intended differences"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count >= at_least);
}

#[test]
fn what_the_incumbent_does_is_done_and_every_difference_is_intended() {
    compare(cases().into_iter().filter(|case| case.needs.is_none()), 36);
}

#[test]
fn vlans_too_are_what_the_incumbent_makes_of_them() {
    if needs(Feature::VlanFiltering) {
        compare(cases().into_iter().filter(|case| case.needs == Some(Feature::VlanFiltering)), 4);
    }
}
