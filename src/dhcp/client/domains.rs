//! Domain names in a server's options. They end in somebody's resolver configuration, so only letters, digits, hyphens and
//! underscores pass.

/// Most domains that a resolver searches (glibc since 2.26 takes any number, musl 256 bytes of them).
const MAX_DOMAINS: usize = 16;
/// Longest name as text (RFC 1035 section 2.3.4).
const MAX_LENGTH: usize = 253;
/// The two upper bits of a length that is a pointer (RFC 1035 section 4.1.4).
const POINTER: u8 = 0xc0;

/// A domain in plain text, as in option 15; `None` where it is none.
pub(super) fn plain(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\0', '.', ' ']);
    let good = text.split('.').all(|label| is_label(label.as_bytes()));
    (good && text.len() <= MAX_LENGTH).then(|| text.to_string())
}

/// The domains of option 119 in the encoding of the DNS (RFC 3397); ends at the first that makes no sense.
pub(super) fn read(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < MAX_DOMAINS {
        let Some((name, next)) = name(bytes, at) else { break };
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
        at = next;
    }
    names
}

/// The name at this place and where the next one begins. Pointers only lead back, so that no name is endless.
fn name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let (mut at, mut limit, mut next) = (start, start, None);
    loop {
        match *bytes.get(at)? {
            0 => return Some((text, next.unwrap_or(at + 1))),
            length if length & POINTER == POINTER => {
                let target = usize::from(length & !POINTER) << 8 | usize::from(*bytes.get(at + 1)?);
                next = next.or(Some(at + 2));
                if target >= limit {
                    return None;
                }
                (at, limit) = (target, target);
            }
            length => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                if !is_label(label) {
                    return None;
                }
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(label.iter().copied().map(char::from));
                if text.len() > MAX_LENGTH {
                    return None;
                }
                at += 1 + label.len();
            }
        }
    }
}

fn is_label(label: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len()) && label.iter().all(allowed) && label[0] != b'-'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_pointers_back_are_read() {
        let plain = b"\x03eng\x05apple\x03com\0\x09marketing\xc0\x04";
        assert_eq!(read(plain), ["eng.apple.com", "marketing.apple.com"]);
        assert_eq!(read(b"\x01a\0\x01a\0"), ["a"], "each once");
    }

    #[test]
    fn what_makes_no_sense_ends_the_list() {
        let cases: [&[u8]; 7] = [
            b"\x03eng",
            b"\xc0\x00",
            b"\x01a\xc0\x00",
            b"\x01a\xc0\x09\0",
            b"\x03a b\0",
            b"\x02a\n\0",
            b"\x02-a\0",
        ];
        for bytes in cases {
            assert!(read(bytes).is_empty(), "{bytes:?}");
        }
        assert_eq!(read(b"\x01a\0\x01b"), ["a"], "what came before it stays");
        let long: Vec<u8> = [&[63][..], &[b'x'; 63]].concat().repeat(5);
        assert!(read(&[&long[..], &[0]].concat()).is_empty());
        let many: Vec<u8> = (b'a'..=b'z').flat_map(|letter| [1, letter, 0]).collect();
        assert_eq!(read(&many).len(), MAX_DOMAINS);
    }

    #[test]
    fn a_plain_domain_can_neither_add_a_line_nor_an_option() {
        assert_eq!(plain(b"lan.example.\0"), Some("lan.example".into()));
        for bad in [&b"lan\nnameserver 1.2.3.4"[..], b"a b", b"", b".", b"\xff", &[b'a'; 64]] {
            assert_eq!(plain(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_in_time(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            for name in read(&bytes) {
                prop_assert!(plain(name.as_bytes()).is_some());
            }
        }
    }
}
