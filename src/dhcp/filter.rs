//! The packet filters of our sockets: which frames the kernel hands over at all.
//!
//! It only keeps other traffic away from the process; what it lets through is still untrusted.

use socket2::SockFilter;

use crate::net::MacAddress;

// Instructions of classic BPF (linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD_INDEXED: u16 = 0x40;
const LOAD_HALF_INDEXED: u16 = 0x48;
const LOAD_IPV4_HEADER_LENGTH: u16 = 0xb1;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Where the kernel shows the interface's index (linux/filter.h, SKF_AD_OFF + SKF_AD_IFINDEX).
const INTERFACE: u32 = 0xffff_f008;
/// Where the kernel shows `skb->pkt_type` (linux/filter.h, SKF_AD_OFF + SKF_AD_PKTTYPE).
const PACKET_TYPE: u32 = 0xffff_f004;
/// Sent by this host (linux/if_packet.h). On a bridge device those are the node's own services' frames to others,
/// which a client at that place would not receive.
const PACKET_OUTGOING: u32 = 4;

/// Dispatch and bodies of a program end with these two: what is let through, and what is not.
const ACCEPT: u8 = 254;
/// See [`ACCEPT`].
const REFUSE: u8 = 255;
/// Ports of DHCP's servers and clients.
const SERVER_PORT: u32 = 67;
const CLIENT_PORT: u32 = 68;
/// Bytes that a bystander needs: all headers, and a message up to its transaction number.
const GLIMPSE: u32 = 128;

/// Instruction, steps to skip if true, steps to skip if false, operand.
type Step = (u16, u8, u8, u32);

/// Unfragmented UDP over IPv4 to one of these ports, with one VLAN tag or none: the kernel takes the outermost tag out of a
/// received frame before it asks. What is tagged is heard to be told of.
fn udp_to(ports: &[u32], length: u32) -> Vec<Step> {
    let body = |shift: u32| {
        // Protocol, fragment offset, destination port behind the IPv4 header and its options.
        let mut steps = vec![
            (LOAD_BYTE, 0, 0, 23 + shift),
            (IF_EQUAL, 0, REFUSE, 17),
            (LOAD_HALF, 0, 0, 20 + shift),
            (IF_ANY_BIT, REFUSE, 0, 0x1fff),
            (LOAD_IPV4_HEADER_LENGTH, 0, 0, 14 + shift),
            (LOAD_HALF_INDEXED, 0, 0, 16 + shift),
        ];
        steps.extend(ports.iter().map(|&port| (IF_EQUAL, ACCEPT, 0, port)));
        steps.push((RETURN, 0, 0, 0));
        steps
    };
    let untagged = body(0);
    let behind = untagged.len() as u8;
    let mut steps = vec![
        (LOAD_HALF, 0, 0, 12),
        (IF_EQUAL, 2, 0, 0x0800),
        (IF_EQUAL, behind + 1, 0, 0x8100),
        (IF_EQUAL, behind, REFUSE, 0x88a8),
    ];
    steps.extend(untagged);
    steps.extend([(LOAD_HALF, 0, 0, 16), (IF_EQUAL, 0, REFUSE, 0x0800)]);
    steps.extend(body(4));
    let accept = steps.len();
    steps.extend([(RETURN, 0, 0, length), (RETURN, 0, 0, 0)]);
    let resolved = |at: usize, skip: u8| match skip {
        ACCEPT => (accept - at - 1) as u8,
        REFUSE => (accept - at) as u8,
        near => near,
    };
    let steps = steps.into_iter().enumerate();
    steps.map(|(at, (code, yes, no, operand))| (code, resolved(at, yes), resolved(at, no), operand)).collect()
}

/// What is received, not what this host sends.
fn received_by_a_client() -> Vec<Step> {
    let mut steps =
        vec![(LOAD_BYTE, 0, 0, PACKET_TYPE), (IF_EQUAL, 0, 1, PACKET_OUTGOING), (RETURN, 0, 0, 0)];
    steps.extend(udp_to(&[CLIENT_PORT], u32::MAX));
    steps
}

/// What is seen on one of these interfaces, of which there are a few.
fn on(interfaces: &[u32]) -> Vec<Step> {
    let mut steps = vec![(LOAD_WORD, 0, 0, INTERFACE)];
    let behind = |position: usize| (interfaces.len() - position) as u8;
    steps.extend(
        interfaces.iter().enumerate().map(|(position, &index)| (IF_EQUAL, behind(position), 0, index)),
    );
    steps.push((RETURN, 0, 0, 0));
    steps
}

