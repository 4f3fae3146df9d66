//! Pods and the templates of workloads: what their annotations ask Multus for.

use serde_json::{Map, Value};

use super::json;
use crate::cli::validate::document::Node;
use crate::cli::validate::finding::{Finding, Place, Severity};
use crate::cli::validate::inventory::{Attachment, Identity, Inventory, Pod};
use crate::cli::validate::spelling;

/// The networks that Multus attaches beside the pod's own.
const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The network that Multus attaches in the place of the cluster's.
const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
/// Keys of an entry in the JSON form (Network Plumbing Working Group's specification, section 4.1.2.1, and Multus).
const KEYS: [&str; 11] = [
    "name",
    "namespace",
    "interface",
    "mac",
    "ips",
    "cni-args",
    "default-route",
    "infiniband-guid",
    "bandwidth",
    "portMappings",
    "ipam-claim-reference",
];

impl Inventory {
    pub(super) fn read_pod(&mut self, place: Place, identity: Identity, node: &Node, path: &[&str]) {
        let annotations = |node: &'_ Node| node.path(&["metadata", "annotations"]).cloned();
        let template = node.path(path).and_then(annotations);
        if let Some(outer) = annotations(node).filter(|_| !path.is_empty())
            && let Some(found) = outer.get(NETWORKS)
        {
            let message = format!("annotation {NETWORKS} is the workload's own: its pods do not get it");
            self.findings.push(
                Finding::new(Severity::Warning, "annotation-place", place.at(found.line), message)
                    .remedy(format!("write it to {}.metadata.annotations", path.join("."))),
            );
        }
        let entries = template.as_ref().map(Node::entries).unwrap_or_default();
        for (key, value) in entries.iter().filter(|(key, _)| key.contains("cni")) {
            if let Some(meant) =
                spelling::meant(key, [NETWORKS, DEFAULT_NETWORK, "k8s.v1.cni.cncf.io/network-status"])
            {
                let message = format!("annotation {key} is not known to Multus");
                let finding = Finding::new(Severity::Warning, "annotation", place.at(value.line), message);
                self.findings.push(finding.remedy(format!("{meant}: ...")));
            }
        }
        let mut read = |key| {
            let value = template.as_ref().and_then(|annotations| annotations.get(key))?;
            let (attachments, findings) = attachments(value, &place);
            self.findings.extend(findings);
            Some(attachments)
        };
        let attachments = read(NETWORKS).unwrap_or_default();
        let default_network = read(DEFAULT_NETWORK).and_then(|all| all.into_iter().next());
        let replicas = match node.path(&["spec", "replicas"]) {
            _ if path.is_empty() => Some(1),
            Some(_) => node.get("spec").and_then(|spec| spec.integer("replicas")),
            None if place.object.starts_with("DaemonSet") => None,
            None => Some(1),
        };
        self.pods.push(Pod { place, namespace: identity.namespace, replicas, attachments, default_network });
    }
}

/// Reads both forms of the annotation.
fn attachments(value: &Node, place: &Place) -> (Vec<Attachment>, Vec<Finding>) {
    let at = |line| place.at(value.line_of(line));
    let wrong = |line, message: String| Finding::new(Severity::Error, "annotation", at(line), message);
    let Some(text) = value.as_text() else {
        let finding = wrong(1, format!("annotation {NETWORKS} is no text, but {}", value.shown()));
        return (Vec::new(), vec![finding.remedy("write the JSON as a block: \"|\"")]);
    };
    if !text.trim_start().starts_with(['[', '{']) {
        let entries = text.split(',').map(|entry| short(entry.trim(), value.line));
        let (read, broken): (Vec<_>, Vec<_>) = entries.partition(Result::is_ok);
        let findings = broken.into_iter().filter_map(Result::err);
        return (
            read.into_iter().flatten().collect(),
            findings
                .map(|entry| {
                    let message = format!(
                        "annotation {NETWORKS} has {entry:?} where [NAMESPACE/]NAME[@INTERFACE] belongs"
                    );
                    wrong(1, message)
                })
                .collect(),
        );
    }
    let wrapped = format!("{{\"networks\": {text}}}");
    let entries = match json::object(&wrapped) {
        Ok((object, _)) => match object.get("networks") {
            Some(Value::Array(entries)) => entries.clone(),
            _ => {
                return (
                    Vec::new(),
                    vec![
                        wrong(1, format!("annotation {NETWORKS} is JSON, but no list"))
                            .remedy("[ {\"name\": ...} ]"),
                    ],
                );
            }
        },
        Err(mistake) => {
            let finding = wrong(mistake.line, format!("annotation {NETWORKS} is not JSON: {}", mistake.why));
            return (Vec::new(), vec![Finding { remedy: mistake.remedy.map(str::to_string), ..finding }]);
        }
    };
    let mut findings = Vec::new();
    let mut read = Vec::new();
    for entry in &entries {
        let Some(object) = entry.as_object() else {
            findings.push(wrong(1, format!("annotation {NETWORKS} has {entry} where an object belongs")));
            continue;
        };
        findings.extend(misspelt(object).map(|(key, meant)| {
            let message = format!("annotation {NETWORKS} has the unknown key {key:?}");
            Finding::new(Severity::Warning, "annotation", at(1), message)
                .remedy(format!("rename it to {meant:?}"))
        }));
        match long(object, value.line) {
            Some(attachment) => read.push(attachment),
            None => findings.push(wrong(1, format!("annotation {NETWORKS} has an entry without \"name\""))),
        }
    }
    (read, findings)
}

fn misspelt(object: &Map<String, Value>) -> impl Iterator<Item = (&str, &'static str)> {
    const CONFUSED: [(&str, &str); 5] = [
        ("network", "name"),
        ("networkName", "name"),
        ("ip", "ips"),
        ("macAddress", "mac"),
        ("ifname", "interface"),
    ];
    let keys = object.keys().map(String::as_str).filter(|key| !KEYS.contains(key));
    keys.filter_map(|key| {
        let confused =
            CONFUSED.iter().find(|(wrong, _)| key.eq_ignore_ascii_case(wrong)).map(|(_, meant)| *meant);
        Some((key, confused.or_else(|| spelling::meant(key, KEYS))?))
    })
}

/// `[namespace/]name[@interface]`.
fn short(entry: &str, line: usize) -> Result<Attachment, String> {
    let (reference, ifname) = match entry.split_once('@') {
        Some((reference, ifname)) => (reference, Some(ifname.to_string())),
        None => (entry, None),
    };
    let plain = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
    };
    let parts: Vec<&str> = reference.split('/').collect();
    if parts.len() > 2 || !parts.iter().all(|part| plain(part)) || ifname.as_deref() == Some("") {
        return Err(entry.to_string());
    }
    Ok(Attachment { line, reference: reference.to_string(), ifname, ..Attachment::default() })
}

fn long(object: &Map<String, Value>, line: usize) -> Option<Attachment> {
    let text = |key| object.get(key).and_then(Value::as_str).map(str::to_string);
    let name = text("name")?;
    let reference = text("namespace").map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
    let ips = object.get("ips").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ips = ips.iter().filter_map(Value::as_str).map(str::to_string).collect();
    Some(Attachment { line, reference, ifname: text("interface"), mac: text("mac"), ips })
}
