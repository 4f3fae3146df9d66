//! The CNI result, independent of its version, and its JSON shapes per version (CNI spec section 5).

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde_json::{Map, Value, json};

use crate::cni::config::Dns;
use crate::cni::version::CniVersion;
use crate::error::{Code, Error};
use crate::net::cidr;

/// An entry of `interfaces`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC as text.
    pub mac: Option<String>,
    /// Its MTU in bytes (from 1.1.0).
    pub mtu: Option<u32>,
    /// The network namespace's path; `None` on the host.
    pub sandbox: Option<String>,
    /// Keys of other plugins that are passed on.
    pub other: Map<String, Value>,
}

/// An entry of `ips`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// Host address with the subnet's prefix length.
    pub address: IpNetwork,
    /// The subnet's gateway.
    pub gateway: Option<IpAddr>,
    /// Index into `interfaces`.
    pub interface: Option<usize>,
}

/// An entry of `routes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Destination.
    pub dst: IpNetwork,
    /// Next hop.
    pub gw: Option<IpAddr>,
    /// `mtu`, `advmss`, `priority`, `table`, `scope` (from 1.1.0).
    pub metrics: Map<String, Value>,
}

impl Route {
    /// One of the numbers of 1.1.0: `mtu`, `advmss`, `priority`, `table`, `scope`.
    pub fn metric(&self, name: &str) -> Option<u32> {
        self.metrics.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
    }
}

/// A result of ADD.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "the spec's own words")]
pub struct CniResult {
    pub interfaces: Vec<Interface>,
    pub ips: Vec<Ip>,
    pub routes: Vec<Route>,
    pub dns: Dns,
}

const ROUTE_METRICS: [&str; 5] = ["mtu", "advmss", "priority", "table", "scope"];

impl CniResult {
    /// Reads a result of `version`. Unknown keys are allowed, nulls are absent.
    ///
    /// # Errors
    /// Code 7 that says which part of `what` is wrong.
    pub fn parse(value: &Value, version: CniVersion, what: &str) -> Result<Self, Error> {
        let wrong =
            |part: &str| Error::new(Code::InvalidConfig, format!("{what} is not a CNI result: {part}"));
        let object = value.as_object().ok_or_else(|| wrong("it is not an object"))?;
        let mut result = Self { dns: parse_dns(object.get("dns")), ..Self::default() };
        if version.has_interfaces() {
            result.interfaces = list(object, "interfaces")
                .map(|item| {
                    parse_interface(item).ok_or_else(|| wrong("an entry of \"interfaces\" has no name"))
                })
                .collect::<Result<_, _>>()?;
            result.ips = list(object, "ips")
                .map(|item| parse_ip(item).map_err(|why| wrong(&why)))
                .collect::<Result<_, _>>()?;
            result.routes = list(object, "routes")
                .map(|item| parse_route(item).map_err(|why| wrong(&why)))
                .collect::<Result<_, _>>()?;
        } else {
            for family in ["ip4", "ip6"] {
                let Some(part) = object.get(family).and_then(Value::as_object) else { continue };
                let address =
                    part.get("ip").and_then(Value::as_str).ok_or_else(|| wrong("an address is missing"))?;
                let address = cidr::parse(address).map_err(|why| wrong(&why))?;
                let gateway = parse_address(part.get("gateway")).map_err(|why| wrong(&why))?;
                result.ips.push(Ip { address, gateway, interface: None });
                for item in list(part, "routes") {
                    result.routes.push(parse_route(item).map_err(|why| wrong(&why))?);
                }
            }
        }
        Ok(result)
    }

    /// The JSON of `version`, without what that version cannot say. Every default route names its gateway.
    ///
    /// # Errors
    /// Code 1 where 0.1.0 or 0.2.0 would have to express a result without addresses.
    pub fn render(&self, version: CniVersion) -> Result<Value, Error> {
        let mut result = Map::new();
        result.insert("cniVersion".into(), json!(version.as_str()));
        if version.has_interfaces() {
            let interfaces = self.interfaces.iter().map(|interface| interface.render(version));
            result.insert("interfaces".into(), interfaces.collect());
            if !self.ips.is_empty() {
                result.insert("ips".into(), self.ips.iter().map(|ip| ip.render(version)).collect());
            }
            if !self.routes.is_empty() {
                result.insert(
                    "routes".into(),
                    self.routes.iter().map(|route| self.render_route(route, version)).collect(),
                );
            }
        } else {
            for (key, v4) in [("ip4", true), ("ip6", false)] {
                if let Some(ip) = self.ips.iter().find(|ip| ip.address.is_ipv4() == v4) {
                    result.insert(key.into(), self.render_family(ip, version));
                }
            }
            if self.ips.is_empty() {
                return Err(without_addresses(version));
            }
        }
        result.insert("dns".into(), render_dns(&self.dns));
        Ok(Value::Object(result))
    }

