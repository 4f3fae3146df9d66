//! The `ipam` keys of a DHCP lease: the incumbent `dhcp` plugin's, with its meanings, and a few of our own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::keys::Keys;
use crate::error::Error;

/// Where the incumbent's daemon listens unless `daemonSocketPath` says otherwise.
const DAEMON_SOCKET: &str = "/run/cni/dhcp.sock";
/// What is asked for by default: subnet mask, routes before the router (RFC 3442 demands this order), router, name servers,
/// domain, domains to search, static routes. The MTU (26) only on request: some clouds do not answer who asks for it.
const ASKED: [u8; 7] = [1, 121, 3, 6, 15, 119, 33];
/// The option numbers that the incumbent knows by name.
const NAMES: [(&str, u8); 6] = [
    ("subnet-mask", 1),
    ("routers", 3),
    ("host-name", 12),
    ("vendor-class-identifier", 60),
    ("dhcp-client-identifier", 61),
    ("user-class", 77),
];
/// Options that the client itself writes: message type, server, addresses, sizes.
const RESERVED: [u8; 9] = [0, 50, 51, 52, 53, 54, 55, 57, 255];
/// Longest value of an option.
const VALUE_MAX: usize = 255;
/// Option 61.
pub const CLIENT_IDENTIFIER: u8 = 61;

/// How a lease is asked for and used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseTerms {
    /// Where the incumbent's daemon listens.
    pub daemon_socket: PathBuf,
    /// `delegate`: whether another plugin named `dhcp` takes the lease; `None` where the config leaves it open.
    pub delegate: Option<bool>,
    /// `requireAgent`: a lease that nobody would renew is an error.
    pub require_agent: bool,
    /// `clientId`: the MAC address identifies the client, not the pod.
    pub by_mac: bool,
    /// Metric of the lease's routes.
    pub priority: Option<u32>,
    /// `suppress` names the gateway: no default route comes of the lease.
    pub suppress_gateway: bool,
    /// Options that are asked for.
    pub requested: Vec<u8>,
    provided: Vec<Provided>,
}

/// An option that is sent, as the config names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Provided {
    option: u8,
    value: String,
    from_argument: Option<String>,
}

impl LeaseTerms {
    /// Types the keys of `ipam`.
    ///
    /// # Errors
    /// Code 7 naming key, value and range.
    pub fn parse(ipam: &Map<String, Value>) -> Result<Self, Error> {
        let keys = Keys::new(ipam, "ipam.");
        let delegate = keys.value("delegate").map(|_| keys.boolean("delegate")).transpose()?;
        let by_mac = match keys.text("clientId")? {
            None | Some("pod") => false,
            Some("mac") => true,
            Some(_) => return Err(keys.wrong("clientId", "\"pod\" or \"mac\"")),
        };
        let suppressed = |value: &Value| match value.as_str() {
            Some("gateway") => Ok(true),
            _ => Err(keys.wrong("suppress", "a list with \"gateway\"")),
        };
        Ok(Self {
            daemon_socket: keys.text("daemonSocketPath")?.unwrap_or(DAEMON_SOCKET).into(),
            delegate,
            require_agent: keys.boolean("requireAgent")?,
            by_mac,
            priority: keys.integer("priority", 0, u32::MAX)?.filter(|priority| *priority != 0),
            suppress_gateway: keys.list("suppress")?.iter().map(suppressed).collect::<Result<Vec<_>, _>>()?
                == [true],
            requested: requested(&keys)?,
            provided: provided(&keys)?,
        })
    }

    /// Whether the server is asked for the link's MTU, which then becomes that of the lease's routes.
    pub fn wants_mtu(&self) -> bool {
        self.requested.contains(&26)
    }

    /// The options that are sent, with the values that CNI_ARGS has for them. A `fromArg` without a value sends nothing.
    pub fn provided(&self, arguments: &BTreeMap<String, String>) -> Vec<(u8, Vec<u8>)> {
        let values = self.provided.iter().filter_map(|provided| {
            let value = match &provided.from_argument {
                Some(argument) => arguments.get(argument)?,
                None => &provided.value,
            };
            Some((provided.option, value.bytes().take(VALUE_MAX).collect()))
        });
        values.filter(|(_, value): &(u8, Vec<u8>)| !value.is_empty()).collect()
    }
}

