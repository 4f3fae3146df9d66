//! What a received frame says to the client that asked: an offer, a refusal, or why it is neither.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::MAGIC;
use dhcproto::v4::borrowed::Message;

use super::frame::{self, BadFrame, Datagram, Unusable};
use super::options::Options;
use crate::net::MacAddress;

/// Message types of a server (RFC 2132 section 9.6).
pub(super) const OFFER: u8 = 2;
/// DHCPACK.
pub(super) const ACK: u8 = 5;
/// DHCPNAK.
pub(super) const NAK: u8 = 6;

/// A frame, from the view of one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// No DHCP reply at all.
    Unrelated,
    /// A frame for DHCP clients in the VLAN with this identifier, whose tag it carries: no reply for an untagged client.
    Tagged(u16),
    /// A DHCP reply that no client would accept.
    Malformed(Malformed),
    /// A reply to another transaction, of this client or another one; has its number.
    OtherExchange(u32),
    /// A reply with this transaction's number for another hardware address.
    OtherClient,
    /// DHCPNAK.
    Refused(Refusal),
    /// DHCPOFFER.
    Offered(Offer),
}

/// What is wrong with a DHCP reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The headers around it.
    Frame(BadFrame),
    /// Shorter than the fixed part of a DHCP message (240 bytes); has the length.
    Short(usize),
    /// Operation code that is neither a request nor a reply.
    Operation(u8),
    /// The magic cookie (RFC 2131 section 3) is missing.
    NoCookie,
    /// Not an Ethernet address' type and length; has both.
    HardwareAddress(u8, u8),
    /// A BOOTP reply: no DHCP message type (option 53).
    NoMessageType,
    /// A message type that answers no DHCPDISCOVER.
    MessageType(u8),
    /// An offer of an address that no client can have.
    Address(Ipv4Addr),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(bad) => bad.fmt(f),
            Self::Short(length) => write!(f, "message of {length} bytes, a DHCP message has at least 240"),
            Self::Operation(code) => write!(f, "operation code {code}, a reply has 2"),
            Self::NoCookie => f.write_str("no DHCP magic cookie"),
            Self::HardwareAddress(kind, length) => {
                write!(f, "hardware address of type {kind} and length {length}, Ethernet has 1 and 6")
            }
            Self::NoMessageType => f.write_str("BOOTP reply without a DHCP message type"),
            Self::MessageType(code) => write!(f, "message type {code} in reply to a DHCPDISCOVER"),
            Self::Address(address) => write!(f, "offer of {address}, which is no client's address"),
        }
    }
}

/// Who sent a reply, and on which way it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// Server identifier (option 54), or the IPv4 source where the server leaves it out.
    pub server: Ipv4Addr,
    /// Ethernet source of the frame: the server's, or the last router's or relay's.
    pub mac: MacAddress,
    /// IPv4 source of the frame.
    pub ip: Ipv4Addr,
    /// Relay that passed the reply on (`giaddr`), if any.
    pub relay: Option<Ipv4Addr>,
}

/// A DHCPNAK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who refuses.
    pub sender: Sender,
    /// The server's reason (option 56), printable, at most 128 characters.
    pub message: Option<String>,
}

/// A DHCPOFFER. Everything but the address is optional: what a server leaves out is no reason to miss its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Who offers.
    pub sender: Sender,
    /// The offered address (`yiaddr`).
    pub address: Ipv4Addr,
    /// Subnet mask (option 1), as it came.
    pub mask: Option<Ipv4Addr>,
    /// Default routers (option 3, and the default route of option 121), at most eight.
    pub routers: Vec<Ipv4Addr>,
    /// Lease time (option 51); `u32::MAX` seconds mean for ever.
    pub lease: Option<Duration>,
    /// Renewal time T1 (option 58).
    pub renewal: Option<Duration>,
    /// Rebinding time T2 (option 59).
    pub rebinding: Option<Duration>,
}

/// Reads a frame as the answer to the DHCPDISCOVER with this transaction number and hardware address.
///
/// It accepts any bytes, and allocates no more than a small multiple of the frame.
pub fn read(frame: &[u8], xid: u32, chaddr: MacAddress) -> Received {
    match frame::parse(frame) {
        Ok(datagram) => message(&datagram, xid, chaddr).unwrap_or_else(Received::Malformed),
        Err(Unusable::Unrelated) => Received::Unrelated,
        Err(Unusable::Tagged(vlan)) => Received::Tagged(vlan),
        Err(Unusable::Malformed(bad)) => Received::Malformed(Malformed::Frame(bad)),
    }
}

