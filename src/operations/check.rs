//! CHECK: verifies what this plugin made, and only that; what KubeVirt and chained plugins change is theirs.

use ipnetwork::IpNetwork;

use super::faults;
use super::find::{Found, find};
use super::lease::is_delegated;
use crate::cni::request::{Add, Check};
use crate::cni::result::{CniResult, Ip};
use crate::error::Error;
use crate::ipam::Delegation;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::kernel::netns::Netns;
use crate::kernel::nft;
use crate::lease::place::Place;
use crate::lease::record::Record;
use crate::net::{BridgeSeen, Link, MacAddress, PortState, Stp, Vlans};
use crate::plan::addresses::Addresses;
use crate::plan::marks::claimed_mac;
use crate::plan::names;
use crate::plan::owner::Owned;
use crate::plan::{self, validate_bridge};

/// Verifies.
///
/// # Errors
/// Codes 100 to 103 about the bridge, 123 naming everything that differs, 121 for what the IPAM plugin says.
pub async fn check(request: &Check, netns: Netns, ipam: &Delegation) -> Result<(), Error> {
    let add = &request.add;
    let mut kernel = Linux::open(Some(netns)).map_err(|refusal| unseen("the node's network", &refusal))?;
    let name = add.conf.bridge.as_str();
    let seen = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
    let bridge = match seen {
        BridgeSeen::Present(bridge) => bridge,
        BridgeSeen::Missing { present } => return Err(plan::faults::bridge_missing(name, &present)),
    };
    validate_bridge(&add.conf, &BridgeSeen::Present(bridge.clone()))?;

    let host = names::host_interface(&add.attachment);
    let (link, owned) = match find(&mut kernel, &host).await.map_err(|refusal| unseen(&host, &refusal))? {
        Found::Ours(link, owned) => (*link, *owned),
        Found::Other(link) => return Err(faults::differs(&host, &[not_ours(&link)])),
        Found::Nothing => return Err(faults::differs(&host, &["it does not exist any more".to_string()])),
    };
    let mut differences = name_differences(&link, &owned);
    differences.extend(port_differences(add, &link, &bridge));
    differences.extend(silent_differences(&link, &bridge));
    if owned.chained.is_none() {
        differences.extend(mtu_difference(add, &link));
    }
    if let Some(vlans) = &add.conf.vlans {
        differences.extend(vlan_differences(&kernel, &link, vlans).await?);
    }
    let mac = guarded_mac(&mut kernel, add, &link, &owned).await?;
    differences.extend(rule_differences(add, &link, mac)?);
    differences.extend(container_differences(&mut kernel, add, &link, &owned).await?);
    if !differences.is_empty() {
        return Err(faults::differs(&host, &differences));
    }
    if let Some(conf) = &add.conf.ipam
        && !is_delegated(conf, ipam).await
    {
        return Ok(());
    }
    match ipam.find(add.conf.ipam.as_ref())? {
        Some(delegate) => delegate.forward("CHECK", add.conf.deadline).await,
        None => Ok(()),
    }
}

/// What bears the attachment's name and is not its link.
fn not_ours(link: &Link) -> String {
    let kind = link.kind.as_deref().unwrap_or("hardware");
    format!("the {kind} interface {} that has this name now is not the attachment's", link.name)
}

/// What others did to the name and the label of a pair. Another plugin may label and name its own interface as it likes.
fn name_differences(link: &Link, owned: &Owned) -> Vec<String> {
    if owned.chained.is_some() {
        return Vec::new();
    }
    let mut differences = Vec::new();
    if link.name != owned.host {
        differences.push(format!("it is called {} now, which its nftables rules do not know", link.name));
    }
    if owned.label.is_none() {
        differences.push("its alias was changed, so that gc cannot tell whose it is".to_string());
    }
    differences
}

pub(super) fn port_differences(add: &Add, link: &Link, bridge: &Link) -> Vec<String> {
    let mut differences = Vec::new();
    if link.master != Some(bridge.index) {
        differences.push(format!("it is no longer a port of {}", bridge.name));
    }
    if !link.up {
        differences.push("it is down".to_string());
    }
    let flags = link.port.map(|port| (port.hairpin, port.isolated));
    for (what, wanted, found) in [
        ("hairpinMode", add.conf.hairpin, flags.map(|(hairpin, _)| hairpin)),
        ("portIsolation", add.conf.isolated, flags.map(|(_, isolated)| isolated)),
    ] {
        if let Some(found) = found.filter(|found| *found != wanted) {
            differences.push(format!("{what} is {found}, wanted {wanted}"));
        }
    }
    differences
}

