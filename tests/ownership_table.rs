//! Every operation on every kind of attachment after everything that others may do to its port.

use serde_json::{Value, json};

use crate::support::namespace::{Namespace, text};
use crate::support::plugin::{Outcome, executable};
use crate::support::{Lab, conf, host_side, other_plugins_pair, vm_conf, with_result};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    OwnPair,
    ChainedVeth,
    ChainedTap,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Hand {
    ForeignAlias,
    ForgedAlias,
    AnothersAlias,
    Renamed,
    OtherBridge,
    OtherKind,
}

const KINDS: [Kind; 3] = [Kind::OwnPair, Kind::ChainedVeth, Kind::ChainedTap];
const HANDS: [Hand; 6] = [
    Hand::ForeignAlias,
    Hand::ForgedAlias,
    Hand::AnothersAlias,
    Hand::Renamed,
    Hand::OtherBridge,
    Hand::OtherKind,
];

/// An attachment of `c1`, guarded and isolated, beside one of another network and an uplink with a label like ours.
struct Case {
    lab: Lab,
    pod: Namespace,
    _other: Namespace,
    asked: Value,
    result: Value,
    /// What the port is called by now.
    port: String,
    index: Value,
    bystander: String,
}

impl Case {
    fn new(kind: Kind, hand: Hand) -> Self {
        let lab = Lab::new("address 02:00:00:00:00:0b ");
        lab.bridge("br1", "address 02:00:00:00:00:0c ");
        let (pod, other) = (lab.pod(), lab.pod());
        let beside = vm_conf(json!({"name": "other", "macspoofchk": true}));
        lab.call("ADD", &beside, "other", other.path(), "net1").run().ok();
        lab.node.ip("link set ens192 alias \"bridge-dhcp network=lan container=c1 ifname=net1\"");
        let policy = json!({
            "cniVersion": "1.1.0", "macspoofchk": true, "portIsolation": true, "uplinkCheck": "fail",
            "runtimeConfig": {"mac": "02:00:00:00:00:21"},
        });
        let (asked, port) = match kind {
            Kind::OwnPair => (vm_conf(policy), host_side("c1", "net1")),
            Kind::ChainedVeth => (with_result(&conf(policy), &other_plugins_pair(&lab, &pod)), "ptp0".into()),
            Kind::ChainedTap => {
                lab.node.ip("tuntap add tap0 mode tap\nlink set tap0 up");
                let result = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "tap0"}]});
                (with_result(&conf(policy), &result), "tap0".into())
            }
        };
        let result = lab.add(&asked, &pod).ok();
        let index = lab.port(&port)["ifindex"].clone();
        let bystander = host_side("other", "net1");
        let mut case = Self { lab, pod, _other: other, asked, result, port, index, bystander };
        case.meddle(kind, hand);
        case
    }

    fn meddle(&mut self, kind: Kind, hand: Hand) {
        let (node, port, host) = (&self.lab.node, &self.port, host_side("c1", "net1"));
        match hand {
            Hand::ForeignAlias => node.ip(&format!("link set {port} alias \"customer 12\"")),
            Hand::ForgedAlias => node.ip(&format!(
                "link set {port} alias \"bridge-dhcp network=lan container=nobody ifname=net9\""
            )),
            Hand::AnothersAlias => {
                let theirs = node.link(&self.bystander)["ifalias"].as_str().unwrap().to_string();
                node.ip(&format!("link set {port} alias \"{theirs}\""));
            }
            Hand::Renamed => {
                node.ip(&format!("link set {port} down\nlink set {port} name tenant1\nlink set tenant1 up"));
                self.port = "tenant1".into();
            }
            Hand::OtherBridge => node.ip(&format!("link set {port} master br1")),
            Hand::OtherKind => {
                node.ip(&format!("link del {port}\nlink add {host} type bridge"));
                self.port = host;
            }
        }
        if hand == Hand::OtherKind && kind == Kind::ChainedVeth {
            self.pod.ip("link add net1 type bridge");
        }
    }

    fn foreign(&self) -> Vec<Value> {
        ["ens192", &self.bystander].iter().map(|name| stripped(self.lab.port(name))).collect()
    }

    fn ours(&self) -> Value {
        let links = self.lab.node.ip_json("link show");
        let found = links.as_array().unwrap().iter().find(|link| link["ifindex"] == self.index);
        found.cloned().unwrap_or(Value::Null)
    }

    fn rules(&self) -> String {
        text(&self.lab.node.pipe("nft", &["list", "ruleset"], "").stdout)
    }

    fn gc(&self) -> Outcome {
        let asked = conf(json!({"cni.dev/valid-attachments": []}));
        let call = self.lab.call("GC", &asked, "c1", "/x".as_ref(), "net1");
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"].iter().fold(call, |call, name| call.unset(name)).run()
    }

    fn by_hand(&self, words: &str) -> Value {
        let words: Vec<&str> = words.split_whitespace().chain(["--json"]).collect();
        let output = self.lab.node.pipe(&executable(), &words, "");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    /// Nothing of the attachment is left: a pair is gone, another plugin's interface is off every bridge.
    fn assert_gone(&self, kind: Kind, what: &str) {
        let left = self.ours();
        match kind {
            Kind::OwnPair => assert_eq!(left, Value::Null, "{what}"),
            _ => assert!(left["master"].is_null() && left["altnames"].is_null(), "{what}: {left}"),
        }
        assert!(!self.rules().contains(&host_side("c1", "net1")), "{what}: {}", self.rules());
    }
}

