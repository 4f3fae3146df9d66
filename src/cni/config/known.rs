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

/// Keys that runtimes and platforms put into a plugin's config: libcni (`capabilities`, GC's lists), Multus (a device's
/// ids; its daemon merges its own configuration into that of a hotplugged interface), and list keys that a tool copies.
const INJECTED: &[&str] = &[
    "additionalBinDir",
    "auxiliaryCNIChainName",
    "binDir",
    "capabilities",
    "chrootDir",
    "clusterNetwork",
    "cni.dev/attachments",
    "cni.dev/valid-attachments",
    "cniConfigDir",
    "cniDir",
    "cniVersions",
    "confDir",
    "defaultNetworks",
    "delegates",
    "deviceID",
    "disableCheck",
    "disableGC",
    "forceCNIVersion",
    "globalNamespaces",
    "kubeconfig",
    "loadOnlyInlinedPlugins",
    "logOptions",
    "logToStderr",
    "logVerbose",
    "metricsPort",
    "multusAutoconfigDir",
    "multusConfigFile",
    "multusMasterCNI",
    "multusNamespace",
    "namespaceIsolation",
    "overrideNetworkName",
    "pciBusID",
    "perNodeCertificate",
    "readinessIndicatorFile",
    "readinessindicatorfile",
    "retryDeleteOnError",
    "socketDir",
    "systemNamespaces",
];

/// What people and other plugins call what is meant here, in small letters without separators.
const SYNONYMS: &[(&str, &str)] = &[
    ("br", "bridge"),
    ("brname", "bridge"),
    ("bridgename", "bridge"),
    ("device", "bridge"),
    ("interface", "bridge"),
    ("linkinterface", "bridge"),
    ("master", "bridge"),
    ("nic", "bridge"),
    ("disablecontaineriface", "disableContainerInterface"),
    ("disableinterface", "disableContainerInterface"),
    ("vmmode", "disableContainerInterface"),
    ("tag", "vlan"),
    ("vid", "vlan"),
    ("vlanid", "vlan"),
    ("vlantag", "vlan"),
    ("pvid", "vlan"),
    ("trunk", "vlanTrunk"),
    ("trunks", "vlanTrunk"),
    ("keepdefaultvlan", "preserveDefaultVlan"),
    ("preservevlan", "preserveDefaultVlan"),
    ("isolated", "portIsolation"),
    ("isolate", "portIsolation"),
    ("isolation", "portIsolation"),
    ("promiscuous", "promiscMode"),
    ("promiscuousmode", "promiscMode"),
    ("antispoof", "macspoofchk"),
    ("macspoofing", "macspoofchk"),
    ("spoofchk", "macspoofchk"),
    ("spoofcheck", "macspoofchk"),
    ("dhcp", "dhcpProbe"),
    ("probe", "dhcpProbe"),
    ("gateway", "isGateway"),
    ("isgw", "isGateway"),
    ("defaultgateway", "isDefaultGateway"),
    ("isdefaultgw", "isDefaultGateway"),
    ("masquerade", "ipMasq"),
    ("masq", "ipMasq"),
    ("dad", "enabledad"),
    ("timeout", "deadline\" or \"dhcpProbe.timeout"),
    ("mac", "args.cni.mac\" or \"runtimeConfig.mac"),
    ("macaddress", "args.cni.mac\" or \"runtimeConfig.mac"),
];

/// Keys of old examples that no plugin reads any more.
const OBSOLETE: &[&str] = &["addif"];

/// The fewest letters that may stand for a longer key.
const BEGINNING_MIN: usize = 5;

/// Refuses keys that mean another one: a typo must not turn a security check off in silence.
///
/// # Errors
/// Code 7 naming the right key.
pub fn refuse_misspelt(object: &Map<String, Value>) -> Result<(), Error> {
    for key in unknown(object) {
        if let Some(meant) = meant(key, &[OWN, CNI], SYNONYMS) {
            return Err(misspelt(key, &meant));
        }
        if OBSOLETE.contains(&plain(key).as_str()) {
            return Err(Error::new(Code::InvalidConfig, format!("config key {key:?} has no effect"))
                .remedy(format!("remove {key:?}")));
        }
    }
    Ok(())
}

/// The keys that neither this plugin nor CNI nor a known platform has.
pub fn unknown(object: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let known = |key: &&str| [OWN, CNI, INJECTED].iter().any(|keys| keys.contains(key));
    object.keys().map(String::as_str).filter(move |key| !known(key))
}

/// Error 7 that names the right key.
pub(super) fn misspelt(key: &str, meant: &str) -> Error {
    Error::new(Code::InvalidConfig, format!("unknown config key \"{key}\"; this plugin's key is \"{meant}\""))
        .remedy(format!("rename \"{key}\" to \"{meant}\""))
}

/// The key that is meant by a key that is none of `keys`: the same letters, a synonym, its beginning, or so few typos
/// that it can hardly be another word.
pub(super) fn meant(key: &str, keys: &[&[&str]], synonyms: &[(&str, &str)]) -> Option<String> {
    let written = plain(key);
    if written.is_empty() {
        return None;
    }
    let known = || keys.iter().copied().flatten().map(|known| (*known, plain(known)));
    let same = known().find(|(_, letters)| *letters == written);
    let synonym =
        || synonyms.iter().find(|(word, _)| *word == written).map(|(_, meant)| (*meant).to_string());
    let beginning = || {
        let begins = |long: &str, short: &str| short.len() >= BEGINNING_MIN && long.starts_with(short);
        known().find(|(_, letters)| begins(letters, &written)).map(|(own, _)| own.to_string())
    };
    let typo = || {
        let distances =
            known().map(|(own, letters)| (strsim::osa_distance(&letters, &written), own, letters.len()));
        let near = distances
            .filter(|(distance, _, length)| *distance <= typos(*length))
            .min_by_key(|(distance, ..)| *distance);
        near.map(|(_, own, _)| own.to_string())
    };
    same.map(|(own, _)| own.to_string()).or_else(synonym).or_else(beginning).or_else(typo)
}

