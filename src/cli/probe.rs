//! `probe`: one DHCP probe from this node, as an attachment with `dhcpProbe` makes it.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde_json::{Value, json};

use super::output::{Failure, Palette, Tone, print_json, print_text};
use super::picture::draw;
use super::{Verdict, block_on, spinner};
use crate::cni::config::keys::parse_duration;
use crate::dhcp::expected::Expected;
use crate::error::Error;
use crate::net::{InterfaceName, MacAddress, Vlans, cidr};
use crate::probe::faults::Place;
use crate::probe::report::{Offered, Report};
use crate::probe::{Question, Unanswered, trace};

const TIMEOUT_MAX: Duration = Duration::from_secs(60);

const HELP: &str = "\
The probe sends DHCPDISCOVER only and takes no lease. It asks through a temporary port of the bridge, the way a guest's frames go.

--json prints {\"answered\": bool, \"report\": ..., \"error\": ...}. report (null without an offer): bridge, vlan, client, source, offers \
(each with server, serverMac, relay, address, mask, routers, leaseSeconds, renewalSeconds, rebindingSeconds, afterMs, expected), \
discoversSent, framesSeen, repliesSeen, readyAfterMs, elapsedMs, warnings. error (null with an offer): code, message, evidence (a \
list), remedy. \
way (null with an offer, and where nobody was asked): hops (port, bridge, uplink and lan, each with at, name, and whether question and \
answer were seen there: \"yes\", \"no\" or \"unknown\"), dropper (or null), cameBack.

Exit status: 0 a good offer came, 1 none did, 2 the command line is wrong.";

/// Ask for a DHCP offer as a guest would, and name the cause when none comes
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Probe {
    /// The node's bridge
    #[arg(long, short, value_name = "BRIDGE", value_parser = bridge)]
    bridge: InterfaceName,
    #[command(flatten)]
    terms: Terms,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to ask for, wherever that is.
#[derive(Debug, Clone, clap::Args)]
pub struct Terms {
    /// VLAN of the attachment; without it the bridge's default
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    pub vlan: Option<u16>,
    /// Ask for this client's offer (chaddr); without it for the node's own probe address
    #[arg(long, short, value_name = "MAC", value_parser = MacAddress::parse)]
    pub mac: Option<MacAddress>,
    /// How long to wait for an offer, such as 6s or 1500ms
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = timeout)]
    pub timeout: Duration,
    /// A server that may answer; may be repeated, without it any may
    #[arg(long = "server", value_name = "IP")]
    pub servers: Vec<Ipv4Addr>,
    /// A subnet that an offer may lie in; may be repeated, without it any may
    #[arg(long = "subnet", value_name = "CIDR", value_parser = subnet)]
    pub subnets: Vec<IpNetwork>,
}

/// What to ask, and where.
#[derive(Debug, Clone)]
pub struct Asking {
    pub bridge: InterfaceName,
    pub terms: Terms,
}

impl Asking {
    /// The VLANs of the port to ask from.
    pub fn vlans(&self) -> Option<Vlans> {
        self.terms.vlan.map(|native| Vlans { native, tagged: Vec::new(), keep_default: false })
    }

    /// Bridge and VLAN, as a sentence names them.
    pub fn place(&self) -> Place<'_> {
        Place { bridge: self.bridge.as_str(), vlan: self.terms.vlan }
    }

    /// Probes, with a sign of life on a terminal.
    ///
    /// # Errors
    /// The diagnosis.
    pub async fn ask(&self) -> Result<Report, Unanswered> {
        let question = Question {
            vlans: self.vlans(),
            client: self.terms.mac,
            timeout: self.terms.timeout,
            expected: Expected { servers: self.terms.servers.clone(), subnets: self.terms.subnets.clone() },
            ..Question::on(self.bridge.clone())
        };
        let what = format!("asking for a DHCP offer on {}, at most {:?}", self.place(), self.terms.timeout);
        spinner::beside(&what, trace(&question)).await
    }
}

impl Probe {
    /// Probes.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self) -> Result<Verdict, Failure> {
        let asking = Asking { bridge: self.bridge, terms: self.terms };
        let outcome = block_on(async { Ok(asking.ask().await) })?;
        if self.json {
            print_json(&json!({
                "answered": outcome.is_ok(),
                "report": outcome.as_ref().ok(),
                "error": outcome.as_ref().err().map(|unanswered| error_json(&unanswered.error)),
                "way": outcome.as_ref().err().and_then(|unanswered| unanswered.way.as_deref()),
            }))?;
        } else {
            let palette = Palette::stdout();
            print_text(&match &outcome {
                Ok(report) => answered(&asking, report, palette),
                Err(why) => unanswered(why, palette),
            })?;
        }
        Ok(if outcome.is_ok() { Verdict::Well } else { Verdict::Findings })
    }
}

fn error_json(error: &Error) -> Value {
    json!({
        "code": error.code as u32, "message": error.msg(), "evidence": error.observations(), "remedy": error.advice(),
    })
}

fn answered(asking: &Asking, report: &Report, palette: Palette) -> String {
    let mut text = format!("{}: DHCP answers on {}\n", palette.paint(Tone::Good, "ok"), asking.place());
    for offer in &report.offers {
        text += &format!("  offer    {offer}\n           {}\n", details(offer));
    }
    text += &format!(
        "  asked    for {}, sent from {}: DISCOVERs out: {}, replies in: {}, {:.1} ms in all\n",
        report.client, report.source, report.discovers_sent, report.replies_seen, report.elapsed_ms
    );
    for warning in &report.warnings {
        text += &format!("  {}  {warning}\n", palette.paint(Tone::Doubtful, "warning"));
    }
    text
}

fn details(offer: &Offered) -> String {
    let routers: Vec<String> = offer.routers.iter().map(Ipv4Addr::to_string).collect();
    let seconds = |time: Option<u64>| time.map_or("unknown".to_string(), |seconds| format!("{seconds} s"));
    format!(
        "mask {}, router {}, lease {}",
        offer.mask.map_or("unknown".to_string(), |mask| mask.to_string()),
        if routers.is_empty() { "none".to_string() } else { routers.join(", ") },
        seconds(offer.lease_seconds)
    )
}

fn unanswered(unanswered: &Unanswered, palette: Palette) -> String {
    let Unanswered { error, way } = unanswered;
    let mut text = format!("{}: {error}\n", palette.paint(Tone::Bad, "FAIL"));
    if let Some(way) = way {
        text += &format!("\n{}\n", draw(way, palette));
    }
    for line in error.observations() {
        text += &format!("  seen     {line}\n");
    }
    if let Some(remedy) = error.advice() {
        text += &format!("  remedy   {remedy}\n");
    }
    text
}

/// A bridge's name on the command line.
///
/// # Errors
/// What a name must be.
pub fn bridge(text: &str) -> Result<InterfaceName, &'static str> {
    InterfaceName::parse(text).ok_or("not an interface name (1 to 15 bytes, no '/', ':' or white space)")
}

fn timeout(text: &str) -> Result<Duration, String> {
    let low = Duration::from_millis(100);
    let fits = |time: &Duration| (low..=TIMEOUT_MAX).contains(time);
    let wanted = || format!("wanted a duration such as 6s or 1500ms, from {low:?} to {TIMEOUT_MAX:?}");
    parse_duration(text).filter(fits).ok_or_else(wanted)
}

fn subnet(text: &str) -> Result<IpNetwork, String> {
    let network = cidr::parse(text)?;
    if network.is_ipv4() { Ok(network) } else { Err("DHCP offers IPv4 addresses only".into()) }
}
