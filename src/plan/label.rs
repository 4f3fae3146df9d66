//! The label of an attachment, which its host side carries as alias. It describes for people and tools; whose a link is, the
//! room's `owner` says.

use std::fmt::Write;

use super::marks::{Chained, ChainedPort, Facts, network_digest};
use super::names::{hex_digest, host_interface};
use crate::cni::config::NetConf;
use crate::cni::environment::Attachment;
use crate::error::Code;
use crate::net::{ContainerId, InterfaceName, MacAddress, NetworkName};

/// What every alias of ours begins with.
const ALIAS_MARK: &str = "bridge-dhcp";
/// Longest alias in bytes (IFALIASZ of include/uapi/linux/if.h, less the byte that ends it).
const ALIAS_MAX: usize = 255;
/// Longest container id in an alias, the usual length of one.
const CONTAINER_MAX: usize = 64;
/// Longest network name in an alias: what the longest of everything else leaves.
const NETWORK_MAX: usize = 40;

/// What IFLA_IFALIAS of a host-side interface records, for people and tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The network, shortened like [`Label::network_field`].
    pub network: String,
    /// The container id, shortened where it is longer than 64 bytes.
    pub container: String,
    /// The interface's name in the container.
    pub ifname: String,
    /// The MAC that ADD gave the container side.
    pub mac: Option<MacAddress>,
    /// VM mode.
    pub vm_mode: bool,
    /// Chained mode: what is given back.
    pub chained: Option<Chained>,
    /// nftables rules go with it: the MAC check, masquerading.
    pub rules: bool,
    /// Codes of what ADD warned of, ascending.
    pub warnings: Vec<Code>,
    /// `namespace/name` of the pod, where known and where there was room.
    pub pod: Option<String>,
}

impl Label {
    /// The label of an attachment.
    pub fn new(
        network: &NetworkName,
        attachment: &Attachment,
        mac: Option<MacAddress>,
        vm_mode: bool,
        pod: Option<&str>,
    ) -> Self {
        Self {
            network: Self::network_field(network),
            container: Self::container_field(&attachment.container),
            ifname: attachment.ifname.to_string(),
            mac,
            vm_mode,
            chained: None,
            rules: false,
            warnings: Vec::new(),
            pod: pod.map(str::to_string),
        }
    }

    /// The label of an attachment that this config gives nftables rules.
    #[must_use]
    pub fn ruled_by(self, conf: &NetConf) -> Self {
        Self { rules: conf.mac_spoof_check || conf.ip_masq, ..self }
    }

    /// The label of another plugin's interface, with what it gets back.
    #[must_use]
    pub fn of_chained(self, chained: Chained) -> Self {
        Self { chained: Some(chained), ..self }
    }

    /// How an attachment's container and interface stand in an alias.
    pub fn key(attachment: &Attachment) -> (String, String) {
        (Self::container_field(&attachment.container), attachment.ifname.to_string())
    }

    /// How a network's name stands in an alias.
    pub fn network_field(network: &NetworkName) -> String {
        bounded(network.as_str(), NETWORK_MAX)
    }

    /// How a container id stands in an alias.
    pub fn container_field(container: &ContainerId) -> String {
        bounded(container.as_str(), CONTAINER_MAX)
    }

    /// The alias text, at most 255 bytes: warnings and the pod's name only as far as there is room.
    pub fn to_alias(&self) -> String {
        let mut text = format!(
            "{ALIAS_MARK} network={} container={} ifname={}",
            self.network, self.container, self.ifname
        );
        if let Some(mac) = self.mac {
            let _ = write!(text, " mac={mac}");
        }
        if self.vm_mode {
            text.push_str(" mode=vm");
        }
        if let Some(chained) = self.chained {
            let _ = write!(text, " chain={}", chained.port.word());
            if let Some(mac) = chained.former_mac {
                let _ = write!(text, " wasmac={mac}");
            }
            if let Some(mtu) = chained.former_mtu {
                let _ = write!(text, " wasmtu={mtu}");
            }
        }
        if self.rules {
            text.push_str(" rules=nft");
        }
        for (position, code) in self.warnings.iter().enumerate() {
            let field = format!("{}{}", if position == 0 { " warned=" } else { "+" }, *code as u32);
            if text.len() + field.len() > ALIAS_MAX {
                break;
            }
            text.push_str(&field);
        }
        // No pod's name has a space; whoever gives one would write further fields.
        let fits =
            |pod: &str| text.len() + pod.len() + 5 <= ALIAS_MAX && pod.bytes().all(|b| b.is_ascii_graphic());
        if let Some(pod) = self.pod.as_ref().filter(|pod| fits(pod)) {
            let _ = write!(text, " pod={pod}");
        }
        text
    }

