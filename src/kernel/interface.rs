//! Requests about one interface, on the node or in a container.

use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, Prop,
};

use super::link;
use super::netlink::{Client, Events, Refusal};
use crate::net::{Link, MacAddress};

/// RTNLGRP_LINK (include/uapi/linux/rtnetlink.h).
pub(super) const RTNLGRP_LINK: u32 = 1;

/// A route netlink socket.
pub(super) type Route = Client<RouteNetlinkMessage>;

/// What route netlink says unasked.
pub(super) type RouteEvents = Events<RouteNetlinkMessage>;

pub(super) fn port_flags(hairpin: bool, isolated: bool) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![
            InfoBridgePort::HairpinMode(hairpin),
            InfoBridgePort::Isolated(isolated),
        ])),
    ])
}

pub(super) fn with_names(mut message: LinkMessage, names: &[String]) -> LinkMessage {
    let names = names.iter().map(|name| Prop::AltIfName(name.clone()));
    message.attributes.push(LinkAttribute::PropList(names.collect()));
    message
}

/// A message about the link that was looked at, whatever it is called by now.
pub(super) fn indexed(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

pub(super) fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_string()));
    message
}

pub(super) fn read_link(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => Some(link::read(message)),
        _ => None,
    }
}

pub(super) async fn get(client: &Route, selector: LinkAttribute) -> Result<Option<Link>, Refusal> {
    let mut message = LinkMessage::default();
    message.attributes.push(selector);
    request_link(client, message).await
}

pub(super) async fn request_link(client: &Route, mut message: LinkMessage) -> Result<Option<Link>, Refusal> {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match client.get(RouteNetlinkMessage::GetLink(message)).await {
        Ok(answer) => match answer.as_ref().and_then(read_link) {
            Some(link) => Ok(Some(link)),
            None => Err(Refusal {
                errno: Errno::EIO,
                text: Some("the kernel's description of a link is unreadable".into()),
            }),
        },
        Err(refusal) if refusal.errno == Errno::ENODEV => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// An interface to be made.
pub(super) fn fresh(name: &str, mac: MacAddress, mtu: Option<u32>) -> LinkMessage {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    message
}

/// Makes a veth pair, one end of which is a port of the bridge with this index.
pub(super) async fn create_pair(
    client: &Route,
    mut port: LinkMessage,
    bridge: u32,
    peer: LinkMessage,
) -> Result<(), Refusal> {
    port.attributes.push(LinkAttribute::Controller(bridge));
    port.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    create(client, port).await
}

pub(super) async fn create(client: &Route, message: LinkMessage) -> Result<(), Refusal> {
    client.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await.map(drop)
}

pub(super) async fn delete(client: &Route, name: &str) -> Result<(), Refusal> {
    gone_is_done(client.request(RouteNetlinkMessage::DelLink(named(name)), 0).await.map(drop))
}

pub(super) async fn delete_by_index(client: &Route, index: u32) -> Result<(), Refusal> {
    gone_is_done(client.request(RouteNetlinkMessage::DelLink(indexed(index)), 0).await.map(drop))
}

pub(super) fn gone_is_done(outcome: Result<(), Refusal>) -> Result<(), Refusal> {
    match outcome {
        Err(refusal) if refusal.errno == Errno::ENODEV => Ok(()),
        outcome => outcome,
    }
}

pub(super) async fn set_flag(client: &Route, name: &str, flag: LinkFlags, on: bool) -> Result<(), Refusal> {
    let mut message = named(name);
    message.header.flags = if on { flag } else { LinkFlags::empty() };
    message.header.change_mask = flag;
    client.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
}

/// Keeps the kernel from giving the interface an IPv6 address, and so from sending frames of its own. A kernel
/// without IPv6 sends none anyway (EAFNOSUPPORT).
pub(super) async fn silence(client: &Route, name: &str) -> Result<(), Refusal> {
    let mut message = named(name);
    let silent = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![silent])]));
    match client.request(RouteNetlinkMessage::SetLink(message), 0).await {
        Err(refusal) if refusal.errno == Errno::EAFNOSUPPORT => Ok(()),
        outcome => outcome.map(drop),
    }
}

pub(super) async fn set_mtu(client: &Route, name: &str, mtu: u32) -> Result<(), Refusal> {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Mtu(mtu));
    client.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
}

pub(super) async fn set_mac(client: &Route, name: &str, mac: MacAddress) -> Result<(), Refusal> {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    client.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
}
