//! The veth pair of an attachment.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use rtnetlink::packet_route::link::LinkAttribute;

use super::interface::{create_pair, delete, fresh};
use super::linux::Linux;
use super::netlink::Refusal;
use crate::net::MacAddress;
use crate::plan::names::Label;
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

    /// Deletes a veth pair by its host side, if it is ours: labelled, or not yet labelled by an ADD that was killed.
    pub(super) async fn delete_veth(&self, name: &str, mac: Option<MacAddress>) -> Result<(), Refusal> {
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
