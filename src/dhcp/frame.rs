//! Ethernet II, IPv4 and UDP headers around a DHCP message. It knows nothing of what the message says.

use std::fmt;
use std::net::Ipv4Addr;

use dhcproto::v4::{CLIENT_PORT, SERVER_PORT};

use crate::net::MacAddress;

const ETHERTYPE_IPV4: u16 = 0x0800;
/// 802.1Q and 802.1ad tags (kernel `ETH_P_8021Q`, `ETH_P_8021AD`).
const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];
const IPV4_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const PROTOCOL_UDP: u8 = 17;

/// A message to the DHCP client port, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Ethernet source: the server, or the relay or router that delivered its reply.
    pub source_mac: MacAddress,
    /// IPv4 source.
    pub source_ip: Ipv4Addr,
    /// The UDP payload.
    pub message: &'a [u8],
}

/// Why a frame yields no message for a DHCP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Other traffic.
    Unrelated,
    /// For a DHCP client in the VLAN with this identifier, the outermost one: an IP stack takes no tagged frame. A tag of
    /// VLAN 0 carries priority only and counts as none.
    Tagged(u16),
    /// For a DHCP client, but no client's IP stack would take it.
    Malformed(BadFrame),
}

/// What is wrong with the headers of a frame for a DHCP client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    /// The IPv4 header checksum (RFC 791 section 3.1) does not match.
    HeaderChecksum,
    /// The IPv4 total length (first) exceeds the bytes that arrived (second).
    TotalLength(usize, usize),
    /// The first of several IPv4 fragments. A client without an address reassembles none.
    Fragment,
    /// The UDP length (first) does not fit the IPv4 payload (second).
    UdpLength(usize, usize),
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderChecksum => f.write_str("wrong IPv4 header checksum"),
            Self::TotalLength(said, arrived) => write!(f, "IPv4 length {said}, but {arrived} bytes arrived"),
            Self::Fragment => f.write_str("fragmented IPv4 packet"),
            Self::UdpLength(said, available) => write!(f, "UDP length {said} in {available} bytes of IPv4"),
        }
    }
}

/// A broadcast from a client without an address: 0.0.0.0:68 to 255.255.255.255:67 (RFC 2131 section 4.1).
///
/// The Ethernet source may differ from the message's `chaddr`. `message` must fit an Ethernet frame.
pub fn broadcast(source: MacAddress, message: &[u8]) -> Vec<u8> {
    to_server(source, [0xff; 6], Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, message)
}

/// From port 68 of a client's address to port 67 of a server's, over the next hop with this hardware address.
/// `message` must fit an Ethernet frame.
pub fn to_server(source: MacAddress, hop: [u8; 6], from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let udp_length = (UDP_HEADER + message.len()) as u16;

    let mut ip = [0; IPV4_HEADER];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(IPV4_HEADER as u16 + udp_length).to_be_bytes());
    ip[8] = 64;
    ip[9] = PROTOCOL_UDP;
    ip[12..16].copy_from_slice(&from.octets());
    ip[16..20].copy_from_slice(&to.octets());
    let checksum = !sum(0, &ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());

    let mut udp = [0; UDP_HEADER];
    udp[0..2].copy_from_slice(&CLIENT_PORT.to_be_bytes());
    udp[2..4].copy_from_slice(&SERVER_PORT.to_be_bytes());
    udp[4..6].copy_from_slice(&udp_length.to_be_bytes());
    let pseudo_header = sum(u32::from(PROTOCOL_UDP) + u32::from(udp_length), &ip[12..20]);
    let checksum = !sum(u32::from(sum(u32::from(pseudo_header), &udp)), message);
    // Zero would say "no checksum" (RFC 768).
    let checksum = if checksum == 0 { u16::MAX } else { checksum };
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());

    [&hop[..], &source.octets(), &ETHERTYPE_IPV4.to_be_bytes(), &ip, &udp, message].concat()
}

