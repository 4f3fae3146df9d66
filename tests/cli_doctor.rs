//! `doctor` and `probe` by hand: each fault of a node provoked for real, what they say about it, how they end.

use crate::support;

use std::process::Output;

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::guest::DhcpServer;
use support::namespace::text;
use support::plugin::executable;
use support::{Lab, vm_conf, wait_until};

fn by_hand(lab: &Lab, line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    lab.node.pipe(&executable(), &words, "")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

/// What `doctor` says as JSON, after its exit status was compared with its verdict.
fn doctor(lab: &Lab, line: &str) -> Value {
    let output = by_hand(lab, &format!("doctor --json {line}"));
    let shown = json_of(&output);
    let failed = shown["verdict"] == "fail";
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{shown}");
    shown
}

fn check<'a>(shown: &'a Value, name: &str) -> &'a Value {
    let checks = shown["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name} in {shown}"))
}

/// The names of the checks that ended like this.
fn ended(shown: &Value, verdict: &str) -> Vec<String> {
    let checks = shown["checks"].as_array().unwrap().iter().filter(|check| check["verdict"] == verdict);
    checks.map(|check| check["name"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_healthy_bridge_passes_all_checks() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let shown = doctor(&lab, "--bridge br0 --mac 02:00:00:00:00:77");
    assert_eq!(ended(&shown, "fail"), [""; 0], "{shown}");
    assert_eq!(ended(&shown, "skipped"), [""; 0], "{shown}");
    let offer = check(&shown, "dhcp")["message"].as_str().unwrap().to_string();
    assert!(offer.contains("10.77.0.1"), "{offer}");
    assert_eq!(check(&shown, "uplink")["message"], "ens192");

    let said = text(&by_hand(&lab, "doctor --bridge br0").stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("ok: bridge br0: nothing is wrong"), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("ok  dhcp")), "{said}");
    assert!(!said.contains('\x1b') && lines.len() > 10, "{said}");
}

#[test]
fn each_fault_is_the_one_check_that_fails() {
    let cases: [(&str, &str, &str, u64, &str); 6] = [
        ("", "--bridge nope", "bridge", 100, "br0"),
        ("", "--bridge ens192", "bridge", 101, "veth"),
        ("link set br0 down", "--bridge br0", "up", 102, "ip link set br0 up"),
        ("", "--bridge br0 --vlan 120", "vlan_filtering", 103, "vlan_filtering 1"),
        ("link del ens192", "--bridge br0", "uplink", 105, "NodeNetworkConfigurationPolicy"),
        ("link set ens192 down", "--bridge br0", "carrier", 106, "ens192"),
    ];
    for (change, line, failing, code, part) in cases {
        let lab = Lab::new("");
        lab.node.ip(change);
        let shown = doctor(&lab, &format!("{line} --no-probe"));
        assert_eq!(ended(&shown, "fail"), [failing], "{change} {line}: {shown}");
        let check = check(&shown, failing);
        assert_eq!(check["code"], code, "{shown}");
        assert!(check.to_string().contains(part) && check["remedy"].is_string(), "{part} in {check}");

        let output = by_hand(&lab, &format!("doctor {line} --no-probe"));
        let said = text(&output.stdout);
        assert!(said.starts_with("FAIL: ") && said.lines().next().unwrap().contains(&format!("code {code}")));
        assert!(said.contains("remedy: ") && output.status.code() == Some(1), "{said}");
    }
}

#[test]
fn a_bridge_without_ports_stays_as_it_is() {
    let lab = Lab::empty();
    lab.node.ip("link add br0 type bridge\nlink set br0 up");
    let seen = || ["address", "flags", "operstate"].map(|key| lab.port("br0")[key].clone());
    let before = seen();
    for line in ["doctor --json --bridge br0", "probe --json --bridge br0"] {
        let shown = json_of(&by_hand(&lab, line));
        let said = match shown["checks"].is_array() {
            true => check(&shown, "dhcp"),
            false => &shown["error"],
        };
        assert_eq!(said["code"], 105, "{shown}");
        assert!(said["evidence"][0].as_str().unwrap().starts_with("nobody was asked"), "{shown}");
    }
    let conf = vm_conf(json!({"cniVersion": "1.1.0", "dhcpProbe": true}));
    lab.call("STATUS", &conf, "", "".as_ref(), "").run().error(51);
    lab.wait_until_probes_are_gone("br0");
    assert_eq!(seen(), before);
}

#[test]
fn uplinks_that_are_down_come_up_by_the_command() {
    let lab = Lab::new("");
    lab.node.ip("link set ens192 down\nlink add ens224 type veth peer name far\nlink set ens224 master br0");
    let shown = doctor(&lab, "--bridge br0 --no-probe");
    let remedy = check(&shown, "carrier")["remedy"].as_str().unwrap().to_string();
    let command = remedy.split_once("hypervisor; ").unwrap().1;
    let output = lab.node.pipe("sh", &["-ec", command], "");
    assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    for uplink in ["ens192", "ens224"] {
        assert!(lab.node.link(uplink)["flags"].as_array().unwrap().contains(&"UP".into()), "{command}");
    }
}

#[test]
fn a_vlan_that_is_not_on_the_uplink_is_named_with_the_command() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let shown = doctor(&lab, "--bridge br0 --vlan 120 --no-probe");
    assert_eq!(ended(&shown, "fail"), ["vlan"]);
    assert_eq!(check(&shown, "vlan")["remedy"], "bridge vlan add dev ens192 vid 120");
    lab.node.run("bridge vlan add dev ens192 vid 120");
    assert_eq!(ended(&doctor(&lab, "--bridge br0 --vlan 120 --no-probe"), "fail"), [""; 0]);
}

