//! The names under which an attachment lives in the kernel, derived from the container's id and the interface's name.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::cni::environment::Attachment;

/// Hex digits of the hash in a host interface name: `veth` and these fill IFNAMSIZ - 1.
const HOST_NAME_DIGITS: usize = 11;
/// What the host side of a probe's temporary port is named, with six hex digits behind it. NetworkManager ignores what
/// begins with `veth`.
const PROBE_PREFIX: &str = "vethprobe";
/// IFLA_IFALIAS of the host side of a probe's temporary port.
pub const PROBE_ALIAS: &str = "bridge-dhcp probe";

/// The host-side interface of an attachment: `veth` and the first 11 hex digits of SHA-256 of `container/ifname`.
/// NetworkManager and udev leave `veth*` alone.
pub fn host_interface(attachment: &Attachment) -> String {
    let digest = hex_digest(&format!("{}/{}", attachment.container, attachment.ifname));
    format!("veth{}", &digest[..HOST_NAME_DIGITS])
}

/// The bridge port behind the interface `BRIDGE.VLAN` that carries gateway addresses.
pub fn gateway_port(name: &str) -> String {
    format!("veth{}", &hex_digest(&format!("gateway/{name}"))[..HOST_NAME_DIGITS])
}

/// The host side of a probe's temporary port, from three bytes of entropy.
pub fn probe_interface([a, b, c]: [u8; 3]) -> String {
    format!("{PROBE_PREFIX}{a:02x}{b:02x}{c:02x}")
}

/// Whether a port is named as this module does it: an attachment's, a gateway's or a probe's.
pub fn is_own_port(name: &str) -> bool {
    is_probe_port(name) || is_derived(name)
}

/// Whether a port is named as that of a probe.
pub fn is_probe_port(name: &str) -> bool {
    name.strip_prefix(PROBE_PREFIX).is_some_and(is_hex)
}

/// Whether a name may be the derived one of an attachment or a gateway's port.
pub fn is_derived(name: &str) -> bool {
    name.strip_prefix("veth").is_some_and(|rest| rest.len() == HOST_NAME_DIGITS && is_hex(rest))
}

/// Whether a port is named as CNI plugins and container engines name the host side of a container's veth pair.
pub fn is_container_port(name: &str) -> bool {
    name.strip_prefix("veth").is_some_and(is_hex)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn hex_digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::net::{ContainerId, InterfaceName};

    /// The attachment `net1` of a container.
    pub(in crate::plan) fn attachment(container: &str) -> Attachment {
        Attachment {
            container: ContainerId::parse(container).unwrap(),
            ifname: InterfaceName::parse("net1").unwrap(),
        }
    }

    #[test]
    fn the_host_name_is_a_prefix_of_sha256() {
        // printf %s cid/net1 | sha256sum
        assert_eq!(host_interface(&attachment("cid")), "veth30bc48f5fb8");
        assert!(is_own_port(&host_interface(&attachment("x"))) && is_own_port(&gateway_port("br0.5")));
        assert_eq!(probe_interface([0, 0xa1, 0xff]), "vethprobe00a1ff");
        assert!(is_own_port("vethprobe00a1ff") && !is_own_port("vethprobe") && !is_own_port("veth0"));
        assert!(is_container_port("veth0") && is_container_port("veth1a2b3c4d"));
        assert!(!is_container_port("veth-lan") && !is_container_port("ens192") && !is_container_port("veth"));
    }
}
