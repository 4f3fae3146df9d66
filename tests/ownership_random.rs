//! Random sequences of operations and of what administrators and pods may do to links and rules meanwhile: what is ours goes,
//! what is not stays, and no port forwards without the guard that its ADD promised.
//!
//! `BRIDGE_DHCP_SEQUENCES=10000` sets how many, `BRIDGE_DHCP_SEED` which; a failure names both and the steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::namespace::{Namespace, text};
use crate::support::plugin::{Outcome, executable};
use crate::support::{Lab, conf, host_side, vm_conf, with_result};

/// In the run of all tests; by hand as many as one has time for.
const SEQUENCES: u64 = 6;
const STEPS: usize = 12;
const PODS: usize = 4;
const BRIDGES: [&str; 2] = ["br0", "br1"];

/// Xorshift: the numbers that a seed stands for.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % bound
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What an ADD that succeeded has promised.
#[derive(Debug, Clone)]
struct Promise {
    /// The port's index; names are others' to change.
    index: u64,
    network: &'static str,
    chained: bool,
    /// The port has its guard until somebody takes the rules away, or gives the port a name that they do not know.
    guarded: bool,
}

/// The world of one sequence after another.
struct World {
    lab: Lab,
    pods: Vec<Namespace>,
    elsewhere: Namespace,
    promises: BTreeMap<(usize, bool), Promise>,
    /// Names of links that are not ours, as they were when they were made.
    foreign: BTreeMap<String, Value>,
    steps: Vec<String>,
}

fn container(pod: usize) -> String {
    format!("pod{pod}")
}

/// A pod has a pair of ours, and a pair of another plugin's that is chained to.
fn ifname(chained: bool) -> &'static str {
    if chained { "net2" } else { "net1" }
}

fn host(pod: usize, chained: bool) -> String {
    host_side(&container(pod), ifname(chained))
}

impl World {
    fn new() -> Self {
        let lab = Lab::new("address 02:00:00:00:00:0b ");
        lab.bridge("br1", "address 02:00:00:00:00:0c ");
        lab.node.ip("link set ens192 alias \"bridge-dhcp network=lan container=pod0 ifname=net1\"");
        let pods = (0..PODS).map(|_| lab.pod()).collect();
        let elsewhere = lab.pod();
        Self { lab, pods, elsewhere, promises: BTreeMap::new(), foreign: BTreeMap::new(), steps: Vec::new() }
    }

    /// Each pod has a fresh pair of another plugin's.
    fn begin(&mut self) {
        self.steps.clear();
        for (number, pod) in self.pods.iter().enumerate() {
            self.lab.node.ip(&format!(
                "link add ptp{number} mtu 1400 type veth peer name net2 netns {}\nlink set ptp{number} addrgenmode none up",
                pod.name()
            ));
        }
        let links = self.links();
        let kept = links.iter().filter(|link| !link["ifname"].as_str().unwrap().starts_with("ptp"));
        self.foreign = kept.map(|link| (name_of(link), shape(link))).collect();
    }

    fn links(&self) -> Vec<Value> {
        self.lab.node.ip_json("link show").as_array().unwrap().clone()
    }

    fn rules(&self) -> String {
        text(&self.lab.node.pipe("nft", &["list", "ruleset"], "").stdout)
    }

    fn by_index(&self, index: u64) -> Option<Value> {
        self.links().into_iter().find(|link| link["ifindex"] == index)
    }

    /// What `ip` says to this is not asked: the link may be gone.
    fn try_ip(&self, lines: &str) {
        self.lab.node.pipe("ip", &["-force", "-batch", "-"], lines);
    }

    fn call(&self, operation: &str, asked: &Value, pod: usize, chained: bool) -> Outcome {
        let path = self.pods[pod].path();
        self.lab.call(operation, asked, &container(pod), path, ifname(chained)).run()
    }

    fn asked(pod: usize, chained: bool, network: &str, bridge: &str) -> Value {
        let keys = json!({"name": network, "bridge": bridge, "macspoofchk": true, "cniVersion": "1.1.0"});
        match chained {
            false if pod.is_multiple_of(2) => vm_conf(keys),
            false => conf(keys),
            true => {
                let result = json!({"cniVersion": "1.1.0", "interfaces": [{"name": format!("ptp{pod}")}]});
                with_result(&conf(keys), &result)
            }
        }
    }

    fn step(&mut self, random: &mut Random) {
        let (pod, chained) = (random.below(PODS), random.below(3) == 0);
        let what = random.below(18);
        self.steps.push(format!("{what} on {}/{}", container(pod), ifname(chained)));
        match what {
            0..5 => self.add(pod, chained, random),
            5..7 => self.del(pod, chained),
            7 => self.check(pod, chained),
            8 => self.collect(random),
            _ => self.meddle(pod, chained, random),
        }
        self.assert_guarded();
        self.assert_foreign_unchanged();
    }

