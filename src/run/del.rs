//! DEL: removes what ADD made, found by the derived name; a second time there is nothing to do, and that is success.

use std::time::Duration;

use tokio::time::timeout;

use super::unseen;
use crate::kernel::Kernel;
use crate::kernel::linux::Linux;
use crate::kernel::lock::Lock;
use crate::kernel::netns::Netns;
use crate::plan::facts::Link;
use crate::plan::names::{self, ChainedPort, Label};
use crate::plan::step::Undo;
use crate::report::log::{Level, Log};
use crate::report::{Code, Error, faults};
use crate::request::Del;
use crate::request::environment::Attachment;

/// How long to wait for an ADD of the same attachment to give way: it is told at once and has then to undo.
const GIVE_WAY: Duration = Duration::from_secs(20);

/// The name of the lock that ADD holds and DEL waits for.
pub(crate) fn attachment_lock(attachment: &Attachment) -> String {
    format!("attachment/{}", names::host_interface(attachment))
}

/// Detaches. `netns` is the container's namespace, where it still exists.
///
/// # Errors
/// Only where something of the attachment remains: code 11 for an ADD that does not give way, code 125 otherwise.
pub async fn del(request: &Del, netns: Option<Netns>, log: &Log) -> Result<(), Error> {
    let _lock = timeout(GIVE_WAY, Lock::acquire(&attachment_lock(&request.attachment)))
        .await
        .map_err(|_| faults::still_running(&request.attachment))?
        .map_err(|error| Error::new(Code::Kernel, format!("cannot take the attachment's lock: {error}")))?;
    let mut kernel = Linux::open(netns).map_err(|refusal| unseen("the node's network", &refusal))?;
    let host = names::host_interface(&request.attachment);
    let label = remove(&mut kernel, &host).await?;
    if let Some(label) = &label {
        remove_placeholder(&mut kernel, label, log).await;
    }
    log.write(
        Level::Info,
        format_args!("detached {host}{}", if label.is_none() { " (nothing was there)" } else { "" }),
    );
    Ok(())
}

/// Removes an attachment by the name of its host side, which may be an alternative name of another plugin's interface;
/// its label, where there was one.
///
/// # Errors
/// Code 125 naming what remains.
pub(crate) async fn remove(kernel: &mut Linux, host: &str) -> Result<Option<Label>, Error> {
    let remains = |refusal| faults::remains(host, &refusal);
    let Some(link) = kernel.link(host).await.map_err(remains)? else { return Ok(None) };
    let label = link.alias.as_deref().and_then(Label::from_alias);
    let chained = label.as_ref().and_then(|label| label.chain);
    for undo in
        if link.name == host { vec![Undo::DeleteVeth(link.name)] } else { unchain(link, host, chained) }
    {
        kernel.revert(&undo).await.map_err(remains)?;
    }
    Ok(label)
}

/// Takes off another plugin's interface what was put on it; its VLANs and flags stay with the port until that plugin
/// deletes it, so that no frame escapes them.
fn unchain(link: Link, host: &str, chained: Option<ChainedPort>) -> Vec<Undo> {
    let mut undo = Vec::new();
    if chained.is_some() {
        undo.push(Undo::UnmarkPort(Box::new(Link { alias: None, port: None, ..link.clone() })));
    }
    if chained == Some(ChainedPort::Enslaved) {
        undo.push(Undo::Release(Box::new(link.clone())));
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
