//! Whose link is it: what others do to names, labels and links of an attachment, or forge of them, neither loses it nor
//! takes another's.

use serde_json::{Value, json};

use crate::support::namespace::{Namespace, text};
use crate::support::plugin::{Outcome, executable, script};
use crate::support::{Before, Lab, conf, host_side, other_plugins_pair, vm_conf, wait_until, with_result};

fn rules(lab: &Lab) -> String {
    text(&lab.node.pipe("nft", &["list", "ruleset"], "").stdout)
}

/// GC of the network `lan`, in which no attachment is valid.
fn gc(lab: &Lab, network: &str) -> Outcome {
    let asked = conf(json!({"name": network, "cni.dev/valid-attachments": []}));
    let call = lab.call("GC", &asked, "c1", "/x".as_ref(), "net1");
    ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"].iter().fold(call, |call, name| call.unset(name)).run()
}

/// What `gc` or `list` by hand says in JSON.
fn by_hand(lab: &Lab, words: &str) -> Value {
    let words: Vec<&str> = words.split_whitespace().chain(["--json"]).collect();
    let output = lab.node.pipe(&executable(), &words, "");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn hosts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|entry| entry["hostInterface"].as_str().unwrap()).collect()
}

/// The config of a chained attachment behind this result.
fn chained(result: &Value) -> Value {
    with_result(&conf(json!({"cniVersion": "1.0.0", "macspoofchk": true, "portIsolation": true})), result)
}

fn result_naming(interfaces: &[&str]) -> Value {
    let named: Value = interfaces.iter().map(|name| json!({"name": name})).collect();
    json!({"cniVersion": "1.0.0", "interfaces": named})
}

#[test]
fn a_network_config_with_a_result_of_its_own_takes_over_no_other_pods_port() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let (victim, pod, third) = (lab.pod(), lab.pod(), lab.pod());
    let asked = vm_conf(json!({"macspoofchk": true}));
    lab.call("ADD", &asked, "victim", victim.path(), "net1").run().ok();
    let port = host_side("victim", "net1");
    // Another plugin's, with no master, as Calico's; and one whose numbers a pod has made its own pair bear.
    lab.node
        .ip(&format!("link add cali0 type veth peer name eth0 netns {}\nlink set cali0 up", third.name()));
    let (outer, inner) = (lab.port("cali0")["ifindex"].clone(), third.link("eth0")["ifindex"].clone());
    pod.ip(&format!("link add net1 index {inner} type veth peer name x index {outer}"));
    lab.node.ip("tuntap add tap0 mode tap\nlink set tap0 master br0");
    let before = lab.snapshot();
    for name in [port.as_str(), "cali0", "tap0", "ens192"] {
        let said = lab.add(&chained(&result_naming(&[name])), &pod).error(7);
        assert!(said.contains("prevResult"), "{name}: {said}");
        lab.snapshot().assert_same(&before, &format!("an ADD with {name} as its previous result"));
        lab.del(&chained(&result_naming(&[name])), &pod).ok();
        lab.snapshot().assert_same(&before, &format!("a DEL with {name} as its previous result"));
    }
}

#[test]
fn a_label_of_the_administrators_on_a_port_hides_it_from_nothing() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let asked = vm_conf(json!({"macspoofchk": true}));
    let result = lab.add(&asked, &pod).ok();
    let host = host_side("c1", "net1");
    lab.node.ip(&format!("link set {host} alias \"customer 12\""));
    assert_eq!(hosts(&by_hand(&lab, "list")["attachments"]), [&host]);
    assert!(lab.check(&asked, &result, &pod).error(123).contains("alias"));
    assert!(rules(&lab).contains(&host));
    lab.del(&asked, &pod).ok();
    assert!(!lab.node.has(&host) && !pod.has("net1") && !rules(&lab).contains(&host));
    lab.add(&asked, &pod).ok();
    // A collection of all networks by the attachments that live knows that it is none of them.
    lab.node.ip(&format!("link set {host} alias \"customer 12\""));
    let left = by_hand(&lab, "gc --keep c2");
    assert_eq!(hosts(&left["undecided"]), [&host], "{left}");
    let removed = by_hand(&lab, "gc --keep c2/net1 --force");
    assert_eq!(removed["stale"][0]["outcome"], "removed", "{removed}");
    assert!(!lab.node.has(&host));
}

