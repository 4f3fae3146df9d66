//! From what was seen to what is wrong: the one cause that the facts prove, and the evidence for it. Pure.

use std::time::Duration;

use crate::dhcp::exchange::{Answer, Counters, Exchange, Identity};
use crate::dhcp::expected::Fit;
use crate::plan::facts::{Firewall, FirewallHook, IPTABLES_OPENING, Link, Traffic, Uplink};
use crate::plan::uplink;
use crate::report::Error;
use crate::report::probe_faults;
use crate::request::vlan::Vlans;

use super::{EXCHANGE_MIN, Question, evidence};

/// What came of one exchange.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who asked.
    pub identity: Identity,
    /// Offers.
    pub answers: Vec<Answer>,
    /// What was sent and seen.
    pub counters: Counters,
}

impl Asked {
    /// What came of this exchange.
    pub fn of(exchange: &Exchange) -> Self {
        let answers = exchange.answers().to_vec();
        Self { identity: exchange.identity(), answers, counters: exchange.counters().clone() }
    }
}

/// What was seen of a probe without a good offer.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What was asked.
    pub question: &'a Question,
    /// How long the question had, from the first DISCOVER to the end.
    pub window: Duration,
    /// The bridge.
    pub bridge: &'a Link,
    /// Through the temporary port: the question itself, then the second identity.
    pub on_port: Vec<Asked>,
    /// From the bridge device, each identity and last the bridge's own; or why not.
    pub at_bridge: Result<Vec<Asked>, String>,
    /// The bridge's ports that may lead off the node.
    pub uplinks: Vec<Uplink>,
    /// What each of them sent and received in the second half.
    pub traffic: Vec<(String, Traffic)>,
    /// What may drop bridged frames.
    pub firewall: Firewall,
    /// The vendor, if this node is a virtual machine.
    pub hypervisor: Option<String>,
}

/// The cause, with the evidence.
pub fn verdict(facts: &Facts<'_>) -> Error {
    let cause = nothing_asked(facts)
        .or_else(|| bad_offer(facts))
        .or_else(|| other_identity(facts))
        .or_else(|| other_place(facts))
        .or_else(|| bad_reply(facts))
        .or_else(|| no_way_out(facts))
        .or_else(|| replies_to_others(facts))
        .unwrap_or_else(|| silence(facts));
    evidence::lines(facts).into_iter().fold(cause, Error::evidence)
}

/// No question went out, or so late that it could not be answered: silence proves nothing then.
fn nothing_asked(facts: &Facts<'_>) -> Option<Error> {
    let asked = facts.on_port.first().is_some_and(|asked| asked.counters.sent > 0);
    let answered = facts.on_port.iter().any(|asked| !asked.answers.is_empty());
    let enough = facts.window >= EXCHANGE_MIN.min(facts.question.timeout / 2);
    let proves = answered || (asked && enough);
    (!proves).then(|| probe_faults::no_time(facts.question.place(), facts.question.timeout))
}

/// Offers came, but none from where or of what was expected.
fn bad_offer(facts: &Facts<'_>) -> Option<Error> {
    let expected = &facts.question.expected;
    let offers = || facts.on_port.first().into_iter().flat_map(|asked| &asked.answers);
    let of = |fit| offers().map(|answer| &answer.offer).find(|offer| expected.fit(offer) == fit);
    // An allowed server with the wrong pool is the better news: no need to look for a stranger.
    of(Fit::OtherSubnet)
        .map(|offer| probe_faults::wrong_subnet(facts.question.place(), offer, &expected.subnets))
        .or_else(|| {
            of(Fit::OtherServer)
                .map(|offer| probe_faults::rogue_server(facts.question.place(), offer, &expected.servers))
        })
}

/// Through the same port, another client is answered.
fn other_identity(facts: &Facts<'_>) -> Option<Error> {
    let [asked, second] = facts.on_port.as_slice() else { return None };
    let answer = second.answers.first()?;
    Some(probe_faults::mac_denied(
        asked.identity.chaddr,
        second.identity.chaddr,
        facts.question.place(),
        &answer.offer,
    ))
}

