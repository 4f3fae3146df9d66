//! From what was seen to what is wrong: the one cause that the facts prove, and the evidence for it. Pure.

use crate::dhcp::exchange::{Answer, Counters, Exchange, Identity};
use crate::dhcp::expected::Fit;
use crate::plan::facts::{Firewall, FirewallHook, Link, PortState, Traffic, Uplink};
use crate::plan::uplink;
use crate::report::Error;
use crate::report::probe_faults::{self, Place};
use crate::request::vlan::{VlanRange, Vlans, merged};

use super::Question;

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
    let cause = bad_offer(facts)
        .or_else(|| other_identity(facts))
        .or_else(|| other_place(facts))
        .or_else(|| bad_reply(facts))
        .or_else(|| no_way_out(facts))
        .or_else(|| replies_to_others(facts))
        .unwrap_or_else(|| silence(facts));
    evidence(facts).into_iter().fold(cause, Error::evidence)
}

fn place<'a>(facts: &'a Facts<'_>) -> Place<'a> {
    Place { bridge: &facts.bridge.name, vlan: facts.question.vlans.as_ref().map(|vlans| vlans.native) }
}

/// Offers came, but none from where or of what was expected.
fn bad_offer(facts: &Facts<'_>) -> Option<Error> {
    let expected = &facts.question.expected;
    let offers = || facts.on_port.first().into_iter().flat_map(|asked| &asked.answers);
    let of = |fit| offers().map(|answer| &answer.offer).find(|offer| expected.fit(offer) == fit);
    // An allowed server with the wrong pool is the better news: no need to look for a stranger.
    of(Fit::OtherSubnet)
        .map(|offer| probe_faults::wrong_subnet(place(facts), offer, &expected.subnets))
        .or_else(|| {
            of(Fit::OtherServer)
                .map(|offer| probe_faults::rogue_server(place(facts), offer, &expected.servers))
        })
}

/// Through the same port, another client is answered.
fn other_identity(facts: &Facts<'_>) -> Option<Error> {
    let [asked, second] = facts.on_port.as_slice() else { return None };
    let answer = second.answers.first()?;
    Some(probe_faults::mac_denied(asked.identity.chaddr, second.identity.chaddr, place(facts), &answer.offer))
}

