//! The steps of an attachment whose interface another plugin made: its host side joins the bridge, policy applies to it.

use crate::cni::request::Add;
use crate::error::Error;
use crate::net::{BridgeSeen, Link, MacAddress, PortVlans};
use crate::plan::faults;
use crate::plan::label::Label;
use crate::plan::marks::{self, Chained, ChainedPort};
use crate::plan::names;
use crate::plan::spec::{EnslaveSpec, PortSpec};
use crate::plan::step::Step;

/// What was seen of the previous plugin's attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its host side.
    pub port: Link,
    /// The VLANs of that port, where it is one already and its bridge filters.
    pub vlans: Option<PortVlans>,
    /// The container side's MAC.
    pub mac: Option<MacAddress>,
    /// The container side is up.
    pub inside_up: bool,
}

/// The steps, and whether the port has to be raised at their end.
///
/// # Errors
/// Code 7 where the interface is a port of another bridge, its container side is up and shall be down, or its MAC is
/// unknown and shall be checked.
pub fn attach(add: &Add, bridge: &Link, chain: &Chain) -> Result<Vec<Step>, Error> {
    let port = &chain.port;
    if add.conf.vm_mode && chain.inside_up {
        return Err(faults::container_side_is_up(add.attachment.ifname.as_str()));
    }
    let enslave = match port.master {
        None => true,
        Some(master) if master == bridge.index => false,
        Some(_) => return Err(faults::port_of_another_bridge(&port.name, &bridge.name)),
    };
    let owner = names::host_interface(&add.attachment);
    let label = Label::new(&add.network, &add.attachment, chain.mac, add.conf.vm_mode, add.pod.as_deref())
        .ruled_by(&add.conf);
    // A port must lower neither the bridge's MTU nor its MAC.
    let mtu = Some(bridge.mtu).filter(|mtu| port.mtu < *mtu);
    let lower = port.mac.filter(|mac| Some(*mac) < bridge.mac);
    let chained = match enslave {
        true => Chained {
            port: ChainedPort::Enslaved { up: port.up },
            former_mac: lower,
            former_mtu: mtu.map(|_| port.mtu),
        },
        false => Chained { port: ChainedPort::Joined, former_mac: None, former_mtu: None },
    };
    let label = label.of_chained(chained);
    // The names come first: what an ADD changes that is killed, DEL gives back by them.
    let mut steps = vec![Step::AddNames {
        port: port.name.clone(),
        index: port.index,
        names: vec![
            owner.clone(),
            marks::chained_mark(&owner, &chained),
            marks::facts_name(&owner, &label.facts()),
        ],
    }];
    // Another program's alias stays; the names are enough for DEL.
    let alias = match &port.alias {
        Some(theirs) if Label::from_alias(theirs).is_none() => theirs.clone(),
        _ => label.to_alias(),
    };
    if enslave {
        steps.push(Step::Enslave(EnslaveSpec {
            port: port.name.clone(),
            bridge: bridge.name.clone(),
            mtu,
            mac: lower.map(|mac| MacAddress::host_side(mac.octets())),
            before: port.clone(),
        }));
    }
    let spec =
        PortSpec { port: port.name.clone(), alias, hairpin: add.conf.hairpin, isolated: add.conf.isolated };
    steps.push(Step::MarkPort { spec, before: port.clone() });
    if let Some(spec) = super::vlan_step(add, &port.name, Some(bridge)) {
        steps.push(match &chain.vlans {
            Some(before) if !enslave => Step::ReplaceVlans { spec, before: before.clone() },
            _ => Step::SetVlans(spec),
        });
    }
    if add.conf.promiscuous {
        steps.push(Step::SetPromiscuous { bridge: bridge.name.clone() });
    }
    if add.conf.mac_spoof_check {
        let mac = chain.mac.or(add.mac).ok_or_else(|| faults::no_mac_to_check(&port.name))?;
        steps.push(Step::Protect { port: port.name.clone(), owner, mac });
    }
    if enslave && port.up {
        steps.push(Step::RaisePort { port: port.name.clone(), await_forwarding: port.carrier });
    }
    Ok(steps)
}

/// The bridge of a chained attachment, which is never created.
///
/// # Errors
/// Code 100.
pub fn bridge<'a>(add: &Add, seen: &'a BridgeSeen) -> Result<&'a Link, Error> {
    match seen {
        BridgeSeen::Present(link) => Ok(link),
        BridgeSeen::Missing { present } => Err(faults::bridge_missing(add.conf.bridge.as_str(), present)),
    }
}
