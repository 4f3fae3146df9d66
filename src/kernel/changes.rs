//! What happens to the node's interfaces, as it happens.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::interface::{RTNLGRP_LINK, RouteEvents, read_link};
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

/// The changes of the node's interfaces from the moment at which it was opened.
pub struct LinkChanges(RouteEvents);

impl LinkChanges {
    /// Begins to listen. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the socket says.
    pub fn open() -> Result<Self, Refusal> {
        Ok(Self(RouteEvents::open(NETLINK_ROUTE, &[RTNLGRP_LINK])?))
    }

    /// The next change; `Ok(None)` where the kernel had to drop some.
    ///
    /// # Errors
    /// The refusal of the socket, which hears nothing any more.
    pub async fn next(&mut self) -> Result<Option<LinkChange>, Refusal> {
        loop {
            let change = match self.0.next().await? {
                None => return Ok(None),
                Some(RouteNetlinkMessage::DelLink(message)) => {
                    Some(LinkChange { name: link::read(&message).name, carrier: None })
                }
                Some(other) => read_link(&other)
                    .map(|link| LinkChange { name: link.name, carrier: Some(link.up && link.carrier) }),
            };
            if change.is_some() {
                return Ok(change);
            }
        }
    }
}
