//! The network config on standard input, typed: what an administrator wrote in the NetworkAttachmentDefinition.
//!
//! - [`known`]: the keys there are, and other spellings that would be ignored silently.
//! - [`keys`]: reads one value and says what is wrong with it.
//! - `vlans`: the keys about VLANs.
//! - [`dhcp_probe`]: the `dhcpProbe` key.
//! - [`lease`]: the `ipam` keys of a DHCP lease.

pub mod dhcp_probe;
pub mod keys;
pub mod known;
pub mod lease;
mod vlans;

use std::collections::BTreeMap;
use std::time::Duration;

use dhcp_probe::DhcpProbe;
use lease::LeaseTerms;
use serde_json::{Map, Value};

use crate::cni::config::keys::Keys;
use crate::error::{Code, Error};
use crate::net::{InterfaceName, MacAddress, Vlans};

/// Smallest MTU that IPv4 allows (RFC 791) and largest that the kernel's veth takes (ETH_MAX_MTU).
const MTU_RANGE: (u32, u32) = (68, 65535);
const DEADLINE_DEFAULT: Duration = Duration::from_secs(15);
/// The longest `deadline`.
pub const DEADLINE_MAX: Duration = Duration::from_secs(60);
const DEADLINE_RANGE: (Duration, Duration) = (Duration::from_secs(1), DEADLINE_MAX);

/// `ipam.type` of a DHCP lease: the incumbent plugin's name, and our own, which no other plugin has.
const DHCP: &str = "dhcp";
const OWN_LEASE: &str = "bridge-dhcp";

/// What `uplinkCheck` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UplinkCheck {
    /// Look at no uplink.
    Off,
    /// Say in the log what is wrong.
    Warn,
    /// Refuse to attach, unless the DHCP probe is answered: whatever brings a guest its lease is a way.
    UnlessAnswered,
    /// Refuse to attach.
    Fail,
}

/// Who gives addresses in container mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipam {
    /// `ipam.type`, the delegated plugin.
    pub plugin: String,
    /// Nothing but the type is there: on DEL, some runtimes strip the rest.
    pub stripped: bool,
    /// How a DHCP lease is asked for, where the type means one.
    pub lease: Option<LeaseTerms>,
}

impl Ipam {
    /// It is the plugin `dhcp`, which speaks through the attachment itself.
    pub fn is_dhcp(&self) -> bool {
        self.plugin == DHCP
    }
}

/// The DNS settings that override IPAM's (CNI spec, "dns").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the spec's own words")]
pub struct Dns {
    pub nameservers: Vec<String>,
    pub domain: Option<String>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// The config as ADD and CHECK need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetConf {
    /// The host bridge.
    pub bridge: InterfaceName,
    /// Whether a missing bridge is created.
    pub create_bridge: bool,
    /// The bridge carries the subnets' gateway addresses.
    pub is_gateway: bool,
    /// The container's default route leads to the bridge.
    pub is_default_gateway: bool,
    /// A different address on the bridge is replaced.
    pub force_address: bool,
    /// Masquerade what leaves the attachment's subnets.
    pub ip_masq: bool,
    /// MTU of the container side; `None` takes the bridge's.
    pub mtu: Option<u32>,
    /// Frames may leave through the port they came in.
    pub hairpin: bool,
    /// The bridge is promiscuous.
    pub promiscuous: bool,
    /// VLANs of the port; `None` leaves the bridge's default.
    pub vlans: Option<Vlans>,
    /// Only frames with the attachment's MAC may enter.
    pub mac_spoof_check: bool,
    /// IPv6 duplicate address detection on the container side.
    pub enable_dad: bool,
    /// VM mode: the container side stays down.
    pub vm_mode: bool,
    /// The port talks to non-isolated ports only.
    pub isolated: bool,
    /// Delegated address management.
    pub ipam: Option<Ipam>,
    /// Overrides IPAM's DNS settings.
    pub dns: Option<Dns>,
    /// `runtimeConfig.mac`, else `args.cni.mac`.
    pub mac: Option<MacAddress>,
    /// The DHCP probe, where asked for.
    pub dhcp_probe: Option<DhcpProbe>,
    /// What to do about uplinks.
    pub uplink_check: UplinkCheck,
    /// ADD as a whole ends within this time.
    pub deadline: Duration,
}

