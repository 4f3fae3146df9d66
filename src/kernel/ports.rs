//! The ports of one bridge, read part by part until the reader has seen enough.

use std::collections::BTreeSet;

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::link;
use super::netlink::{DUMP_TRIES, Refusal, messages, steady};
use super::wire::Wire;
use crate::net::Link;

/// The largest part of a dump that the kernel makes (NLMSG_GOODSIZE grows to 32 KiB).
const PART_MAX: usize = 32 * 1024;

/// Shows the ports of the bridge to `enough`, each once, until it says so. The kernel is asked for this bridge's ports
/// only, and makes the next part only when the last one was read: a node full of ports costs one part when the uplink is
/// in it.
///
/// # Errors
/// The kernel's refusal; EINTR when the node's links never held still.
pub fn read(bridge: u32, mut enough: impl FnMut(Link) -> bool) -> Result<(), Refusal> {
    let mut shown = BTreeSet::new();
    steady(DUMP_TRIES, || look(bridge, |port| shown.insert(port.index) && enough(port)))
}

/// EINTR where a port may be missing, since links came or went between two parts (NLM_F_DUMP_INTR).
fn look(bridge: u32, mut enough: impl FnMut(Link) -> bool) -> Result<(), Refusal> {
    let mut request = LinkMessage::default();
    request.attributes =
        vec![LinkAttribute::Controller(bridge), LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    let mut message = NetlinkMessage::new(
        NetlinkHeader::default(),
        NetlinkPayload::from(RouteNetlinkMessage::GetLink(request)),
    );
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut part = Vec::with_capacity(PART_MAX);
    let mut whole = true;
    loop {
        part.clear();
        // Where nothing more is to come before the end, the kernel did not answer as its protocol says.
        socket.recv_from(&mut part, MsgFlags::MSG_DONTWAIT.bits())?;
        for message in messages(&part) {
            let message = message.decode::<Wire<RouteNetlinkMessage>>()?;
            whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match message.payload {
                NetlinkPayload::Done(_) if whole => return Ok(()),
                NetlinkPayload::Done(_) => return Err(Refusal::plain(Errno::EINTR)),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(Refusal::plain(Errno::from_raw(error.raw_code().saturating_neg())));
                }
                NetlinkPayload::InnerMessage(Wire(RouteNetlinkMessage::NewLink(port))) => {
                    let port = link::read(&port);
                    if port.master == Some(bridge) && enough(port) {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }
}
