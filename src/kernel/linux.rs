//! The running kernel: carries out the steps over netlink, and looks at what is there.

use futures_util::StreamExt;
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use rtnetlink::packet_route::address::AddressFlags;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, Prop,
};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use std::os::fd::AsRawFd;

use super::lock::Lock;
use super::netlink::{Client, Refusal};
use super::netns::Netns;
use super::{Kernel, address, link, nft, ports, route, sysctl, vlan};
use crate::plan::facts::{BridgeSeen, Link, PortState, PortVlans, Uplink};
use crate::plan::names::{Label, is_container_port};
use crate::plan::step::{
    BridgeSpec, EnslaveSpec, Place, PortSpec, RouteSpec, Step, Undo, VethSpec, VlanGatewaySpec, VlanSpec,
};
use crate::request::mac::MacAddress;

/// RTNLGRP_LINK (include/uapi/linux/rtnetlink.h).
pub(super) const RTNLGRP_LINK: u32 = 1;

pub(super) type Route = Client<RouteNetlinkMessage>;

/// The node's kernel, and the container's namespace where there is one.
pub struct Linux {
    pub(super) host: Route,
    pub(super) netns: Option<Netns>,
    container: Option<Route>,
}

impl Linux {
    /// Opens the node's side. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The refusal of the socket.
    pub fn open(netns: Option<Netns>) -> Result<Self, Refusal> {
        Ok(Self { host: Route::open(NETLINK_ROUTE)?, netns, container: None })
    }

