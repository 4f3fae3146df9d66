//! Where to look: a bridge that is named, those that networks in files name, or all that matter on the node.

use std::collections::BTreeSet;

use crate::cli::attachments::{self, Attachment};
use crate::cli::output::Failure;
use crate::cli::probe::{Asking, Terms};
use crate::cli::validate::networks;
use crate::cni::config::NetConf;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::{InterfaceName, Link};

/// What to examine, and what not, each with the reason.
#[derive(Debug, Default)]
pub struct Places {
    pub asked: Vec<Asking>,
    pub passed_over: Vec<String>,
}

/// What the networks in the files ask for.
///
/// # Errors
/// A file cannot be read, or none has a network of this plugin.
pub fn in_files(files: &[String], terms: &Terms) -> Result<Places, Failure> {
    let mut places = Places::default();
    for (subject, conf) in networks(files).map_err(Failure::Usage)? {
        // Its pods leave the node by a route, and get their addresses from IPAM.
        if conf.is_gateway {
            places.passed_over.push(format!("{subject}: its gateway is this node, there is no LAN to ask"));
            continue;
        }
        places.asked.push(Asking { bridge: conf.bridge.clone(), terms: of_network(&conf, terms) });
    }
    Ok(places)
}

fn of_network(conf: &NetConf, terms: &Terms) -> Terms {
    let vlan = conf.vlans.as_ref().map(|vlans| vlans.native);
    let probe = conf.dhcp_probe.clone();
    Terms {
        vlan: terms.vlan.or(vlan),
        mac: terms.mac,
        timeout: probe.as_ref().map_or(terms.timeout, |probe| probe.timeout),
        servers: probe.as_ref().map_or_else(|| terms.servers.clone(), |probe| probe.servers.clone()),
        subnets: probe.map_or_else(|| terms.subnets.clone(), |probe| probe.subnets),
    }
}

/// All bridges of the node that have attachments or an uplink, in each VLAN in which there are attachments; of a MAC that an
/// attachment has, only the place of that.
///
/// # Errors
/// The kernel's refusal.
pub async fn on_node(terms: &Terms) -> Result<Places, Failure> {
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let attachments = attachments::read(&kernel).await?;
    let mut places = Places::default();
    let wanted = attachments.iter().filter(|attachment| terms.mac.is_some() && attachment.mac() == terms.mac);
    for attachment in wanted {
        places
            .asked
            .extend(attachment.bridge.as_ref().and_then(|bridge| asking(bridge, native(attachment), terms)));
    }
    if !places.asked.is_empty() {
        return Ok(places);
    }
    let mut bridges = kernel.bridges().await.map_err(|refusal| unseen("the node's bridges", &refusal))?;
    bridges.sort_by(|a, b| a.name.cmp(&b.name));
    for bridge in bridges {
        let on_it = |attachment: &&Attachment| attachment.bridge_name() == Some(bridge.name.as_str());
        let vlans: BTreeSet<Option<u16>> = attachments.iter().filter(on_it).map(native).collect();
        match reason_to_pass(&kernel, &bridge, !vlans.is_empty()).await? {
            Some(reason) => places.passed_over.push(format!("bridge {}: {reason}", bridge.name)),
            None if vlans.is_empty() => places.asked.extend(asking(&bridge, None, terms)),
            None => places.asked.extend(vlans.into_iter().filter_map(|vlan| asking(&bridge, vlan, terms))),
        }
    }
    Ok(places)
}

/// The VLAN of an attachment's untagged frames, where it is not the bridge's default.
fn native(attachment: &Attachment) -> Option<u16> {
    let default =
        attachment.bridge.as_ref().and_then(|link| link.bridge.as_ref()).map(|bridge| bridge.default_pvid);
    attachment.vlans.as_ref()?.pvid.filter(|pvid| Some(*pvid) != default)
}

fn asking(bridge: &Link, vlan: Option<u16>, terms: &Terms) -> Option<Asking> {
    let bridge = InterfaceName::parse(&bridge.name)?;
    Some(Asking { bridge, terms: Terms { vlan: terms.vlan.or(vlan), ..terms.clone() } })
}

/// Why a bridge is none that guests meet the LAN on: other software's, or one whose gateway is this node.
async fn reason_to_pass(
    kernel: &Linux,
    bridge: &Link,
    has_attachments: bool,
) -> Result<Option<&'static str>, Failure> {
    let unread = |refusal| unseen(&bridge.name, &refusal);
    if !kernel.uplinks(bridge, |_| true).await.map_err(unread)?.is_empty() {
        return Ok(None);
    }
    if !has_attachments {
        return Ok(Some("it has neither attachments nor an uplink"));
    }
    let addresses = kernel.addresses(bridge.index).await.map_err(unread)?;
    let is_gateway = addresses.iter().any(|address| address.is_ipv4());
    Ok(is_gateway.then_some("it has an address and no uplink: this node is its gateway"))
}
