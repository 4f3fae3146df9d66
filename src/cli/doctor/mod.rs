//! `doctor`: all checks of a bridge and a VLAN in order, each with verdict, evidence and remedy.

mod attached;
mod checks;
mod places;

use serde_json::{Value, json};

use self::checks::{Check, Judgement, NOT_CHECKED, Seen};
use self::places::Places;
use super::output::{Failure, Palette, Tone, harmless, print_json, print_text, table};
use super::picture::draw;
use super::probe::{Asking, Terms, bridge};
use super::{Verdict, attachments, block_on};
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::kernel::{firewall, ports};
use crate::net::{BridgeSeen, InterfaceName, Link};
use crate::plan::names::PROBE_ALIAS;
use crate::plan::native_vlan;
use crate::probe::Unanswered;
use crate::probe::report::Report;
use crate::probe::way::Way;

const HELP: &str = "\
Without --bridge and --file, all bridges are checked that have attachments or an uplink, in each VLAN in which there are \
attachments; with --mac, the bridge and the VLAN of the attachment with this MAC.

--json prints {\"verdict\": \"ok\", \"warn\" or \"fail\", \"bridge\": ..., \"vlan\": ..., \"checks\": [...]}, each check with name, verdict (\"ok\", \
\"warn\", \"fail\", \"skipped\"), code (the plugin's error code, or null), message, evidence (a list), remedy (or null), and \
\"way\" as `probe --json` has it (null where nobody was asked). Without --bridge it prints {\"verdict\": ..., \"bridges\": [...], \
\"passedOver\": [...]}, with one such object for each bridge and VLAN.

Exit status: 0 no check failed, warnings or not; 1 one did, or warned with --strict; 2 the command line is wrong.";

/// Check bridges and VLANs from the NIC to the DHCP server, and say what to do
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Doctor {
    /// The node's bridge
    #[arg(long, short, value_name = "BRIDGE", value_parser = bridge)]
    bridge: Option<InterfaceName>,
    /// Check what the networks in this file or folder ask for, NetworkAttachmentDefinitions or configs; may be repeated
    #[arg(long = "file", short, value_name = "FILE", conflicts_with = "bridge")]
    files: Vec<String>,
    #[command(flatten)]
    terms: Terms,
    /// Look only, do not ask for a DHCP offer
    #[arg(long)]
    no_probe: bool,
    /// Let warnings count for the exit status
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Examines.
    ///
    /// # Errors
    /// The kernel's refusal to be looked at.
    pub fn run(self) -> Result<Verdict, Failure> {
        let places = self.places()?;
        let examine = async {
            let mut examined = Vec::new();
            for asking in places.asked {
                examined.push(Examination { asking, no_probe: self.no_probe }.examine().await?);
            }
            Ok(examined)
        };
        let examined: Vec<Examined> = block_on(examine)?;
        let worst = examined.iter().map(Examined::worst).max().unwrap_or(Judgement::Skipped);
        match (self.json, &self.bridge) {
            (true, Some(_)) => examined.iter().try_for_each(|one| print_json(&one.to_json()))?,
            (true, None) => print_json(&json!({
                "verdict": worst.word(), "passedOver": places.passed_over,
                "bridges": examined.iter().map(Examined::to_json).collect::<Vec<_>>(),
            }))?,
            (false, _) => print_text(&to_text(&examined, &places.passed_over, Palette::stdout()))?,
        }
        Ok(Verdict::of(worst == Judgement::Fail, worst == Judgement::Warn, self.strict))
    }

    fn places(&self) -> Result<Places, Failure> {
        let asking = |bridge: &InterfaceName| Asking { bridge: bridge.clone(), terms: self.terms.clone() };
        match &self.bridge {
            Some(bridge) => Ok(Places { asked: vec![asking(bridge)], ..Places::default() }),
            None if self.files.is_empty() => block_on(places::on_node(&self.terms)),
            None => places::in_files(&self.files, &self.terms),
        }
    }
}

/// One bridge and VLAN to examine.
struct Examination {
    asking: Asking,
    no_probe: bool,
}

/// What the checks of a bridge and VLAN came to.
struct Examined {
    asking: Asking,
    checks: Vec<Check>,
    /// How far question and answer came, where anything was asked.
    way: Option<Box<Way>>,
}

impl Examination {
    async fn examine(self) -> Result<Examined, Failure> {
        let seen = self.look().await?;
        let mut checks = checks::judge(&seen);
        checks.push(attached::judge(&seen));
        let mut way = None;
        checks.push(match &seen.bridge {
            _ if self.no_probe => Check::skipped("dhcp", "not asked (--no-probe)"),
            _ if !seen.can_be_asked() => Check::skipped("dhcp", "not asked: repair the failures above"),
            _ => {
                let outcome = self.asking.ask().await;
                way = way_of(&outcome, &seen);
                checks::dhcp(outcome.map_err(|unanswered| unanswered.error))
            }
        });
        let answered = |check: &Check| matches!(check.judgement, Judgement::Ok | Judgement::Warn);
        if checks.last().is_some_and(answered) {
            checks.iter_mut().for_each(Check::doubt);
        }
        Ok(Examined { asking: self.asking, checks, way })
    }

    async fn look(&self) -> Result<Seen, Failure> {
        let name = self.asking.bridge.as_str();
        let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
        let bridge = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
        let mut seen = Seen {
            name: name.to_string(),
            vlans: self.asking.vlans(),
            mac: self.asking.terms.mac,
            attachments: attachments::read(&kernel).await?,
            bridge,
            uplinks: Vec::new(),
            ports: 0,
            firewall: None,
            learned: None,
        };
        let Some(link) = seen.link().cloned() else { return Ok(seen) };
        let unread = |refusal| unseen(&format!("the ports of {name}"), &refusal);
        seen.uplinks = kernel.uplinks(&link, |_| false).await.map_err(unread)?;
        ports::read(link.index, |port| {
            // Another probe's port is gone in a moment.
            seen.ports += usize::from(port.alias.as_deref() != Some(PROBE_ALIAS));
            false
        })
        .map_err(unread)?;
        // A kernel that does not list its rules is no reason to stop: the check says that it is unknown.
        seen.firewall = firewall::read().await.ok();
        seen.learned = self.learned(&kernel, &link).await?;
        Ok(seen)
    }

    /// The port behind which the bridge has learned the MAC that was asked for.
    async fn learned(&self, kernel: &Linux, link: &Link) -> Result<Option<Link>, Failure> {
        let Some(mac) = self.asking.terms.mac else { return Ok(None) };
        let vlan = native_vlan(self.asking.vlans().as_ref(), link);
        let port = kernel.learned_on(link, mac, vlan).await;
        Ok(port.map_err(|refusal| unseen("the forwarding table", &refusal))?)
    }
}

/// How far question and answer came. Of a probe that is answered the uplink counts that has a carrier.
fn way_of(outcome: &Result<Report, Unanswered>, seen: &Seen) -> Option<Box<Way>> {
    match outcome {
        Err(unanswered) => unanswered.way.clone(),
        Ok(_) => {
            let alive = seen.uplinks.iter().map(|uplink| &uplink.link).find(|link| link.carrier)?;
            Some(Box::new(Way::answered(&seen.name, &alive.name)))
        }
    }
}

impl Examined {
    fn worst(&self) -> Judgement {
        self.checks.iter().map(|check| check.judgement).max().unwrap_or(Judgement::Ok)
    }

    fn to_json(&self) -> Value {
        let shown: Vec<Value> = self.checks.iter().map(Check::to_json).collect();
        json!({
            "verdict": self.worst().word(), "bridge": self.asking.bridge.as_str(), "vlan": self.asking.terms.vlan, "checks": shown, "way": self.way,
        })
    }

    fn to_text(&self, palette: Palette) -> String {
        let (checks, worst) = (&self.checks, self.worst());
        let first = checks.iter().find(|check| check.judgement == worst);
        // What ADD would fail with names the bridge itself.
        let essence = match first {
            Some(check) if worst == Judgement::Fail => check.message.clone(),
            Some(check) if worst == Judgement::Warn => {
                format!("{}: {}: {}", self.asking.place(), check.name, check.message)
            }
            Some(_) | None => format!("{}: nothing is wrong", self.asking.place()),
        };
        let mut text = format!("{}: {}\n\n", palette.paint(worst.tone(), worst.shown()), harmless(&essence));
        if let Some(way) = &self.way {
            text += &format!("{}\n", draw(way, palette));
        }
        let looked_at = |check: &&Check| check.message != NOT_CHECKED;
        let checks: Vec<&Check> = checks.iter().filter(looked_at).collect();
        let row = |check: &&Check| {
            vec![check.judgement.shown().to_string(), check.name.to_string(), harmless(&check.message)]
        };
        let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
        let indent = " ".repeat(
            rows.iter().map(|row| row[0].chars().count()).max().unwrap_or_default()
                + rows.iter().map(|row| row[1].chars().count()).max().unwrap_or_default()
                + 4,
        );
        for (line, check) in table(&rows).lines().zip(checks) {
            let word = check.judgement.shown();
            let rest = line.strip_prefix(word).unwrap_or(line);
            text += &format!("{}{rest}\n", palette.paint(check.judgement.tone(), word));
            for evidence in &check.evidence {
                text += &format!("{indent}{}\n", palette.paint(Tone::Faint, harmless(evidence)));
            }
            if let Some(remedy) = &check.remedy {
                text += &format!("{indent}remedy: {}\n", harmless(remedy));
            }
        }
        text
    }
}

/// One report after the other, then what was not looked at.
fn to_text(examined: &[Examined], passed_over: &[String], palette: Palette) -> String {
    let mut reports: Vec<String> = examined.iter().map(|one| one.to_text(palette)).collect();
    if examined.is_empty() {
        let word = palette.paint(Tone::Doubtful, "nothing checked");
        reports.push(format!("{word}: no bridge to check; name one by --bridge\n"));
    }
    let notes = passed_over.iter().map(|why| format!("not checked: {}\n", harmless(why))).collect::<String>();
    reports.extend((!notes.is_empty()).then_some(notes));
    reports.join("\n")
}

impl Seen {
    /// The bridge, where it is one.
    fn link(&self) -> Option<&Link> {
        match &self.bridge {
            BridgeSeen::Present(link) if link.bridge.is_some() => Some(link),
            BridgeSeen::Present(_) | BridgeSeen::Missing { .. } => None,
        }
    }
}
