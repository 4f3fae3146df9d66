//! Masquerade in nftables: whose packets leave under the node's address, and that it goes by the interface's name alone.

use crate::support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use bridge_dhcp::kernel::nft;
use bridge_dhcp::kernel::nft::masquerade;
use bridge_dhcp::kernel::nft::masquerade::Missing;
use ipnetwork::IpNetwork;
use support::feature::{Feature, needs};
use support::namespace::Namespace;

const POD4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
const POD6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 5);
const NEAR4: Ipv4Addr = Ipv4Addr::new(10, 1, 3, 9);
const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 9);
const FAR4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
const NODE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NODE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn networks(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn of_the_pod() -> Vec<IpNetwork> {
    networks(&["10.1.0.5/22", "fd01::5/64"])
}

fn ruleset(node: &Namespace) -> String {
    node.run("nft list ruleset")
}

/// A node that routes between a pod and the world, and has the pod's neighbours behind the world's interface, too: what goes to
/// them passes the same hook, only the rule can tell.
struct Router {
    node: Namespace,
    pod: Namespace,
    world: Namespace,
}

impl Router {
    fn new() -> Self {
        let (node, pod, world) = (Namespace::new("node"), Namespace::new("pod"), Namespace::new("world"));
        node.ip(&format!(
            "link add veth1 type veth peer name eth0 netns {}\nlink add up0 type veth peer name eth0 netns {}",
            pod.name(),
            world.name()
        ));
        node.forward();
        node.ip(
            "link set veth1 up\nlink set up0 up\naddress add 10.1.0.1/32 dev veth1\naddress add 192.0.2.1/24 dev up0\n\
             address add fd01::1/128 dev veth1 nodad\naddress add 2001:db8::1/64 dev up0 nodad\n\
             route add 10.1.0.5 dev veth1\nroute add 10.1.0.6 dev veth1\nroute add fd01::5 dev veth1\n\
             route add 10.1.3.9 via 192.0.2.9\nroute add fd01::9 via 2001:db8::9",
        );
        pod.ip(
            "link set eth0 up\naddress add 10.1.0.5/32 dev eth0\naddress add 10.1.0.6/32 dev eth0\naddress add fd01::5/128 dev eth0 nodad\n\
             route add 10.1.0.1 dev eth0\nroute add default via 10.1.0.1 src 10.1.0.5\n\
             route add fd01::1 dev eth0\nroute add default via fd01::1 src fd01::5",
        );
        world.ip("link set eth0 up\naddress add 192.0.2.9/24 dev eth0\naddress add 10.1.3.9/32 dev eth0\n\
             address add 2001:db8::9/64 dev eth0 nodad\naddress add fd01::9/128 dev eth0 nodad\n\
             route add 10.1.0.0/24 via 192.0.2.1\nroute add fd01::5 via 2001:db8::1");
        Self { node, pod, world }
    }

    /// Who the world sees when the pod's `from` sends to `to`.
    fn seen(&self, from: impl Into<IpAddr>, to: impl Into<IpAddr>) -> IpAddr {
        let (from, to) = (from.into(), to.into());
        let receiver = self.world.enter(|| UdpSocket::bind(SocketAddr::new(to, 0)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let target = receiver.local_addr().unwrap();
        let sender = self.pod.enter(|| UdpSocket::bind(SocketAddr::new(from, 0)).unwrap());
        // The first packets may be lost while neighbours find each other.
        for _ in 0..100 {
            sender.send_to(b"who am I", target).unwrap();
            if let Ok((_, who)) = receiver.recv_from(&mut [0; 64]) {
                return who.ip();
            }
        }
        panic!("nothing from {from} arrives at {to}");
    }
}

#[test]
fn only_what_leaves_the_subnet_gets_the_nodes_address() {
    if !needs(Feature::Nat) {
        return;
    }
    let router = Router::new();
    assert_eq!(router.seen(POD4, FAR4), POD4, "nothing is masqueraded yet");
    assert_eq!(router.seen(POD6, FAR6), POD6, "nothing is masqueraded yet");

    router.node.enter(|| masquerade::install("veth1", &of_the_pod())).unwrap();
    assert_eq!(router.seen(POD4, FAR4), NODE4);
    assert_eq!(router.seen(POD6, FAR6), NODE6);
    assert_eq!(router.seen(POD4, NEAR4), POD4, "inside its subnet");
    assert_eq!(router.seen(POD6, NEAR6), POD6, "inside its subnet");
    let other = Ipv4Addr::new(10, 1, 0, 6);
    assert_eq!(router.seen(other, FAR4), other, "not an address of the attachment");

    router.node.enter(|| masquerade::remove("veth1")).unwrap();
    assert_eq!(router.seen(POD4, FAR4), POD4);
    assert_eq!(router.seen(POD6, FAR6), POD6);
}

#[test]
fn the_rules_read_as_what_they_are() {
    if !needs(Feature::Nat) {
        return;
    }
    let node = Namespace::new("node");
    let addresses = networks(&["10.1.0.5/22", "10.9.0.5/32", "10.8.0.5/24", "fd01::5/60", "fd02::5/64"]);
    node.enter(|| masquerade::install("veth1", &addresses)).unwrap();
    let rules = ruleset(&node);
    for line in [
        "type nat hook postrouting priority srcnat; policy accept;",
        "ip saddr vmap @sources4",
        "ip6 saddr vmap @sources6",
        "ip saddr 10.1.0.5 ip daddr != 10.1.0.0/22 ip daddr != 224.0.0.0/4 masquerade",
        "ip saddr 10.9.0.5 ip daddr != 10.9.0.5 ip daddr != 224.0.0.0/4 masquerade",
        "ip saddr 10.8.0.5 ip daddr != 10.8.0.0/24 ip daddr != 224.0.0.0/4 masquerade",
        "ip6 saddr fd01::5 ip6 daddr != fd01::/60 ip6 daddr != ff00::/8 masquerade",
        "ip6 saddr fd02::5 ip6 daddr != fd02::/64 ip6 daddr != ff00::/8 masquerade",
        "10.9.0.5 : goto veth1",
        "fd01::5 : goto veth1",
    ] {
        assert!(rules.contains(line), "{line}\n{rules}");
    }
    node.nft(&format!("flush ruleset\n{rules}"));
    assert_eq!(ruleset(&node), rules, "can be stored and loaded");
    assert_eq!(node.enter(|| masquerade::verify("veth1", &addresses)).unwrap(), []);
}

#[test]
fn the_last_attachment_takes_everything_with_it() {
    if !needs(Feature::Nat) {
        return;
    }
    let node = Namespace::new("node");
    node.nft(
        "table ip nat { \n chain POSTROUTING { \n type nat hook postrouting priority srcnat; \n ip saddr 10.0.0.1 masquerade; \n } \n }",
    );
    let before = ruleset(&node);
    node.enter(|| masquerade::install("veth1", &of_the_pod())).unwrap();
    let (only4, only6) = (networks(&["10.1.0.6/22"]), networks(&["fd01::7/64"]));
    node.enter(|| masquerade::install("veth2", &only4)).unwrap();
    node.enter(|| masquerade::install("veth3", &only6)).unwrap();
    let hosts = node.enter(nft::attachments).unwrap();
    assert_eq!(hosts.iter().map(String::as_str).collect::<Vec<_>>(), ["veth1", "veth2", "veth3"]);
    node.enter(|| masquerade::remove("veth1")).unwrap();
    assert_eq!(node.enter(|| masquerade::verify("veth2", &only4)).unwrap(), []);
    assert!(!ruleset(&node).contains("veth1"), "{}", ruleset(&node));
    node.enter(|| masquerade::remove("veth1")).unwrap();
    node.enter(|| masquerade::remove("veth2")).unwrap();
    assert_eq!(node.enter(|| masquerade::verify("veth3", &only6)).unwrap(), []);
    node.enter(|| masquerade::install("veth2", &only4)).unwrap();
    node.enter(|| masquerade::remove("veth3")).unwrap();
    assert_eq!(node.enter(|| masquerade::verify("veth2", &only4)).unwrap(), []);
    node.enter(|| masquerade::remove("veth2")).unwrap();
    assert_eq!(ruleset(&node), before);
    node.enter(|| masquerade::remove("veth2")).unwrap();
    assert_eq!(ruleset(&node), before);
}

#[test]
fn what_others_take_away_is_noticed_and_restored() {
    use Missing::{Entry, Rules, Source};
    if !needs(Feature::Nat) {
        return;
    }
    let node = Namespace::new("node");
    let table = "inet bridge_dhcp";
    let (v4, v6) = (Source(POD4.into()), Source(POD6.into()));
    let damages: [(String, &[Missing]); 7] = [
        (format!("flush chain {table} postrouting_sources"), &[Entry]),
        (format!("flush chain {table} veth1"), &[Rules]),
        (format!("insert rule {table} veth1 return"), &[Rules]),
        (format!("flush map {table} sources4"), &[v4]),
        (format!("flush map {table} sources6"), &[v6]),
        (format!("add table {table} {{ flags dormant; }}"), &[Entry, Rules]),
        ("flush ruleset".to_string(), &[Entry, Rules, v4, v6]),
    ];
    let verify = || node.enter(|| masquerade::verify("veth1", &of_the_pod())).unwrap();
    node.enter(|| masquerade::install("veth1", &of_the_pod())).unwrap();
    let whole = ruleset(&node);
    for (damage, missing) in damages {
        node.nft(&damage);
        assert_eq!(verify(), missing, "{damage}");
        node.enter(|| masquerade::install("veth1", &of_the_pod())).unwrap();
        assert_eq!(verify(), [], "{damage}");
        assert_eq!(sorted(&ruleset(&node)), sorted(&whole), "{damage}");
    }
}

/// The lines in one order: restored chains come last.
fn sorted(rules: &str) -> Vec<&str> {
    let mut lines: Vec<_> = rules.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn addresses_change_and_move_to_another_attachment() {
    if !needs(Feature::Nat) {
        return;
    }
    let node = Namespace::new("node");
    let (old, new) = (of_the_pod(), networks(&["10.1.0.7/22", "fd01::5/64"]));
    node.enter(|| masquerade::install("veth1", &old)).unwrap();
    node.enter(|| masquerade::install("veth1", &new)).unwrap();
    assert_eq!(node.enter(|| masquerade::verify("veth1", &new)).unwrap(), []);
    assert!(!ruleset(&node).contains("10.1.0.5"), "{}", ruleset(&node));

    // An attachment that was never removed does not keep its address from the next one, and later takes nothing away from it.
    node.enter(|| masquerade::install("veth2", &new)).unwrap();
    assert_eq!(node.enter(|| masquerade::verify("veth2", &new)).unwrap(), []);
    node.enter(|| masquerade::remove("veth1")).unwrap();
    assert_eq!(node.enter(|| masquerade::verify("veth2", &new)).unwrap(), []);
    node.enter(|| masquerade::install("veth2", &[])).unwrap();
    assert_eq!(ruleset(&node), "");
}

#[test]
fn a_kernel_without_nat_says_so_and_removal_still_succeeds() {
    let node = Namespace::new("node");
    node.enter(|| masquerade::remove("veth1")).unwrap();
    let outcome = node.enter(|| masquerade::install("veth1", &of_the_pod()));
    match outcome {
        Ok(()) => assert!(support::feature::present(Feature::Nat)),
        Err(refusal) => {
            use nix::errno::Errno::{EAFNOSUPPORT, ENOENT, EOPNOTSUPP};
            assert!(!support::feature::present(Feature::Nat), "{refusal}");
            assert!([EAFNOSUPPORT, ENOENT, EOPNOTSUPP].contains(&refusal.errno), "{refusal}");
            assert_eq!(ruleset(&node), "");
        }
    }
    node.enter(|| masquerade::remove("veth1")).unwrap();
    assert_eq!(ruleset(&node), "");
}
