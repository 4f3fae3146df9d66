//! Routes over one interface.

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::NLM_F_CREATE;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::interface::Route;
use super::netlink::Refusal;
use crate::plan::spec::RouteSpec;

/// Adds the route over the interface with this index. One that is there already is success.
///
/// # Errors
/// The kernel's refusal.
pub async fn add(client: &Route, index: u32, spec: &RouteSpec) -> Result<(), Refusal> {
    match client.request(RouteNetlinkMessage::NewRoute(message(index, spec)), NLM_F_CREATE).await {
        Err(refusal) if refusal.errno == Errno::EEXIST => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Removes the route; one that is gone is success.
///
/// # Errors
/// The kernel's refusal.
pub async fn remove(client: &Route, index: u32, spec: &RouteSpec) -> Result<(), Refusal> {
    match client.request(RouteNetlinkMessage::DelRoute(message(index, spec)), 0).await {
        Err(refusal) if matches!(refusal.errno, Errno::ESRCH | Errno::ENODEV) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Whether the kernel has a route to that destination over the interface, through the first of the gateways.
///
/// # Errors
/// The kernel's refusal.
pub async fn exists(client: &Route, index: u32, spec: &RouteSpec) -> Result<bool, Refusal> {
    let mut wanted = RouteMessage::default();
    wanted.header.address_family = family(spec.destination);
    let answers = client.dump(RouteNetlinkMessage::GetRoute(wanted)).await?;
    Ok(answers.iter().any(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => matches(route, index, spec),
        _ => false,
    }))
}

/// The routes of the address's family over an interface, except the kernel's own, those without a gateway first: in this order
/// they can be added again.
///
/// # Errors
/// The kernel's refusal.
pub async fn over(client: &Route, index: u32, address: IpNetwork) -> Result<Vec<RouteMessage>, Refusal> {
    let mut wanted = RouteMessage::default();
    wanted.header.address_family = family(address);
    let answers = client.dump(RouteNetlinkMessage::GetRoute(wanted)).await?;
    let mut routes: Vec<RouteMessage> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        })
        .filter(|route| {
            let made = route.header.protocol != RouteProtocol::Kernel;
            made && route.attributes.contains(&RouteAttribute::Oif(index))
        })
        .collect();
    for route in &mut routes {
        // The kernel adds this to a route's description and accepts it from no program.
        route.header.flags.remove(RouteFlags::Dead | RouteFlags::Linkdown);
    }
    let has_gateway = |route: &RouteMessage| {
        route.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Gateway(_)))
    };
    routes.sort_by_key(has_gateway);
    Ok(routes)
}

fn matches(route: &RouteMessage, index: u32, spec: &RouteSpec) -> bool {
    let mut destination = None;
    let mut interfaces = Vec::new();
    let mut gateways = Vec::new();
    let mut table = u32::from(route.header.table);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = Some(address.clone()),
            RouteAttribute::Oif(interface) => interfaces.push(*interface),
            RouteAttribute::Gateway(address) => gateways.push(address.clone()),
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::MultiPath(hops) => {
                interfaces.extend(hops.iter().map(|hop| hop.interface_index));
                gateways.extend(hops.iter().flat_map(|hop| &hop.attributes).filter_map(|a| match a {
                    RouteAttribute::Gateway(address) => Some(address.clone()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    let same_destination = match destination {
        Some(address) => address == RouteAddress::from(spec.destination.network()),
        None => spec.destination.network().is_unspecified(),
    };
    let gateway = spec.gateways.first().map(|gateway| RouteAddress::from(*gateway));
    same_destination
        && route.header.destination_prefix_length == spec.destination.prefix()
        && interfaces.contains(&index)
        && table == spec.table.unwrap_or(u32::from(RouteHeader::RT_TABLE_MAIN))
        && gateway.is_none_or(|gateway| gateways.contains(&gateway))
}

fn message(index: u32, spec: &RouteSpec) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(spec.destination);
    message.header.destination_prefix_length = spec.destination.prefix();
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope = spec.scope.map_or(RouteScope::Universe, RouteScope::from);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    if let Some(table) = spec.table {
        message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        message.attributes.push(RouteAttribute::Table(table));
    }
    message.attributes.push(RouteAttribute::Destination(spec.destination.network().into()));
    message.attributes.extend(spec.priority.map(RouteAttribute::Priority));
    let metrics: Vec<RouteMetric> =
        spec.mtu.map(RouteMetric::Mtu).into_iter().chain(spec.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    if spec.gateways.len() > 1 {
        message.attributes.push(RouteAttribute::MultiPath(
            spec.gateways
                .iter()
                .map(|gateway| {
                    let mut hop = RouteNextHop::default();
                    hop.interface_index = index;
                    hop.attributes.push(RouteAttribute::Gateway((*gateway).into()));
                    hop
                })
                .collect(),
        ));
    } else {
        message
            .attributes
            .extend(spec.gateways.first().map(|gateway| RouteAttribute::Gateway((*gateway).into())));
        message.attributes.push(RouteAttribute::Oif(index));
    }
    message
}

fn family(network: IpNetwork) -> AddressFamily {
    if network.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