/// From the bridge device, somebody is answered.
fn other_place(facts: &Facts<'_>) -> Option<Error> {
    let asked = facts.at_bridge.as_ref().ok()?;
    let answered = |asked: &&Asked| !asked.answers.is_empty();
    let own = |asked: &&Asked| Some(asked.identity.source) == facts.bridge.mac;
    if asked.iter().filter(|asked| !own(asked)).any(|asked| answered(&asked)) {
        let (cause, remedy) = dropper(facts);
        return Some(probe_faults::bridged_frames_dropped(facts.question.place(), &cause, &remedy));
    }
    let own = asked.iter().filter(own).find(answered)?;
    Some(probe_faults::only_own_mac(own.identity.source, facts.question.place(), &own.answers.first()?.offer))
}

/// What most likely drops bridged frames, and what to do about it.
fn dropper(facts: &Facts<'_>) -> (String, String) {
    let isolated = |uplink: &Uplink| uplink.link.port.is_some_and(|port| port.isolated);
    if facts.question.isolated && !facts.uplinks.is_empty() && facts.uplinks.iter().all(isolated) {
        let name = facts.uplinks.first().map_or("UPLINK", |uplink| uplink.link.name.as_str());
        return (
            format!("\"portIsolation\" is set and uplink {name} is isolated, too"),
            format!("bridge link set dev {name} isolated off"),
        );
    }
    let firewall = &facts.firewall;
    let bridge = facts.bridge.bridge.as_ref();
    let through_ip = bridge.is_some_and(|bridge| firewall.sees_frames_of(bridge));
    let of_bridge = |hook: &&FirewallHook| hook.family == "bridge";
    let of_ip = |hook: &&FirewallHook| through_ip && hook.family != "bridge";
    let forward = |hook: &&FirewallHook| of_ip(hook) && hook.hook == "forward";
    let hooks = || firewall.hooks.iter();
    // Whoever drops by default is a better suspect than a chain that merely exists.
    let dropping = hooks().filter(|hook| hook.policy_drop).find(|hook| of_bridge(hook) || of_ip(hook));
    if let Some(hook) = dropping.or_else(|| hooks().find(of_bridge)).filter(of_bridge) {
        return (
            format!("nftables hook {} of {}", hook.hook, hook.owner()),
            hook.opening(&facts.bridge.name),
        );
    }
    if through_ip {
        let everywhere = firewall.call_iptables == Some(true);
        let per_bridge = bridge.is_some_and(|bridge| bridge.nf_call_iptables);
        let switch = if everywhere { "bridge-nf-call-iptables" } else { "nf_call_iptables of the bridge" };
        // Before and after FORWARD, most chains translate addresses and drop nothing.
        let other = || hooks().find(of_ip).filter(|_| firewall.legacy_tables.is_empty());
        let hook = dropping.or_else(|| hooks().find(forward)).or_else(other);
        let whose = match hook {
            Some(hook) if hook.policy_drop => format!("policy drop of {}", hook.owner()),
            Some(hook) => hook.owner(),
            None => "iptables' FORWARD chain".to_string(),
        };
        // One of them is enough to show the frames.
        let off = [
            (everywhere, "sysctl -w net.bridge.bridge-nf-call-iptables=0".to_string()),
            (per_bridge, format!("ip link set {} type bridge nf_call_iptables 0", facts.bridge.name)),
        ];
        let off = off.into_iter().filter_map(|(on, command)| on.then_some(command));
        let off = off.collect::<Vec<_>>().join("; ");
        // What iptables accepts, the chain of another table drops all the same.
        let opening = match hook {
            Some(hook) => hook.opening(&facts.bridge.name),
            None => IPTABLES_OPENING.to_string(),
        };
        return (format!("br_netfilter: {switch} is 1, {whose}"), format!("{off}, or: {opening}"));
    }
    (
        "no nftables hook and no br_netfilter found".to_string(),
        "look for tc filters, eBPF programs and ebtables on the ports: tc filter show, ebtables -L"
            .to_string(),
    )
}

/// Somebody answers this client, but not with an offer.
fn bad_reply(facts: &Facts<'_>) -> Option<Error> {
    facts.on_port.iter().find_map(|asked| {
        let counters = &asked.counters;
        let refusal = counters.last_refusal.as_ref();
        let malformed = counters.last_malformed.as_ref();
        refusal
            .map(|refusal| probe_faults::refused(facts.question.place(), asked.identity.chaddr, refusal))
            .or_else(|| {
                malformed
                    .map(|what| probe_faults::malformed(facts.question.place(), counters.malformed, what))
            })
    })
}

