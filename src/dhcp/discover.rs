//! The DHCPDISCOVER that a guest's own client would send, as a message without headers.

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, EncodeResult, Flags, Message, MessageType, OptionCode};

use super::message::{self, MAX_MESSAGE};
use crate::net::MacAddress;

/// What common clients ask for. A server that is asked for nothing may leave out what the diagnosis looks at.
const REQUESTED: [OptionCode; 13] = [
    OptionCode::SubnetMask,
    // Before the router, as RFC 3442 demands of clients that ask for both.
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::Hostname,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
    OptionCode::BroadcastAddr,
    OptionCode::NtpServers,
    OptionCode::AddressLeaseTime,
    OptionCode::ServerIdentifier,
    OptionCode::Renewal,
    OptionCode::Rebinding,
];

/// A DHCPDISCOVER (RFC 2131 section 4.4.1) of at least 300 bytes, for a server's broadcast answer.
///
/// `elapsed` goes into the `secs` field, where relays and servers that serve latecomers only look at it.
///
/// # Errors
/// Those of the encoder; none for the fixed set of options used here.
pub fn message(chaddr: MacAddress, xid: u32, elapsed: Duration) -> EncodeResult<Vec<u8>> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(xid, none, none, none, none, &chaddr.octets());
    message.set_flags(Flags::default().set_broadcast());
    message.set_secs(message::seconds(elapsed));
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(MessageType::Discover));
    options.insert(DhcpOption::ParameterRequestList(REQUESTED.to_vec()));
    options.insert(DhcpOption::MaxMessageSize(MAX_MESSAGE));
    // Hardware type Ethernet and the address (RFC 2132 section 9.14): a guest with an identifier of its own gets its
    // own lease, one without is the same client as this.
    options.insert(DhcpOption::ClientIdentifier([&[1][..], &chaddr.octets()].concat()));
    message::encode(&message)
}

#[cfg(test)]
mod tests {
    use dhcproto::v4::{Decodable, Decoder, Opcode};

    use super::*;
    use crate::dhcp::samples;

    #[test]
    fn it_reads_back_as_what_a_client_sends() {
        let chaddr = samples::client_mac();
        let bytes = message(chaddr, samples::XID, Duration::from_millis(2900)).unwrap();
        assert_eq!(bytes.len(), 300);
        let read = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!(read.opcode(), Opcode::BootRequest);
        assert_eq!((read.xid(), read.secs(), read.hops()), (samples::XID, 2, 0));
        assert_eq!(read.chaddr(), chaddr.octets());
        assert!(read.flags().broadcast());
        assert!(read.ciaddr().is_unspecified() && read.giaddr().is_unspecified());
        let options = read.opts();
        assert_eq!(options.msg_type(), Some(MessageType::Discover));
        assert_eq!(
            options.get(OptionCode::ClientIdentifier),
            Some(&DhcpOption::ClientIdentifier([&[1][..], &chaddr.octets()].concat()))
        );
        assert_eq!(options.get(OptionCode::MaxMessageSize), Some(&DhcpOption::MaxMessageSize(1472)));
        assert_eq!(
            options.get(OptionCode::ParameterRequestList),
            Some(&DhcpOption::ParameterRequestList(REQUESTED.to_vec()))
        );
        // Neither a wish for an address nor a choice of server: nothing that a REQUEST has.
        assert_eq!(options.len(), 4);
    }

    #[test]
    fn a_long_wait_saturates_the_seconds() {
        let bytes = message(samples::client_mac(), 1, Duration::from_secs(100_000)).unwrap();
        assert_eq!(bytes[8..10], [0xff, 0xff]);
    }
}
