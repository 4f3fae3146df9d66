//! Finds the interface that the previous plugin of a chain made.

use super::faults;
use crate::cni::request::Add;
use crate::cni::result::{CniResult, Interface};
use crate::error::Error;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::{InterfaceName, Link};
use crate::plan::chained::Chain;

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
        (Some(port), _) => port.clone(),
        (None, [port]) => port.clone(),
        _ => {
            let names: Vec<String> = candidates.into_iter().map(|link| link.name).collect();
            return Err(faults::no_host_side(&names));
        }
    };
    let filtering = bridge.bridge.as_ref().is_some_and(|bridge| bridge.vlan_filtering);
    let vlans = match port.master == Some(bridge.index) && filtering {
        true => Some(kernel.vlans(&port).await.map_err(unreadable)?),
        false => None,
    };
    let inside_up = inside.as_ref().is_some_and(|inside| inside.up);
    Ok(Chain { port, vlans, mac: inside.and_then(|inside| inside.mac), inside_up })
}
