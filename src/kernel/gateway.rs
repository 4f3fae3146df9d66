//! The gateway addresses of a bridge, and the interface that carries them in one VLAN.

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo};
use rtnetlink::packet_route::route::RouteMessage;

use super::address;
use super::interface::{create, named, set_flag, silence};
use super::linux::Linux;
use super::netlink::Refusal;
use super::route;
use crate::plan::step::VlanGatewaySpec;

/// An address that was taken off, with the routes of its family over the same interface, in the kernel's words.
pub(super) struct Taken {
    address: IpNetwork,
    description: AddressMessage,
    routes: Vec<RouteMessage>,
}

impl Linux {
    /// The gateway address works at once: nobody else may have it.
    pub(super) async fn add_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        let index = self.link(link).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        address::add(&self.host, index, address, AddressFlags::Nodad).await
    }

    /// Takes an address off, and keeps what the kernel says of it and of the routes that may go with it.
    pub(super) async fn take_gateway(&mut self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        let Some(link) = self.link(link).await? else { return Ok(()) };
        let description = address::describe(&self.host, link.index, address).await?;
        let routes = route::over(&self.host, link.index, address).await?;
        self.taken.extend(description.map(|description| Taken { address, description, routes }));
        address::remove(&self.host, link.index, address).await
    }

    pub(super) async fn remove_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        match self.link(link).await? {
            Some(link) => address::remove(&self.host, link.index, address).await,
            None => Ok(()),
        }
    }

    pub(super) async fn restore_gateway(&mut self, address: IpNetwork) -> Result<(), Refusal> {
        // One that was not taken yet is still there.
        let Some(taken) = self.taken.iter().position(|taken| taken.address == address) else { return Ok(()) };
        let Taken { description, routes, .. } = self.taken.swap_remove(taken);
        let routes = routes.into_iter().map(RouteNetlinkMessage::NewRoute);
        for message in std::iter::once(RouteNetlinkMessage::NewAddress(description)).chain(routes) {
            match self.host.request(message, NLM_F_CREATE | NLM_F_EXCL).await {
                Err(refusal) if refusal.errno == Errno::EEXIST => {}
                outcome => outcome.map(drop)?,
            }
        }
        Ok(())
    }

    pub(super) async fn add_vlan_gateway(&self, spec: &VlanGatewaySpec) -> Result<(), Refusal> {
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
}