    /// The bridge of that name, or what is there instead.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn bridge(&self, name: &str) -> Result<BridgeSeen, Refusal> {
        match self.link(name).await? {
            Some(link) => Ok(BridgeSeen::Present(Box::new(link))),
            None => Ok(BridgeSeen::Missing { present: self.bridges().await? }),
        }
    }

    /// The interface of that name on the node.
    ///
    /// # Errors
    /// The kernel's refusal, except that there is none.
    pub async fn link(&self, name: &str) -> Result<Option<Link>, Refusal> {
        get(&self.host, LinkAttribute::IfName(name.to_string())).await
    }

    /// The interface of that name in the container.
    ///
    /// # Errors
    /// The kernel's refusal, except that there is none.
    pub async fn container_link(&mut self, name: &str) -> Result<Option<Link>, Refusal> {
        get(self.container()?, LinkAttribute::IfName(name.to_string())).await
    }

    /// Runs `work` in a thread that is in the container's namespace.
    ///
    /// # Errors
    /// What entering the namespace says.
    pub fn in_container<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Refusal> {
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

    /// All interfaces of the node that carry one of our labels. Reads all links: for GC and `list` only.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn labelled(&self) -> Result<Vec<(Link, Label)>, Refusal> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let answers = self.host.dump(RouteNetlinkMessage::GetLink(message)).await?;
        let links = answers.iter().filter_map(read_link);
        Ok(links
            .filter_map(|link| Some((Label::from_alias(link.alias.as_deref()?)?, link)))
            .map(|(l, k)| (k, l))
            .collect())
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

    /// The port on which the bridge has learned the address, asked for by address: no dump.
    ///
    /// # Errors
    /// The kernel's refusal, except that the address is unknown.
    pub async fn learned_on(
        &self,
        bridge: &Link,
        mac: MacAddress,
        vlan: Option<u16>,
    ) -> Result<Option<Link>, Refusal> {
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
        let index = answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(entry) => Some(entry.header.ifindex),
            _ => None,
        });
        match index {
            Some(index) if index != bridge.index => self.link_by_index(index).await,
            _ => Ok(None),
        }
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

    async fn bridges(&self) -> Result<Vec<String>, Refusal> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
            LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
        ];
        let answers = self.host.request(RouteNetlinkMessage::GetLink(message), NLM_F_DUMP).await?;
        Ok(answers
            .iter()
            .filter_map(read_link)
            .filter(|link| link.bridge.is_some())
            .map(|link| link.name)
            .collect())
    }

    fn container(&mut self) -> Result<&Route, Refusal> {
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        match &mut self.container {
            Some(client) => Ok(client),
            empty => Ok(empty.insert(netns.enter(|| Route::open(NETLINK_ROUTE))??)),
        }
    }

    async fn create_bridge(&self, spec: &BridgeSpec) -> Result<(), Refusal> {
        let mut message = named(&spec.name);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Address(spec.mac.octets().to_vec()));
        message.attributes.extend(spec.mtu.map(LinkAttribute::Mtu));
        let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        if spec.vlan_filtering {
            info.push(LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])));
        }
        message.attributes.push(LinkAttribute::LinkInfo(info));
        create(&self.host, message).await
    }

    async fn add_veth(&self, spec: &VethSpec) -> Result<(), Refusal> {
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        let bridge = self.link(&spec.bridge).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        let mut peer = named(&spec.ifname);
        peer.attributes.push(LinkAttribute::Address(spec.mac.octets().to_vec()));
        peer.attributes.extend(spec.mtu.map(LinkAttribute::Mtu));
        peer.attributes.push(LinkAttribute::NetNsFd(netns.file().as_raw_fd()));
        let mut message = named(&spec.host);
        message.attributes.push(LinkAttribute::Address(spec.host_mac.octets().to_vec()));
        message.attributes.extend(spec.host_mtu.map(LinkAttribute::Mtu));
        message.attributes.push(LinkAttribute::Controller(bridge.index));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        create(&self.host, message).await
    }

    async fn configure_port(&self, spec: &PortSpec) -> Result<(), Refusal> {
        self.mark_port(&spec.port, &spec.alias, Some((spec.hairpin, spec.isolated))).await?;
        silence(&self.host, &spec.port).await
    }

    async fn enslave(&self, spec: &EnslaveSpec) -> Result<(), Refusal> {
        let bridge = self.link(&spec.bridge).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        let mut message = named(&spec.port);
        message.header.change_mask = LinkFlags::Up;
        message.attributes.extend(spec.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(spec.mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
        self.host.request(RouteNetlinkMessage::SetLink(message), 0).await?;
        let mut message = named(&spec.port);
        message.attributes.push(LinkAttribute::Controller(bridge.index));
        self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
    }

    /// Takes an interface off its bridge, then gives it back what it had.
    async fn release(&self, before: &Link) -> Result<(), Refusal> {
        let mut message = named(&before.name);
        message.attributes.push(LinkAttribute::Controller(0));
        gone_is_done(self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop))?;
        let mut message = named(&before.name);
        message.header.flags = if before.up { LinkFlags::Up } else { LinkFlags::empty() };
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::Mtu(before.mtu));
        message.attributes.extend(before.mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
        gone_is_done(self.host.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop))
    }

    async fn add_alternative_name(&self, port: &str, name: &str) -> Result<(), Refusal> {
        let message = alternative_name(port, name);
        self.host
            .request(RouteNetlinkMessage::NewLinkProp(message), NLM_F_CREATE | NLM_F_EXCL)
            .await
            .map(drop)
    }

    async fn remove_alternative_name(&self, port: &str, name: &str) -> Result<(), Refusal> {
        let removed =
            self.host.request(RouteNetlinkMessage::DelLinkProp(alternative_name(port, name)), 0).await;
        match removed {
            Err(refusal) if matches!(refusal.errno, Errno::ENOENT | Errno::ENODEV) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    async fn mark_port(&self, port: &str, alias: &str, flags: Option<(bool, bool)>) -> Result<(), Refusal> {
        let mut message = named(port);
        message.attributes.push(LinkAttribute::IfAlias(alias.to_string()));
        message.attributes.extend(flags.map(|(hairpin, isolated)| port_flags(hairpin, isolated)));
        self.host.request(RouteNetlinkMessage::NewLink(message), 0).await.map(drop)
    }

    async fn restore_vlans(&self, port: &str, before: &PortVlans) -> Result<(), Refusal> {
        let Some(link) = self.link(port).await? else { return Ok(()) };
        let now = vlan::read(link.index).await?;
        self.send_all(vlan::restore(link.index, &now, before)).await
    }

    async fn send_all(&self, messages: Vec<RouteNetlinkMessage>) -> Result<(), Refusal> {
        for message in messages {
            self.host.request(message, 0).await?;
        }
        Ok(())
    }

    async fn replace_vlans(&self, spec: &VlanSpec, before: &PortVlans) -> Result<(), Refusal> {
        let port = self.link(&spec.port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        self.send_all(vlan::replace(port.index, spec, before)).await
    }

    async fn set_vlans(&self, spec: &VlanSpec) -> Result<(), Refusal> {
        let port = self.link(&spec.port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        self.send_all(vlan::change(port.index, spec)).await
    }

    async fn raise_port(&self, port: &str, await_forwarding: bool) -> Result<(), Refusal> {
        if !await_forwarding {
            return set_flag(&self.host, port, LinkFlags::Up, true).await;
        }
        let (_client, mut changes) = Route::listen(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
        // Not on the listening socket: changes of many links at a time overrun it, and the answer would be lost with them.
        set_flag(&self.host, port, LinkFlags::Up, true).await?;
        loop {
            let link = self.link(port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
            if link.port.is_some_and(|port| port.state == PortState::Forwarding) {
                return Ok(());
            }
            loop {
                match changes.next().await {
                    Some(Some(RouteNetlinkMessage::NewLink(change))) if change.header.index != link.index => {
                    }
                    Some(_) => break,
                    None => return Err(Refusal::plain(Errno::EIO)),
                }
            }
        }
    }

    async fn add_addresses(&mut self, ifname: &str, addresses: &[IpNetwork]) -> Result<(), Refusal> {
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        netns.enter(|| address::add_settled(index, addresses.to_vec()))??.await
    }

    async fn add_route(&mut self, ifname: &str, spec: &RouteSpec) -> Result<(), Refusal> {
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        route::add(self.container()?, index, spec).await
    }

    /// The gateway address works at once: nobody else may have it.
    async fn add_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        let index = self.link(link).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        address::add(&self.host, index, address, AddressFlags::Nodad).await
    }

    async fn remove_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        match self.link(link).await? {
            Some(link) => address::remove(&self.host, link.index, address).await,
            None => Ok(()),
        }
    }

    async fn restore_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        match self.add_gateway(link, address).await {
            Err(refusal) if refusal.errno == Errno::EEXIST => Ok(()),
            outcome => outcome,
        }
    }

    async fn add_vlan_gateway(&self, spec: &VlanGatewaySpec) -> Result<(), Refusal> {
        let bridge = self.link(&spec.bridge).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        let mut peer = named(&spec.name);
        peer.attributes.push(LinkAttribute::Address(spec.mac.octets().to_vec()));
        peer.attributes.push(LinkAttribute::Mtu(spec.mtu));
        let mut message = named(&spec.vlans.port);
        message.attributes.push(LinkAttribute::Address(spec.port_mac.octets().to_vec()));
        message.attributes.push(LinkAttribute::Mtu(spec.mtu));
        message.attributes.push(LinkAttribute::Controller(bridge.index));
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        create(&self.host, message).await?;
        silence(&self.host, &spec.vlans.port).await?;
        self.set_vlans(&spec.vlans).await?;
        set_flag(&self.host, &spec.name, LinkFlags::Up, true).await?;
        self.raise_port(&spec.vlans.port, false).await
    }

    async fn set_mac(client: &Route, name: &str, mac: MacAddress) -> Result<(), Refusal> {
        let mut message = named(name);
        message.attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
        client.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
    }

    fn set_sysctl(&self, place: Place, key: &str, value: &str) -> Result<(), Refusal> {
        Ok(self.at(place, || sysctl::write(key, value))??)
    }

    /// Runs `work` in the network namespace that is meant.
    fn at<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> Result<T, Refusal> {
        match place {
            Place::Node => Ok(work()),
            Place::Container => {
                let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
                Ok(netns.enter(work)?)
            }
        }
    }

    async fn delete_unused_bridge(&self, name: &str) -> Result<(), Refusal> {
        let _lock = Lock::acquire(&bridge_lock(name)).await?;
        let Some(bridge) = self.link(name).await? else { return Ok(()) };
        let mut used = false;
        ports::read(bridge.index, |_| {
            used = true;
            true
        })?;
        if used { Ok(()) } else { delete(&self.host, name).await }
    }

    /// Deletes a veth pair by its host side, if it is ours: labelled, or not yet labelled by an ADD that was killed.
    async fn delete_veth(&self, name: &str) -> Result<(), Refusal> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        let label = link.alias.as_deref().map(Label::from_alias);
        let ours = label.is_none_or(|label| label.is_some_and(|label| label.chain.is_none()));
        if link.kind.as_deref() != Some("veth") || !ours {
            return Ok(());
        }
        delete(&self.host, name).await
    }
}

impl Kernel for Linux {
    async fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::CreateBridge(spec) => self.create_bridge(spec).await,
            Step::AddVeth(spec) => self.add_veth(spec).await,
            Step::ConfigurePort(spec) => self.configure_port(spec).await,
            Step::SetVlans(spec) => self.set_vlans(spec).await,
            Step::ReplaceVlans { spec, before } => self.replace_vlans(spec, before).await,
            Step::Enslave(spec) => self.enslave(spec).await,
            Step::AddAlternativeName { port, name } => self.add_alternative_name(port, name).await,
            Step::MarkPort { spec, .. } => {
                self.mark_port(&spec.port, &spec.alias, Some((spec.hairpin, spec.isolated))).await
            }
            Step::SetPromiscuous { bridge } => set_flag(&self.host, bridge, LinkFlags::Promisc, true).await,
            Step::SilenceContainer { ifname } => silence(self.container()?, ifname).await,
            Step::RaiseContainer { ifname } => set_flag(self.container()?, ifname, LinkFlags::Up, true).await,
            Step::RaisePort { port, await_forwarding } => self.raise_port(port, *await_forwarding).await,
            Step::Protect { port, mac } => nft::guard::protect(port, *mac),
            Step::SetSysctl(spec) => self.set_sysctl(spec.place, &spec.key, &spec.value),
            Step::AddAddresses { ifname, addresses } => self.add_addresses(ifname, addresses).await,
            Step::AddRoute { ifname, route } => self.add_route(ifname, route).await,
            // With arp_notify set, the kernel announces its addresses when the MAC is set, also to what it is.
            Step::Announce { ifname, mac } => Self::set_mac(self.container()?, ifname, *mac).await,
            Step::AddVlanGateway(spec) => self.add_vlan_gateway(spec).await,
            Step::AddGateway { link, address } => self.add_gateway(link, *address).await,
            Step::RemoveGateway { link, address } => self.remove_gateway(link, *address).await,
            Step::PinMac { bridge, mac } => Self::set_mac(&self.host, bridge, *mac).await,
            Step::Masquerade { port, addresses } => nft::masquerade::install(port, addresses),
        }
    }

    async fn revert(&mut self, undo: &Undo) -> Result<(), Refusal> {
        match undo {
            Undo::DeleteBridge(name) => self.delete_unused_bridge(name).await,
            Undo::DeleteVeth(name) => self.delete_veth(name).await,
            Undo::Release(before) => self.release(before).await,
            Undo::RemoveAlternativeName { port, name } => self.remove_alternative_name(port, name).await,
            Undo::UnmarkPort(before) => {
                let flags = before.port.map(|port| (port.hairpin, port.isolated));
                gone_is_done(self.mark_port(&before.name, before.alias.as_deref().unwrap_or(""), flags).await)
            }
            Undo::RestoreVlans { port, vlans } => self.restore_vlans(port, vlans).await,
            Undo::Unprotect(port) => nft::guard::unprotect(port),
            Undo::RestoreSysctl { place, key, value } => self.set_sysctl(*place, key, value),
            Undo::RemoveGateway { link, address } => self.remove_gateway(link, *address).await,
            Undo::RestoreGateway { link, address } => self.restore_gateway(link, *address).await,
            Undo::RemoveMasquerade(port) => nft::masquerade::remove(port),
            Undo::ClearPromiscuous(name) => {
                gone_is_done(set_flag(&self.host, name, LinkFlags::Promisc, false).await)
            }
        }
    }
}

