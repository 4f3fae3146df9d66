//! Whether frames of the attachment can leave the node: the verdict over the bridge's uplinks.

use crate::error::Error;
use crate::net::vlan::merged;
use crate::net::{Bridge, Link, Port, PortState, Stp, Uplink, VlanRange, Vlans};
use crate::plan::faults;

/// The VLANs that uplinks must carry for this attachment; empty where the bridge does not filter.
fn wanted(vlans: Option<&Vlans>, bridge: &Bridge) -> Vec<VlanRange> {
    match vlans {
        _ if !bridge.vlan_filtering => Vec::new(),
        None => vec![VlanRange::single(bridge.default_pvid)],
        // The native VLAN of a trunk is often the node's own affair: only tagged ones are asked of the uplink.
        Some(vlans) if vlans.tagged.is_empty() => vec![VlanRange::single(vlans.native)],
        Some(vlans) => vlans.tagged.clone(),
    }
}

/// Judges the uplinks of `name`.
///
/// # Errors
/// Code 105 without an uplink, 106 without carrier on any, 104 where a VLAN is on none that has carrier, and where the
/// attachment is in none.
pub fn judge(name: &str, bridge: &Bridge, vlans: Option<&Vlans>, uplinks: &[Uplink]) -> Result<(), Error> {
    if uplinks.is_empty() {
        return Err(faults::no_uplink(name));
    }
    let alive: Vec<&Uplink> = uplinks.iter().filter(|uplink| uplink.link.carrier).collect();
    let Some(first) = alive.first() else {
        let names: Vec<String> = uplinks.iter().map(|uplink| uplink.link.name.clone()).collect();
        return Err(faults::uplink_no_carrier(name, &names));
    };
    if vlans.is_none() && bridge.vlan_filtering && bridge.default_pvid == 0 {
        let shown: Vec<String> = alive.iter().map(|uplink| describe(uplink)).collect();
        return Err(faults::no_default_vlan(name, &shown));
    }
    let carried =
        |id: u16| alive.iter().any(|uplink| uplink.vlans.as_ref().is_none_or(|vlans| vlans.contains(id)));
    let missing: Vec<VlanRange> = wanted(vlans, bridge)
        .iter()
        .flat_map(|range| range.first..=range.last)
        .filter(|id| !carried(*id))
        .map(VlanRange::single)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = alive.iter().map(|uplink| describe(uplink)).collect();
    // Another VLAN's untagged frames stay that VLAN's.
    let untagged =
        first.vlans.as_ref().is_none_or(|vlans| vlans.pvid.is_none()).then_some(bridge.default_pvid);
    let error = faults::vlan_not_on_uplink(name, &merged(missing), &shown, &first.link.name, untagged);
    let flags = alive.iter().filter_map(|uplink| Some((&uplink.link.name, uplink.vlans.as_ref()?)));
    Err(flags
        .take(faults::UPLINKS_MAX)
        .fold(error, |error, (name, vlans)| error.evidence(format!("VLANs of uplink {name}: {vlans}"))))
}

/// What is seldom meant, but may be: a switch can be set up for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What was seen.
    pub fact: String,
    /// What to do about it.
    pub remedy: String,
}

/// A VLAN of the attachment whose frames leave the uplinks with carrier otherwise than they are to come in: untagged in
/// one direction only.
pub fn doubt(bridge: &Bridge, vlans: Option<&Vlans>, uplinks: &[Uplink]) -> Option<Doubt> {
    let carrying = |id: u16| {
        let alive = uplinks.iter().filter(|uplink| uplink.link.carrier);
        let vlans = alive.filter_map(|uplink| Some((uplink.link.name.as_str(), uplink.vlans.as_ref()?)));
        vlans.filter(move |(_, vlans)| vlans.contains(id))
    };
    let wanted = wanted(vlans, bridge);
    let mut ids = wanted.iter().flat_map(|range| range.first..=range.last);
    let (id, (uplink, vlans)) = ids.find_map(|id| {
        let first = carrying(id).next()?;
        carrying(id).all(|(_, vlans)| !vlans.is_symmetric(id)).then_some((id, first))
    })?;
    let fact = match vlans.pvid {
        Some(pvid) if pvid == id => {
            format!("leaves uplink {uplink} tagged, but untagged frames come in to it")
        }
        Some(pvid) => format!("leaves uplink {uplink} untagged, but untagged frames come in to VLAN {pvid}"),
        None => format!("leaves uplink {uplink} untagged, but untagged frames that come in are dropped"),
    };
    let command = format!("bridge vlan add dev {uplink} vid {id}");
    Some(Doubt {
        fact: format!("VLAN {id} {fact}"),
        remedy: format!(
            "where the switch port has VLAN {id} untagged: {command} pvid untagged; where it has it tagged: {command}"
        ),
    })
}

/// Judges whether frames pass the uplinks of `name` that have carrier.
///
/// # Errors
/// Code 115 where none forwards.
pub fn forwards(name: &str, bridge: &Bridge, uplinks: &[Uplink]) -> Result<(), Error> {
    let alive = uplinks.iter().map(|uplink| &uplink.link).filter(|link| link.carrier);
    let states: Vec<(&Link, Port)> = alive.filter_map(|link| Some((link, link.port?))).collect();
    let Some((first, _)) = states.first() else { return Ok(()) };
    if states.iter().any(|(_, port)| port.state == PortState::Forwarding) {
        return Ok(());
    }
    let shown: Vec<String> =
        states.iter().map(|(link, port)| format!("{} {}", link.name, port.state)).collect();
    if bridge.stp == Stp::Off {
        return Err(faults::uplink_switched_off(name, &shown, &first.name));
    }
    // The kernel's timers say nothing about a daemon's plans.
    let timed = states.iter().filter(|_| bridge.stp == Stp::Kernel);
    let left = timed.filter_map(|(_, port)| {
        let timer = port.forward_timer.div_ceil(100);
        match port.state {
            PortState::Listening => Some(timer + u64::from(bridge.forward_delay)),
            PortState::Learning => Some(timer),
            _ => None,
        }
    });
    Err(faults::uplink_blocked(name, &shown, left.min()))
}

