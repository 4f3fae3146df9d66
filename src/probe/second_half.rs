//! What a probe looks at besides its own question, from the half of its time on.

use std::convert::Infallible;

use tokio::time::Instant;

use super::bridge_device::BridgeDevice;
use super::exchanges::Exchanges;
use super::facts::{Asked, Facts};
use super::faults::unseen;
use super::question::Question;
use crate::dhcp::drive::drive;
use crate::dhcp::exchange::Exchange;
use crate::error::Error;
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::kernel::{diagnosis, firewall};
use crate::net::{Link, Traffic, Uplink};
use crate::plan::native_vlan;

/// What is done beside the question from the half of the time on, and what was seen then.
#[derive(Default)]
pub(super) struct SecondHalf {
    uplinks: Vec<Uplink>,
    before: Vec<Traffic>,
    bridge_device: Option<BridgeDevice>,
}

impl SecondHalf {
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
        self.before = traffic(kernel, &self.uplinks).await.unwrap_or_default();
        if let BridgeDevice::Open(socket) =
            self.bridge_device.insert(BridgeDevice::open(question, bridge).await)
        {
            // The bridge that goes down meanwhile is silent, which is what is asked.
            let _ = drive(exchanges, socket).await;
        }
        std::future::pending().await
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
