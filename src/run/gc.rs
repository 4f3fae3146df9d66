//! GC: removes the attachments of one network that no valid attachment owns.

use std::collections::BTreeSet;
use std::time::Duration;

use super::del::{attachment_lock, remove};
use super::unseen;
use crate::ipam::Delegation;
use crate::kernel::Kernel;
use crate::kernel::linux::Linux;
use crate::kernel::lock::Lock;
use crate::kernel::nft;
use crate::plan::names::{Label, host_interface};
use crate::plan::step::Undo;
use crate::report::log::{Level, Log};
use crate::report::{Code, Error};
use crate::request::Gc;

/// Longest that the IPAM plugin may need for its own collection.
const IPAM_PATIENCE: Duration = Duration::from_secs(30);

/// Collects; goes on where one cannot be removed.
///
/// # Errors
/// Code 125 with everything that remains; 124 where the node's links cannot be read.
pub async fn gc(request: &Gc, ipam: &Delegation, log: &Log) -> Result<(), Error> {
    let mut kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
    let network = Label::network_field(&request.network);
    let valid: BTreeSet<_> = request.valid.iter().map(Label::key).collect();
    let labelled = kernel.labelled().await.map_err(|refusal| unseen("the node's links", &refusal))?;
    let mut remains = Vec::new();
    for (link, label) in labelled {
        if label.network != network || valid.contains(&(label.container.clone(), label.ifname.clone())) {
            continue;
        }
        // An ADD that is still running holds the lock: its attachment is younger than the list of valid ones.
        let lock = label.attachment().map(|attachment| Lock::try_acquire(&attachment_lock(&attachment)));
        if matches!(lock, Some(Ok(None))) {
            continue;
        }
        let host = label.attachment().map_or(link.name.clone(), |attachment| host_interface(&attachment));
        match remove(&mut kernel, &host).await {
            Ok(_) => log.write(Level::Info, format_args!("collected {} of {}", link.name, label.owner())),
            Err(error) => remains.push(error.msg().to_string()),
        }
    }
    remains.extend(collect_orphaned_rules(&mut kernel, log).await);
    match ipam.find(request.ipam.as_ref()) {
        Ok(Some(delegate)) => {
            remains.extend(
                delegate.forward("GC", IPAM_PATIENCE).await.err().map(|error| error.msg().to_string()),
            );
        }
        Ok(None) => {}
        Err(error) => remains.push(error.msg().to_string()),
    }
    match remains.len() {
        0 => Ok(()),
        count => Err(remains.into_iter().fold(
            Error::new(Code::CleanupFailed, format!("{count} stale attachments could not be removed")),
            Error::evidence,
        )),
    }
}

/// Removes rules whose port has vanished with its container: no DEL will name it, and another might get its name.
async fn collect_orphaned_rules(kernel: &mut Linux, log: &Log) -> Vec<String> {
    let ports = match nft::attachments() {
        Ok(ports) => ports,
        Err(refusal) => return vec![format!("cannot read the nftables rules: {refusal}")],
    };
    let mut remains = Vec::new();
    for port in ports {
        match kernel.link(&port).await {
            Ok(None) => {}
            Ok(Some(_)) => continue,
            Err(refusal) => {
                remains.push(format!("cannot read {port}: {refusal}"));
                continue;
            }
        }
        for undo in [Undo::Unprotect(port.clone()), Undo::RemoveMasquerade(port.clone())] {
            remains
                .extend(kernel.revert(&undo).await.err().map(|refusal| format!("cannot {undo}: {refusal}")));
        }
        log.write(Level::Info, format_args!("collected the rules of {port}, which is gone"));
    }
    remains
}
