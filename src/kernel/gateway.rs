//! The gateway addresses of a bridge, and the interface that carries them in one VLAN.

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressFlags;
use rtnetlink::packet_route::link::LinkFlags;

use super::interface::{create_pair, fresh, set_flag, silence};
use super::linux::Linux;
use super::netlink::Refusal;
use super::taken::Taken;
use super::{address, route};
use crate::plan::gateway::same_subnet;
use crate::plan::spec::VlanGatewaySpec;

impl Linux {
    /// Adds a gateway address without duplicate address detection, so that it works at once.
    pub(super) async fn add_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        let index = self.link(link).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        address::add(&self.host, index, address, AddressFlags::Nodad).await
    }

    /// Takes an address off, and keeps what the kernel says of it and of what may go with it: the routes of its family over
    /// the same interface, and the other IPv4 addresses of its subnet.
    pub(super) async fn take_gateway(&mut self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        let Some(link) = self.link(link).await? else { return Ok(()) };
        let with_it =
            |other: IpNetwork| other == address || (address.is_ipv4() && same_subnet(other, address));
        let addresses = address::describe(&self.host, link.index, with_it).await?;
        let routes = route::over(&self.host, link.index, address).await?;
        for description in addresses {
            // The kernel puts an IPv4 address behind those that are there, an IPv6 one in front of them.
            let place = if address.is_ipv4() { self.taken.addresses.len() } else { 0 };
            if !self.taken.addresses.contains(&description) {
                self.taken.addresses.insert(place, description);
            }
        }
        for route in routes {
            if !self.taken.routes.contains(&route) {
                self.taken.routes.push(route);
            }
        }
        address::remove(&self.host, link.index, address).await
    }

    pub(super) async fn remove_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        match self.link(link).await? {
            Some(link) => address::remove(&self.host, link.index, address).await,
            None => Ok(()),
        }
    }

    /// Gives back all that was taken; what is still there stays.
    pub(super) async fn restore_gateways(&mut self) -> Result<(), Refusal> {
        let Taken { addresses, routes } = std::mem::take(&mut self.taken);
        let addresses = addresses.into_iter().map(RouteNetlinkMessage::NewAddress);
        // Behind all addresses: a route may name one of them as its source.
        let messages = addresses.chain(routes.into_iter().map(RouteNetlinkMessage::NewRoute));
        let mut first = Ok(());
        for message in messages {
            match self.host.request(message, NLM_F_CREATE | NLM_F_EXCL).await {
                Err(refusal) if refusal.errno == Errno::EEXIST => {}
                outcome => first = first.and(outcome.map(drop)),
            }
        }
        first
    }

    pub(super) async fn add_vlan_gateway(&self, spec: &VlanGatewaySpec) -> Result<(), Refusal> {
        let bridge = self.link(&spec.bridge).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        let port = fresh(&spec.vlans.port, spec.port_mac, Some(spec.mtu));
        create_pair(&self.host, port, bridge.index, fresh(&spec.name, spec.mac, Some(spec.mtu))).await?;
        silence(&self.host, &spec.vlans.port).await?;
        self.set_vlans(&spec.vlans).await?;
        set_flag(&self.host, &spec.name, LinkFlags::Up, true).await?;
        self.raise_port(&spec.vlans.port, false).await
    }
}
