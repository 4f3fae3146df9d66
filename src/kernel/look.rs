//! What is there: reads links, ports, VLANs, addresses and parameters, each as narrowly as the kernel allows.

use std::os::fd::AsRawFd;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::interface::{delete, get, read_link, request_link};
use super::linux::Linux;
use super::netlink::Refusal;
use super::{address, ports, route, sysctl, vlan};
use crate::net::{BridgeSeen, Known, Link, MacAddress, PortVlans, Uplink};
use crate::plan::names::{is_container_port, is_own_port};
use crate::plan::owner::{Owned, owned, resembles};
use crate::plan::spec::{Place, RouteSpec};

/// Of include/uapi/linux/if.h.
const IFNAMSIZ: usize = 16;
/// Of include/uapi/linux/if_link.h; rtnetlink knows it as a property only.
const IFLA_ALT_IFNAME: u16 = 53;

/// Interfaces below one uplink that are looked at.
const LOWER_MAX: usize = 8;

impl Linux {
    /// The bridge of that name, or what is there instead.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn bridge(&self, name: &str) -> Result<BridgeSeen, Refusal> {
        match self.link(name).await? {
            Some(link) => Ok(BridgeSeen::Present(Box::new(link))),
            None => {
                let present = self.bridges().await?.into_iter().map(|link| link.name).collect();
                Ok(BridgeSeen::Missing { present })
            }
        }
    }

    /// The interface of that name on the node, be it an alternative one.
    ///
    /// # Errors
    /// The kernel's refusal, except that there is none.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Refusal> {
        let selector = match name.len() {
            0..IFNAMSIZ => LinkAttribute::IfName(name.to_string()),
            _ => LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, [name.as_bytes(), &[0]].concat())),
        };
        get(&self.host, selector).await
    }

    /// This process's number for the container's namespace, which stands in the description of every veth whose peer is
    /// there; `None` where there is no such veth.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn container_netns_id(&self) -> Result<Option<i32>, Refusal> {
        let Some(netns) = &self.netns else { return Ok(None) };
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(netns.file().as_raw_fd().cast_unsigned()));
        let answers = self.host.request(RouteNetlinkMessage::GetNsId(message), 0).await?;
        let attributes = answers.into_iter().flat_map(|answer| match answer {
            RouteNetlinkMessage::NewNsId(message) => message.attributes,
            _ => Vec::new(),
        });
        let mut ids = attributes.filter_map(|attribute| match attribute {
            NsidAttribute::Id(id) if id >= 0 => Some(id),
            _ => None,
        });
        Ok(ids.next())
    }

    /// The interface of that name in the container.
    ///
    /// # Errors
    /// The kernel's refusal, except that there is none.
    pub async fn container_link(&mut self, name: &str) -> Result<Option<Link>, Refusal> {
        get(self.container()?, LinkAttribute::IfName(name.to_string())).await
    }

    /// Runs `work` with the calling thread in the container's namespace.
    ///
    /// # Errors
    /// What entering the namespace says.
    pub fn in_container<T>(&self, work: impl FnOnce() -> T) -> Result<T, Refusal> {
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        Ok(netns.enter(work)?)
    }

    /// The interface with that index in the container.
    ///
    /// # Errors
    /// The kernel's refusal, except that there is none.
    pub async fn container_link_by_index(&mut self, index: u32) -> Result<Option<Link>, Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        request_link(self.container()?, message).await
    }

    /// All interfaces of the node that are an attachment's, and those that only look like one's (`None`). Reads all links:
    /// for GC and `list` only.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn attachments(&self) -> Result<Vec<(Link, Option<Owned>)>, Refusal> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answers = self.host.dump(RouteNetlinkMessage::GetLink(message)).await?;
        let links = answers.iter().filter_map(read_link).map(|link| {
            let owned = owned(&link, None);
            (link, owned)
        });
        Ok(links.filter(|(link, owned)| owned.is_some() || resembles(link)).collect())
    }

    /// All bridges of the node.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn bridges(&self) -> Result<Vec<Link>, Refusal> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        let answers = self.host.dump(RouteNetlinkMessage::GetLink(message)).await?;
        Ok(answers.iter().filter_map(read_link).filter(|link| link.bridge.is_some()).collect())
    }

    /// The ports of the bridge that may lead off the node.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn uplinks(
        &self,
        bridge: &Link,
        sufficient: impl Fn(&Uplink) -> bool,
    ) -> Result<Vec<Uplink>, Refusal> {
        let filtering = bridge.bridge.as_ref().is_some_and(|bridge| bridge.vlan_filtering);
        let mut uplinks = Vec::new();
        ports::read(bridge.index, |link| {
            if !leads_off_the_node(&link) {
                return false;
            }
            let uplink = Uplink { link, vlans: None };
            let enough = !filtering && sufficient(&uplink);
            uplinks.push(uplink);
            enough
        })?;
        if filtering {
            for uplink in &mut uplinks {
                uplink.vlans = Some(vlan::read(uplink.link.index).await?);
                if sufficient(uplink) {
                    break;
                }
            }
        }
        Ok(uplinks)
    }

    /// The VLANs of a port.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn vlans(&self, port: &Link) -> Result<PortVlans, Refusal> {
        vlan::read(port.index).await
    }

    /// The port behind which the bridge knows the address.
    ///
    /// # Errors
    /// The kernel's refusal, except that the address is unknown.
    pub async fn learned_on(
        &self,
        bridge: &Link,
        mac: MacAddress,
        vlan: Option<u16>,
    ) -> Result<Option<Link>, Refusal> {
        let known = self.known(bridge, mac, vlan).await?;
        Ok(known.map(|known| known.link).filter(|link| link.index != bridge.index))
    }

    /// What the bridge's forwarding table has of the address, asked for by address: no dump.
    ///
    /// # Errors
    /// The kernel's refusal, except that the address is unknown.
    pub async fn known(
        &self,
        bridge: &Link,
        mac: MacAddress,
        vlan: Option<u16>,
    ) -> Result<Option<Known>, Refusal> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = bridge.index;
        message.header.flags = NeighbourFlags::Own;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
        message.attributes.extend(vlan.map(NeighbourAttribute::Vlan));
        let answers = match self.host.request(RouteNetlinkMessage::GetNeighbour(message), 0).await {
            Err(refusal) if refusal.errno == Errno::ENOENT => return Ok(None),
            answers => answers?,
        };
        let entry = answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(entry) => Some(&entry.header),
            _ => None,
        });
        let Some(entry) = entry else { return Ok(None) };
        let link = self.link_by_index(entry.ifindex).await?;
        // What `bridge fdb` shows as permanent is local to the bridge.
        Ok(link.map(|link| Known { link, own: entry.state == NeighbourState::Permanent }))
    }

    /// The interface with that index on the node.
    ///
    /// # Errors
    /// The kernel's refusal, except that there is none.
    pub async fn link_by_index(&self, index: u32) -> Result<Option<Link>, Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        request_link(&self.host, message).await
    }

    /// What lies below an uplink, where frames have the tags that the wire sees: a VLAN's device, the members of a bond.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn below(&self, uplink: &Link) -> Result<Vec<Link>, Refusal> {
        let mut lower = Vec::new();
        let mut at = uplink.clone();
        if let (Some("vlan"), Some(index)) = (at.kind.as_deref(), at.peer)
            && let Some(device) = self.link_by_index(index).await?
        {
            lower.push(device.clone());
            at = device;
        }
        if let Some("bond" | "team") = at.kind.as_deref() {
            ports::read(at.index, |member| {
                lower.push(member);
                lower.len() == LOWER_MAX
            })?;
        }
        Ok(lower)
    }

    /// Deletes the interface of that name in the container.
    ///
    /// # Errors
    /// The kernel's refusal, except that there is none.
    pub async fn delete_container_link(&mut self, name: &str) -> Result<(), Refusal> {
        delete(self.container()?, name).await
    }

    /// The addresses of the interface with that index, on the node.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNetwork>, Refusal> {
        address::read(&self.host, index).await
    }

    /// The addresses of the interface with that index, in the container.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn container_addresses(&mut self, index: u32) -> Result<Vec<IpNetwork>, Refusal> {
        address::read(self.container()?, index).await
    }

    /// Whether the container has the route over the interface with that index.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn container_has_route(&mut self, index: u32, spec: &RouteSpec) -> Result<bool, Refusal> {
        route::exists(self.container()?, index, spec).await
    }

    /// A kernel parameter; `None` where the kernel has no such one.
    ///
    /// # Errors
    /// Whatever reading it says.
    pub fn sysctl(&self, place: Place, key: &str) -> Result<Option<String>, Refusal> {
        Ok(self.at(place, || sysctl::read(key))??)
    }
}

