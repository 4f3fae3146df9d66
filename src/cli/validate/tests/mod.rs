//! Each rule fires on the one change that it is about, and on nothing else.

mod people;

use super::*;

const GOOD: &str = include_str!("../../../../tests/cli_validate/good.yaml");

fn rules(files: &[&str]) -> Vec<(Severity, &'static str)> {
    let mut inventory = Inventory::default();
    for (number, text) in files.iter().enumerate() {
        inventory.read(&format!("file{number}"), text);
    }
    judge(&mut inventory).iter().map(|finding| (finding.severity, finding.rule)).collect()
}

/// What the good file says after one change to it.
#[track_caller]
fn after(from: &str, to: &str) -> Vec<(Severity, &'static str)> {
    assert!(GOOD.contains(from), "{from}");
    rules(&[&GOOD.replacen(from, to, 1)])
}

#[test]
fn the_good_files_are_good() {
    assert_eq!(rules(&[GOOD]), []);
    assert_eq!(rules(&[include_str!("../../../../tests/cli_validate/good.conflist")]), []);
    assert_eq!(rules(&[r#"{"cniVersion": "1.1.0", "name": "n", "type": "bridge-dhcp", "bridge": "b"}"#]), []);
}

#[test]
fn every_rule_fires_on_the_change_that_it_is_about() {
    use Severity::{Error, Hint, Warning};
    let cases = [
        // The NetworkAttachmentDefinition.
        ("\"type\": \"bridge-dhcp\",", "\"type\": \"bridge-dhcp\"", Error, "syntax"),
        ("\"bridge\": \"br-external\",", "\"master\": \"br-external\",", Error, "config"),
        (
            "\"disableContainerInterface\": true,",
            "\"disableContainerInterface\": true, \"ipam\": {\"type\": \"dhcp\"},",
            Error,
            "config",
        ),
        ("\"cniVersion\": \"0.3.1\",", "", Error, "version"),
        ("\"cniVersion\": \"0.3.1\",", "\"cniVersion\": \"9.9.9\",", Error, "version"),
        ("\"name\": \"lan\",", "\"name\": \"other\",", Hint, "name-differs"),
        ("\"name\": \"lan\",", "\"name\": \"a b\",", Error, "name"),
        ("k8s.v1.cni.cncf.io/resourceName: bridge.", "other: bridge.", Hint, "resource-missing"),
        ("kubevirt.io/br-external", "kubevirt.io/br-other", Warning, "resource-differs"),
        // Between it and the policy.
        ("- name: br-external\n", "- name: br-other\n", Warning, "bridge-without-policy"),
        ("- id: 100\n", "- id: 101\n", Error, "vlan-not-in-trunk"),
        // Without a VLAN of its own the network is in the bridge's, and the uplink's untagged frames are in another.
        (
            "mode: trunk\n",
            "mode: trunk\n            tag: 7\n            enable-native: true\n",
            Warning,
            "default-vlan-not-on-uplink",
        ),
        // The native VLAN of a trunk is the node's own affair.
        ("\"vlan\": 100,", "\"vlan\": 7, \"vlanTrunk\": [{\"id\": 100}],", Error, ""),
        ("\"vlan\": 100,", "\"vlanTrunk\": [{\"id\": 101}],", Error, "vlan-not-in-trunk"),
        ("mtu: 9000", "mtu: 1400", Error, "mtu-larger-than-bridge"),
        ("mtu: 9000", "mtu: 1500", Error, ""),
        ("enabled: false", "enabled: true", Hint, "stp"),
        // The VM.
        (
            "          - name: lan\n            bridge",
            "          - name: lan0\n            bridge",
            Error,
            "interface-without-network",
        ),
        ("            bridge: {}\n", "            masquerade: {}\n", Error, "masquerade-on-multus"),
        ("networkName: lan\n", "networkName: other/lan\n", Hint, "definition-missing"),
        ("\"disableContainerInterface\": true,\n", "", Warning, "container-mode-for-vm"),
        ("\"disableContainerInterface\": true,\n", "\"ipam\": {\"type\": \"dhcp\"},\n", Error, "ipam-for-vm"),
        ("macAddress: 02:00:00:00:00:01", "macAddress: 03:00:00:00:00:01", Error, "mac-invalid"),
        ("macAddress: 02:00:00:00:00:01", "macAddress: 02:00:00:00:00:02", Error, "mac-duplicate"),
        // cloud-init.
        ("macaddress: \"02:00:00:00:00:01\"", "macaddress: \"02:00:00:00:00:09\"", Error, "network-data-mac"),
        ("macAddress: 02:00:00:00:00:01", "model: virtio", Error, "network-data-mac"),
        ("[10.77.0.10/24]", "[10.77.0.10]", Error, "network-data-address"),
        ("[10.77.0.10/24]", "[10.77.0.2/24]", Error, "network-data-address"),
        ("[10.100.3.4/16]", "[10.101.3.4/16]", Error, "network-data-address"),
        ("via: 10.77.0.1\n", "via: 10.78.0.1\n", Error, "network-data-gateway"),
        ("version: 2", "version: 3", Error, "network-data"),
    ];
    for (from, to, severity, rule) in cases {
        let found = after(from, to);
        match rule {
            "" => assert_eq!(found, [], "{from} -> {to}"),
            _ => assert!(found.contains(&(severity, rule)), "{from} -> {to}: {found:?}"),
        }
    }
}

#[test]
fn bridges_of_policies_need_ports_and_filtering_for_vlans() {
    let port =
        &GOOD[GOOD.find("        - name: ens192").unwrap()..GOOD.find("---\napiVersion: k8s").unwrap()];
    let with = |port_now: &str| rules(&[&GOOD.replacen(port, port_now, 1)]);
    let named =
        |found: Vec<(Severity, &'static str)>| found.into_iter().map(|(_, rule)| rule).collect::<Vec<_>>();
    assert_eq!(named(with("")), ["bridge-without-uplink"]);
    // kubernetes-nmstate makes a port without a VLAN key a trunk for all; an empty key turns filtering off.
    assert_eq!(named(with("        - name: ens192\n")), [""; 0]);
    assert_eq!(named(with("        - name: ens192\n          vlan: {}\n")), ["vlan-filtering-off"]);
    for tag in ["100", "\"100\""] {
        let access = format!("        - name: ens192\n          vlan: {{mode: access, tag: {tag}}}\n");
        assert_eq!(named(with(&access)), ["default-vlan-not-on-uplink"]);
    }
}

#[test]
fn policies_may_spell_what_nmstate_reads() {
    for (from, to) in [
        ("        port:\n", "        ports:\n"),
        ("enabled: false", "enabled: \"false\""),
        ("enabled: false", "enabled: off"),
        ("enabled: false", "enabled: 0"),
        ("mtu: 9000", "mtu: \"9000\""),
        ("- id: 100\n", "- id: \"100\"\n"),
        ("prefix-length: 24", "prefix-length: \"24\""),
    ] {
        assert_eq!(after(from, to), [], "{from} -> {to}");
    }
    // And it is read, not passed over.
    assert_eq!(after("mtu: 9000", "mtu: \"1400\""), [(Severity::Error, "mtu-larger-than-bridge")]);
    assert_eq!(after("- id: 100\n", "- id: \"101\"\n"), [(Severity::Error, "vlan-not-in-trunk")]);
    assert_eq!(after("- id: 100\n", "- id-range: {min: \"90\", max: \"100\"}\n"), []);
    assert_eq!(after("enabled: false", "enabled: \"true\""), [(Severity::Hint, "stp")]);
}

#[test]
fn a_bridge_that_the_first_pod_makes_is_nothing_to_wait_for() {
    let without = GOOD.replacen("k8s.v1.cni.cncf.io/resourceName: bridge.", "other: bridge.", 1);
    let missing = (Severity::Hint, "resource-missing");
    let with = |keys: &str| {
        rules(&[&without.replacen("\"disableContainerInterface\": true,", keys, 1)]).contains(&missing)
    };
    assert!(with("\"isGateway\": true, \"createBridge\": false,"));
    assert!(!with("\"isGateway\": true,"));
    assert!(!with("\"createBridge\": true,"));
}

#[test]
fn who_runs_no_bridge_marker_is_told_once() {
    let definition = |name: &str, bridge: &str| {
        format!(
            "kind: NetworkAttachmentDefinition\nmetadata: {{name: {name}}}\nspec:\n  config: '{{\"cniVersion\": \"1.0.0\", \"type\": \"bridge-dhcp\", \"bridge\": \"{bridge}\"}}'\n"
        )
    };
    let mut inventory = Inventory::default();
    inventory.read(
        "files",
        &[definition("a", "br0"), definition("b", "br1"), definition("c", "br0")].join("---\n"),
    );
    let findings = judge(&mut inventory);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.ends_with("nodes that have bridge br0 or br1"), "{findings:?}");
}

#[test]
fn macvlan_cannot_carry_a_bridged_guest() {
    let macvlan =
        GOOD.replacen("\"type\": \"bridge-dhcp\"", "\"type\": \"macvlan\", \"master\": \"ens192\"", 1);
    assert!(rules(&[&macvlan]).contains(&(Severity::Error, "macvlan-under-bridge-binding")));
}

#[test]
fn a_network_without_an_interface_is_an_error() {
    let extra = "      networks:\n      - name: extra\n        multus: {networkName: lan}\n";
    assert_eq!(after("      networks:\n", extra), [(Severity::Error, "network-without-interface")]);
}

#[test]
fn version_1_of_cloud_init_is_read_too() {
    let data = GOOD.find("            version: 2").unwrap();
    let (before, rest) = GOOD.split_at(data);
    let after = &rest[rest.find("---").unwrap()..];
    let with = |address: &str, gateway: &str| {
        // The other card has no entry, and is none of this test's.
        let before = before.replacen(
            "          - name: storage\n",
            "          - name: storage\n            state: down\n",
            1,
        );
        let card = format!(
            "            network:\n              version: 1\n              config:\n              - type: physical\n                name: eth0\n                mac_address: 02:00:00:00:00:01\n                subnets:\n                - type: static\n                  address: {address}\n                  netmask: 255.255.255.0\n                  gateway: {gateway}\n"
        );
        rules(&[&format!("{before}{card}{after}")])
    };
    assert_eq!(with("10.77.0.10", "10.77.0.1"), []);
    assert_eq!(with("10.78.0.10", "10.78.0.1"), [(Severity::Error, "network-data-address")]);
    assert_eq!(with("10.77.0.10", "10.1.0.1"), [(Severity::Error, "network-data-gateway")]);
}

#[test]
fn what_cannot_be_read_is_a_finding_with_its_line() {
    let mut inventory = Inventory::default();
    inventory.read("f", "{\"name\": \"n\",\n\"type\": \"bridge-dhcp\",}");
    inventory.read("g", "kind: x\nmetadata: [\n");
    inventory.read("h", "a: 1\n");
    inventory.read("i", "");
    inventory.read("j", "kind: NetworkAttachmentDefinition\n");
    let findings = judge(&mut inventory);
    let shown: Vec<_> = findings.iter().map(|f| (f.place.file.as_str(), f.place.line, f.rule)).collect();
    assert_eq!(
        shown,
        [("f", 2, "syntax"), ("g", 3, "syntax"), ("h", 1, "syntax"), ("i", 1, "syntax"), ("j", 1, "syntax")]
    );
}

#[test]
fn lists_and_json_objects_are_read_like_documents() {
    let list = r#"{"kind": "List", "items": [{"kind": "NetworkAttachmentDefinition", "metadata": {"name": "x"},
        "spec": {"config": "{\"type\": \"bridge-dhcp\"}"}}]}"#;
    assert_eq!(rules(&[list]), [(Severity::Error, "config")]);
    assert_eq!(rules(&[r#"{"name": "n", "type": "ptp"}"#]), [(Severity::Hint, "other-plugin")]);
}

#[test]
fn items_of_a_typed_list_have_its_kind() {
    let list = r#"{"kind": "NetworkAttachmentDefinitionList", "items": [{"metadata": {"name": "x"},
        "spec": {"config": "{\"type\": \"bridge-dhcp\"}"}}]}"#;
    assert_eq!(rules(&[list]), [(Severity::Error, "config")]);
    assert_eq!(rules(&[r#"{"kind": "PriceList", "spec": {}}"#]), []);
}

#[test]
fn what_a_merge_key_brings_in_is_there() {
    let shared =
        "x-guest: &guest\n  bridge: {}\n  macAddress: 02:00:00:00:00:01\napiVersion: kubevirt.io/v1\n";
    let merged = GOOD.replacen("apiVersion: kubevirt.io/v1\n", shared, 1).replacen(
        "            bridge: {}\n            macAddress: 02:00:00:00:00:01\n",
        "            <<: *guest\n",
        1,
    );
    assert_eq!(rules(&[&merged]), []);
    // What stands beside it outweighs it.
    let other =
        merged.replacen("<<: *guest\n", "<<: [*guest]\n            macAddress: 02:00:00:00:00:09\n", 1);
    assert_eq!(rules(&[&other]), [(Severity::Error, "network-data-mac")]);
}

#[test]
fn one_mac_is_one_too_many_on_one_network_only() {
    let machine = |kind: &str, name: &str, network: &str| {
        let spec = format!(
            r#"{{"domain": {{"devices": {{"interfaces": [{{"name": "n", "bridge": {{}}, "macAddress": "02:00:00:00:00:07"}}]}}}},
            "networks": [{{"name": "n", {network}}}]}}"#
        );
        let spec =
            if kind == "VirtualMachine" { format!(r#"{{"template": {{"spec": {spec}}}}}"#) } else { spec };
        format!(
            r#"{{"kind": "{kind}", "metadata": {{"name": "{name}", "namespace": "default"}}, "spec": {spec}}}"#
        )
    };
    let on = |network: &str| format!(r#""multus": {{"networkName": "{network}"}}"#);
    let duplicates = |files: &[&str]| {
        rules(&[&[GOOD], files].concat()).iter().filter(|(_, rule)| *rule == "mac-duplicate").count()
    };
    let one = machine("VirtualMachine", "one", &on("lan"));
    let with = |other: String| duplicates(&[&one, &other]);
    assert_eq!(with(machine("VirtualMachine", "two", &on("default/lan"))), 1);
    // A machine that runs is no second one.
    assert_eq!(with(machine("VirtualMachineInstance", "one", &on("lan"))), 0);
    assert_eq!(with(machine("VirtualMachineInstance", "two", &on("lan"))), 1);
    // Another VLAN, another network, and the pod's own.
    assert_eq!(with(machine("VirtualMachine", "two", &on("lan100"))), 0);
    assert_eq!(with(machine("VirtualMachine", "two", &on("elsewhere"))), 0);
    assert_eq!(with(machine("VirtualMachine", "two", r#""pod": {}"#)), 0);
    // Two definitions of one bridge and one VLAN are one network.
    let twin = r#"{"kind": "NetworkAttachmentDefinition", "metadata": {"name": "twin"}, "spec": {"config":
        "{\"cniVersion\": \"1.0.0\", \"type\": \"bridge-dhcp\", \"bridge\": \"br-external\", \"disableContainerInterface\": true}"}}"#;
    assert_eq!(duplicates(&[twin, &one, &machine("VirtualMachine", "two", &on("twin"))]), 1);
}

#[test]
fn network_data_in_base64_is_read() {
    let base64 =
        |data: &str| after("networkData: |", &format!("networkDataBase64: {data}\n          other: |"));
    // "version: 2\nethernets: {e: {match: {macaddress: '02:00:00:00:00:09'}}}\n", and "version: 2".
    let wrong_mac =
        "dmVyc2lvbjogMgpldGhlcm5ldHM6IHtlOiB7bWF0Y2g6IHttYWNhZGRyZXNzOiAnMDI6MDA6MDA6MDA6MDA6MDknfX19Cg==";
    assert!(base64(wrong_mac).contains(&(Severity::Error, "network-data-mac")));
    assert_eq!(base64("dmVyc2lvbjogMg=="), [(Severity::Warning, "network-data-nothing")]);
    assert_eq!(base64("dmVyc2lvbjogMg"), [(Severity::Error, "network-data")]);
    assert_eq!(base64("/w=="), [(Severity::Error, "network-data")]);
    assert_eq!(after("networkData: |", "networkDataSecretRef: |"), [(Severity::Hint, "network-data-unread")]);
}

#[test]
fn network_data_that_is_empty_or_disabled_is_no_mistake() {
    let data = GOOD.find("          networkData: |").unwrap();
    let (before, rest) = GOOD.split_at(data);
    let after = &rest[rest.find("---").unwrap()..];
    let with = |source: &str, data: &str| {
        let before = before.replacen("cloudInitNoCloud", source, 1);
        rules(&[&format!("{before}          networkData: {data}\n{after}")])
    };
    for disabled in ["'network: {config: disabled}'", "'config: disabled'"] {
        assert_eq!(with("cloudInitNoCloud", disabled), [], "{disabled}");
    }
    for nothing in ["''", "'# later'"] {
        assert_eq!(
            with("cloudInitNoCloud", nothing),
            [(Severity::Hint, "network-data-nothing")],
            "{nothing}"
        );
    }
    // A config drive carries OpenStack's form.
    let openstack = r#"'{"links": [{"id": "eth0", "type": "phy"}], "networks": []}'"#;
    assert_eq!(with("cloudInitConfigDrive", openstack), [(Severity::Hint, "network-data-unread")]);
    assert_eq!(with("cloudInitNoCloud", openstack), [(Severity::Error, "network-data")]);
}

#[test]
fn a_config_that_is_no_text_is_named_as_such() {
    let mut inventory = Inventory::default();
    let definition =
        "kind: NetworkAttachmentDefinition\nmetadata: {name: x}\nspec:\n  config: {type: bridge-dhcp}\n";
    inventory.read("f", definition);
    let findings = judge(&mut inventory);
    assert!(findings[0].message.contains("spec.config is no text"), "{findings:?}");
    assert_eq!((findings.len(), findings[0].place.line), (1, 4));
}
