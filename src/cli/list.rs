//! `list`: the attachments on this node, read from the kernel alone.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::output::{Failure, Palette, Tone, harmless, print, print_json, table};
use super::{Verdict, block_on};
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::{Link, PortVlans, VlanRange};
use crate::plan::names::Label;
use crate::plan::owner::Owned;

const HELP: &str = "\
--json prints {\"attachments\": [...]}, each with these keys (null where unknown, as behind an alias that somebody has changed):
  hostInterface  the interface on the node
  bridge         the bridge that it is a port of
  network        name of the CNI network
  container      container id; shortened, with a hash, where it is longer than 64 characters
  interface      its name in the container
  pod            \"namespace/name\"
  mac            the container side's MAC at ADD
  mode           \"container\" or \"vm\"
  chained        whether another plugin made the interface
  mtu            of the host side
  up, carrier    of the host side; no carrier: the container's side is down
  state          bridge port: \"disabled\", \"listening\", \"learning\", \"forwarding\", \"blocking\"
  isolated, hairpin
  vlans          {\"pvid\": 100, \"untagged\": [\"100\"], \"tagged\": [\"200-210\"]}, null where the bridge does not filter";

/// List the attachments on this node
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An attachment as it is now.
struct Attachment {
    link: Link,
    owned: Owned,
    bridge: Option<Link>,
    vlans: Option<PortVlans>,
}

impl List {
    /// Prints them, sorted by bridge and host interface.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn run(self) -> Result<Verdict, Failure> {
        let attachments = block_on(read())?;
        if self.json {
            let shown: Vec<Value> = attachments.iter().map(to_json).collect();
            print_json(&json!({"attachments": shown}))?;
        } else {
            print(to_text(&attachments, Palette::stdout()))?;
        }
        Ok(Verdict::Well)
    }
}

async fn read() -> Result<Vec<Attachment>, Failure> {
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
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
    attachments.sort_by(|a, b| (bridge_name(a), &a.link.name).cmp(&(bridge_name(b), &b.link.name)));
    Ok(attachments)
}

fn bridge_name(attachment: &Attachment) -> Option<&str> {
    attachment.bridge.as_ref().map(|link| link.name.as_str())
}

fn state(link: &Link) -> Option<String> {
    link.port.map(|port| port.state.to_string())
}

fn to_json(attachment: &Attachment) -> Value {
    let Attachment { link, owned, vlans, .. } = attachment;
    let label = owned.label.as_ref();
    let texts = |ranges: &[VlanRange]| ranges.iter().map(VlanRange::to_string).collect::<Vec<_>>();
    json!({
        "hostInterface": link.name,
        "bridge": bridge_name(attachment),
        "network": label.map(|label| &label.network),
        "container": label.map(|label| &label.container),
        "interface": label.map(|label| &label.ifname),
        "pod": label.and_then(|label| label.pod.as_ref()),
        "mac": label.and_then(|label| label.mac).map(|mac| mac.to_string()),
        "mode": label.map(mode),
        "chained": owned.chained.is_some(),
        "mtu": link.mtu,
        "up": link.up,
        "carrier": link.carrier,
        "state": state(link),
        "isolated": link.port.is_some_and(|port| port.isolated),
        "hairpin": link.port.is_some_and(|port| port.hairpin),
        "vlans": vlans.as_ref().map(|vlans| json!({
            "pvid": vlans.pvid, "untagged": texts(&vlans.untagged), "tagged": texts(&vlans.tagged),
        })),
    })
}

fn mode(label: &Label) -> &'static str {
    if label.vm_mode { "vm" } else { "container" }
}

fn to_text(attachments: &[Attachment], palette: Palette) -> String {
    if attachments.is_empty() {
        return "no attachments of bridge-dhcp on this node\n".to_string();
    }
    let heads = ["BRIDGE", "HOST SIDE", "VLAN", "STATE", "MODE", "NETWORK", "POD", "INTERFACE", "CONTAINER"];
    let mut rows = vec![heads.map(str::to_string).to_vec()];
    rows.extend(attachments.iter().map(|attachment| {
        let Attachment { link, owned, vlans, .. } = attachment;
        let of_label =
            |read: fn(&Label) -> Option<&str>| harmless(owned.label.as_ref().and_then(read).unwrap_or("-"));
        vec![
            bridge_name(attachment).unwrap_or("none").to_string(),
            link.name.clone(),
            vlans.as_ref().map_or("-".to_string(), shown_vlans),
            shown_state(link),
            of_label(|label| Some(mode(label))),
            of_label(|label| Some(&label.network)),
            of_label(|label| label.pod.as_deref()),
            of_label(|label| Some(&label.ifname)),
            of_label(|label| Some(&label.container)).chars().take(13).collect::<String>(),
        ]
    }));
    let text = table(&rows);
    let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{body}", palette.paint(Tone::Faint, head))
}

/// The untagged VLAN, then the tagged ones, as in `100` or `1+200-210`.
fn shown_vlans(vlans: &PortVlans) -> String {
    let native = vlans.pvid.map_or("-".to_string(), |pvid| pvid.to_string());
    let tagged = VlanRange::listed(&vlans.tagged);
    if tagged.is_empty() { native } else { format!("{native}+{tagged}") }
}

/// What an operator has to know: a VM's port has no carrier until KubeVirt raises the other end.
fn shown_state(link: &Link) -> String {
    match (link.up, link.carrier, state(link)) {
        (false, ..) => "down".to_string(),
        (true, false, _) => "no carrier".to_string(),
        (true, true, state) => state.unwrap_or("no port".to_string()),
    }
}
