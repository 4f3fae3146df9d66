//! The attachments on this node, read from the kernel alone.

use std::collections::HashMap;

use super::output::Failure;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::{Link, MacAddress, PortVlans, VlanRange};
use crate::plan::label::Label;
use crate::plan::owner::Owned;

/// An attachment as it is now.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The host side.
    pub link: Link,
    pub owned: Owned,
    pub bridge: Option<Link>,
    /// None where the bridge does not filter.
    pub vlans: Option<PortVlans>,
}

/// Reads them, sorted by bridge and host interface.
///
/// # Errors
/// The kernel's refusal.
pub async fn read(kernel: &Linux) -> Result<Vec<Attachment>, Failure> {
    let links = kernel.attachments().await.map_err(|refusal| unseen("the node's links", &refusal))?;
    let mut bridges: HashMap<u32, Option<Link>> = HashMap::new();
    let mut attachments = Vec::with_capacity(links.len());
    for (link, owned) in links.into_iter().filter_map(|(link, owned)| Some((link, owned?))) {
        let bridge = match link.master {
            None => None,
            Some(index) => match bridges.get(&index) {
                Some(known) => known.clone(),
                None => {
                    let seen = kernel.link_by_index(index).await;
                    let seen = seen.map_err(|refusal| unseen("a bridge", &refusal))?;
                    bridges.insert(index, seen.clone());
                    seen
                }
            },
        };
        let filters = bridge.as_ref().and_then(|link| link.bridge.as_ref()).is_some_and(|b| b.vlan_filtering);
        // An attachment may go while this reads: it is then shown without VLANs.
        let vlans = if filters { kernel.vlans(&link).await.ok() } else { None };
        attachments.push(Attachment { link, owned, bridge, vlans });
    }
    attachments.sort_by(|a, b| (a.bridge_name(), &a.link.name).cmp(&(b.bridge_name(), &b.link.name)));
    Ok(attachments)
}

impl Attachment {
    /// What ADD wrote into its alias; none where somebody has changed that.
    pub fn label(&self) -> Option<&Label> {
        self.owned.label.as_ref()
    }

    /// The MAC that ADD gave the container side.
    pub fn mac(&self) -> Option<MacAddress> {
        self.label()?.mac
    }

    /// The bridge that the host side is a port of.
    pub fn bridge_name(&self) -> Option<&str> {
        self.bridge.as_ref().map(|link| link.name.as_str())
    }

    /// The untagged VLAN, then the tagged ones, as in `100` or `1+200-210`; `-` where the bridge does not filter.
    pub fn shown_vlans(&self) -> String {
        let Some(vlans) = &self.vlans else { return "-".to_string() };
        let native = vlans.pvid.map_or("-".to_string(), |pvid| pvid.to_string());
        let tagged = VlanRange::listed(&vlans.tagged);
        if tagged.is_empty() { native } else { format!("{native}+{tagged}") }
    }

    /// What an operator has to know: a VM's port has no carrier until KubeVirt raises the other end.
    pub fn shown_state(&self) -> String {
        match (self.link.up, self.link.carrier, self.link.port) {
            (false, ..) => "down".to_string(),
            (true, false, _) => "no carrier".to_string(),
            (true, true, Some(port)) => port.state.to_string(),
            (true, true, None) => "no port".to_string(),
        }
    }

    /// Whether frames can pass the host side.
    pub fn is_connected(&self) -> bool {
        self.link.up && self.link.carrier && self.bridge.is_some()
    }

    /// What ADD warned of, one sentence for each.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let codes = self.label().into_iter().flat_map(|label| &label.warnings);
        codes.map(|code| format!("ADD warned: {} (code {})", code.meaning(), *code as u32))
    }
}