#[test]
fn a_label_that_a_pod_has_forged_removes_nothing_of_another_network() {
    let lab = Lab::new("");
    let (victim, pod) = (lab.pod(), lab.pod());
    let asked = vm_conf(json!({"macspoofchk": true, "name": "other"}));
    lab.call("ADD", &asked, "victim", victim.path(), "net1").run().ok();
    pod.ip(&format!(
        "link add evil type veth peer name evil2
         link set evil alias \"bridge-dhcp network=lan container=victim ifname=net1\"
         link property add dev evil altname bridge-dhcp-{}
         link set evil netns {}",
        host_side("elsewhere", "net1"),
        lab.node.name()
    ));
    lab.node.ip("link set ens192 alias \"bridge-dhcp network=lan container=c9 ifname=net9\"");
    let before = lab.snapshot();
    let shown = by_hand(&lab, "gc --keep c2 --network lan --dry-run");
    assert_eq!(shown["stale"], json!([]), "{shown}");
    let mut undecided = hosts(&shown["undecided"]);
    undecided.sort();
    assert_eq!(undecided, ["ens192", "evil"]);
    gc(&lab, "lan").ok();
    by_hand(&lab, "gc --keep c2 --network lan");
    lab.snapshot().assert_same(&before, "after collections of the network that the forged labels name");
    assert_eq!(hosts(&by_hand(&lab, "list")["attachments"]), [host_side("victim", "net1")]);
}

#[test]
fn a_host_side_that_was_renamed_is_found_and_removed() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let asked = vm_conf(json!({"macspoofchk": true}));
    let host = host_side("c1", "net1");
    let removals: [(&str, &dyn Fn()); 3] = [
        ("DEL", &|| drop(lab.del(&asked, &pod).ok())),
        ("GC", &|| drop(gc(&lab, "lan").ok())),
        ("gc", &|| assert_eq!(by_hand(&lab, "gc --keep c2 --force")["stale"][0]["outcome"], "removed")),
    ];
    for (name, remove) in removals {
        let result = lab.add(&asked, &pod).ok();
        lab.node.ip(&format!("link set {host} down\nlink set {host} name tenant1\nlink set tenant1 up"));
        assert_eq!(hosts(&by_hand(&lab, "list")["attachments"]), ["tenant1"]);
        assert!(lab.check(&asked, &result, &pod).error(123).contains("called tenant1"));
        remove();
        assert!(!lab.node.has("tenant1") && !pod.has("net1") && rules(&lab).is_empty(), "{name}");
    }
}

