//! GC: removes the attachments of one network that no valid attachment owns.

use std::collections::BTreeSet;
use std::time::Duration;

use super::del::{port_lock, remove_link};
use super::faults;
use super::lease::is_delegated;
use crate::cni::environment::Attachment;
use crate::cni::request::Gc;
use crate::error::Error;
use crate::error::log::{Level, Log};
use crate::ipam::Delegation;
use crate::kernel::faults::{no_lock, unseen};
use crate::kernel::linux::Linux;
use crate::kernel::lock::Lock;
use crate::kernel::{Kernel, nft};
use crate::lease::place::Place;
use crate::lease::record::Record;
use crate::lease::release;
use crate::net::{ContainerId, Link, NetworkName};
use crate::plan::label::Label;
use crate::plan::names::host_interface;
use crate::plan::owner::{Owned, owned};
use crate::plan::undo::Undo;

/// Longest that the IPAM plugin may need for its own collection.
const IPAM_PATIENCE: Duration = Duration::from_secs(30);

/// Who may keep what is on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Valid {
    hosts: BTreeSet<String>,
    interfaces: BTreeSet<(String, String)>,
    containers: BTreeSet<String>,
}

impl Valid {
    /// One interface of a container stays.
    pub fn insert(&mut self, attachment: &Attachment) {
        self.hosts.insert(host_interface(attachment));
        self.interfaces.insert(Label::key(attachment));
    }

    /// Every interface of a container stays.
    pub fn insert_container(&mut self, container: &ContainerId) {
        self.containers.insert(Label::container_field(container));
    }

    /// Whether the list keeps no attachment.
    pub fn is_empty(&self) -> bool {
        self.interfaces.is_empty() && self.containers.is_empty()
    }

    fn covers(&self, owned: &Owned) -> bool {
        let labelled = |label: &Label| {
            self.containers.contains(&label.container)
                || self.interfaces.contains(&(label.container.clone(), label.ifname.clone()))
        };
        self.hosts.contains(&owned.host) || owned.label.as_ref().is_some_and(labelled)
    }
}

impl<'a> FromIterator<&'a Attachment> for Valid {
    fn from_iter<I: IntoIterator<Item = &'a Attachment>>(attachments: I) -> Self {
        attachments.into_iter().fold(Self::default(), |mut valid, attachment| {
            valid.insert(attachment);
            valid
        })
    }
}

/// What a collection makes of the links of a node.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Attachments that nobody may keep, each with its host side.
    pub stale: Vec<(Link, Owned)>,
    /// How many attachments somebody may keep.
    pub kept: usize,
    /// What stays, and why: it only looks like an attachment's, or is one's of which is not known whose.
    pub undecided: Vec<(Link, &'static str)>,
}

/// Sorts what [`Linux::attachments`] has found. Stale are only those of the network; of all networks where it is `None`.
pub fn sorted_out(links: Vec<(Link, Option<Owned>)>, network: Option<&NetworkName>, valid: &Valid) -> Sorted {
    let network = network.map(Label::network_field);
    let mut sorted = Sorted::default();
    for (link, owned) in links {
        match owned {
            None => sorted.undecided.push((link, "it only looks like an attachment's")),
            Some(owned) if valid.covers(&owned) => sorted.kept += 1,
            Some(owned) => match network.as_ref().map(|network| owned.is_of(network)) {
                Some(Some(false)) => {}
                Some(None) => sorted.undecided.push((link, "its alias does not name its network any more")),
                _ if owned.label.is_none() && !valid.containers.is_empty() => {
                    sorted.undecided.push((link, "its alias does not name its container any more"));
                }
                _ => sorted.stale.push((link, owned)),
            },
        }
    }
    sorted
}

/// Removes a stale attachment; `false` where an operation on it is running: an ADD is younger than the list of valid ones.
///
/// # Errors
/// Code 124 for its lock, 125.
pub async fn collect(kernel: &mut Linux, link: &Link, stale: &Owned) -> Result<bool, Error> {
    let lock = Lock::try_acquire(&port_lock(&stale.host)).map_err(|error| no_lock("attachment", &error))?;
    if lock.is_none() {
        return Ok(false);
    }
    // As it is under the lock.
    let seen =
        kernel.link_by_index(link.index).await.map_err(|refusal| faults::remains(&link.name, &refusal))?;
    let Some(seen) = seen else { return Ok(true) };
    let Some(owned) = owned(&seen, None).filter(|owned| owned.host == stale.host) else { return Ok(false) };
    let place = Place::of_this_process();
    if let Ok(Some(record)) = Record::read(&place, &owned.host) {
        // Without the word to the server, the lease runs out there by itself.
        let _ = release::give_back(&place, &record).await;
    }
    remove_link(kernel, &seen, &owned).await.map(|()| true)
}

