//! What the IPAM plugin answered, as the container's addresses and routes and the bridge's gateway addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnetwork::IpNetwork;

use crate::cni::config::{Dns, NetConf};
use crate::cni::result::{CniResult, Ip, Route};
use crate::plan::spec::RouteSpec;
use crate::plan::step::Step;

/// Index of the container side in the result's `interfaces`.
pub const CONTAINER: usize = 2;
/// RT_SCOPE_LINK (include/uapi/linux/rtnetlink.h): from here on a route has no gateway.
const SCOPE_LINK: u8 = 253;

/// What the container gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Addresses {
    /// For the result.
    pub ips: Vec<Ip>,
    /// For the result.
    pub routes: Vec<Route>,
    /// The container's addresses.
    pub addresses: Vec<IpNetwork>,
    /// What the bridge shall carry; empty unless it is the gateway.
    pub gateways: Vec<IpNetwork>,
    /// What the giver said of DNS.
    pub dns: Dns,
    /// How long the addresses are the container's; `None` for ever.
    pub lasts: Option<Duration>,
}

impl Addresses {
    /// The answer as it is, for a bridge that is no gateway.
    pub fn plain(answer: &CniResult) -> Self {
        Self {
            addresses: answer.ips.iter().map(|ip| ip.address).collect(),
            ips: answer.ips.clone(),
            routes: answer.routes.clone(),
            gateways: Vec::new(),
            dns: answer.dns.clone(),
            lasts: None,
        }
    }

    /// Completes the answer as the config asks: gateways and default routes, per family.
    pub fn new(conf: &NetConf, answer: &CniResult) -> Self {
        let mut ips = answer.ips.clone();
        for ip in &mut ips {
            ip.interface = Some(CONTAINER);
            if conf.is_gateway && ip.gateway.is_none() {
                ip.gateway = Some(first_other_host(ip.address));
            }
        }
        let mut routes = answer.routes.clone();
        for v4 in [true, false].into_iter().filter(|_| conf.is_default_gateway) {
            let gateway = ips.iter().filter(|ip| ip.address.is_ipv4() == v4).find_map(|ip| ip.gateway);
            let present = routes.iter().any(|route| route.dst.prefix() == 0 && route.dst.is_ipv4() == v4);
            if let (Some(dst), Some(gw), false) = (default_route(v4), gateway, present) {
                routes.push(Route { dst, gw: Some(gw), metrics: serde_json::Map::new() });
            }
        }
        let mut gateways = Vec::new();
        for ip in ips.iter().filter(|_| conf.is_gateway) {
            let gateway = ip.gateway.and_then(|gateway| IpNetwork::new(gateway, ip.address.prefix()).ok());
            gateways.extend(gateway.filter(|gateway| !gateways.contains(gateway)));
        }
        Self {
            addresses: ips.iter().map(|ip| ip.address).collect(),
            ips,
            routes,
            gateways,
            dns: answer.dns.clone(),
            lasts: None,
        }
    }

    /// Whether the container gets an address of this family.
    pub fn has_family(&self, v4: bool) -> bool {
        self.addresses.iter().any(|address| address.is_ipv4() == v4)
    }

    /// An address of the container's that would be its gateway's, too.
    pub fn own_gateway(&self) -> Option<IpAddr> {
        let mut gateways = self.gateways.iter().map(IpNetwork::ip);
        gateways.find(|gateway| self.addresses.iter().any(|address| address.ip() == *gateway))
    }

    /// Puts addresses and routes on the container side.
    pub fn steps(&self, ifname: &str) -> Vec<Step> {
        let ifname_of = || ifname.to_string();
        let leased = |lasts| {
            let addresses = self.addresses.iter();
            addresses.map(move |address| Step::LeaseAddress { ifname: ifname_of(), address: *address, lasts })
        };
        let mut steps: Vec<Step> = match self.lasts {
            Some(lasts) => leased(lasts).collect(),
            None => vec![Step::AddAddresses { ifname: ifname_of(), addresses: self.addresses.clone() }],
        };
        let routes = self.route_specs().into_iter();
        steps.extend(routes.map(|route| Step::AddRoute { ifname: ifname.to_string(), route }));
        steps
    }

    /// The routes; those to one destination over several gateways are one route that shares the traffic.
    pub fn route_specs(&self) -> Vec<RouteSpec> {
        let mut specs: Vec<RouteSpec> = Vec::new();
        for route in &self.routes {
            let scope = route.metric("scope").and_then(|scope| u8::try_from(scope).ok());
            let gateway = match route.gw {
                Some(gateway) => Some(gateway),
                None if scope.is_some_and(|scope| scope >= SCOPE_LINK) => None,
                None => self.gateway(route.dst.is_ipv4()),
            };
            let spec = RouteSpec {
                destination: route.dst,
                gateways: gateway.into_iter().collect(),
                // RT_TABLE_UNSPEC: the kernel takes the main one.
                table: route.metric("table").filter(|table| *table != 0),
                scope,
                priority: route.metric("priority"),
                mtu: route.metric("mtu"),
                advmss: route.metric("advmss"),
            };
            let twin = specs.iter_mut().find(|other| {
                let same = RouteSpec { gateways: spec.gateways.clone(), ..(*other).clone() } == spec;
                same && other.gateways.is_empty() == spec.gateways.is_empty()
            });
            match twin {
                Some(twin) => {
                    let fresh = spec.gateways.into_iter().filter(|gateway| !twin.gateways.contains(gateway));
                    twin.gateways.extend(fresh.collect::<Vec<_>>());
                }
                None => specs.push(spec),
            }
        }
        specs
    }

