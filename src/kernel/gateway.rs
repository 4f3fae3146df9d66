//! The gateway addresses of a bridge, and the interface that carries them in one VLAN.

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::packet_route::address::AddressFlags;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo};

use super::address;
use super::interface::{create, named, set_flag, silence};
use super::linux::Linux;
use super::netlink::Refusal;
use crate::plan::step::VlanGatewaySpec;

impl Linux {
    /// The gateway address works at once: nobody else may have it.
    pub(super) async fn add_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        let index = self.link(link).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        address::add(&self.host, index, address, AddressFlags::Nodad).await
    }

    pub(super) async fn remove_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        match self.link(link).await? {
            Some(link) => address::remove(&self.host, link.index, address).await,
            None => Ok(()),
        }
    }

    pub(super) async fn restore_gateway(&self, link: &str, address: IpNetwork) -> Result<(), Refusal> {
        match self.add_gateway(link, address).await {
            Err(refusal) if refusal.errno == Errno::EEXIST => Ok(()),
            outcome => outcome,
        }
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