/// Collects; goes on where one cannot be removed.
///
/// # Errors
/// Code 125 with everything that remains; 124 where the node's links cannot be read.
pub async fn gc(request: &Gc, ipam: &Delegation, log: &Log) -> Result<(), Error> {
    let mut kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let links = kernel.attachments().await.map_err(|refusal| unseen("the node's links", &refusal))?;
    let valid = request.valid.iter().collect();
    let mut remains = Vec::new();
    let sorted = sorted_out(links, Some(&request.network), &valid);
    for (link, why) in sorted.undecided {
        log.write(Level::Warn, format_args!("{} is left alone: {why}", link.name));
    }
    for (link, owned) in sorted.stale {
        match collect(&mut kernel, &link, &owned).await {
            Ok(true) => {
                log.write(Level::Info, format_args!("collected {} of {}", link.name, owned.owner()));
            }
            Ok(false) => {}
            Err(error) => remains.push(error.msg().to_string()),
        }
    }
    remains.extend(collect_orphaned_rules(&mut kernel, log).await);
    collect_leases(&request.network, &request.valid, log).await;
    if let Some(ipam_conf) = &request.ipam
        && !is_delegated(ipam_conf, ipam).await
    {
        return if remains.is_empty() { Ok(()) } else { Err(faults::stale_remain(&remains)) };
    }
    match ipam.find(request.ipam.as_ref()) {
        Ok(Some(delegate)) => {
            remains.extend(
                delegate.forward("GC", IPAM_PATIENCE).await.err().map(|error| error.msg().to_string()),
            );
        }
        Ok(None) => {}
        Err(error) => remains.push(error.msg().to_string()),
    }
    if remains.is_empty() { Ok(()) } else { Err(faults::stale_remain(&remains)) }
}

/// Gives back the leases of this network whose attachment nobody owns, wherever its links are by now.
pub(super) async fn collect_leases(network: &NetworkName, valid: &BTreeSet<Attachment>, log: &Log) {
    let place = Place::of_this_process();
    for host in Record::hosts(&place).unwrap_or_default() {
        let Ok(Some(record)) = Record::read(&place, &host) else { continue };
        let owned = valid.iter().any(|attachment| host_interface(attachment) == host);
        // One that an ADD is just taking is younger than the list of valid ones.
        let lock = Lock::try_acquire(&port_lock(&host));
        if owned || record.network != network.as_str() || !matches!(lock, Ok(Some(_))) {
            continue;
        }
        let told = match release::give_back(&place, &record).await {
            Ok(told) => told.unwrap_or_else(|| "released".to_string()),
            Err(error) => error.to_string(),
        };
        let address = record.lease.address;
        log.write(
            Level::Info,
            format_args!("collected the lease of {address} of {}: {told}", record.owner()),
        );
    }
}

async fn collect_orphaned_rules(kernel: &mut Linux, log: &Log) -> Vec<String> {
    let ports = match orphaned_rules(kernel).await {
        Ok(ports) => ports,
        Err(error) => return vec![error.msg().to_string()],
    };
    let mut remains = Vec::new();
    for port in ports {
        match remove_rules(kernel, &port).await {
            Ok(true) => log.write(Level::Info, format_args!("collected the rules of {port}, which is gone")),
            Ok(false) => {}
            Err(error) => remains.push(error.msg().to_string()),
        }
    }
    remains
}

/// Ports that have vanished with their containers, but whose nftables rules are there: no DEL will name them, and
/// another port might get such a name.
///
/// # Errors
/// Code 124.
pub async fn orphaned_rules(kernel: &Linux) -> Result<Vec<String>, Error> {
    let ports = nft::attachments().map_err(|refusal| unseen("the nftables rules", &refusal))?;
    let mut orphaned = Vec::new();
    for port in ports {
        if kernel.link(&port).await.map_err(|refusal| unseen(&port, &refusal))?.is_none() {
            orphaned.push(port);
        }
    }
    Ok(orphaned)
}

/// Removes the nftables rules of a port that has vanished; `false` where it has come back, or an ADD is making it.
///
/// # Errors
/// Code 124 or 125.
pub async fn remove_rules(kernel: &mut Linux, port: &str) -> Result<bool, Error> {
    let lock = Lock::try_acquire(&port_lock(port)).map_err(|error| no_lock("attachment", &error))?;
    let there = kernel.link(port).await.map_err(|refusal| unseen(port, &refusal))?.is_some();
    if there || lock.is_none() {
        return Ok(false);
    }
    for undo in [Undo::Unprotect(port.to_string()), Undo::RemoveMasquerade(port.to_string())] {
        kernel.revert(&undo).await.map_err(|refusal| faults::rules_remain(&undo, &refusal))?;
    }
    Ok(true)
}