/// The lock under which a bridge is created, joined by those who would create it, and deleted again.
pub fn bridge_lock(name: &str) -> String {
    format!("bridge/{name}")
}

/// Whether a bridge port may lead off the node: hardware, bonds, VLAN devices and the like; a veth only when it is not
/// named as the host side of a container.
pub fn leads_off_the_node(port: &Link) -> bool {
    match port.kind.as_deref() {
        Some("tun" | "dummy" | "ifb") => false,
        Some("veth") => {
            !is_container_port(&port.name) && port.alias.as_deref().and_then(Label::from_alias).is_none()
        }
        _ => true,
    }
}

/// Random addresses for what needs one.
///
/// # Errors
/// Whatever `getrandom(2)` says.
pub fn random_mac_bytes() -> Result<[u8; 6], Refusal> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::plain(Errno::EIO))?;
    Ok(bytes)
}

/// Fresh addresses of both ends of a pair and of a bridge.
///
/// # Errors
/// Whatever `getrandom(2)` says.
pub fn fresh_macs() -> Result<crate::plan::FreshMacs, Refusal> {
    Ok(crate::plan::FreshMacs {
        container: MacAddress::local(random_mac_bytes()?),
        host: MacAddress::host_side(random_mac_bytes()?),
        bridge: MacAddress::local(random_mac_bytes()?),
    })
}

