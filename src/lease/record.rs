//! The record of a lease: what server and client agreed on, and for whom.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::file;
use super::place::Place;
use super::terms::Use;
use crate::cni::applicant::Applicant;
use crate::dhcp::client::lease::Lease;
use crate::dhcp::client::messages::Identity;
use crate::net::MacAddress;
use crate::plan::names::{host_interface, is_own_port};

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
    /// Another plugin sets what the lease grants, some time after the record was written.
    #[serde(default)]
    pub foreign: bool,
    /// How the lease becomes addresses and routes.
    pub usage: Use,
    /// What the server granted.
    pub lease: Lease,
}

impl Record {
    /// The record of a lease that this client took.
    pub fn new(applicant: &Applicant, identity: &Identity, lease: Lease) -> Self {
        let Applicant { attachment, .. } = applicant;
        Self {
            format: FORMAT,
            host: host_interface(attachment),
            netns: applicant.netns.clone(),
            ifname: attachment.ifname.to_string(),
            network: applicant.network.to_string(),
            container: attachment.container.to_string(),
            pod: applicant.pod.clone(),
            mac: identity.chaddr.octets(),
            client_id: identity.client_id.clone(),
            broadcast: identity.broadcast,
            requested: identity.requested.clone(),
            provided: identity.provided.clone(),
            foreign: applicant.foreign,
            usage: Use::from(&applicant.terms),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::cni::config::lease::LeaseTerms;
    use crate::cni::environment::Attachment;
    use crate::dhcp::client::lease::Times;
    use crate::lease::memory;
    use crate::net::{ContainerId, InterfaceName, NetworkName};

    /// Of interface net1 in container c1.
    const HOST: &str = "vethca3ed83f20a";

    /// A place of the test's own, deleted with the value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> (Self, Place) {
            let folder = std::env::temp_dir().join(format!("bridge-dhcp-{}-{name}", std::process::id()));
            let place = Place::below(&folder);
            (Self(folder), place)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn record() -> Record {
        let secs = Duration::from_secs;
        let lease = Lease {
            address: Ipv4Addr::new(10, 77, 0, 50),
            prefix: 24,
            routers: vec![Ipv4Addr::new(10, 77, 0, 1)],
            routes: Vec::new(),
            classless: false,
            name_servers: Vec::new(),
            domain: Some("lan".into()),
            search: Vec::new(),
            mtu: None,
            server: Ipv4Addr::new(10, 77, 0, 1),
            hop: [2; 6],
            times: Times { since: secs(9), lasts: Some(secs(600)), renewal: secs(300), rebinding: secs(525) },
        };
        let identity = Identity {
            chaddr: MacAddress::local([7; 6]),
            client_id: b"\0shop/web-0/net1".to_vec(),
            broadcast: false,
            requested: vec![1, 3],
            provided: vec![(12, b"web-0".to_vec())],
        };
        let applicant = Applicant {
            attachment: Attachment {
                container: ContainerId::parse("c1").unwrap(),
                ifname: InterfaceName::parse("net1").unwrap(),
            },
            netns: "/run/netns/x".into(),
            network: NetworkName::parse("lan").unwrap(),
            pod: Some("shop/web-0".into()),
            arguments: BTreeMap::new(),
            chosen_mac: false,
            foreign: false,
            terms: LeaseTerms::parse(json!({"priority": 7}).as_object().unwrap()).unwrap(),
        };
        Record::new(&applicant, &identity, lease)
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_only_root_may_read_it() {
        let (_scratch, place) = Scratch::new("written");
        assert_eq!(Record::read(&place, HOST).unwrap(), None);
        record().write(&place).unwrap();
        record().write(&place).unwrap();
        assert_eq!(Record::read(&place, HOST).unwrap(), Some(record()));
        assert_eq!(Record::hosts(&place).unwrap(), [HOST]);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place.leases()), mode(&place.leases().join(file_name(HOST)))), (0o700, 0o600));
        Record::remove(&place, HOST).unwrap();
        Record::remove(&place, HOST).unwrap();
        assert_eq!(Record::hosts(&place).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_a_record_of_ours_is_told_and_not_used() {
        let (_scratch, place) = Scratch::new("hostile");
        record().write(&place).unwrap();
        let file = place.leases().join(file_name(HOST));
        let good: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let changes: [(&str, Value); 9] = [
            ("/format", json!(2)),
            ("/host", json!("veth0123456789b")),
            ("/mac", json!([1, 0, 0, 0, 0, 0])),
            ("/client_id", json!(vec![0; 256])),
            ("/lease/address", json!("127.0.0.1")),
            ("/lease/prefix", json!(33)),
            ("/lease/times/renewal", json!({"secs": 600, "nanos": 0})),
            ("/lease/name_servers", json!(vec!["10.0.0.1"; 300])),
            ("/lease/address", json!("not one")),
        ];
        for (pointer, value) in changes {
            let mut changed = good.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            std::fs::write(&file, changed.to_string()).unwrap();
            assert!(Record::read(&place, HOST).is_err(), "{pointer}");
        }
        std::fs::write(&file, vec![b' '; 1 << 20]).unwrap();
        assert!(Record::read(&place, HOST).unwrap_err().to_string().contains("larger"));
        std::fs::write(&file, good.to_string()).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o622)).unwrap();
        assert!(Record::read(&place, HOST).is_err(), "others may write it");
        std::fs::remove_file(&file).unwrap();
        symlink("/etc/passwd", &file).unwrap();
        assert!(Record::read(&place, HOST).is_err(), "a link");
    }

    #[test]
    fn nothing_is_written_where_others_may_write() {
        let (scratch, place) = Scratch::new("open");
        std::fs::create_dir_all(place.leases()).unwrap();
        std::fs::set_permissions(place.leases(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(record().write(&place).is_err());
        std::fs::remove_dir(place.leases()).unwrap();
        symlink(&scratch.0, place.leases()).unwrap();
        assert!(record().write(&place).is_err(), "a link");
    }

    #[test]
    fn the_last_address_of_an_identity_is_remembered_and_nothing_else_taken_for_it() {
        let (_scratch, place) = Scratch::new("memory");
        let address = Ipv4Addr::new(10, 77, 0, 50);
        assert_eq!(memory::recall(&place, b"one"), None);
        memory::remember(&place, b"one", address).unwrap();
        memory::remember(&place, b"one", address).unwrap();
        assert_eq!((memory::recall(&place, b"one"), memory::recall(&place, b"two")), (Some(address), None));
        for entry in place.addresses().read_dir().unwrap() {
            std::fs::write(entry.unwrap().path(), "10.77.0.50 and more").unwrap();
        }
        assert_eq!(memory::recall(&place, b"one"), None);
    }

    proptest! {
        #[test]
        fn any_content_is_read_without_harm(at in 0usize..600, byte in any::<u8>(), cut in 0usize..700) {
            let mut content = serde_json::to_vec(&record()).unwrap();
            let length = content.len();
            content[at % length] = byte;
            content.truncate(cut.max(1));
            if let Ok(record) = serde_json::from_slice::<Record>(&content) {
                let _ = record.contradiction(HOST);
            }
        }
    }
}
