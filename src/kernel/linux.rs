//! The running kernel: carries out the steps over netlink.

use std::os::fd::AsRawFd;
use std::time::Duration;

use futures_util::StreamExt;
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoBridge, InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use tokio::time::timeout;

use super::gateway::Taken;
use super::interface::{
    Route, alternative_name, create, create_pair, delete, fresh, gone_is_done, named, port_flags, set_flag,
    set_mac, silence,
};
use super::lock::Lock;
use super::netlink::Refusal;
use super::netns::Netns;
use super::{Kernel, address, nft, ports, probe_port, route, sysctl, vlan};
use crate::plan::facts::{Link, PortState, PortVlans};
use crate::plan::names::Label;
use crate::plan::step::{
    BridgeSpec, EnslaveSpec, Place, PortSpec, RouteSpec, Step, Undo, VethSpec, VlanSpec,
};
use crate::request::mac::MacAddress;

/// RTNLGRP_LINK (include/uapi/linux/rtnetlink.h).
pub(super) const RTNLGRP_LINK: u32 = 1;

/// How long a failed ADD that created the bridge waits for the kernel to remove the port of its probe.
const PROBE_ENDS: Duration = Duration::from_secs(1);

/// The node's kernel, and the container's namespace where there is one.
pub struct Linux {
    pub(super) host: Route,
    pub(super) netns: Option<Netns>,
    container: Option<Route>,
    pub(super) taken: Taken,
}

impl Linux {
    /// Opens the node's side. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The refusal of the socket.
    pub fn open(netns: Option<Netns>) -> Result<Self, Refusal> {
        Ok(Self { host: Route::open(NETLINK_ROUTE)?, netns, container: None, taken: Taken::default() })
    }

    pub(super) fn container(&mut self) -> Result<&Route, Refusal> {
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        match &mut self.container {
            Some(client) => Ok(client),
            empty => Ok(empty.insert(netns.enter(|| Route::open(NETLINK_ROUTE))??)),
        }
    }

