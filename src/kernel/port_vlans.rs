//! The VLANs of an attachment's port.

use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;

use super::linux::Linux;
use super::netlink::Refusal;
use super::vlan;
use crate::net::PortVlans;
use crate::plan::spec::VlanSpec;

impl Linux {
    pub(super) async fn restore_vlans(&self, port: &str, before: &PortVlans) -> Result<(), Refusal> {
        let Some(link) = self.link(port).await? else { return Ok(()) };
        let now = vlan::read(link.index).await?;
        self.send_all(vlan::restore(link.index, &now, before)).await
    }

    pub(super) async fn replace_vlans(&self, spec: &VlanSpec, before: &PortVlans) -> Result<(), Refusal> {
        let port = self.link(&spec.port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        self.send_all(vlan::replace(port.index, spec, before)).await
    }

    pub(super) async fn set_vlans(&self, spec: &VlanSpec) -> Result<(), Refusal> {
        let port = self.link(&spec.port).await?.ok_or(Refusal::plain(Errno::ENODEV))?;
        self.send_all(vlan::change(port.index, spec)).await
    }

    pub(super) async fn send_all(&self, messages: Vec<RouteNetlinkMessage>) -> Result<(), Refusal> {
        for message in messages {
            self.host.request(message, 0).await?;
        }
        Ok(())
    }
}
