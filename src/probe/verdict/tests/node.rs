//! What of the node drops bridged frames is named: a port's flags, a chain, br_netfilter, or that none was found.

use super::*;

#[test]
fn another_place_that_is_answered_accuses_the_node() {
    for which in [0, 1] {
        assert_verdict(Code::BridgedFramesDropped, "nothing was found that does", |facts| {
            answered(from_bridge(facts, which));
        });
    }
    assert_verdict(Code::BridgedFramesDropped, "br_netfilter: iptables' FORWARD chain", |facts| {
        answered(from_bridge(facts, 0));
        facts.firewall.call_iptables = Some(true);
        facts.firewall.legacy_tables = vec!["filter".into()];
    });
    // What is shown to tables that are not there, or only translate addresses, is not dropped by them.
    for tables in [vec![], vec!["nat".to_string()]] {
        assert_verdict(Code::BridgedFramesDropped, "remedy: look for eBPF programs", |facts| {
            answered(from_bridge(facts, 0));
            facts.firewall.call_iptables = Some(true);
            facts.firewall.legacy_tables = tables;
        });
    }
    let rule = |of_dhcp| Some(DropRule { chain: "forward".into(), handle: 4, of_dhcp });
    let hook = |family, policy_drop| FirewallHook {
        chain: "forward".into(),
        policy_drop,
        rule: if policy_drop { None } else { rule(false) },
        ..hook_of(family)
    };
    assert_verdict(Code::BridgedFramesDropped, "policy drop of table ip guard chain forward", |facts| {
        answered(from_bridge(facts, 0));
        facts.firewall.call_iptables = Some(true);
        facts.firewall.hooks = vec![hook("ip", true)];
    });
    let deletes = "remedy: nft delete rule bridge guard forward handle 4";
    assert_verdict(Code::BridgedFramesDropped, deletes, |facts| {
        answered(from_bridge(facts, 1));
        facts.firewall.hooks = vec![hook("bridge", false)];
    });
    // A chain that only exists is no suspect beside one that drops by default.
    assert_verdict(Code::BridgedFramesDropped, "policy drop of table ip guard chain forward", |facts| {
        answered(from_bridge(facts, 1));
        facts.firewall.call_iptables = Some(true);
        facts.firewall.hooks = vec![hook("bridge", false), hook("ip", true)];
    });
    assert_verdict(Code::BridgedFramesDropped, deletes, |facts| {
        answered(from_bridge(facts, 1));
        facts.firewall.call_iptables = Some(false);
        facts.firewall.hooks = vec![hook("ip", true), hook("bridge", false)];
    });
    // What iptables accepts, another table's chain drops all the same.
    assert_verdict(
        Code::BridgedFramesDropped,
        "remedy: nft delete rule inet guard forward handle 4, or, where no Kubernetes ",
        |facts| {
            answered(from_bridge(facts, 1));
            facts.firewall.call_iptables = Some(true);
            facts.firewall.hooks = vec![hook("inet", false)];
        },
    );
    // Before FORWARD there are chains, too; the legacy iptables shows none of its own.
    let before = FirewallHook { hook: "prerouting", ..hook("ip", false) };
    assert_verdict(Code::BridgedFramesDropped, "br_netfilter: table ip guard chain forward", |facts| {
        answered(from_bridge(facts, 1));
        facts.firewall.call_iptables = Some(true);
        facts.firewall.hooks = vec![before.clone()];
    });
    assert_verdict(Code::BridgedFramesDropped, "br_netfilter: iptables' FORWARD chain", |facts| {
        answered(from_bridge(facts, 1));
        facts.firewall.call_iptables = Some(true);
        facts.firewall.hooks = vec![FirewallHook { rule: None, ..before.clone() }];
        facts.firewall.legacy_tables = vec!["filter".into()];
    });
    // Switched off, br_netfilter drops nothing.
    assert_verdict(Code::BridgedFramesDropped, "nothing was found that does", |facts| {
        answered(from_bridge(facts, 0));
        facts.firewall.call_iptables = Some(false);
    });
}

#[test]
fn the_bridges_own_switch_needs_the_module_and_adds_to_the_sysctl() {
    let question = question();
    let mut bridge = bridge();
    bridge.bridge.as_mut().unwrap().nf_call_iptables = true;
    let remedy = |call_iptables| {
        let mut facts = silent(&question, &bridge);
        answered(from_bridge(&mut facts, 0));
        facts.firewall.call_iptables = call_iptables;
        facts.firewall.legacy_tables = vec!["filter".into()];
        verdict(&facts).advice().unwrap().rsplit(": ").next().unwrap().to_string()
    };
    let (everywhere, here) =
        ("sysctl -w net.bridge.bridge-nf-call-iptables=0", "ip link set br0 type bridge nf_call_iptables 0");
    assert_eq!(remedy(Some(true)), format!("{everywhere}; {here}"));
    assert_eq!(remedy(Some(false)), here);
    assert!(remedy(None).starts_with("bpftool net show"), "{}", remedy(None));
}

#[test]
fn an_isolated_uplink_is_no_firewall() {
    let question = Question { isolated: true, ..question() };
    let (code, text) = judged(&question, |facts| {
        answered(from_bridge(facts, 0));
        facts.uplinks[0].link.port.as_mut().unwrap().isolated = true;
    });
    assert!(code == Code::BridgedFramesDropped && text.contains("isolated off"), "{text}");
    // One of two proves nothing.
    let (_, text) = judged(&question, |facts| {
        answered(from_bridge(facts, 0));
        facts.uplinks.push(uplink());
        facts.uplinks[0].link.port.as_mut().unwrap().isolated = true;
    });
    assert!(text.contains("look for eBPF programs"), "{text}");
    // So is a local port behind which the only server sits.
    let (_, text) = judged(&question, |facts| {
        answered(from_bridge(facts, 0));
        facts.answering = Some(Link { name: "local".into(), ..uplink().link });
        facts.answering.as_mut().unwrap().port.as_mut().unwrap().isolated = true;
    });
    assert!(text.contains("\"portIsolation\" is set") && text.contains("dev local isolated off"), "{text}");
}

#[test]
fn a_port_that_passes_no_broadcasts_is_no_firewall() {
    let unflooded = |name: &str| {
        let mut link = uplink().link;
        link.name = name.to_string();
        link.port.as_mut().unwrap().broadcast_flood = false;
        link
    };
    assert_verdict(Code::BridgedFramesDropped, "bridge link set dev ens192 bcast_flood on", |facts| {
        answered(from_bridge(facts, 0));
        facts.uplinks[0].link = unflooded("ens192");
        facts.firewall.call_iptables = Some(true);
    });
    // The way that the answer came counts, where it is known.
    assert_verdict(Code::BridgedFramesDropped, "bridge link set dev local bcast_flood on", |facts| {
        answered(from_bridge(facts, 0));
        facts.answering = Some(unflooded("local"));
    });
    assert_verdict(Code::BridgedFramesDropped, "look for eBPF programs", |facts| {
        answered(from_bridge(facts, 0));
        facts.uplinks[0].link = unflooded("ens192");
        facts.answering = Some(uplink().link);
    });
}
