//! The alternative names that an attachment's link has beside its derived one: no two links of a node have a name in common, and
//! the kernel sees to that.

use std::fmt::Write;

use super::names::{hex_digest, is_derived};
use crate::net::MacAddress;

/// What each begins with. The kernel takes 127 bytes (ALTIFNAMSIZ).
const PREFIX: &str = "bridge-dhcp-";

/// What another plugin's interface was before it was chained to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainedPort {
    /// No port: it was put on the bridge, and comes off it again.
    Enslaved {
        /// Whether it was up, which it is not while it is put there.
        up: bool,
    },
    /// A port of the bridge already.
    Joined,
}

impl ChainedPort {
    /// As labels and names have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enslaved { up: false } => "enslaved",
            Self::Enslaved { up: true } => "raised",
            Self::Joined => "joined",
        }
    }

    /// Reads such a word.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Enslaved { up: false }, Self::Enslaved { up: true }, Self::Joined];
        all.into_iter().find(|port| port.word() == word)
    }
}

/// What DEL gives back of another plugin's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chained {
    /// Whose port it was.
    pub port: ChainedPort,
    /// Its MAC, where it was changed.
    pub former_mac: Option<MacAddress>,
    /// Its MTU, where it was changed.
    pub former_mtu: Option<u32>,
}

/// The second name of a pair's host side, under which it is found when somebody has renamed it.
pub fn pair_mark(host: &str) -> String {
    format!("{PREFIX}{host}")
}

/// The second name that another plugin's interface gets beside the derived one: it says what DEL gives back, whatever
/// becomes of the label.
pub fn chained_mark(host: &str, chained: &Chained) -> String {
    let mut name = format!("{PREFIX}{host}-{}", chained.port.word());
    if let Some(mac) = chained.former_mac {
        let _ = write!(name, "-mac{}", digits(mac));
    }
    if let Some(mtu) = chained.former_mtu {
        let _ = write!(name, "-mtu{mtu}");
    }
    name
}

/// What a second name says: the derived name, and what is given back of another plugin's interface.
pub fn read_mark(name: &str) -> Option<(String, Option<Chained>)> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let host = parts.next().filter(|host| is_derived(host))?.to_string();
    let Some(word) = parts.next() else { return Some((host, None)) };
    let mut chained = Chained { port: ChainedPort::from_word(word)?, former_mac: None, former_mtu: None };
    for part in parts {
        if let Some(mac) = part.strip_prefix("mac") {
            chained.former_mac = read_digits(mac);
        } else {
            chained.former_mtu = part.strip_prefix("mtu").and_then(|mtu| mtu.parse().ok());
        }
    }
    Some((host, Some(chained)))
}

/// What a third name says of an attachment, so that it need not be believed of the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// [`network_digest`] of its network.
    pub network: String,
    /// nftables rules go with it.
    pub rules: bool,
}

/// The third name, of pairs and of other plugins' interfaces.
pub fn facts_name(host: &str, facts: &Facts) -> String {
    format!("{PREFIX}{host}-of-{}{}", facts.network, if facts.rules { "-nft" } else { "" })
}

/// What a third name says of the attachment with this derived name.
pub fn read_facts(name: &str, host: &str) -> Option<Facts> {
    let rest = name.strip_prefix(PREFIX)?.strip_prefix(host)?.strip_prefix("-of-")?;
    let (network, rules) = rest.strip_suffix("-nft").map_or((rest, false), |network| (network, true));
    Some(Facts { network: network.to_string(), rules })
}

/// The network in a third name, from its field in a label.
pub fn network_digest(field: &str) -> String {
    hex_digest(field)[..12].to_string()
}

/// The derived name in any name of ours that has one.
pub fn host_of(name: &str) -> Option<&str> {
    let host = name.strip_prefix(PREFIX).map_or(name, |rest| rest.split('-').next().unwrap_or(rest));
    is_derived(host).then_some(host)
}

/// The name that only one port of a bridge can have: whoever has it has the MAC in this VLAN, none where the bridge does
/// not filter. So of two attachments with one MAC the kernel lets one through, also when they come at the same time.
pub fn mac_claim(bridge: &str, vlan: Option<u16>, mac: MacAddress) -> String {
    format!("{PREFIX}mac-{}-{}-{bridge}", digits(mac), vlan.unwrap_or(0))
}

/// The MAC in such a name.
pub fn claimed_mac(name: &str) -> Option<MacAddress> {
    read_digits(name.strip_prefix(PREFIX)?.strip_prefix("mac-")?.split('-').next()?)
}

fn digits(mac: MacAddress) -> String {
    mac.to_string().replace(':', "")
}

fn read_digits(text: &str) -> Option<MacAddress> {
    let pairs = text.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned());
    MacAddress::parse(&pairs.collect::<Vec<_>>().join(":")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_name_says_whose_it_is_and_what_is_given_back() {
        let host = "veth30bc48f5fb8";
        assert_eq!(read_mark(&pair_mark(host)), Some((host.to_string(), None)));
        let mac = MacAddress::parse("02:00:00:00:00:0c").unwrap();
        for word in ["joined", "enslaved", "raised"] {
            for (former_mac, former_mtu) in
                [(None, None), (Some(mac), None), (None, Some(1400)), (Some(mac), Some(1400))]
            {
                let chained = Chained { port: ChainedPort::from_word(word).unwrap(), former_mac, former_mtu };
                let name = chained_mark(host, &chained);
                assert!(name.len() < 128, "{name}");
                assert_eq!(read_mark(&name), Some((host.to_string(), Some(chained))), "{name}");
            }
        }
        for other in ["", "bridge-dhcp-", "bridge-dhcp-eth0", "bridge-dhcp-veth30bc48f5fb8-", host] {
            assert_eq!(read_mark(other), None, "{other}");
        }
    }

    #[test]
    fn a_third_name_says_which_network_and_whether_there_are_rules() {
        let host = "veth30bc48f5fb8";
        for rules in [true, false] {
            let facts = Facts { network: network_digest("lan"), rules };
            let name = facts_name(host, &facts);
            assert_eq!((read_facts(&name, host), read_mark(&name)), (Some(facts), None));
            assert_eq!((host_of(&name), read_facts(&name, "veth00000000000")), (Some(host), None));
        }
        assert_ne!(network_digest("lan"), network_digest("lan2"));
    }

    #[test]
    fn a_mac_is_claimed_for_a_bridge_and_a_vlan() {
        let mac = MacAddress::parse("02:00:00:00:00:0c").unwrap();
        let claim = mac_claim("br-external-1.5", Some(4094), mac);
        assert!(claim.len() < 128 && read_mark(&claim).is_none());
        assert_eq!(claimed_mac(&claim), Some(mac));
        assert_ne!(claim, mac_claim("br-external-1.5", None, mac));
    }
}
