//! Puts a lease on the container's interface, and takes it off.

use std::time::Duration;

use ipnetwork::IpNetwork;

use super::terms::Use;
use crate::dhcp::client::drive::now;
use crate::dhcp::client::lease::Lease;
use crate::kernel::Kernel;
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::net::MacAddress;
use crate::plan::addresses::Addresses;
use crate::plan::spec::RouteSpec;
use crate::plan::step::Step;

/// Whose interface a lease is on.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The interface's name.
    pub ifname: &'a str,
    /// Its MAC.
    pub mac: MacAddress,
    /// How the lease becomes addresses and routes.
    pub usage: Use,
}

impl Target<'_> {
    /// Sets address and routes of a lease in the place of those of the one before, or prolongs what is there. A change is
    /// announced to the neighbours.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn put(
        &self,
        kernel: &mut Linux,
        before: Option<&Lease>,
        lease: &Lease,
    ) -> Result<(), Refusal> {
        let routes = self.routes(lease);
        let stale = before.filter(|before| before.network() != lease.network());
        if let Some(before) = before {
            for route in self.routes(before).iter().filter(|route| !routes.contains(route)) {
                kernel.take_route(self.ifname, route).await?;
            }
        }
        // First: in one subnet the kernel would take the new address away with the old one.
        if let Some(old) = stale.and_then(Lease::network) {
            kernel.take_address(self.ifname, IpNetwork::V4(old)).await?;
        }
        if let Some(network) = lease.network() {
            let lasts = lease.times.rest(now()).unwrap_or(Duration::MAX);
            kernel.lease_address(self.ifname, IpNetwork::V4(network), lasts).await?;
        }
        for route in &routes {
            kernel.add_route(self.ifname, route).await?;
        }
        if stale.is_some() || before.is_none() {
            kernel.apply(&Step::Announce { ifname: self.ifname.to_string(), mac: self.mac }).await?;
        }
        Ok(())
    }

    /// Takes address and routes off. What is gone already is success.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn take_off(&self, kernel: &mut Linux, lease: &Lease) -> Result<(), Refusal> {
        for route in self.routes(lease) {
            kernel.take_route(self.ifname, &route).await?;
        }
        match lease.network() {
            Some(network) => kernel.take_address(self.ifname, IpNetwork::V4(network)).await,
            None => Ok(()),
        }
    }

    /// The routes of a lease.
    pub fn routes(&self, lease: &Lease) -> Vec<RouteSpec> {
        Addresses::plain(&self.usage.answer(lease)).route_specs()
    }
}
