//! Strict CIDR notation: `10.1.2.3/24` and nothing looser.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Reads an address with its prefix length. Unlike the library behind it, refuses a missing prefix, netmasks and
/// leading zeros.
///
/// # Errors
/// Says in words what is wrong with the text.
pub fn parse(text: &str) -> Result<IpNetwork, String> {
    let wrong = || format!("{text:?} is not an address with a prefix length, such as 10.1.2.3/24");
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let plain = prefix == "0" || (!prefix.starts_with('0') && prefix.bytes().all(|b| b.is_ascii_digit()));
    let prefix: u8 = if plain { prefix.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    IpNetwork::new(address, prefix).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_with_a_plain_prefix_length_is_read() {
        for good in ["10.1.2.3/24", "0.0.0.0/0", "fd00::1/64", "::/0", "10.0.0.1/32"] {
            assert_eq!(parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/",
            "10.1.2.3",
            "10.1.2.3/",
            "10.1.2.3/255.255.255.0",
            "10.1.2.3/024",
            "10.1.2.3/33",
            "10.1.2/24",
            "fd00::/129",
            "10.1.2.3/+8",
            "10.1.2.3/00",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
