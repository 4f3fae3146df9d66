//! Rules about `ipam`: what the plugins `host-local` and `static` would refuse, and gateways that no pod reaches.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

use crate::cli::validate::finding::{Finding, Severity};
use crate::cli::validate::inventory::{Network, Plugin};
use crate::cli::validate::spelling;
use crate::net::cidr;

const TYPES: [&str; 4] = ["host-local", "static", "dhcp", "whereabouts"];

/// Judges the address management of a plugin.
pub fn judge(network: &Network, plugin: &Plugin) -> Vec<Finding> {
    let Some(ipam) = plugin.object.get("ipam").and_then(Value::as_object) else { return Vec::new() };
    let kind = text(ipam, "type").unwrap_or_default();
    let said = match kind {
        "host-local" => host_local(ipam),
        "static" => fixed(ipam),
        _ => spelling::meant(kind, TYPES).map_or_else(Vec::new, |meant| {
            vec![Said::broken(
                format!("ipam.type is {kind:?}, which is no known plugin"),
                format!("\"type\": {meant:?}"),
            )]
        }),
    };
    let routes = ipam.get("routes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let wrong_routes = routes.iter().filter_map(|route| {
        let why = cidr::parse(route.get("dst")?.as_str()?).err()?;
        Some(Said::broken(
            format!("ipam.routes has a destination that is none: {why}"),
            "\"dst\": \"0.0.0.0/0\"",
        ))
    });
    said.into_iter().chain(wrong_routes).map(|said| said.about(network)).collect()
}

struct Said {
    severity: Severity,
    message: String,
    remedy: String,
}

impl Said {
    fn broken(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Error, message: message.into(), remedy: remedy.into() }
    }

    fn about(self, network: &Network) -> Finding {
        Finding::new(self.severity, "ipam", network.place.clone(), self.message).remedy(self.remedy)
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str()
}

fn unreachable(gateway: IpAddr, subnet: IpNetwork) -> Said {
    Said {
        severity: Severity::Warning,
        message: format!("ipam has gateway {gateway}, which is not in its subnet {subnet}"),
        remedy: "give a gateway in the subnet".into(),
    }
}

/// `subnet` itself, or the ranges of `ranges`, which are lists of lists.
fn host_local(ipam: &Map<String, Value>) -> Vec<Said> {
    let sets = ipam.get("ranges").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut said = Vec::new();
    if sets.iter().any(|set| !set.is_array()) {
        said.push(Said::broken("ipam.ranges is no list of lists", "\"ranges\": [[{\"subnet\": ...}]]"));
    }
    let ranges = sets.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_object);
    let single = ipam.contains_key("subnet").then_some(ipam);
    let all: Vec<&Map<String, Value>> = ranges.chain(single).collect();
    if all.is_empty() && said.is_empty() {
        said.push(Said::broken("ipam of type host-local has no subnet", "\"subnet\": \"10.77.0.0/24\""));
    }
    said.extend(all.into_iter().flat_map(range));
    said
}

fn range(range: &Map<String, Value>) -> Vec<Said> {
    let subnet = match text(range, "subnet").map(cidr::parse) {
        Some(Ok(subnet)) => subnet,
        Some(Err(why)) => {
            return vec![Said::broken(format!("ipam.subnet {why}"), "\"subnet\": \"10.77.0.0/24\"")];
        }
        None => {
            return vec![Said::broken("ipam has a range without a subnet", "\"subnet\": \"10.77.0.0/24\"")];
        }
    };
    let whole = format!("{}/{}", subnet.network(), subnet.prefix());
    if subnet.ip() != subnet.network() {
        return vec![Said::broken(
            format!("ipam.subnet {subnet} is an address in a subnet: host-local refuses it"),
            format!("\"subnet\": \"{whole}\""),
        )];
    }
    let address = |key| text(range, key).and_then(|text| text.parse::<IpAddr>().ok());
    let mut said = Vec::new();
    for key in ["rangeStart", "rangeEnd"] {
        if let Some(outside) = address(key).filter(|address| !subnet.contains(*address)) {
            said.push(Said::broken(
                format!("ipam.{key} {outside} is not in the subnet {whole}"),
                "give an address in the subnet",
            ));
        }
    }
    if let (Some(start), Some(end)) = (address("rangeStart"), address("rangeEnd"))
        && start > end
        && said.is_empty()
    {
        said.push(Said::broken(
            format!("ipam.rangeStart {start} lies behind rangeEnd {end}"),
            "give the lower one first",
        ));
    }
    said.extend(address("gateway").filter(|ip| !subnet.contains(*ip)).map(|ip| unreachable(ip, subnet)));
    said
}

fn fixed(ipam: &Map<String, Value>) -> Vec<Said> {
    let addresses = ipam.get("addresses").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let judge = |entry: &Value| match entry.get("address")?.as_str().map(cidr::parse)? {
        Err(why) => Some(Said::broken(format!("ipam.addresses: {why}"), "\"address\": \"10.77.0.50/24\"")),
        Ok(address) => {
            let gateway: IpAddr = entry.get("gateway")?.as_str()?.parse().ok()?;
            (!address.contains(gateway)).then(|| unreachable(gateway, address))
        }
    };
    addresses.iter().filter_map(judge).collect()
}
