//! The CNI protocol: what is validated before anything is touched, and the shape of every answer.

use crate::support;

use serde_json::{Value, json};
use support::plugin::executable;
use support::{Before, Lab, conf, vm_conf};

#[test]
fn every_missing_variable_is_named() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let required = [
        ("ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"][..]),
        ("CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
        ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
        ("STATUS", &["CNI_PATH"]),
        ("GC", &["CNI_PATH"]),
    ];
    for (operation, variables) in required {
        for variable in variables {
            let call = lab.call(operation, &conf(json!({})), "c1", pod.path(), "net1");
            assert!(call.clone().unset(variable).run().error(4).contains(variable));
            assert!(call.set(variable, "").run().error(4).contains(variable), "empty counts as missing");
        }
    }
    before.assert_unchanged("afterwards");
}

#[test]
fn malformed_variables_are_named_with_their_value() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = lab.snapshot();
    let cases = [
        ("CNI_COMMAND", "add"),
        ("CNI_CONTAINERID", "-x"),
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_IFNAME", "sixteen-bytes-ab"),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a:b"),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a b"),
        ("CNI_ARGS", "nonsense"),
    ];
    for (variable, value) in cases {
        let call = lab.call("ADD", &conf(json!({})), "c1", pod.path(), "net1").set(variable, value);
        let said = call.run().error(4);
        assert!(said.contains(variable) && said.contains(value), "{said}");
    }
    lab.snapshot().assert_same(&before, "afterwards");
}

#[test]
fn garbage_on_standard_input_is_an_error_with_a_code() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let deep = "[".repeat(100_000);
    for (input, code) in [
        ("", 6),
        ("{", 6),
        ("garbage", 6),
        ("[]", 6),
        ("\u{0}", 6),
        (deep.as_str(), 6),
        ("{}", 7),
        ("{\"name\":7}", 7),
        ("{\"name\":\"a b\"}", 7),
        (r#"{"name": "lan", "type": "bridge-dhcp", "bridge": "br0", "vlan": 1, "vlan": 2}"#, 7),
        (
            r#"{"name": "lan", "bridge": "br0", "ipam": {"type": "static", "addresses": [{"a": 1, "a": 2}]}}"#,
            7,
        ),
    ] {
        let call = lab.call("ADD", &conf(json!({})), "c1", pod.path(), "net1").input(input);
        call.run().error(code);
    }
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(5 << 20));
    lab.call("ADD", &conf(json!({})), "c1", pod.path(), "net1").input(huge).run().error(5);
    before.assert_unchanged("afterwards");
}

#[test]
fn del_removes_what_the_environment_names_whatever_the_config_is() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let (path, log) = lab.log_file("log");
    let logged = format!("{{\"logFile\": {path:?}, \"name\": 1, \"name\": 2}}");
    for input in ["", "{", "null", "{\"name\": \"lan\", \"name\": \"lan\"}", &logged] {
        lab.add(&conf(json!({})), &pod).ok();
        lab.call("DEL", &conf(json!({})), "c1", pod.path(), "net1").input(input).run().ok();
        before.assert_unchanged(input);
    }
    assert!(std::fs::read_to_string(log).unwrap().contains("\"name\" stands twice"));
}

#[test]
fn wrong_values_are_named_with_key_value_and_range() {
    let lab = Lab::empty();
    let cases = [
        (json!({"vlan": 4095}), ["\"vlan\"", "4095", "0 to 4094"]),
        (json!({"vlan": "100"}), ["\"vlan\"", "\"100\"", "integer"]),
        (json!({"mtu": 1}), ["\"mtu\"", "1", "68 to 65535"]),
        (json!({"vlanTrunk": [{"minID": 5}]}), ["\"vlanTrunk\"", "minID", "maxID"]),
        (json!({"portIsolation": "yes"}), ["\"portIsolation\"", "yes", "true or false"]),
        (json!({"deadline": "2h"}), ["\"deadline\"", "2h", "60s"]),
        (
            json!({"dhcpProbe": {"timeout": "9s"}, "deadline": "9s"}),
            ["\"dhcpProbe.timeout\"", "9s", "\"deadline\""],
        ),
        (json!({"uplinkCheck": "maybe"}), ["\"uplinkCheck\"", "maybe", "warn"]),
        (json!({"bridge": "a b"}), ["\"bridge\"", "a b", "interface name"]),
        (json!({"master": "eth0"}), ["\"master\"", "bridge", "rename"]),
        (json!({"VLAN": 5}), ["\"VLAN\"", "vlan", "rename"]),
        (json!({"hairpinMode": true, "promiscMode": true}), ["hairpinMode", "promiscMode", "only one"]),
        (json!({"prevResult": {"ips": [{"address": "x"}]}}), ["prevResult", "x", "prefix length"]),
    ];
    for (changes, parts) in cases {
        let said = lab.call("ADD", &conf(changes), "c1", "/x".as_ref(), "net1").run().error(7);
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in {said}");
    }
    let vm = vm_conf(json!({"ipam": {"type": "dhcp"}}));
    let said = lab.call("ADD", &vm, "c1", "/x".as_ref(), "net1").run().error(7);
    assert!(said.contains("cloud-init") && said.contains("remove \"ipam\""), "{said}");
    lab.call("ADD", &conf(json!({"bridge": null})), "c1", "/x".as_ref(), "net1").run().error(7);
}

#[test]
fn what_runtimes_inject_is_tolerated() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let injected = json!({
        "ipam": {}, "capabilities": {"mac": true}, "args": {"cni": {"ips": ["x"]}}, "runtimeConfig": {"portMappings": []},
        "cni.dev/valid-attachments": [], "deviceID": "d", "pciBusID": "p", "logLevel": "verbose", "whatever": {"a": 1},
        "prevResult": null, "mtu": null, "dns": {},
    });
    lab.add(&vm_conf(injected), &pod).ok();
}