/// How many letters may be wrong, missing or too many in a word of this length.
fn typos(length: usize) -> usize {
    match length {
        0..=5 => 1,
        6..=9 => 2,
        _ => 3,
    }
}

/// A key's letters and digits, small: case and separators are what people confuse first.
fn plain(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(key: &str) -> Option<String> {
        let object = json!({"bridge": "br0", key: true});
        refuse_misspelt(object.as_object().unwrap()).err().map(|error| error.msg().to_string())
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_right_name() {
        for (wrong, right) in [
            ("macspoofcheck", "macspoofchk"),
            ("macspoof", "macspoofchk"),
            ("mac_spoof_chk", "macspoofchk"),
            ("macSpoofChk", "macspoofchk"),
            ("macspofchk", "macspoofchk"),
            ("macspoofchck", "macspoofchk"),
            ("MacSpoofCheck", "macspoofchk"),
            ("spoofchk", "macspoofchk"),
            ("vlans", "vlan"),
            ("vlan_id", "vlan"),
            ("vlanId", "vlan"),
            ("vlanTag", "vlan"),
            ("VLAN", "vlan"),
            ("vlna", "vlan"),
            ("tag", "vlan"),
            ("pvid", "vlan"),
            ("vlan_trunk", "vlanTrunk"),
            ("vlanTrunks", "vlanTrunk"),
            ("vlantrunk", "vlanTrunk"),
            ("trunk", "vlanTrunk"),
            ("preserveDefaultVLAN", "preserveDefaultVlan"),
            ("preserve_default_vlan", "preserveDefaultVlan"),
            ("preserveVlan", "preserveDefaultVlan"),
            ("isolation", "portIsolation"),
            ("isolated", "portIsolation"),
            ("port_isolation", "portIsolation"),
            ("portIsolated", "portIsolation"),
            ("hairpin", "hairpinMode"),
            ("hairpin_mode", "hairpinMode"),
            ("hairPinMode", "hairpinMode"),
            ("promiscuous", "promiscMode"),
            ("promisc", "promiscMode"),
            ("promiscousMode", "promiscMode"),
            ("disableContainerIface", "disableContainerInterface"),
            ("disable_container_interface", "disableContainerInterface"),
            ("disableContainerInterfaces", "disableContainerInterface"),
            ("disableContainer", "disableContainerInterface"),
            ("isDefaultGw", "isDefaultGateway"),
            ("isDefaultGW", "isDefaultGateway"),
            ("isDefaultGatway", "isDefaultGateway"),
            ("defaultGateway", "isDefaultGateway"),
            ("isGw", "isGateway"),
            ("is_gateway", "isGateway"),
            ("isGatway", "isGateway"),
            ("ipmasq", "ipMasq"),
            ("ip_masq", "ipMasq"),
            ("masquerade", "ipMasq"),
            ("ipMasqBackned", "ipMasqBackend"),
            ("forceAdress", "forceAddress"),
            ("force_address", "forceAddress"),
            ("enableDad", "enabledad"),
            ("uplink_check", "uplinkCheck"),
            ("upLinkCheck", "uplinkCheck"),
            ("uplinkChek", "uplinkCheck"),
            ("dhcp_probe", "dhcpProbe"),
            ("dhcpprobe", "dhcpProbe"),
            ("dhcp", "dhcpProbe"),
            ("probe", "dhcpProbe"),
            ("mtuu", "mtu"),
            ("brigde", "bridge"),
            ("brName", "bridge"),
            ("master", "bridge"),
            ("createBrige", "createBridge"),
            ("create_bridge", "createBridge"),
            ("deadlines", "deadline"),
            ("log_file", "logFile"),
            ("loglevel", "logLevel"),
            ("ipma", "ipam"),
            ("cniversion", "cniVersion"),
        ] {
            let message = refusal(wrong).unwrap_or_else(|| panic!("{wrong} passes"));
            assert!(message.contains(&format!("{right:?}")), "{wrong}: {message}");
        }
        assert!(refusal("timeout").unwrap().contains("dhcpProbe.timeout"));
        assert!(refusal("mac").unwrap().contains("runtimeConfig.mac"));
        assert!(refusal("addIf").unwrap().contains("no effect"));
    }

    #[test]
    fn keys_of_platforms_and_keys_that_resemble_none_of_ours_pass() {
        for key in INJECTED.iter().chain(OWN).chain(CNI) {
            assert_eq!(refusal(key), None, "{key}");
        }
        for key in ["description", "_comment", "labels", "owner", "x-team", "resources", "_", "plugins", "ü"]
        {
            assert_eq!(refusal(key), None, "{key}");
        }
        let object = json!({"bridge": "br0", "type": "x", "deviceID": "0", "owner": "me"});
        assert_eq!(unknown(object.as_object().unwrap()).collect::<Vec<_>>(), ["owner"]);
    }
}
