//! The options of a DHCP reply, each read by its own length check.
//!
//! `dhcproto`'s own decoder ends at the first option it can't interpret, and the server identifier may stand behind it;
//! so its iterator over raw options is used, and a bad option costs only itself.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::borrowed::DhcpOptionIterator;

/// More routers than a client would try.
const MAX_ROUTERS: usize = 8;
/// Longest text of a server, in characters.
const MAX_TEXT: usize = 128;

/// Most entries of a list that a client takes: routes, name servers, domains.
const MAX_LIST: usize = 64;

/// Raw options by number, in the order they came.
pub(super) struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    /// The options behind the fixed part of a message, and those in its `file` and `sname` fields where option 52
    /// says so (RFC 2131 section 4.1).
    pub(super) fn of(message: &[u8]) -> Self {
        let mut options = Self(Vec::new());
        options.add(message.get(240..));
        let overload = options.byte(52).unwrap_or(0);
        if overload & 1 != 0 {
            options.add(message.get(108..236));
        }
        if overload & 2 != 0 {
            options.add(message.get(44..108));
        }
        options
    }

    fn add(&mut self, area: Option<&[u8]>) {
        for option in DhcpOptionIterator::new(area.unwrap_or_default()) {
            self.0.push((option.code().into(), option.data().to_vec()));
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(candidate, _)| *candidate == code).map(|(_, data)| data.as_slice())
    }

    /// The pieces of an option that may be long, joined (RFC 3396 section 7).
    pub(super) fn joined(&self, code: u8) -> Vec<u8> {
        let pieces = self.0.iter().filter(|(candidate, _)| *candidate == code);
        pieces.flat_map(|(_, data)| data.iter().copied()).collect()
    }

    /// An option's bytes.
    pub(super) fn bytes(&self, code: u8) -> Option<&[u8]> {
        self.get(code)
    }

    /// An option of two bytes.
    pub(super) fn half(&self, code: u8) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    /// An option that lists addresses; what no host can have is left out.
    pub(super) fn addresses(&self, code: u8) -> Vec<Ipv4Addr> {
        let mut addresses = Vec::new();
        for address in self.joined(code).as_chunks::<4>().0.iter().copied().map(Ipv4Addr::from) {
            let usable = !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast();
            if addresses.len() < MAX_LIST && usable && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Pairs of destination and router of option 33 (RFC 2132 section 5.8).
    pub(super) fn static_routes(&self) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let pairs = self.joined(33);
        let pairs = pairs.as_chunks::<8>().0.iter();
        let pairs = pairs.map(|&[a, b, c, d, e, f, g, h]| ([a, b, c, d].into(), [e, f, g, h].into()));
        pairs.take(MAX_LIST).collect()
    }

    /// Destination, width of its prefix and router of each route of option 121, or of 249, which is the same by Microsoft.
    pub(super) fn classless_routes(&self) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
        let routes = self.joined(121);
        let routes = if routes.is_empty() { self.joined(249) } else { routes };
        classless_routes(&routes)
    }

    fn word(&self, code: u8) -> Option<[u8; 4]> {
        self.get(code)?.try_into().ok()
    }

    /// An option of one byte.
    pub(super) fn byte(&self, code: u8) -> Option<u8> {
        self.get(code)?.first().copied()
    }

    /// An option of one address; the unspecified one counts as none.
    pub(super) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.word(code).map(Ipv4Addr::from).filter(|address| !address.is_unspecified())
    }

    /// An option of one time in seconds.
    pub(super) fn seconds(&self, code: u8) -> Option<Duration> {
        self.word(code).map(|word| Duration::from_secs(u32::from_be_bytes(word).into()))
    }

    /// An option of text. The server wrote it, so nothing in it may steer a terminal or a log.
    pub(super) fn text(&self, code: u8) -> Option<String> {
        let text: Cow<'_, str> = String::from_utf8_lossy(self.get(code)?);
        let text = text.trim_end_matches('\0').chars().take(MAX_TEXT);
        Some(text.map(|c| if c.is_control() { '?' } else { c }).collect())
            .filter(|text: &String| !text.is_empty())
    }

    /// Default routers: option 3, and those of 0.0.0.0/0 in option 121, which replaces option 3 for clients that ask
    /// for both (RFC 3442).
    pub(super) fn routers(&self) -> Vec<Ipv4Addr> {
        let listed = self.get(3).unwrap_or_default().as_chunks::<4>().0.iter().copied();
        let mut routers = Vec::new();
        let classless = classless_routes(&self.joined(121)).into_iter();
        let default = classless.filter(|(_, width, _)| *width == 0).map(|(_, _, router)| router);
        for router in listed.map(Ipv4Addr::from).chain(default) {
            if routers.len() < MAX_ROUTERS && !router.is_unspecified() && !routers.contains(&router) {
                routers.push(router);
            }
        }
        routers
    }
}