impl NetConf {
    /// Types the config. Unknown keys are ignored, since runtimes inject some; those that resemble one of ours are not.
    ///
    /// # Errors
    /// Code 7 naming key, value and range; code 2 for a value that the `bridge` plugin has and this one has not.
    pub fn parse(object: &Map<String, Value>) -> Result<Self, Error> {
        known::refuse_misspelt(object)?;
        let keys = Keys::new(object, "");
        let is_default_gateway = keys.boolean("isDefaultGateway")?;
        let is_gateway = keys.boolean("isGateway")? || is_default_gateway;
        let dhcp_probe = dhcp_probe::parse(&keys)?;
        let conf = Self {
            bridge: bridge(&keys)?,
            create_bridge: match keys.value("createBridge") {
                None => is_gateway,
                Some(_) => keys.boolean("createBridge")?,
            },
            is_gateway,
            is_default_gateway,
            force_address: keys.boolean("forceAddress")?,
            ip_masq: keys.boolean("ipMasq")?,
            mtu: mtu(&keys)?,
            hairpin: keys.boolean("hairpinMode")?,
            promiscuous: keys.boolean("promiscMode")?,
            vlans: vlans::parse(&keys)?,
            mac_spoof_check: keys.boolean("macspoofchk")?,
            enable_dad: keys.boolean("enabledad")?,
            vm_mode: keys.boolean("disableContainerInterface")?,
            isolated: keys.boolean("portIsolation")?,
            ipam: ipam(object)?,
            dns: dns(&keys)?,
            mac: mac(&keys)?,
            uplink_check: uplink_check(&keys, dhcp_probe.is_some(), is_gateway)?,
            dhcp_probe,
            deadline: keys
                .duration("deadline", DEADLINE_RANGE.0, DEADLINE_RANGE.1)?
                .unwrap_or(DEADLINE_DEFAULT),
        };
        masquerade_backend(&keys)?;
        conf.refuse_conflicts()?;
        Ok(conf)
    }

    fn refuse_conflicts(&self) -> Result<(), Error> {
        if self.hairpin && self.promiscuous {
            return Err(conflict(
                "\"hairpinMode\" and \"promiscMode\" are both set: frames would come back twice",
            )
            .remedy("set only one of them"));
        }
        if let (true, Some(ipam)) = (self.vm_mode, &self.ipam) {
            let fact = format!(
                "\"ipam\" is {:?} with \"disableContainerInterface\": a VM gets its address inside the guest",
                ipam.plugin
            );
            return Err(conflict(&fact)
                .evidence("an address on the pod's interface would make KubeVirt answer the guest's DHCP itself")
                .remedy("remove \"ipam\"; let the guest use the LAN's DHCP server, or give a static address by cloud-init"));
        }
        if let Some(timeout) = self.dhcp_probe.as_ref().map(|probe| probe.timeout)
            && timeout >= self.deadline
        {
            let fact = format!(
                "\"dhcpProbe.timeout\" {timeout:?} does not fit into \"deadline\" {:?}",
                self.deadline
            );
            return Err(conflict(&fact).remedy("raise \"deadline\" (at most \"60s\") or lower the timeout"));
        }
        Ok(())
    }
}

/// `ipam`, or `None` where it is absent or empty.
///
/// # Errors
/// Code 7 where `ipam` is no object, `type` no string, or a key of a DHCP lease is wrong.
pub fn ipam(object: &Map<String, Value>) -> Result<Option<Ipam>, Error> {
    let Some(ipam) = Keys::new(object, "").object("ipam")? else { return Ok(None) };
    let Some(plugin) = Keys::new(ipam, "ipam.").text("type")? else { return Ok(None) };
    let leases = matches!(plugin, DHCP | OWN_LEASE);
    Ok(Some(Ipam {
        plugin: plugin.to_string(),
        stripped: ipam.len() == 1 && !object.contains_key("bridge"),
        lease: leases.then(|| LeaseTerms::parse(ipam)).transpose()?,
    }))
}

