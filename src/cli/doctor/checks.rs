//! The checks, in the order in which a frame meets what they look at: facts in, judgements out; no I/O.

use serde_json::{Value, json};

use super::super::attachments::Attachment;
use super::super::output::Tone;
use crate::error::{Code, Error};
use crate::kernel::faults::port_limit;
use crate::net::{BridgeSeen, Firewall, FirewallHook, Link, MacAddress, Stp, Uplink, Vlans};
use crate::plan::label::Label;
use crate::plan::{self, forward_delay, uplink, usable_bridge};
use crate::probe::faults::FIND_THE_LOOP;
use crate::probe::report::{Report, Warning};

/// Ports that a bridge has at most (BR_MAX_PORTS of net/bridge/br_private.h counts port 0, which is never used).
const PORTS_MAX: usize = 1023;
/// Why what follows from a missing bridge has no judgement.
pub const NOT_CHECKED: &str = "not checked";
/// From here on it is time to think about a second bridge.
const PORTS_MANY: usize = 900;

/// How a check ended; the order is from well to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    Skipped,
    Ok,
    Warn,
    Fail,
}

impl Judgement {
    /// As `--json` has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// As a person reads it.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Skipped => "-",
            Self::Fail => "FAIL",
            other => other.word(),
        }
    }

    /// Its colour.
    pub fn tone(self) -> Tone {
        match self {
            Self::Skipped => Tone::Faint,
            Self::Ok => Tone::Good,
            Self::Warn => Tone::Doubtful,
            Self::Fail => Tone::Bad,
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub judgement: Judgement,
    pub code: Option<Code>,
    pub message: String,
    pub evidence: Vec<String>,
    pub remedy: Option<String>,
}

impl Check {
    /// A check without a remedy.
    pub fn new(name: &'static str, judgement: Judgement, message: impl Into<String>) -> Self {
        Self { name, judgement, code: None, message: message.into(), evidence: Vec::new(), remedy: None }
    }

    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Judgement::Ok, message)
    }

    fn warn(name: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(name, Judgement::Warn, message) }
    }

    /// Not looked at.
    pub fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, Judgement::Skipped, why)
    }

    /// What ADD would fail with.
    fn fail(name: &'static str, error: &Error) -> Self {
        Self {
            code: Some(error.code),
            evidence: error.observations().to_vec(),
            remedy: error.advice().map(str::to_string),
            ..Self::new(name, Judgement::Fail, error.to_string())
        }
    }

    /// DHCP is answered all the same: what ADD would fail with cannot be all there is to say.
    pub fn doubt(&mut self) {
        if self.judgement == Judgement::Fail && self.code.is_some() {
            self.judgement = Judgement::Warn;
            self.evidence.push("DHCP is answered all the same, so ADD attaches where it may ask".into());
        }
    }

    /// As `--json` shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name, "verdict": self.judgement.word(), "code": self.code.map(|code| code as u32),
            "message": self.message, "evidence": self.evidence, "remedy": self.remedy,
        })
    }
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub name: String,
    pub vlans: Option<Vlans>,
    pub mac: Option<MacAddress>,
    /// All attachments of the node.
    pub attachments: Vec<Attachment>,
    pub bridge: BridgeSeen,
    /// Its ports that may lead off the node.
    pub uplinks: Vec<Uplink>,
    /// How many ports it has.
    pub ports: usize,
    /// `None` where it cannot be read.
    pub firewall: Option<Firewall>,
    /// The port behind which `mac` was learned.
    pub learned: Option<Link>,
}

impl Seen {
    /// Whether a probe can ask through the bridge.
    pub fn can_be_asked(&self) -> bool {
        usable_bridge(&self.name, self.vlans.as_ref(), &self.bridge).is_ok()
    }
}

/// All checks but DHCP's.
pub fn judge(seen: &Seen) -> Vec<Check> {
    let later = [
        "up",
        "vlan_filtering",
        "stp",
        "uplink",
        "carrier",
        "vlan",
        "forwarding",
        "mtu",
        "ports",
        "firewall",
    ];
    let name = seen.name.as_str();
    let link = match (&seen.bridge, usable_bridge(name, None, &seen.bridge)) {
        (BridgeSeen::Present(link), _) if link.bridge.is_some() => link.as_ref(),
        (_, Err(error)) => {
            let skipped = later.map(|name| Check::skipped(name, NOT_CHECKED));
            return std::iter::once(Check::fail("bridge", &error)).chain(skipped).collect();
        }
        (_, Ok(link)) => link,
    };
    let mut checks = vec![Check::ok("bridge", format!("{name} is a bridge"))];
    checks.push(match link.up {
        true => Check::ok("up", format!("{name} is up")),
        false => Check::fail("up", &plan::faults::bridge_down(name)),
    });
    checks.push(vlan_filtering(seen, link));
    checks.push(stp(name, link, seen.uplinks.len()));
    checks.extend(uplinks(seen, link));
    checks.push(forwarding(seen, link));
    checks.push(mtu(seen, link));
    checks.push(ports(seen));
    checks.push(firewall(seen, link));
    checks.extend(seen.mac.map(|mac| learned(seen, mac)));
    checks
}

