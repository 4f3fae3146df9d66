//! One probe from its temporary port to its report or diagnosis.

use nix::errno::Errno;
use tokio::time::{Instant, timeout_at};

use super::exchanges::{Exchanges, source};
use super::facts::EXCHANGE_MIN;
use super::faults::{self, unseen};
use super::question::Question;
use super::report::{Report, Warning};
use super::second_half::SecondHalf;
use super::verdict::verdict;
use super::way::Way;
use crate::dhcp::drive::drive;
use crate::dhcp::exchange::Exchange;
use crate::dhcp::expected::Fit;
use crate::error::{Code, Error};
use crate::kernel::faults::port_limit;
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::kernel::ports;
use crate::kernel::probe_port::{ProbePort, ProbePortSpec};
use crate::net::{Link, MacAddress, PortState};
use crate::plan::faults::no_uplink;
use crate::plan::step::Step;
use crate::plan::{forward_delay, native_vlan, usable_bridge};

/// A probe without a good offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The diagnosis.
    pub error: Error,
    /// How far question and answer came, where anything was asked.
    pub way: Option<Box<Way>>,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self { error, way: None }
    }
}

/// Asks.
///
/// # Errors
/// As [`trace`], without the way.
pub async fn probe(question: &Question) -> Result<Report, Error> {
    trace(question).await.map_err(|unanswered| unanswered.error)
}

/// Asks, and tells how far question and answer came.
///
/// No frame goes out before the temporary port forwards, and none has the client's address as its Ethernet source.
///
/// # Errors
/// The diagnosis: codes 100 to 106 and 110 to 116; 108 and 124 where the kernel refuses the port.
pub async fn trace(question: &Question) -> Result<Report, Unanswered> {
    let started = Instant::now();
    let deadline = started + question.timeout;
    let name = question.bridge.as_str();
    let kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let seen = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
    let bridge = usable_bridge(name, question.vlans.as_ref(), &seen)?;
    if let Some(delay) = forward_delay(bridge).filter(|delay| *delay + EXCHANGE_MIN > question.timeout) {
        let uplinks = kernel.uplinks(bridge, |_| false).await;
        let uplinks = uplinks.map_err(|refusal| unseen(&format!("the ports of bridge {name}"), &refusal))?;
        return Err(faults::spanning_tree(name, delay, question.timeout, uplinks.len()).into());
    }

    if !question.sole_port && !has_ports(bridge)? {
        return Err(no_uplink(name).evidence(faults::UNASKED_ALONE).into());
    }

    let source = source(bridge);
    let mut port = open_port(question, bridge, source).await?;
    match timeout_at(deadline, port.raise()).await {
        Ok(raised) => raised.map_err(|(step, refusal)| refused(&step, &refusal))?,
        Err(_) => return Err(late(&kernel, port.name(), question).await.into()),
    }
    let socket = port.socket().map_err(|refusal| unseen("the probe's port", &refusal))?;
    let socket = socket.into_async().map_err(|error| unseen("the probe's port", &error.into()))?;

    let begun = Instant::now();
    let ready_after = started.elapsed();
    let half = started + question.timeout / 2;
    let mut exchanges = Exchanges::new(question, bridge, source, deadline - begun, half - begun)?;
    let mut second_half = SecondHalf::new(exchanges.asking(), begun);
    let outcome = tokio::select! {
        outcome = drive(&mut exchanges.on_port, &socket) => outcome,
        never = second_half.run(&kernel, question, bridge, half, &mut exchanges.at_bridge) => match never {},
    };
    let first = &exchanges.on_port[0];
    if first.satisfied() {
        refuse_others(question, first)?;
        let mut report = Report::new(question, first, ready_after, started.elapsed());
        report.warnings.extend(reflection(&kernel, question, bridge, source).await?);
        return Ok(report);
    }
    outcome.map_err(|error| unseen("the probe's port", &error.into()))?;
    if let Some(report) = answered_elsewhere(&kernel, question, bridge, &exchanges, started).await? {
        return Ok(report);
    }
    second_half.finish(&exchanges);
    let facts = second_half.facts(&kernel, question, bridge, &exchanges).await?;
    let error = verdict(&facts);
    let way = Some(Box::new(Way::of(&facts, &error)));
    Err(Unanswered { error, way })
}

fn refuse_others(question: &Question, exchange: &Exchange) -> Result<(), Error> {
    let expected = &question.expected;
    let mut offers = exchange.answers().iter().map(|answer| &answer.offer);
    match offers.find(|offer| question.refuse_others && expected.fit(offer) == Fit::OtherServer) {
        Some(offer) => Err(faults::rogue_server(question.place(), offer, &expected.servers)),
        None => Ok(()),
    }
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

/// The probe's own port teaches the bridge nothing: an address of the probe that the bridge has learned came back.
async fn reflection(
    kernel: &Linux,
    question: &Question,
    bridge: &Link,
    source: MacAddress,
) -> Result<Option<Warning>, Error> {
    let vlan = native_vlan(question.vlans.as_ref(), bridge);
    let port = kernel.learned_on(bridge, source, vlan).await;
    let port = port.map_err(|refusal| unseen("the forwarding table", &refusal))?;
    Ok(port.map(|port| {
        let text = faults::learned_behind(question.place(), source, &port.name);
        Warning::lasting(Code::FramesComeBack, text)
    }))
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
        report.warnings.push(Warning::passing(format!(
            "{client} was not answered here, {} was: {client} is known behind {} and may be answered there",
            report.client, port.name
        )));
        report
    }))
}

/// Why the temporary port was not ready in time: held back by the bridge, or by a node that is too slow.
async fn late(kernel: &Linux, port: &str, question: &Question) -> Error {
    let held_back =
        |link: &Link| link.up && link.port.is_some_and(|port| port.state != PortState::Forwarding);
    match kernel.link(port).await {
        Ok(Some(link)) if held_back(&link) => {
            faults::port_not_forwarding(port, question.bridge.as_str(), question.timeout)
        }
        _ => faults::no_time(question.place(), question.timeout),
    }
}

async fn open_port(question: &Question, bridge: &Link, mac: MacAddress) -> Result<ProbePort, Error> {
    let spec = ProbePortSpec { bridge, vlans: question.vlans.as_ref(), isolated: question.isolated, mac };
    ProbePort::create(&spec).await.map_err(|(step, refusal)| refused(&step, &refusal))
}

fn refused(step: &Step, refusal: &Refusal) -> Error {
    match (step, refusal.errno) {
        (Step::AddVeth(spec), Errno::EXFULL) => port_limit(&spec.bridge),
        _ => faults::no_port(step, refusal),
    }
}