/// The uplinks cannot carry the question off the node.
fn no_way_out(facts: &Facts<'_>) -> Option<Error> {
    let bridge = facts.bridge.bridge.as_ref()?;
    // DHCP is asked untagged: only the native VLAN counts.
    let native = facts.question.vlans.as_ref().map(|vlans| Vlans {
        native: vlans.native,
        tagged: Vec::new(),
        keep_default: vlans.keep_default,
    });
    let judged = uplink::judge(&facts.bridge.name, bridge, native.as_ref(), &facts.uplinks);
    judged.and_then(|()| uplink::forwards(&facts.bridge.name, bridge, &facts.uplinks)).err()
}

fn replies_to_others(facts: &Facts<'_>) -> Option<Error> {
    let counters = &facts.on_port.first()?.counters;
    let count = counters.other_clients.saturating_add(counters.other_exchanges);
    (count > 0).then(|| probe_faults::replies_to_others(facts.question.place(), count))
}

fn silence(facts: &Facts<'_>) -> Error {
    let sent = facts.on_port.iter().map(|asked| asked.counters.sent).sum();
    let error = probe_faults::no_offer(facts.question.place(), facts.question.timeout, sent)
        .evidence("an exhausted pool and a server for registered clients only look the same");
    let error = match (suspect(facts), error.advice().map(str::to_string)) {
        (Some(hook), Some(advice)) => error.remedy(format!(
            "{advice}; unless this node's own rules drop it: {}",
            hook.opening(&facts.bridge.name)
        )),
        _ => error,
    };
    match &facts.hypervisor {
        Some(vendor) => error.evidence(format!(
            "this node is a virtual machine ({vendor}): its hypervisor may drop frames with other source MACs, \
             or not deliver broadcasts; port groups need promiscuous mode and forged transmits"
        )),
        None => error,
    }
}

