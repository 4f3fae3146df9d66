//! What a frame that passes an interface tells a bystander: its direction, its VLAN, and whose DHCP message it is.

/// Sent by this host (PACKET_OUTGOING of linux/if_packet.h).
const OUTGOING: u8 = 4;
const ETHERTYPE_IPV4: u16 = 0x0800;
/// 802.1Q and 802.1ad tags.
const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];
const PROTOCOL_UDP: u8 = 17;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// Operation codes (RFC 2131 section 2).
const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;

/// A frame, from the view of a bystander.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overheard {
    /// It leaves by the interface; otherwise it enters.
    pub leaving: bool,
    /// The identifier of its outermost tag; 0 is untagged, as is a tag of priority alone.
    pub vlan: u16,
    /// What it says, if it is DHCP.
    pub dhcp: Option<Dhcp>,
}

/// A DHCP message's direction, with its transaction number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dhcp {
    /// From a client.
    Question(u32),
    /// From a server.
    Answer(u32),
}

/// Reads a frame of which the kernel says that it is of this packet type. Any bytes will do.
pub fn overheard(frame: &[u8], packet_type: u8) -> Overheard {
    let mut vlan = 0;
    let mut at = 12;
    // Two tags at most: a provider's and a customer's.
    for _ in 0..2 {
        let tagged = u16_at(frame, at).is_some_and(|kind| ETHERTYPES_VLAN.contains(&kind));
        let Some(tag) = u16_at(frame, at + 2).filter(|_| tagged) else { break };
        if vlan == 0 {
            vlan = tag & 0x0fff;
        }
        at += 4;
    }
    Overheard { leaving: packet_type == OUTGOING, vlan, dhcp: dhcp(frame, at) }
}

/// The DHCP message of an unfragmented UDP datagram over IPv4, whose type stands at `at`.
fn dhcp(frame: &[u8], at: usize) -> Option<Dhcp> {
    let ip = frame.get(at + 2..).filter(|_| u16_at(frame, at) == Some(ETHERTYPE_IPV4))?;
    let fragment = u16_at(ip, 6)? & 0x1fff;
    if *ip.get(9)? != PROTOCOL_UDP || fragment != 0 {
        return None;
    }
    let udp = ip.get(usize::from(ip.first()? & 0x0f) * 4..)?;
    let message = udp.get(8..)?;
    let xid = u32::from_be_bytes(*message.get(4..)?.first_chunk()?);
    match (u16_at(udp, 2)?, *message.first()?) {
        (SERVER_PORT, BOOTREQUEST) => Some(Dhcp::Question(xid)),
        (CLIENT_PORT, BOOTREPLY) => Some(Dhcp::Answer(xid)),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dhcp::samples::{self, Wrapping};

    const ENTERING: u8 = 1;

    fn answer(change: impl FnOnce(&mut Wrapping)) -> Vec<u8> {
        let mut wrapping = Wrapping::default();
        change(&mut wrapping);
        wrapping.around(&samples::reply(samples::OFFER))
    }

    #[test]
    fn direction_vlan_and_transaction_are_told() {
        let said = Some(Dhcp::Answer(samples::XID));
        let of = |frame: &[u8], kind| overheard(frame, kind);
        let plain = answer(|_| {});
        assert_eq!(of(&plain, ENTERING), Overheard { leaving: false, vlan: 0, dhcp: said });
        assert!(of(&plain, OUTGOING).leaving);
        let tagged = answer(|wrapping| wrapping.tags = vec![(0x8100, 120)]);
        assert_eq!(of(&tagged, ENTERING), Overheard { leaving: false, vlan: 120, dhcp: said });
        let twice = answer(|wrapping| wrapping.tags = vec![(0x88a8, 7), (0x8100, 120)]);
        assert_eq!(of(&twice, ENTERING).vlan, 7);
        let priority = answer(|wrapping| wrapping.tags = vec![(0x8100, 0xe000)]);
        assert_eq!(of(&priority, ENTERING), Overheard { leaving: false, vlan: 0, dhcp: said });
        let options = answer(|wrapping| wrapping.ip_options = vec![1; 40]);
        assert_eq!(of(&options, ENTERING).dhcp, said);
    }

    #[test]
    fn a_question_is_told_from_an_answer() {
        let mac = samples::client_mac();
        let message = crate::dhcp::discover::message(mac, 7, std::time::Duration::ZERO).unwrap();
        let question = crate::dhcp::frame::broadcast(mac, &message);
        assert_eq!(overheard(&question, OUTGOING).dhcp, Some(Dhcp::Question(7)));
    }

    #[test]
    fn what_is_no_dhcp_is_none() {
        for frame in [
            answer(|wrapping| wrapping.fragment = 1),
            answer(|wrapping| wrapping.destination_port = 69),
            vec![0xff; 60],
            answer(|_| {})[..49].to_vec(),
        ] {
            assert_eq!(overheard(&frame, ENTERING).dhcp, None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(frame in proptest::collection::vec(any::<u8>(), 0..200), kind in any::<u8>()) {
            overheard(&frame, kind);
        }
    }
}
