//! From what was seen to what is wrong: the one cause that the facts prove, and the evidence for it. Pure.

use super::facts::{Asked, EXCHANGE_MIN, Facts};
use super::{evidence, faults};
use crate::dhcp::expected::Fit;
use crate::error::Error;
use crate::net::{FirewallHook, IPTABLES_OPENING, Link, MacAddress, Port, Vlans};
use crate::plan::uplink;

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
    (!proves).then(|| faults::no_time(facts.question.place(), facts.question.timeout))
}

/// Offers came, but none from where or of what was expected.
fn bad_offer(facts: &Facts<'_>) -> Option<Error> {
    let expected = &facts.question.expected;
    let offers = || facts.on_port.first().into_iter().flat_map(|asked| &asked.answers);
    let of = |fit| offers().map(|answer| &answer.offer).find(|offer| expected.fit(offer) == fit);
    // An allowed server with the wrong pool is the better news: no need to look for a stranger.
    of(Fit::OtherSubnet)
        .map(|offer| faults::wrong_subnet(facts.question.place(), offer, &expected.subnets))
        .or_else(|| {
            of(Fit::OtherServer)
                .map(|offer| faults::rogue_server(facts.question.place(), offer, &expected.servers))
        })
}

/// Through the same port, another client is answered.
fn other_identity(facts: &Facts<'_>) -> Option<Error> {
    let [asked, second] = facts.on_port.as_slice() else { return None };
    let answer = second.answers.first()?;
    let (client, source) = (asked.identity.chaddr, second.identity.chaddr);
    let denied = match stranger_unanswered(facts, source) {
        Some(own) => faults::only_probe_answered(client, source, own, facts.question.place(), &answer.offer),
        None => faults::mac_denied(client, source, facts.question.place(), &answer.offer),
    };
    Some(denied)
}

/// The bridge's own MAC, if its question from the bridge device, where the probe's is answered, is not: a server that
/// answers the probe's address may hold an offer for it since an earlier probe, and have nothing for anyone else.
fn stranger_unanswered(facts: &Facts<'_>, source: MacAddress) -> Option<MacAddress> {
    let asked = facts.at_bridge.as_ref().ok()?;
    let of = |mac| asked.iter().find(move |asked| asked.identity.chaddr == mac);
    let own = of(facts.bridge.mac?).filter(|own| own.counters.sent > 0 && own.answers.is_empty())?;
    of(source).filter(|probe| !probe.answers.is_empty()).map(|_| own.identity.chaddr)
}

/// A client that asks from the bridge device is answered.
fn other_place(facts: &Facts<'_>) -> Option<Error> {
    let asked = facts.at_bridge.as_ref().ok()?;
    let answered = |asked: &&Asked| !asked.answers.is_empty();
    let own = |asked: &&Asked| Some(asked.identity.source) == facts.bridge.mac;
    if asked.iter().filter(|asked| !own(asked)).any(|asked| answered(&asked)) {
        let (cause, remedy) = dropper(facts);
        return Some(faults::bridged_frames_dropped(facts.question.place(), &cause, &remedy));
    }
    let own = asked.iter().filter(own).find(answered)?;
    Some(faults::only_own_mac(own.identity.source, facts.question.place(), &own.answers.first()?.offer))
}

/// What most likely drops bridged frames, and what to do about it.
fn dropper(facts: &Facts<'_>) -> (String, String) {
    if facts.question.isolated
        && let Some(port) = leads_through(facts, |port| port.isolated)
    {
        return (
            format!("\"portIsolation\" is set and port {port} is isolated, too"),
            format!("bridge link set dev {port} isolated off"),
        );
    }
    if let Some(port) = leads_through(facts, |port| !port.broadcast_flood) {
        return (
            format!("port {port} has bcast_flood off"),
            format!("bridge link set dev {port} bcast_flood on"),
        );
    }
    let firewall = &facts.firewall;
    let bridge = facts.bridge.bridge.as_ref();
    let shown_to_ip = bridge.is_some_and(|bridge| firewall.sees_frames_of(bridge));
    let of_bridge = |hook: &&FirewallHook| hook.family == "bridge";
    let of_ip = |hook: &&FirewallHook| shown_to_ip && hook.family != "bridge";
    let forward = |hook: &&FirewallHook| of_ip(hook) && hook.hook == "forward";
    let hooks = || firewall.hooks.iter();
    // A chain that drops by default is a better suspect than a chain that merely exists.
    let dropping = hooks().filter(|hook| hook.policy_drop).find(|hook| of_bridge(hook) || of_ip(hook));
    if let Some(hook) = dropping.or_else(|| hooks().find(of_bridge)).filter(of_bridge) {
        return (
            format!("nftables hook {} of {}", hook.hook, hook.owner()),
            hook.opening(&facts.bridge.name),
        );
    }
    // A table that translates addresses only drops nothing.
    let of_iptables = shown_to_ip && firewall.legacy_tables.iter().any(|table| table != "nat");
    if of_iptables || hooks().any(|hook| of_ip(&hook)) {
        let everywhere = firewall.call_iptables == Some(true);
        let per_bridge = bridge.is_some_and(|bridge| bridge.nf_call_iptables);
        let switch = if everywhere { "bridge-nf-call-iptables" } else { "nf_call_iptables of the bridge" };
        // Before and after FORWARD, most chains translate addresses and drop nothing.
        let other = || hooks().find(of_ip).filter(|_| !of_iptables);
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
        // Off for the whole node, it would cut pods off from services.
        let unless =
            if everywhere { ", where no Kubernetes needs it on for its service addresses" } else { "" };
        return (format!("br_netfilter: {switch} is 1, {whose}"), format!("{opening}, or{unless}: {off}"));
    }
    (
        "no rule of nftables or iptables meets them".to_string(),
        "look for tc filters, eBPF programs and ebtables on the ports: tc filter show, ebtables -L"
            .to_string(),
    )
}