    fn add(&mut self, pod: usize, chained: bool, random: &mut Random) {
        let (network, bridge) = (random.of(&["lan", "other"]), random.of(&BRIDGES));
        let outcome = self.call("ADD", &Self::asked(pod, chained, network, bridge), pod, chained);
        self.steps.push(format!("  ADD {network} {bridge}: {} {}", outcome.succeeded, outcome.json["msg"]));
        if !outcome.succeeded {
            return;
        }
        let key = (pod, chained);
        let gone = self.promises.get(&key).is_none_or(|old| self.by_index(old.index).is_none());
        assert!(gone, "a second ADD succeeded beside the first");
        let port = if chained { format!("ptp{pod}") } else { host(pod, false) };
        let index = self.lab.port(&port)["ifindex"].as_u64().unwrap();
        self.promises.insert(key, Promise { index, network, chained, guarded: true });
    }

    fn del(&mut self, pod: usize, chained: bool) {
        let stripped = json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge-dhcp"});
        self.call("DEL", &stripped, pod, chained).ok();
        if let Some(promise) = self.promises.remove(&(pod, chained)) {
            self.assert_gone(&promise);
        }
    }

    fn assert_gone(&self, promise: &Promise) {
        match (self.by_index(promise.index), promise.chained) {
            (None, _) => {}
            (Some(left), false) => panic!("DEL left {left}"),
            (Some(left), true) => {
                assert!(left["master"].is_null() && left["altnames"].is_null(), "DEL left {left}");
            }
        }
    }

    fn check(&self, pod: usize, chained: bool) {
        let mut asked = Self::asked(pod, chained, "lan", "br0");
        asked["prevResult"] = json!({"cniVersion": "1.1.0", "interfaces": []});
        let outcome = self.call("CHECK", &asked, pod, chained);
        let there =
            self.promises.get(&(pod, chained)).is_some_and(|known| self.by_index(known.index).is_some());
        assert!(there || !outcome.succeeded, "CHECK is content with what is not there");
    }

    /// GC of one network, or `gc` by hand, with some of the attachments valid: none of these goes, and none of another network.
    fn collect(&mut self, random: &mut Random) {
        let network = random.of(&["lan", "other"]);
        let all = (0..PODS).flat_map(|pod| [(pod, false), (pod, true)]);
        let valid: BTreeSet<(usize, bool)> = all.filter(|_| random.below(2) == 0).collect();
        if random.below(2) == 0 {
            let listed: Value = valid
                .iter()
                .map(|(pod, chained)| json!({"containerID": container(*pod), "ifname": ifname(*chained)}))
                .collect();
            let asked = conf(json!({"name": network, "cni.dev/valid-attachments": listed}));
            let call = self.lab.call("GC", &asked, "c", "/x".as_ref(), "net1");
            let unset = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];
            unset.iter().fold(call, |call, name| call.unset(name)).run().ok();
        } else {
            let mut words = vec!["gc".to_string(), "--network".into(), network.into(), "--force".into()];
            for (pod, chained) in &valid {
                words.extend(["--keep".into(), format!("{}/{}", container(*pod), ifname(*chained))]);
            }
            words.extend(["--keep".into(), "nobody/net1".into()]);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = self.lab.node.pipe(&executable(), &words, "");
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        self.steps.push(format!("  of {network}, valid: {valid:?}"));
        let links = self.links();
        self.promises.retain(|key, promise| {
            let link = links.iter().find(|link| link["ifindex"] == promise.index);
            let there = link.is_some_and(|link| !promise.chained || !link["altnames"].is_null());
            let kept = valid.contains(key) || promise.network != network;
            // An administrator or the pod may have deleted it before.
            assert!(there || !kept || link.is_none(), "GC took {key:?} of {}", promise.network);
            there
        });
    }

    /// The hands of others.
    fn meddle(&mut self, pod: usize, chained: bool, random: &mut Random) {
        let promise = self.promises.get(&(pod, chained)).cloned();
        let link = promise.as_ref().and_then(|promise| self.by_index(promise.index));
        let name = link.as_ref().map(name_of);
        let alias = random.of(&[
            "customer 12",
            "",
            "bridge-dhcp network=lan container=pod1 ifname=net1",
            "bridge-dhcp network=other container=nobody ifname=net9 chain=joined",
        ]);
        let hand = random.below(10);
        self.steps.push(format!("  hand {hand} on {name:?}"));
        match (hand, name) {
            (0 | 1, Some(name)) => self.try_ip(&format!("link set {name} alias \"{alias}\"")),
            (2, Some(name)) => {
                let new = format!("renamed{}", random.below(1000));
                self.try_ip(&format!("link set {name} down\nlink set {name} name {new}\nlink set {new} up"));
                if let Some(promise) = self.promises.get_mut(&(pod, chained)) {
                    promise.guarded = false;
                }
            }
            (3, Some(name)) => self.try_ip(&format!("link set {name} nomaster")),
            (4, Some(name)) => {
                self.try_ip(&format!("link set {name} master {}", random.of(&BRIDGES)));
            }
            (5, _) => {
                // The pod gives its end to a namespace of its own.
                let inside = ifname(chained);
                let away = format!("moved{}", random.below(100_000));
                self.pods[pod].pipe(
                    "ip",
                    &["link", "set", inside, "name", &away, "netns", self.elsewhere.name()],
                    "",
                );
            }
            (6, Some(name)) => self.try_ip(&format!("link del {name}")),
            (7, _) => {
                self.lab.node.nft("flush ruleset");
                self.promises.values_mut().for_each(|promise| promise.guarded = false);
            }
            (8, _) => self
                .lab
                .node
                .nft(&format!("add table bridge admin{}\nadd chain bridge admin{0} c", random.below(3))),
            (9, _) => self.plant(pod, chained, alias, random),
            _ => {}
        }
    }

