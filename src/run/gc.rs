//! GC: removes the attachments of one network that no valid attachment owns.

use std::collections::BTreeSet;

use super::del::{attachment_lock, remove};
use super::unseen;
use crate::kernel::linux::Linux;
use crate::kernel::lock::Lock;
use crate::plan::names::{Label, host_interface};
use crate::report::log::{Level, Log};
use crate::report::{Code, Error};
use crate::request::Gc;

/// Collects; goes on where one cannot be removed.
///
/// # Errors
/// Code 125 with everything that remains; 124 where the node's links cannot be read.
pub async fn gc(request: &Gc, log: &Log) -> Result<(), Error> {
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
    match remains.len() {
        0 => Ok(()),
        count => Err(remains.into_iter().fold(
            Error::new(Code::CleanupFailed, format!("{count} stale attachments could not be removed")),
            Error::evidence,
        )),
    }
}