    fn render_family(&self, ip: &Ip, version: CniVersion) -> Value {
        let routes = self.routes.iter().filter(|route| route.dst.is_ipv4() == ip.address.is_ipv4());
        let mut part = Map::new();
        part.insert("ip".into(), json!(ip.address.to_string()));
        if let Some(gateway) = ip.gateway {
            part.insert("gateway".into(), json!(gateway.to_string()));
        }
        part.insert("routes".into(), routes.map(|route| self.render_route(route, version)).collect());
        Value::Object(part)
    }

    fn render_route(&self, route: &Route, version: CniVersion) -> Value {
        let mut entry = Map::new();
        entry.insert("dst".into(), json!(route.dst.to_string()));
        let family_gateway = || {
            let mut same_family = self.ips.iter().filter(|ip| ip.address.is_ipv4() == route.dst.is_ipv4());
            same_family.find_map(|ip| ip.gateway)
        };
        let gateway = route.gw.or_else(|| (route.dst.prefix() == 0).then(family_gateway).flatten());
        if let Some(gateway) = gateway {
            entry.insert("gw".into(), json!(gateway.to_string()));
        }
        if version >= CniVersion::V1_1_0 {
            entry.extend(route.metrics.clone());
        }
        Value::Object(entry)
    }
}

/// Code 1: the two oldest result formats consist of addresses only.
pub fn without_addresses(version: CniVersion) -> Error {
    Error::new(
        Code::IncompatibleVersion,
        format!("cniVersion {version} cannot express an attachment without addresses"),
    )
    .remedy("set \"cniVersion\" to 0.3.1 or later; a config without the key means 0.1.0")
}

impl Interface {
    fn render(&self, version: CniVersion) -> Value {
        let mut entry = Map::new();
        entry.insert("name".into(), json!(self.name));
        if let Some(mac) = &self.mac {
            entry.insert("mac".into(), json!(mac));
        }
        if let Some(mtu) = self.mtu.filter(|_| version >= CniVersion::V1_1_0) {
            entry.insert("mtu".into(), json!(mtu));
        }
        if let Some(sandbox) = &self.sandbox {
            entry.insert("sandbox".into(), json!(sandbox));
        }
        if version >= CniVersion::V1_1_0 {
            entry.extend(self.other.clone());
        }
        Value::Object(entry)
    }
}

impl Ip {
    fn render(&self, version: CniVersion) -> Value {
        let mut entry = Map::new();
        if version < CniVersion::V1_0_0 {
            entry.insert("version".into(), json!(if self.address.is_ipv4() { "4" } else { "6" }));
        }
        if let Some(interface) = self.interface {
            entry.insert("interface".into(), json!(interface));
        }
        entry.insert("address".into(), json!(self.address.to_string()));
        if let Some(gateway) = self.gateway {
            entry.insert("gateway".into(), json!(gateway.to_string()));
        }
        Value::Object(entry)
    }
}

fn list<'a>(object: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Value> {
    object.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn parse_interface(item: &Value) -> Option<Interface> {
    let object = item.as_object()?;
    let text = |key: &str| {
        object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_string)
    };
    let mut other = object.clone();
    for known in ["name", "mac", "mtu", "sandbox"] {
        other.remove(known);
    }
    Some(Interface {
        name: text("name")?,
        mac: text("mac"),
        mtu: object.get("mtu").and_then(Value::as_u64).and_then(|mtu| u32::try_from(mtu).ok()),
        sandbox: text("sandbox"),
        other,
    })
}

fn parse_ip(item: &Value) -> Result<Ip, String> {
    let address = item.get("address").and_then(Value::as_str).ok_or("an entry of \"ips\" has no address")?;
    let interface =
        item.get("interface").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
    Ok(Ip { address: cidr::parse(address)?, gateway: parse_address(item.get("gateway"))?, interface })
}