/// A link without what the kernel counts.
fn stripped(link: Value) -> Value {
    let keys = ["ifindex", "ifname", "altnames", "master", "ifalias", "address", "mtu"];
    // The kernel notes a carrier some time after the fact.
    let flags = link["flags"].as_array().into_iter().flatten();
    let flags =
        flags.filter(|flag| !["LOWER_UP", "NO-CARRIER"].iter().any(|carrier| *flag == carrier)).cloned();
    keys.iter().map(|key| link[key].clone()).chain([flags.collect()]).collect()
}

fn every_case(test: impl Fn(Kind, Hand, &Case, &str)) {
    for kind in KINDS {
        for hand in HANDS {
            let case = Case::new(kind, hand);
            let before = case.foreign();
            test(kind, hand, &case, &format!("{kind:?}, {hand:?}"));
            assert_eq!(case.foreign(), before, "{kind:?}, {hand:?}: what is not ours");
            assert!(case.rules().contains(&case.bystander), "{kind:?}, {hand:?}: the other's guard");
        }
    }
}

/// The alias does not say any more whose it is.
fn label_is_lost(hand: Hand) -> bool {
    matches!(hand, Hand::ForeignAlias | Hand::ForgedAlias | Hand::AnothersAlias)
}

#[test]
fn list_shows_the_link_that_is_the_attachments() {
    every_case(|_, hand, case, what| {
        let shown = case.by_hand("list");
        let names: Vec<&Value> =
            shown["attachments"].as_array().unwrap().iter().map(|entry| &entry["hostInterface"]).collect();
        assert!(names.contains(&&json!(case.bystander)) && !names.contains(&&json!("ens192")), "{what}");
        assert_eq!(names.contains(&&json!(case.port)), hand != Hand::OtherKind, "{what}: {names:?}");
    });
}

#[test]
fn check_names_what_differs() {
    every_case(|kind, hand, case, what| {
        let outcome = case.lab.check(&case.asked, &case.result, &case.pod);
        // Another plugin may describe its own interface as it likes.
        if kind != Kind::OwnPair && label_is_lost(hand) {
            outcome.ok();
        } else {
            let said = outcome.error(123);
            assert!(said.contains(&host_side("c1", "net1")), "{what}: {said}");
        }
    });
}

#[test]
fn a_second_add_is_refused_and_changes_nothing() {
    every_case(|_, hand, case, what| {
        let before = case.lab.snapshot();
        let second = case.lab.add(&case.asked, &case.pod);
        assert!(!second.succeeded, "{what}");
        // A result that names an interface which is gone, or has another name, is answered so.
        assert!([107, 7].contains(&second.json["code"].as_u64().unwrap()), "{what}: {}", second.json);
        if hand == Hand::OtherKind {
            assert!(
                !second.json["details"].as_str().unwrap().contains("call DEL"),
                "{what}: {}",
                second.json
            );
        }
        case.lab.snapshot().assert_same(&before, what);
    });
}

#[test]
fn status_is_answered_all_the_same() {
    every_case(|_, _, case, _| {
        let mut asked = case.asked.clone();
        asked.as_object_mut().unwrap().remove("prevResult");
        let call = case.lab.call("STATUS", &asked, "c1", "/x".as_ref(), "net1");
        let unset = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];
        unset.iter().fold(call, |call, name| call.unset(name)).run().ok();
    });
}

#[test]
fn del_removes_what_is_the_attachments_and_nothing_else() {
    for netns in [true, false] {
        every_case(|kind, hand, case, what| {
            let call = case.lab.call("DEL", &conf(json!({})), "c1", case.pod.path(), "net1");
            if netns { call.run() } else { call.unset("CNI_NETNS").run() }.ok();
            match hand {
                Hand::OtherKind => assert!(case.lab.node.has(&case.port), "{what}"),
                _ => case.assert_gone(kind, what),
            }
        });
    }
}

#[test]
fn gc_removes_what_is_the_attachments_and_nothing_else() {
    every_case(|kind, hand, case, what| {
        case.gc().ok();
        match hand {
            Hand::OtherKind => assert!(case.lab.node.has(&case.port), "{what}"),
            _ => case.assert_gone(kind, what),
        }
    });
}

#[test]
fn gc_by_hand_leaves_guarded_what_it_cannot_decide() {
    every_case(|_, hand, case, what| {
        let before = case.ours();
        // By its id alone a container is known only in the label.
        let done = case.by_hand("gc --keep other --network lan");
        if label_is_lost(hand) {
            let undecided = done["undecided"].as_array().unwrap().iter();
            let mut named: Vec<_> = undecided.map(|entry| entry["hostInterface"].as_str().unwrap()).collect();
            named.sort();
            assert!(named.contains(&"ens192") && named.contains(&case.port.as_str()), "{what}: {done}");
            assert_eq!(stripped(case.ours()), stripped(before), "{what}");
            assert!(case.rules().contains(&case.port), "{what}: {}", case.rules());
        }
    });
}

#[test]
fn gc_by_hand_says_removed_of_what_is_gone() {
    every_case(|kind, hand, case, what| {
        let keep = "gc --keep other/net1";
        let planned = case.by_hand(&format!("{keep} --dry-run"));
        let done = case.by_hand(keep);
        let named = |report: &Value| {
            let stale = report["stale"].as_array().unwrap().iter();
            stale.map(|entry| entry["hostInterface"].as_str().unwrap().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(named(&planned), named(&done), "{what}");
        match hand {
            Hand::OtherKind => {
                assert_eq!(done["stale"], json!([]), "{what}");
                assert!(case.lab.node.has(&case.port), "{what}");
            }
            _ => {
                assert_eq!(named(&done), [case.port.as_str()], "{what}");
                assert_eq!(done["stale"][0]["outcome"], "removed", "{what}");
                case.assert_gone(kind, what);
            }
        }
        assert_eq!(done["undecided"][0]["hostInterface"], "ens192", "{what}");
    });
}
