//! What a probe looks at besides its own question, from the half of its time on.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use super::bridge_device::BridgeDevice;
use super::exchanges::Exchanges;
use super::facts::{Asked, Facts, Guarded};
use super::faults::unseen;
use super::question::Question;
use super::witness::{Asking, Sight, Witness};
use crate::dhcp::drive::drive;
use crate::dhcp::exchange::Exchange;
use crate::dhcp::listener::{INTERFACES_MAX, Listener};
use crate::error::Error;
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::kernel::nft::foreign;
use crate::kernel::{diagnosis, firewall};
use crate::net::{Firewall, Guards, Link, Traffic, Uplink};
use crate::plan::native_vlan;

/// What is done beside the question from the half of the time on, and what was seen then.
pub(super) struct SecondHalf {
    /// When the exchanges' clock started.
    begun: Instant,
    asking: Asking,
    uplinks: Vec<Uplink>,
    before: Vec<Traffic>,
    guards_before: Vec<Guards>,
    bridge_device: Option<BridgeDevice>,
    listening: Listening,
}

/// Whoever listens at the uplinks.
struct Listening {
    /// `None` where nobody can, or not any more.
    listener: Option<Listener>,
    /// What was seen, or why nobody listened.
    witness: Result<Witness, String>,
    /// Since when, by the exchanges' clock.
    since: Duration,
}

impl Listening {
    async fn open(&mut self, kernel: &Linux, uplinks: &[Uplink], asking: Asking, begun: Instant) {
        let mut sights: Vec<Sight> = Vec::new();
        let uplinks = uplinks.iter().map(|uplink| &uplink.link);
        sights.extend(uplinks.clone().map(|link| Sight::at(link.index, &link.name, false)));
        for link in uplinks {
            // Without them the tags on the wire stay unknown, no more.
            let below = kernel.below(link).await.unwrap_or_default();
            sights.extend(below.iter().map(|link| Sight::at(link.index, &link.name, true)));
        }
        sights.truncate(INTERFACES_MAX);
        match Listener::open(sights.iter().map(|sight| sight.index)) {
            Ok(listener) => {
                self.listener = Some(listener);
                self.witness = Ok(Witness::new(asking, sights));
                self.since = begun.elapsed();
            }
            Err(error) => self.witness = Err(error.to_string()),
        }
    }

    /// Never returns, unless the socket fails: what was seen until then counts.
    async fn listen(&mut self) {
        if let (Some(listener), Ok(witness)) = (&mut self.listener, &mut self.witness) {
            let _ = listener.listen(|index, frame| witness.see(index, frame)).await;
        }
    }
}

impl SecondHalf {
    /// Looks at nothing yet. The exchanges' clock started at `begun`.
    pub(super) fn new(asking: Asking, begun: Instant) -> Self {
        let witness = Err("there was no time".to_string());
        Self {
            begun,
            asking,
            uplinks: Vec::new(),
            before: Vec::new(),
            guards_before: Vec::new(),
            bridge_device: None,
            listening: Listening { listener: None, witness, since: Duration::ZERO },
        }
    }

    /// Never returns: the question's own exchange ends the probe.
    pub(super) async fn run(
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
        self.listening.open(kernel, &self.uplinks, self.asking.clone(), self.begun).await;
        self.before = traffic(kernel, &self.uplinks).await.unwrap_or_default();
        self.guards_before = guards(kernel, &self.uplinks).await;
        let device = self.bridge_device.insert(BridgeDevice::open(question, bridge).await);
        let asking = async {
            if let BridgeDevice::Open(socket) = device {
                // The bridge that goes down meanwhile is silent, which is what is asked.
                let _ = drive(exchanges, socket).await;
            }
        };
        tokio::join!(asking, self.listening.listen());
        std::future::pending().await
    }

    /// Reads what still waits at the uplinks, and says who asked while somebody listened.
    pub(super) fn finish(&mut self, exchanges: &Exchanges) {
        let Listening { listener, witness, since } = &mut self.listening;
        let Ok(witness) = witness else { return };
        if let Some(listener) = listener.take() {
            listener.finish(|index, frame| witness.see(index, frame));
        }
        let later = |asked: &Exchange| asked.counters().last_sent.is_some_and(|at| at > *since);
        witness.port_asked = exchanges.on_port.iter().any(later);
        witness.device_asked = exchanges.at_bridge.iter().any(|asked| asked.counters().sent > 0);
    }

    pub(super) async fn facts<'a>(
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
        let seen = self.uplinks.iter().map(|uplink| uplink.link.name.as_str());
        let guards = seen.zip(self.guards_before.iter().zip(guards(kernel, &self.uplinks).await));
        let guards = guards.map(|(ifname, (before, after))| Guarded::between(ifname, before, after));
        let guards: Vec<Guarded> = guards.collect();
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
            at_bridge: match &self.bridge_device {
                Some(BridgeDevice::Open(_)) => Ok(exchanges.at_bridge.iter().map(Asked::of).collect()),
                Some(BridgeDevice::Unasked(why)) => Err(why.clone()),
                None => Err("there was no time".to_string()),
            },
            traffic: traffic.collect(),
            uplinks: kernel.uplinks(bridge, |_| false).await.map_err(ports)?,
            witness: self.listening.witness.clone(),
            firewall: rules(bridge).await,
            guards,
            answering,
            hypervisor: diagnosis::hypervisor(),
        })
    }
}

/// What meets the bridge's frames, with the rules that drop: what cannot be read is no suspect.
async fn rules(bridge: &Link) -> Firewall {
    let mut firewall = firewall::read().await.unwrap_or_default();
    let through_ip = bridge.bridge.as_ref().is_some_and(|bridge| firewall.sees_frames_of(bridge));
    // A node that translates service addresses has thousands of rules there, which bridged frames never meet.
    firewall.hooks.retain(|hook| through_ip || !hook.devices.is_empty() || hook.family == "bridge");
    let _ = foreign::find_rules(&mut firewall.hooks);
    firewall
}

/// What of the uplinks may drop frames; nothing where the kernel does not say.
async fn guards(kernel: &Linux, uplinks: &[Uplink]) -> Vec<Guards> {
    let mut guards = Vec::new();
    for uplink in uplinks {
        guards.push(kernel.guards(&uplink.link).await.unwrap_or_default());
    }
    guards
}

async fn traffic(kernel: &Linux, uplinks: &[Uplink]) -> Result<Vec<Traffic>, Refusal> {
    let mut traffic = Vec::new();
    for uplink in uplinks {
        traffic.push(kernel.traffic(uplink.link.index).await?.unwrap_or_default());
    }
    Ok(traffic)
}
