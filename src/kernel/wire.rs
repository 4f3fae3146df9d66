//! A netlink message on its way in and out. Names and aliases are bytes to the kernel, and text to everybody else: what is no
//! text must not hide the link that has it.

use std::borrow::Cow;
use std::ops::Range;

use rtnetlink::packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};

/// Of include/uapi/linux/rtnetlink.h; no message of nftables has this type.
const RTM_NEWLINK: u16 = 16;
/// Size of `struct ifinfomsg`, behind which the attributes are.
const IFINFOMSG: usize = 16;
/// Of include/uapi/linux/if_link.h: the texts that somebody may have chosen, and what holds alternative names.
const IFLA_IFNAME: u16 = 3;
const IFLA_IFALIAS: u16 = 20;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
/// NLA_TYPE_MASK of include/uapi/linux/netlink.h.
const TYPE_MASK: u16 = 0x3fff;

/// A message as it is sent and received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wire<T>(pub(super) T);

impl<T: NetlinkSerializable> NetlinkSerializable for Wire<T> {
    fn message_type(&self) -> u16 {
        self.0.message_type()
    }

    fn buffer_len(&self) -> usize {
        self.0.buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        self.0.serialize(buffer);
    }
}

impl<T: NetlinkDeserializable> NetlinkDeserializable for Wire<T> {
    type Error = T::Error;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        let payload =
            if header.message_type == RTM_NEWLINK { readable(payload) } else { Cow::Borrowed(payload) };
        T::deserialize(header, &payload).map(Self)
    }
}

/// The description of a link with `?` for each byte of a text that is no UTF-8.
fn readable(payload: &[u8]) -> Cow<'_, [u8]> {
    let mut texts = Vec::new();
    find_texts(payload, IFINFOMSG.min(payload.len())..payload.len(), &mut texts);
    texts.retain(|text| str::from_utf8(&payload[text.clone()]).is_err());
    if texts.is_empty() {
        return Cow::Borrowed(payload);
    }
    let mut payload = payload.to_vec();
    for text in texts {
        payload[text].iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
    }
    Cow::Owned(payload)
}

fn find_texts(payload: &[u8], place: Range<usize>, texts: &mut Vec<Range<usize>>) {
    let mut at = place.start;
    while let Some(&[a, b, c, d]) = payload.get(at..at + 4) {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if length < 4 || at + length > place.end {
            return;
        }
        match u16::from_ne_bytes([c, d]) & TYPE_MASK {
            IFLA_IFNAME | IFLA_IFALIAS | IFLA_ALT_IFNAME => texts.push(at + 4..at + length),
            IFLA_PROP_LIST => find_texts(payload, at + 4..at + length, texts),
            _ => {}
        }
        at += length.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn only_texts_that_are_none_are_changed() {
        let link = |name: &[u8], alias: &[u8], other: &[u8]| {
            let inner = [attribute(53, other), attribute(53, b"ok\0")].concat();
            let parts = [
                attribute(3, name),
                attribute(1, &[0xfe; 6]),
                attribute(20, alias),
                attribute(52 | 0x8000, &inner),
            ];
            [vec![0xff; IFINFOMSG], parts.concat()].concat()
        };
        let good = link(b"br0\0", "ü".as_bytes(), b"x\0");
        assert!(matches!(readable(&good), Cow::Borrowed(_)));
        let bad = link(b"b\xff0\0", b"caf\xe9", b"\xe9\0");
        assert_eq!(readable(&bad).into_owned(), link(b"b?0\0", b"caf?", b"?\0"));
        for end in 0..bad.len() {
            assert_eq!(readable(&bad[..end]).len(), end);
        }
    }
}