/// The port of this kind that the question must leave through: the one that the answer to the bridge device came in by,
/// or, where the bridge did not learn that, its uplinks if all are.
fn leads_through<'a>(facts: &'a Facts<'_>, kind: impl Fn(&Port) -> bool) -> Option<&'a str> {
    let kind = |link: &Link| link.port.as_ref().is_some_and(&kind);
    let link = match &facts.answering {
        Some(link) => Some(link).filter(|link| kind(link)),
        None if facts.uplinks.iter().all(|uplink| kind(&uplink.link)) => {
            facts.uplinks.first().map(|uplink| &uplink.link)
        }
        None => None,
    };
    link.map(|link| link.name.as_str())
}

/// A server answers this client, but not with an offer.
fn bad_reply(facts: &Facts<'_>) -> Option<Error> {
    facts.on_port.iter().find_map(|asked| {
        let counters = &asked.counters;
        let refusal = counters.last_refusal.as_ref();
        let malformed = counters.last_malformed.as_ref();
        refusal
            .map(|refusal| faults::refused(facts.question.place(), asked.identity.chaddr, refusal))
            .or_else(|| {
                malformed.map(|what| faults::malformed(facts.question.place(), counters.malformed, what))
            })
    })
}

/// DHCP is asked untagged: only the native VLAN counts.
fn native(facts: &Facts<'_>) -> Option<Vlans> {
    let vlans = facts.question.vlans.as_ref()?;
    Some(Vlans { native: vlans.native, tagged: Vec::new(), keep_default: vlans.keep_default })
}

/// The uplinks cannot carry the question off the node.
fn no_way_out(facts: &Facts<'_>) -> Option<Error> {
    let bridge = facts.bridge.bridge.as_ref()?;
    let native = native(facts);
    let judged = uplink::judge(&facts.bridge.name, bridge, native.as_ref(), &facts.uplinks);
    judged.and_then(|()| uplink::forwards(&facts.bridge.name, bridge, &facts.uplinks)).err()
}

fn replies_to_others(facts: &Facts<'_>) -> Option<Error> {
    let counters = &facts.on_port.first()?.counters;
    let count = counters.other_clients.saturating_add(counters.other_exchanges);
    (count > 0).then(|| faults::replies_to_others(facts.question.place(), count))
}

fn silence(facts: &Facts<'_>) -> Error {
    let sent = facts.on_port.iter().map(|asked| asked.counters.sent).sum();
    let (place, timeout) = (facts.question.place(), facts.question.timeout);
    let error = match other_vlan(facts) {
        Some((count, vlan)) => faults::tagged_only(place, count, vlan),
        None => faults::no_offer(place, timeout, sent),
    };
    let error = error.evidence("an exhausted pool and a server for registered clients only look the same");
    let error = match (suspect(facts), error.advice().map(str::to_string)) {
        (Some(hook), Some(advice)) => error.remedy(format!(
            "{advice}; unless this node's own rules drop it: {}",
            hook.opening(&facts.bridge.name)
        )),
        _ => error,
    };
    let doubt = facts.bridge.bridge.as_ref();
    let doubt = doubt.and_then(|bridge| uplink::doubt(bridge, native(facts).as_ref(), &facts.uplinks));
    let error = match doubt {
        Some(doubt) => error.evidence(doubt.fact).remedy(doubt.remedy),
        None => error,
    };
    match &facts.hypervisor {
        Some(vendor) => error.evidence(format!(
            "this node is a virtual machine ({vendor}): its hypervisor may drop frames with other source MACs, \
             or not deliver broadcasts; port groups need promiscuous mode and forged transmits"
        )),
        None => error,
    }
}

/// How many replies came with the tag of a VLAN that the attachment is not in, and which.
fn other_vlan(facts: &Facts<'_>) -> Option<(u32, u16)> {
    let counters = &facts.on_port.first()?.counters;
    let own = |vlan: &u16| facts.question.vlans.as_ref().is_some_and(|vlans| vlans.contains(*vlan));
    counters.last_tagged.filter(|vlan| !own(vlan)).map(|vlan| (counters.tagged, vlan))
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
mod tests;