/// Walks classless static routes (RFC 3442): width of the prefix, its significant bytes, router.
fn classless_routes(mut routes: &[u8]) -> Vec<(Ipv4Addr, u8, Ipv4Addr)> {
    let mut found = Vec::new();
    while let Some((&width, rest)) = routes.split_first() {
        let significant = usize::from(width).div_ceil(8);
        let mut destination = [0; 4];
        let (Some(into), Some(bytes)) = (destination.get_mut(..significant), rest.get(..significant)) else {
            break;
        };
        into.copy_from_slice(bytes);
        let Some((router, rest)) = rest[significant..].split_first_chunk::<4>() else { break };
        if width <= 32 && found.len() < MAX_LIST {
            found.push((destination.into(), width, Ipv4Addr::from(*router)));
        }
        routes = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::samples;

    #[test]
    fn a_bad_option_costs_only_itself() {
        // Option 15 is no UTF-8, 119 no domain name, 51 one byte short: the decoder of whole messages stops there.
        let options = Options::of(&samples::reply(&[
            (15, &[0xff, 0xfe]),
            (119, &[0xc0, 0xff, 0x3f]),
            (51, &[0, 0, 1]),
            (1, &[255, 255, 0, 0]),
            (53, &[2]),
        ]));
        assert_eq!(options.byte(53), Some(2));
        assert_eq!(options.address(1), Some(Ipv4Addr::new(255, 255, 0, 0)));
        assert_eq!(options.seconds(51), None);
    }

    #[test]
    fn options_in_sname_and_file_count_where_option_52_says_so() {
        for (overload, mask, lease) in
            [(0, false, false), (1, true, false), (2, false, true), (3, true, true)]
        {
            let mut message = samples::reply(&[(53, &[2]), (52, &[overload])]);
            let file = samples::encode(&[(1, &[255, 255, 255, 0]), (53, &[6])]);
            message[108..][..file.len()].copy_from_slice(&file);
            let sname = samples::encode(&[(51, &[0, 0, 0, 9])]);
            message[44..][..sname.len()].copy_from_slice(&sname);
            let options = Options::of(&message);
            assert_eq!(options.address(1).is_some(), mask, "{overload}");
            assert_eq!(options.seconds(51).is_some(), lease, "{overload}");
            assert_eq!(options.byte(53), Some(2), "the first of a kind counts");
        }
    }

    #[test]
    fn a_long_option_in_pieces_is_one() {
        let options = Options::of(&samples::reply(&[(3, &[10, 0]), (3, &[0, 1])]));
        assert_eq!(options.routers(), [Ipv4Addr::new(10, 0, 0, 1)]);
    }

    #[test]
    fn routers_come_from_both_options_once_each_and_bounded() {
        let routes: &[u8] = &[24, 10, 1, 1, 10, 77, 0, 9, 0, 10, 77, 0, 1, 0, 10, 77, 0, 2];
        let listed: &[u8] = &[10, 77, 0, 1, 0, 0, 0, 0, 7];
        let options = Options::of(&samples::reply(&[(3, listed), (121, routes)]));
        assert_eq!(options.routers(), [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)]);
        for bad in [&[33, 1, 2, 3, 4][..], &[0, 10, 77, 0], &[255], &[]] {
            assert!(Options::of(&samples::reply(&[(121, bad)])).routers().is_empty(), "{bad:?}");
        }
        let many: Vec<u8> = (1..=60).flat_map(|last| [10, 0, 0, last]).collect();
        assert_eq!(Options::of(&samples::reply(&[(3, &many)])).routers().len(), MAX_ROUTERS);
    }

    #[test]
    fn a_servers_text_can_neither_steer_a_terminal_nor_grow() {
        let text = |data: &[u8]| Options::of(&samples::reply(&[(56, data)])).text(56);
        assert_eq!(text(b"no lease for you\0\0"), Some("no lease for you".into()));
        assert_eq!(text(b"\x1b[2J\n\xff"), Some("?[2J?\u{fffd}".into()));
        assert_eq!(text(b"\0"), None);
        assert_eq!(text(&[b'x'; 255]).unwrap().len(), MAX_TEXT);
    }
}
