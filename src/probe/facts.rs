//! What was seen of a probe without a good offer.

use std::time::Duration;

use super::question::Question;
use super::witness::Witness;
use crate::dhcp::exchange::{Answer, Counters, Exchange, Identity};
use crate::net::{Firewall, Guards, Link, Traffic, Uplink};

/// What an exchange needs at least once the port forwards: a server's round trip and one repeat.
pub(super) const EXCHANGE_MIN: Duration = Duration::from_millis(200);

/// What came of one exchange.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who asked.
    pub identity: Identity,
    /// Offers.
    pub answers: Vec<Answer>,
    /// What was sent and seen.
    pub counters: Counters,
}

impl Asked {
    /// What came of this exchange.
    pub fn of(exchange: &Exchange) -> Self {
        let answers = exchange.answers().to_vec();
        Self { identity: exchange.identity(), answers, counters: exchange.counters().clone() }
    }
}

/// What of an uplink may drop frames, and what it did in the second half.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guarded {
    /// The uplink.
    pub ifname: String,
    /// What is there.
    pub guards: Guards,
    /// Frames that its queueing discipline dropped meanwhile.
    pub queue_drops: u32,
    /// Frames that entered and were dropped meanwhile by its driver or for want of room.
    pub receive_drops: u64,
    /// Frames that were to leave.
    pub send_drops: u64,
}

impl Guarded {
    /// What was there in the end, with what happened since `before`.
    pub fn between(ifname: &str, before: &Guards, after: Guards) -> Self {
        let queue = |guards: &Guards| guards.queue.as_ref().map_or(0, |(_, drops)| *drops);
        Self {
            ifname: ifname.to_string(),
            queue_drops: queue(&after).saturating_sub(queue(before)),
            receive_drops: after.receive_drops.saturating_sub(before.receive_drops),
            send_drops: after.send_drops.saturating_sub(before.send_drops),
            guards: after,
        }
    }
}

/// What was seen of a probe without a good offer.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What was asked.
    pub question: &'a Question,
    /// How long the question had, from the first DISCOVER to the end.
    pub window: Duration,
    /// The bridge.
    pub bridge: &'a Link,
    /// Through the temporary port: the question itself, then the second identity.
    pub on_port: Vec<Asked>,
    /// From the bridge device, each identity and last the bridge's own; or why not.
    pub at_bridge: Result<Vec<Asked>, String>,
    /// The bridge's ports that may lead off the node.
    pub uplinks: Vec<Uplink>,
    /// What each of them sent and received in the second half.
    pub traffic: Vec<(String, Traffic)>,
    /// What was seen at them, or why nobody listened there.
    pub witness: Result<Witness, String>,
    /// What may drop bridged frames.
    pub firewall: Firewall,
    /// What of the uplinks may drop frames besides.
    pub guards: Vec<Guarded>,
    /// The port behind which the server sits that answered the bridge device.
    pub answering: Option<Link>,
    /// The vendor, if this node is a virtual machine.
    pub hypervisor: Option<String>,
}

impl Facts<'_> {
    /// Whether somebody answered the bridge device.
    pub(super) fn device_is_answered(&self) -> bool {
        self.at_bridge.as_ref().is_ok_and(|asked| asked.iter().any(|asked| !asked.answers.is_empty()))
    }
}