fn message(datagram: &Datagram<'_>, xid: u32, chaddr: MacAddress) -> Result<Received, Malformed> {
    let reply = match open(datagram, xid, chaddr)? {
        Ok(reply) => reply,
        Err(other) => return Ok(other),
    };
    match reply.kind {
        OFFER => reply.offer().map(Received::Offered),
        NAK => Ok(Received::Refused(reply.refusal())),
        other => Err(Malformed::MessageType(other)),
    }
}

/// Opens a server's message to the client with this transaction number and hardware address; as the inner error, what a
/// message is that is no reply to it.
pub(super) fn open(
    datagram: &Datagram<'_>,
    xid: u32,
    chaddr: MacAddress,
) -> Result<Result<Reply, Received>, Malformed> {
    let bytes = datagram.message;
    let message = Message::new(bytes).map_err(|_| Malformed::Short(bytes.len()))?;
    match u8::from(message.opcode()) {
        1 => return Ok(Err(Received::Unrelated)),
        2 => {}
        other => return Err(Malformed::Operation(other)),
    }
    if !bytes[236..].starts_with(&MAGIC) {
        return Err(Malformed::NoCookie);
    }
    // Checked before the length of chaddr: a malformed reply to another client is not counted as malformed here.
    if message.xid() != xid {
        return Ok(Err(Received::OtherExchange(message.xid())));
    }
    // `Message::chaddr` slices by `hlen` without looking.
    if message.hlen() != 6 || u8::from(message.htype()) != 1 {
        return Err(Malformed::HardwareAddress(message.htype().into(), message.hlen()));
    }
    if message.chaddr() != chaddr.octets() {
        return Ok(Err(Received::OtherClient));
    }
    let options = Options::of(bytes);
    let sender = Sender {
        server: options.address(54).unwrap_or(datagram.source_ip),
        mac: datagram.source_mac,
        ip: datagram.source_ip,
        relay: Some(message.giaddr()).filter(|relay| !relay.is_unspecified()),
    };
    let kind = options.byte(53).ok_or(Malformed::NoMessageType)?;
    Ok(Ok(Reply { kind, sender, address: message.yiaddr(), options }))
}

/// A server's message to this client, whatever its type.
pub(super) struct Reply {
    /// Message type (option 53).
    pub(super) kind: u8,
    pub(super) sender: Sender,
    /// `yiaddr`, as it came.
    pub(super) address: Ipv4Addr,
    pub(super) options: Options,
}

impl Reply {
    /// It, read as a DHCPOFFER.
    pub(super) fn offer(&self) -> Result<Offer, Malformed> {
        Ok(Offer {
            sender: self.sender,
            address: self.usable_address()?,
            mask: self.options.address(1),
            routers: self.options.routers(),
            lease: self.options.seconds(51),
            renewal: self.options.seconds(58),
            rebinding: self.options.seconds(59),
        })
    }

