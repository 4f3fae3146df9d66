//! Rules about pods whose annotations ask for networks.

use serde_json::Value;

use super::reference;
use crate::cli::validate::finding::{Finding, Severity};
use crate::cli::validate::inventory::{Attachment, Inventory, Network, Plugin, Pod};
use crate::net::InterfaceName;
use crate::net::MacAddress;
use crate::net::cidr;

/// Judges all pods and templates of pods.
pub fn judge(inventory: &Inventory) -> Vec<Finding> {
    inventory.pods.iter().flat_map(|pod| judge_one(pod, inventory)).collect()
}

fn judge_one(pod: &Pod, inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, attachment) in pod.attachments.iter().enumerate() {
        findings.extend(form(pod, attachment));
        findings.extend(repeated(pod, attachment, &pod.attachments[..index]));
        let (reference, namespace) = (&attachment.reference, pod.namespace.as_deref());
        match reference::definition(reference, namespace, inventory) {
            Some(network) => findings.extend(fit(pod, attachment, network)),
            None => {
                let place = pod.place.at(attachment.line);
                findings.push(reference::missing(reference, namespace, inventory, place));
            }
        }
    }
    findings.extend(fixed_in_copies(pod));
    findings.extend(as_default(pod, inventory));
    findings
}

fn finding(
    pod: &Pod,
    attachment: &Attachment,
    severity: Severity,
    rule: &'static str,
    message: String,
) -> Finding {
    Finding::new(severity, rule, pod.place.at(attachment.line), message)
}

/// What is wrong with the request itself.
fn form(pod: &Pod, attachment: &Attachment) -> Vec<Finding> {
    let network = &attachment.reference;
    let error = |rule, message: String| finding(pod, attachment, Severity::Error, rule, message);
    let mut findings = Vec::new();
    if let Some(mac) = &attachment.mac
        && let Err(why) = MacAddress::parse(mac)
    {
        let message = format!("the pod asks for MAC {mac:?} on network {network}, which is {why}");
        findings.push(
            error("mac-invalid", message).remedy("\"mac\": \"02:00:00:00:00:10\", with an even first byte"),
        );
    }
    if let Some(ifname) = &attachment.ifname {
        let why = match ifname.as_str() {
            "eth0" | "lo" => Some("which the pod has already"),
            _ if InterfaceName::parse(ifname).is_none() => {
                Some("which is no interface name (1 to 15 bytes, no '/', ':' or white space)")
            }
            _ => None,
        };
        findings.extend(why.map(|why| {
            let message = format!("the pod asks for interface {ifname:?} on network {network}, {why}");
            error("interface-name", message)
                .remedy("give another name, or none: Multus takes net1, net2, ...")
        }));
    }
    let no_address = |ip: &&String| ip.parse::<std::net::IpAddr>().is_err() && cidr::parse(ip).is_err();
    findings.extend(attachment.ips.iter().filter(no_address).map(|ip| {
        let message = format!("the pod asks for {ip:?} on network {network}, which is no address");
        error("address-invalid", message).remedy("\"ips\": [\"10.77.0.50/24\"]")
    }));
    findings
}

/// Two attachments of one pod that get in each other's way.
fn repeated(pod: &Pod, attachment: &Attachment, earlier: &[Attachment]) -> Vec<Finding> {
    let clash = |what: fn(&Attachment) -> Option<&String>, called: &str| {
        let value = what(attachment)?;
        earlier.iter().any(|other| what(other).is_some_and(|known| known.eq_ignore_ascii_case(value))).then(
            || {
                let message = format!("the pod asks twice for {called} {value}");
                finding(pod, attachment, Severity::Error, "attachment-twice", message)
                    .remedy("give each network its own")
            },
        )
    };
    [clash(|a| a.ifname.as_ref(), "interface"), clash(|a| a.mac.as_ref(), "MAC")]
        .into_iter()
        .flatten()
        .collect()
}

/// What the network makes of the request.
fn fit(pod: &Pod, attachment: &Attachment, network: &Network) -> Vec<Finding> {
    let Some(conf) = network.conf() else { return Vec::new() };
    let subject = network.place.subject();
    let mut findings = Vec::new();
    if conf.vm_mode {
        let message = format!(
            "{subject} is for virtual machines (\"disableContainerInterface\"): the pod's interface stays down"
        );
        findings.push(
            finding(pod, attachment, Severity::Warning, "vm-mode-for-pod", message)
                .remedy("give the pod a network without \"disableContainerInterface\""),
        );
    }
    if attachment.ips.is_empty() {
        return findings;
    }
    let ips = attachment.ips.join(", ");
    let kind = network.plugins.iter().find_map(|plugin| plugin.object.get("ipam")?.get("type")?.as_str());
    let capable = |plugin: &Plugin| {
        plugin.object.get("capabilities").and_then(|all| all.get("ips")).and_then(Value::as_bool)
            == Some(true)
    };
    let warning = |rule, message: String| finding(pod, attachment, Severity::Warning, rule, message);
    match kind {
        None | Some("dhcp") => {
            let why = if kind.is_some() {
                "whose addresses come from the DHCP server"
            } else {
                "which has no \"ipam\""
            };
            let message = format!("the pod asks for {ips} on {subject}, {why}");
            findings.push(
                warning("ips-without-ipam", message)
                    .remedy("\"ipam\": {\"type\": \"static\"}, \"capabilities\": {\"ips\": true}"),
            );
        }
        Some(_) if !network.plugins.iter().any(capable) => {
            let message = format!("the pod asks for {ips} on {subject}, which has no capability \"ips\"");
            findings.push(
                warning("ips-without-capability", message)
                    .remedy("\"capabilities\": {\"ips\": true} beside \"type\""),
            );
        }
        Some("static") if attachment.ips.iter().any(|ip| !ip.contains('/')) => {
            let message =
                format!("the pod asks for {ips} on {subject}: ipam \"static\" wants a prefix length");
            findings.push(
                finding(pod, attachment, Severity::Error, "address-invalid", message)
                    .remedy("\"ips\": [\"10.77.0.50/24\"]"),
            );
        }
        Some(_) => {}
    }
    findings
}

/// All pods of a workload have one template.
fn fixed_in_copies(pod: &Pod) -> Option<Finding> {
    let copies = match pod.replicas {
        Some(one) if one <= 1 => return None,
        Some(replicas) => format!("{replicas} pods"),
        None => "the pods of all nodes".into(),
    };
    let fixed =
        pod.attachments.iter().find(|attachment| attachment.mac.is_some() || !attachment.ips.is_empty())?;
    let what = fixed.mac.as_ref().or(fixed.ips.first())?;
    let message = format!("{copies} ask for the same {what} on network {}", fixed.reference);
    Some(
        finding(pod, fixed, Severity::Error, "fixed-in-copies", message)
            .remedy("replicas: 1, or no fixed address"),
    )
}

/// Container runtimes start no pod whose first interface has no address.
fn as_default(pod: &Pod, inventory: &Inventory) -> Option<Finding> {
    let attachment = pod.default_network.as_ref()?;
    // Without a namespace Multus looks in its own.
    let network = reference::definition(&attachment.reference, None, inventory)?;
    (network.conf().is_some() && !network.has_ipam()).then(|| {
        let message = format!(
            "{} gives no addresses: as default network, no runtime starts the pod",
            network.place.subject()
        );
        finding(pod, attachment, Severity::Error, "default-without-address", message)
            .remedy("ask for it by k8s.v1.cni.cncf.io/networks, beside the cluster's network")
    })
}
