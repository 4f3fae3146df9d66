//! The record of a lease: what server and client agreed on, and for whom.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::file;
use super::place::Place;
use super::terms::Use;
use crate::dhcp::client::lease::Lease;
use crate::dhcp::client::messages::Identity;
use crate::net::MacAddress;
use crate::plan::names::is_own_port;

/// The format of the file; another one is another program's.
const FORMAT: u32 = 1;
/// Largest record that is read.
const SIZE_MAX: u64 = 64 << 10;
/// Most records that are read: the kernel has fewer ports on a bridge, and a node few bridges.
const COUNT_MAX: usize = 16_384;
/// What the file of a record ends with.
const SUFFIX: &str = ".json";
/// Longest option or identifier.
const OPTION_MAX: usize = 255;
/// Most entries of any list of a lease.
const LIST_MAX: usize = 256;

/// A lease and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// The derived name of the host side; also the file's.
    pub host: String,
    /// The container's network namespace, as CNI_NETNS had it.
    pub netns: PathBuf,
    /// The interface's name in the container.
    pub ifname: String,
    /// The network's name.
    pub network: String,
    /// The container's id.
    pub container: String,
    /// `namespace/name` of the pod, where known.
    pub pod: Option<String>,
    mac: [u8; 6],
    client_id: Vec<u8>,
    broadcast: bool,
    requested: Vec<u8>,
    provided: Vec<(u8, Vec<u8>)>,
    /// How the lease becomes addresses and routes.
    pub usage: Use,
    /// What the server granted.
    pub lease: Lease,
}

/// Whose lease it is.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "as in the record")]
pub struct Owner {
    pub host: String,
    pub netns: PathBuf,
    pub ifname: String,
    pub network: String,
    pub container: String,
    pub pod: Option<String>,
}

impl Record {
    /// The record of a lease that this client took.
    pub fn new(owner: Owner, identity: &Identity, usage: Use, lease: Lease) -> Self {
        Self {
            format: FORMAT,
            host: owner.host,
            netns: owner.netns,
            ifname: owner.ifname,
            network: owner.network,
            container: owner.container,
            pod: owner.pod,
            mac: identity.chaddr.octets(),
            client_id: identity.client_id.clone(),
            broadcast: identity.broadcast,
            requested: identity.requested.clone(),
            provided: identity.provided.clone(),
            usage,
            lease,
        }
    }

    /// The client that took the lease; `None` where its MAC is no interface's.
    pub fn identity(&self) -> Option<Identity> {
        Some(Identity {
            chaddr: MacAddress::new(self.mac).ok()?,
            client_id: self.client_id.clone(),
            broadcast: self.broadcast,
            requested: self.requested.clone(),
            provided: self.provided.clone(),
        })
    }

    /// Who is attached, as a message names it.
    pub fn owner(&self) -> String {
        match &self.pod {
            Some(pod) => format!("pod {pod} interface {}", self.ifname),
            None => format!("container {} interface {}", self.container, self.ifname),
        }
    }

    /// Writes it in the place of an older one.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, place: &Place) -> io::Result<()> {
        file::write(&place.leases(), &file_name(&self.host), &serde_json::to_vec(self)?)
    }

    /// Reads the record under this host interface's name; `None` where there is none.
    ///
    /// # Errors
    /// What the file system says, or what is wrong with the content.
    pub fn read(place: &Place, host: &str) -> io::Result<Option<Self>> {
        let Some(content) = file::read(&place.leases().join(file_name(host)), SIZE_MAX)? else {
            return Ok(None);
        };
        let record: Self = serde_json::from_slice(&content)?;
        match record.contradiction(host) {
            Some(what) => Err(io::Error::other(what)),
            None => Ok(Some(record)),
        }
    }

    /// Deletes the record under this host interface's name; one that is gone is success.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(place: &Place, host: &str) -> io::Result<()> {
        file::remove(&place.leases().join(file_name(host)))
    }

    /// The names of the host interfaces that have a record.
    ///
    /// # Errors
    /// What the file system says.
    pub fn hosts(place: &Place) -> io::Result<Vec<String>> {
        let names = file::names(&place.leases(), COUNT_MAX)?.into_iter();
        let hosts = names.filter_map(|name| name.strip_suffix(SUFFIX).map(str::to_string));
        Ok(hosts.filter(|host| is_own_port(host)).collect())
    }

    /// What in it cannot be; whoever can write the file could as well set the address.
    fn contradiction(&self, host: &str) -> Option<&'static str> {
        let lease = &self.lease;
        let octets = lease.address.octets();
        let lists = [lease.routers.len(), lease.routes.len(), lease.name_servers.len(), lease.search.len()];
        let options = self.provided.iter().map(|(_, value)| value.len()).chain([self.client_id.len()]);
        match () {
            () if self.format != FORMAT => Some("it has another format"),
            () if self.host != host || !is_own_port(host) => {
                Some("it is not about the interface of its name")
            }
            () if octets[0] == 0 || lease.address.is_loopback() || octets[0] >= 224 || lease.prefix > 32 => {
                Some("its address is no host's")
            }
            () if lists.into_iter().any(|length| length > LIST_MAX) => Some("one of its lists is too long"),
            () if options.into_iter().any(|length| length > OPTION_MAX) => Some("an option is too long"),
            () if self.identity().is_none() => Some("its MAC is no interface's"),
            () if !lease.times.in_order() => Some("its times are out of order"),
            () => None,
        }
    }
}

fn file_name(host: &str) -> String {
    format!("{host}{SUFFIX}")
}
