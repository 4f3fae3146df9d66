//! Finds the interface that the previous plugin of a chain made.

use super::faults;
use crate::cni::request::Add;
use crate::cni::result::{CniResult, Interface};
use crate::error::Error;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::net::{InterfaceName, Link};
use crate::plan::chained::Chain;
use crate::plan::names::host_interface;
use crate::plan::owner;

/// The host side that goes with CNI_IFNAME: a veth whose peer it is, or else the only veth or tap on the node that
/// the previous result names.
///
/// # Errors
/// Code 7 where there is no single one.
pub(super) async fn find(
    kernel: &mut Linux,
    add: &Add,
    previous: &CniResult,
    bridge: &Link,
) -> Result<Chain, Error> {
    let unreadable = |refusal| unseen("the previous plugin's interface", &refusal);
    let mut candidates = Vec::new();
    let on_the_node = |interface: &&Interface| {
        interface.sandbox.is_none() && InterfaceName::parse(&interface.name).is_some()
    };
    for interface in previous.interfaces.iter().filter(on_the_node) {
        let link = kernel.link(&interface.name).await.map_err(unreadable)?;
        candidates.extend(link.filter(|link| matches!(link.kind.as_deref(), Some("veth" | "tun"))));
    }
    let inside = kernel.container_link(add.attachment.ifname.as_str()).await.map_err(unreadable)?;
    let pairs = |port: &&Link| {
        inside
            .as_ref()
            .is_some_and(|inside| inside.peer == Some(port.index) && port.peer == Some(inside.index))
    };
    let port = match (candidates.iter().find(pairs), candidates.as_slice()) {
        (Some(port), _) | (None, [port]) => port.clone(),
        _ => {
            let names: Vec<String> = candidates.into_iter().map(|link| link.name).collect();
            return Err(faults::no_host_side(&names));
        }
    };
    if let Some(why) = foreign(kernel, &port, add, bridge).await.map_err(unreadable)? {
        return Err(faults::anothers_port(&port.name, why));
    }
    let filtering = bridge.bridge.as_ref().is_some_and(|bridge| bridge.vlan_filtering);
    let vlans = match port.master == Some(bridge.index) && filtering {
        true => Some(kernel.vlans(&port).await.map_err(unreadable)?),
        false => None,
    };
    let inside_up = inside.as_ref().is_some_and(|inside| inside.up);
    Ok(Chain { port, vlans, mac: inside.and_then(|inside| inside.mac), inside_up })
}

/// Why the interface is not this container's, if it is not: the result that names it may be the network config's own word.
async fn foreign(
    kernel: &mut Linux,
    port: &Link,
    add: &Add,
    bridge: &Link,
) -> Result<Option<&'static str>, Refusal> {
    if owner::is_anothers(port, &host_interface(&add.attachment)) {
        return Ok(Some("belongs to another attachment"));
    }
    if port.kind.as_deref() == Some("tun") {
        // Nothing in the container goes with a tap: whoever made it a port has a use for it.
        let taken = port.master == Some(bridge.index);
        return Ok(taken.then_some("is a tap that somebody has made a port already"));
    }
    let inside = port.peer_netns.is_some() && port.peer_netns == kernel.container_netns_id().await?;
    Ok((!inside).then_some("has no peer in this container"))
}
