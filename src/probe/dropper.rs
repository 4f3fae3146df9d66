//! What of the node drops a frame that was lost on it: the likeliest of all that it meets on its way, and what to do about it.
//! Pure.

use super::facts::{Facts, Guarded};
use super::faults::{Dropper, Lost};
use crate::net::{FirewallHook, IPTABLES_OPENING, Link, Port};

/// How likely a suspect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// It is there, and nobody sees what it does.
    There,
    /// It drops something.
    Drops,
    /// It acts on frames at that place.
    Acts,
    /// What it is not told of is dropped.
    ByDefault,
    /// It has dropped frames meanwhile.
    HasDropped,
    /// It drops just these.
    These,
}

struct Suspect {
    weight: Weight,
    dropper: Dropper,
}

/// The dropper; where nothing was found, where to look.
pub(super) fn find(facts: &Facts<'_>, lost: Option<&Lost>) -> Dropper {
    let mut suspects = flags(facts, lost);
    suspects.extend(hooks(facts, lost));
    suspects.extend(facts.guards.iter().flat_map(|guarded| interface(guarded, lost)));
    suspects.extend(legacy(facts));
    let mut likeliest: Option<Suspect> = None;
    for suspect in suspects {
        // Of equals the one that the frame meets first.
        if likeliest.as_ref().is_none_or(|other| suspect.weight > other.weight) {
            likeliest = Some(suspect);
        }
    }
    likeliest.map_or_else(nothing_found, |suspect| suspect.dropper)
}

fn nothing_found() -> Dropper {
    Dropper {
        cause: "nothing was found that does".to_string(),
        remedy: "look for eBPF programs and the legacy ebtables on the ports: bpftool net show, ebtables-legacy -L"
            .to_string(),
    }
}