/// The chain that may drop what both places sent or got: one before or after the bridge, and where only a port was asked,
/// any. One of IP's that drops nothing by default is no suspect: nearly every node has some.
fn suspect<'a>(facts: &'a Facts<'_>) -> Option<&'a FirewallHook> {
    let through_ip = facts.bridge.bridge.as_ref().is_some_and(|bridge| facts.firewall.sees_frames_of(bridge));
    let met = |hook: &&FirewallHook| hook.hook != "forward" || facts.at_bridge.is_err();
    let may_drop = |hook: &&FirewallHook| hook.family == "bridge" || (through_ip && hook.policy_drop);
    facts.firewall.hooks.iter().filter(met).find(may_drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::exchange::Timing;
    use crate::dhcp::expected::Expected;
    use crate::dhcp::reply::{Malformed, Offer, Received, Refusal, Sender, read};
    use crate::dhcp::samples::{self, client_mac};
    use crate::plan::facts::{Bridge, Port, PortState, PortVlans};
    use crate::report::Code;
    use crate::request::mac::MacAddress;
    use crate::request::name::InterfaceName;
    use crate::request::vlan::VlanRange;

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
        Link {
            index: 3,
            name: name.into(),
            kind: None,
            mac: Some(own()),
            mtu: 1500,
            up: true,
            carrier: true,
            promiscuous: false,
            master: Some(2),
            alias: None,
            peer: None,
            bridge: None,
            port: None,
        }
    }

    fn bridge() -> Link {
        let kind = Bridge {
            vlan_filtering: true,
            default_pvid: 1,
            stp: true,
            forward_delay: 15,
            ..Bridge::default()
        };
        Link { bridge: Some(kind), master: None, ..link("br0") }
    }

    fn uplink() -> Uplink {
        let port = Port { state: PortState::Forwarding, hairpin: false, isolated: false, forward_timer: 0 };
        let vlans =
            PortVlans { pvid: Some(1), untagged: vec![VlanRange { first: 1, last: 1 }], tagged: vec![] };
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
            at_bridge: Ok(vec![
                asked(client_mac(), source()),
                asked(source(), source()),
                asked(own(), own()),
            ]),
            uplinks: vec![uplink()],
            traffic: vec![("ens192".into(), Traffic { sent: 9, received: 0 })],
            firewall: Firewall::default(),
            hypervisor: None,
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
        let chain = |family, hook, policy_drop| {
            vec![FirewallHook { family, table: "t".into(), chain: "c".into(), hook, policy_drop }]
        };
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
        });
        assert_verdict(Code::MacDenied, "only this node's own MAC", |facts| answered(from_bridge(facts, 2)));
    }

    #[test]
    fn another_place_that_is_answered_accuses_the_node() {
        for which in [0, 1] {
            assert_verdict(Code::BridgedFramesDropped, "no nftables hook and no br_netfilter", |facts| {
                answered(from_bridge(facts, which));
            });
        }
        assert_verdict(Code::BridgedFramesDropped, "bridge-nf-call-iptables is 1", |facts| {
            answered(from_bridge(facts, 0));
            facts.firewall.call_iptables = Some(true);
        });
        let hook = |family, policy_drop| FirewallHook {
            family,
            table: "guard".into(),
            chain: "forward".into(),
            hook: "forward",
            policy_drop,
        };
        assert_verdict(Code::BridgedFramesDropped, "policy drop of table ip guard chain forward", |facts| {
            answered(from_bridge(facts, 0));
            facts.firewall.call_iptables = Some(true);
            facts.firewall.hooks = vec![hook("ip", true)];
        });
        let opens = |family| format!("remedy: nft insert rule {family} guard forward ");
        assert_verdict(Code::BridgedFramesDropped, &opens("bridge"), |facts| {
            answered(from_bridge(facts, 1));
            facts.firewall.hooks = vec![hook("bridge", false)];
        });
        // A chain that only exists is no suspect beside one that drops by default.
        assert_verdict(Code::BridgedFramesDropped, "policy drop of table ip guard chain forward", |facts| {
            answered(from_bridge(facts, 1));
            facts.firewall.call_iptables = Some(true);
            facts.firewall.hooks = vec![hook("bridge", false), hook("ip", true)];
        });
        assert_verdict(Code::BridgedFramesDropped, &opens("bridge"), |facts| {
            answered(from_bridge(facts, 1));
            facts.firewall.call_iptables = Some(false);
            facts.firewall.hooks = vec![hook("ip", true), hook("bridge", false)];
        });
        // What iptables accepts, another table's chain drops all the same.
        assert_verdict(
            Code::BridgedFramesDropped,
            "or: nft insert rule inet guard forward iifname '\"br0\"' accept",
            |facts| {
                answered(from_bridge(facts, 1));
                facts.firewall.call_iptables = Some(true);
                facts.firewall.hooks = vec![hook("inet", false)];
            },
        );
        // Before FORWARD there are chains, too; the legacy iptables shows none of its own.
        let before = FirewallHook { hook: "prerouting", ..hook("ip", false) };
        assert_verdict(Code::BridgedFramesDropped, "is 1, table ip guard chain forward", |facts| {
            answered(from_bridge(facts, 1));
            facts.firewall.call_iptables = Some(true);
            facts.firewall.hooks = vec![before.clone()];
        });
        assert_verdict(Code::BridgedFramesDropped, "is 1, iptables' FORWARD chain", |facts| {
            answered(from_bridge(facts, 1));
            facts.firewall.call_iptables = Some(true);
            facts.firewall.hooks = vec![before.clone()];
            facts.firewall.legacy_tables = vec!["filter".into()];
        });
        // Switched off, br_netfilter drops nothing.
        assert_verdict(Code::BridgedFramesDropped, "no nftables hook and no br_netfilter", |facts| {
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
            verdict(&facts).advice().unwrap().split(", or: ").next().unwrap().to_string()
        };
        let (everywhere, here) = (
            "sysctl -w net.bridge.bridge-nf-call-iptables=0",
            "ip link set br0 type bridge nf_call_iptables 0",
        );
        assert_eq!(remedy(Some(true)), format!("{everywhere}; {here}"));
        assert_eq!(remedy(Some(false)), here);
        assert!(remedy(None).starts_with("look for tc filters"), "{}", remedy(None));
    }

    #[test]
    fn an_isolated_uplink_is_no_firewall() {
        let question = Question { isolated: true, ..question() };
        let (code, text) = judged(&question, |facts| {
            answered(from_bridge(facts, 0));
            facts.uplinks[0].link.port.as_mut().unwrap().isolated = true;
        });
        assert!(code == Code::BridgedFramesDropped && text.contains("isolated off"), "{text}");
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
        let sender = Sender { relay: None, vlan: None, ..offer().sender };
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
        assert!(
            code == Code::VlanNotOnUplink && text.contains("bridge vlan add dev ens192 vid 120"),
            "{text}"
        );
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
        assert!(
            text.contains("uplinks: ens192 (carrier, forwarding") && text.contains("and 493 more"),
            "{text}"
        );
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
        assert_verdict(Code::NoUplink, "1 replies to others", |facts| {
            facts.uplinks.clear();
            facts.on_port[0].counters.other_exchanges = 1;
        });
    }
}
