//! Whether frames of the attachment can leave the node: the verdict over the bridge's uplinks.

use crate::plan::facts::{Bridge, Link, Port, PortState, Uplink};
use crate::report::{Error, faults, probe_faults};
use crate::request::vlan::{VlanRange, Vlans, merged};

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
    Err(faults::vlan_not_on_uplink(name, &merged(missing), &shown, &first.link.name))
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
    if !bridge.stp {
        return Err(probe_faults::uplink_switched_off(name, &shown, &first.name));
    }
    let left = states.iter().filter_map(|(_, port)| {
        let timer = port.forward_timer.div_ceil(100);
        match port.state {
            PortState::Listening => Some(timer + u64::from(bridge.forward_delay)),
            PortState::Learning => Some(timer),
            _ => None,
        }
    });
    Err(probe_faults::uplink_blocked(name, &shown, left.min()))
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
    use crate::plan::facts::PortVlans;

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
}