fn conflict(fact: &str) -> Error {
    Error::new(Code::InvalidConfig, fact)
}

fn bridge(keys: &Keys) -> Result<InterfaceName, Error> {
    let name = keys.text("bridge")?.ok_or_else(|| {
        conflict("config key \"bridge\" is missing")
            .remedy("name the node's bridge, for example \"bridge\": \"br-external\"")
    })?;
    InterfaceName::parse(name).ok_or_else(|| {
        keys.wrong("bridge", "an interface name (1 to 15 bytes, no '/', ':', '%' or white space)")
    })
}

fn mtu(keys: &Keys) -> Result<Option<u32>, Error> {
    if keys.value("mtu").and_then(Value::as_u64) == Some(0) {
        return Ok(None);
    }
    keys.integer("mtu", MTU_RANGE.0, MTU_RANGE.1)
}

fn mac(keys: &Keys) -> Result<Option<MacAddress>, Error> {
    let cni = keys.object("args")?.and_then(|args| args.get("cni")).and_then(Value::as_object);
    let runtime = keys.object("runtimeConfig")?;
    for (object, path) in [(runtime, "runtimeConfig."), (cni, "args.cni.")] {
        let Some(keys) = object.map(|object| Keys::new(object, path)) else { continue };
        if let Some(text) = keys.text("mac")? {
            let address = MacAddress::parse(text);
            return address
                .map(Some)
                .map_err(|why| keys.wrong("mac", &format!("a unicast MAC address; this is {why}")));
        }
    }
    Ok(None)
}

fn masquerade_backend(keys: &Keys) -> Result<(), Error> {
    match keys.text("ipMasqBackend")? {
        None | Some("nftables") => Ok(()),
        Some("iptables") => Err(Error::new(
            Code::UnsupportedField,
            "unsupported value of \"ipMasqBackend\": \"iptables\"; this plugin speaks to nftables itself",
        )
        .remedy("remove \"ipMasqBackend\" or set it to \"nftables\"")),
        Some(_) => Err(keys.wrong("ipMasqBackend", "\"nftables\"")),
    }
}

fn uplink_check(keys: &Keys, probing: bool, is_gateway: bool) -> Result<UplinkCheck, Error> {
    match keys.text("uplinkCheck")? {
        None if probing => Ok(UplinkCheck::UnlessAnswered),
        // The way off the node is a route.
        None if is_gateway => Ok(UplinkCheck::Off),
        None | Some("warn") => Ok(UplinkCheck::Warn),
        Some("off") => Ok(UplinkCheck::Off),
        Some("fail") => Ok(UplinkCheck::Fail),
        Some(_) => Err(keys.wrong("uplinkCheck", "\"off\", \"warn\" or \"fail\"")),
    }
}

fn dns(keys: &Keys) -> Result<Option<Dns>, Error> {
    let Some(object) = keys.object("dns")? else { return Ok(None) };
    let keys = Keys::new(object, "dns.");
    let texts = |key: &str| -> Result<Vec<String>, Error> {
        let items = keys.list(key)?.iter();
        items
            .map(|item| item.as_str().map(str::to_string).ok_or_else(|| keys.wrong(key, "a list of strings")))
            .collect()
    };
    let dns = Dns {
        nameservers: texts("nameservers")?,
        domain: keys.text("domain")?.map(str::to_string),
        search: texts("search")?,
        options: texts("options")?,
    };
    Ok(Some(dns).filter(|dns| *dns != Dns::default()))
}