fn parse_route(item: &Value) -> Result<Route, String> {
    let dst = item.get("dst").and_then(Value::as_str).ok_or("a route has no destination")?;
    let metrics = ROUTE_METRICS
        .iter()
        .filter_map(|name| Some(((*name).to_string(), item.get(*name).filter(|v| !v.is_null())?.clone())))
        .collect();
    Ok(Route { dst: cidr::parse(dst)?, gw: parse_address(item.get("gw"))?, metrics })
}

fn parse_address(value: Option<&Value>) -> Result<Option<IpAddr>, String> {
    match value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("{text:?} is not an IP address")),
    }
}

fn parse_dns(value: Option<&Value>) -> Dns {
    let Some(object) = value.and_then(Value::as_object) else { return Dns::default() };
    let texts = |key: &str| list(object, key).filter_map(Value::as_str).map(str::to_string).collect();
    Dns {
        nameservers: texts("nameservers"),
        domain: object
            .get("domain")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_string),
        search: texts("search"),
        options: texts("options"),
    }
}

fn render_dns(dns: &Dns) -> Value {
    let mut object = Map::new();
    for (key, texts) in
        [("nameservers", &dns.nameservers), ("search", &dns.search), ("options", &dns.options)]
    {
        if !texts.is_empty() {
            object.insert(key.into(), json!(texts));
        }
    }
    if let Some(domain) = &dns.domain {
        object.insert("domain".into(), json!(domain));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Value {
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "br0", "mac": "02:00:00:00:00:01", "mtu": 1500},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "mtu": 1400, "sandbox": "/run/netns/x", "pciID": "0000:00:01.0"},
            ],
            "ips": [{"interface": 1, "address": "10.0.0.2/24", "gateway": "10.0.0.1"}, {"address": "fd00::2/64"}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1", "priority": 7, "mtu": 1400}],
            "dns": {"nameservers": ["10.0.0.53"], "domain": "lan", "search": ["a.lan"], "options": ["ndots:5"]},
        })
    }

    #[test]
    fn nothing_is_lost_at_the_same_version() {
        let result = CniResult::parse(&full(), CniVersion::V1_1_0, "prevResult").unwrap();
        assert_eq!(result.render(CniVersion::V1_1_0).unwrap(), full());
    }

    #[test]
    fn older_versions_lose_what_they_cannot_say() {
        let result = CniResult::parse(&full(), CniVersion::V1_1_0, "prevResult").unwrap();
        let old = result.render(CniVersion::V0_3_1).unwrap();
        assert_eq!(old["ips"][0]["version"], "4");
        assert_eq!(old["ips"][1]["version"], "6");
        assert!(old["interfaces"][0].get("mtu").is_none() && old["routes"][0].get("mtu").is_none());
        let one = result.render(CniVersion::V1_0_0).unwrap();
        assert!(one["ips"][0].get("version").is_none() && one["interfaces"][0].get("mtu").is_none());
        assert!(one["interfaces"][1].get("pciID").is_none());
        let oldest = result.render(CniVersion::V0_2_0).unwrap();
        assert_eq!(oldest["ip4"]["ip"], "10.0.0.2/24");
        assert_eq!(oldest["ip6"]["ip"], "fd00::2/64");
        assert_eq!(CniResult::parse(&oldest, CniVersion::V0_2_0, "x").unwrap().ips.len(), 2);
    }

    #[test]
    fn the_oldest_versions_cannot_say_that_there_is_no_address() {
        let error = CniResult::default().render(CniVersion::V0_1_0).unwrap_err();
        assert_eq!(error.code, Code::IncompatibleVersion);
        assert!(error.details().contains("0.3.1"));
    }

    #[test]
    fn a_default_route_names_its_gateway() {
        let result = json!({"ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16"}]});
        let shown =
            CniResult::parse(&result, CniVersion::V1_0_0, "x").unwrap().render(CniVersion::V1_0_0).unwrap();
        assert_eq!(shown["routes"][0]["gw"], "10.0.0.1");
        assert!(shown["routes"][1].get("gw").is_none());
    }

    #[test]
    fn a_wrong_result_says_what_is_wrong() {
        for (value, part) in [
            (json!([]), "not an object"),
            (json!({"ips": [{}]}), "no address"),
            (json!({"ips": [{"address": "10.0.0.1"}]}), "prefix length"),
            (json!({"interfaces": [{}]}), "no name"),
            (json!({"routes": [{"dst": "0.0.0.0/0", "gw": "x"}]}), "not an IP address"),
        ] {
            let error = CniResult::parse(&value, CniVersion::V1_0_0, "prevResult").unwrap_err();
            assert!(error.msg().contains(part), "{error}");
        }
    }
}
