//! A bridge that an attachment creates, and deletes again when nobody uses it.

use std::time::Duration;

use rtnetlink::packet_route::link::{InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use tokio::time::timeout;

use super::interface::{RTNLGRP_LINK, RouteEvents, create, delete, fresh, set_mtu};
use super::linux::Linux;
use super::lock::{Lock, bridge_lock};
use super::netlink::Refusal;
use super::ports;
use crate::net::MacAddress;
use crate::plan::names;
use crate::plan::spec::BridgeSpec;

/// How long a failed ADD that created the bridge waits for the kernel to remove the port of its probe.
const PROBE_ENDS: Duration = Duration::from_secs(1);
/// The smallest MTU of a bridge (include/uapi/linux/if_ether.h).
const ETH_MIN_MTU: u32 = 68;

impl Linux {
    /// All or nothing: a bridge whose MTU is refused does not stay.
    pub(super) async fn create_bridge(&self, spec: &BridgeSpec) -> Result<(), Refusal> {
        let mut message = fresh(&spec.name, spec.mac, spec.mtu.map(other_than));
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        if spec.vlan_filtering {
            info.push(LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])));
        }
        message.attributes.push(LinkAttribute::LinkInfo(info));
        create(&self.host, message).await?;
        let Some(mtu) = spec.mtu else { return Ok(()) };
        let fixed = set_mtu(&self.host, &spec.name, mtu).await;
        if fixed.is_err() {
            delete(&self.host, &spec.name).await?;
        }
        fixed
    }

    pub(super) async fn delete_unused_bridge(&self, name: &str, mac: MacAddress) -> Result<(), Refusal> {
        let _lock = Lock::acquire(&bridge_lock(name)).await?;
        let Some(bridge) = self.link(name).await? else { return Ok(()) };
        if bridge.mac != Some(mac) {
            return Ok(());
        }
        let mut changes = RouteEvents::open(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
        let probes_gone = async {
            while users(bridge.index)? == Some(User::Probe) {
                changes.next().await?;
            }
            Ok::<_, Refusal>(())
        };
        // The kernel removes the port of this ADD's own probe at any moment. A probe's port that is still there then belongs to another process.
        let _ = timeout(PROBE_ENDS, probes_gone).await;
        if users(bridge.index)?.is_some() { Ok(()) } else { delete(&self.host, name).await }
    }
}

/// An MTU that a bridge may be created with so that setting the wanted one is a change. Only a change counts as set by
/// somebody: otherwise the bridge takes its ports' MTU, and the default when the last of them goes (`br_change_mtu` and
/// `br_mtu_auto_adjust` in net/bridge).
fn other_than(wanted: u32) -> u32 {
    if wanted > ETH_MIN_MTU { wanted - 1 } else { wanted + 1 }
}

/// Who a bridge's port belongs to.
#[derive(PartialEq, Eq)]
enum User {
    Probe,
    Other,
}

/// Whose ports the bridge has: only those of probes, or others, too; `None` where it has no port.
fn users(bridge: u32) -> Result<Option<User>, Refusal> {
    let mut user = None;
    ports::read(bridge, |port| {
        let probe = names::is_probe_port(&port.name);
        user = Some(if probe { User::Probe } else { User::Other });
        !probe
    })?;
    Ok(user)
}