#[test]
fn a_space_in_a_pods_name_writes_nothing_into_the_label() {
    let lab = Lab::new("");
    let pod = lab.pod();
    for remove in ["DEL", "GC"] {
        let add = lab.call("ADD", &vm_conf(json!({})), "c1", pod.path(), "net1");
        add.set("CNI_ARGS", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=a chain=joined ").run().ok();
        assert_eq!(by_hand(&lab, "list")["attachments"][0]["chained"], false);
        match remove {
            "DEL" => drop(lab.del(&vm_conf(json!({})), &pod).ok()),
            _ => drop(gc(&lab, "lan").ok()),
        }
        assert!(!lab.node.has(&host_side("c1", "net1")), "{remove}");
    }
}

#[test]
fn a_long_container_id_is_collected_as_a_short_one() {
    let lab = Lab::new("address 02:00:00:00:00:0b ");
    let pod = lab.pod();
    let long = "l".repeat(100);
    let result = other_plugins_pair(&lab, &pod);
    let before = lab.snapshot();
    lab.call("ADD", &chained(&result), &long, pod.path(), "net1").run().ok();
    let running = lab.lock(&format!("attachment/{}", host_side(&long, "net1")));
    gc(&lab, "lan").ok();
    assert_eq!(lab.port("ptp0")["master"], "br0", "an operation on it is running");
    drop(running);
    gc(&lab, "lan").ok();
    assert_eq!(lab.port("ptp0")["master"], Value::Null);
    lab.snapshot().assert_same(&before, "after GC");
}

#[test]
fn of_two_attachments_with_one_mac_one_is_refused_also_when_they_come_together() {
    for make in [vm_conf, conf] {
        let lab = Lab::new("");
        let pods = [lab.pod(), lab.pod(), lab.pod(), lab.pod()];
        let asked = make(json!({"runtimeConfig": {"mac": "02:00:00:00:00:42"}, "deadline": "60s"}));
        let call =
            |number: usize| lab.call("ADD", &asked, &format!("c{number}"), pods[number].path(), "net1");
        let adds: Vec<_> = (0..4).map(|number| call(number).start()).collect();
        let ended = adds.into_iter().map(|add| Outcome::from(add.wait_with_output().unwrap()));
        let (good, refused): (Vec<_>, Vec<_>) = ended.partition(|outcome| outcome.succeeded);
        assert_eq!((good.len(), refused.len()), (1, 3));
        for outcome in refused {
            let said = outcome.error(109);
            assert!(said.contains("02:00:00:00:00:42") && said.contains("of container c"), "{said}");
        }
        let owner = (0..4).find(|number| pods[*number].has("net1")).unwrap();
        let next = (owner + 1) % 4;
        call(next).run().error(109);
        lab.call("DEL", &asked, &format!("c{owner}"), pods[owner].path(), "net1").run().ok();
        call(next).run().ok();
    }
}

#[test]
fn what_only_has_the_name_of_an_attachment_stays_and_is_named() {
    let lab = Lab::new("");
    let (pod, other) = (lab.pod(), lab.pod());
    let host = host_side("c1", "net1");
    let asked = vm_conf(json!({}));
    let makers = [
        format!("link add {host} type bridge"),
        format!("link add {host} type veth peer name foreign"),
        format!(
            "link add {host} address 02:00:00:00:00:33 type veth peer name foreign netns {}",
            other.name()
        ),
        format!("tuntap add {host} mode tap"),
        format!("link add foreign0 type bridge\nlink property add dev foreign0 altname {host}"),
        format!("link add foreign0 type bridge\nlink property add dev foreign0 altname bridge-dhcp-{host}"),
    ];
    for make in makers {
        lab.node.ip(&make);
        let before = lab.snapshot();
        let said = lab.add(&asked, &pod).error(107);
        assert!(said.contains("which this attachment needs") && !said.contains("call DEL"), "{make}: {said}");
        lab.del(&asked, &pod).ok();
        gc(&lab, "lan").ok();
        by_hand(&lab, "gc --keep c2");
        lab.snapshot().assert_same(&before, &make);
        let result = json!({"cniVersion": "1.1.0", "interfaces": []});
        assert!(lab.check(&asked, &result, &pod).error(123).contains(&host), "{make}");
        let name = if lab.node.has("foreign0") { "foreign0" } else { &host };
        lab.node.ip(&format!("link del {name}"));
    }
}

#[test]
fn an_alias_that_is_no_text_hides_no_link() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let asked = vm_conf(json!({"uplinkCheck": "fail"}));
    for link in ["br0", "ens192"] {
        let set = format!("ip link set {link} alias \"$(printf 'caf\\351')\"");
        assert!(lab.node.pipe("sh", &["-c", &set], "").status.success());
    }
    let result = lab.add(&asked, &pod).ok();
    lab.check(&asked, &result, &pod).ok();
    by_hand(&lab, "list");
    lab.del(&asked, &pod).ok();
    assert!(!lab.node.has(&host_side("c1", "net1")));
}