    /// A link with a name or a label like ours appears on the node, out of a pod or by the administrator's hand.
    fn plant(&mut self, pod: usize, chained: bool, alias: &str, random: &mut Random) {
        let name = match random.below(2) {
            0 => host(pod, chained),
            _ => format!("planted{}", random.below(10_000)),
        };
        if self.lab.node.has(&name) {
            return;
        }
        let kind = random.of(&["bridge", "veth peer name inner"]);
        self.elsewhere.pipe(
            "ip",
            &["-force", "-batch", "-"],
            &format!(
                "link add {name} address 02:00:00:00:01:01 type {kind}
                 link set {name} alias \"{alias}\"
                 link set {name} netns {}",
                self.lab.node.name()
            ),
        );
        self.elsewhere.pipe(
            "ip",
            &["link", "set", "inner", "name", &format!("in{}", random.below(1_000_000))],
            "",
        );
        let made = self.lab.port(&name);
        if !made.is_null() {
            self.foreign.insert(name, shape(&made));
        }
    }

    /// A port that is up on a bridge has the guard that its ADD promised.
    fn assert_guarded(&self) {
        let (links, rules) = (self.links(), self.rules());
        for (key, promise) in self.promises.iter().filter(|(_, promise)| promise.guarded) {
            let Some(link) = links.iter().find(|link| link["ifindex"] == promise.index) else { continue };
            let up = link["flags"].as_array().unwrap().contains(&json!("UP"));
            if up && !link["master"].is_null() {
                let name = name_of(link);
                assert!(
                    rules.contains(&format!("\"{name}\"")),
                    "{key:?} forwards unguarded as {name}: {rules}"
                );
            }
        }
    }

    fn assert_foreign_unchanged(&self) {
        let links = self.links();
        for (name, shape_before) in &self.foreign {
            let now = links.iter().find(|link| name_of(link) == *name).map(shape);
            assert_eq!(now.as_ref(), Some(shape_before), "{name}");
        }
    }

    /// After a DEL of everything: nothing of ours, and all that is others'.
    fn end(&mut self) {
        let tables = |rules: &str| -> Vec<String> {
            rules.lines().filter(|line| line.starts_with("table")).map(str::to_string).collect()
        };
        let foreign_tables: Vec<_> =
            tables(&self.rules()).into_iter().filter(|line| !line.contains("bridge_dhcp")).collect();
        for pod in 0..PODS {
            self.del(pod, false);
            self.del(pod, true);
        }
        assert_eq!(tables(&self.rules()), foreign_tables, "{}", self.rules());
        self.assert_foreign_unchanged();
        for link in self.links() {
            let name = name_of(&link);
            let known = self.foreign.contains_key(&name) || is_ptp(&link);
            assert!(known && link["altnames"].is_null(), "left behind: {link}");
        }
        // The next sequence begins as this one did.
        let planted =
            self.foreign.keys().filter(|name| name.starts_with("planted") || name.starts_with("veth"));
        let ptps: Vec<String> = self.links().iter().filter(|link| is_ptp(link)).map(name_of).collect();
        self.try_ip(&planted.chain(&ptps).map(|name| format!("link del {name}\n")).collect::<String>());
        self.lab.node.nft("flush ruleset");
    }
}

/// Another plugin's link, which a hand may have renamed: nothing else has its MTU.
fn is_ptp(link: &Value) -> bool {
    link["mtu"] == 1400
}

fn name_of(link: &Value) -> String {
    link["ifname"].as_str().unwrap().to_string()
}

/// What must not change of a link that is not ours.
fn shape(link: &Value) -> Value {
    ["ifindex", "altnames", "master", "ifalias", "address", "mtu"]
        .iter()
        .map(|key| link[key].clone())
        .collect()
}

#[test]
fn whatever_happens_what_is_ours_goes_and_what_is_not_stays() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("BRIDGE_DHCP_SEQUENCES").unwrap_or(SEQUENCES);
    let first = number("BRIDGE_DHCP_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 1_000_003);
    println!("measured: {count} random sequences of operations and others' hands from seed {first}");
    let mut world = World::new();
    for seed in first..first + count {
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Neighbouring seeds begin alike.
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            world.begin();
            for _ in 0..STEPS {
                world.step(&mut random);
            }
            world.end();
        }));
        if let Err(why) = ran {
            println!(
                "BRIDGE_DHCP_SEED={seed} BRIDGE_DHCP_SEQUENCES=1 fails after:\n{}",
                world.steps.join("\n")
            );
            std::panic::resume_unwind(why);
        }
    }
}
