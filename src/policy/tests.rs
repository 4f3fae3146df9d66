//! What a policy makes of configs, and what is no policy.

use serde_json::{Map, Value, json};

use super::*;
use crate::cni::config::NetConf;
use crate::error::Code;

const TENANTS: &str = "\
rules:
  - name: tenant-a
    namespaces: [tenant-a, tenant-a-*]
    bridges:
      - name: br-trunk
        vlans: [100-119, 130]
        trunk: [100-119]
      - name: br-lan*
        vlans: [untagged]
    force:
      macspoofchk: true
      dhcpProbe: {servers: [10.1.0.1], subnets: [10.1.0.0/16]}
    default:
      uplinkCheck: fail
    forbid: [mtu]
    allow: [ipMasq]
    ipam: [static, host-local]
    ipamPaths: [/run/tenant-a]
    logPaths: [/var/log/tenant-a, /var/log/multus.log]
  - name: nobody
    namespaces: [\"*\"]
    networks: [secret]
    deny: true
  - name: runtime
    bridges: [{name: cni0, vlans: [untagged]}]
    allow: [isGateway]
";

fn policy() -> Policy {
    Policy::parse(TENANTS.as_bytes()).unwrap()
}

fn object(config: Value) -> Map<String, Value> {
    config.as_object().unwrap().clone()
}

/// The config as it counts for a pod of `namespace`.
fn judged(namespace: &str, config: Value) -> Result<NetConf, Error> {
    let asker = Asker::new(&[namespace.to_string()], config["name"].as_str().unwrap_or("lan")).unwrap();
    let policy = policy();
    let Some(rule) = policy.deciding(&asker).first().copied() else { return Err(faults::nobody(&asker)) };
    let amended = rule.amended(&object(config.clone()))?;
    let conf = NetConf::parse(&amended)?;
    rule.judge(&conf, &amended, !config["prevResult"].is_null())?;
    Ok(conf)
}

fn refusal(config: Value) -> String {
    let error = judged("tenant-a", config.clone()).expect_err(&config.to_string());
    assert_eq!(error.code, Code::Policy, "{error}");
    assert!(error.msg().starts_with("node policy, rule \"tenant-a\" (line 2): "), "{error}");
    error.msg().to_string()
}

#[test]
fn what_a_rule_gives_is_allowed_with_what_it_adds() {
    let conf =
        judged("tenant-a-dev", json!({"bridge": "br-trunk", "vlan": 119, "dhcpProbe": false})).unwrap();
    assert!(conf.mac_spoof_check && conf.uplink_check == crate::cni::config::UplinkCheck::Fail);
    assert_eq!(conf.dhcp_probe.unwrap().servers.len(), 1);
    for config in [
        json!({"bridge": "br-lan2", "ipMasq": true, "logFile": "/var/log/tenant-a/x/y"}),
        json!({"bridge": "br-lan", "logFile": "/var/log/multus.log", "mtu": null}),
        json!({"bridge": "br-trunk", "vlan": 130, "vlanTrunk": [{"minID": 101, "maxID": 110}]}),
        json!({"bridge": "br-lan", "ipam": {"type": "static", "addresses": [{"address": "10.1.2.3/24"}]}}),
        json!({"bridge": "br-lan", "ipam": {"type": "host-local", "dataDir": "/run/tenant-a/ipam"}}),
        json!({"bridge": "br-lan", "uplinkCheck": "off"}),
    ] {
        judged("tenant-a", config.clone()).unwrap_or_else(|error| panic!("{config}: {error}"));
    }
}

#[test]
fn what_a_rule_does_not_give_is_refused_by_name() {
    for (config, part) in [
        (json!({"bridge": "br-mgmt"}), "bridge br-mgmt is not allowed, only br-trunk, br-lan*"),
        (json!({"bridge": "br-trunk"}), "\"vlan\" is required"),
        (json!({"bridge": "br-trunk", "vlan": 0}), "\"vlan\" is required"),
        (json!({"bridge": "br-trunk", "vlan": 120}), "VLAN 120 is not allowed, only 100-119,130"),
        (
            json!({"bridge": "br-trunk", "vlan": 100, "vlanTrunk": [{"id": 130}]}),
            "VLAN 130 is not allowed in \"vlanTrunk\"",
        ),
        (
            json!({"bridge": "br-trunk", "vlan": 100, "vlanTrunk": [{"minID": 101, "maxID": 121}]}),
            "VLAN 101-121",
        ),
        (json!({"bridge": "br-trunk", "vlanTrunk": [{"id": 101}]}), "VLAN 1 is not allowed"),
        (json!({"bridge": "br-trunk", "vlan": 100, "preserveDefaultVlan": true}), "preserveDefaultVlan"),
        (json!({"bridge": "br-lan", "vlan": 100}), "VLAN 100 is not allowed, only untagged"),
        (json!({"bridge": "br-lan", "mtu": 9000}), "\"mtu\" is forbidden"),
        (json!({"bridge": "br-lan", "createBridge": true}), "\"createBridge\""),
        (json!({"bridge": "br-lan", "isGateway": true}), "\"isGateway\""),
        (json!({"bridge": "br-lan", "isDefaultGateway": true}), "\"isGateway\""),
        (json!({"bridge": "br-lan", "forceAddress": true}), "\"forceAddress\""),
        (json!({"bridge": "br-lan", "promiscMode": true}), "\"promiscMode\""),
        (json!({"bridge": "br-lan", "hairpinMode": true}), "\"hairpinMode\""),
        (json!({"bridge": "br-lan", "prevResult": {"interfaces": []}}), "\"prevResult\""),
        (json!({"bridge": "br-lan", "ipam": {"type": "whereabouts"}}), "IPAM plugin whereabouts"),
        (
            json!({"bridge": "br-lan", "ipam": {"type": "host-local", "dataDir": "/etc/cron.d"}}),
            "/etc/cron.d",
        ),
        (json!({"bridge": "br-lan", "ipam": {"type": "host-local", "DATADIR": "x"}}), "DATADIR"),
        (
            json!({"bridge": "br-lan", "ipam": {"type": "host-local", "dataDir": "/run/tenant-a/../b"}}),
            "/run/tenant-a/../b",
        ),
        (json!({"bridge": "br-lan", "ipam": {"type": "static", "x": [{"y": "etc/passwd"}]}}), "etc/passwd"),
        (json!({"bridge": "br-lan", "logFile": "/var/log/tenant-ab"}), "\"logFile\""),
        (json!({"bridge": "br-lan", "logFile": "/var/log/tenant-a/../x"}), "\"logFile\""),
        (json!({"bridge": "br-lan", "logFile": "var/log/tenant-a/x"}), "\"logFile\""),
    ] {
        let said = refusal(config);
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_first_rule_for_namespace_and_network_decides_and_who_meets_none_gets_nothing() {
    let gateway = json!({"bridge": "cni0", "isGateway": true, "name": "cbr0"});
    assert!(!judged("other", gateway.clone()).unwrap().create_bridge, "a gateway creates no bridge unasked");
    let denied = judged("other", json!({"bridge": "cni0", "name": "secret"})).unwrap_err();
    assert!(denied.msg().contains("rule \"nobody\" (line 20): it denies everything"), "{denied}");
    let nameless = Asker::new(&[], "secret").unwrap();
    assert_eq!(policy().deciding(&nameless)[0].name, "runtime", "no pod's network is in no namespace");
    let only_a = TENANTS.split("  - name: nobody").next().unwrap();
    let only_a = Policy::parse(only_a.as_bytes()).unwrap();
    let stranger = Asker::new(&["tenant-b".into()], "lan").unwrap();
    assert!(only_a.deciding(&stranger).is_empty());
    assert_eq!(policy().deciding(&Asker::anybody("secret")).len(), 3, "STATUS is for nobody in particular");
}

#[test]
fn a_namespace_that_is_no_name_or_stands_twice_is_nobodys() {
    for names in [&["a", "a"][..], &["a", "b"], &[""], &["a/b"], &["A"], &["a*"], &[&"a".repeat(64)]] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
        assert_eq!(Asker::new(&names, "lan").unwrap_err().code, Code::Policy, "{names:?}");
    }
}

#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    let rule = |more: &str| format!("rules:\n  - name: a\n    bridges: [{{name: b, vlans: [1]}}]\n{more}");
    for (text, line, part) in [
        ("", 1, "is empty"),
        ("rules", 1, "must be a map"),
        ("{}", 1, "lacks \"rules\""),
        ("rules: {}", 1, "must be a list"),
        ("rules: []\nrules: []", 2, "duplicated key"),
        ("rules: []\nmore: 1", 2, "has the key \"more\""),
        ("rules: []\n---\nrules: []", 3, "second document"),
        ("rules:\n- nmae: a", 2, "has the key \"nmae\""),
        ("rules:\n- name: a", 2, "lacks \"bridges\""),
        ("rules:\n- bridges: []", 2, "lacks \"name\""),
        ("rules:\n- name: 1\n  bridges: []", 2, "\"name\" must be a text"),
        ("rules:\n- name: a\n  deny: yes", 3, "\"deny\" must be true"),
        ("rules:\n- name: a\n  deny: true\n  bridges: []", 4, "\"deny\" has the key \"bridges\""),
        (&rule("    namespaces: tenant-a"), 4, "\"namespaces\" must be a list"),
        (&rule("    namespaces: []"), 4, "is for nobody"),
        (&rule("    namespaces: [a, 1]"), 4, "must be a text"),
        (&rule("    networks: ['a b']"), 4, "wanted a name"),
        (&rule("    force: {macspoofcheck: true}"), 4, "\"macspoofcheck\""),
        (&rule("    force: {macspoofchk: 'true'}"), 4, "wanted true or false"),
        (&rule("    force: {MacSpoofChk: true}"), 4, "\"MacSpoofChk\""),
        (&rule("    force: {bridge: b}"), 4, "\"bridge\""),
        (&rule("    force: {logFile: /x}"), 4, "\"logFile\""),
        (&rule("    force: {vlan: 5000}"), 4, "5000"),
        (&rule("    force: {dhcpProbe: {server: [1.2.3.4]}}"), 4, "dhcpProbe.server"),
        (&rule("    force: {vlan: 1}\n    default: {vlan: 2}"), 5, "\"vlan\" stands in"),
        (&rule("    default: [vlan]"), 4, "must be a map"),
        (&rule("    forbid: [mut]"), 4, "wanted a config key"),
        (&rule("    allow: [isgateway]"), 4, "\"isgateway\""),
        (&rule("    allow: [dns]"), 4, "\"dns\""),
        (&rule("    ipam: ['../x']"), 4, "IPAM plugin"),
        (&rule("    logPaths: [/]"), 4, "absolute path"),
        (&rule("    logPaths: [/var/log/../x]"), 4, "absolute path"),
        (&rule("    ipamPaths: [x]"), 4, "absolute path"),
        (&rule("  - name: a\n    deny: true"), 4, "has the name"),
        ("rules:\n- name: a\n  bridges: [b]", 3, "must be a map"),
        ("rules:\n- name: a\n  bridges: [{name: b}]", 3, "lacks \"vlans\""),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: 100}]", 3, "must be a list"),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: [0]}]", 3, "a VLAN must be"),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: ['9-3']}]", 3, "a VLAN must be"),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: [1-4095]}]", 3, "a VLAN must be"),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: ['1 - 3']}]", 3, "a VLAN must be"),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: [all]}]", 3, "a VLAN must be"),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: [1], trunk: [untagged]}]", 3, "a VLAN must be"),
        ("rules:\n- name: a\n  bridges: [{name: b, vlans: [1], vlan: 3}]", 3, "has the key \"vlan\""),
        ("rules: &a\n- name: a\n  bridges: *a", 3, "must be a list"),
        ("rules: [", 2, "is no YAML"),
    ] {
        let error = Policy::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.code, Code::PolicyUnusable);
        let said = error.msg();
        assert!(
            said.starts_with(&format!("node policy, line {line}: ")) && said.contains(part),
            "{text}: {said}"
        );
    }
    assert!(Policy::parse(b"rules: []\n# \xff").unwrap_err().msg().contains("line 2"));
    assert!(Policy::parse("[".repeat(100_000).as_bytes()).is_err());
    assert!(Policy::parse(b"rules: []").unwrap().rules().is_empty());
}
