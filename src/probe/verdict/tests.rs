//! Each cause is named for what it shows, and nothing else is; silence proves nothing where the node was too slow.

use std::time::Duration;

use super::*;
use crate::dhcp::exchange::{Answer, Exchange, Identity, Timing};
use crate::dhcp::expected::Expected;
use crate::dhcp::reply::{Malformed, Offer, Received, Refusal, Sender, read};
use crate::dhcp::samples::{self, client_mac};
use crate::error::Code;
use crate::net::{
    Bridge, DropRule, Firewall, InterfaceName, Link, MacAddress, Port, PortState, PortVlans, Stp, Traffic,
    Uplink, VlanRange,
};
use crate::probe::question::Question;

mod node;
mod seen;

fn offer() -> Offer {
    match read(&samples::offer_frame(), samples::XID, client_mac()) {
        Received::Offered(offer) => offer,
        other => panic!("{other:?}"),
    }
}

fn own() -> MacAddress {
    MacAddress::local([0x52; 6])
}

fn source() -> MacAddress {
    MacAddress::local([0x72; 6])
}

fn link(name: &str) -> Link {
    Link { mac: Some(own()), master: Some(2), ..Link::plain(name) }
}

fn bridge() -> Link {
    let kind = Bridge {
        vlan_filtering: true,
        default_pvid: 1,
        stp: Stp::Kernel,
        forward_delay: 15,
        ..Bridge::default()
    };
    Link { bridge: Some(kind), master: None, ..link("br0") }
}

fn uplink() -> Uplink {
    let port = Port::plain(PortState::Forwarding);
    let vlans = PortVlans { pvid: Some(1), untagged: vec![VlanRange { first: 1, last: 1 }], tagged: vec![] };
    Uplink { link: Link { port: Some(port), ..link("ens192") }, vlans: Some(vlans) }
}

fn question() -> Question {
    Question {
        bridge: InterfaceName::parse("br0").unwrap(),
        vlans: None,
        isolated: false,
        client: Some(client_mac()),
        timeout: Duration::from_secs(6),
        grace: Duration::ZERO,
        expected: Expected::default(),
        refuse_others: false,
        sole_port: true,
    }
}

/// Nobody said anything to anyone.
fn silent<'a>(question: &'a Question, bridge: &'a Link) -> Facts<'a> {
    let timing = Timing { timeout: question.timeout, grace: Duration::ZERO };
    let asked = |chaddr, source| {
        let mut asked = Asked::of(&Exchange::new(Identity { chaddr, source }, timing, 1));
        asked.counters.sent = 4;
        asked
    };
    Facts {
        question,
        window: question.timeout,
        bridge,
        on_port: vec![asked(client_mac(), source()), asked(source(), source())],
        at_bridge: Ok(vec![asked(client_mac(), source()), asked(source(), source()), asked(own(), own())]),
        uplinks: vec![uplink()],
        traffic: vec![("ens192".into(), Traffic { sent: 9, received: 0 })],
        witness: Err("nobody listened".into()),
        firewall: Firewall::default(),
        guards: Vec::new(),
        answering: None,
        hypervisor: None,
    }
}

/// A chain that drops nothing.
fn hook_of(family: &'static str) -> FirewallHook {
    FirewallHook {
        family,
        table: "guard".into(),
        chain: "c".into(),
        hook: "forward",
        devices: Vec::new(),
        policy_drop: false,
        rule: None,
    }
}

fn answered(asked: &mut Asked) {
    asked.answers.push(Answer { offer: offer(), after: Duration::from_millis(3) });
}

fn from_bridge<'b>(facts: &'b mut Facts<'_>, which: usize) -> &'b mut Asked {
    &mut facts.at_bridge.as_mut().unwrap()[which]
}

