//! networkData as cloud-init reads it: version 1 and version 2, into the cards that it sets up.

use std::net::IpAddr;

use crate::cli::validate::document::{Node, parse};
use crate::cli::validate::spelling;

/// Keys of a card (netplan's reference, "Common properties for all device types" and those of ethernets).
const CARD_KEYS: [&str; 40] = [
    "match",
    "set-name",
    "wakeonlan",
    "renderer",
    "dhcp4",
    "dhcp6",
    "dhcp4-overrides",
    "dhcp6-overrides",
    "ipv6-mtu",
    "ipv6-privacy",
    "ipv6-address-generation",
    "ipv6-address-token",
    "link-local",
    "ignore-carrier",
    "critical",
    "dhcp-identifier",
    "accept-ra",
    "addresses",
    "gateway4",
    "gateway6",
    "nameservers",
    "macaddress",
    "mtu",
    "optional",
    "optional-addresses",
    "activation-mode",
    "routes",
    "routing-policy",
    "neigh-suppress",
    "emit-lldp",
    "link",
    "virtual-function-count",
    "embedded-switch-mode",
    "delay-virtual-functions-rebind",
    "infiniband-mode",
    "auth",
    "openvswitch",
    "receive-checksum-offload",
    "networkmanager",
    "regulatory-domain",
];
/// Keys that people write for another one.
const CONFUSED: [(&str, &str); 7] = [
    ("dhcp", "dhcp4"),
    ("ip", "addresses"),
    ("address", "addresses"),
    ("gateway", "routes"),
    ("dns", "nameservers"),
    ("mac", "match: {macaddress: ...}"),
    ("mac_address", "match: {macaddress: ...}"),
];
/// Top-level keys of version 2.
const TOP_KEYS: [&str; 11] = [
    "version",
    "renderer",
    "ethernets",
    "bonds",
    "bridges",
    "vlans",
    "wifis",
    "vrfs",
    "tunnels",
    "modems",
    "dummy-devices",
];

/// How the guest knows which card is meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Match {
    Mac(String),
    /// By its name in the guest.
    Name,
    /// By a pattern or a driver, which may mean several.
    Pattern,
}

/// A default gateway, and the metric of the route where one is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    pub ip: IpAddr,
    pub metric: Option<i64>,
}

/// One network card as the guest is told to set it up.
#[derive(Debug)]
pub struct Card {
    /// Line in networkData, from 1.
    pub line: usize,
    pub name: String,
    pub matched: Match,
    /// Addresses with prefix length, as written.
    pub addresses: Vec<String>,
    pub gateways: Vec<Gateway>,
    pub dhcp4: bool,
    pub dhcp6: bool,
    /// DHCP's default route is taken, with the metric that is given.
    pub dhcp_route: Option<Option<i64>>,
    /// It carries a bond, a bridge or a VLAN.
    pub carries: bool,
    /// VLANs on top of it.
    pub vlans: Vec<i64>,
    /// It is meant to have no address, or whoever wrote it says so by `optional`, `link-local` or the like.
    pub idle: bool,
    /// What is written in a way that cloud-init does not take.
    pub faults: Vec<Fault>,
}

/// Something written wrong: the fact, and what to write.
#[derive(Debug)]
pub struct Fault {
    pub line: usize,
    pub message: String,
    pub remedy: String,
}

/// What networkData says.
#[derive(Debug)]
pub enum Data {
    /// How these cards are set up, and faults that belong to none.
    Cards(Vec<Card>, Vec<Fault>),
    /// Nothing is there.
    Empty,
    /// The guest is to leave its network alone.
    Disabled,
    /// What OpenStack's metadata service would say, which is not looked into.
    OpenStack,
}

/// Reads version 1 and 2 of cloud-init's network config, with or without the key `network` around it; a config drive may
/// have OpenStack's network_data.json instead.
///
/// # Errors
/// The line, and why it is none of these.
pub fn read(text: &str, config_drive: bool) -> Result<Data, (usize, String)> {
    let documents = parse(text)?;
    let Some(root) = documents.first().filter(|root| !root.is_null()) else { return Ok(Data::Empty) };
    let openstack = ["links", "networks"].iter().any(|key| root.get(key).is_some());
    let root = root.get("network").unwrap_or(root);
    let version = root.integer("version");
    match (version, root.get("config"), root.get("ethernets")) {
        (_, Some(config), _) if config.as_text() == Some("disabled") => Ok(Data::Disabled),
        (Some(1), None, Some(ethernets)) => {
            Err((ethernets.line, "has version 1 with \"ethernets\", which is version 2's".into()))
        }
        (Some(2), Some(config), None) => {
            Err((config.line, "has version 2 with \"config\", which is version 1's".into()))
        }
        (Some(1), ..) => Ok(version_1(root)),
        (Some(2), ..) => Ok(version_2(root)),
        _ if openstack && config_drive => Ok(Data::OpenStack),
        _ => Err((root.line, "has no \"version: 1\" or \"version: 2\"".into())),
    }
}

