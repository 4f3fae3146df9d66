//! Gives a new pair the names that prove it ours, and that its MAC is in use on the bridge.

use nix::errno::Errno;

use super::faults;
use super::perform::explain;
use super::transaction::Transaction;
use crate::cni::request::Add;
use crate::error::Error;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::plan::Plan;
use crate::plan::owner::owned;
use crate::plan::step::Step;

/// Takes the names. The kernel gives each to one link only, so of two ADDs with one MAC one is told, however they race.
///
/// # Errors
/// Code 109 where a port of this bridge has the MAC, 107 where another link has the attachment's name, 124 for what the kernel
/// refuses.
pub(super) async fn names(
    request: &Add,
    plan: &Plan,
    transaction: &mut Transaction<Linux>,
) -> Result<(), Error> {
    let step = Step::AddNames { port: plan.host.clone(), index: 0, names: plan.names.to_vec() };
    let refusal = match transaction.perform(&step).await {
        Ok(()) => return Ok(()),
        Err(refusal) => refusal,
    };
    let [mark, _, claim] = &plan.names;
    match refusal.errno {
        // Linux before 5.5 has no alternative names: the derived name and the MAC have to do.
        Errno::EOPNOTSUPP => return Ok(()),
        Errno::EEXIST => {}
        _ => return Err(explain(transaction, &step, &refusal).await),
    }
    let kernel = transaction.kernel();
    let bearer = kernel.link(mark).await.map_err(|refusal| unseen(mark, &refusal))?;
    if let Some(bearer) = bearer.filter(|link| link.name != plan.host) {
        return Err(match owned(&bearer, None) {
            Some(_) => faults::interface_exists(request.attachment.ifname.as_str(), &bearer.name, true),
            None => faults::name_taken(mark, &bearer),
        });
    }
    let name = request.conf.bridge.as_str();
    let bridge = kernel.link(name).await.map_err(|refusal| unseen(name, &refusal))?;
    let holder = kernel.link(claim).await.map_err(|refusal| unseen(claim, &refusal))?;
    match (holder, bridge) {
        (Some(holder), Some(bridge)) if holder.master == Some(bridge.index) => {
            Err(faults::duplicate_mac(plan.mac, &holder, name))
        }
        // Who has the name is no port of this bridge any more.
        _ => Ok(()),
    }
}