/// The uplink with its VLANs, as in `bond0[1,20-30]`.
fn describe(uplink: &Uplink) -> String {
    let Some(vlans) = &uplink.vlans else { return uplink.link.name.clone() };
    let all = vlans.all();
    let carried = if all.is_empty() { "none".to_string() } else { VlanRange::listed(&all) };
    format!("{}[{carried}]", uplink.link.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::net::PortVlans;

    fn in_state(state: PortState) -> Uplink {
        let port = Port { forward_timer: 100, ..Port::plain(state) };
        Uplink { link: Link { port: Some(port), ..Link::plain("ens192") }, vlans: None }
    }

    #[test]
    fn a_daemons_spanning_tree_is_on() {
        let uplink = in_state(PortState::Listening);
        let bridge = Bridge { stp: Stp::Daemon, forward_delay: 15, ..Bridge::default() };
        let error = forwards("br0", &bridge, &[uplink]).unwrap_err();
        assert_eq!(error.code, Code::NotForwarding);
        assert!(error.msg().ends_with("(ens192 listening): STP blocks it"), "{}", error.msg());
    }

    #[test]
    fn the_remedy_brings_every_missing_vlan_to_an_uplink() {
        let link = Link::plain("ens192");
        let uplink = Uplink { link, vlans: Some(PortVlans::default()) };
        let bridge = Bridge { vlan_filtering: true, default_pvid: 1, ..Bridge::default() };
        let tagged = vec![VlanRange::single(5), VlanRange { first: 10, last: 20 }];
        let vlans = Vlans { native: 1, tagged, keep_default: true };
        let error = judge("br0", &bridge, Some(&vlans), &[uplink]).unwrap_err();
        assert_eq!(
            error.advice(),
            Some("bridge vlan add dev ens192 vid 5; bridge vlan add dev ens192 vid 10-20")
        );
    }

    fn uplink(pvid: Option<u16>, untagged: &[u16], tagged: &[u16]) -> Uplink {
        let ranges = |ids: &[u16]| ids.iter().map(|id| VlanRange::single(*id)).collect();
        let vlans = PortVlans { pvid, untagged: ranges(untagged), tagged: ranges(tagged) };
        Uplink { link: Link::plain("ens192"), vlans: Some(vlans) }
    }

    fn filtering() -> Bridge {
        Bridge { vlan_filtering: true, default_pvid: 1, ..Bridge::default() }
    }

    #[test]
    fn what_an_uplink_without_carrier_would_let_pass_does_not_count() {
        let dead = |uplink: Uplink| Uplink { link: Link { carrier: false, ..uplink.link }, ..uplink };
        let carrying = [dead(uplink(Some(1), &[1], &[120])), uplink(None, &[], &[120])];
        assert_eq!(judge("br0", &filtering(), None, &carrying).unwrap_err().code, Code::VlanNotOnUplink);
        let forwarding = [dead(in_state(PortState::Forwarding)), in_state(PortState::Disabled)];
        let error = forwards("br0", &Bridge::default(), &forwarding).unwrap_err();
        assert_eq!(error.code, Code::NotForwarding);
    }

    #[test]
    fn the_default_vlan_comes_untagged_to_an_uplink_that_has_no_untagged_one() {
        let advice = |uplink| {
            let error = judge("br0", &filtering(), None, &[uplink]).unwrap_err();
            (error.advice().unwrap().to_string(), error.observations().join("; "))
        };
        let (remedy, seen) = advice(uplink(None, &[], &[120]));
        assert_eq!(remedy, "bridge vlan add dev ens192 vid 1 pvid untagged");
        assert_eq!(seen, "VLANs of uplink ens192: 120");
        let (remedy, seen) = advice(uplink(Some(10), &[10], &[120]));
        assert_eq!(remedy, "bridge vlan add dev ens192 vid 1");
        assert_eq!(seen, "VLANs of uplink ens192: 10 (pvid untagged), 120");
    }

    #[test]
    fn a_vlan_that_is_untagged_one_way_only_is_doubted_unless_another_uplink_has_it_whole() {
        let half = [
            (uplink(None, &[1], &[]), "untagged frames that come in are dropped"),
            (uplink(Some(10), &[1, 10], &[]), "untagged frames come in to VLAN 10"),
            (uplink(Some(1), &[], &[1]), "leaves uplink ens192 tagged, but untagged frames come in to it"),
        ];
        for (uplink, fact) in half {
            let doubt = doubt(&filtering(), None, std::slice::from_ref(&uplink)).unwrap();
            assert!(doubt.fact.contains(fact), "{}", doubt.fact);
            assert!(
                doubt.remedy.contains("bridge vlan add dev ens192 vid 1 pvid untagged"),
                "{}",
                doubt.remedy
            );
            let whole = [uplink, self::uplink(None, &[], &[1])];
            assert_eq!(super::doubt(&filtering(), None, &whole), None);
        }
        assert_eq!(doubt(&filtering(), None, &[uplink(Some(1), &[1], &[])]), None);
        assert_eq!(doubt(&Bridge::default(), None, &[uplink(None, &[1], &[])]), None);
    }
}