/// Broadcasts that come in from elsewhere.
const FOREIGN_BROADCASTS: [Step; 7] = [
    (LOAD_BYTE, 0, 0, PACKET_TYPE),
    (IF_EQUAL, 5, 0, PACKET_OUTGOING),
    (LOAD_WORD, 0, 0, 0),
    (IF_EQUAL, 0, 3, 0xffff_ffff),
    (LOAD_HALF, 0, 0, 4),
    (IF_EQUAL, 0, 1, 0xffff),
    (RETURN, 0, 0, GLIMPSE),
];

/// The program for a DHCP client on one interface, as the kernel takes it (SO_ATTACH_FILTER, socket(7)).
pub fn dhcp_client(ifindex: u32) -> Vec<SockFilter> {
    instructions([on(&[ifindex]), received_by_a_client()].concat())
}

/// The program for one DHCP client on one interface: untagged replies with its hardware address and no others', which wake
/// nobody then.
pub fn one_client(ifindex: u32, chaddr: MacAddress) -> Vec<SockFilter> {
    instructions([on(&[ifindex]), replies_to(chaddr)].concat())
}

/// The program for a bystander on these interfaces: the beginning of DHCP's frames in both directions, and with `broadcasts`
/// of all broadcasts that come in.
pub fn witness(interfaces: &[u32], broadcasts: bool) -> Vec<SockFilter> {
    let foreign = if broadcasts { FOREIGN_BROADCASTS.to_vec() } else { Vec::new() };
    instructions([on(interfaces), foreign, udp_to(&[SERVER_PORT, CLIENT_PORT], GLIMPSE)].concat())
}

fn replies_to(chaddr: MacAddress) -> Vec<Step> {
    let [a, b, c, d, e, f] = chaddr.octets();
    // Loads, each with the value that lets the frame pass.
    let checks = [
        ((LOAD_HALF, 12), 0x0800),
        ((LOAD_BYTE, 23), 17),
        ((LOAD_HALF_INDEXED, 16), 68),
        ((LOAD_WORD_INDEXED, 50), u32::from_be_bytes([a, b, c, d])),
        ((LOAD_HALF_INDEXED, 54), u32::from(u16::from_be_bytes([e, f]))),
    ];
    let mut steps = vec![
        (LOAD_BYTE, 0, 0, PACKET_TYPE),
        (IF_EQUAL, 0, 1, PACKET_OUTGOING),
        (RETURN, 0, 0, 0),
        (LOAD_HALF, 0, 0, 20),
        (IF_ANY_BIT, 0, 1, 0x1fff),
        (RETURN, 0, 0, 0),
        (LOAD_IPV4_HEADER_LENGTH, 0, 0, 14),
    ];
    for ((load, at), wanted) in checks {
        steps.extend([(load, 0, 0, at), (IF_EQUAL, 1, 0, wanted), (RETURN, 0, 0, 0)]);
    }
    steps.push((RETURN, 0, 0, u32::MAX));
    steps
}

