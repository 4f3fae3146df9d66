//! What another main plugin (macvlan, ipvlan, ...) asks of this program as its IPAM plugin: it hands over its own config and
//! environment (CNI spec section 4).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use serde_json::{Map, Value};

use super::applicant::Applicant;
use super::config::keys::Keys;
use super::config::{Ipam, lease::LeaseTerms};
use super::environment::{Attachment, Command, Variables};
use super::request::{network, pod, valid_attachments};
use super::version::CniVersion;
use crate::error::{Code, Error};
use crate::net::NetworkName;

/// A request to this program as an IPAM plugin.
#[derive(Debug)]
#[expect(missing_docs, reason = "the operations' names")]
pub enum IpamRequest {
    Add { applicant: Box<Applicant>, version: CniVersion },
    Check(Attachment),
    Del(Attachment),
    Status(Ipam),
    Gc { network: NetworkName, valid: BTreeSet<Attachment> },
}

impl IpamRequest {
    /// Whether the program is meant as the IPAM plugin of this config: it was executed under that name, and not as the main
    /// plugin.
    pub fn is_meant(executed_as: &OsStr, object: &Map<String, Value>) -> bool {
        let name = Path::new(executed_as).file_name().and_then(OsStr::to_str);
        let ipam = object.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str);
        name.is_some() && name == ipam && name != object.get("type").and_then(Value::as_str)
    }

    /// Types the request of `command`.
    ///
    /// # Errors
    /// Code 1 for the version, 4 for the environment, 7 for the config.
    pub fn parse(
        command: Command,
        variables: &Variables,
        object: &Map<String, Value>,
    ) -> Result<Self, Error> {
        let version = CniVersion::from_config(object)?;
        let keys = Keys::new(object, "").object("ipam")?;
        let terms = || LeaseTerms::parse(keys.unwrap_or(&Map::new()));
        Ok(match command {
            Command::Add => {
                let arguments = variables.arguments()?;
                let applicant = Applicant {
                    attachment: variables.attachment()?,
                    netns: variables.netns().unwrap_or_default(),
                    network: network(object)?,
                    pod: pod(&arguments),
                    chosen_mac: false,
                    foreign: true,
                    terms: terms()?,
                    arguments,
                };
                Self::Add { applicant: Box::new(applicant), version }
            }
            Command::Check => Self::Check(variables.attachment()?),
            Command::Del => Self::Del(variables.attachment()?),
            Command::Status => {
                Self::Status(Ipam { plugin: String::new(), stripped: false, lease: Some(terms()?) })
            }
            Command::Gc => Self::Gc { network: network(object)?, valid: valid_attachments(object)? },
            Command::Version => return Err(Error::new(Code::Internal, "VERSION is answered before")),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_name_under_which_it_runs_decides() {
        let meant = |name: &str, kind: &str, ipam: &str| {
            let conf = json!({"type": kind, "ipam": {"type": ipam}});
            IpamRequest::is_meant(OsStr::new(name), conf.as_object().unwrap())
        };
        assert!(meant("/opt/cni/bin/dhcp", "macvlan", "dhcp"));
        assert!(meant("/opt/cni/bin/bridge-dhcp", "macvlan", "bridge-dhcp"));
        assert!(meant("/opt/cni/bin/dhcp", "bridge-dhcp", "dhcp"));
        assert!(!meant("/opt/cni/bin/bridge-dhcp", "bridge-dhcp", "bridge-dhcp"));
        assert!(!meant("/opt/cni/bin/bridge-dhcp", "bridge-dhcp", "dhcp"));
        assert!(!meant("/opt/cni/bin/bridge-dhcp", "macvlan", "host-local"));
        assert!(!IpamRequest::is_meant(OsStr::new("dhcp"), json!({}).as_object().unwrap()));
    }
}
