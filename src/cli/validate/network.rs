//! Rules about network configs: what ADD would refuse, and what the NetworkAttachmentDefinition around them lacks.

use super::finding::{Finding, Severity};
use super::kinds::{Inventory, Network, OWN_TYPE, Plugin};
use crate::cni::config::NetConf;
use crate::cni::result::without_addresses;
use crate::cni::version::CniVersion;
use crate::net::NetworkName;

const RESOURCE_PREFIX: &str = "bridge.network.kubevirt.io/";

/// Judges all networks.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    inventory.networks.iter().flat_map(judge_one).collect()
}

fn judge_one(network: &Network) -> Vec<Finding> {
    let own: Vec<&Plugin> = network.plugins.iter().filter(|plugin| plugin.kind == OWN_TYPE).collect();
    if own.is_empty() {
        let kinds: Vec<&str> = network.plugins.iter().map(|plugin| plugin.kind.as_str()).collect();
        let message = format!("has no plugin of type {OWN_TYPE:?} ({}): not checked", kinds.join(", "));
        return vec![Finding::new(Severity::Hint, "other-plugin", network.place.clone(), message)];
    }
    let mut findings: Vec<Finding> = own.iter().filter_map(|plugin| refused(network, plugin)).collect();
    findings.extend(name(network));
    if network.identity.is_some() {
        findings.extend(
            own.iter().find_map(|plugin| plugin.conf.as_ref()).and_then(|conf| resource(network, conf)),
        );
    }
    findings
}

/// What ADD would answer.
fn refused(network: &Network, plugin: &Plugin) -> Option<Finding> {
    let finding = |rule, error| Some(Finding::refusal(rule, network.place.clone(), &error));
    let version = match CniVersion::from_config(&plugin.object) {
        Ok(version) => version,
        Err(error) => return finding("version", error),
    };
    match NetConf::parse(&plugin.object) {
        Err(error) => finding("config", error),
        Ok(conf) if !version.has_interfaces() && conf.ipam.is_none() && network.plugins.len() == 1 => {
            finding("version", without_addresses(version))
        }
        Ok(_) => None,
    }
}

/// A plain config needs a name; in a NetworkAttachmentDefinition Multus fills in the object's where it is missing.
fn name(network: &Network) -> Option<Finding> {
    let finding =
        |severity, rule, message: String| Some(Finding::new(severity, rule, network.place.clone(), message));
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

fn resource(network: &Network, conf: &NetConf) -> Option<Finding> {
    let bridge = conf.bridge.as_str();
    let remedy = format!(
        "annotation k8s.v1.cni.cncf.io/resourceName: {RESOURCE_PREFIX}{bridge} (needs bridge-marker)"
    );
    let place = network.place.clone();
    match network.resource.as_deref() {
        // The first pod makes the bridge: bridge-marker would wait for that, and the pod for bridge-marker.
        None if conf.create_bridge => None,
        None => {
            let message = format!("nothing keeps pods off nodes that have no bridge {bridge}");
            Some(Finding::new(Severity::Hint, "resource-missing", place, message).remedy(remedy))
        }
        Some(resource) => {
            let named = resource.strip_prefix(RESOURCE_PREFIX)?;
            let message = format!(
                "resourceName asks for nodes with bridge {named}, but the config's bridge is {bridge}"
            );
            let finding = Finding::new(Severity::Warning, "resource-differs", place, message).remedy(remedy);
            (named != bridge).then_some(finding)
        }
    }
}