/// The verdict over silence that `change` made less silent.
fn judged(question: &Question, change: impl FnOnce(&mut Facts<'_>)) -> (Code, String) {
    let bridge = bridge();
    let mut facts = silent(question, &bridge);
    change(&mut facts);
    let error = verdict(&facts);
    assert!(error.msg().chars().count() < 200 && !error.msg().contains('…'), "{}", error.msg());
    assert!(error.details().contains("remedy: "));
    (error.code, format!("{}\n{}", error.msg(), error.details()))
}

#[track_caller]
fn assert_verdict(code: Code, words: &str, change: impl FnOnce(&mut Facts<'_>)) {
    let (found, text) = judged(&question(), change);
    assert_eq!(found, code, "{text}");
    assert!(text.contains(words), "{words:?} is missing in: {text}");
}

#[test]
fn silence_is_the_segments() {
    assert_verdict(Code::NoOffer, "uplink ens192 sent 9 and received 0 frames", |_| {});
    assert_verdict(Code::NoOffer, "virtual machine (VMware, Inc.)", |facts| {
        facts.hypervisor = Some("VMware, Inc.".into());
    });
    assert_verdict(Code::NoOffer, "not asked from the bridge device: why not", |facts| {
        facts.at_bridge = Err("why not".into());
    });
}

#[test]
fn rules_that_both_places_meet_are_suspects_of_silence() {
    let chain = |family, hook, policy_drop| vec![FirewallHook { hook, policy_drop, ..hook_of(family) }];
    let says = |hooks: Vec<FirewallHook>, asked_there: bool| {
        let (code, text) = judged(&question(), |facts| {
            (facts.firewall.hooks, facts.firewall.call_iptables) = (hooks, Some(true));
            if !asked_there {
                facts.at_bridge = Err("why not".into());
            }
        });
        assert_eq!(code, Code::NoOffer);
        text.contains("unless this node's own rules drop it: nft insert rule ")
    };
    assert!(says(chain("bridge", "prerouting", false), true));
    assert!(says(chain("ip", "prerouting", true), true));
    assert!(says(chain("bridge", "postrouting", true), true));
    // Nearly every node translates addresses there.
    assert!(!says(chain("ip", "prerouting", false), true));
    // What only ports meet is no suspect where the bridge device gets no answer either, but one where it was not asked.
    assert!(!says(chain("bridge", "forward", true), true));
    assert!(says(chain("bridge", "forward", false), false));
    assert!(says(chain("ip", "forward", true), false));
    assert!(!says(chain("inet", "forward", false), false));
}

#[test]
fn replies_with_another_vlans_tag_are_told_beside_the_silence() {
    let tagged = |facts: &mut Facts<'_>| {
        let counters = &mut facts.on_port[0].counters;
        (counters.tagged, counters.last_tagged) = (3, Some(5));
    };
    assert_verdict(
        Code::NoOffer,
        "no DHCP server answers on bridge br0 untagged: 3 replies came tagged",
        tagged,
    );
    assert_verdict(Code::NoOffer, "untag VLAN 5 on the switch port", tagged);
    // A trunk's tagged VLANs have clients of their own.
    let tagged_5 = Vlans { native: 1, tagged: vec![VlanRange::single(5)], keep_default: false };
    let (code, text) = judged(&Question { vlans: Some(tagged_5), ..question() }, tagged);
    assert!(code == Code::NoOffer && text.contains("and no reply within"), "{text}");
    assert!(text.contains("3 replies tagged VLAN 5"), "{text}");
}

#[test]
fn a_question_that_was_never_asked_accuses_nobody() {
    assert_verdict(Code::Deadline, "this node is overloaded", |facts| {
        facts.on_port.iter_mut().for_each(|asked| asked.counters.sent = 0);
    });
    assert_verdict(Code::Deadline, "this node is overloaded", |facts| {
        facts.window = Duration::from_millis(20);
    });
}

#[test]
fn another_identity_that_is_answered_accuses_the_mac() {
    assert_verdict(Code::MacDenied, "denies this MAC", |facts| answered(&mut facts.on_port[1]));
    // Also where the bridge device is answered, which it then must be.
    assert_verdict(Code::MacDenied, "denies this MAC", |facts| {
        answered(&mut facts.on_port[1]);
        answered(from_bridge(facts, 1));
        answered(from_bridge(facts, 2));
    });
    // One whose offer the server holds from an earlier probe proves nothing about the others.
    let (code, text) = judged(&question(), |facts| {
        answered(&mut facts.on_port[1]);
        answered(from_bridge(facts, 1));
    });
    assert!(code == Code::MacDenied && text.contains("pool is exhausted"), "{text}");
    assert!(text.contains("an earlier probe") && !text.contains("ephemeral"), "{text}");
    assert_verdict(Code::MacDenied, "only this node's own MAC", |facts| answered(from_bridge(facts, 2)));
}

#[test]
fn unexpected_offers_accuse_their_server_or_their_subnet() {
    let expecting = |servers: &[&str], subnets: &[&str]| Question {
        expected: Expected {
            servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
            subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
        },
        ..question()
    };
    let offered = |facts: &mut Facts<'_>| answered(&mut facts.on_port[0]);
    let (code, text) = judged(&expecting(&["192.0.2.1"], &[]), offered);
    assert!(code == Code::RogueServer && text.contains("192.0.2.1"), "{text}");
    let (code, text) = judged(&expecting(&[], &["192.0.2.0/24"]), offered);
    assert!(code == Code::WrongSubnet && text.contains("192.0.2.0/24"), "{text}");
    // A rogue beside an allowed server with the wrong pool: the pool is the administrator's.
    let mut rogue = offer();
    rogue.sender.server = std::net::Ipv4Addr::new(192, 0, 2, 66);
    rogue.sender.ip = rogue.sender.server;
    let allowed = offer().sender.server.to_string();
    let (code, text) = judged(&expecting(&[&allowed], &["192.0.2.0/24"]), |facts| {
        facts.on_port[0].answers.push(Answer { offer: rogue, after: Duration::ZERO });
        answered(&mut facts.on_port[0]);
    });
    assert_eq!(code, Code::WrongSubnet, "{text}");
}

#[test]
fn bad_replies_are_named() {
    let sender = Sender { relay: None, ..offer().sender };
    assert_verdict(Code::BadReplies, "NAK instead of an offer (\"wrong network\")", |facts| {
        facts.on_port[0].counters.last_refusal =
            Some(Refusal { sender, message: Some("wrong network".into()) });
    });
    assert_verdict(Code::BadReplies, "BOOTP reply", |facts| {
        facts.on_port[0].counters.malformed = 2;
        facts.on_port[0].counters.last_malformed = Some(Malformed::NoMessageType);
    });
    assert_verdict(Code::BadReplies, "answers others", |facts| {
        facts.on_port[0].counters.other_clients = 1;
    });
    // Replies to the probe's own other questions are nobody else's.
    assert_verdict(Code::NoOffer, "no DHCP server answers", |facts| {
        facts.on_port[0].counters.sibling_exchanges = 4;
    });
}

#[test]
fn uplinks_that_cannot_carry_the_question_are_named() {
    assert_verdict(Code::NoUplink, "no port that leads off", |facts| facts.uplinks.clear());
    assert_verdict(Code::UplinkNoCarrier, "ens192", |facts| facts.uplinks[0].link.carrier = false);
    let vlan = Question {
        vlans: Some(Vlans { native: 120, tagged: Vec::new(), keep_default: false }),
        ..question()
    };
    let (code, text) = judged(&vlan, |_| {});
    assert!(code == Code::VlanNotOnUplink && text.contains("bridge vlan add dev ens192 vid 120"), "{text}");
    for (state, words) in [
        (PortState::Listening, "it forwards in 18 s"),
        (PortState::Learning, "it forwards in 3 s"),
        (PortState::Blocking, "STP blocks it"),
    ] {
        assert_verdict(Code::NotForwarding, words, |facts| {
            let port = facts.uplinks[0].link.port.as_mut().unwrap();
            (port.state, port.forward_timer) = (state, 250);
        });
    }
    let half = |facts: &mut Facts<'_>| facts.uplinks[0].vlans.as_mut().unwrap().pvid = None;
    assert_verdict(Code::NoOffer, "bridge vlan add dev ens192 vid 1 pvid untagged; where", half);
    assert_verdict(Code::NoOffer, "VLANs 1 (untagged)", half);
    // A second one that forwards is enough.
    assert_verdict(Code::NoOffer, "ens192 (carrier, blocking", |facts| {
        facts.uplinks.push(uplink());
        facts.uplinks[0].link.port.as_mut().unwrap().state = PortState::Blocking;
    });
}

#[test]
fn a_bridge_full_of_uplinks_does_not_flood_the_evidence() {
    let (code, text) = judged(&question(), |facts| {
        for number in 0..500 {
            let mut idle = uplink();
            (idle.link.name, idle.link.carrier) = (format!("p{number}"), false);
            facts.traffic.insert(0, (idle.link.name.clone(), Traffic { sent: 0, received: 0 }));
            facts.uplinks.insert(0, idle);
        }
    });
    assert_eq!(code, Code::NoOffer);
    // Those that could have answered are shown first.
    assert!(text.contains("uplinks: ens192 (carrier, forwarding") && text.contains("and 493 more"), "{text}");
    assert!(text.contains("uplink ens192 sent 9"), "{text}");
    assert!(text.lines().count() < 30, "{text}");
}

#[test]
fn an_experiment_outweighs_what_only_looks_wrong() {
    // A local port may lead to the server: no uplink is no proof against an answer.
    assert_verdict(Code::BridgedFramesDropped, "uplinks: none", |facts| {
        facts.uplinks.clear();
        answered(from_bridge(facts, 0));
    });
    let sender = Sender { relay: None, ..offer().sender };
    assert_verdict(Code::BadReplies, "NAK instead of an offer", |facts| {
        facts.uplinks.clear();
        facts.on_port[0].counters.last_refusal = Some(Refusal { sender, message: None });
    });
    assert_verdict(Code::NoUplink, "1 replies to others", |facts| {
        facts.uplinks.clear();
        facts.on_port[0].counters.other_exchanges = 1;
    });
}