fn requested(keys: &Keys) -> Result<Vec<u8>, Error> {
    let (mut asked, mut defaults) = (Vec::new(), true);
    for item in keys.list("request")? {
        let item = item.as_object().ok_or_else(|| keys.wrong("request", "a list of objects"))?;
        let item = Keys::new(item, "ipam.request.");
        defaults &= !item.boolean("skipDefault")?;
        asked.extend(option(&item, "option")?);
    }
    let mut all: Vec<u8> = if defaults { ASKED.to_vec() } else { Vec::new() };
    for option in asked {
        if !all.contains(&option) {
            all.push(option);
        }
    }
    Ok(all)
}

fn provided(keys: &Keys) -> Result<Vec<Provided>, Error> {
    let items = keys.list("provide")?.iter();
    let provided = items.map(|item| {
        let item = item.as_object().ok_or_else(|| keys.wrong("provide", "a list of objects"))?;
        let item = Keys::new(item, "ipam.provide.");
        let option = option(&item, "option")?.ok_or_else(|| item.wrong("option", "a number or name"))?;
        if RESERVED.contains(&option) {
            return Err(item.wrong("option", "an option that the client does not write itself"));
        }
        let value = item.text("value")?.unwrap_or_default().to_string();
        if value.len() > VALUE_MAX {
            return Err(item.wrong("value", "a text of at most 255 bytes"));
        }
        Ok(Provided { option, value, from_argument: item.text("fromArg")?.map(str::to_string) })
    });
    provided.collect()
}

fn option(keys: &Keys, key: &str) -> Result<Option<u8>, Error> {
    let Some(text) = keys.text(key)? else { return Ok(None) };
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok()).map(Some).ok_or_else(|| {
        let names = NAMES.map(|(name, _)| name).join(", ");
        keys.wrong(key, &format!("a number from 0 to 255 as text, or one of {names}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<LeaseTerms, Error> {
        LeaseTerms::parse(value.as_object().unwrap())
    }

    #[test]
    fn the_defaults_ask_for_routes_before_the_router_and_for_no_mtu() {
        let terms = parse(json!({"type": "dhcp"})).unwrap();
        assert_eq!(terms.requested, [1, 121, 3, 6, 15, 119, 33]);
        assert_eq!(terms.daemon_socket, PathBuf::from("/run/cni/dhcp.sock"));
        assert!(!terms.wants_mtu() && !terms.by_mac && !terms.require_agent && !terms.suppress_gateway);
        assert_eq!((terms.delegate, terms.priority), (None, None));
    }

    #[test]
    fn the_incumbents_keys_mean_what_they_mean_there() {
        let terms = parse(json!({
            "priority": 200, "daemonSocketPath": "/x.sock", "suppress": ["gateway"],
            "provide": [
                {"option": "host-name", "value": "fixed", "fromArg": "K8S_POD_NAME"},
                {"option": "60", "value": "vendor"}, {"option": "77", "fromArg": "ABSENT"}
            ],
            "request": [{"option": "26"}, {"option": "routers"}, {"option": "42"}]
        }))
        .unwrap();
        assert_eq!((terms.priority, terms.suppress_gateway), (Some(200), true));
        assert_eq!(terms.requested, [1, 121, 3, 6, 15, 119, 33, 26, 42]);
        assert!(terms.wants_mtu());
        let arguments = BTreeMap::from([("K8S_POD_NAME".to_string(), "web-0".to_string())]);
        assert_eq!(terms.provided(&arguments), [(12, b"web-0".to_vec()), (60, b"vendor".to_vec())]);
        let only = parse(json!({"request": [{"skipDefault": true}, {"option": "1"}]})).unwrap();
        assert_eq!(only.requested, [1]);
    }

    #[test]
    fn what_is_wrong_names_its_key() {
        for (wrong, key) in [
            (json!({"provide": [{"option": "hostname", "value": "x"}]}), "ipam.provide.option"),
            (json!({"provide": [{"value": "x"}]}), "ipam.provide.option"),
            (json!({"provide": [{"option": "53", "value": "x"}]}), "ipam.provide.option"),
            (json!({"provide": [{"option": "12", "value": "x".repeat(256)}]}), "ipam.provide.value"),
            (json!({"provide": ["12"]}), "ipam.provide"),
            (json!({"request": [{"option": "256"}]}), "ipam.request.option"),
            (json!({"suppress": ["dns"]}), "ipam.suppress"),
            (json!({"clientId": "container"}), "ipam.clientId"),
            (json!({"priority": -1}), "ipam.priority"),
            (json!({"delegate": "yes"}), "ipam.delegate"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.msg().contains(&format!("\"{key}\"")), "{error}");
        }
    }
}