/// What stops frames, or some of them, although the port is up. Where a spanning tree decides, a port may be blocked.
fn silent_differences(link: &Link, bridge: &Link) -> Vec<String> {
    let Some(port) = link.port else { return Vec::new() };
    let mut differences = Vec::new();
    let spanning_tree = bridge.bridge.as_ref().is_some_and(|bridge| bridge.stp != Stp::Off);
    if link.up && link.carrier && !spanning_tree && port.state != PortState::Forwarding {
        differences.push(format!("it does not forward: its state is {}", port.state));
    }
    if port.locked {
        differences.push("it is locked: only sources that the bridge was told of come in by it".to_string());
    }
    differences
}

/// Another MTU than that of the result, which has one from CNI 1.1 on. Another plugin's interface is that plugin's to size.
fn mtu_difference(add: &Add, link: &Link) -> Option<String> {
    let interfaces = add.previous.iter().flat_map(|result| &result.interfaces);
    let mut told = interfaces.filter(|interface| interface.sandbox.is_none() && interface.name == link.name);
    let mtu = told.find_map(|interface| interface.mtu).filter(|mtu| *mtu != link.mtu)?;
    Some(format!("its MTU is {}, it was {mtu}", link.mtu))
}

pub(super) async fn vlan_differences(
    kernel: &Linux,
    link: &Link,
    wanted: &Vlans,
) -> Result<Vec<String>, Error> {
    if link.port.is_none() {
        return Ok(Vec::new());
    }
    let found = kernel
        .vlans(link)
        .await
        .map_err(|refusal| unseen(&format!("the VLANs of {}", link.name), &refusal))?;
    let mut differences = Vec::new();
    if found.pvid != Some(wanted.native) {
        let shown = found.pvid.map_or("missing".to_string(), |pvid| pvid.to_string());
        differences.push(format!("its native VLAN is {shown}, wanted {}", wanted.native));
    }
    let missing = wanted.tagged.iter().find(|range| !(range.first..=range.last).all(|id| found.contains(id)));
    if let Some(range) = missing {
        differences.push(format!("VLAN {range} is missing"));
    }
    let foreign = found.untagged.iter().chain(&found.tagged);
    let foreign = foreign.filter(|range| !(range.first..=range.last).all(|id| wanted.contains(id)));
    if !wanted.keep_default
        && let Some(range) = foreign.min()
    {
        differences.push(format!("VLAN {range} is allowed, wanted only its own"));
    }
    Ok(differences)
}

/// The MAC that ADD gave the guard: of a pair the one that it claims, of another plugin's interface the one of its label, or,
/// where that is lost, the one in the container.
async fn guarded_mac(
    kernel: &mut Linux,
    add: &Add,
    link: &Link,
    owned: &Owned,
) -> Result<Option<MacAddress>, Error> {
    let claimed = link.alternative.iter().find_map(|name| claimed_mac(name));
    let known = claimed.or_else(|| owned.label.as_ref().and_then(|label| label.mac));
    let peer = link.peer.filter(|_| known.is_none() && owned.chained.is_some() && add.conf.mac_spoof_check);
    let Some(peer) = peer else { return Ok(known.or(add.mac)) };
    let inside = kernel.container_link_by_index(peer).await;
    let inside = inside.map_err(|refusal| unseen("the container's interfaces", &refusal))?;
    Ok(inside.and_then(|inside| inside.mac).or(add.mac))
}

/// The rules that a firewall's reload or `nft flush ruleset` takes away.
fn rule_differences(add: &Add, link: &Link, mac: Option<MacAddress>) -> Result<Vec<String>, Error> {
    let unreadable = |refusal| unseen("the nftables rules", &refusal);
    let mut differences = Vec::new();
    if let (true, Some(mac)) = (add.conf.mac_spoof_check, mac) {
        let missing = nft::guard::verify(&link.name, mac).map_err(unreadable)?;
        differences.extend(missing.iter().map(ToString::to_string));
    }
    let addresses: Vec<IpNetwork> = own_addresses(add).map(|ip| ip.address).collect();
    if add.conf.ip_masq && !addresses.is_empty() {
        let host = names::host_interface(&add.attachment);
        let missing = nft::masquerade::verify(&host, &addresses).map_err(unreadable)?;
        differences.extend(missing.iter().map(ToString::to_string));
    }
    Ok(differences)
}

