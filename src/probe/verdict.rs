//! From what was seen to what is wrong: the one cause that the facts prove, and the evidence for it. Pure.

use super::facts::{Asked, EXCHANGE_MIN, Facts};
use super::faults::Lost;
use super::witness::{Sight, vlans_shown};
use super::{dropper, evidence, faults};
use crate::dhcp::expected::Fit;
use crate::error::Error;
use crate::net::{FirewallHook, MacAddress, Vlans};
use crate::plan::faults::UPLINKS_MAX;
use crate::plan::uplink;

/// The cause, with the evidence.
pub fn verdict(facts: &Facts<'_>) -> Error {
    let cause = nothing_asked(facts)
        .or_else(|| bad_offer(facts))
        .or_else(|| other_identity(facts))
        .or_else(|| came_back(facts))
        .or_else(|| other_place(facts))
        .or_else(|| bad_reply(facts))
        .or_else(|| no_way_out(facts))
        .or_else(|| lost_here(facts))
        .or_else(|| not_on_the_wire(facts))
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

/// The port's own questions came in again.
fn came_back(facts: &Facts<'_>) -> Option<Error> {
    let sight = facts.witness.as_ref().ok()?.returned_by()?;
    Some(faults::frames_come_back(
        facts.question.place(),
        &sight.ifname,
        sight.port.returned + sight.device.returned,
    ))
}

/// Where on this node what the port asks ends; `None` where it does not, or nobody has seen it.
pub(super) fn lost(facts: &Facts<'_>) -> Option<Lost> {
    let witness = facts.witness.as_ref().ok()?;
    if witness.port_never_left() {
        let uplinks: Vec<&str> = witness.uplinks().map(|sight| sight.ifname.as_str()).collect();
        return Some(Lost::Question { uplinks: uplinks.join(" or ") });
    }
    let reached = facts.on_port.iter().any(|asked| {
        let Asked { answers, counters, .. } = asked;
        !answers.is_empty() || counters.refusals + counters.malformed + counters.tagged > 0
    });
    // An answer with another VLAN's tag is no answer to this question.
    let entered = |sight: &Sight| sight.port.answered > 0 && sight.port.answered_in == sight.port.left_in;
    let sight = witness.uplink(entered).filter(|_| !reached)?;
    Some(Lost::Answer { uplink: sight.ifname.clone() })
}

/// The question never left this node, or its answer ended here.
fn lost_here(facts: &Facts<'_>) -> Option<Error> {
    let lost = lost(facts)?;
    Some(faults::dropped_here(facts.question.place(), &lost, &dropper::find(facts, Some(&lost))))
}

/// Others are heard on the wire, but nobody in the VLAN that the question left in.
fn not_on_the_wire(facts: &Facts<'_>) -> Option<Error> {
    let witness = facts.witness.as_ref().ok()?;
    // Answers with another VLAN's tag say more.
    let (sight, vlan, heard) = witness.unheard_vlan().filter(|_| other_vlan(facts).is_none())?;
    let listened = facts.question.timeout / 2;
    Some(faults::vlan_not_on_wire(
        facts.question.place(),
        &sight.ifname,
        vlan,
        &vlans_shown(&heard),
        listened,
    ))
}

/// A client that asks from the bridge device is answered.
fn other_place(facts: &Facts<'_>) -> Option<Error> {
    let asked = facts.at_bridge.as_ref().ok()?;
    let answered = |asked: &&Asked| !asked.answers.is_empty();
    let own = |asked: &&Asked| Some(asked.identity.source) == facts.bridge.mac;
    if asked.iter().filter(|asked| !own(asked)).any(|asked| answered(&asked)) {
        let place = facts.question.place();
        let lost = lost(facts);
        let dropper = dropper::find(facts, lost.as_ref());
        return Some(match lost {
            Some(lost) => faults::dropped_here(place, &lost, &dropper)
                .evidence(format!("{} itself gets an offer", facts.bridge.name)),
            None => faults::bridged_frames_dropped(place, &dropper),
        });
    }
    let own = asked.iter().filter(own).find(answered)?;
    Some(faults::only_own_mac(own.identity.source, facts.question.place(), &own.answers.first()?.offer))
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
        None => faults::no_offer(place, timeout, sent, left_by(facts).as_deref()),
    };
    let error = match facts.guards.iter().find_map(|guarded| Some((&guarded.ifname, guarded.guards.xdp?))) {
        Some((uplink, id)) => faults::behind_xdp(error, uplink, id),
        None => error,
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
    let at_port = counters.last_tagged.map(|vlan| (counters.tagged, vlan));
    // A bridge that filters keeps them from the port.
    let at_uplink = || {
        let witness = facts.witness.as_ref().ok()?;
        let other = |sight: &Sight| sight.port.answered > 0 && sight.port.answered_in != sight.port.left_in;
        witness.uplink(other).map(|sight| (sight.port.answered, sight.port.answered_in))
    };
    at_port.or_else(at_uplink).filter(|(_, vlan)| *vlan != 0 && !own(vlan))
}

/// The uplinks by which the port's questions were seen to leave.
fn left_by(facts: &Facts<'_>) -> Option<String> {
    let witness = facts.witness.as_ref().ok()?;
    let left = witness.uplinks().filter(|sight| sight.port.left > 0).map(|sight| sight.ifname.as_str());
    let left: Vec<&str> = left.take(UPLINKS_MAX).collect();
    (!left.is_empty()).then(|| left.join(", "))
}

/// The chain that may drop what both places sent or got: one before or after the bridge, and where only a port was asked,
/// any. One of IP's that drops nothing by default is no suspect: nearly every node has some.
fn suspect<'a>(facts: &'a Facts<'_>) -> Option<&'a FirewallHook> {
    let through_ip = facts.bridge.bridge.as_ref().is_some_and(|bridge| facts.firewall.sees_frames_of(bridge));
    let met = |hook: &&FirewallHook| hook.hook != "forward" || facts.at_bridge.is_err();
    let may_drop = |hook: &&FirewallHook| hook.family == "bridge" || (through_ip && hook.policy_drop);
    // What was seen to leave, and whose answer never entered, no rule of this node has dropped.
    if left_by(facts).is_some() {
        return None;
    }
    facts.firewall.hooks.iter().filter(met).find(may_drop)
}

#[cfg(test)]
mod tests;