#[test]
fn an_uplink_that_drops_frames_is_told_why_and_opened_by_the_command() {
    let lab = Lab::new("");
    lab.node.run("bridge link set dev ens192 state 0");
    let shown = doctor(&lab, "--bridge br0 --no-probe");
    assert_eq!(ended(&shown, "fail"), ["forwarding"]);
    let refused = check(&shown, "forwarding");
    assert!(
        refused["code"] == 115 && refused["message"].as_str().unwrap().contains("STP is off"),
        "{refused}"
    );
    lab.node.run(refused["remedy"].as_str().unwrap().rsplit_once(": ").unwrap().1);
    assert_eq!(ended(&doctor(&lab, "--bridge br0 --no-probe"), "fail"), [""; 0]);

    lab.lan.ip("link add sw0 type bridge\nlink set lan0 master sw0\nlink set sw0 up");
    lab.node.ip("link set br0 type bridge stp_state 1 forward_delay 3000\nlink set ens192 nomaster");
    lab.node.ip("link set ens192 master br0");
    let shown = doctor(&lab, "--bridge br0 --no-probe");
    let message = check(&shown, "forwarding")["message"].to_string();
    assert!(message.contains("ens192 listening") && message.contains("it forwards in "), "{message}");
}

#[test]
fn a_firewall_is_opened_by_each_command_that_the_remedy_gives() {
    if !needs(Feature::BridgeNetfilter) || !needs(Feature::Nat) {
        return;
    }
    // What a guest asks; a chain before FORWARD that drops answers, too, would drop the bridge device's.
    let chain = |table: &str, name: &str, hook: &str| {
        format!(
            "nft add table {table}\nnft 'add chain {table} {name} {{ type filter hook {hook} priority 0; }}'\n\
             nft 'add rule {table} {name} udp dport 67 drop'\n"
        )
    };
    let both = "ip link set bridge type bridge nf_call_iptables 1\n";
    let cases = [
        ("the bridge's own chain", chain("bridge guard", "forward", "forward"), 1),
        ("both switches", both.to_string() + &chain("inet guard", "forward", "forward"), 2),
        ("before FORWARD", chain("ip raw", "PREROUTING", "prerouting"), 2),
    ];
    for (name, fault, commands) in cases {
        for command in 0..commands {
            let lab = Lab::empty();
            // A word of nft's own language is a good name for a bridge.
            lab.bridge("bridge", "");
            lab.uplink("bridge", "ens192");
            let _server = DhcpServer::start(&lab);
            let shell = |script: &str| {
                let output = lab.node.pipe("sh", &["-ec", script], "");
                assert!(output.status.success(), "{name}: {script}\n{}", text(&output.stderr));
            };
            // Linux 6.1 passes over the bridge's own chains of this priority where it shows frames to IP's.
            let through_ip = u8::from(commands == 2);
            shell(&format!("echo {through_ip} > /proc/sys/net/bridge/bridge-nf-call-iptables"));
            shell(&fault);
            let line = "probe --json --bridge bridge --timeout 2500ms";
            let shown = json_of(&by_hand(&lab, line));
            assert_eq!(shown["error"]["code"], 112, "{name}: {shown}");
            let remedy = shown["error"]["remedy"].as_str().unwrap();
            // Last comes what Kubernetes may need.
            let alternatives: Vec<&str> = match remedy.split_once(", or, where no Kubernetes needs it ") {
                Some((accept, switches)) => vec![accept, switches.split_once(": ").unwrap().1],
                None => vec![remedy],
            };
            assert_eq!(alternatives.len(), commands, "{name}: {remedy}");
            shell(alternatives[command]);
            let answered = json_of(&by_hand(&lab, line));
            assert_eq!(answered["answered"], true, "{name}: {}: {answered}", alternatives[command]);
        }
    }
}

