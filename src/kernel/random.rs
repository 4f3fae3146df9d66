//! Entropy, and the addresses made of it.

use nix::errno::Errno;

use super::netlink::Refusal;
use crate::net::MacAddress;
use crate::plan::FreshMacs;

/// Bytes of entropy, for addresses, names and transaction numbers.
///
/// # Errors
/// Whatever `getrandom(2)` says.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::plain(Errno::EIO))?;
    Ok(bytes)
}

/// Fresh addresses of both ends of a pair and of a bridge.
///
/// # Errors
/// Whatever `getrandom(2)` says.
pub fn fresh_macs() -> Result<FreshMacs, Refusal> {
    let bytes: [u8; 18] = random_bytes()?;
    let [container, host, bridge] = [0, 6, 12].map(|start| {
        let mut octets = [0; 6];
        octets.copy_from_slice(&bytes[start..start + 6]);
        octets
    });
    Ok(FreshMacs {
        container: MacAddress::local(container),
        host: MacAddress::host_side(host),
        bridge: MacAddress::local(bridge),
    })
}
