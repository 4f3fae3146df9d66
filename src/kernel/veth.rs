//! The veth pair of an attachment.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use rtnetlink::packet_route::link::LinkAttribute;

use super::interface::{create_pair, delete_by_index, fresh};
use super::linux::Linux;
use super::netlink::Refusal;
use crate::net::{Link, MacAddress};
use crate::plan::marks::pair_mark;
use crate::plan::spec::VethSpec;

impl Linux {
    pub(super) async fn add_veth(&self, spec: &VethSpec) -> Result<(), Refusal> {
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        let bridge = self.link(&spec.bridge).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        let mut peer = fresh(&spec.ifname, spec.mac, spec.mtu);
        peer.attributes.push(LinkAttribute::NetNsFd(netns.file().as_raw_fd()));
        let port = fresh(&spec.host, spec.host_mac, spec.host_mtu);
        create_pair(&self.host, port, bridge.index, peer).await
    }

    /// Deletes the veth pair that this process made, by its host side, which somebody may have renamed meanwhile: the one
    /// with that MAC, or, where that is not known, with one of ours.
    pub(super) async fn delete_veth(&self, name: &str, mac: Option<MacAddress>) -> Result<(), Refusal> {
        let made = |link: &Link| {
            let known =
                if mac.is_some() { link.mac == mac } else { link.mac.is_some_and(|mac| mac.is_host_side()) };
            known && link.kind.as_deref() == Some("veth")
        };
        let link = match self.link(name).await?.filter(made) {
            Some(link) => Some(link),
            None => self.link(&pair_mark(name)).await?.filter(made),
        };
        match link {
            Some(link) => delete_by_index(&self.host, link.index).await,
            None => Ok(()),
        }
    }
}