/// The MAC address that applies: `runtimeConfig.mac` and `args.cni.mac` go before `MAC=` of CNI_ARGS.
///
/// # Errors
/// Code 4 for a malformed address in CNI_ARGS, where it counts.
pub fn requested_mac(
    conf: &NetConf,
    arguments: &BTreeMap<String, String>,
) -> Result<Option<MacAddress>, Error> {
    match (conf.mac, arguments.get("MAC").filter(|text| !text.is_empty())) {
        (Some(mac), _) => Ok(Some(mac)),
        (None, None) => Ok(None),
        (None, Some(text)) => MacAddress::parse(text).map(Some).map_err(|why| {
            Error::new(
                Code::Environment,
                format!("CNI_ARGS has MAC={text}, wanted a unicast MAC address; this is {why}"),
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<NetConf, Error> {
        NetConf::parse(value.as_object().unwrap())
    }

    fn refusal(value: Value) -> String {
        let error = parse(value).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
        error.msg().to_string()
    }

    #[test]
    fn an_almost_empty_config_takes_the_defaults() {
        let conf =
            parse(json!({"bridge": "br0", "mtu": 0, "ipam": {}, "vlan": null, "unheardOf": 1})).unwrap();
        assert_eq!(conf.bridge.as_str(), "br0");
        assert!(!conf.create_bridge && !conf.vm_mode && conf.vlans.is_none() && conf.ipam.is_none());
        assert_eq!((conf.mtu, conf.uplink_check), (None, UplinkCheck::Warn));
        assert_eq!(conf.deadline, Duration::from_secs(15));
    }

    #[test]
    fn a_gateway_may_create_its_bridge_and_a_probe_needs_an_uplink() {
        assert!(parse(json!({"bridge": "b", "isDefaultGateway": true})).unwrap().create_bridge);
        assert!(
            !parse(json!({"bridge": "b", "isGateway": true, "createBridge": false})).unwrap().create_bridge
        );
        assert_eq!(
            parse(json!({"bridge": "b", "dhcpProbe": true})).unwrap().uplink_check,
            UplinkCheck::UnlessAnswered
        );
    }

    #[test]
    fn confused_keys_name_the_right_one() {
        for (wrong, right) in [
            ("master", "bridge"),
            ("vlanID", "vlan"),
            ("Vlan", "vlan"),
            ("ipmasq", "ipMasq"),
            ("dhcp_probe", "dhcpProbe"),
        ] {
            let message = refusal(json!({"bridge": "b", wrong: "x"}));
            assert!(message.contains(wrong) && message.contains(&format!("\"{right}\"")), "{message}");
        }
    }

    #[test]
    fn conflicts_say_what_to_do_instead() {
        assert!(
            refusal(json!({"bridge": "b", "hairpinMode": true, "promiscMode": true})).contains("hairpinMode")
        );
        let vm = json!({"bridge": "b", "disableContainerInterface": true, "ipam": {"type": "dhcp"}});
        assert!(refusal(vm).contains("inside the guest"));
        assert!(
            refusal(json!({"bridge": "b", "deadline": "5s", "dhcpProbe": true})).contains("does not fit")
        );
        assert!(refusal(json!({"vlan": 1})).contains("\"bridge\" is missing"));
    }

    #[test]
    fn runtime_config_beats_args_beats_cni_args() {
        let arguments = BTreeMap::from([("MAC".to_string(), "02:00:00:00:00:03".to_string())]);
        let both = parse(json!({"bridge": "b", "args": {"cni": {"mac": "02:00:00:00:00:02"}},
            "runtimeConfig": {"mac": "02:00:00:00:00:01"}}));
        let args = parse(json!({"bridge": "b", "args": {"cni": {"mac": "02:00:00:00:00:02"}}}));
        let none = parse(json!({"bridge": "b", "runtimeConfig": {"mac": ""}}));
        let last = |conf: Result<NetConf, Error>| {
            requested_mac(&conf.unwrap(), &arguments).unwrap().unwrap().octets()[5]
        };
        assert_eq!((last(both), last(args), last(none)), (1, 2, 3));
        assert!(
            refusal(json!({"bridge": "b", "runtimeConfig": {"mac": "01:00:00:00:00:01"}}))
                .contains("multicast")
        );
    }

    #[test]
    fn the_iptables_backend_is_unsupported_not_ignored() {
        let error = parse(json!({"bridge": "b", "ipMasqBackend": "iptables"})).unwrap_err();
        assert_eq!(error.code, Code::UnsupportedField);
        assert!(error.msg().contains("ipMasqBackend") && error.msg().contains("iptables"));
    }
}