fn version_1(root: &Node) -> Data {
    let entries = root.list("config");
    let of_type = |kind: &'static str| entries.iter().filter(move |entry| entry.text("type") == Some(kind));
    let members = |kind, key| of_type(kind).flat_map(move |entry| entry.list(key)).filter_map(Node::as_text);
    let carriers: Vec<&str> =
        members("bond", "bond_interfaces").chain(members("bridge", "bridge_interfaces")).collect();
    let card = |entry: &Node| {
        let mut card = card_v1(entry);
        let above = of_type("vlan").filter(|vlan| vlan.text("vlan_link") == Some(&card.name));
        let vlans: Vec<i64> = above.filter_map(|vlan| vlan.integer("vlan_id")).collect();
        card.carries = carriers.contains(&card.name.as_str()) || !vlans.is_empty();
        card.vlans = vlans;
        card
    };
    Data::Cards(of_type("physical").map(card).collect(), Vec::new())
}

fn card_v1(entry: &Node) -> Card {
    let subnets = entry.list("subnets");
    let address = |subnet: &Node| {
        let address = subnet.text("address")?;
        let mask = subnet.text("netmask").and_then(|mask| mask.parse().ok());
        let prefix = mask.and_then(|mask| ipnetwork::ip_mask_to_prefix(mask).ok());
        let prefix = prefix.map(i64::from).or_else(|| subnet.integer("netmask"));
        match prefix {
            Some(prefix) if !address.contains('/') => Some(format!("{address}/{prefix}")),
            _ => Some(address.to_string()),
        }
    };
    let gateway = |subnet: &Node| {
        let ip = subnet.text("gateway")?.parse().ok()?;
        Some(Gateway { ip, metric: subnet.integer("metric") })
    };
    let asks = |kinds: &[&str]| {
        subnets.iter().any(|subnet| subnet.text("type").is_some_and(|kind| kinds.contains(&kind)))
    };
    let dhcp4 = asks(&["dhcp", "dhcp4"]);
    Card {
        line: entry.line,
        name: entry.text("name").unwrap_or_default().to_string(),
        matched: entry
            .get("mac_address")
            .and_then(Node::as_text)
            .map_or(Match::Name, |mac| Match::Mac(mac.to_string())),
        addresses: subnets.iter().filter_map(address).collect(),
        gateways: subnets.iter().filter_map(gateway).collect(),
        dhcp4,
        dhcp6: asks(&["dhcp6", "ipv6_dhcpv6-stateful", "ipv6_dhcpv6-stateless", "ipv6_slaac"]),
        dhcp_route: dhcp4.then_some(None),
        carries: false,
        vlans: Vec::new(),
        idle: asks(&["manual"]),
        faults: entry.get("mac_address").and_then(base_60).into_iter().collect(),
    }
}

fn version_2(root: &Node) -> Data {
    let mut faults = Vec::new();
    for (key, node) in root.entries() {
        if let Some(meant) = spelling::meant(key, TOP_KEYS) {
            faults.push(unknown(key, node, meant));
        }
    }
    let others = ["bonds", "bridges"].into_iter().filter_map(|key| root.get(key)).flat_map(Node::entries);
    let carriers: Vec<&str> =
        others.flat_map(|(_, node)| node.list("interfaces")).filter_map(Node::as_text).collect();
    let vlans = root.get("vlans").map(Node::entries).unwrap_or_default();
    let ethernets = root.get("ethernets").map(Node::entries).unwrap_or_default();
    let card = |(name, node): &(String, Node)| {
        let mut card = card_v2(name, node);
        let above = vlans.iter().filter(|(_, vlan)| vlan.text("link") == Some(name));
        card.vlans = above.filter_map(|(_, vlan)| vlan.integer("id")).collect();
        card.carries = carriers.contains(&name.as_str()) || !card.vlans.is_empty();
        card
    };
    Data::Cards(ethernets.iter().map(card).collect(), faults)
}