#[test]
fn names_within_objects_count_in_any_letter_case_as_they_do_for_go() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let asked = json!({"args": {"cni": {"MAC": "02:00:00:00:00:77"}}, "dns": {"nameServers": ["10.0.0.53"]}});
    let result = lab.add(&vm_conf(asked), &pod).ok();
    assert_eq!(result["interfaces"][2]["mac"], "02:00:00:00:00:77");
    assert_eq!(result["dns"]["nameservers"][0], "10.0.0.53");
}

#[test]
fn a_process_without_the_privileges_is_told_which_it_lacks() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let add = lab.call("ADD", &vm_conf(json!({})), "c1", pod.path(), "net1");
    for kept in ["-all", "-all,+net_admin,+net_raw"] {
        let said =
            add.clone().under(&["setpriv", "--bounding-set", kept, "--inh-caps=-all"]).run().error(124);
        assert!(said.contains("may not enter CNI_NETNS") && said.contains("CAP_SYS_ADMIN"), "{said}");
    }
}

#[test]
fn the_result_has_the_shape_of_its_version() {
    let lab = Lab::new("");
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let pod = lab.pod();
        let asked = vm_conf(json!({"cniVersion": version, "dns": {"nameservers": ["10.0.0.53"]}}));
        let result = lab.add(&asked, &pod).ok();
        assert_eq!(result["cniVersion"], version);
        let interfaces = result["interfaces"].as_array().unwrap();
        let names: Vec<_> = interfaces.iter().map(|interface| interface["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["br0", &support::host_side("c1", "net1"), "net1"]);
        let sandboxes: Vec<_> =
            interfaces.iter().filter_map(|interface| interface["sandbox"].as_str()).collect();
        assert_eq!(sandboxes, [pod.path().to_str().unwrap()]);
        for interface in interfaces {
            assert_eq!(interface.get("mtu").is_some(), version == "1.1.0");
            assert_eq!(interface["mac"].as_str().unwrap().len(), 17);
        }
        assert!(result.get("ips").is_none());
        assert_eq!(result["dns"]["nameservers"][0], "10.0.0.53");
        lab.del(&asked, &pod).ok();
    }
}

#[test]
fn versions_are_matched_exactly_and_the_oldest_cannot_say_that_there_is_no_address() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = lab.snapshot();
    for version in ["1.2.0", "0.3", "v1.0.0"] {
        let said = lab.add(&vm_conf(json!({"cniVersion": version})), &pod).error(1);
        assert!(said.contains(version) && said.contains("1.1.0"), "{said}");
    }
    for version in ["", "0.1.0", "0.2.0"] {
        let said = lab.add(&vm_conf(json!({"cniVersion": version})), &pod).error(1);
        assert!(said.contains("set \"cniVersion\" to 0.3.1 or later"), "{said}");
    }
    lab.snapshot().assert_same(&before, "afterwards");
}

#[test]
fn version_needs_neither_input_nor_sensible_variables() {
    let lab = Lab::empty();
    let call = lab.call("VERSION", &conf(json!({})), "", "dummy".as_ref(), "dummy").set("CNI_PATH", "dummy");
    for input in ["{\"cniVersion\":\"1.0.0\"}", ""] {
        let answer = call.clone().input(input).run().ok();
        assert_eq!(answer["cniVersion"], "1.1.0");
        let supported: Vec<_> =
            answer["supportedVersions"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(
            supported.join(","),
            "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""
        );
    }
}

#[test]
fn by_hand_without_arguments_it_says_what_it_is() {
    let output = std::process::Command::new(executable()).env_clear().output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("CNI plugin bridge-dhcp") && said.contains("1.1.0"), "{said}");
}

#[test]
fn the_log_says_who_and_never_fails_an_operation() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let (path, log) = lab.log_file("log");
    let asked = vm_conf(json!({"logFile": path, "logLevel": "debug"}));
    let call = lab.call("ADD", &asked, "c1", pod.path(), "net1");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    call.set("TRACEPARENT", trace).set("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=vm").run().ok();
    let line = std::fs::read_to_string(&log).unwrap();
    for part in
        ["command=ADD", "container=c1", "ifname=net1", "network=lan", "pod=ns/vm", trace, "attached net1"]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
    lab.del(&asked, &pod).ok();
    let (path, quiet) = lab.log_file("quiet");
    let asked = vm_conf(json!({"logFile": path, "logLevel": "error"}));
    lab.add(&asked, &pod).ok();
    lab.del(&asked, &pod).ok();
    assert_eq!(std::fs::read_to_string(&quiet).unwrap(), "");
    let (pipe, place) = lab.log_file("pipe");
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for unwritable in ["/nowhere/log", "/", "/proc/version", "/dev/stdout", "/var/log/bridge-dhcp", &pipe] {
        let outcome = lab.add(&vm_conf(json!({"logFile": unwritable})), &pod);
        assert!(outcome.stderr.contains("cannot open logFile"), "{unwritable}: {}", outcome.stderr);
        outcome.ok();
        lab.del(&asked, &pod).ok();
    }
}

#[test]
fn standard_output_that_is_closed_is_a_failure_not_a_panic() {
    let lab = Lab::empty();
    let call = lab.call("VERSION", &conf(json!({})), "c1", "/x".as_ref(), "net1");
    let status = call.under(&["sh", "-c", "exec \"$0\" >/dev/full"]).run();
    assert!(!status.succeeded && !status.stderr.contains("panicked"), "{}", status.stderr);
}
