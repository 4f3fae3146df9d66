//! What happens to the node's interfaces, as it happens.

use futures_util::{Stream, StreamExt};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::interface::{RTNLGRP_LINK, Route, read_link};
use super::link;
use super::netlink::Refusal;

/// What happened to an interface of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkChange {
    /// Its name.
    pub name: String,
    /// Whether it has carrier now; `None` where it is gone.
    pub carrier: Option<bool>,
}

/// The changes of the node's interfaces from now on; `None` where the kernel had to drop some.
///
/// # Errors
/// What the socket says.
pub fn link_changes() -> Result<impl Stream<Item = Option<LinkChange>> + Unpin, Refusal> {
    let (client, changes) = Route::listen(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
    let changes = changes.filter_map(move |change| {
        // The socket lives as long as who listens.
        let _client = &client;
        std::future::ready(match &change {
            None => Some(None),
            Some(RouteNetlinkMessage::DelLink(message)) => {
                let name = link::read(message).name;
                Some(Some(LinkChange { name, carrier: None }))
            }
            Some(other) => read_link(other)
                .map(|link| Some(LinkChange { name: link.name, carrier: Some(link.up && link.carrier) })),
        })
    });
    Ok(changes)
}
