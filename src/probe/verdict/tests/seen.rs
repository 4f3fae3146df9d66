//! What was seen at the uplinks decides: nobody is accused or acquitted against it, and what was found there is named.

use super::*;
use crate::dhcp::overheard::{Dhcp, Overheard};
use crate::net::{Guards, TrafficFilter};
use crate::probe::facts::Guarded;
use crate::probe::witness::{Asking, Sight, Witness};

const PORT: u32 = 1;
const DEVICE: u32 = 2;

/// Frames as they pass ens192: whether they leave, in which VLAN, what they say.
fn witness(frames: &[(bool, u16, Option<Dhcp>)]) -> Result<Witness, String> {
    let asking = Asking { port: vec![PORT], device: vec![DEVICE] };
    let mut witness = Witness::new(asking, vec![Sight::at(3, "ens192", false)]);
    (witness.port_asked, witness.device_asked) = (true, true);
    for &(leaving, vlan, dhcp) in frames {
        witness.see(3, Overheard { leaving, vlan, dhcp });
    }
    Ok(witness)
}

fn left() -> (bool, u16, Option<Dhcp>) {
    (true, 0, Some(Dhcp::Question(PORT)))
}

fn answer_in(vlan: u16) -> (bool, u16, Option<Dhcp>) {
    (false, vlan, Some(Dhcp::Answer(PORT)))
}

const ANSWER_LOST: &str =
    "the DHCP answer entered bridge br0 by ens192 and reached no port: this node drops it";
const QUESTION_LOST: &str =
    "the DHCP question of a port of bridge br0 never left by ens192: this node drops it";

#[test]
fn silence_is_the_segments_only_if_the_question_left_and_no_answer_entered() {
    assert_verdict(Code::NoOffer, "seen leaving by ens192, and no reply within 6 s", |facts| {
        facts.witness = witness(&[left()]);
    });
    assert_verdict(Code::BridgedFramesDropped, ANSWER_LOST, |facts| {
        facts.witness = witness(&[left(), answer_in(0)]);
    });
    assert_verdict(Code::BridgedFramesDropped, QUESTION_LOST, |facts| facts.witness = witness(&[]));
    // What nobody listened to proves nothing.
    assert_verdict(Code::NoOffer, "nobody listened at the uplinks: why", |facts| {
        facts.witness = Err("why".into());
    });
    assert_verdict(Code::NoOffer, "DISCOVERs and no reply", |facts| {
        let mut unasked = witness(&[]).unwrap();
        unasked.port_asked = false;
        facts.witness = Ok(unasked);
    });
}

#[test]
fn what_left_was_dropped_by_no_rule_of_the_node() {
    let (_, text) = judged(&question(), |facts| {
        facts.firewall.hooks =
            vec![FirewallHook { hook: "prerouting", policy_drop: true, ..hook_of("bridge") }];
        facts.witness = witness(&[left()]);
    });
    assert!(!text.contains("unless this node's own rules"), "{text}");
}

#[test]
fn an_answer_that_reached_the_port_was_not_lost() {
    assert_verdict(Code::BadReplies, "malformed", |facts| {
        facts.witness = witness(&[left(), answer_in(0)]);
        let counters = &mut facts.on_port[0].counters;
        (counters.malformed, counters.last_malformed) = (1, Some(Malformed::NoCookie));
    });
    // One in another VLAN answers another question.
    assert_verdict(Code::NoOffer, "1 replies came tagged VLAN 5", |facts| {
        facts.witness = witness(&[left(), answer_in(5)]);
    });
}

#[test]
fn an_uplink_that_cannot_carry_the_question_is_the_cause_and_no_dropper_is() {
    assert_verdict(Code::UplinkNoCarrier, "ens192", |facts| {
        facts.uplinks[0].link.carrier = false;
        facts.witness = witness(&[]);
    });
}

#[test]
fn own_questions_that_come_back_are_told_before_silence() {
    assert_verdict(
        Code::FramesComeBack,
        "what bridge br0 sends by ens192 comes back by it (1 own",
        |facts| {
            facts.witness = witness(&[left(), (false, 0, Some(Dhcp::Question(PORT)))]);
        },
    );
}

#[test]
fn a_vlan_that_the_wire_does_not_carry_is_the_switch_ports() {
    let chatter = |vlan| (false, vlan, None);
    assert_verdict(Code::VlanNotOnWire, "heard on ens192 in 3 s: 10, 20; nothing untagged", |facts| {
        facts.witness = witness(&[left(), chatter(20), chatter(10)]);
    });
    assert_verdict(Code::VlanNotOnWire, "allow VLAN 120, tagged, on the switch port", |facts| {
        facts.witness = witness(&[(true, 120, Some(Dhcp::Question(PORT))), chatter(0)]);
    });
    assert_verdict(Code::NoOffer, "no DHCP server answers", |facts| {
        facts.witness = witness(&[left(), chatter(0), chatter(10)]);
    });
}

#[test]
fn the_dropper_is_the_likeliest_at_that_place() {
    let rule = |of_dhcp| Some(DropRule { chain: "c".into(), handle: 7, of_dhcp });
    let at = |hook, rule| FirewallHook { hook, rule, devices: vec!["ens192".into()], ..hook_of("netdev") };
    let named = |frames: &[_], change: fn(&mut Facts<'_>, Vec<FirewallHook>), hooks: Vec<FirewallHook>| {
        let (code, text) = judged(&question(), |facts| {
            facts.witness = witness(frames);
            change(facts, hooks);
        });
        assert_eq!(code, Code::BridgedFramesDropped, "{text}");
        text
    };
    let hooks = |facts: &mut Facts<'_>, hooks: Vec<FirewallHook>| facts.firewall.hooks = hooks;
    let ingress =
        named(&[left(), answer_in(0)], hooks, vec![at("egress", rule(true)), at("ingress", rule(false))]);
    assert!(ingress.contains("nftables hook ingress of table netdev guard chain c"), "{ingress}");
    let egress = named(&[], hooks, vec![at("ingress", rule(true)), at("egress", rule(false))]);
    assert!(egress.contains("hook egress of table netdev guard chain c"), "{egress}");
    assert!(egress.contains("remedy: nft delete rule netdev guard c handle 7"), "{egress}");
    let elsewhere = FirewallHook { devices: vec!["eth9".into()], ..at("egress", rule(true)) };
    assert!(named(&[], hooks, vec![elsewhere]).contains("nothing was found that does"));

    let guards = |facts: &mut Facts<'_>, hooks| {
        facts.firewall.hooks = hooks;
        let filter = |egress| TrafficFilter { kind: "bpf".into(), preference: 1, egress };
        let guards = Guards {
            filters: vec![filter(false), filter(true)],
            queue: Some(("tbf".into(), 9)),
            ..Guards::default()
        };
        facts.guards =
            vec![Guarded { ifname: "ens192".into(), guards, queue_drops: 3, ..Guarded::default() }];
    };
    assert!(named(&[], guards, vec![]).contains("qdisc tbf of ens192 dropped 3 frames"));
    let answer = [left(), answer_in(0)];
    assert!(named(&answer, guards, vec![]).contains("tc filter bpf on ens192 ingress, pref 1"));
    // A rule that drops just these is the better suspect.
    assert!(named(&answer, guards, vec![at("ingress", rule(true))]).contains("table netdev guard"));
    assert!(named(&answer, guards, vec![at("ingress", rule(false))]).contains("tc filter bpf"));
}