    fn gateway(&self, v4: bool) -> Option<IpAddr> {
        self.ips.iter().filter(|ip| ip.address.is_ipv4() == v4).find_map(|ip| ip.gateway)
    }
}

fn default_route(v4: bool) -> Option<IpNetwork> {
    let address = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    IpNetwork::new(address, 0).ok()
}

/// The first address behind the subnet's own; in a subnet of two (RFC 3021, RFC 6164), the other one.
fn first_other_host(address: IpNetwork) -> IpAddr {
    let whole: u8 = if address.is_ipv4() { 32 } else { 128 };
    let of_two = address.prefix() + 1 == whole;
    match address.network() {
        first if of_two && first != address.ip() => first,
        IpAddr::V4(network) => IpAddr::V4(Ipv4Addr::from_bits(network.to_bits().wrapping_add(1))),
        IpAddr::V6(network) => IpAddr::V6(Ipv6Addr::from_bits(network.to_bits().wrapping_add(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cni::version::CniVersion;
    use serde_json::{Value, json};

    fn planned(conf: Value, answer: Value) -> Addresses {
        let mut object = json!({"bridge": "br0"});
        object.as_object_mut().unwrap().extend(conf.as_object().unwrap().clone());
        let conf = NetConf::parse(object.as_object().unwrap()).unwrap();
        Addresses::new(&conf, &CniResult::parse(&answer, CniVersion::V1_1_0, "answer").unwrap())
    }

    fn dual_stack() -> Value {
        json!({"ips": [{"address": "10.1.2.3/24"}, {"address": "fd00::7/64", "gateway": "fd00::99"}]})
    }

    #[test]
    fn a_gateway_without_an_address_gets_the_subnets_first() {
        let addresses = planned(json!({"isGateway": true}), dual_stack());
        let shown: Vec<String> = addresses.gateways.iter().map(IpNetwork::to_string).collect();
        assert_eq!(shown, ["10.1.2.1/24", "fd00::99/64"]);
        assert!(addresses.routes.is_empty());
        assert!(planned(json!({}), dual_stack()).gateways.is_empty());
    }

    #[test]
    fn of_two_addresses_the_other_is_the_gateway_and_the_containers_own_is_none() {
        for (address, gateway) in [
            ("10.1.2.2/31", "10.1.2.3"),
            ("10.1.2.3/31", "10.1.2.2"),
            ("fd00::6/127", "fd00::7"),
            ("fd00::7/127", "fd00::6"),
        ] {
            let addresses = planned(json!({"isGateway": true}), json!({"ips": [{"address": address}]}));
            assert_eq!(addresses.gateways[0].ip().to_string(), gateway);
            assert_eq!(addresses.own_gateway(), None);
        }
        let own = planned(json!({"isGateway": true}), json!({"ips": [{"address": "10.1.2.1/24"}]}));
        assert_eq!(own.own_gateway(), "10.1.2.1".parse().ok());
    }

    #[test]
    fn default_routes_are_added_per_family_unless_ipam_named_one() {
        let mut answer = dual_stack();
        answer["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "10.1.2.254"}]);
        let addresses = planned(json!({"isDefaultGateway": true}), answer);
        let specs = addresses.route_specs();
        assert_eq!(specs.len(), 2);
        assert_eq!(specs[0].gateways, ["10.1.2.254".parse::<IpAddr>().unwrap()]);
        assert_eq!(specs[1].gateways, ["fd00::99".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn several_gateways_to_one_destination_are_one_route() {
        let mut answer = json!({"ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}]});
        answer["routes"] = json!([
            {"dst": "10.9.0.0/16", "gw": "10.1.2.8"}, {"dst": "10.9.0.0/16", "gw": "10.1.2.9"},
            {"dst": "10.9.0.0/16", "gw": "10.1.2.8"}, {"dst": "10.9.0.0/16", "gw": "10.1.2.7", "priority": 9},
            {"dst": "10.8.0.0/16", "table": 0}, {"dst": "10.7.0.0/16", "scope": 253},
        ]);
        let specs = planned(json!({}), answer).route_specs();
        let counts: Vec<usize> = specs.iter().map(|spec| spec.gateways.len()).collect();
        assert_eq!(counts, [2, 1, 1, 0]);
        assert!(specs.iter().all(|spec| spec.table.is_none()));
        assert_eq!(specs[2].gateways, ["10.1.2.1".parse::<IpAddr>().unwrap()]);
    }
}
