//! Environment and network config, typed by operation: what the runtime and the administrator said.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::config::keys::Keys;
use super::config::{self, Ipam, NetConf};
use super::environment::{Attachment, Command, Variables};
use super::json;
use super::version::CniVersion;
use crate::cni::result::{CniResult, without_addresses};
use crate::error::{Code, Error};
use crate::net::{ContainerId, InterfaceName, MacAddress, NetworkName};

/// Largest config that is read; a GC on a full node lists some thousand attachments.
const STDIN_MAX: u64 = 4 << 20;

/// Attach.
#[derive(Debug)]
pub struct Add {
    /// Whose interface.
    pub attachment: Attachment,
    /// The container's network namespace, verbatim.
    pub netns: PathBuf,
    /// The network's name.
    pub network: NetworkName,
    /// The version of config and result.
    pub version: CniVersion,
    /// The config.
    pub conf: NetConf,
    /// The MAC that the container side shall have.
    pub mac: Option<MacAddress>,
    /// The previous plugin's result: chained mode.
    pub previous: Option<CniResult>,
    /// `namespace/name` of the pod, where the runtime is Kubernetes'.
    pub pod: Option<String>,
    /// CNI_ARGS.
    pub arguments: BTreeMap<String, String>,
}

/// Verify.
#[derive(Debug)]
pub struct Check {
    /// What ADD was asked for; `previous` is this attachment's own result.
    pub add: Add,
}

/// Detach. Needs nothing of the config but its name: runtimes strip the rest.
#[derive(Debug)]
pub struct Del {
    /// Whose interface.
    pub attachment: Attachment,
    /// The container's network namespace, which may be gone.
    pub netns: Option<PathBuf>,
    /// Who gave addresses, as far as the config still says so.
    pub ipam: Option<Ipam>,
}

/// Able to serve ADD?
#[derive(Debug)]
pub struct Status {
    /// The config.
    pub conf: NetConf,
}

/// Remove what no valid attachment owns.
#[derive(Debug)]
pub struct Gc {
    /// The network whose attachments are meant.
    pub network: NetworkName,
    /// The attachments that stay.
    pub valid: BTreeSet<Attachment>,
    /// Who gave addresses.
    pub ipam: Option<Ipam>,
}

/// What the runtime asks for.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types inside say what each is")]
pub enum Request {
    Add(Box<Add>),
    Check(Box<Check>),
    Del(Del),
    Status(Box<Status>),
    Gc(Gc),
}

/// Standard input: the network config.
pub struct Input {
    /// As it came, for an IPAM plugin.
    pub bytes: Vec<u8>,
    /// As an object; empty where it is none.
    pub object: Map<String, Value>,
    /// What is wrong with it as a whole: code 5 where it could not be read or is larger than 4 MiB, code 6 where it is
    /// no JSON object, code 7 where a key stands twice.
    pub fault: Option<Error>,
}

impl Input {
    /// Reads the config from standard input.
    pub fn read(input: impl Read) -> Self {
        let mut bytes = Vec::new();
        let read = input.take(STDIN_MAX + 1).read_to_end(&mut bytes);
        let parsed = match read {
            Err(error) => Err(Error::new(
                Code::Io,
                format!("cannot read the network config from standard input: {error}"),
            )),
            Ok(_) => parse(&bytes),
        };
        match parsed {
            Ok((object, fault)) => Self { bytes, object, fault },
            Err(fault) => Self { bytes, object: Map::new(), fault: Some(fault) },
        }
    }
}

fn parse(bytes: &[u8]) -> Result<(Map<String, Value>, Option<Error>), Error> {
    if bytes.len() as u64 > STDIN_MAX {
        return Err(Error::new(Code::Io, "the network config on standard input is larger than 4 MiB"));
    }
    let document = json::parse(bytes).map_err(|error| {
        Error::new(Code::Decode, format!("the network config on standard input is not JSON: {error}"))
    })?;
    let Value::Object(object) = document.value else {
        let fact = "the network config on standard input is JSON, but not an object";
        return Err(Error::new(Code::Decode, fact));
    };
    let fault = document.twice.map(|key| {
        Error::new(
            Code::InvalidConfig,
            format!("config key \"{key}\" stands twice in one object: readers differ on which value counts"),
        )
        .remedy(format!("remove one of the two \"{key}\""))
    });
    Ok((object, fault))
}

