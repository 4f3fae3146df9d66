//! The config's keys, and other spellings of them that would be ignored silently.

use serde_json::{Map, Value};

use crate::report::{Code, Error};

/// Keys of this plugin and of CNI: another spelling of one of them is a mistake that would be ignored silently.
const KNOWN: &[&str] = &[
    "args",
    "bridge",
    "cniVersion",
    "createBridge",
    "deadline",
    "dhcpProbe",
    "disableContainerInterface",
    "dns",
    "enabledad",
    "forceAddress",
    "hairpinMode",
    "ipMasq",
    "ipMasqBackend",
    "ipam",
    "isDefaultGateway",
    "isGateway",
    "logFile",
    "logLevel",
    "macspoofchk",
    "mtu",
    "name",
    "portIsolation",
    "preserveDefaultVlan",
    "prevResult",
    "promiscMode",
    "runtimeConfig",
    "type",
    "uplinkCheck",
    "vlan",
    "vlanTrunk",
];

/// Keys that other plugins use for what is meant here.
const CONFUSED: &[(&str, &str)] = &[
    ("master", "bridge"),
    ("brName", "bridge"),
    ("bridgeName", "bridge"),
    ("interface", "bridge"),
    ("vlanId", "vlan"),
    ("vlan_id", "vlan"),
    ("trunk", "vlanTrunk"),
    ("macSpoofChk", "macspoofchk"),
    ("dhcp_probe", "dhcpProbe"),
    ("uplink_check", "uplinkCheck"),
];

/// Refuses keys that mean another one. Keys that nobody knows are let through: runtimes inject some.
///
/// # Errors
/// Code 7 naming the right key.
pub fn refuse_confused(object: &Map<String, Value>) -> Result<(), Error> {
    for key in object.keys().filter(|key| !KNOWN.contains(&key.as_str())) {
        let meant = CONFUSED
            .iter()
            .find(|(confused, _)| key.eq_ignore_ascii_case(confused))
            .map(|(_, meant)| *meant)
            .or_else(|| KNOWN.iter().copied().find(|known| key.eq_ignore_ascii_case(known)));
        if let Some(meant) = meant {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("unknown config key \"{key}\"; this plugin's key is \"{meant}\""),
            )
            .remedy(format!("rename \"{key}\" to \"{meant}\"")));
        }
    }
    Ok(())
}
