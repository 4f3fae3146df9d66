//! How a lease becomes addresses, routes and DNS, by what the config says about it.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cni::config::Dns;
use crate::cni::config::lease::LeaseTerms;
use crate::cni::result::{CniResult, Ip, Route};
use crate::dhcp::client::lease::{self, Lease};

/// RT_SCOPE_LINK (include/uapi/linux/rtnetlink.h).
const SCOPE_LINK: u8 = 253;

/// What the config says about the use of a lease; kept in its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Metric of the routes.
    pub priority: Option<u32>,
    /// No default route, no gateway.
    pub suppress_gateway: bool,
    /// The lease's MTU is that of its routes.
    pub mtu: bool,
}

impl From<&LeaseTerms> for Use {
    fn from(terms: &LeaseTerms) -> Self {
        Self { priority: terms.priority, suppress_gateway: terms.suppress_gateway, mtu: terms.wants_mtu() }
    }
}

impl Use {
    /// The lease as an IPAM plugin's answer.
    pub fn answer(&self, lease: &Lease) -> CniResult {
        let gateway = lease.routers.first().filter(|_| !self.suppress_gateway).map(|router| (*router).into());
        let ips = lease.network().map(|network| Ip { address: network.into(), gateway, interface: None });
        let wanted = |route: &lease::Route| !(self.suppress_gateway && route.destination.prefix() == 0);
        let name_servers = lease.name_servers.iter().map(ToString::to_string).collect();
        CniResult {
            ips: ips.into_iter().collect(),
            routes: lease.routes().into_iter().filter(wanted).map(|route| self.route(lease, route)).collect(),
            dns: Dns {
                nameservers: name_servers,
                domain: lease.domain.clone(),
                search: lease.search.clone(),
                options: Vec::new(),
            },
            ..CniResult::default()
        }
    }

    fn route(&self, lease: &Lease, route: lease::Route) -> Route {
        let scope = route.via.is_none().then_some(SCOPE_LINK.into());
        let mtu = lease.mtu.filter(|_| self.mtu).map(u32::from);
        let metrics = [("priority", self.priority), ("mtu", mtu), ("scope", scope)];
        let metrics: Map<String, Value> = metrics
            .into_iter()
            .filter_map(|(name, number)| Some((name.to_string(), number?.into())))
            .collect();
        Route { dst: IpNetwork::V4(route.destination), gw: route.via.map(Into::into), metrics }
    }
}
