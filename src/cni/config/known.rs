//! The config's keys, and other spellings of them that would be ignored silently.

use serde_json::{Map, Value};

use crate::error::{Code, Error};

/// Keys of this plugin, as the README's table lists them.
pub const OWN: &[&str] = &[
    "bridge",
    "createBridge",
    "disableContainerInterface",
    "mtu",
    "vlan",
    "vlanTrunk",
    "preserveDefaultVlan",
    "portIsolation",
    "hairpinMode",
    "promiscMode",
    "macspoofchk",
    "uplinkCheck",
    "dhcpProbe",
    "ipam",
    "isGateway",
    "isDefaultGateway",
    "forceAddress",
    "ipMasq",
    "ipMasqBackend",
    "enabledad",
    "dns",
    "deadline",
    "logFile",
    "logLevel",
];

/// Keys of CNI itself, for every plugin (CNI spec sections 1 and 4).
const CNI: &[&str] = &["args", "cniVersion", "name", "prevResult", "runtimeConfig", "type"];

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
    let known = || OWN.iter().chain(CNI).copied();
    for key in object.keys().filter(|key| !known().any(|known| known == key.as_str())) {
        let meant = CONFUSED
            .iter()
            .find(|(confused, _)| key.eq_ignore_ascii_case(confused))
            .map(|(_, meant)| *meant)
            .or_else(|| known().find(|known| key.eq_ignore_ascii_case(known)));
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
