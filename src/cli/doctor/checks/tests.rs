//! Each check warns of what it is about, and of nothing else.

use super::*;
use crate::net::Bridge;

/// The judgement of one check over a bridge with a healthy uplink that `change` made less healthy; the others find
/// nothing.
#[track_caller]
fn judged(name: &str, change: impl FnOnce(&mut Seen)) -> Judgement {
    let bridge = Link { bridge: Some(Bridge::default()), ..Link::plain("br0") };
    let mut seen = Seen {
        name: "br0".into(),
        vlans: None,
        mac: None,
        attachments: Vec::new(),
        bridge: BridgeSeen::Present(Box::new(bridge)),
        uplinks: vec![Uplink { link: Link::plain("ens192"), vlans: None }],
        ports: 1,
        firewall: Some(Firewall::default()),
        learned: None,
    };
    change(&mut seen);
    let (asked, others): (Vec<Check>, Vec<Check>) =
        judge(&seen).into_iter().partition(|check| check.name == name);
    assert!(others.iter().all(|check| check.judgement == Judgement::Ok), "{others:?}");
    asked[0].judgement
}

#[test]
fn a_chain_is_blamed_that_drops_by_default_and_meets_bridged_frames() {
    use Judgement::{Ok, Warn};
    for (family, policy_drop, call_iptables, judgement) in [
        ("bridge", true, None, Warn),
        ("bridge", false, None, Ok),
        ("ip", true, None, Ok),
        ("ip", true, Some(false), Ok),
        ("ip", true, Some(true), Warn),
        ("inet", false, Some(true), Ok),
    ] {
        let hook = FirewallHook {
            family,
            table: "t".into(),
            chain: "c".into(),
            hook: "forward",
            devices: Vec::new(),
            policy_drop,
            rule: None,
        };
        let firewall = Firewall { call_iptables, hooks: vec![hook], ..Firewall::default() };
        let found = judged("firewall", |seen| seen.firewall = Some(firewall));
        assert_eq!(found, judgement, "{family}, drop {policy_drop}, br_netfilter {call_iptables:?}");
    }
}

#[test]
fn an_uplink_of_a_smaller_mtu_than_the_bridges_loses_frames() {
    for (mtu, judgement) in [(1499, Judgement::Warn), (1500, Judgement::Ok), (9000, Judgement::Ok)] {
        assert_eq!(judged("mtu", |seen| seen.uplinks[0].link.mtu = mtu), judgement, "{mtu}");
    }
}

#[test]
fn a_bridge_that_fills_up_is_named_before_it_is_full() {
    for (ports, judgement) in [
        (PORTS_MANY - 1, Judgement::Ok),
        (PORTS_MANY, Judgement::Warn),
        (PORTS_MAX - 1, Judgement::Warn),
        (PORTS_MAX, Judgement::Fail),
    ] {
        assert_eq!(judged("ports", |seen| seen.ports = ports), judgement, "{ports}");
    }
}