impl Request {
    /// Types the request of `command`. DEL needs no readable config: the environment names what it removes, and a runtime
    /// that gets an error calls it for ever.
    ///
    /// # Errors
    /// Code 1 for the version, 4 for the environment, 5 to 7 for the config.
    pub fn parse(command: Command, variables: &Variables, input: &Input) -> Result<Option<Self>, Error> {
        let object = &input.object;
        if command == Command::Del {
            return Del::parse(variables, object, input.fault.is_none()).map(Self::Del).map(Some);
        }
        if let Some(fault) = &input.fault {
            return Err(fault.clone());
        }
        let network = network(object)?;
        Ok(Some(match command {
            Command::Add => {
                let version = CniVersion::from_config(object)?;
                let add = Add::parse(variables, object, network, version)?;
                if let (Some(_), Some(ipam)) = (&add.previous, &add.conf.ipam) {
                    return Err(Error::new(
                        Code::InvalidConfig,
                        format!(
                            "\"ipam\" is {:?} in a chained config: the previous plugin gave the addresses",
                            ipam.plugin
                        ),
                    )
                    .remedy("remove \"ipam\" here, or the plugins before this one"));
                }
                if add.previous.is_some() && (add.conf.is_gateway || add.conf.ip_masq) {
                    return Err(Error::new(
                        Code::InvalidConfig,
                        "\"isGateway\", \"isDefaultGateway\" and \"ipMasq\" have no effect in a chained config",
                    )
                    .remedy("set them in the plugin that gives the addresses, or remove the plugins before this one"));
                }
                Self::Add(Box::new(add))
            }
            Command::Check => {
                let version = at_least(object, CniVersion::has_check, "CHECK", CniVersion::V0_4_0)?;
                let add = Add::parse(variables, object, network, version)?;
                if add.previous.is_none() {
                    return Err(Error::new(
                        Code::InvalidConfig,
                        "CHECK needs \"prevResult\", the config has none",
                    ));
                }
                Self::Check(Box::new(Check { add }))
            }
            Command::Version | Command::Del => return Ok(None),
            Command::Status => {
                at_least(object, CniVersion::has_gc_and_status, "STATUS", CniVersion::V1_1_0)?;
                Self::Status(Box::new(Status { conf: NetConf::parse(object)? }))
            }
            Command::Gc => {
                at_least(object, CniVersion::has_gc_and_status, "GC", CniVersion::V1_1_0)?;
                let ipam = config::ipam(object).unwrap_or_default();
                Self::Gc(Gc { network, valid: valid_attachments(object)?, ipam })
            }
        }))
    }
}

impl Del {
    fn parse(variables: &Variables, object: &Map<String, Value>, readable: bool) -> Result<Self, Error> {
        if readable {
            network(object)?;
            CniVersion::from_config(object)?;
        }
        Ok(Self {
            attachment: variables.attachment()?,
            netns: variables.netns(),
            ipam: config::ipam(object).unwrap_or_default(),
        })
    }
}

impl Add {
    fn parse(
        variables: &Variables,
        object: &Map<String, Value>,
        network: NetworkName,
        version: CniVersion,
    ) -> Result<Self, Error> {
        let attachment = variables.attachment()?;
        let conf = NetConf::parse(object)?;
        let arguments = variables.arguments()?;
        let previous = Keys::new(object, "").value("prevResult");
        if !version.has_interfaces() && conf.ipam.is_none() && previous.is_none() {
            return Err(without_addresses(version));
        }
        Ok(Self {
            attachment,
            netns: variables.netns().unwrap_or_default(),
            network,
            version,
            mac: config::requested_mac(&conf, &arguments)?,
            previous: previous.map(|value| CniResult::parse(value, version, "prevResult")).transpose()?,
            conf,
            pod: pod(&arguments),
            arguments,
        })
    }
}

/// `namespace/name` of the pod in CNI_ARGS.
pub(super) fn pod(arguments: &BTreeMap<String, String>) -> Option<String> {
    let (namespace, name) = (arguments.get("K8S_POD_NAMESPACE")?, arguments.get("K8S_POD_NAME")?);
    Some(format!("{namespace}/{name}"))
}

pub(super) fn network(object: &Map<String, Value>) -> Result<NetworkName, Error> {
    let keys = Keys::new(object, "");
    let name = keys
        .text("name")?
        .ok_or_else(|| Error::new(Code::InvalidConfig, "config key \"name\" is missing"))?;
    NetworkName::parse(name)
        .ok_or_else(|| keys.wrong("name", "a letter or digit followed by letters, digits, '_', '.', '-'"))
}

fn at_least(
    object: &Map<String, Value>,
    able: fn(CniVersion) -> bool,
    operation: &str,
    first: CniVersion,
) -> Result<CniVersion, Error> {
    let version = CniVersion::from_config(object)?;
    if able(version) {
        return Ok(version);
    }
    Err(Error::new(
        Code::IncompatibleVersion,
        format!("config version {version} does not allow {operation}, which came with {first}"),
    )
    .remedy(format!("set \"cniVersion\" to {first} or later")))
}

/// The attachments that a GC keeps, from both spellings of the key. JSON null is Go's empty list.
///
/// # Errors
/// Code 7 where neither key is there, or an element is no attachment.
pub(crate) fn valid_attachments(object: &Map<String, Value>) -> Result<BTreeSet<Attachment>, Error> {
    let spellings = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let keys = Keys::new(object, "");
    if !spellings.iter().any(|key| object.contains_key(*key)) {
        return Err(Error::new(
            Code::InvalidConfig,
            "GC needs \"cni.dev/valid-attachments\"; without it every attachment would be removed",
        ));
    }
    let mut valid = BTreeSet::new();
    for key in spellings {
        for item in keys.list(key)? {
            let field = |name: &str| item.get(name).and_then(Value::as_str);
            let attachment = || {
                Some(Attachment {
                    container: ContainerId::parse(field("containerID")?)?,
                    ifname: InterfaceName::parse(field("ifname")?)?,
                })
            };
            valid.insert(attachment().ok_or_else(|| {
                Error::new(
                    Code::InvalidConfig,
                    format!("\"{key}\" has {item} where containerID and ifname belong"),
                )
            })?);
        }
    }
    Ok(valid)
}