/// From the bridge device, somebody is answered.
fn other_place(facts: &Facts<'_>) -> Option<Error> {
    let asked = facts.at_bridge.as_ref().ok()?;
    let answered = |asked: &&Asked| !asked.answers.is_empty();
    let own = |asked: &&Asked| Some(asked.identity.source) == facts.bridge.mac;
    if asked.iter().filter(|asked| !own(asked)).any(|asked| answered(&asked)) {
        let (cause, remedy) = dropper(facts);
        return Some(probe_faults::bridged_frames_dropped(place(facts), &cause, &remedy));
    }
    let own = asked.iter().filter(own).find(answered)?;
    Some(probe_faults::only_own_mac(own.identity.source, place(facts), &own.answers.first()?.offer))
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
    if let Some(hook) = firewall.hooks.iter().find(|hook| hook.family == "bridge") {
        return (
            format!("nftables chain {} of table bridge {}, hook {}", hook.chain, hook.table, hook.hook),
            format!("nft list table bridge {}; accept udp dport 67 and 68 there", hook.table),
        );
    }
    let per_bridge = facts.bridge.bridge.as_ref().is_some_and(|bridge| bridge.nf_call_iptables);
    if firewall.call_iptables == Some(true) || per_bridge {
        let switch = if per_bridge { "nf_call_iptables of the bridge" } else { "bridge-nf-call-iptables" };
        let dropping = firewall.hooks.iter().find(|hook| hook.hook == "forward" && hook.policy_drop);
        let whose = match dropping {
            Some(hook) => format!("policy drop of {}", hook_shown(hook)),
            None => "iptables' FORWARD chain".to_string(),
        };
        let off = match per_bridge {
            true => format!("ip link set {} type bridge nf_call_iptables 0", facts.bridge.name),
            false => "sysctl -w net.bridge.bridge-nf-call-iptables=0".to_string(),
        };
        return (
            format!("br_netfilter: {switch} is 1, {whose}"),
            format!("{off}, or: iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT"),
        );
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
            .map(|refusal| probe_faults::refused(place(facts), asked.identity.chaddr, refusal))
            .or_else(|| malformed.map(|what| probe_faults::malformed(place(facts), counters.malformed, what)))
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
    judged.err().or_else(|| uplinks_not_forwarding(facts, bridge.forward_delay))
}

fn uplinks_not_forwarding(facts: &Facts<'_>, forward_delay: u32) -> Option<Error> {
    let states = || {
        let alive = facts.uplinks.iter().filter(|uplink| uplink.link.carrier);
        alive.filter_map(|uplink| uplink.link.port.map(|port| (&uplink.link.name, port)))
    };
    if states().any(|(_, port)| port.state == PortState::Forwarding) {
        return None;
    }
    let left = states().filter_map(|(_, port)| {
        let timer = port.forward_timer.div_ceil(100);
        match port.state {
            PortState::Listening => Some(timer + u64::from(forward_delay)),
            PortState::Learning => Some(timer),
            _ => None,
        }
    });
    let shown: Vec<String> = states().map(|(name, port)| format!("{name} {}", state(port.state))).collect();
    Some(probe_faults::uplink_not_forwarding(&facts.bridge.name, &shown.join(", "), left.min()))
}

fn replies_to_others(facts: &Facts<'_>) -> Option<Error> {
    let counters = &facts.on_port.first()?.counters;
    let count = counters.other_clients.saturating_add(counters.other_exchanges);
    (count > 0).then(|| probe_faults::replies_to_others(place(facts), count))
}

fn silence(facts: &Facts<'_>) -> Error {
    let sent = facts.on_port.iter().map(|asked| asked.counters.sent).sum();
    let error = probe_faults::no_offer(place(facts), facts.question.timeout, sent)
        .evidence("an exhausted pool and a server for registered clients only look the same");
    match &facts.hypervisor {
        Some(vendor) => error.evidence(format!(
            "this node is a virtual machine ({vendor}): its hypervisor may drop frames with other source MACs, \
             or not deliver broadcasts; port groups need promiscuous mode and forged transmits"
        )),
        None => error,
    }
}

fn evidence(facts: &Facts<'_>) -> Vec<String> {
    let port = facts.on_port.iter().map(|asked| told("a temporary port", asked));
    let bridge = match &facts.at_bridge {
        Ok(asked) => asked.iter().map(|asked| told("the bridge device", asked)).collect(),
        Err(why) => vec![format!("not asked from the bridge device: {why}")],
    };
    let mut lines: Vec<String> = port.chain(bridge).collect();
    let uplinks: Vec<String> = facts.uplinks.iter().map(uplink_shown).collect();
    lines.push(format!(
        "uplinks: {}",
        if uplinks.is_empty() { "none".to_string() } else { uplinks.join(", ") }
    ));
    lines.extend(facts.traffic.iter().map(|(name, traffic)| {
        format!(
            "uplink {name} sent {} and received {} frames in the second half",
            traffic.sent, traffic.received
        )
    }));
    if let Some(bridge) = &facts.bridge.bridge {
        lines.push(format!(
            "STP {}, forward delay {} s, vlan_filtering {}",
            if bridge.stp { "on" } else { "off" },
            bridge.forward_delay,
            if bridge.vlan_filtering { "on" } else { "off" }
        ));
        lines.push(match facts.firewall.call_iptables {
            None => "br_netfilter is not loaded".to_string(),
            Some(on) => format!(
                "bridge-nf-call-iptables={}, nf_call_iptables of the bridge={}; legacy iptables tables: {}",
                u8::from(on),
                u8::from(bridge.nf_call_iptables),
                match facts.firewall.legacy_tables.as_slice() {
                    [] => "none".to_string(),
                    tables => tables.join(" "),
                }
            ),
        });
    }
    lines.extend(facts.firewall.hooks.iter().map(|hook| format!("nftables: {}", hook_shown(hook))));
    lines
}

/// One exchange in one line.
fn told(place: &str, asked: &Asked) -> String {
    let Asked { identity, answers, counters } = asked;
    let mut line = format!(
        "asked from {place} as {} (source {}): {} DISCOVERs sent, {} frames to DHCP clients seen",
        identity.chaddr, identity.source, counters.sent, counters.frames
    );
    for (count, what) in [
        (counters.other_exchanges + counters.other_clients, "replies to others"),
        (counters.malformed, "malformed"),
        (counters.refusals, "refusals"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    match answers.first() {
        Some(Answer { offer, after }) => line.push_str(&format!(
            "; offered {} by {} ({}) after {} ms",
            offer.address,
            offer.sender.server,
            offer.sender.mac,
            after.as_millis()
        )),
        None => line.push_str("; no offer"),
    }
    line
}

fn uplink_shown(uplink: &Uplink) -> String {
    let carrier = if uplink.link.carrier { "carrier" } else { "no carrier" };
    let state = uplink.link.port.map_or("no port", |port| state(port.state));
    let vlans = uplink.vlans.as_ref().map(|vlans| {
        let all = merged(vlans.untagged.iter().chain(&vlans.tagged).copied().collect());
        format!(", VLANs {}", all.iter().map(VlanRange::to_string).collect::<Vec<_>>().join(","))
    });
    format!("{} ({carrier}, {state}{})", uplink.link.name, vlans.unwrap_or_default())
}

fn hook_shown(hook: &FirewallHook) -> String {
    let policy = if hook.policy_drop { "drop" } else { "accept" };
    format!("table {} {}, chain {}, hook {}, policy {policy}", hook.family, hook.table, hook.chain, hook.hook)
}

fn state(state: PortState) -> &'static str {
    match state {
        PortState::Disabled => "disabled",
        PortState::Listening => "listening",
        PortState::Learning => "learning",
        PortState::Forwarding => "forwarding",
        PortState::Blocking => "blocking",
    }
}
