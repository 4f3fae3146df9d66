//! The attachments of a bridge, or the one of a client: connected, where they should be, and without a warning of ADD.

use super::checks::{Check, Judgement, Seen};
use crate::cli::attachments::Attachment;
use crate::net::MacAddress;

const NAME: &str = "attachment";

/// Judges the client's attachment where a MAC was asked for, else all of the bridge.
pub fn judge(seen: &Seen) -> Check {
    match seen.mac {
        Some(mac) => of_client(seen, mac),
        None => of_bridge(seen),
    }
}

fn of_client(seen: &Seen, mac: MacAddress) -> Check {
    let own: Vec<&Attachment> =
        seen.attachments.iter().filter(|attachment| attachment.mac() == Some(mac)).collect();
    let here = |attachment: &&&Attachment| attachment.bridge_name() == Some(seen.name.as_str());
    let well = own.iter().find(|attachment| here(attachment) && attachment.is_connected());
    let Some(attachment) = well.or(own.iter().find(here)).or(own.first()) else {
        return Check::new(NAME, Judgement::Ok, format!("no attachment on this node has MAC {mac}"));
    };
    let evidence = attachment.warnings().collect();
    let check = match fault(attachment, seen, mac) {
        None if attachment.warnings().next().is_none() => {
            Check::new(NAME, Judgement::Ok, described(attachment))
        }
        None => Check::new(NAME, Judgement::Warn, described(attachment)),
        Some((fact, remedy)) => Check {
            remedy: Some(remedy),
            ..Check::new(
                NAME,
                Judgement::Fail,
                format!("{} of {} {fact}", attachment.link.name, attachment.owned.owner()),
            )
        },
    };
    Check { evidence, ..check }
}

fn described(attachment: &Attachment) -> String {
    let vlan =
        attachment.vlans.as_ref().map_or(String::new(), |_| format!(", VLAN {}", attachment.shown_vlans()));
    format!(
        "{} of {} on bridge {}{vlan}: {}",
        attachment.link.name,
        attachment.owned.owner(),
        attachment.bridge_name().unwrap_or("none"),
        attachment.shown_state()
    )
}

/// Why no frame of the client reaches this bridge, and what to do.
fn fault(attachment: &Attachment, seen: &Seen, mac: MacAddress) -> Option<(String, String)> {
    let host = &attachment.link.name;
    let (ifname, vm_mode) =
        attachment.label().map_or(("its interface", false), |label| (&label.ifname, label.vm_mode));
    let bridge = seen.name.as_str();
    match attachment.bridge_name() {
        None => Some(("is no port of a bridge".into(), format!("ip link set {host} master {bridge}, or make the pod anew"))),
        Some(other) if other != bridge => Some((
            format!("is a port of bridge {other}, not of {bridge}"),
            format!("bridge-dhcp doctor --bridge {other} --mac {mac}"),
        )),
        Some(_) if !attachment.link.up => Some(("is down".into(), format!("ip link set {host} up"))),
        Some(_) if !attachment.link.carrier && vm_mode => Some((
            format!("has no carrier: in the pod, nobody has raised {ifname}"),
            "KubeVirt raises it when it wires the guest: look at the events of the VirtualMachineInstance and at the log of the node's virt-handler".into(),
        )),
        Some(_) if !attachment.link.carrier => {
            Some((format!("has no carrier: in the pod, {ifname} is down"), format!("in the pod: ip link set {ifname} up")))
        }
        Some(_) => None,
    }
}

fn of_bridge(seen: &Seen) -> Check {
    let own: Vec<&Attachment> = seen
        .attachments
        .iter()
        .filter(|attachment| attachment.bridge_name() == Some(seen.name.as_str()))
        .collect();
    let apart: Vec<String> = own
        .iter()
        .filter(|attachment| !attachment.is_connected())
        .map(|attachment| {
            format!("{} of {}: {}", attachment.link.name, attachment.owned.owner(), attachment.shown_state())
        })
        .collect();
    let warned: Vec<String> = own
        .iter()
        .flat_map(|attachment| {
            attachment.warnings().map(|warning| format!("{}: {warning}", attachment.owned.owner()))
        })
        .collect();
    let count = match own.len() {
        0 => "none".to_string(),
        1 => "1 attachment".to_string(),
        count => format!("{count} attachments"),
    };
    let told = match (apart.len(), warned.len()) {
        (0, 0) => return Check::new(NAME, Judgement::Ok, count),
        (0, warnings) => format!("{count}; ADD warned of {warnings}"),
        (apart, 0) => format!("{count}, {apart} of them without a connection"),
        (apart, warnings) => {
            format!("{count}, {apart} of them without a connection; ADD warned of {warnings}")
        }
    };
    Check {
        evidence: apart.into_iter().chain(warned).collect(),
        remedy: Some("a virtual machine has none until KubeVirt has wired its guest; for one of them: bridge-dhcp doctor --mac MAC".into()),
        ..Check::new(NAME, Judgement::Warn, told)
    }
}
