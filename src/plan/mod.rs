//! What a request means: facts and request in, steps out; no I/O.
//!
//! - `mod.rs`: an attachment with a pair of its own, and which VLANs its port gets (fresh MACs come from `kernel::random`); [`chained`]: one behind another plugin.
//! - [`names`], [`marks`], [`label`]: how an attachment is called in the kernel; [`owner`]: whose a link is.
//! - [`addresses`], [`gateway`]: what IPAM's answer means for the container and for the bridge.
//! - [`uplink`]: whether frames can leave the node.
//! - [`step`], [`spec`], [`undo`]: what is to be done, what it is done to, and how it is taken back.
//! - [`faults`]: the words for what cannot be planned.

pub mod addresses;
pub mod chained;
pub mod faults;
pub mod gateway;
pub mod label;
pub mod marks;
pub mod names;
pub mod owner;
pub mod spec;
pub mod step;
pub mod undo;
pub mod uplink;

use std::time::Duration;

use crate::cni::config::NetConf;
use crate::cni::request::Add;
use crate::error::{Code, Error};
use crate::net::{BridgeSeen, Link, MacAddress, Stp, Vlans};
use crate::plan::label::Label;
use crate::plan::marks::{facts_name, mac_claim, pair_mark};
use crate::plan::spec::{BridgeSpec, PortSpec, VethSpec, VlanSpec};
use crate::plan::step::Step;

/// The kernel's default PVID of a new bridge.
const DEFAULT_PVID: u16 = 1;

/// What ADD will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The host side's name.
    pub host: String,
    /// The host side's MAC.
    pub host_mac: MacAddress,
    /// The container side's MAC.
    pub mac: MacAddress,
    /// MTU of the host side; `None` is the kernel's default.
    pub host_mtu: Option<u32>,
    /// MTU of the container side; `None` is the kernel's default.
    pub mtu: Option<u32>,
    /// Makes the pair a port of the bridge. No frame passes yet.
    pub join: Vec<Step>,
    /// Alternative names of the host side: the one that proves it ours, the one that says more of it, and the one that claims
    /// its MAC.
    pub names: [String; 3],
    /// Puts the policy in place, then lets frames pass.
    pub open: Vec<Step>,
    /// What the administrator should know all the same.
    pub warnings: Vec<Warning>,
}

/// What does not keep an attachment from being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// It is over soon.
    Passing(String),
    /// It holds for as long as the attachment does.
    Lasting(Code, String),
}

/// Addresses for what has none yet.
#[derive(Debug, Clone, Copy)]
pub struct FreshMacs {
    /// Of the container side, unless one was requested.
    pub container: MacAddress,
    /// Of the host side.
    pub host: MacAddress,
    /// Of the bridge, if it must be created.
    pub bridge: MacAddress,
}

/// Whether the config can be met by the bridge that was seen: every rule about it, in order.
///
/// # Errors
/// Codes 7, 100, 101, 102, 103.
pub fn validate_bridge(conf: &NetConf, seen: &BridgeSeen) -> Result<(), Error> {
    let name = conf.bridge.as_str();
    if conf.create_bridge && matches!(seen, BridgeSeen::Missing { .. }) {
        return Ok(());
    }
    let link = usable_bridge(name, conf.vlans.as_ref(), seen)?;
    match conf.mtu {
        Some(mtu) if mtu > link.mtu => Err(faults::mtu_larger_than_bridge(name, mtu, link.mtu)),
        _ => Ok(()),
    }
}

/// The bridge, if a port with these VLANs can carry frames there.
///
/// # Errors
/// Codes 100, 101, 102, 103.
pub fn usable_bridge<'a>(name: &str, vlans: Option<&Vlans>, seen: &'a BridgeSeen) -> Result<&'a Link, Error> {
    let link = match seen {
        BridgeSeen::Missing { present } => return Err(faults::bridge_missing(name, present)),
        BridgeSeen::Present(link) => link,
    };
    let Some(bridge) = &link.bridge else { return Err(faults::not_a_bridge(link)) };
    if !link.up {
        return Err(faults::bridge_down(name));
    }
    match vlans {
        Some(vlans) if !bridge.vlan_filtering => Err(faults::vlan_filtering_off(name, vlans)),
        _ => Ok(link),
    }
}

/// Whether the port forwards in time for the IPAM plugin `dhcp`, all of whose requests would be lost before.
///
/// # Errors
/// Code 115.
pub fn validate_forwarding(conf: &NetConf, seen: &BridgeSeen) -> Result<(), Error> {
    let BridgeSeen::Present(bridge) = seen else { return Ok(()) };
    match forward_delay(bridge) {
        Some(delay)
            if delay >= conf.deadline && conf.ipam.as_ref().is_some_and(|ipam| ipam.lease.is_some()) =>
        {
            Err(faults::too_slow_for_dhcp(&bridge.name, delay, conf.deadline))
        }
        _ => Ok(()),
    }
}

