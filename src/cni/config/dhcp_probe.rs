//! The `dhcpProbe` key.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde_json::Value;

use super::keys::Keys;
use super::known;
use crate::error::{Code, Error};
use crate::net::cidr;

const PROBE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(6);
const PROBE_TIMEOUT_RANGE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(55));

/// Keys of the object, as the README's table lists them.
pub const KEYS: [&str; 6] = ["timeout", "onFailure", "clientMac", "servers", "otherServers", "subnets"];

/// What else people call them, in small letters without separators.
const SYNONYMS: &[(&str, &str)] = &[
    ("allowedservers", "servers"),
    ("chaddr", "clientMac"),
    ("dhcpserver", "servers"),
    ("mac", "clientMac"),
    ("onerror", "onFailure"),
    ("onfail", "onFailure"),
];

/// Whose hardware address the probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeIdentity {
    /// The attachment's MAC, so that reservations answer truthfully.
    Attachment,
    /// The node's own probe address.
    Ephemeral,
}

/// The `dhcpProbe` key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpProbe {
    /// How long to wait for an offer.
    pub timeout: Duration,
    /// Whether a probe without a good offer fails the ADD; otherwise it is logged.
    pub fail: bool,
    /// Whose address is asked for.
    pub identity: ProbeIdentity,
    /// Servers that may answer; empty allows any.
    pub servers: Vec<Ipv4Addr>,
    /// Whether an offer of any other server fails the probe, also beside one of these.
    pub refuse_others: bool,
    /// Subnets that an offered address may lie in; empty allows any.
    pub subnets: Vec<IpNetwork>,
}

impl Default for DhcpProbe {
    fn default() -> Self {
        Self {
            timeout: PROBE_TIMEOUT_DEFAULT,
            fail: true,
            identity: ProbeIdentity::Attachment,
            servers: Vec::new(),
            refuse_others: false,
            subnets: Vec::new(),
        }
    }
}

/// Reads the key; `None` where no probe is wanted.
///
/// # Errors
/// Code 7 naming key, value and range.
pub fn parse(keys: &Keys) -> Result<Option<DhcpProbe>, Error> {
    let object = match keys.value("dhcpProbe") {
        None | Some(Value::Bool(false)) => return Ok(None),
        Some(Value::Bool(true)) => return Ok(Some(DhcpProbe::default())),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(keys.wrong("dhcpProbe", "true, false or an object")),
    };
    if let Some(unknown) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(match known::meant(unknown, &[&KEYS], SYNONYMS) {
            Some(meant) => known::misspelt(&format!("dhcpProbe.{unknown}"), &format!("dhcpProbe.{meant}")),
            None => Error::new(Code::InvalidConfig, format!("unknown config key \"dhcpProbe.{unknown}\""))
                .remedy(format!("use {}", KEYS.join(", "))),
        });
    }
    let keys = Keys::new(object, "dhcpProbe.");
    let servers = keys.list("servers")?.iter().map(|value| {
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| keys.wrong("servers", "IPv4 addresses"))
    });
    let subnets = keys.list("subnets")?.iter().map(|value| {
        let subnet = value.as_str().and_then(|text| cidr::parse(text).ok());
        subnet
            .filter(IpNetwork::is_ipv4)
            .ok_or_else(|| keys.wrong("subnets", "IPv4 subnets such as \"10.0.0.0/24\""))
    });
    Ok(Some(DhcpProbe {
        timeout: keys
            .duration("timeout", PROBE_TIMEOUT_RANGE.0, PROBE_TIMEOUT_RANGE.1)?
            .unwrap_or(PROBE_TIMEOUT_DEFAULT),
        fail: match keys.text("onFailure")? {
            None | Some("fail") => true,
            Some("warn") => false,
            Some(_) => return Err(keys.wrong("onFailure", "\"fail\" or \"warn\"")),
        },
        identity: match keys.text("clientMac")? {
            None | Some("attachment") => ProbeIdentity::Attachment,
            Some("ephemeral") => ProbeIdentity::Ephemeral,
            Some(_) => return Err(keys.wrong("clientMac", "\"attachment\" or \"ephemeral\"")),
        },
        refuse_others: match keys.text("otherServers")? {
            None | Some("warn") => false,
            Some("fail") if !keys.list("servers")?.is_empty() => true,
            Some("fail") => return Err(keys.wrong("otherServers", "\"fail\" only together with \"servers\"")),
            Some(_) => return Err(keys.wrong("otherServers", "\"warn\" or \"fail\"")),
        },
        servers: servers.collect::<Result<_, _>>()?,
        subnets: subnets.collect::<Result<_, _>>()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(value: Value) -> Result<Option<DhcpProbe>, Error> {
        parse(&Keys::new(json!({"dhcpProbe": value}).as_object().unwrap(), ""))
    }

    #[test]
    fn the_probe_takes_an_object_or_true() {
        let probe = json!({"timeout": "2s", "onFailure": "warn", "clientMac": "ephemeral", "servers": ["10.0.0.1"], "otherServers": "fail", "subnets": ["10.0.0.0/24"]});
        let probe = parsed(probe).unwrap().unwrap();
        assert_eq!(parsed(json!(true)).unwrap(), Some(DhcpProbe::default()));
        assert_eq!(parsed(json!(false)).unwrap(), None);
        assert_eq!(
            (probe.timeout, probe.fail, probe.identity, probe.refuse_others),
            (Duration::from_secs(2), false, ProbeIdentity::Ephemeral, true)
        );
        for bad in [
            json!(1),
            json!({"timeout": 3}),
            json!({"onfailure": "warn"}),
            json!({"servers": ["x"]}),
            json!({"otherServers": "fail"}),
            json!({"servers": ["10.0.0.1"], "otherServers": true}),
            json!({"subnets": ["fd00::/8"]}),
        ] {
            assert!(parsed(bad).unwrap_err().msg().contains("dhcpProbe"));
        }
    }
}