    async fn create_bridge(&self, spec: &BridgeSpec) -> Result<(), Refusal> {
        let mut message = fresh(&spec.name, spec.mac, spec.mtu);
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
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
        let mut peer = fresh(&spec.ifname, spec.mac, spec.mtu);
        peer.attributes.push(LinkAttribute::NetNsFd(netns.file().as_raw_fd()));
        let port = fresh(&spec.host, spec.host_mac, spec.host_mtu);
        create_pair(&self.host, port, bridge.index, peer).await
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

    pub(super) async fn set_vlans(&self, spec: &VlanSpec) -> Result<(), Refusal> {
        let port = self.link(&spec.port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        self.send_all(vlan::change(port.index, spec)).await
    }

    pub(super) async fn raise_port(&self, port: &str, await_forwarding: bool) -> Result<(), Refusal> {
        if !await_forwarding {
            return set_flag(&self.host, port, LinkFlags::Up, true).await;
        }
        let (_client, mut changes) = Route::listen(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
        // Not on the listening socket: changes of many links at a time overrun it, and the answer would be lost with them.
        set_flag(&self.host, port, LinkFlags::Up, true).await?;
        loop {
            let link = self.link(port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
            match link.port {
                Some(port) if port.state == PortState::Forwarding => return Ok(()),
                Some(_) => {}
                None => {
                    let text = Some("it is no port of a bridge any more".into());
                    return Err(Refusal { errno: Errno::ENODEV, text });
                }
            }
            loop {
                match changes.next().await {
                    Some(Some(RouteNetlinkMessage::NewLink(change))) if change.header.index != link.index => {
                    }
                    Some(_) => break,
                    None => return Err(Refusal::unanswered()),
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

    fn set_sysctl(&self, place: Place, key: &str, value: &str) -> Result<(), Refusal> {
        Ok(self.at(place, || sysctl::write(key, value))??)
    }

    /// Runs `work` in the network namespace that is meant.
    pub(super) fn at<T: Send>(&self, place: Place, work: impl FnOnce() -> T + Send) -> Result<T, Refusal> {
        match place {
            Place::Node => Ok(work()),
            Place::Container => {
                let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
                Ok(netns.enter(work)?)
            }
        }
    }

    async fn delete_unused_bridge(&self, name: &str, mac: MacAddress) -> Result<(), Refusal> {
        let _lock = Lock::acquire(&bridge_lock(name)).await?;
        let Some(bridge) = self.link(name).await? else { return Ok(()) };
        if bridge.mac != Some(mac) {
            return Ok(());
        }
        let (_client, mut changes) = Route::listen(NETLINK_ROUTE, &[RTNLGRP_LINK])?;
        let probes_gone = async {
            while users(bridge.index)? == Some(User::Probe) {
                changes.next().await.ok_or(Refusal::unanswered())?;
            }
            Ok::<_, Refusal>(())
        };
        // The port of this ADD's own probe goes by the kernel's hand at any moment; who still asks then is somebody else.
        let _ = timeout(PROBE_ENDS, probes_gone).await;
        if users(bridge.index)?.is_some() { Ok(()) } else { delete(&self.host, name).await }
    }

    /// Deletes a veth pair by its host side, if it is ours: labelled, or not yet labelled by an ADD that was killed.
    async fn delete_veth(&self, name: &str, mac: Option<MacAddress>) -> Result<(), Refusal> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        if mac.is_some() && link.mac != mac {
            return Ok(());
        }
        let label = link.alias.as_deref().map(Label::from_alias);
        let ours = label.is_none_or(|label| label.is_some_and(|label| label.chain.is_none()));
        if link.kind.as_deref() != Some("veth") || !ours {
            return Ok(());
        }
        delete(&self.host, name).await
    }
}

impl Kernel for Linux {
    fn reconnect(&mut self) {
        // Where none can be had, the old one may still do.
        if let Ok(host) = Route::open(NETLINK_ROUTE) {
            self.host = host;
        }
        self.container = None;
    }

    async fn apply(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::CreateBridge(spec) => self.create_bridge(spec).await,
            Step::AddVeth(spec) => self.add_veth(spec).await,
            Step::ConfigurePort(spec) => self.configure_port(spec).await,
            Step::SetVlans(spec) => self.set_vlans(spec).await,
            Step::ReplaceVlans { spec, before } => self.replace_vlans(spec, before).await,
            Step::Enslave(spec) => self.enslave(spec).await,
            Step::AddAlternativeName { port, name } => self.add_alternative_name(port, name).await,
            Step::Label { port, alias, .. } => self.mark_port(port, alias, None).await,
            Step::MarkPort { spec, .. } => {
                self.mark_port(&spec.port, &spec.alias, Some((spec.hairpin, spec.isolated))).await
            }
            Step::SetPromiscuous { bridge } => set_flag(&self.host, bridge, LinkFlags::Promisc, true).await,
            Step::SilenceContainer { ifname } => silence(self.container()?, ifname).await,
            Step::RaiseContainer { ifname } => set_flag(self.container()?, ifname, LinkFlags::Up, true).await,
            Step::RaisePort { port, await_forwarding } => self.raise_port(port, *await_forwarding).await,
            Step::Protect { port, owner, mac } => nft::guard::protect_for(port, owner, *mac),
            Step::SetSysctl(spec) => self.set_sysctl(spec.place, &spec.key, &spec.value),
            Step::AddAddresses { ifname, addresses } => self.add_addresses(ifname, addresses).await,
            Step::AddRoute { ifname, route } => self.add_route(ifname, route).await,
            // With arp_notify and ndisc_notify set, the kernel announces its addresses when the MAC is set, also to what it is.
            Step::Announce { ifname, mac } => set_mac(self.container()?, ifname, *mac).await,
            Step::AddVlanGateway(spec) => self.add_vlan_gateway(spec).await,
            Step::AddGateway { link, address } => self.add_gateway(link, *address).await,
            Step::RemoveGateway { link, address } => self.take_gateway(link, *address).await,
            Step::PinMac { bridge, mac } => set_mac(&self.host, bridge, *mac).await,
            Step::Masquerade { port, addresses } => nft::masquerade::install(port, addresses),
        }
    }

    async fn revert(&mut self, undo: &Undo) -> Result<(), Refusal> {
        match undo {
            Undo::DeleteBridge { name, mac } => self.delete_unused_bridge(name, *mac).await,
            Undo::DeleteVeth { name, mac } => self.delete_veth(name, *mac).await,
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
            Undo::RestoreGateway { .. } => self.restore_gateways().await,
            Undo::RemoveMasquerade(port) => nft::masquerade::remove(port),
            Undo::ClearPromiscuous(name) => {
                gone_is_done(set_flag(&self.host, name, LinkFlags::Promisc, false).await)
            }
        }
    }
}

/// Who a bridge's port belongs to.
#[derive(PartialEq, Eq)]
enum User {
    Probe,
    Other,
}

/// Whose ports are on the bridge: somebody's, or none but those of probes; `None` where it has no port.
fn users(bridge: u32) -> Result<Option<User>, Refusal> {
    let mut user = None;
    ports::read(bridge, |port| {
        let probe = port.alias.as_deref() == Some(probe_port::ALIAS);
        user = Some(if probe { User::Probe } else { User::Other });
        !probe
    })?;
    Ok(user)
}

/// The lock under which a bridge is created, joined by those who would create it, and deleted again.
pub fn bridge_lock(name: &str) -> String {
    format!("bridge/{name}")
}

/// Bytes of entropy, for addresses, names and transaction numbers.
///
/// # Errors
/// Whatever `getrandom(2)` says.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::plain(Errno::EIO))?;
    Ok(bytes)
}

/// Fresh addresses of both ends of a pair and of a bridge.
///
/// # Errors
/// Whatever `getrandom(2)` says.
pub fn fresh_macs() -> Result<crate::plan::FreshMacs, Refusal> {
    Ok(crate::plan::FreshMacs {
        container: MacAddress::local(random_bytes()?),
        host: MacAddress::host_side(random_bytes()?),
        bridge: MacAddress::local(random_bytes()?),
    })
}