fn card_v2(name: &str, node: &Node) -> Card {
    let mut faults: Vec<Fault> =
        node.entries().iter().filter_map(|(key, value)| misspelt(key, value)).collect();
    let mac = node.path(&["match", "macaddress"]);
    faults.extend(mac.and_then(base_60));
    let mut asked = |key: &str| match node.get(key) {
        None => false,
        Some(value) => truth(value).unwrap_or_else(|| {
            let message = format!("{key} is {}, wanted true or false", value.shown());
            faults.push(Fault { line: value.line, message, remedy: format!("{key}: true") });
            // Whatever was meant: what follows from it would be said twice.
            true
        }),
    };
    let (dhcp4, dhcp6) = (asked("dhcp4"), asked("dhcp6"));
    let overrides = node.get("dhcp4-overrides");
    let takes_routes = overrides.and_then(|all| all.get("use-routes")).and_then(truth) != Some(false);
    let metric = overrides.and_then(|all| all.integer("route-metric"));
    for (key, remedy) in
        [("addresses", "addresses: [10.77.0.10/24]"), ("routes", "routes: [{to: 0.0.0.0/0, via: ...}]")]
    {
        if let Some(value) = node.get(key).filter(|value| !value.is_list()) {
            faults.push(Fault {
                line: value.line,
                message: format!("{key} is {}, not a list", value.shown()),
                remedy: remedy.into(),
            });
        }
    }
    if let Some(value) = node.get("nameservers").filter(|value| !value.is_map()) {
        let message = format!("nameservers is {}, not a map", value.shown());
        faults.push(Fault { line: value.line, message, remedy: "nameservers: {addresses: [...]}".into() });
    }
    Card {
        line: node.line,
        name: name.to_string(),
        matched: match (mac.and_then(Node::as_text), node.get("match")) {
            (Some(mac), _) => Match::Mac(mac.to_string()),
            (None, Some(_)) => Match::Pattern,
            (None, None) => Match::Name,
        },
        addresses: node.list("addresses").iter().filter_map(address_v2).collect(),
        gateways: gateways_v2(node),
        dhcp4,
        dhcp6,
        dhcp_route: (dhcp4 && takes_routes).then_some(metric),
        carries: false,
        vlans: Vec::new(),
        idle: ["optional", "link-local", "activation-mode", "accept-ra", "virtual-function-count"]
            .iter()
            .any(|key| node.get(key).is_some_and(|value| truth(value) != Some(false))),
        faults,
    }
}

/// netplan lets an address be a map of its options, too.
fn address_v2(node: &Node) -> Option<String> {
    node.as_text().map(str::to_string).or_else(|| node.entries().first().map(|(address, _)| address.clone()))
}

fn gateways_v2(node: &Node) -> Vec<Gateway> {
    let old = ["gateway4", "gateway6"].into_iter().filter_map(|key| node.text(key)).map(|via| (via, None));
    let is_default = |route: &&Node| {
        matches!(route.text("to"), Some("default" | "0.0.0.0/0" | "::/0"))
            && route.get("on-link").and_then(truth) != Some(true)
            // A table of its own is no rival of the main one.
            && route.get("table").is_none()
    };
    let routes = node.list("routes").iter().filter(is_default);
    let written = routes.filter_map(|route| Some((route.text("via")?, route.integer("metric"))));
    old.chain(written).filter_map(|(via, metric)| Some(Gateway { ip: via.parse().ok()?, metric })).collect()
}

fn misspelt(key: &str, value: &Node) -> Option<Fault> {
    let confused = CONFUSED.iter().find(|(wrong, _)| *wrong == key).map(|(_, meant)| *meant);
    Some(unknown(key, value, confused.or_else(|| spelling::meant(key, CARD_KEYS))?))
}

fn unknown(key: &str, value: &Node, meant: &str) -> Fault {
    Fault {
        line: value.line,
        message: format!("key {key:?} is unknown to cloud-init"),
        remedy: format!("write {meant}"),
    }
}

/// A truth value in YAML 1.1, which cloud-init reads, or in quotes.
fn truth(node: &Node) -> Option<bool> {
    if let Some(text) = node.as_text() {
        return match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        };
    }
    node.as_boolean()
}

/// YAML 1.1 takes digits with colons for a number of base 60 where each but the first is less than 60: so the MAC
/// 52:54:00:12:34:56, which has no letter.
fn base_60(node: &Node) -> Option<Fault> {
    let text = node.as_text().filter(|_| node.is_bare())?;
    let (first, rest) = text.split_once(':')?;
    let number = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u8>().ok()).flatten()
    };
    let counts = !first.starts_with('0') && number(first).is_some();
    let all = rest.split(':').all(|part| number(part).is_some_and(|digit| digit < 60));
    (counts && all).then(|| Fault {
        line: node.line,
        message: format!("MAC {text} without quotes is a number in YAML 1.1, which cloud-init reads"),
        remedy: format!("\"{text}\", in quotes"),
    })
}
