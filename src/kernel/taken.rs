//! What was taken off an interface and may have to be given back.

use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::route::RouteMessage;

/// Addresses and routes in the kernel's words, in the order in which the kernel can be given them back.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) addresses: Vec<AddressMessage>,
    pub(super) routes: Vec<RouteMessage>,
}
