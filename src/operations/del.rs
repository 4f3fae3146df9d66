//! DEL: finds the attachment by its derived host-side name and removes what is there, whatever else is gone.

use std::time::Duration;

use tokio::time::timeout;

use super::faults;
use super::lease::is_delegated;
use crate::cni::config::Ipam;
use crate::cni::environment::Attachment;
use crate::cni::request::Del;
use crate::error::Error;
use crate::error::log::{Level, Log};
use crate::ipam::Delegation;
use crate::kernel::Kernel;
use crate::kernel::faults::{no_lock, unseen};
use crate::kernel::linux::Linux;
use crate::kernel::lock::Lock;
use crate::kernel::netns::Netns;
use crate::lease::place::Place;
use crate::lease::record::Record;
use crate::lease::release;
use crate::net::Link;
use crate::plan::names::{self, ChainedPort, Label};
use crate::plan::undo::Undo;

/// Longest that an ADD may need to give way: it is told at once and has then to undo.
const GIVE_WAY: Duration = Duration::from_secs(20);
/// Longest that the IPAM plugin may need to take back its reservation.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// The name of the lock that ADD holds and DEL waits for.
pub(crate) fn attachment_lock(attachment: &Attachment) -> String {
    port_lock(&names::host_interface(attachment))
}

/// The same, by the name of the host side.
pub(crate) fn port_lock(host: &str) -> String {
    format!("attachment/{host}")
}

/// Detaches. `netns` is the container's namespace, where it still exists.
///
/// # Errors
/// Only where something of the attachment remains: code 11 for an ADD that does not give way, code 121 for the IPAM
/// plugin's reservation, code 125 otherwise.
pub async fn del(request: &Del, netns: Option<Netns>, ipam: &Delegation, log: &Log) -> Result<(), Error> {
    let _lock = timeout(GIVE_WAY, Lock::acquire(&attachment_lock(&request.attachment)))
        .await
        .map_err(|_| faults::still_running(&request.attachment))?
        .map_err(|error| no_lock("attachment", &error))?;
    let mut kernel = Linux::open(netns).map_err(|refusal| unseen("the node's network", &refusal))?;
    let host = names::host_interface(&request.attachment);
    // A lease is released through the link.
    let leased = give_back(&host, request.ipam.as_ref(), log).await;
    let link_carries_release = request.ipam.as_ref().is_some_and(Ipam::is_dhcp);
    let mut released = Ok(());
    if link_carries_release && !leased {
        released = release(request.ipam.as_ref(), ipam, log).await;
    }
    let label = remove(&mut kernel, &host).await?;
    // What a chained attachment has in the container is the previous plugin's.
    if let Some(label) = label.as_ref().filter(|label| label.chain.is_none()) {
        remove_placeholder(&mut kernel, label, log).await;
    }
    if !link_carries_release {
        released = release(request.ipam.as_ref(), ipam, log).await;
    }
    log.write(
        Level::Info,
        format_args!("detached {host}{}", if label.is_none() { " (nothing was there)" } else { "" }),
    );
    released
}

/// Gives the attachment's lease back; whether it had one of ours. Nothing that goes wrong here keeps a pod: the lease runs
/// out at the server by itself.
async fn give_back(host: &str, ipam: Option<&Ipam>, log: &Log) -> bool {
    let place = Place::of_this_process();
    let record = match Record::read(&place, host) {
        Ok(Some(record)) => record,
        Ok(None) => return ipam.is_some_and(|ipam| ipam.lease.is_some() && !ipam.is_dhcp()),
        Err(error) => {
            log.write(
                Level::Warn,
                format_args!("the lease of {host} is not released, its record is bad: {error}"),
            );
            let _ = Record::remove(&place, host);
            return true;
        }
    };
    match release::give_back(&place, &record).await {
        Ok(None) => {
            log.write(
                Level::Info,
                format_args!("released {} to {}", record.lease.address, record.lease.server),
            );
        }
        Ok(Some(why)) => {
            log.write(Level::Warn, format_args!("{} was not released: {why}", record.lease.address));
        }
        Err(error) => log.write(Level::Warn, format_args!("cannot delete the record of {host}: {error}")),
    }
    true
}

/// Has the IPAM plugin take back its reservation. Where the runtime has stripped the plugin's own keys from the config, its
/// failure says nothing and would keep the pod for ever.
async fn release(conf: Option<&Ipam>, ipam: &Delegation, log: &Log) -> Result<(), Error> {
    if let Some(conf) = conf
        && !is_delegated(conf, ipam).await
    {
        return Ok(());
    }
    let outcome = match ipam.find(conf) {
        Ok(None) => Ok(()),
        Ok(Some(delegate)) => delegate.forward("DEL", RELEASE_PATIENCE).await,
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if conf.is_some_and(|conf| conf.stripped) => {
            log.write(Level::Warn, format_args!("{error}, called with a config that has only its type"));
            Ok(())
        }
        outcome => outcome,
    }
}

/// Removes an attachment by the name of its host side, which may be an alternative name of another plugin's interface;
/// its label, where there was one. The rules go after the port, so that no frame passes without them.
///
/// # Errors
/// Code 125 naming what remains.
pub(crate) async fn remove(kernel: &mut Linux, host: &str) -> Result<Option<Label>, Error> {
    let remains = |refusal| faults::remains(host, &refusal);
    let link = kernel.link(host).await.map_err(remains)?;
    let label = link.as_ref().and_then(|link| link.alias.as_deref()).and_then(Label::from_alias);
    let mut undo = Vec::new();
    match link {
        Some(link) if link.name != host => undo = unchain(link, host, label.as_ref()),
        Some(link) => undo.push(Undo::DeleteVeth { name: link.name, mac: None }),
        None => {}
    }
    if label.as_ref().is_none_or(|label| label.rules) {
        undo.extend([Undo::Unprotect(host.to_string()), Undo::RemoveMasquerade(host.to_string())]);
    }
    for undo in undo {
        kernel.revert(&undo).await.map_err(remains)?;
    }
    Ok(label)
}

/// Takes off another plugin's interface what was put on it; its VLANs and flags stay with the port until that plugin
/// deletes it, so that no frame escapes them.
fn unchain(link: Link, host: &str, label: Option<&Label>) -> Vec<Undo> {
    let mut undo = Vec::new();
    if let Some((label, Some(ChainedPort::Enslaved { up }))) = label.map(|label| (label, label.chain)) {
        let mac = label.former_mac.or(link.mac);
        let mtu = label.former_mtu.unwrap_or(link.mtu);
        undo.push(Undo::Release(Box::new(Link { mac, mtu, up: up || link.up, ..link.clone() })));
    }
    // Behind what it is read for, so that a DEL that is killed can be repeated.
    if label.is_some_and(|label| label.chain.is_some()) {
        undo.push(Undo::UnmarkPort(Box::new(Link { alias: None, port: None, ..link.clone() })));
    }
    undo.push(Undo::RemoveAlternativeName { port: link.name, name: host.to_string() });
    undo
}

/// Removes what KubeVirt put in the place of the container side when it renamed that: a link of the same name with
/// the attachment's MAC. Its loss would do no harm, so neither does a failure here.
async fn remove_placeholder(kernel: &mut Linux, label: &Label, log: &Log) {
    let Ok(Some(link)) = kernel.container_link(&label.ifname).await else { return };
    let virtual_twin = link.kind.is_some() && link.mac.is_some() && link.mac == label.mac;
    if virtual_twin && let Err(refusal) = kernel.delete_container_link(&label.ifname).await {
        log.write(Level::Warn, format_args!("cannot delete {} in the container: {refusal}", label.ifname));
    }
}