/// The addresses of `prevResult` that belong to the container side.
fn own_addresses(add: &Add) -> impl Iterator<Item = &Ip> {
    let previous = add.previous.iter();
    previous.flat_map(|result| {
        result.ips.iter().filter(|ip| {
            let interface = ip.interface.and_then(|index| result.interfaces.get(index));
            interface.is_none_or(|interface| interface.name == add.attachment.ifname.as_str())
        })
    })
}

/// What the attachment's lease grants now, where it has one.
fn lease_of(add: &Add) -> Option<CniResult> {
    add.conf.ipam.as_ref()?.lease.as_ref()?;
    let host = names::host_interface(&add.attachment);
    let record = Record::read(&Place::of_this_process(), &host).ok()??;
    Some(record.usage.answer(&record.lease))
}

/// Addresses and routes that the container should have and has not. Other plugins of the chain may have added more.
async fn address_differences(kernel: &mut Linux, add: &Add, index: u32) -> Result<Vec<String>, Error> {
    let (Some(result), Some(_)) = (&add.previous, &add.conf.ipam) else { return Ok(Vec::new()) };
    let unreadable = |refusal| unseen("the container's addresses", &refusal);
    let ifname = &add.attachment.ifname;
    let found = kernel.container_addresses(index).await.map_err(unreadable)?;
    // A lease may have become another one since ADD told its result.
    let leased = lease_of(add);
    let result = leased.as_ref().unwrap_or(result);
    let wanted: Vec<&Ip> = match &leased {
        Some(leased) => leased.ips.iter().collect(),
        None => own_addresses(add).collect(),
    };
    let missing = wanted.into_iter().filter(|ip| !found.contains(&ip.address));
    let mut differences: Vec<String> =
        missing.map(|ip| format!("{ifname} in the container lacks the address {}", ip.address)).collect();
    for route in Addresses::new(&add.conf, result).route_specs() {
        if !kernel.container_has_route(index, &route).await.map_err(unreadable)? {
            differences.push(format!("{ifname} in the container lacks the route to {}", route.destination));
        }
    }
    Ok(differences)
}

/// In VM mode the container side may have any name and MAC by now; it only has to be there.
/// A MAC other than that of the result, which a later plugin of the chain may have changed there, too.
fn mac_difference(add: &Add, inside: &Link) -> Option<String> {
    let mut interfaces = add.previous.iter().flat_map(|result| &result.interfaces);
    let told = interfaces.find(|interface| interface.sandbox.is_some() && interface.name == inside.name)?;
    let told = MacAddress::parse(told.mac.as_deref()?).ok()?;
    let found = inside.mac.filter(|mac| *mac != told)?;
    Some(format!("{} in the container has the MAC {found}, it had {told}", inside.name))
}

async fn container_differences(
    kernel: &mut Linux,
    add: &Add,
    host: &Link,
    owned: &Owned,
) -> Result<Vec<String>, Error> {
    let unreadable = |refusal| unseen("the container's interfaces", &refusal);
    let peer = match host.peer {
        Some(index) => kernel.container_link_by_index(index).await.map_err(unreadable)?,
        // A tap of the previous plugin's ends in a process.
        None if owned.chained.is_some() => return Ok(Vec::new()),
        None => None,
    };
    let ifname = add.attachment.ifname.as_str();
    let Some(peer) = peer.filter(|peer| peer.peer == Some(host.index)) else {
        return Ok(vec![format!("its peer is no longer in the container (was {ifname})")]);
    };
    let mut differences = Vec::new();
    if !add.conf.vm_mode {
        if peer.name != ifname {
            differences.push(format!("{ifname} in the container is now called {}", peer.name));
        }
        if !peer.up {
            differences.push(format!("{ifname} in the container is down"));
        }
        if owned.chained.is_none() {
            differences.extend(mac_difference(add, &peer));
        }
        differences.extend(address_differences(kernel, add, peer.index).await?);
    }
    Ok(differences)
}