#[test]
fn what_is_only_doubtful_warns() {
    let lab = Lab::new("");
    lab.node.ip("link set br0 mtu 9000\nlink set br0 type bridge stp_state 1");
    let shown = doctor(&lab, "--bridge br0 --no-probe");
    let warned = ended(&shown, "warn");
    assert!(warned.contains(&"stp".into()) && warned.contains(&"mtu".into()), "{shown}");
    assert!(check(&shown, "mtu")["message"].as_str().unwrap().contains("9000"));
    assert_eq!(check(&shown, "mtu")["remedy"], "ip link set ens192 mtu 9000");
    let said = text(&by_hand(&lab, "doctor --bridge br0 --no-probe").stdout);
    assert!(said.starts_with("warn: bridge br0: stp: on"), "{said}");
    let said = text(&by_hand(&lab, "doctor --bridge nope").stdout);
    assert!(!said.contains("not checked"), "{said}");
}

#[test]
fn a_full_bridge_and_a_known_mac_are_seen() {
    let lab = Lab::new("");
    let many: String = (0..1022)
        .map(|n| format!("link add p{n} type veth peer name q{n}\nlink set p{n} master br0\n"))
        .collect();
    lab.node.ip(&format!("{many}link set p7 up\nlink set q7 up"));
    wait_until("the port forwards", || lab.node.forwards("p7"));
    lab.node.run("bridge fdb add 02:00:00:00:00:77 dev p7 master dynamic");
    let shown = doctor(&lab, "--bridge br0 --no-probe --mac 02:00:00:00:00:77");
    assert_eq!(check(&shown, "ports")["code"], 108);
    assert!(check(&shown, "mac")["message"].as_str().unwrap().contains("behind p7"), "{shown}");
}

#[test]
fn rules_that_drop_bridged_frames_by_default_are_named() {
    let lab = Lab::new("");
    let rules =
        "table bridge guard {\nchain frames {\ntype filter hook forward priority filter; policy drop;\n}\n}";
    lab.node.nft(rules);
    let shown = doctor(&lab, "--bridge br0 --no-probe");
    let check = check(&shown, "firewall");
    assert_eq!(check["verdict"], "warn");
    assert!(check["evidence"].to_string().contains("bridge guard frames"), "{check}");

    // Its command does what it promises: pasted as it is, the probe is answered.
    let _server = DhcpServer::start(&lab);
    let remedy = check["remedy"].as_str().unwrap();
    let (_, command) = remedy.split_once("such as: ").unwrap();
    assert_eq!(by_hand(&lab, "probe --bridge br0 --timeout 3s").status.code(), Some(1));
    assert!(lab.node.pipe("sh", &["-c", command], "").status.success(), "{command}");
    assert_eq!(by_hand(&lab, "probe --bridge br0").status.code(), Some(0));
}