#[test]
fn an_attachment_of_whose_result_nobody_hears_is_taken_back() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let path = script(
        &lab.files,
        "fake",
        &format!(
            "echo $CNI_COMMAND >>{}; [ $CNI_COMMAND = DEL ] || echo '{}'",
            lab.files.join("calls").display(),
            r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.2/24"}]}"#
        ),
    );
    let asked = conf(json!({"cniVersion": "1.0.0", "macspoofchk": true, "ipam": {"type": "fake"}}));
    let add = lab.call("ADD", &asked, "c1", pod.path(), "net1").set("CNI_PATH", &path);
    for gone in ["exec \"$0\" >/dev/full", "exec \"$0\" | true; exit 1"] {
        let outcome = add.clone().under(&["sh", "-c", &format!("sleep 0; {gone}")]).run();
        assert!(!outcome.succeeded);
        if gone.contains("full") {
            assert!(outcome.stderr.contains("cannot write the result"), "{}", outcome.stderr);
        }
        wait_until("nothing is attached", || !lab.node.has(&host_side("c1", "net1")));
        before.assert_unchanged(gone);
    }
    let calls = std::fs::read_to_string(lab.files.join("calls")).unwrap();
    assert_eq!(calls.lines().collect::<Vec<_>>(), ["ADD", "DEL", "ADD", "DEL"]);
    add.run().ok();
}

/// An attachment as an earlier release left it, which gave its links no second name: a pair of ours, or another plugin's that
/// it has put on the bridge.
fn made_by_an_earlier_release(lab: &Lab, pod: &Namespace, chained: bool) -> Value {
    let host = host_side("c1", "net1");
    let label = "bridge-dhcp network=lan container=c1 ifname=net1 mac=02:00:00:00:00:77";
    if chained {
        let result = other_plugins_pair(lab, pod);
        lab.node.ip(&format!(
            "link property add dev ptp0 altname {host}
             link set ptp0 mtu 1500 address fe:00:00:00:00:0c alias \"{label} chain=raised wasmac=02:00:00:00:00:0c wasmtu=1400\"
             link set ptp0 master br0"
        ));
        return result;
    }
    lab.node.ip(&format!(
        "link add {host} address fe:12:34:56:78:9a type veth peer name net1 address 02:00:00:00:00:77 netns {}
         link set {host} alias \"{label} mode=vm\" addrgenmode none
         link set {host} master br0
         link set {host} up",
        pod.name()
    ));
    json!({"cniVersion": "1.1.0", "interfaces": []})
}

#[test]
fn what_an_earlier_release_attached_is_listed_checked_and_removed() {
    for chained in [false, true] {
        let lab = Lab::new("address 02:ff:ff:00:00:0b ");
        let asked = if chained { conf(json!({})) } else { vm_conf(json!({})) };
        let remove = |how: &str, lab: &Lab, pod: &Namespace| match how {
            "DEL" => drop(lab.del(&asked, pod).ok()),
            "GC" => drop(gc(lab, "lan").ok()),
            _ => assert_eq!(by_hand(lab, "gc --keep c2 --force")["stale"][0]["outcome"], "removed"),
        };
        for how in ["DEL", "GC", "gc"] {
            let pod = lab.pod();
            let before = lab.snapshot();
            let result = made_by_an_earlier_release(&lab, &pod, chained);
            let shown = by_hand(&lab, "list");
            let shown = &shown["attachments"][0];
            assert_eq!((&shown["container"], &shown["chained"]), (&json!("c1"), &json!(chained)));
            lab.check(&asked, &result, &pod).ok();
            assert!(
                !lab.add(&if chained { with_result(&asked, &result) } else { asked.clone() }, &pod).succeeded
            );
            remove(how, &lab, &pod);
            if chained {
                let port = lab.port("ptp0");
                let left = [&port["master"], &port["altnames"], &port["ifalias"]];
                assert!(left.iter().all(|value| value.is_null()), "{port}");
                assert_eq!((&port["mtu"], &port["address"]), (&json!(1400), &json!("02:00:00:00:00:0c")));
                lab.node.ip("link del ptp0");
            }
            lab.snapshot().assert_same(&before, "afterwards");
        }
    }
}
