//! `list` and `gc` by hand, on a node with attachments: what they show, what they remove, how they end.

use crate::support;

use std::io::Read;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::namespace::{Namespace, text};
use support::plugin::executable;
use support::{Lab, conf, host_side, vm_conf};

/// Calls the program by hand on the node.
fn by_hand(lab: &Lab, words: &[&str], input: &str) -> Output {
    lab.node.pipe(&executable(), words, input)
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

/// Two attachments of network `lan` and one of `other`.
fn attach_three(lab: &Lab) -> Namespace {
    let pod = lab.pod();
    for (network, container, ifname) in
        [("lan", "c1", "net1"), ("lan", "c1", "net2"), ("other", "c2", "net3")]
    {
        let asked = vm_conf(json!({"name": network}));
        let call = lab.call("ADD", &asked, container, pod.path(), ifname);
        let mac = format!("02:00:00:00:00:0{}", &ifname[3..]);
        let arguments = format!("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=vm-1;MAC={mac}");
        call.set("CNI_ARGS", &arguments).run().ok();
        lab.node.ip(&format!("link set {} down", host_side(container, ifname)));
    }
    pod
}

#[test]
fn list_shows_what_the_kernel_knows() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = by_hand(&lab, &["list"], "");
    assert_eq!(text(&before.stdout), "no attachments of bridge-dhcp on this node\n");
    assert_eq!(json_of(&by_hand(&lab, &["list", "--json"], "")), json!({"attachments": []}));

    let call = lab.call("ADD", &vm_conf(json!({"portIsolation": true})), "c1", pod.path(), "net1");
    call.set("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=vm-1;MAC=02:00:00:00:00:01").run().ok();
    lab.call("ADD", &conf(json!({"name": "pods"})), "c2", pod.path(), "net2").run().ok();
    lab.node.ip("link add veth01234567 type veth peer name foreign\nlink set veth01234567 master br0");

    let shown = json_of(&by_hand(&lab, &["list", "--json"], ""));
    let mut shown = shown["attachments"].as_array().unwrap().clone();
    shown.sort_by_key(|attachment| attachment["container"].to_string());
    assert_eq!(shown.len(), 2);
    assert_eq!(
        shown[0],
        json!({
            "hostInterface": host_side("c1", "net1"), "bridge": "br0", "network": "lan", "container": "c1",
            "interface": "net1", "pod": "ns/vm-1", "mac": "02:00:00:00:00:01", "mode": "vm", "chained": false,
            "mtu": 1500, "up": true, "carrier": false, "state": "disabled", "isolated": true, "hairpin": false,
            "vlans": null, "warnings": [],
        })
    );
    assert_eq!(shown[1]["mode"], "container");
    assert_eq!(shown[1]["state"], "forwarding");
    assert_eq!(shown[1]["pod"], Value::Null);

    let table = text(&by_hand(&lab, &["list"], "").stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    let column = |line: &str, word: &str| line.find(word).unwrap_or_else(|| panic!("{word} in {table}"));
    let vm = lines.iter().find(|line| line.contains("ns/vm-1")).unwrap();
    assert_eq!(column(lines[0], "POD"), column(vm, "ns/vm-1"));
    assert!(vm.contains("no carrier") && !table.contains('\x1b'), "{table}");
}

#[test]
fn list_is_found_by_mac_and_narrowed_down() {
    let lab = Lab::new("");
    let pod = attach_three(&lab);
    lab.call("ADD", &vm_conf(json!({})), "c3", pod.path(), "net4").run().ok();
    let shown = |words: &[&str]| {
        let words = [&["list", "-o", "json"], words].concat();
        json_of(&by_hand(&lab, &words, ""))["attachments"].as_array().unwrap().len()
    };
    for (words, count) in [
        (&[][..], 4),
        (&["--mac", "02:00:00:00:00:01"], 1),
        (&["--mac", "02:00:00:00:00:77"], 0),
        (&["--network", "other"], 1),
        (&["--pod", "vm-1"], 3),
        (&["--pod", "vm-1", "--network", "lan"], 2),
        (&["--bridge", "br0"], 4),
        (&["--bridge", "br1"], 0),
        (&["--vlan", "1"], 0),
    ] {
        assert_eq!(shown(words), count, "{words:?}");
    }
    let table = text(&by_hand(&lab, &["list"], "").stdout);
    assert!(table.contains("02:00:00:00:00:01") && !table.contains("HOST SIDE"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let wide = text(&by_hand(&lab, &["list", "--output", "wide"], "").stdout);
    assert!(wide.contains("HOST SIDE") && wide.contains(&host_side("c1", "net2")), "{wide}");
    let none = text(&by_hand(&lab, &["list", "--bridge", "br1"], "").stdout);
    assert_eq!(none, "no such attachment among the 4 on this node\n");
    for wrong in
        [&["list", "-o", "yaml"][..], &["list", "--json", "-o", "json"], &["list", "--network", "a b"]]
    {
        assert_eq!(by_hand(&lab, wrong, "").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn list_shows_what_add_warned_of() {
    let lab = Lab::new("");
    lab.node.ip("link set ens192 nomaster");
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"uplinkCheck": "warn"})), &pod).ok();
    let table = text(&by_hand(&lab, &["list"], "").stdout);
    assert!(
        table.contains("ADD warned: the bridge has no port that leads off the node (code 105)"),
        "{table}"
    );
    assert_eq!(json_of(&by_hand(&lab, &["list", "--json"], ""))["attachments"][0]["warnings"], json!([105]));
}

#[test]
fn list_shows_vlans() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let pod = lab.pod();
    let trunk = json!({"vlan": 100, "vlanTrunk": [{"minID": 200, "maxID": 210}]});
    lab.add(&vm_conf(trunk), &pod).ok();
    let shown = json_of(&by_hand(&lab, &["list", "--json"], ""));
    let vlans = json!({"pvid": 100, "untagged": ["100"], "tagged": ["200-210"]});
    assert_eq!(shown["attachments"][0]["vlans"], vlans);
    assert!(text(&by_hand(&lab, &["list"], "").stdout).contains("100+200-210"));
    let of_vlan = |id: &str| text(&by_hand(&lab, &["list", "--vlan", id], "").stdout);
    assert!(of_vlan("205").contains("100+200-210") && of_vlan("211").starts_with("no such attachment"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let lab = Lab::new("");
    let _pod = attach_three(&lab);
    for words in [&["list"][..], &["list", "--json"], &["--help"], &["completions", "bash"]] {
        let mut command = Command::new(executable());
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = lab.node.enter(|| command.spawn()).unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert!(said.is_empty() && status.code() == Some(0), "{words:?}: {status} {said}");
    }
}

#[test]
fn gc_by_hand_removes_what_no_named_container_owns() {
    let lab = Lab::new("");
    let _pod = attach_three(&lab);
    let there = |container, ifname| lab.node.has(&host_side(container, ifname));
    let before = lab.snapshot();
    let dry = by_hand(&lab, &["gc", "--keep", "c1/net1", "--dry-run", "--json"], "");
    assert_eq!(dry.status.code(), Some(1), "something was found");
    let shown = json_of(&dry);
    assert_eq!(shown["dryRun"], true);
    let mut stale: Vec<_> =
        shown["stale"].as_array().unwrap().iter().map(|s| s["interface"].clone()).collect();
    stale.sort_by_key(Value::to_string);
    assert_eq!(stale, ["net2", "net3"]);
    assert_eq!(shown["stale"][0]["outcome"], "would remove");
    lab.snapshot().assert_same(&before, "after --dry-run");

    let one = by_hand(&lab, &["gc", "--keep", "c1/net1", "--network", "other"], "");
    assert!(one.status.success() && text(&one.stdout).contains("removed"), "{}", text(&one.stdout));
    assert!(there("c1", "net1") && there("c1", "net2") && !there("c2", "net3"));

    let kept = by_hand(&lab, &["gc", "--valid", "-"], "c1\n");
    assert_eq!(text(&kept.stdout), "no stale attachments (2 kept)\n");
    assert!(there("c1", "net1") && there("c1", "net2"));
    let list = json!([{"containerID": "c1", "ifname": "net2"}]).to_string();
    assert!(by_hand(&lab, &["gc", "--valid", "-"], &list).status.success());
    assert!(!there("c1", "net1") && there("c1", "net2"));
    assert!(by_hand(&lab, &["gc", "--valid", "-", "--force"], "[]").status.success());
    assert!(!there("c1", "net2") && lab.node.has("ens192"));
}

#[test]
fn gc_refuses_where_no_attachment_would_stay() {
    let lab = Lab::new("");
    let _pod = attach_three(&lab);
    let before = lab.snapshot();
    for (words, input) in [
        (&["gc", "--keep", "nosuch"][..], ""),
        (&["gc", "--valid", "-"], "0123456789abc\nfedcba9876543\n"),
        (&["gc", "--valid", "-"], "[]"),
        (&["gc", "--valid", "-", "--json"], r#"[{"containerID": "c1", "ifname": "net9"}]"#),
    ] {
        let output = by_hand(&lab, words, input);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains("nothing was removed") && said.contains("--force"), "{words:?}: {said}");
    }
    lab.snapshot().assert_same(&before, "afterwards");
    let dry = by_hand(&lab, &["gc", "--keep", "nosuch", "--dry-run"], "");
    assert!(text(&dry.stdout).contains("without --dry-run this needs --force"), "{}", text(&dry.stdout));
    assert!(by_hand(&lab, &["gc", "--keep", "c1"], "").status.success(), "c1 stays");
    assert!(by_hand(&lab, &["gc", "--keep", "nosuch", "--force"], "").status.success());
    assert_eq!(
        text(&by_hand(&lab, &["gc", "--keep", "nosuch"], "").stdout),
        "no stale attachments (0 kept)\n"
    );
}

#[test]
fn a_list_of_another_form_is_refused_with_the_right_one() {
    let lab = Lab::empty();
    for (input, part) in [
        ("# live pods\nc1\n", "no comments"),
        ("POD ID   CREATED   STATE\nc1  now  Ready\n", "no table"),
        (r#"["c1"]"#, "its elements are not"),
    ] {
        let output = by_hand(&lab, &["gc", "--valid", "-"], input);
        assert_eq!(output.status.code(), Some(2), "{input}");
        assert!(text(&output.stderr).contains(part), "{input}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("cni.dev"), "{input}");
    }
}

#[test]
fn rules_of_vanished_ports_are_collected() {
    let lab = Lab::new("");
    let pod = lab.pod();
    lab.add(&vm_conf(json!({"macspoofchk": true})), &pod).ok();
    let gc = |words: &str| {
        let words: Vec<&str> = words.split_whitespace().collect();
        let output = by_hand(&lab, &words, "");
        (output.status.code(), json_of(&output)["rules"].clone())
    };
    assert_eq!(gc("gc --keep c1 --json"), (Some(0), json!([])), "the port is there");
    let port = host_side("c1", "net1");
    lab.node.ip(&format!("link del {port}"));
    let rules = || text(&lab.node.pipe("nft", &["list", "ruleset"], "").stdout);
    assert!(rules().contains(&port));
    let found = json!([{"hostInterface": port, "outcome": "would remove"}]);
    assert_eq!(gc("gc --keep c1 --dry-run --json"), (Some(1), found));
    assert!(rules().contains(&port));
    let running = lab.lock(&format!("attachment/{port}"));
    assert_eq!(gc("gc --keep c1 --json").1[0]["outcome"], "in use");
    assert!(rules().contains(&port), "an ADD may be about to make the port");
    drop(running);
    assert_eq!(gc("gc --keep c1 --json").1[0]["outcome"], "removed");
    assert!(!rules().contains(&port));
}

#[test]
fn what_gc_could_not_remove_shows_in_its_exit_status() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let mut failed = 0;
    for number in 1..=6 {
        if !lab.node.has(&host_side("c1", "net1")) {
            lab.add(&vm_conf(json!({})), &pod).ok();
        }
        let inject = format!("inject=sendto:error=EPERM:when={number}");
        let traced = ["-f", "-qq", "-o", "/dev/null", "-e", &inject, &executable()];
        let words = [&traced[..], &["gc", "--keep", "c2", "--force", "--json"]].concat();
        let output = lab.node.pipe("strace", &words, "");
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if shown["stale"][0]["outcome"] == "failed" {
            failed += 1;
            assert_eq!(output.status.code(), Some(1), "{shown}");
            assert!(shown["stale"][0]["error"].as_str().unwrap().contains("cannot remove"), "{shown}");
        }
    }
    assert!(failed > 0);
}

#[test]
fn gc_without_a_list_removes_nothing() {
    let lab = Lab::new("");
    let _pod = attach_three(&lab);
    let before = lab.snapshot();
    for (words, input) in [
        (&["gc"][..], ""),
        (&["gc", "--network", "lan"], ""),
        (&["gc", "--valid", "-"], ""),
        (&["gc", "--valid", "-"], "not a container id"),
        (&["gc", "--valid", "/nowhere"], ""),
        (&["gc", "--keep", "a b"], ""),
        (&["gc", "--keep", "c1", "--network", "a b"], ""),
    ] {
        let output = by_hand(&lab, words, input);
        assert_eq!(output.status.code(), Some(2), "{words:?} {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && text(&output.stderr).starts_with("error: "), "{words:?}");
    }
    lab.snapshot().assert_same(&before, "afterwards");
}

#[test]
fn an_attachment_whose_add_is_running_is_not_collected() {
    let lab = Lab::new("");
    let _pod = attach_three(&lab);
    let held = lab.lock(&format!("attachment/{}", host_side("c1", "net1")));
    let output = by_hand(&lab, &["gc", "--keep", "c2", "--json"], "");
    let shown = json_of(&output);
    let outcome = |ifname| {
        let found = shown["stale"].as_array().unwrap().iter().find(|s| s["interface"] == ifname).unwrap();
        found["outcome"].clone()
    };
    assert_eq!((outcome("net1"), outcome("net2")), ("in use".into(), "removed".into()));
    assert!(lab.node.has(&host_side("c1", "net1")) && output.status.success());
    drop(held);
}