/// Takes a DHCP client's message out of a received frame.
///
/// The UDP checksum is not looked at: virtio and veth leave it half computed, and the frame crossed no wire then.
///
/// # Errors
/// [`Unusable::Unrelated`] for other traffic, [`Unusable::Malformed`] for what no client would accept.
pub fn parse(frame: &[u8]) -> Result<Datagram<'_>, Unusable> {
    use Unusable::{Malformed, Tagged, Unrelated};

    let source_mac = MacAddress::new(array(frame, 6).ok_or(Unrelated)?).map_err(|_| Unrelated)?;
    let mut vlan = None;
    let mut at = 12;
    // Two tags at most: a provider's and a customer's.
    for _ in 0..2 {
        if !ETHERTYPES_VLAN.contains(&u16_at(frame, at).ok_or(Unrelated)?) {
            break;
        }
        let identifier = u16_at(frame, at + 2).ok_or(Unrelated)? & 0x0fff;
        vlan = vlan.or((identifier != 0).then_some(identifier));
        at += 4;
    }
    if u16_at(frame, at) != Some(ETHERTYPE_IPV4) {
        return Err(Unrelated);
    }

    let ip = frame.get(at + 2..).ok_or(Unrelated)?;
    let version_and_length = *ip.first().ok_or(Unrelated)?;
    let header_length = usize::from(version_and_length & 0x0f) * 4;
    let header = ip.get(..header_length).ok_or(Unrelated)?;
    if version_and_length >> 4 != 4 || header_length < IPV4_HEADER || header[9] != PROTOCOL_UDP {
        return Err(Unrelated);
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if fragment & 0x1fff != 0 || u16_at(ip, header_length + 2) != Some(CLIENT_PORT) {
        return Err(Unrelated);
    }

    if let Some(vlan) = vlan {
        return Err(Tagged(vlan));
    }
    if sum(0, header) != u16::MAX {
        return Err(Malformed(BadFrame::HeaderChecksum));
    }
    if fragment & 0x2000 != 0 {
        return Err(Malformed(BadFrame::Fragment));
    }
    let total_length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // What follows the total length pads the frame to Ethernet's minimum.
    let udp = ip
        .get(header_length..total_length)
        .ok_or(Malformed(BadFrame::TotalLength(total_length, ip.len())))?;
    let udp_length = u16_at(udp, 4).map_or(0, usize::from);
    let message =
        udp.get(UDP_HEADER..udp_length).ok_or(Malformed(BadFrame::UdpLength(udp_length, udp.len())))?;
    Ok(Datagram {
        source_mac,
        source_ip: Ipv4Addr::from([header[12], header[13], header[14], header[15]]),
        message,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// One's complement sum of 16-bit words (RFC 1071), not inverted; `initial` is what was summed before.
fn sum(initial: u32, bytes: &[u8]) -> u16 {
    let mut total = initial;
    for word in bytes.chunks(2) {
        total += u32::from(word[0]) << 8 | word.get(1).copied().map_or(0, u32::from);
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::samples;
    use crate::dhcp::samples::Wrapping;

    #[test]
    fn a_broadcast_has_valid_headers_and_checksums() {
        let source = MacAddress::local([1, 2, 3, 4, 5, 6]);
        for message in [&b"even"[..], b"odd"] {
            let frame = broadcast(source, message);
            assert_eq!(frame[..6], [0xff; 6]);
            assert_eq!(frame[6..12], source.octets());
            assert_eq!(frame[12..14], [8, 0]);
            let (ip, udp) = frame[14..].split_at(20);
            assert_eq!(sum(0, ip), 0xffff);
            assert_eq!(ip[12..], [0, 0, 0, 0, 255, 255, 255, 255]);
            assert_eq!(udp[..6], [0, 68, 0, 67, 0, 8 + message.len() as u8]);
            assert_ne!(udp[6..8], [0, 0]);
            assert_eq!(sum(17 + udp.len() as u32 + u32::from(sum(0, &ip[12..])), udp), 0xffff);
        }
    }

    #[test]
    fn a_unicast_goes_from_the_leased_address_over_the_next_hop() {
        let source = MacAddress::local([1, 2, 3, 4, 5, 6]);
        let frame = to_server(source, [2; 6], samples::OFFERED, samples::SERVER, b"message");
        assert_eq!((&frame[..6], &frame[6..12]), (&[2; 6][..], &source.octets()[..]));
        assert_eq!(frame[26..34], [10, 77, 0, 50, 10, 77, 0, 1]);
        assert_eq!(sum(0, &frame[14..34]), 0xffff);
    }

    #[test]
    fn the_checksum_of_a_known_header() {
        // The example header that RFC 1071's readers know: sum b1e6 without its checksum field.
        let mut header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(!sum(0, &header), 0xb861);
        header[10..12].copy_from_slice(&[0xb8, 0x61]);
        assert_eq!(sum(0, &header), 0xffff);
    }

    #[test]
    fn what_a_client_would_take_is_taken() {
        let plain = Wrapping::default();
        let cases = [
            ("plain", plain.clone()),
            ("priority tag", Wrapping { tags: vec![(0x8100, 0xe000)], ..plain.clone() }),
            ("IP options", Wrapping { ip_options: vec![1; 40], ..plain.clone() }),
            ("no UDP checksum", Wrapping { udp_checksum: 0, ..plain.clone() }),
            ("partial UDP checksum", Wrapping { udp_checksum: 0x1234, ..plain.clone() }),
            ("don't fragment", Wrapping { fragment: 0x4000, ..plain.clone() }),
            ("padded", Wrapping { padding: 46, ..plain.clone() }),
            ("server on another port", Wrapping { source_port: 1067, ..plain.clone() }),
        ];
        for (name, wrapping) in cases {
            let frame = wrapping.around(b"message");
            let expected = Datagram {
                source_mac: samples::server_mac(),
                source_ip: samples::SERVER,
                message: b"message",
            };
            assert_eq!(parse(&frame), Ok(expected), "{name}");
        }
    }

    #[test]
    fn another_vlans_frame_is_told_apart_whatever_is_wrong_with_it() {
        let cases = [
            (vec![(0x8100, 0x6078)], 0, 0x78),
            (vec![(0x88a8, 5), (0x8100, 7)], 0, 5),
            (vec![(0x8100, 0xe000), (0x8100, 7)], 0, 7),
            (vec![(0x8100, 5)], 0x2000, 5),
        ];
        for (tags, fragment, vlan) in cases {
            let wrapping = Wrapping { tags, fragment, ..Wrapping::default() };
            assert_eq!(parse(&wrapping.around(b"message")), Err(Unusable::Tagged(vlan)));
        }
    }

    #[test]
    fn what_no_client_would_take_is_named() {
        use BadFrame::{Fragment, HeaderChecksum, TotalLength, UdpLength};
        let plain = Wrapping::default();
        let mut bad_checksum = plain.around(b"message");
        bad_checksum[14 + 10] ^= 1;
        let mut cut = plain.around(b"message");
        cut.truncate(cut.len() - 1);
        let cases = [
            (HeaderChecksum, bad_checksum),
            (TotalLength(35, 34), cut),
            (TotalLength(10, 35), Wrapping { total_length: Some(10), ..plain.clone() }.around(b"message")),
            (Fragment, Wrapping { fragment: 0x2000, ..plain.clone() }.around(b"message")),
            (UdpLength(16, 15), Wrapping { udp_length: Some(16), ..plain.clone() }.around(b"message")),
            (UdpLength(7, 15), Wrapping { udp_length: Some(7), ..plain.clone() }.around(b"message")),
            (UdpLength(0, 15), Wrapping { udp_length: Some(0), ..plain.clone() }.around(b"message")),
            (UdpLength(0, 4), Wrapping { total_length: Some(24), ..plain }.around(b"message")),
        ];
        for (expected, frame) in cases {
            assert_eq!(parse(&frame), Err(Unusable::Malformed(expected)), "{expected}");
        }
    }

    #[test]
    fn other_traffic_is_unrelated() {
        let plain = Wrapping::default();
        let mut tcp = plain.around(b"message");
        tcp[14 + 9] = 6;
        let mut ipv6 = plain.around(b"message");
        ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
        let mut version = plain.around(b"message");
        version[14] = 0x65;
        let mut short_header = plain.around(b"message");
        short_header[14] = 0x44;
        let mut multicast_source = plain.around(b"message");
        multicast_source[6] = 1;
        let three_tags = Wrapping { tags: vec![(0x8100, 1); 3], ..plain.clone() }.around(b"message");
        let later_fragment = Wrapping { fragment: 0x0010, ..plain.clone() }.around(b"message");
        let other_port = Wrapping { destination_port: 67, ..plain }.around(b"message");
        let frames = [
            vec![],
            tcp,
            ipv6,
            version,
            short_header,
            multicast_source,
            three_tags,
            later_fragment,
            other_port,
        ];
        for frame in frames {
            assert_eq!(parse(&frame), Err(Unusable::Unrelated), "{frame:02x?}");
        }
    }
}