fn vlan_filtering(seen: &Seen, link: &Link) -> Check {
    let filtering = link.bridge.as_ref().is_some_and(|bridge| bridge.vlan_filtering);
    match (&seen.vlans, filtering) {
        (Some(vlans), false) => {
            Check::fail("vlan_filtering", &plan::faults::vlan_filtering_off(&seen.name, vlans))
        }
        (_, true) => {
            let default = link.bridge.as_ref().map_or(0, |bridge| bridge.default_pvid);
            let default =
                if default == 0 { "no default VLAN".into() } else { format!("default VLAN {default}") };
            Check::ok("vlan_filtering", format!("on, {default}"))
        }
        (None, false) => Check::ok("vlan_filtering", "off, and no VLAN asked for"),
    }
}

fn stp(name: &str, link: &Link, uplinks: usize) -> Check {
    match forward_delay(link) {
        None => Check::ok("stp", link.bridge.as_ref().map_or(Stp::Off, |bridge| bridge.stp).to_string()),
        Some(delay) => Check::warn(
            "stp",
            format!("on: a new port drops all frames, DHCP's too, for {} s", delay.as_secs()),
            match uplinks {
                0 | 1 => plan::faults::stp_off(name),
                more => format!(
                    "leave it on: with {more} uplinks it keeps a loop open; give DHCP probes and deadlines more time"
                ),
            },
        ),
    }
}

