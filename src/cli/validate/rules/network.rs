//! Rules about network configs: what ADD would refuse, and what the NetworkAttachmentDefinition around them lacks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ipam, refusal};
use crate::cli::validate::finding::{Finding, Severity};
use crate::cli::validate::inventory::{ALIKE, Inventory, Network, OWN_TYPE, Plugin};
use crate::cli::validate::spelling;
use crate::cni::config::known;
use crate::cni::result::without_addresses;
use crate::cni::version::CniVersion;
use crate::error::Error;
use crate::net::NetworkName;

const RESOURCE_PREFIX: &str = "bridge.network.kubevirt.io/";

/// Judges all networks.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    let mut findings: Vec<Finding> = inventory.networks.iter().flat_map(judge_one).collect();
    findings.extend(unscheduled(inventory));
    findings
}

fn judge_one(network: &Network) -> Vec<Finding> {
    let alike = |plugin: &&Plugin| ALIKE.contains(&plugin.kind.as_str());
    let own: Vec<&Plugin> = network.plugins.iter().filter(|plugin| plugin.kind == OWN_TYPE).collect();
    let mut findings: Vec<Finding> =
        network.plugins.iter().flat_map(|plugin| ipam::judge(network, plugin)).collect();
    if own.is_empty() {
        findings.extend(match network.plugins.iter().find(alike) {
            Some(plugin) => as_ours(network, plugin),
            None => vec![foreign(network)],
        });
    }
    for plugin in own {
        findings.extend(refused(network, plugin));
        findings.extend(unknown(network, plugin));
    }
    if network.is_own() {
        findings.extend(chain(network));
        findings.extend(name(network));
    }
    findings.extend(resource(network));
    findings.extend(vlan_label(network));
    findings
}

fn finding(network: &Network, severity: Severity, rule: &'static str, message: impl Into<String>) -> Finding {
    Finding::new(severity, rule, network.place.clone(), message)
}

/// No plugin whose keys are known.
fn foreign(network: &Network) -> Finding {
    let kinds: Vec<&str> = network.plugins.iter().map(|plugin| plugin.kind.as_str()).collect();
    let known = || [OWN_TYPE].into_iter().chain(ALIKE);
    if kinds.iter().all(|kind| kind.is_empty()) {
        return finding(network, Severity::Error, "type", "config key \"type\" is missing")
            .remedy(format!("\"type\": {OWN_TYPE:?}"));
    }
    match kinds.iter().find_map(|kind| Some((kind, spelling::meant(kind, known())?))) {
        Some((kind, meant)) => finding(
            network,
            Severity::Error,
            "type",
            format!("config key \"type\" is {kind:?}, which is no known plugin"),
        )
        .remedy(format!("\"type\": {meant:?}")),
        None => {
            let message = format!(
                "{} has no plugin of type {OWN_TYPE:?} ({}): not checked",
                network.place.subject(),
                kinds.join(", ")
            );
            finding(network, Severity::Hint, "other-plugin", message)
        }
    }
}

/// The config of a plugin with the same keys, as if it were this one's.
fn as_ours(network: &Network, plugin: &Plugin) -> Vec<Finding> {
    let kind = &plugin.kind;
    let message = format!("config key \"type\" is {kind:?}: checked as what it would be with {OWN_TYPE:?}");
    let differs = |error: &Error| {
        let message = format!("with \"type\": {OWN_TYPE:?} it would be refused: {error}");
        Finding {
            remedy: error.advice().map(str::to_string),
            ..finding(network, Severity::Hint, "would-be-refused", message)
        }
    };
    let refusals = refusal::all(&plugin.object);
    [finding(network, Severity::Hint, "other-plugin", message)]
        .into_iter()
        .chain(refusals.iter().map(differs))
        .collect()
}

/// Keys that ADD only mentions in its log.
fn unknown(network: &Network, plugin: &Plugin) -> Vec<Finding> {
    let hint = |key: &str| {
        let message = format!("config key {key:?} is unknown and has no effect");
        finding(network, Severity::Hint, "unknown-key", message)
    };
    // Those that resemble one of ours are refused.
    let resembles = |key: &&str| {
        plugin.conf.is_none()
            && refusal::all(&plugin.object).iter().any(|error| error.msg().contains(&format!("{key:?}")))
    };
    known::unknown(&plugin.object).filter(|key| !resembles(key)).map(hint).collect()
}

/// What ADD would answer.
fn refused(network: &Network, plugin: &Plugin) -> Vec<Finding> {
    let refusal = |rule, error: &Error| Finding::refusal(rule, network.place.clone(), error);
    let mut findings: Vec<Finding> =
        refusal::all(&plugin.object).iter().map(|error| refusal("config", error)).collect();
    match CniVersion::from_config(&plugin.object) {
        Err(error) => findings.push(refusal("version", &error)),
        Ok(version) => {
            let bare = plugin.conf.as_ref().is_some_and(|conf| conf.ipam.is_none());
            if bare && !version.has_interfaces() && network.plugins.len() == 1 {
                findings.push(refusal("version", &without_addresses(version)));
            }
        }
    }
    findings
}

