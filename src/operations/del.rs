//! DEL: finds the attachment by its derived host-side name and removes what is there, whatever else is gone.

use std::time::Duration;

use tokio::time::timeout;

use super::faults;
use super::find::{Found, find};
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
use crate::net::{Link, MacAddress};
use crate::plan::marks::{ChainedPort, claimed_mac, host_of};
use crate::plan::names;
use crate::plan::owner::Owned;
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
    let removed = remove(&mut kernel, &host).await?;
    // What a chained attachment has in the container is the previous plugin's.
    if let Found::Ours(link, owned) = &removed
        && owned.chained.is_none()
    {
        let claimed = link.alternative.iter().find_map(|name| claimed_mac(name));
        let mac = claimed.or_else(|| owned.label.as_ref().and_then(|label| label.mac));
        remove_placeholder(&mut kernel, request.attachment.ifname.as_str(), mac, log).await;
    }
    if !link_carries_release {
        released = release(request.ipam.as_ref(), ipam, log).await;
    }
    match removed {
        Found::Ours(link, _) if link.name != host => {
            log.write(Level::Info, format_args!("detached {host}, called {}", link.name));
        }
        Found::Ours(..) => log.write(Level::Info, format_args!("detached {host}")),
        Found::Other(link) => log.write(
            Level::Warn,
            format_args!("{} is left alone: it has the name {host}, but is no attachment's", link.name),
        ),
        Found::Nothing => log.write(Level::Info, format_args!("detached {host} (nothing was there)")),
    }
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
    release::give_back_and_tell(&place, &record, log).await;
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

/// Removes the attachment with this derived name; what was found of it.
///
/// # Errors
/// Code 125 naming what remains.
pub(crate) async fn remove(kernel: &mut Linux, host: &str) -> Result<Found, Error> {
    let found = find(kernel, host).await.map_err(|refusal| faults::remains(host, &refusal))?;
    match &found {
        Found::Ours(link, owned) => remove_link(kernel, link, owned).await?,
        Found::Other(_) | Found::Nothing => remove_rules(kernel, host, host).await?,
    }
    Ok(found)
}

/// Removes the attachment that this link is. The rules go after the port, so that no frame passes without them.
///
/// # Errors
/// Code 125 naming what remains.
pub(crate) async fn remove_link(kernel: &mut Linux, link: &Link, owned: &Owned) -> Result<(), Error> {
    for undo in unlink(link, owned) {
        kernel.revert(&undo).await.map_err(|refusal| faults::remains(&link.name, &refusal))?;
    }
    if owned.has_rules() {
        remove_rules(kernel, &owned.host, &link.name).await?;
    }
    Ok(())
}

async fn remove_rules(kernel: &mut Linux, host: &str, shown: &str) -> Result<(), Error> {
    for undo in [Undo::Unprotect(host.to_string()), Undo::RemoveMasquerade(host.to_string())] {
        kernel.revert(&undo).await.map_err(|refusal| faults::remains(shown, &refusal))?;
    }
    Ok(())
}

/// Takes off the node what an attachment is there. Of another plugin's interface that is what was put on it; its VLANs and
/// flags stay with the port until that plugin deletes it, so that no frame escapes them. A guarded port comes off the bridge
/// in any case: the guard goes, and the other plugin's DEL comes later, if at all.
fn unlink(link: &Link, owned: &Owned) -> Vec<Undo> {
    let Some(chained) = &owned.chained else { return vec![Undo::DeletePair(Box::new(link.clone()))] };
    let mut undo = Vec::new();
    let mac = chained.former_mac.or(link.mac);
    let mtu = chained.former_mtu.unwrap_or(link.mtu);
    match chained.port {
        ChainedPort::Enslaved { up } => {
            undo.push(Undo::Release(Box::new(Link { mac, mtu, up: up || link.up, ..link.clone() })));
        }
        ChainedPort::Joined if owned.has_rules() && link.master.is_some() => {
            undo.push(Undo::Release(Box::new(link.clone())));
        }
        ChainedPort::Joined => {}
    }
    if owned.label.is_some() {
        undo.push(Undo::UnmarkPort(Box::new(Link { alias: None, port: None, ..link.clone() })));
    }
    // Behind what they are read for, so that a DEL that is killed can be repeated.
    let ours = |name: &&String| host_of(name) == Some(&owned.host);
    let names = link.alternative.iter().filter(ours).cloned().collect();
    undo.push(Undo::RemoveNames { port: link.name.clone(), index: link.index, names });
    undo
}

/// Removes what KubeVirt put in the place of the container side when it renamed that: a link of the same name with
/// the attachment's MAC. Its loss would do no harm, so neither does a failure here.
async fn remove_placeholder(kernel: &mut Linux, ifname: &str, mac: Option<MacAddress>, log: &Log) {
    let Ok(Some(link)) = kernel.container_link(ifname).await else { return };
    let virtual_twin = link.kind.is_some() && link.mac.is_some() && link.mac == mac;
    if virtual_twin && let Err(refusal) = kernel.delete_container_link(ifname).await {
        log.write(Level::Warn, format_args!("cannot delete {ifname} in the container: {refusal}"));
    }
}