    /// Reads an alias; `None` where it is not ours.
    pub fn from_alias(alias: &str) -> Option<Self> {
        let fields = alias.strip_prefix(ALIAS_MARK)?.strip_prefix(' ')?;
        // The last one: what stands behind it is no field.
        let (fields, pod) = match fields.split_once(" pod=") {
            Some((fields, pod)) => (fields, Some(pod)),
            None => (fields, None),
        };
        let field = |key: &str| {
            fields
                .split(' ')
                .find_map(|pair| pair.split_once('=').filter(|(name, _)| *name == key))
                .map(|(_, v)| v)
        };
        Some(Self {
            network: field("network")?.to_string(),
            container: field("container")?.to_string(),
            ifname: field("ifname")?.to_string(),
            mac: field("mac").and_then(|text| MacAddress::parse(text).ok()),
            vm_mode: field("mode") == Some("vm"),
            chained: field("chain").map(|word| Chained {
                port: ChainedPort::from_word(word).unwrap_or(ChainedPort::Joined),
                former_mac: field("wasmac").and_then(|text| MacAddress::parse(text).ok()),
                former_mtu: field("wasmtu").and_then(|text| text.parse().ok()),
            }),
            rules: field("rules").is_some(),
            warnings: field("warned").map(codes).unwrap_or_default(),
            pod: pod.map(str::to_string),
        })
    }

    /// What of it stands in a name, too.
    pub fn facts(&self) -> Facts {
        Facts { network: network_digest(&self.network), rules: self.rules }
    }

    /// Who is attached, as a message names it.
    pub fn owner(&self) -> String {
        match &self.pod {
            Some(pod) => format!("pod {pod} interface {}", self.ifname),
            None => format!("container {} interface {}", self.container, self.ifname),
        }
    }

    /// Whether this may be the label of the attachment with that derived name. A shortened container id cannot be held
    /// against it.
    pub fn fits(&self, host: &str) -> bool {
        self.attachment().is_none_or(|attachment| host_interface(&attachment) == host)
    }

    /// The attachment, unless its container id was shortened.
    pub fn attachment(&self) -> Option<Attachment> {
        Some(Attachment {
            container: ContainerId::parse(&self.container)?,
            ifname: InterfaceName::parse(&self.ifname)?,
        })
    }
}

/// The codes of a list such as `105+110`; what is none of ours is left out.
fn codes(text: &str) -> Vec<Code> {
    text.split('+').filter_map(|number| Code::from_number(number.parse().ok()?)).collect()
}

/// The text itself, or, where it is too long for an alias, its beginning and a hash of all of it.
fn bounded(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_string();
    }
    format!("{}~{}", &text[..most - 17], &hex_digest(text)[..16])
}

#[cfg(test)]
mod tests {
    use super::super::names::tests::attachment;
    use super::*;

    #[test]
    fn a_label_survives_the_alias() {
        let network = NetworkName::parse("lan").unwrap();
        let mac = MacAddress::parse("02:00:00:00:00:01").ok();
        let label = Label::new(&network, &attachment("cid"), mac, true, Some("default/vm-1"));
        let warned = Label { warnings: vec![Code::NoUplink, Code::NoOffer], ..label.clone() };
        let raised = Chained { port: ChainedPort::Enslaved { up: true }, former_mac: mac, former_mtu: None };
        let joined = Chained { port: ChainedPort::Joined, former_mac: None, former_mtu: Some(1400) };
        let chained = [raised, joined].map(|chained| label.clone().of_chained(chained));
        for label in chained.into_iter().chain([warned, label]) {
            assert_eq!(Label::from_alias(&label.to_alias()), Some(label));
        }
        assert_eq!(Label::from_alias("somebody else's"), None);
    }

    #[test]
    fn a_pod_cannot_write_fields_of_its_label() {
        let network = NetworkName::parse("lan").unwrap();
        let label = |pod| Label::new(&network, &attachment("cid"), None, false, Some(pod));
        assert_eq!(Label::from_alias(&label("ns/a chain=joined").to_alias()).unwrap().chained, None);
        // As a release wrote it that did not look.
        let alias = label("ns/a").to_alias() + " chain=joined container=other";
        let read = Label::from_alias(&alias).unwrap();
        assert_eq!((read.chained, read.container.as_str()), (None, "cid"));
    }

    #[test]
    fn long_names_that_begin_alike_stay_different() {
        let key = |last: &str| Label::key(&attachment(&format!("{}{last}", "c".repeat(CONTAINER_MAX))));
        assert_eq!(key("1").0.len(), CONTAINER_MAX);
        assert_ne!(key("1"), key("2"));
    }

    #[test]
    fn an_alias_never_outgrows_the_kernel() {
        let network = NetworkName::parse(&"n".repeat(300)).unwrap();
        let mut long = attachment(&"c".repeat(300));
        long.ifname = InterfaceName::parse("fifteen-letters").unwrap();
        let mac = MacAddress::parse("02:00:00:00:00:01").ok();
        let chained =
            Chained { port: ChainedPort::Enslaved { up: false }, former_mac: mac, former_mtu: Some(65535) };
        let label = Label::new(&network, &long, mac, true, Some(&"p".repeat(300))).of_chained(chained);
        let label =
            Label { rules: true, warnings: vec![Code::NoUplink, Code::NoOffer, Code::RogueServer], ..label };
        let alias = label.to_alias();
        assert!(alias.len() <= 255, "{}", alias.len());
        assert_eq!(Label::from_alias(&alias), Some(Label { pod: None, warnings: Vec::new(), ..label }));
        assert_eq!(Label::from_alias(&alias).unwrap().attachment(), None);
    }
}