fn instructions(steps: Vec<Step>) -> Vec<SockFilter> {
    let instruction = |(code, if_true, if_false, operand)| SockFilter::new(code, if_true, if_false, operand);
    steps.into_iter().map(instruction).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::dhcp::samples::Wrapping;

    /// Asks the kernel itself: it runs the filter of any datagram socket over the bytes sent to it. Only the test of
    /// the interface needs a real one.
    fn passes(frame: &[u8]) -> bool {
        heard_of(received_by_a_client(), frame) == Some(frame.len())
    }

    /// How many of the frame's bytes a socket with this program is given.
    fn heard_of(program: Vec<Step>, frame: &[u8]) -> Option<usize> {
        let (sender, mut receiver) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        receiver.attach_filter(&instructions(program)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        // A filtered datagram is an error for the sender, too; the receiver tells it better.
        let _ = sender.send(frame);
        let mut buffer = [0; 2048];
        let length = receiver.read(&mut buffer).ok()?;
        assert_eq!(buffer[..length], frame[..length]);
        Some(length)
    }

    #[test]
    fn a_clients_frames_pass_and_no_others() {
        let plain = Wrapping::default();
        let message = crate::dhcp::samples::reply(crate::dhcp::samples::OFFER);
        let frame = |wrapping: &Wrapping| wrapping.around(&message);
        let with = |change: fn(&mut Wrapping)| {
            let mut wrapping = plain.clone();
            change(&mut wrapping);
            frame(&wrapping)
        };
        let patched = |at: usize, bytes: &[u8]| {
            let mut frame = frame(&plain);
            frame[at..][..bytes.len()].copy_from_slice(bytes);
            frame
        };
        let wanted = [
            ("plain", frame(&plain)),
            ("802.1Q", with(|w| w.tags = vec![(0x8100, 120)])),
            ("802.1ad", with(|w| w.tags = vec![(0x88a8, 120)])),
            ("IP options", with(|w| w.ip_options = vec![1; 40])),
            ("tag and IP options", with(|w| (w.tags, w.ip_options) = (vec![(0x8100, 1)], vec![1; 12]))),
            ("first fragment", with(|w| w.fragment = 0x2000)),
            ("other source port", with(|w| w.source_port = 1067)),
        ];
        for (name, frame) in wanted {
            assert!(passes(&frame), "{name}");
        }

        let unwanted = [
            ("to a server", with(|w| w.destination_port = 67)),
            ("to a server, tagged", with(|w| (w.destination_port, w.tags) = (67, vec![(0x8100, 1)]))),
            ("later fragment", with(|w| w.fragment = 0x0001)),
            ("later fragment, tagged", with(|w| (w.fragment, w.tags) = (0x2010, vec![(0x8100, 1)]))),
            ("ARP", patched(12, &[8, 6])),
            ("IPv6", patched(12, &[0x86, 0xdd])),
            ("tagged ARP", patched(12, &[0x81, 0, 0, 1, 8, 6])),
            ("TCP", patched(23, &[6])),
            (
                "port 68 only without the IP options",
                with(|w| (w.ip_options, w.destination_port) = (vec![0, 68, 0, 68], 9)),
            ),
            ("cut in the Ethernet header", frame(&plain)[..13].to_vec()),
            ("cut in the UDP header", frame(&plain)[..36].to_vec()),
        ];
        for (name, frame) in unwanted {
            assert!(!passes(&frame), "{name}");
        }
    }

    #[test]
    fn a_bystander_hears_dhcp_of_both_directions_and_foreign_broadcasts() {
        let message = crate::dhcp::samples::reply(crate::dhcp::samples::OFFER);
        let to = |port, tags: Vec<(u16, u16)>| {
            let wrapping = Wrapping { destination_port: port, tags, ..Wrapping::default() };
            let mut frame = wrapping.around(&message);
            frame[0] = 2;
            frame
        };
        let ports = || udp_to(&[SERVER_PORT, CLIENT_PORT], GLIMPSE);
        for tags in [vec![], vec![(0x8100, 120)]] {
            assert_eq!(heard_of(ports(), &to(67, tags.clone())), Some(GLIMPSE as usize));
            assert_eq!(heard_of(ports(), &to(68, tags.clone())), Some(GLIMPSE as usize));
            assert_eq!(heard_of(ports(), &to(69, tags)), None);
        }
        let everything = || [FOREIGN_BROADCASTS.to_vec(), ports()].concat();
        assert_eq!(heard_of(everything(), &[0xff; 60]), Some(60));
        assert_eq!(heard_of(everything(), &to(68, vec![])), Some(GLIMPSE as usize));
        for start in [[0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], [2, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(heard_of(everything(), &[&start[..], &[0xff; 54]].concat()), None);
        }
    }

    #[test]
    fn one_clients_replies_pass_and_no_others() {
        let client = crate::dhcp::samples::client_mac();
        let passes = |frame: &[u8]| heard_of(replies_to(client), frame) == Some(frame.len());
        let plain = Wrapping::default();
        let message = crate::dhcp::samples::reply(crate::dhcp::samples::OFFER);
        let with_options = Wrapping { ip_options: vec![1; 8], ..plain.clone() };
        assert!(passes(&plain.around(&message)));
        assert!(passes(&with_options.around(&message)));
        for at in [28, 33] {
            let mut other = message.clone();
            other[at] ^= 1;
            assert!(!passes(&plain.around(&other)), "another chaddr, byte {at}");
        }
        let unwanted = [
            Wrapping { destination_port: 67, ..plain.clone() },
            Wrapping { fragment: 0x0010, ..plain.clone() },
            Wrapping { tags: vec![(0x8100, 5)], ..plain.clone() },
        ];
        for wrapping in unwanted {
            assert!(!passes(&wrapping.around(&message)));
        }
    }
}