#[test]
fn a_probe_shows_the_offer_or_the_cause() {
    let lab = Lab::new("");
    let nobody = by_hand(&lab, "probe --bridge br0 --timeout 3s --json");
    let shown = json_of(&nobody);
    assert_eq!((nobody.status.code(), &shown["answered"]), (Some(1), &false.into()));
    assert_eq!((&shown["error"]["code"], &shown["report"]), (&110.into(), &Value::Null), "{shown}");
    assert!(shown["error"]["remedy"].is_string() && shown["error"]["evidence"].is_array());

    let _server = DhcpServer::start(&lab);
    let output = by_hand(&lab, "probe --bridge br0 --mac 02:00:00:00:00:77 --json");
    let shown = json_of(&output);
    assert_eq!((output.status.code(), &shown["error"]), (Some(0), &Value::Null));
    assert_eq!(shown["report"]["client"], "02:00:00:00:00:77");
    assert_eq!(shown["report"]["offers"][0]["server"], "10.77.0.1");
    let said = text(&by_hand(&lab, "probe --bridge br0").stdout);
    assert!(
        said.starts_with("ok: DHCP answers on bridge br0\n") && said.contains("router 10.77.0.1"),
        "{said}"
    );

    for (restriction, code) in [("--server 10.77.0.9", 113), ("--subnet 10.78.0.0/24", 114)] {
        let output = by_hand(&lab, &format!("probe --bridge br0 --timeout 3s {restriction}"));
        let said = text(&output.stdout);
        assert!(said.starts_with("FAIL: ") && said.contains(&format!("code {code}")), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
    let matching = "probe --bridge br0 --server 10.77.0.1 --subnet 10.77.0.0/24";
    assert_eq!(by_hand(&lab, matching).status.code(), Some(0));
}

#[test]
fn a_doctor_tells_when_nobody_answers() {
    let lab = Lab::new("");
    let shown = doctor(&lab, "--bridge br0 --timeout 3s");
    assert_eq!(ended(&shown, "fail"), ["dhcp"]);
    assert_eq!(check(&shown, "dhcp")["code"], 110);
    // What makes asking pointless is said once.
    lab.node.ip("link set br0 down");
    let shown = doctor(&lab, "--bridge br0");
    assert_eq!(
        (ended(&shown, "fail"), &check(&shown, "dhcp")["verdict"]),
        (vec!["up".into()], &"skipped".into())
    );
}

#[test]
fn a_terminal_sees_colour_and_a_sign_of_life_unless_it_does_not_want_them() {
    let lab = Lab::new("");
    let on_terminal = |environment: &str| {
        let line = format!("exec env {environment} '{}' probe --bridge br0 --timeout 700ms", executable());
        text(&lab.node.pipe("script", &["-qec", &line, "/dev/null"], "").stdout)
    };
    let said = on_terminal("TERM=xterm");
    let signs = said.matches("asking for a DHCP offer on bridge br0").count();
    assert!(signs >= 2, "it is drawn again: {said}");
    assert!(said.contains("\x1b[1;31mFAIL"), "{said}");
    let plain = on_terminal("TERM=xterm NO_COLOR=1");
    assert!(plain.contains("FAIL: ") && !plain.contains("\x1b[1;31m"), "{plain}");
    let dumb = on_terminal("TERM=dumb");
    assert!(dumb.contains("FAIL: ") && !dumb.contains("asking for") && !dumb.contains('\x1b'), "{dumb}");
    let piped = by_hand(&lab, "probe --bridge br0 --timeout 700ms");
    assert!(piped.stderr.is_empty(), "{}", text(&piped.stderr));
}

#[test]
fn no_line_is_longer_than_the_terminal_is_wide() {
    let lab = Lab::new("");
    let _pod = attach_machine(&lab, json!({}));
    for columns in [60, 80, 120] {
        for line in [
            "--help",
            "help gc",
            "help doctor",
            "list --help",
            "install --help",
            "doctor --bridge br0 --no-probe",
        ] {
            let on_terminal = format!("stty cols {columns}; exec '{}' {line}", executable());
            let said = text(&lab.node.pipe("script", &["-qec", &on_terminal, "/dev/null"], "").stdout);
            let widest = said.replace("\x1b[", "").lines().map(|line| line.trim_end().chars().count()).max();
            // The sequences for colours are at most 12 characters in a line.
            let allowed = columns + if line.starts_with("doctor") { 12 } else { 0 };
            assert!(widest.is_some_and(|widest| widest <= allowed), "{line} in {columns} columns: {said}");
        }
    }
    // Whoever reads a pipe gets each fact in one line.
    let piped = text(&by_hand(&lab, "doctor --bridge br0 --no-probe").stdout);
    assert!(piped.lines().any(|line| line.starts_with("warn  attachment")), "{piped}");
}

#[test]
fn who_may_not_probe_is_told_what_it_takes() {
    let lab = Lab::new("");
    for capability in ["net_raw", "net_admin", "sys_admin"] {
        let without = format!("-{capability}");
        let words = ["--bounding-set", &without, "--inh-caps", &without, &executable()];
        let asked = ["probe", "--bridge", "br0", "--timeout", "500ms"];
        let said = text(&lab.node.pipe("setpriv", &[&words[..], &asked].concat(), "").stdout);
        assert!(
            said.starts_with("FAIL: cannot ") && !said.contains("in the container:"),
            "{capability}: {said}"
        );
        assert!(said.contains("remedy") && said.contains("CAP_NET_RAW"), "{capability}: {said}");
    }
}

#[test]
fn warnings_count_for_the_exit_status_where_they_are_to() {
    let lab = Lab::new("");
    lab.node.ip("link set br0 type bridge stp_state 1");
    for (line, status) in [
        ("doctor --bridge br0 --no-probe", 0),
        ("doctor --bridge br0 --no-probe --strict", 1),
        ("doctor -b br0 --no-probe --strict --json", 1),
    ] {
        let output = by_hand(&lab, line);
        assert_eq!(output.status.code(), Some(status), "{line}: {}", text(&output.stdout));
    }
}

#[test]
fn wrong_arguments_end_with_2() {
    let lab = Lab::empty();
    for line in [
        "probe",
        "probe --bridge a/b",
        "probe --bridge br0 --vlan 0",
        "probe --bridge br0 --vlan 4095",
        "probe --bridge br0 --mac 01:00:00:00:00:01",
        "probe --bridge br0 --timeout 6",
        "probe --bridge br0 --timeout 10m",
        "probe --bridge br0 --server x",
        "probe --bridge br0 --subnet 10.0.0.1",
        "probe --bridge br0 --subnet fd00::/8",
    ] {
        let output = by_hand(&lab, line);
        assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{line}");
    }
    for line in ["--help", "-V", "doctor --help", "probe -h"] {
        let output = by_hand(&lab, line);
        assert!(output.status.success() && !output.stdout.is_empty() && output.stderr.is_empty(), "{line}");
    }
}

/// The machine's attachment, as KubeVirt has not wired it yet.
fn attach_machine(lab: &Lab, changes: Value) -> support::namespace::Namespace {
    let pod = lab.pod();
    let call = lab.call("ADD", &vm_conf(changes), "c1", pod.path(), "podlan");
    call.set("CNI_ARGS", "K8S_POD_NAMESPACE=vms;K8S_POD_NAME=web;MAC=02:00:00:00:00:10").run().ok();
    pod
}

#[test]
fn a_machine_whose_attachment_has_no_carrier_is_not_well() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let pod = attach_machine(&lab, json!({}));
    let mac = "--mac 02:00:00:00:00:10";
    for line in [format!("--bridge br0 {mac}"), mac.to_string()] {
        let shown = doctor(&lab, &line);
        assert_eq!(shown["verdict"], "fail", "the answer of DHCP says nothing of the machine: {shown}");
        let one = if line == mac { &shown["bridges"][0] } else { &shown };
        let said = check(one, "attachment");
        let message = said["message"].as_str().unwrap();
        assert!(message.contains("pod vms/web interface podlan has no carrier"), "{said}");
        assert!(said["remedy"].as_str().unwrap().contains("virt-handler"), "{said}");
    }
    let all = doctor(&lab, "--bridge br0 --no-probe");
    assert_eq!(check(&all, "attachment")["message"], "1 attachment, 1 of them without a connection");

    pod.ip("link set podlan up");
    wait_until("the attachment has a carrier", || {
        check(&doctor(&lab, &format!("--bridge br0 --no-probe {mac}")), "attachment")["verdict"] == "ok"
    });
    let other = doctor(&lab, "--bridge br0 --no-probe --mac 02:00:00:00:00:99");
    let said = check(&other, "attachment")["message"].as_str().unwrap();
    assert_eq!(said, "no attachment on this node has MAC 02:00:00:00:00:99");
}

#[test]
fn a_machine_on_another_bridge_is_found_there() {
    let lab = Lab::new("");
    let _pod = attach_machine(&lab, json!({}));
    lab.node.ip("link add br1 up type bridge");
    let shown = doctor(&lab, "--bridge br1 --no-probe --mac 02:00:00:00:00:10");
    let said = check(&shown, "attachment");
    assert!(said["message"].as_str().unwrap().ends_with("is a port of bridge br0, not of br1"), "{said}");
    assert_eq!(said["remedy"], "bridge-dhcp doctor --bridge br0 --mac 02:00:00:00:00:10");
}

#[test]
fn without_a_bridge_all_are_checked_that_lead_somewhere() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    lab.node.ip("link add docker0 up type bridge");
    let shown = doctor(&lab, "");
    let bridges = shown["bridges"].as_array().unwrap();
    assert_eq!((bridges.len(), &bridges[0]["bridge"], &shown["verdict"]), (1, &"br0".into(), &"ok".into()));
    assert!(
        shown["passedOver"][0].as_str().unwrap().starts_with("bridge docker0: it has neither"),
        "{shown}"
    );
    let said = text(&by_hand(&lab, "doctor --no-probe").stdout);
    assert!(said.contains("\nnot checked: bridge docker0"), "{said}");

    // One that has lost its uplink, but has attachments.
    let _pod = attach_machine(&lab, json!({}));
    lab.node.ip("link set ens192 nomaster");
    let shown = doctor(&lab, "--no-probe");
    assert_eq!(check(&shown["bridges"][0], "uplink")["code"], 105, "{shown}");
    // One whose gateway this node is has none by design.
    lab.node.ip("addr add 10.9.0.1/24 dev br0");
    assert!(doctor(&lab, "--no-probe")["passedOver"][0].as_str().unwrap().contains("br0"), "{shown}");

    let empty = Lab::empty();
    let said = text(&by_hand(&empty, "doctor").stdout);
    assert!(said.starts_with("nothing checked: no bridge to check"), "{said}");
}