/// Uplink, its carrier and its VLANs: one judgement, in which what comes first hides what comes after.
fn uplinks(seen: &Seen, link: &Link) -> [Check; 3] {
    let Some(bridge) = &link.bridge else {
        return ["uplink", "carrier", "vlan"].map(|n| Check::skipped(n, NOT_CHECKED));
    };
    let error = uplink::judge(&seen.name, bridge, seen.vlans.as_ref(), &seen.uplinks).err();
    let code = error.as_ref().map(|error| error.code);
    let names = |wanted: fn(&Link) -> bool| {
        let names =
            seen.uplinks.iter().filter(|uplink| wanted(&uplink.link)).map(|uplink| uplink.link.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let failed = |name, at: Code| {
        error.as_ref().filter(|error| error.code == at).map(|error| Check::fail(name, error))
    };
    let uplink = failed("uplink", Code::NoUplink).unwrap_or_else(|| Check::ok("uplink", names(|_| true)));
    let carrier = match code {
        Some(Code::NoUplink) => Check::skipped("carrier", "no uplink"),
        _ => failed("carrier", Code::UplinkNoCarrier)
            .unwrap_or_else(|| Check::ok("carrier", names(|link| link.carrier))),
    };
    let vlan = match code {
        Some(Code::NoUplink | Code::UplinkNoCarrier) => Check::skipped("vlan", "no uplink with carrier"),
        _ if seen.vlans.is_some() && !bridge.vlan_filtering => {
            Check::skipped("vlan", "the bridge does not filter VLANs")
        }
        _ => failed("vlan", Code::VlanNotOnUplink)
            .or_else(|| {
                let doubt = uplink::doubt(bridge, seen.vlans.as_ref(), &seen.uplinks)?;
                Some(Check::warn("vlan", doubt.fact, doubt.remedy))
            })
            .unwrap_or_else(|| Check::ok("vlan", carried(seen, bridge.vlan_filtering))),
    };
    [uplink, carrier, vlan]
}

fn carried(seen: &Seen, filtering: bool) -> String {
    match (&seen.vlans, filtering) {
        (_, false) => "all pass: the bridge does not filter".to_string(),
        (Some(vlans), true) => format!("{} passes an uplink", vlans.native),
        (None, true) => "the default VLAN passes an uplink".to_string(),
    }
}

fn forwarding(seen: &Seen, link: &Link) -> Check {
    let alive = seen.uplinks.iter().any(|uplink| uplink.link.carrier);
    let Some(bridge) = link.bridge.as_ref().filter(|_| link.up && alive) else {
        return Check::skipped("forwarding", "no uplink with carrier on a bridge that is up");
    };
    match uplink::forwards(&seen.name, bridge, &seen.uplinks) {
        Ok(()) => Check::ok("forwarding", "an uplink forwards"),
        Err(error) => Check::fail("forwarding", &error),
    }
}

fn mtu(seen: &Seen, link: &Link) -> Check {
    let smaller: Vec<&Uplink> = seen.uplinks.iter().filter(|uplink| uplink.link.mtu < link.mtu).collect();
    let Some(first) = smaller.first() else { return Check::ok("mtu", format!("{} bytes", link.mtu)) };
    let shown: Vec<String> =
        smaller.iter().map(|uplink| format!("{} {}", uplink.link.name, uplink.link.mtu)).collect();
    Check::warn(
        "mtu",
        format!(
            "bridge {} has MTU {}, its uplinks less ({}): larger frames are lost",
            seen.name,
            link.mtu,
            shown.join(", ")
        ),
        format!("ip link set {} mtu {}", first.link.name, link.mtu),
    )
}

fn ports(seen: &Seen) -> Check {
    match seen.ports {
        PORTS_MAX.. => Check::fail("ports", &port_limit(&seen.name)),
        PORTS_MANY.. => Check::warn(
            "ports",
            format!("{} of at most {PORTS_MAX} ports are in use", seen.ports),
            "use a second bridge, or schedule fewer attachments on this node",
        ),
        count => Check::ok("ports", format!("{count} of at most {PORTS_MAX}")),
    }
}

/// Bridged frames pass iptables where br_netfilter says so globally or this bridge says so itself.
fn firewall(seen: &Seen, link: &Link) -> Check {
    let Some(firewall) = &seen.firewall else {
        return Check::skipped("firewall", "the rules cannot be read");
    };
    let of_bridge = link.bridge.as_ref().is_some_and(|bridge| bridge.nf_call_iptables);
    let value = |on: bool| u8::from(on);
    let sysctl = firewall.call_iptables.map_or("br_netfilter not loaded".to_string(), |on| {
        format!("bridge-nf-call-iptables={}, {}/nf_call_iptables={}", value(on), seen.name, value(of_bridge))
    });
    let through_iptables = link.bridge.as_ref().is_some_and(|bridge| firewall.sees_frames_of(bridge));
    let dropping: Vec<&FirewallHook> = firewall
        .hooks
        .iter()
        .filter(|hook| hook.policy_drop && (hook.family == "bridge" || through_iptables))
        .collect();
    let legacy = if through_iptables { firewall.legacy_tables.as_slice() } else { &[] };
    if let Some(first) = dropping.first() {
        let shown = |hook: &&FirewallHook| {
            let FirewallHook { family, table, chain, hook, .. } = hook;
            format!("nftables {family} {table} {chain} (hook {hook}, policy drop)")
        };
        return Check {
            evidence: dropping.iter().map(shown).collect(),
            ..Check::warn(
                "firewall",
                format!("bridged frames meet rules that drop by default ({sysctl})"),
                format!("let the bridge's frames pass there, such as: {}", first.opening(&seen.name)),
            )
        };
    }
    if !legacy.is_empty() {
        let message =
            format!("bridged frames pass iptables, which has tables {} ({sysctl})", legacy.join(", "));
        return Check::warn("firewall", message, "iptables-legacy -S FORWARD shows whether it drops them");
    }
    Check::ok("firewall", format!("no chain drops bridged frames by default ({sysctl})"))
}

/// Where the client is: worth knowing, nothing to judge, since it may be attached here or migrate here.
fn learned(seen: &Seen, mac: MacAddress) -> Check {
    let Some(port) = &seen.learned else {
        return Check::ok("mac", format!("{mac} is not in the forwarding table"));
    };
    let owner =
        port.alias.as_deref().and_then(Label::from_alias).map(|label| format!(" of {}", label.owner()));
    let way =
        if seen.uplinks.iter().any(|uplink| uplink.link.index == port.index) { ", an uplink" } else { "" };
    Check::ok("mac", format!("{mac} is behind {}{}{way}", port.name, owner.unwrap_or_default()))
}

/// The probe's outcome as a check.
pub fn dhcp(outcome: Result<Report, Error>) -> Check {
    match outcome {
        Err(error) => Check::fail("dhcp", &error),
        Ok(report) => {
            let offers: Vec<String> = report.offers.iter().map(|offer| format!("offer of {offer}")).collect();
            let message = offers.join("; ");
            let comes_back = |warning: &&Warning| warning.lasting == Some(Code::FramesComeBack);
            if let Some(warning) = report.warnings.iter().find(comes_back) {
                return Check {
                    code: warning.lasting,
                    evidence: vec![message],
                    remedy: Some(FIND_THE_LOOP.to_string()),
                    ..Check::new("dhcp", Judgement::Fail, warning.to_string())
                };
            }
            match report.warnings.split_first() {
                None => Check::ok("dhcp", message),
                Some((first, rest)) => Check {
                    evidence: std::iter::once(message).chain(rest.iter().map(ToString::to_string)).collect(),
                    ..Check::new("dhcp", Judgement::Warn, first.to_string())
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
