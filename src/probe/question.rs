//! What a probe asks, where, and which offers are good.

use std::time::Duration;

use super::faults::Place;
use crate::cni::config::dhcp_probe::DhcpProbe;
use crate::dhcp::expected::Expected;
use crate::net::{InterfaceName, MacAddress, Vlans};

/// How long `probe` and `doctor` wait for further servers after the first offer.
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
    /// An offer of a server that is not expected fails the probe, also beside a good one.
    pub refuse_others: bool,
    /// The temporary port may be the bridge's only one: whoever asks puts a port there anyway. A bridge whose last port
    /// goes is without carrier from then on, and without the MAC that it had unless that was set.
    pub sole_port: bool,
}

impl Question {
    /// Bridge and VLAN as a message names them.
    pub(super) fn place(&self) -> Place<'_> {
        Place { bridge: self.bridge.as_str(), vlan: self.vlans.as_ref().map(|vlans| vlans.native) }
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
            refuse_others: false,
            sole_port: false,
        }
    }
}
