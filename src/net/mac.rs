//! A unicast Ethernet address.

use std::fmt;

/// A 48-bit address that a network interface may carry: not zero, not multicast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Takes six bytes.
    ///
    /// # Errors
    /// Says in words why the bytes are no interface's address.
    pub fn new(bytes: [u8; 6]) -> Result<Self, &'static str> {
        if bytes == [0; 6] {
            Err("all zero")
        } else if bytes[0] & 1 == 1 {
            Err("a multicast address")
        } else {
            Ok(Self(bytes))
        }
    }

    /// Reads `02:00:00:00:00:01`, `02-00-00-00-00-01` or `0200.0000.0001`.
    ///
    /// # Errors
    /// Says in words what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        Self::new(octets(text).ok_or("not of the form 02:00:00:00:00:01")?)
    }

    /// A locally administered address from six bytes of entropy.
    pub fn local(mut bytes: [u8; 6]) -> Self {
        bytes[0] = bytes[0] & 0xfc | 0x02;
        Self(bytes)
    }

    /// A locally administered address of a host-side port. `fe` is above every uplink's first octet, so a bridge
    /// that takes the lowest of its ports' addresses never takes this one (kernel `br_stp_recalculate_bridge_id`).
    pub fn host_side(mut bytes: [u8; 6]) -> Self {
        bytes[0] = 0xfe;
        Self(bytes)
    }

    /// Whether it is one of [`MacAddress::host_side`]'s.
    pub fn is_host_side(self) -> bool {
        self.0[0] == 0xfe
    }

    /// The six bytes.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

fn octets(text: &str) -> Option<[u8; 6]> {
    let (separator, digits) = match text {
        _ if text.contains(':') => (':', 2),
        _ if text.contains('-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    if groups.len() * digits != 12 || groups.iter().any(|g| g.len() != digits) {
        return None;
    }
    let hex = groups.concat();
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 6];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_notations_read_the_same() {
        let expected = MacAddress([2, 0, 0xaa, 0xbb, 0xcc, 1]);
        for text in ["02:00:aa:bb:cc:01", "02-00-AA-BB-CC-01", "0200.aabb.cc01"] {
            assert_eq!(MacAddress::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(expected.to_string(), "02:00:aa:bb:cc:01");
    }

    #[test]
    fn what_no_interface_may_carry_is_refused() {
        assert_eq!(MacAddress::parse("00:00:00:00:00:00"), Err("all zero"));
        assert_eq!(MacAddress::parse("01:00:5e:00:00:01"), Err("a multicast address"));
        assert_eq!(MacAddress::parse("ff:ff:ff:ff:ff:ff"), Err("a multicast address"));
        for text in [
            "",
            "02",
            "02:00:00:00:00",
            "02:00:00:00:00:0g",
            "02:00:00:00:00:001",
            "2:0:0:0:0:1",
            "+2:00:00:00:00:01",
            "éé:00:00:00:00:1",
        ] {
            assert!(MacAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn generated_addresses_are_local_and_unicast() {
        assert_eq!(MacAddress::local([0xff; 6]).octets()[0], 0xfe);
        assert_eq!(MacAddress::local([0; 6]).octets()[0], 0x02);
        assert_eq!(MacAddress::host_side([0; 6]).octets()[0], 0xfe);
    }
}
