//! Addresses of interfaces: added, removed, read, and waited for until they can be used.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::interface::{Route, RouteEvents};
use super::netlink::Refusal;

/// RTNLGRP_IPV6_IFADDR (include/uapi/linux/rtnetlink.h).
const RTNLGRP_IPV6_IFADDR: u32 = 9;

/// What the kernel says of IPv6 addresses in the network namespace of the calling thread. Must be called inside a tokio
/// runtime, before the addresses are added that shall be waited for.
///
/// # Errors
/// The refusal of the socket.
pub fn changes() -> Result<RouteEvents, Refusal> {
    Ok(RouteEvents::open(NETLINK_ROUTE, &[RTNLGRP_IPV6_IFADDR])?)
}

/// Adds the addresses to the interface with this index and waits until duplicate address detection has settled every
/// IPv6 one, for which `changes` are needed.
///
/// # Errors
/// The kernel's refusal; EADDRINUSE where another host uses an address.
pub async fn add_settled(
    client: &Route,
    changes: Option<RouteEvents>,
    index: u32,
    addresses: &[IpNetwork],
) -> Result<(), Refusal> {
    let mut pending: BTreeSet<IpAddr> = BTreeSet::new();
    for address in addresses {
        add(client, index, *address, AddressFlags::empty()).await?;
        pending.extend(Some(address.ip()).filter(IpAddr::is_ipv6));
    }
    let Some(mut changes) = changes else { return Ok(()) };
    while !pending.is_empty() {
        let Some(RouteNetlinkMessage::NewAddress(message)) = changes.next().await? else { continue };
        let Some(address) = address_of(&message).filter(|_| message.header.index == index) else {
            continue;
        };
        let flags = flags_of(&message);
        if flags.contains(AddressFlags::Dadfailed) && pending.contains(&address) {
            return Err(Refusal {
                errno: Errno::EADDRINUSE,
                text: Some(format!(
                    "another host on the link uses {address} (IPv6 duplicate address detection)"
                )),
            });
        }
        if !flags.contains(AddressFlags::Tentative) {
            pending.remove(&address);
        }
    }
    Ok(())
}

/// Adds one address; IPv4 ones get their subnet's broadcast address.
///
/// # Errors
/// The kernel's refusal.
pub async fn add(client: &Route, index: u32, address: IpNetwork, flags: AddressFlags) -> Result<(), Refusal> {
    let mut message = whole(index, address);
    message.attributes.push(AddressAttribute::Flags(flags));
    client.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL).await.map(drop)
}

/// Adds an address that the kernel removes after this time, in whole seconds, or sets the time of one that is there.
///
/// # Errors
/// The kernel's refusal.
pub async fn lease(client: &Route, index: u32, address: IpNetwork, lasts: Duration) -> Result<(), Refusal> {
    let mut message = whole(index, address);
    // Seconds of zero mean nothing to the kernel, and all ones for ever.
    let seconds = u32::try_from(lasts.as_secs()).unwrap_or(u32::MAX).max(1);
    let mut times = CacheInfo::default();
    (times.ifa_valid, times.ifa_preferred) = (seconds, seconds);
    message.attributes.push(AddressAttribute::CacheInfo(times));
    client.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE).await.map(drop)
}

fn whole(index: u32, address: IpNetwork) -> AddressMessage {
    let mut message = message(index, address);
    if let IpNetwork::V4(v4) = address
        && v4.prefix() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
    }
    message
}

/// Removes an address. Succeeds where it is gone already.
///
/// # Errors
/// The kernel's refusal.
pub async fn remove(client: &Route, index: u32, address: IpNetwork) -> Result<(), Refusal> {
    match client.request(RouteNetlinkMessage::DelAddress(message(index, address)), 0).await {
        Err(refusal) if matches!(refusal.errno, Errno::EADDRNOTAVAIL | Errno::ENODEV) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// The addresses of one interface.
///
/// # Errors
/// The kernel's refusal.
pub async fn read(client: &Route, index: u32) -> Result<Vec<IpNetwork>, Refusal> {
    Ok(all(client, index).await?.iter().filter_map(network_of).collect())
}

/// All that the kernel says of the addresses that are meant, such as their scope and how long they last.
///
/// # Errors
/// The kernel's refusal.
pub async fn describe(
    client: &Route,
    index: u32,
    meant: impl Fn(IpNetwork) -> bool,
) -> Result<Vec<AddressMessage>, Refusal> {
    let all = all(client, index).await?;
    Ok(all.into_iter().filter(|message| network_of(message).is_some_and(&meant)).collect())
}

async fn all(client: &Route, index: u32) -> Result<Vec<AddressMessage>, Refusal> {
    let answers = client.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default())).await?;
    let of_interface = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(message) if message.header.index == index => Some(message),
        _ => None,
    });
    Ok(of_interface.collect())
}

fn network_of(message: &AddressMessage) -> Option<IpNetwork> {
    IpNetwork::new(address_of(message)?, message.header.prefix_len).ok()
}

fn message(index: u32, address: IpNetwork) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address.ip()), AddressAttribute::Address(address.ip())];
    message
}

/// IFA_LOCAL where there is one, else IFA_ADDRESS: for point-to-point links the second is the peer's.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn flags_of(message: &AddressMessage) -> AddressFlags {
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    flags.unwrap_or_else(|| AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())))
}
