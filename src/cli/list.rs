//! `list`: shows the attachments on this node.

use clap::ValueEnum;
use serde_json::{Value, json};

use super::attachments::{self, Attachment};
use super::output::{Failure, Palette, Tone, harmless, print, print_json, table};
use super::{Verdict, block_on};
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::{MacAddress, NetworkName, VlanRange};
use crate::plan::label::Label;

const HELP: &str = "\
--output json (or --json) prints {\"attachments\": [...]}, each with these keys (null where unknown, as behind \
an alias that somebody has changed):
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
  vlans          {\"pvid\": 100, \"untagged\": [\"100\"], \"tagged\": [\"200-210\"]}, null where the bridge does not filter
  warnings       codes of what ADD warned of";

/// List the attachments on this node
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct List {
    /// Only ports of this bridge
    #[arg(long, short, value_name = "BRIDGE")]
    bridge: Option<String>,
    /// Only attachments in this VLAN, tagged or not
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: Option<u16>,
    /// Only attachments of this CNI network
    #[arg(long, value_name = "NAME", value_parser = network)]
    network: Option<NetworkName>,
    /// Only attachments of pods whose namespace/name contains this
    #[arg(long, value_name = "TEXT")]
    pod: Option<String>,
    /// Only the attachment with this MAC
    #[arg(long, short, value_name = "MAC", value_parser = MacAddress::parse)]
    mac: Option<MacAddress>,
    /// How to show them: more columns, or JSON
    #[arg(long, short, value_name = "FORM")]
    output: Option<Form>,
    /// Print JSON, as --output json does
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Wide,
    Json,
}

impl List {
    /// Prints them, sorted by bridge and host interface.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn run(self) -> Result<Verdict, Failure> {
        let mut attachments = block_on(async {
            let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
            attachments::read(&kernel).await
        })?;
        let on_node = attachments.len();
        attachments.retain(|attachment| self.wants(attachment));
        if self.json || self.output == Some(Form::Json) {
            let shown: Vec<Value> = attachments.iter().map(to_json).collect();
            print_json(&json!({"attachments": shown}))?;
        } else if attachments.is_empty() {
            print(match on_node {
                0 => "no attachments of bridge-dhcp on this node\n".to_string(),
                others => format!("no such attachment among the {others} on this node\n"),
            })?;
        } else {
            print(to_text(&attachments, self.output == Some(Form::Wide), Palette::stdout()))?;
        }
        Ok(Verdict::Well)
    }

    fn wants(&self, attachment: &Attachment) -> bool {
        let label = attachment.label();
        let pod = label.and_then(|label| label.pod.as_ref());
        let of_pod = |part: &String| pod.is_some_and(|pod| pod.contains(part.as_str()));
        let of_network =
            |name: &NetworkName| label.is_some_and(|label| label.network == Label::network_field(name));
        let in_vlan = |id: u16| attachment.vlans.as_ref().is_some_and(|vlans| vlans.contains(id));
        self.bridge.as_ref().is_none_or(|name| attachment.bridge_name() == Some(name))
            && self.network.as_ref().is_none_or(of_network)
            && self.pod.as_ref().is_none_or(of_pod)
            && self.mac.is_none_or(|mac| attachment.mac() == Some(mac))
            && self.vlan.is_none_or(in_vlan)
    }
}

fn network(text: &str) -> Result<NetworkName, &'static str> {
    NetworkName::parse(text).ok_or("not the name of a CNI network")
}

fn to_json(attachment: &Attachment) -> Value {
    let Attachment { link, owned, vlans, .. } = attachment;
    let label = attachment.label();
    let texts = |ranges: &[VlanRange]| ranges.iter().map(VlanRange::to_string).collect::<Vec<_>>();
    json!({
        "hostInterface": link.name,
        "bridge": attachment.bridge_name(),
        "network": label.map(|label| &label.network),
        "container": label.map(|label| &label.container),
        "interface": label.map(|label| &label.ifname),
        "pod": label.and_then(|label| label.pod.as_ref()),
        "mac": attachment.mac().map(|mac| mac.to_string()),
        "mode": label.map(mode),
        "chained": owned.chained.is_some(),
        "mtu": link.mtu,
        "up": link.up,
        "carrier": link.carrier,
        "state": link.port.map(|port| port.state.to_string()),
        "isolated": link.port.is_some_and(|port| port.isolated),
        "hairpin": link.port.is_some_and(|port| port.hairpin),
        "vlans": vlans.as_ref().map(|vlans| json!({
            "pvid": vlans.pvid, "untagged": texts(&vlans.untagged), "tagged": texts(&vlans.tagged),
        })),
        "warnings": label.map(|label| label.warnings.iter().map(|code| *code as u32).collect::<Vec<_>>()),
    })
}

fn mode(label: &Label) -> &'static str {
    if label.vm_mode { "vm" } else { "container" }
}

fn to_text(attachments: &[Attachment], wide: bool, palette: Palette) -> String {
    let mut heads = vec!["BRIDGE", "VLAN", "STATE", "MAC", "NETWORK", "POD"];
    if wide {
        heads.extend(["HOST SIDE", "MODE", "INTERFACE", "CONTAINER"]);
    }
    let mut rows = vec![heads.iter().map(|head| (*head).to_string()).collect::<Vec<_>>()];
    rows.extend(attachments.iter().map(|attachment| {
        let of_label =
            |read: fn(&Label) -> Option<&str>| harmless(attachment.label().and_then(read).unwrap_or("-"));
        let mut row = vec![
            attachment.bridge_name().unwrap_or("none").to_string(),
            attachment.shown_vlans(),
            attachment.shown_state(),
            attachment.mac().map_or("-".to_string(), |mac| mac.to_string()),
            of_label(|label| Some(&label.network)),
            of_label(|label| label.pod.as_deref()),
        ];
        if wide {
            row.extend([
                attachment.link.name.clone(),
                of_label(|label| Some(mode(label))),
                of_label(|label| Some(&label.ifname)),
                of_label(|label| Some(&label.container)).chars().take(13).collect(),
            ]);
        }
        row
    }));
    let text = table(&rows);
    let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
    let warned = attachments.iter().flat_map(|attachment| {
        let owner = harmless(&attachment.owned.owner());
        attachment.warnings().map(move |warning| format!("{owner}: {warning}\n"))
    });
    format!("{}\n{body}{}", palette.paint(Tone::Faint, head), warned.collect::<String>())
}
