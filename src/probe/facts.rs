//! What was seen of a probe without a good offer.

use std::time::Duration;

use super::question::Question;
use crate::dhcp::exchange::{Answer, Counters, Exchange, Identity};
use crate::net::{Firewall, Link, Traffic, Uplink};

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
    /// What may drop bridged frames.
    pub firewall: Firewall,
    /// The port behind which the server sits that answered the bridge device.
    pub answering: Option<Link>,
    /// The vendor, if this node is a virtual machine.
    pub hypervisor: Option<String>,
}
