//! Would a DHCP client attached here, with this VLAN and this MAC, get an offer? Asks by DHCPDISCOVER alone, through a
//! temporary port of the bridge, and names the cause when no good offer comes. It takes no lease.
//!
//! - [`report`]: what an answered probe tells.
//! - [`verdict`]: facts about an unanswered one, and the cause they prove; pure. Its lines of evidence are made in
//!   `evidence`.
//! - [`place`]: the bridge device itself as the second place to ask from.

mod evidence;
pub mod place;
pub mod report;
pub mod verdict;

use std::convert::Infallible;
use std::time::Duration;

use nix::errno::Errno;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use crate::dhcp::drive::drive;
use crate::dhcp::exchange::{Exchange, Identity, Timing};
use crate::dhcp::expected::Expected;
use crate::kernel::linux::{Linux, random_bytes};
use crate::kernel::netlink::Refusal;
use crate::kernel::probe_port::{ProbePort, ProbePortSpec};
use crate::kernel::{diagnosis, firewall, ports};
use crate::plan::facts::{Link, PortState, Traffic, Uplink};
use crate::plan::step::Step;
use crate::plan::{forward_delay, native_vlan, usable_bridge};
use crate::report::probe_faults::{self, unseen};
use crate::report::{Error, faults};
use crate::request::dhcp_probe::DhcpProbe;
use crate::request::mac::MacAddress;
use crate::request::name::InterfaceName;
use crate::request::vlan::Vlans;
use place::Place;
use report::Report;
use verdict::{Asked, Facts};

/// What an exchange needs at least once the port forwards: a server's round trip and one repeat.
const EXCHANGE_MIN: Duration = Duration::from_millis(200);

/// How long further servers are awaited when nobody is in a hurry.
const GRACE_BY_HAND: Duration = Duration::from_millis(500);

/// What to ask, and where.
#[derive(Debug, Clone)]
pub struct Question {
    /// The bridge.
    pub bridge: InterfaceName,
    /// VLANs of the attachment; `None` is the bridge's default.
    pub vlans: Option<Vlans>,
    /// The attachment's port talks to non-isolated ports only.
    pub isolated: bool,
    /// Whose offer is asked for; `None` is the node's own probe address.
    pub client: Option<MacAddress>,
    /// From the call to the answer.
    pub timeout: Duration,
    /// How long further servers are awaited after the first good offer.
    pub grace: Duration,
    /// Which offers are good.
    pub expected: Expected,
    /// The temporary port may be the bridge's only one: whoever asks puts a port there anyway. A bridge whose last port
    /// goes is without carrier from then on, and without the MAC that it had unless that was set.
    pub sole_port: bool,
}

impl Question {
    /// Bridge and VLAN as a message names them.
    fn place(&self) -> probe_faults::Place<'_> {
        probe_faults::Place {
            bridge: self.bridge.as_str(),
            vlan: self.vlans.as_ref().map(|vlans| vlans.native),
        }
    }

    /// What a guest in the bridge's default VLAN would ask, with the node's own probe address.
    pub fn on(bridge: InterfaceName) -> Self {
        let wanted = DhcpProbe::default();
        Self {
            bridge,
            vlans: None,
            isolated: false,
            client: None,
            timeout: wanted.timeout,
            grace: GRACE_BY_HAND,
            expected: Expected::default(),
            sole_port: false,
        }
    }
}

/// Asks.
///
/// No frame goes out before the temporary port forwards, and none has the client's address as its Ethernet source.
///
/// # Errors
/// The diagnosis: codes 100 to 106 and 110 to 116; 108 and 124 where the kernel refuses the port.
pub async fn probe(question: &Question) -> Result<Report, Error> {
    let started = Instant::now();
    let deadline = started + question.timeout;
    let name = question.bridge.as_str();
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let seen = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
    let bridge = usable_bridge(name, question.vlans.as_ref(), &seen)?;
    if let Some(delay) = forward_delay(bridge).filter(|delay| *delay + EXCHANGE_MIN > question.timeout) {
        return Err(probe_faults::spanning_tree(name, delay, question.timeout));
    }

    if !question.sole_port && !has_ports(bridge)? {
        return Err(faults::no_uplink(name).evidence(probe_faults::UNASKED_ALONE));
    }

    let source = source(bridge);
    let mut port = open_port(question, bridge, source).await?;
    match timeout_at(deadline, port.raise()).await {
        Ok(raised) => raised.map_err(|(step, refusal)| refused(&step, &refusal))?,
        Err(_) => return Err(late(&kernel, port.name(), question).await),
    }
    let socket = port.socket().map_err(|refusal| unseen("the probe's port", &refusal))?;
    let socket = socket.into_async().map_err(|error| unseen("the probe's port", &error.into()))?;

    let begun = Instant::now();
    let ready_after = started.elapsed();
    let half = started + question.timeout / 2;
    let mut exchanges = Exchanges::new(question, bridge, source, deadline - begun, half - begun)?;
    let mut second_half = SecondHalf::default();
    let outcome = tokio::select! {
        outcome = drive(&mut exchanges.on_port, &socket) => outcome,
        never = second_half.run(&kernel, question, bridge, half, &mut exchanges.at_bridge) => match never {},
    };
    let first = &exchanges.on_port[0];
    if first.satisfied() {
        return Ok(Report::new(question, first, ready_after, started.elapsed()));
    }
    outcome.map_err(|error| unseen("the probe's port", &error.into()))?;
    if let Some(report) = answered_elsewhere(&kernel, question, bridge, &exchanges, started).await? {
        return Ok(report);
    }
    let facts = second_half.facts(&kernel, question, bridge, &exchanges).await?;
    Err(verdict::verdict(&facts))
}

