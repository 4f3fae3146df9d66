//! The packet filter of the probe's socket: which frames the kernel hands over at all.
//!
//! It only keeps other traffic away from the process; what it lets through is still untrusted.

use socket2::SockFilter;

// Instructions of classic BPF (linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
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

/// Unfragmented UDP over IPv4 to the DHCP client port, received rather than sent, with one VLAN tag or none: the kernel
/// takes the outermost tag out of a received frame before it asks. What is tagged is heard to be told of.
///
/// Instruction, steps to skip if true, steps to skip if false, operand.
const PROGRAM: [(u16, u8, u8, u32); 24] = [
    (LOAD_BYTE, 0, 0, PACKET_TYPE),
    (IF_EQUAL, 21, 0, PACKET_OUTGOING),
    (LOAD_HALF, 0, 0, 12),
    (IF_EQUAL, 2, 0, 0x0800),
    (IF_EQUAL, 8, 0, 0x8100),
    (IF_EQUAL, 7, 17, 0x88a8),
    // Untagged: protocol, fragment offset, destination port behind the IPv4 header and its options.
    (LOAD_BYTE, 0, 0, 23),
    (IF_EQUAL, 0, 15, 17),
    (LOAD_HALF, 0, 0, 20),
    (IF_ANY_BIT, 13, 0, 0x1fff),
    (LOAD_IPV4_HEADER_LENGTH, 0, 0, 14),
    (LOAD_HALF_INDEXED, 0, 0, 16),
    (IF_EQUAL, 9, 10, 68),
    // Tagged: the same, four bytes further on.
    (LOAD_HALF, 0, 0, 16),
    (IF_EQUAL, 0, 8, 0x0800),
    (LOAD_BYTE, 0, 0, 27),
    (IF_EQUAL, 0, 6, 17),
    (LOAD_HALF, 0, 0, 24),
    (IF_ANY_BIT, 4, 0, 0x1fff),
    (LOAD_IPV4_HEADER_LENGTH, 0, 0, 18),
    (LOAD_HALF_INDEXED, 0, 0, 20),
    (IF_EQUAL, 0, 1, 68),
    (RETURN, 0, 0, u32::MAX),
    (RETURN, 0, 0, 0),
];

/// The program for a DHCP client on one interface, as the kernel takes it (SO_ATTACH_FILTER, socket(7)).
pub fn dhcp_client(ifindex: u32) -> Vec<SockFilter> {
    let on_interface = [(LOAD_WORD, 0, 0, INTERFACE), (IF_EQUAL, 1, 0, ifindex), (RETURN, 0, 0, 0)];
    instructions(on_interface.iter().chain(&PROGRAM))
}

fn instructions<'a>(steps: impl IntoIterator<Item = &'a (u16, u8, u8, u32)>) -> Vec<SockFilter> {
    let instruction =
        |&(code, if_true, if_false, operand): &_| SockFilter::new(code, if_true, if_false, operand);
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
        let (sender, mut receiver) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        receiver.attach_filter(&instructions(&PROGRAM)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        // A filtered datagram is an error for the sender, too; the receiver tells it better.
        let _ = sender.send(frame);
        let mut buffer = [0; 2048];
        receiver.read(&mut buffer).is_ok_and(|length| buffer[..length] == *frame)
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
}