    /// It, read as a DHCPNAK.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal { sender: self.sender, message: self.options.text(56) }
    }

    /// `yiaddr`, where a client can have that address.
    pub(super) fn usable_address(&self) -> Result<Ipv4Addr, Malformed> {
        let address = self.address;
        let nobodys = address.octets()[0] == 0 || address.is_loopback() || address.is_multicast();
        if nobodys || address.is_broadcast() { Err(Malformed::Address(address)) } else { Ok(address) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dhcp::samples;
    use crate::dhcp::samples::{OFFER, OFFERED, SERVER, Wrapping, XID, client_mac, server_mac};

    fn received(message: &[u8]) -> Received {
        read(&Wrapping::default().around(message), XID, client_mac())
    }

    fn offered(frame: &[u8]) -> Offer {
        match read(frame, XID, client_mac()) {
            Received::Offered(offer) => offer,
            other => panic!("{other:?}"),
        }
    }

    fn plain_offer() -> Offer {
        offered(&samples::offer_frame())
    }

    #[test]
    fn a_complete_offer_is_read_completely() {
        let expected = Offer {
            sender: Sender { server: SERVER, mac: server_mac(), ip: SERVER, relay: None },
            address: OFFERED,
            mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            routers: vec![SERVER],
            lease: Some(Duration::from_secs(3600)),
            renewal: Some(Duration::from_secs(1800)),
            rebinding: Some(Duration::from_secs(3150)),
        };
        assert_eq!(plain_offer(), expected);
    }

    #[test]
    fn an_odd_offer_is_an_offer() {
        let without = |code: u8| OFFER.iter().copied().filter(|(c, _)| *c != code).collect::<Vec<_>>();
        let changed = |change: fn(&mut Offer)| {
            let mut offer = plain_offer();
            change(&mut offer);
            offer
        };
        let relayed = {
            let mut message = samples::reply(OFFER);
            message[24..28].copy_from_slice(&[10, 99, 0, 2]);
            message
        };
        let endless = [samples::bare_reply(), samples::encode(OFFER)].concat();
        let junk_behind = [samples::reply(OFFER), vec![0xde, 0xad, 0xff, 0x01]].concat();
        let cut_option = [endless.clone(), vec![12, 40, b'x']].concat();
        let padded = [samples::bare_reply(), vec![0; 60], samples::encode(OFFER)].concat();
        let (file_part, rest) = OFFER.split_at(4);
        let overloaded = {
            let mut message = samples::reply(&[rest, &[(52, &[1])]].concat());
            let file = samples::encode(file_part);
            message[108..][..file.len()].copy_from_slice(&file);
            message
        };
        let short_lease = [without(51), vec![(51, &[1][..])]].concat();
        let other_source = Wrapping { source: Ipv4Addr::new(10, 99, 0, 2), ..Wrapping::default() };
        let cases = [
            ("relayed", relayed, changed(|o| o.sender.relay = Some(Ipv4Addr::new(10, 99, 0, 2)))),
            ("no lease time", samples::reply(&without(51)), changed(|o| o.lease = None)),
            ("no T1", samples::reply(&without(58)), changed(|o| o.renewal = None)),
            ("no T2", samples::reply(&without(59)), changed(|o| o.rebinding = None)),
            ("no router", samples::reply(&without(3)), changed(|o| o.routers = vec![])),
            ("no mask", samples::reply(&without(1)), changed(|o| o.mask = None)),
            ("lease time of one byte", samples::reply(&short_lease), changed(|o| o.lease = None)),
            ("options without end", endless, plain_offer()),
            ("junk behind the end", junk_behind, plain_offer()),
            ("last option cut", cut_option, plain_offer()),
            ("pads before options", padded, plain_offer()),
            ("options in file", overloaded, plain_offer()),
        ];
        for (name, message, expected) in cases {
            assert_eq!(offered(&Wrapping::default().around(&message)), expected, "{name}");
        }

        let nameless = offered(&other_source.around(&samples::reply(&without(54))));
        assert_eq!(
            nameless.sender.server, other_source.source,
            "the source stands in for the server identifier"
        );
        let tagged = Wrapping { tags: vec![(0x8100, 120)], ..Wrapping::default() };
        let tagged = tagged.around(&samples::reply(OFFER));
        assert_eq!(read(&tagged, XID, client_mac()), Received::Tagged(120));
    }

    #[test]
    fn a_unicast_offer_is_an_offer() {
        let mut frame = samples::offer_frame();
        frame[..6].copy_from_slice(&client_mac().octets());
        assert_eq!(offered(&frame), plain_offer());
    }

    #[test]
    fn what_is_wrong_with_a_reply_is_named() {
        let patched = |at: usize, byte: u8| {
            let mut message = samples::reply(OFFER);
            message[at] = byte;
            message
        };
        let address = |address: [u8; 4]| {
            let mut message = samples::reply(OFFER);
            message[16..20].copy_from_slice(&address);
            message
        };
        let cases = [
            (samples::reply(OFFER)[..239].to_vec(), "message of 239 bytes, a DHCP message has at least 240"),
            (vec![], "message of 0 bytes, a DHCP message has at least 240"),
            (patched(0, 7), "operation code 7, a reply has 2"),
            (patched(236, 0), "no DHCP magic cookie"),
            (patched(2, 255), "hardware address of type 1 and length 255, Ethernet has 1 and 6"),
            (patched(2, 17), "hardware address of type 1 and length 17, Ethernet has 1 and 6"),
            (patched(2, 0), "hardware address of type 1 and length 0, Ethernet has 1 and 6"),
            (patched(1, 6), "hardware address of type 6 and length 6, Ethernet has 1 and 6"),
            (samples::reply(&[]), "BOOTP reply without a DHCP message type"),
            (samples::reply(&[(53, &[])]), "BOOTP reply without a DHCP message type"),
            (samples::reply(&[(53, &[5])]), "message type 5 in reply to a DHCPDISCOVER"),
            (address([0, 0, 0, 0]), "offer of 0.0.0.0, which is no client's address"),
            (address([224, 0, 0, 1]), "offer of 224.0.0.1, which is no client's address"),
            (address([255; 4]), "offer of 255.255.255.255, which is no client's address"),
        ];
        for (message, expected) in cases {
            match received(&message) {
                Received::Malformed(what) => assert_eq!(what.to_string(), expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        let mut frame = samples::offer_frame();
        frame[14 + 8] ^= 1;
        assert_eq!(
            read(&frame, XID, client_mac()),
            Received::Malformed(Malformed::Frame(BadFrame::HeaderChecksum))
        );
    }

    #[test]
    fn replies_to_others_and_requests_are_told_apart() {
        let frame = samples::offer_frame();
        assert_eq!(read(&frame, XID + 1, client_mac()), Received::OtherExchange(XID));
        assert_eq!(read(&frame, XID, server_mac()), Received::OtherClient);
        let mut request = samples::reply(OFFER);
        request[0] = 1;
        assert_eq!(received(&request), Received::Unrelated);
    }

    #[test]
    fn a_refusal_carries_the_servers_words() {
        let message = samples::reply(&[(53, &[6]), (54, &SERVER.octets()), (56, b"wrong network")]);
        let Received::Refused(refusal) = received(&message) else { panic!("no refusal") };
        assert_eq!(refusal.sender.server, SERVER);
        assert_eq!(refusal.message.as_deref(), Some("wrong network"));
    }

    #[test]
    fn no_truncation_and_no_changed_byte_panics() {
        let frame = samples::offer_frame();
        for length in 0..frame.len() {
            // The last byte is the end option; without it the IPv4 length is a lie.
            assert!(!matches!(read(&frame[..length], XID, client_mac()), Received::Offered(_)), "{length}");
        }
        let mut mutated = frame.clone();
        for at in 0..frame.len() {
            for byte in 0..=u8::MAX {
                mutated[at] = byte;
                let _ = read(&mutated, XID, client_mac());
            }
            mutated[at] = frame[at];
        }
        assert_eq!(mutated, frame);
    }

    proptest! {
        #[test]
        fn arbitrary_frames_do_not_panic(frame in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&frame, XID, client_mac());
        }

        #[test]
        fn arbitrary_options_do_not_panic(options in prop::collection::vec(any::<u8>(), 0..600), tail in any::<[u8; 192]>()) {
            let mut message = [samples::bare_reply(), samples::encode(&[(53, &[2]), (52, &[3])]), options].concat();
            message[44..236].copy_from_slice(&tail);
            prop_assert!(matches!(received(&message), Received::Offered(_)));
        }

        #[test]
        fn what_a_server_offers_is_what_is_read(
            address in [1u8..=126, 0..=255, 0..=255, 1..=254],
            mask in any::<[u8; 4]>(),
            lease in any::<u32>(),
            routers in prop::collection::vec(1u32..u32::MAX, 0..8),
        ) {
            let listed: Vec<u8> = routers.iter().flat_map(|router| router.to_be_bytes()).collect();
            let lease_bytes = lease.to_be_bytes();
            let mut message = samples::reply(&[(3, &listed), (53, &[2]), (1, &mask), (51, &lease_bytes)]);
            message[16..20].copy_from_slice(&address);
            let offer = offered(&Wrapping::default().around(&message));
            prop_assert_eq!(offer.address.octets(), address);
            prop_assert_eq!(offer.mask, Some(Ipv4Addr::from(mask)).filter(|mask| !mask.is_unspecified()));
            prop_assert_eq!(offer.lease, Some(Duration::from_secs(lease.into())));
            let mut expected: Vec<Ipv4Addr> = routers.into_iter().map(Ipv4Addr::from).collect();
            let mut seen = std::collections::HashSet::new();
            expected.retain(|router| seen.insert(*router));
            prop_assert_eq!(offer.routers, expected);
        }
    }
}