fn has_ports(bridge: &Link) -> Result<bool, Error> {
    let mut any = false;
    let first = |_| {
        any = true;
        any
    };
    ports::read(bridge.index, first)
        .map_err(|refusal| unseen(&format!("the ports of {}", bridge.name), &refusal))?;
    Ok(any)
}

/// A client that the bridge knows behind a port runs already: on another node if that is an uplink, as a VM that migrates
/// here, or on this one, as the guest that somebody asks about by hand and the container that a chained plugin raised. A
/// server that answers it by unicast in spite of the broadcast flag reaches that port only, so the second identity's
/// answer counts.
async fn answered_elsewhere(
    kernel: &Linux,
    question: &Question,
    bridge: &Link,
    exchanges: &Exchanges,
    started: Instant,
) -> Result<Option<Report>, Error> {
    let (Some(client), Some(second)) =
        (question.client, exchanges.on_port.get(1).filter(|second| second.satisfied()))
    else {
        return Ok(None);
    };
    let vlan = native_vlan(question.vlans.as_ref(), bridge);
    let port = kernel.learned_on(bridge, client, vlan).await;
    let port = port.map_err(|refusal| unseen("the forwarding table", &refusal))?;
    Ok(port.map(|port| {
        let mut report = Report::new(question, second, started.elapsed(), started.elapsed());
        report.warnings.push(format!(
            "{client} was not answered here, {} was: {client} is known behind {} and may be answered there",
            report.client, port.name
        ));
        report
    }))
}

/// Why the temporary port was not ready in time: held back by the bridge, or by a node that is too slow.
async fn late(kernel: &Linux, port: &str, question: &Question) -> Error {
    let held_back =
        |link: &Link| link.up && link.port.is_some_and(|port| port.state != PortState::Forwarding);
    match kernel.link(port).await {
        Ok(Some(link)) if held_back(&link) => {
            probe_faults::port_not_forwarding(port, question.bridge.as_str(), question.timeout)
        }
        _ => probe_faults::no_time(question.place(), question.timeout),
    }
}

async fn open_port(question: &Question, bridge: &Link, mac: MacAddress) -> Result<ProbePort, Error> {
    let spec = ProbePortSpec { bridge, vlans: question.vlans.as_ref(), isolated: question.isolated, mac };
    ProbePort::create(&spec).await.map_err(|(step, refusal)| refused(&step, &refusal))
}

/// The Ethernet source of every probe of this bridge on this node: the same one each time, since switches with port
/// security count addresses, and nobody else's, since it follows from the bridge's own.
pub fn source(bridge: &Link) -> MacAddress {
    let mac = bridge.mac.map(MacAddress::octets).unwrap_or_default();
    let digest =
        Sha256::new().chain_update("bridge-dhcp probe ").chain_update(mac).chain_update(&bridge.name);
    let digest: [u8; 32] = digest.finalize().into();
    let [a, b, c, d, e, f, ..] = digest;
    MacAddress::local([a, b, c, d, e, f])
}

/// All exchanges of a probe; each knows the others, so that their replies are not taken for a stranger's.
struct Exchanges {
    /// How long the question had.
    window: Duration,
    /// The question itself and, from the half of the time on, the second identity.
    on_port: Vec<Exchange>,
    /// From the bridge device: the question's client, the second identity, the bridge's own address.
    at_bridge: Vec<Exchange>,
}