/// Whether a bridge port is the host side of a container on this node: ours, or a veth that is named like one and whose
/// peer is in another namespace. One whose peer is on the node itself patches two bridges.
pub fn leads_to_a_container(port: &Link) -> bool {
    let veth = port.kind.as_deref() == Some("veth");
    let ours = (veth && is_own_port(&port.name)) || owned(port, None).is_some();
    ours || (veth && port.peer_netns.is_some() && is_container_port(&port.name))
}

/// Whether a bridge port may lead off the node: hardware, bonds, VLAN devices and the like, a VPN's tap, and a veth that
/// is no container's.
pub fn leads_off_the_node(port: &Link) -> bool {
    let ends_here = match port.kind.as_deref() {
        Some("dummy" | "ifb") => true,
        Some("tun") => port.virtio,
        _ => false,
    };
    !ends_here && !leads_to_a_container(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_leads_off_the_node_unless_kind_name_or_label_say_otherwise() {
        let port = |kind: Option<&str>, name: &str| Link { kind: kind.map(Into::into), ..Link::plain(name) };
        let elsewhere = |name| Link { peer_netns: Some(1), ..port(Some("veth"), name) };
        let labelled = |port| Link {
            alias: Some("bridge-dhcp network=n container=cid ifname=net1 chain=joined".into()),
            ..port
        };
        let chained = |port| Link { alternative: vec!["veth30bc48f5fb8".into()], ..labelled(port) };
        for (port, leads) in [
            (port(None, "ens192"), true),
            (port(Some("bond"), "bond0"), true),
            (port(Some("vlan"), "ens192.7"), true),
            (port(Some("veth"), "veth1"), true),
            (elsewhere("veth-lan"), true),
            (elsewhere("veth1"), false),
            (port(Some("veth"), "veth30bc48f5fb8"), false),
            (port(Some("veth"), "vethprobe00a1ff"), false),
            (chained(elsewhere("veth-lan")), false),
            (chained(port(Some("tun"), "tap0")), false),
            (labelled(elsewhere("veth-lan")), true),
            (labelled(port(None, "ens192")), true),
            (chained(port(None, "ens192")), true),
            (port(Some("tun"), "tap0"), true),
            (port(Some("dummy"), "dummy0"), false),
            (port(Some("ifb"), "ifb0"), false),
        ] {
            assert_eq!(leads_off_the_node(&port), leads, "{port:?}");
        }
    }
}
