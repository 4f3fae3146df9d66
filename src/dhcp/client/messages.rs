//! The client's messages, as the table of RFC 2131 section 4.4.1 and 4.3.6 has them.

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, EncodeResult, Flags, Message, MessageType, OptionCode, UnknownOption};

use crate::dhcp::frame;
use crate::dhcp::message::{self, MAX_MESSAGE};
use crate::net::MacAddress;

/// Who asks, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The hardware address, also the Ethernet source of broadcasts.
    pub chaddr: MacAddress,
    /// The client identifier (option 61) with its type byte.
    pub client_id: Vec<u8>,
    /// Whether answers must be broadcast: an ipvlan gets no unicast for an address that it has not got yet.
    pub broadcast: bool,
    /// The options that are asked for (option 55), in this order.
    pub requested: Vec<u8>,
    /// Further options, sent as they are.
    pub provided: Vec<(u8, Vec<u8>)>,
}

/// A message and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The message without headers.
    pub message: Vec<u8>,
    /// On which way it goes.
    pub to: To,
}

/// The way of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// From 0.0.0.0 to 255.255.255.255.
    Everybody,
    /// A host's unicast, from the leased address to the server's.
    Server {
        /// The leased address.
        from: Ipv4Addr,
        /// The server identifier.
        server: Ipv4Addr,
        /// The hardware address on the way there.
        hop: [u8; 6],
    },
}

impl Outgoing {
    /// The Ethernet frame of the client with this hardware address.
    pub fn frame(&self, source: MacAddress) -> Vec<u8> {
        match self.to {
            To::Everybody => frame::broadcast(source, &self.message),
            To::Server { from, server, hop } => frame::to_server(source, hop, from, server, &self.message),
        }
    }
}

/// What the message says beside who says it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Content {
    pub(super) xid: u32,
    pub(super) elapsed: Duration,
    /// `ciaddr`: the address that is in use already.
    pub(super) in_use: Option<Ipv4Addr>,
    /// Option 50.
    pub(super) wanted: Option<Ipv4Addr>,
    /// Option 54.
    pub(super) server: Option<Ipv4Addr>,
}

impl Identity {
    /// DHCPDISCOVER and DHCPREQUEST, with everything that the client has to say.
    pub(super) fn asking(&self, kind: MessageType, content: &Content) -> EncodeResult<Vec<u8>> {
        let mut message = self.message(kind, content);
        let requested = self.requested.iter().copied().map(OptionCode::from).collect();
        message.opts_mut().insert(DhcpOption::ParameterRequestList(requested));
        message.opts_mut().insert(DhcpOption::MaxMessageSize(MAX_MESSAGE));
        for (code, value) in &self.provided {
            message
                .opts_mut()
                .insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(*code), value.clone())));
        }
        message::encode(&message)
    }

    /// DHCPDECLINE and DHCPRELEASE, which ask for nothing.
    pub(super) fn returning(&self, kind: MessageType, content: &Content) -> EncodeResult<Vec<u8>> {
        message::encode(&self.message(kind, content))
    }

    fn message(&self, kind: MessageType, content: &Content) -> Message {
        let none = Ipv4Addr::UNSPECIFIED;
        let in_use = content.in_use.unwrap_or(none);
        let mut message = Message::new_with_id(content.xid, in_use, none, none, none, &self.chaddr.octets());
        if self.broadcast && content.in_use.is_none() {
            message.set_flags(Flags::default().set_broadcast());
        }
        message.set_secs(message::seconds(content.elapsed));
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        options.insert(DhcpOption::ClientIdentifier(self.client_id.clone()));
        if let Some(wanted) = content.wanted {
            options.insert(DhcpOption::RequestedIpAddress(wanted));
        }
        if let Some(server) = content.server {
            options.insert(DhcpOption::ServerIdentifier(server));
        }
        message
    }
}