impl Exchanges {
    fn new(
        question: &Question,
        bridge: &Link,
        source: MacAddress,
        timeout: Duration,
        half: Duration,
    ) -> Result<Self, Error> {
        let client = question.client.unwrap_or(source);
        let timing = Timing { timeout, grace: question.grace };
        let begin = |chaddr, source, timing| {
            let seed = random_bytes().map(u64::from_be_bytes);
            let seed = seed.map_err(|refusal| unseen("random numbers", &refusal))?;
            Ok(Exchange::new(Identity { chaddr, source }, timing, seed).expecting(question.expected.clone()))
        };
        let mut on_port = vec![begin(client, source, timing)?];
        let rest = Timing { timeout: timeout.saturating_sub(half), grace: timeout };
        let mut at_bridge = vec![begin(client, source, rest)?];
        if client != source {
            on_port.push(begin(source, source, timing)?.beginning_at(half));
            at_bridge.push(begin(source, source, rest)?);
        }
        if let Some(own) = bridge.mac {
            at_bridge.push(begin(own, own, rest)?);
        }
        let all: Vec<u32> = on_port.iter().chain(&at_bridge).map(Exchange::xid).collect();
        let introduce = |exchanges: Vec<Exchange>| {
            let introduced = exchanges.into_iter().map(|exchange| exchange.beside(all.clone()));
            introduced.collect::<Vec<_>>()
        };
        Ok(Self { window: timeout, on_port: introduce(on_port), at_bridge: introduce(at_bridge) })
    }
}

/// What is done beside the question from the half of the time on, and what was seen then.
#[derive(Default)]
struct SecondHalf {
    uplinks: Vec<Uplink>,
    before: Vec<Traffic>,
    place: Option<Place>,
}

impl SecondHalf {
    /// Never returns: the question's own exchange ends the probe.
    async fn run(
        &mut self,
        kernel: &Linux,
        question: &Question,
        bridge: &Link,
        half: Instant,
        exchanges: &mut [Exchange],
    ) -> Infallible {
        tokio::time::sleep_until(half).await;
        // What can't be seen now is said by the look at the end.
        self.uplinks = kernel.uplinks(bridge, |_| false).await.unwrap_or_default();
        self.before = traffic(kernel, &self.uplinks).await.unwrap_or_default();
        if let Place::Open(socket) = self.place.insert(Place::open(question, bridge).await) {
            // The bridge that goes down meanwhile is silent, which is what is asked.
            let _ = drive(exchanges, socket).await;
        }
        std::future::pending().await
    }

    async fn facts<'a>(
        &self,
        kernel: &Linux,
        question: &'a Question,
        bridge: &'a Link,
        exchanges: &Exchanges,
    ) -> Result<Facts<'a>, Error> {
        let ports = |refusal: Refusal| unseen(&format!("the ports of bridge {}", bridge.name), &refusal);
        let after = traffic(kernel, &self.uplinks).await.map_err(ports)?;
        let counted = self.uplinks.iter().zip(self.before.iter().zip(&after));
        let traffic = counted.map(|(uplink, (before, after))| {
            let sent = after.sent.saturating_sub(before.sent);
            let received = after.received.saturating_sub(before.received);
            (uplink.link.name.clone(), Traffic { sent, received })
        });
        let answer = exchanges.at_bridge.iter().find_map(|exchange| exchange.answers().first());
        let answering = match answer.map(|answer| answer.offer.sender.mac) {
            // Without it the uplinks are judged instead.
            Some(server) => {
                let vlan = native_vlan(question.vlans.as_ref(), bridge);
                kernel.learned_on(bridge, server, vlan).await.unwrap_or_default()
            }
            None => None,
        };
        Ok(Facts {
            question,
            window: exchanges.window,
            bridge,
            on_port: exchanges.on_port.iter().map(Asked::of).collect(),
            at_bridge: match &self.place {
                Some(Place::Open(_)) => Ok(exchanges.at_bridge.iter().map(Asked::of).collect()),
                Some(Place::Unasked(why)) => Err(why.clone()),
                None => Err("there was no time".to_string()),
            },
            traffic: traffic.collect(),
            uplinks: kernel.uplinks(bridge, |_| false).await.map_err(ports)?,
            firewall: firewall::read().await.unwrap_or_default(),
            answering,
            hypervisor: diagnosis::hypervisor(),
        })
    }
}

async fn traffic(kernel: &Linux, uplinks: &[Uplink]) -> Result<Vec<Traffic>, Refusal> {
    let mut traffic = Vec::new();
    for uplink in uplinks {
        traffic.push(kernel.traffic(uplink.link.index).await?.unwrap_or_default());
    }
    Ok(traffic)
}

fn refused(step: &Step, refusal: &Refusal) -> Error {
    match (step, refusal.errno) {
        (Step::AddVeth(spec), Errno::EXFULL) => faults::port_limit(&spec.bridge),
        _ => faults::refused(step, refusal).evidence("this port is the DHCP probe's, and temporary"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_the_same_each_time_and_another_for_each_bridge() {
        let of = |name: &str, last| {
            let mac = Some(MacAddress::local([2, 0, 0, 0, 0, last]));
            source(&Link { mac, ..Link::plain(name) })
        };
        assert_eq!(of("br0", 1), of("br0", 1));
        assert_ne!(of("br0", 1), of("br0", 2), "bridges of one name on two nodes");
        assert_ne!(of("br0", 1), of("br1", 1), "bridges of one node");
    }
}