#[test]
fn what_networks_in_a_file_ask_for_is_checked() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let file = lab.files.join("networks.yaml");
    let definition = |name: &str, config: Value| {
        format!(
            "kind: NetworkAttachmentDefinition\nmetadata: {{name: {name}}}\nspec: {{config: '{config}'}}\n---\n"
        )
    };
    let files = definition(
        "lan",
        json!({"type": "bridge-dhcp", "bridge": "br0", "dhcpProbe": {"servers": ["10.77.0.9"]}}),
    ) + &definition("gone", json!({"type": "bridge-dhcp", "bridge": "br9", "vlan": 7}))
        + &definition("routed", json!({"type": "bridge-dhcp", "bridge": "br8", "isGateway": true}));
    std::fs::write(&file, files).unwrap();
    let shown = doctor(&lab, &format!("--file {}", file.display()));
    let bridges = shown["bridges"].as_array().unwrap();
    assert_eq!(bridges.len(), 2, "{shown}");
    assert_eq!(check(&bridges[0], "dhcp")["code"], 113, "the network allows another server only: {shown}");
    assert_eq!(
        (check(&bridges[1], "bridge")["code"].clone(), bridges[1]["vlan"].clone()),
        (100.into(), 7.into())
    );
    assert!(shown["passedOver"][0].as_str().unwrap().contains("routed"), "{shown}");
    for wrong in ["doctor --file /nowhere", "doctor --file /dev/null", "doctor --bridge br0 --file x"] {
        assert_eq!(by_hand(&lab, wrong).status.code(), Some(2), "{wrong}");
    }
}
