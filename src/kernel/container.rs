//! What is done to the container's side.

use std::time::Duration;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::linux::Linux;
use super::netlink::Refusal;
use super::{address, route};
use crate::plan::spec::RouteSpec;

impl Linux {
    pub(super) async fn add_addresses(
        &mut self,
        ifname: &str,
        addresses: &[IpNetwork],
    ) -> Result<(), Refusal> {
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        netns.enter(|| address::add_settled(index, addresses.to_vec()))??.await
    }

    /// Gives the container side a leased address, or prolongs it there.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn lease_address(
        &mut self,
        ifname: &str,
        address: IpNetwork,
        lasts: Duration,
    ) -> Result<(), Refusal> {
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        address::lease(self.container()?, index, address, lasts).await
    }

    pub(super) async fn add_route(&mut self, ifname: &str, spec: &RouteSpec) -> Result<(), Refusal> {
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        route::add(self.container()?, index, spec).await
    }
}
