//! What is done to the container's side.

use std::time::Duration;

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::interface::{RTNLGRP_LINK, RouteEvents};
use super::linux::Linux;
use super::netlink::Refusal;
use super::{address, route};
use crate::plan::spec::RouteSpec;

/// RTNLGRP_IPV4_IFADDR (include/uapi/linux/rtnetlink.h).
const RTNLGRP_IPV4_IFADDR: u32 = 5;

impl Linux {
    pub(super) async fn add_addresses(
        &mut self,
        ifname: &str,
        addresses: &[IpNetwork],
    ) -> Result<(), Refusal> {
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        let changes = match addresses.iter().any(IpNetwork::is_ipv6) {
            true => Some(netns.enter(address::changes)??),
            false => None,
        };
        address::add_settled(self.container()?, changes, index, addresses).await
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

    /// Adds a route over the container side. One that is there already is success; another interface's to the same
    /// destination stays.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn add_route(&mut self, ifname: &str, spec: &RouteSpec) -> Result<(), Refusal> {
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        route::add(self.container()?, index, spec).await
    }

    /// Takes an address off the container side; one that is gone is success.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn take_address(&mut self, ifname: &str, address: IpNetwork) -> Result<(), Refusal> {
        let Some(link) = self.container_link(ifname).await? else { return Ok(()) };
        address::remove(self.container()?, link.index, address).await
    }

    /// Takes a route over the container side away; one that is gone is success.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn take_route(&mut self, ifname: &str, spec: &RouteSpec) -> Result<(), Refusal> {
        let Some(link) = self.container_link(ifname).await? else { return Ok(()) };
        route::remove(self.container()?, link.index, spec).await
    }

    /// Waits until the container side is up and has carrier; `false` when it is gone.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn container_is_up(&mut self, ifname: &str) -> Result<bool, Refusal> {
        let mut changes = self.in_container(|| RouteEvents::open(NETLINK_ROUTE, &[RTNLGRP_LINK]))??;
        loop {
            match self.container_link(ifname).await? {
                None => return Ok(false),
                Some(link) if link.up && link.carrier => return Ok(true),
                Some(_) => changes.next().await?,
            };
        }
    }

    /// Waits until the container side has an IPv4 address.
    ///
    /// # Errors
    /// The kernel's refusal; ENODEV where the interface is gone.
    pub async fn container_has_address(&mut self, ifname: &str, address: IpNetwork) -> Result<(), Refusal> {
        let mut changes =
            self.in_container(|| RouteEvents::open(NETLINK_ROUTE, &[RTNLGRP_IPV4_IFADDR]))??;
        let index = self.container_link(ifname).await?.ok_or(Refusal::plain(Errno::ENODEV))?.index;
        while !self.container_addresses(index).await?.contains(&address) {
            changes.next().await?;
        }
        Ok(())
    }
}