fn port_flags(hairpin: bool, isolated: bool) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![
            InfoBridgePort::HairpinMode(hairpin),
            InfoBridgePort::Isolated(isolated),
        ])),
    ])
}

fn alternative_name(port: &str, name: &str) -> LinkMessage {
    let mut message = named(port);
    message.attributes.push(LinkAttribute::PropList(vec![Prop::AltIfName(name.to_string())]));
    message
}

pub(super) fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_string()));
    message
}

fn read_link(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => Some(link::read(message)),
        _ => None,
    }
}

async fn get(client: &Route, selector: LinkAttribute) -> Result<Option<Link>, Refusal> {
    let mut message = LinkMessage::default();
    message.attributes.push(selector);
    request_link(client, message).await
}

async fn request_link(client: &Route, mut message: LinkMessage) -> Result<Option<Link>, Refusal> {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match client.request(RouteNetlinkMessage::GetLink(message), 0).await {
        Ok(answers) => match answers.iter().find_map(read_link) {
            Some(link) => Ok(Some(link)),
            None => Err(Refusal {
                errno: Errno::EIO,
                text: Some("the kernel's description of a link is unreadable".into()),
            }),
        },
        Err(refusal) if refusal.errno == Errno::ENODEV => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

async fn create(client: &Route, message: LinkMessage) -> Result<(), Refusal> {
    client.request(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await.map(drop)
}

async fn delete(client: &Route, name: &str) -> Result<(), Refusal> {
    gone_is_done(client.request(RouteNetlinkMessage::DelLink(named(name)), 0).await.map(drop))
}

fn gone_is_done(outcome: Result<(), Refusal>) -> Result<(), Refusal> {
    match outcome {
        Err(refusal) if refusal.errno == Errno::ENODEV => Ok(()),
        outcome => outcome,
    }
}

async fn set_flag(client: &Route, name: &str, flag: LinkFlags, on: bool) -> Result<(), Refusal> {
    let mut message = named(name);
    message.header.flags = if on { flag } else { LinkFlags::empty() };
    message.header.change_mask = flag;
    client.request(RouteNetlinkMessage::SetLink(message), 0).await.map(drop)
}

/// Keeps the kernel from giving the interface an IPv6 address, and so from sending frames of its own. A kernel
/// without IPv6 sends none anyway (EAFNOSUPPORT).
async fn silence(client: &Route, name: &str) -> Result<(), Refusal> {
    let mut message = named(name);
    let silent = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![silent])]));
    match client.request(RouteNetlinkMessage::SetLink(message), 0).await {
        Err(refusal) if refusal.errno == Errno::EAFNOSUPPORT => Ok(()),
        outcome => outcome.map(drop),
    }
}
