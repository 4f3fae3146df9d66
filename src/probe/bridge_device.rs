//! The second place to ask from: the bridge device itself, whose frames pass no bridge port's firewall hooks.

use super::question::Question;
use crate::dhcp::socket::{AsyncPacketSocket, PacketSocket};
use crate::kernel::vlan;
use crate::net::Link;
use crate::plan::native_vlan;

/// The bridge device as a place to ask from.
#[derive(Debug)]
pub enum BridgeDevice {
    /// It can't be asked from there; says why.
    Unasked(String),
    /// A socket on it.
    Open(AsyncPacketSocket),
}

impl BridgeDevice {
    /// Opens it, if untagged frames of the bridge device are in the question's VLAN.
    pub async fn open(question: &Question, bridge: &Link) -> Self {
        match outside(question, bridge).await {
            Some(why) => Self::Unasked(why),
            None => match PacketSocket::open(bridge.index).and_then(PacketSocket::into_async) {
                Ok(socket) => Self::Open(socket),
                Err(error) => Self::Unasked(error.to_string()),
            },
        }
    }
}

/// Why the bridge device is not in the question's VLAN; `None` where it is.
async fn outside(question: &Question, bridge: &Link) -> Option<String> {
    let Some(wanted) = native_vlan(question.vlans.as_ref(), bridge) else {
        let filters = bridge.bridge.as_ref().is_some_and(|bridge| bridge.vlan_filtering);
        return filters.then(|| format!("{} has no default VLAN to ask in", bridge.name));
    };
    match vlan::read(bridge.index).await {
        Ok(own) if own.pvid == Some(wanted) => None,
        Ok(_) => Some(format!("{} itself is not in VLAN {wanted}", bridge.name)),
        Err(refusal) => Some(format!("its VLANs cannot be read: {refusal}")),
    }
}
