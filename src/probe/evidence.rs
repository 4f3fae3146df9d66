//! The evidence behind a verdict: what was asked and heard, and the node's state. Pure.

use super::facts::{Asked, Facts, Guarded};
use crate::dhcp::exchange::Answer;
use crate::net::{FirewallHook, Uplink};
use crate::plan::faults::UPLINKS_MAX;

/// What was seen, one line each, whatever the cause.
pub(super) fn lines(facts: &Facts<'_>) -> Vec<String> {
    let port = facts.on_port.iter().map(|asked| told("a temporary port", asked));
    let bridge = match &facts.at_bridge {
        Ok(asked) => asked.iter().map(|asked| told("the bridge device", asked)).collect(),
        Err(why) => vec![format!("not asked from the bridge device: {why}")],
    };
    let mut lines: Vec<String> = port.chain(bridge).collect();
    let (alive, dead): (Vec<_>, Vec<_>) = facts.uplinks.iter().partition(|uplink| uplink.link.carrier);
    let uplinks: Vec<&Uplink> = alive.into_iter().chain(dead).take(UPLINKS_MAX).collect();
    let mut shown: Vec<String> = uplinks.iter().map(|uplink| uplink_shown(uplink)).collect();
    if facts.uplinks.len() > UPLINKS_MAX {
        shown.push(format!("and {} more", facts.uplinks.len() - UPLINKS_MAX));
    }
    lines.push(format!("uplinks: {}", if shown.is_empty() { "none".to_string() } else { shown.join(", ") }));
    let of_these = |name: &str| uplinks.iter().any(|uplink| uplink.link.name == name);
    lines.extend(facts.traffic.iter().filter(|(name, _)| of_these(name)).map(|(name, traffic)| {
        format!(
            "uplink {name} sent {} and received {} frames in the second half",
            traffic.sent, traffic.received
        )
    }));
    match &facts.witness {
        Ok(witness) => lines.extend(witness.lines()),
        Err(why) => lines.push(format!("nobody listened at the uplinks: {why}")),
    }
    if let Some(bridge) = &facts.bridge.bridge {
        lines.push(format!(
            "STP {}, forward delay {} s, vlan_filtering {}",
            bridge.stp,
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
    lines.extend(facts.guards.iter().flat_map(guarded));
    lines
}

/// What of an uplink may drop frames, and did.
fn guarded(guarded: &Guarded) -> Vec<String> {
    let Guarded { ifname, guards, receive_drops, send_drops, .. } = guarded;
    let mut lines = Vec::new();
    if receive_drops + send_drops > 0 {
        lines.push(format!(
            "uplink {ifname} dropped {receive_drops} received frames and {send_drops} to be sent in the second half"
        ));
    }
    lines.extend(guards.filters.iter().map(|filter| {
        let way = if filter.egress { "egress" } else { "ingress" };
        format!("tc: filter {} on {ifname} {way}, pref {}", filter.kind, filter.preference)
    }));
    lines.extend(guards.physical_function.iter().map(|function| {
        format!(
            "uplink {ifname} is a virtual function of {function}: its NIC drops frames of other MACs unless it is trusted and not checked (ip link set {function} vf N spoofchk off trust on)"
        )
    }));
    lines
}

/// One exchange in one line.
fn told(place: &str, asked: &Asked) -> String {
    let Asked { identity, answers, counters } = asked;
    let mut line = format!(
        "asked from {place} as {} (source {}): DISCOVERs sent: {}, frames to DHCP clients seen: {}",
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
    if let Some(vlan) = counters.last_tagged {
        line.push_str(&format!(", {} replies tagged VLAN {vlan}", counters.tagged));
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
    let state = uplink.link.port.map_or("no port".to_string(), |port| port.state.to_string());
    let vlans = uplink.vlans.as_ref().map(|vlans| format!(", VLANs {vlans}"));
    format!("{} ({carrier}, {state}{})", uplink.link.name, vlans.unwrap_or_default())
}

fn hook_shown(hook: &FirewallHook) -> String {
    let policy = if hook.policy_drop { "drop" } else { "accept" };
    let drops = hook.rule.as_ref().map(|rule| format!(", a rule of chain {} drops", rule.chain));
    format!("{}, hook {}, policy {policy}{}", hook.owner(), hook.hook, drops.unwrap_or_default())
}