/// Flags of the ports that the frame must pass.
fn flags(facts: &Facts<'_>, lost: Option<&Lost>) -> Vec<Suspect> {
    let answer = matches!(lost, Some(Lost::Answer { .. }));
    let mut suspects = Vec::new();
    let mut suspect = |cause: String, remedy: String| {
        suspects.push(Suspect { weight: Weight::These, dropper: Dropper { cause, remedy } });
    };
    if facts.question.isolated
        && let Some(port) = leads_through(facts, |port| port.isolated)
    {
        let cause = format!("\"portIsolation\" is set and port {port} is isolated, too");
        suspect(cause, format!("bridge link set dev {port} isolated off"));
    }
    if !answer && let Some(port) = leads_through(facts, |port| !port.broadcast_flood) {
        suspect(
            format!("port {port} has bcast_flood off"),
            format!("bridge link set dev {port} bcast_flood on"),
        );
    }
    if answer && let Some(port) = leads_through(facts, |port| port.locked) {
        let cause = format!("port {port} is locked: it lets in only sources that the bridge was told of");
        suspect(cause, format!("bridge link set dev {port} locked off"));
    }
    suspects
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

/// Chains of nftables that the frame meets, in the order in which it meets them.
fn hooks(facts: &Facts<'_>, lost: Option<&Lost>) -> Vec<Suspect> {
    let shown_to_ip =
        facts.bridge.bridge.as_ref().is_some_and(|bridge| facts.firewall.sees_frames_of(bridge));
    let met = |hook: &&FirewallHook| match (hook.hook, hook.family) {
        ("ingress", _) => matches!(lost, Some(Lost::Answer { uplink }) if hook.devices.contains(uplink)),
        ("egress", _) => {
            let of_uplink = |device: &String| facts.uplinks.iter().any(|uplink| uplink.link.name == *device);
            matches!(lost, Some(Lost::Question { .. })) && hook.devices.iter().any(of_uplink)
        }
        (_, "bridge") => true,
        _ => shown_to_ip,
    };
    // Between two ports, and not between one and the bridge device.
    let way = match facts.device_is_answered() {
        true => ["forward", "ingress", "prerouting", "postrouting", "egress"],
        false => ["ingress", "prerouting", "forward", "postrouting", "egress"],
    };
    let mut met: Vec<&FirewallHook> = facts.firewall.hooks.iter().filter(met).collect();
    met.sort_by_key(|hook| way.iter().position(|place| *place == hook.hook));
    let suspects = met.into_iter().filter_map(|hook| {
        let weight = match &hook.rule {
            Some(rule) if rule.of_dhcp => Weight::These,
            _ if hook.policy_drop => Weight::ByDefault,
            Some(_) => Weight::Drops,
            None => return None,
        };
        Some(Suspect { weight, dropper: of_hook(facts, hook) })
    });
    suspects.collect()
}

fn of_hook(facts: &Facts<'_>, hook: &FirewallHook) -> Dropper {
    let opening = hook.opening(&facts.bridge.name);
    let policy = if hook.policy_drop && hook.culprit() == hook.owner() { "policy drop of " } else { "" };
    let through_ip = !matches!(hook.hook, "ingress" | "egress") && hook.family != "bridge";
    if !through_ip {
        let cause = format!("nftables hook {} of {policy}{}", hook.hook, hook.culprit());
        return Dropper { cause, remedy: opening };
    }
    Dropper {
        cause: format!("br_netfilter: {policy}{}", hook.culprit()),
        remedy: format!("{opening}, or{}", unshown(facts)),
    }
}

/// What keeps the bridge's frames from iptables and the IP hooks of nftables.
fn unshown(facts: &Facts<'_>) -> String {
    let everywhere = facts.firewall.call_iptables == Some(true);
    let per_bridge = facts.bridge.bridge.as_ref().is_some_and(|bridge| bridge.nf_call_iptables);
    // One of them is enough to show the frames.
    let off = [
        (everywhere, "sysctl -w net.bridge.bridge-nf-call-iptables=0".to_string()),
        (per_bridge, format!("ip link set {} type bridge nf_call_iptables 0", facts.bridge.name)),
    ];
    let off: Vec<String> = off.into_iter().filter_map(|(on, command)| on.then_some(command)).collect();
    // Off for the whole node, it would cut pods off from services.
    let unless = if everywhere { ", where no Kubernetes needs it on for its service addresses" } else { "" };
    format!("{unless}: {}", off.join("; "))
}

/// What an uplink does with its frames, apart from nftables.
fn interface(guarded: &Guarded, lost: Option<&Lost>) -> Vec<Suspect> {
    let Guarded { ifname, guards, .. } = guarded;
    let egress = match lost {
        Some(Lost::Question { .. }) => true,
        Some(Lost::Answer { uplink }) if uplink == ifname => false,
        _ => return Vec::new(),
    };
    let way = if egress { "egress" } else { "ingress" };
    let mut suspects = Vec::new();
    let mut suspect = |weight, cause: String, remedy: String| {
        suspects.push(Suspect { weight, dropper: Dropper { cause, remedy } });
    };
    if let Some((kind, _)) = guards.queue.as_ref().filter(|_| egress && guarded.queue_drops > 0) {
        suspect(
            Weight::HasDropped,
            format!("qdisc {kind} of {ifname} dropped {} frames meanwhile", guarded.queue_drops),
            format!("give it more room or rate: tc -s qdisc show dev {ifname}"),
        );
    }
    for filter in guards.filters.iter().filter(|filter| filter.egress == egress) {
        suspect(
            Weight::Acts,
            format!("tc filter {} on {ifname} {way}, pref {}", filter.kind, filter.preference),
            format!(
                "tc -s filter show dev {ifname} {way}; if it drops them: tc filter del dev {ifname} {way} pref {}",
                filter.preference
            ),
        );
    }
    suspects
}

/// What does not show its rules to others.
fn legacy(facts: &Facts<'_>) -> Vec<Suspect> {
    let mut suspects = Vec::new();
    let shown_to_ip =
        facts.bridge.bridge.as_ref().is_some_and(|bridge| facts.firewall.sees_frames_of(bridge));
    // A table that translates addresses only drops nothing.
    if shown_to_ip && facts.firewall.legacy_tables.iter().any(|table| table != "nat") {
        let dropper = Dropper {
            cause: "br_netfilter: iptables' FORWARD chain".to_string(),
            remedy: format!("{IPTABLES_OPENING}, or{}", unshown(facts)),
        };
        suspects.push(Suspect { weight: Weight::Drops, dropper });
    }
    if facts.firewall.legacy_ebtables {
        let dropper = Dropper {
            cause: "nothing was found but ebtables-legacy, whose rules it alone shows".to_string(),
            remedy:
                "ebtables-legacy -t filter -L --Lc shows which rule counts; ebtables-legacy -D removes it"
                    .to_string(),
        };
        suspects.push(Suspect { weight: Weight::There, dropper });
    }
    suspects
}