/// Behind another plugin, this one works on that one's interface.
fn chain(network: &Network) -> Vec<Finding> {
    let Some(position) = network.plugins.iter().position(|plugin| plugin.kind == OWN_TYPE) else {
        return Vec::new();
    };
    let Some(own) = network.plugins[position].conf.as_ref().filter(|_| position > 0) else {
        return Vec::new();
    };
    let error = |message: String| finding(network, Severity::Error, "chain", message);
    let mut findings = Vec::new();
    let earlier =
        network.plugins[..position].iter().filter_map(|plugin| Some((plugin, plugin.conf.as_ref()?)));
    for (plugin, conf) in earlier.filter(|(_, conf)| conf.bridge != own.bridge) {
        let message = format!(
            "{:?} puts the port on bridge {}, but {OWN_TYPE:?} behind it wants it on {}",
            plugin.kind, conf.bridge, own.bridge
        );
        findings.push(error(message).remedy("name the same bridge in both"));
    }
    if let Some(ipam) = &own.ipam {
        let message = format!(
            "\"ipam\" is {:?} in a chained config: the previous plugin gives the addresses",
            ipam.plugin
        );
        findings.push(error(message).remedy(format!("remove \"ipam\" from {OWN_TYPE:?}")));
    }
    if own.is_gateway || own.ip_masq {
        let message = "\"isGateway\", \"isDefaultGateway\" and \"ipMasq\" have no effect in a chained config";
        findings.push(error(message.into()).remedy("set them in the plugin that gives the addresses"));
    }
    findings
}

/// A plain config needs a name; in a NetworkAttachmentDefinition Multus fills in the object's where it is missing.
fn name(network: &Network) -> Option<Finding> {
    let finding = |severity, rule, message: String| Some(finding(network, severity, rule, message));
    match (&network.config_name, &network.identity) {
        (None, None) => finding(Severity::Error, "name", "config key \"name\" is missing".into()),
        (Some(name), _) if NetworkName::parse(name).is_none() => finding(
            Severity::Error,
            "name",
            format!(
                "config key \"name\" is {name:?}, wanted a letter or digit followed by letters, digits, '_', '.', '-'"
            ),
        ),
        (Some(name), Some(identity)) if *name != identity.name => {
            let message =
                format!("the config's \"name\" is {name:?}, but the object is called {:?}", identity.name);
            let finding = finding(Severity::Hint, "name-differs", message)?;
            Some(finding.remedy(
                "errors and `list` show the config's name: give both the same, or leave it out of the config",
            ))
        }
        _ => None,
    }
}

/// The annotation that reserves a bridge names another one.
fn resource(network: &Network) -> Option<Finding> {
    let bridge = network.conf()?.bridge.as_str();
    let resource = network.resource.as_deref()?;
    let wanted = resource.strip_prefix(RESOURCE_PREFIX).filter(|wanted| *wanted != bridge)?;
    let message = format!("annotation resourceName asks for bridge {wanted}, the config for {bridge}");
    let remedy = format!("annotation k8s.v1.cni.cncf.io/resourceName: {RESOURCE_PREFIX}{bridge}");
    Some(finding(network, Severity::Warning, "resource-differs", message).remedy(remedy))
}

/// Said once for all networks: who has no bridge-marker has the annotation nowhere.
fn unscheduled(inventory: &Inventory) -> Option<Finding> {
    let unmarked = |network: &&Network| {
        // The first pod makes the bridge: bridge-marker would wait for that, and the pod for bridge-marker.
        let waits = network.conf().is_some_and(|conf| !conf.create_bridge);
        waits && network.is_own() && network.identity.is_some() && network.resource.is_none()
    };
    let networks: Vec<&Network> = inventory.networks.iter().filter(unmarked).collect();
    let mut bridges: BTreeMap<&str, ()> = BTreeMap::new();
    bridges.extend(networks.iter().filter_map(|network| Some((network.conf()?.bridge.as_str(), ()))));
    let names: Vec<&str> = bridges.into_keys().collect();
    let (first, one) = (networks.first()?, names.first()?);
    let message = format!("nothing makes the scheduler choose nodes that have bridge {}", names.join(" or "));
    Some(finding(first, Severity::Hint, "resource-missing", message).remedy(format!(
        "where bridge-marker runs, annotation k8s.v1.cni.cncf.io/resourceName: {RESOURCE_PREFIX}{one}"
    )))
}

/// Harvester shows the label's VLAN, the port gets the config's.
fn vlan_label(network: &Network) -> Option<Finding> {
    let label = network.vlan_label.as_deref()?;
    let written = network.plugins.iter().find_map(|plugin| plugin.object.get("vlan")).and_then(Value::as_u64);
    let vlan = written.unwrap_or_default();
    let differs = label.parse::<u64>().is_ok_and(|label| label != vlan && !(label <= 1 && vlan <= 1));
    differs.then(|| {
        let message =
            format!("label network.harvesterhci.io/vlan-id is {label}, but the config's \"vlan\" is {vlan}");
        finding(network, Severity::Warning, "vlan-label", message).remedy("give both the same VLAN")
    })
}