/// The steps of an attachment with a veth pair of its own.
pub fn attach(add: &Add, seen: &BridgeSeen, macs: FreshMacs) -> Plan {
    let conf = &add.conf;
    let bridge = match seen {
        BridgeSeen::Present(link) => Some(link.as_ref()),
        BridgeSeen::Missing { .. } => None,
    };
    let host = names::host_interface(&add.attachment);
    let ifname = add.attachment.ifname.to_string();
    let mac = add.mac.unwrap_or(macs.container);
    let host_mtu = bridge.map_or(conf.mtu, |link| Some(link.mtu));
    let mtu = conf.mtu.or(host_mtu);

    let mut join = Vec::new();
    if bridge.is_none() {
        join.push(Step::CreateBridge(BridgeSpec {
            name: conf.bridge.to_string(),
            mac: macs.bridge,
            mtu: conf.mtu,
            vlan_filtering: conf.vlans.is_some(),
        }));
    }
    join.push(Step::AddVeth(VethSpec {
        host: host.clone(),
        host_mac: macs.host,
        host_mtu,
        bridge: conf.bridge.to_string(),
        ifname: ifname.clone(),
        mac,
        mtu,
    }));

    let label =
        Label::new(&add.network, &add.attachment, Some(mac), conf.vm_mode, add.pod.as_deref()).ruled_by(conf);
    let mut open = vec![Step::ConfigurePort(PortSpec {
        port: host.clone(),
        alias: label.to_alias(),
        hairpin: conf.hairpin,
        isolated: conf.isolated,
    })];
    open.extend(vlan_step(add, &host, bridge).map(Step::SetVlans));
    if conf.promiscuous {
        open.push(Step::SetPromiscuous { bridge: conf.bridge.to_string() });
    }
    if conf.vm_mode {
        open.push(Step::SilenceContainer { ifname });
    } else {
        open.push(Step::RaiseContainer { ifname });
    }
    let delay = bridge.and_then(forward_delay);
    if conf.mac_spoof_check {
        open.push(Step::Protect { port: host.clone(), owner: host.clone(), mac });
    }
    let too_long = delay.is_some_and(|delay| delay >= conf.deadline);
    open.push(Step::RaisePort { port: host.clone(), await_forwarding: !conf.vm_mode && !too_long });
    let mut warnings: Vec<Warning> =
        delay.map(|delay| Warning::Passing(stp_warning(conf.bridge.as_str(), delay))).into_iter().collect();
    if conf.ipam.is_none() && (conf.is_gateway || conf.ip_masq) {
        let fact = "isGateway, isDefaultGateway and ipMasq have no effect without ipam";
        warnings.push(Warning::Lasting(Code::UnsupportedField, fact.to_string()));
    }
    let vlan = match bridge {
        Some(bridge) => native_vlan(conf.vlans.as_ref(), bridge),
        None => conf.vlans.as_ref().map(|vlans| vlans.native),
    };
    let names =
        [pair_mark(&host), facts_name(&host, &label.facts()), mac_claim(conf.bridge.as_str(), vlan, mac)];
    Plan { host, host_mac: macs.host, mac, host_mtu, mtu, join, names, open, warnings }
}

/// How long the kernel's STP keeps a new port from forwarding: listening, then learning.
pub fn forward_delay(link: &Link) -> Option<Duration> {
    let bridge = link.bridge.as_ref().filter(|bridge| bridge.stp == Stp::Kernel)?;
    Some(Duration::from_secs(2 * u64::from(bridge.forward_delay)))
}

fn stp_warning(bridge: &str, delay: Duration) -> String {
    format!(
        "bridge {bridge} runs STP: a port drops all frames, DHCP's too, for {} s after it comes up; \
         remedy: {}",
        delay.as_secs(),
        faults::stp_off(bridge)
    )
}

fn vlan_step(add: &Add, port: &str, bridge: Option<&Link>) -> Option<VlanSpec> {
    Some(vlan_spec(add.conf.vlans.as_ref()?, port, bridge))
}

/// The VLAN that untagged frames of a port with these VLANs are in; `None` where the bridge does not filter, and where
/// it drops them.
pub fn native_vlan(vlans: Option<&Vlans>, bridge: &Link) -> Option<u16> {
    let filtering = bridge.bridge.as_ref().filter(|bridge| bridge.vlan_filtering)?;
    Some(vlans.map_or(filtering.default_pvid, |vlans| vlans.native)).filter(|native| *native != 0)
}

/// What puts these VLANs on a new port of the bridge, which carries its default one so far.
pub fn vlan_spec(vlans: &Vlans, port: &str, bridge: Option<&Link>) -> VlanSpec {
    let default =
        bridge.and_then(|link| link.bridge.as_ref()).map_or(DEFAULT_PVID, |bridge| bridge.default_pvid);
    let remove = (default != 0 && !vlans.keep_default && !vlans.contains(default)).then_some(default);
    VlanSpec { port: port.to_string(), native: vlans.native, tagged: vlans.tagged.clone(), remove }
}
