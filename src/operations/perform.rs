//! Carries out one step, or says in the user's words why the kernel did not.

use nix::errno::Errno;

use super::faults;
use super::find::{Found, find};
use super::transaction::Transaction;
use crate::error::Error;
use crate::kernel::faults::{nftables_refused, no_lock, port_limit, refused, unseen, without_ipv6};
use crate::kernel::linux::Linux;
use crate::kernel::lock::Lock;
use crate::kernel::netlink::Refusal;
use crate::plan::step::Step;

pub(super) async fn perform(transaction: &mut Transaction<Linux>, step: &Step) -> Result<(), Error> {
    if let Step::SetPromiscuous { bridge } = step
        && is_promiscuous(bridge, transaction).await?
    {
        return Ok(());
    }
    if let Err(refusal) = transaction.perform(step).await {
        return Err(explain(transaction, step, &refusal).await);
    }
    if matches!(step, Step::Protect { .. } | Step::Masquerade { .. }) {
        transaction.promise(step.clone());
    }
    Ok(())
}

/// Whether the bridge is promiscuous already, for good. If not, no other ADD may count on what this one will perhaps take
/// back: they wait until it is over.
async fn is_promiscuous(bridge: &str, transaction: &mut Transaction<Linux>) -> Result<bool, Error> {
    let lock =
        Lock::acquire(&format!("promiscuous/{bridge}")).await.map_err(|error| no_lock("bridge", &error))?;
    let seen = transaction.kernel().link(bridge).await.map_err(|refusal| unseen(bridge, &refusal))?;
    let already = seen.is_some_and(|link| link.promiscuous);
    if !already {
        transaction.hold(lock);
    }
    Ok(already)
}

/// What bears the name that a pair was to get.
pub(super) async fn exists(transaction: &mut Transaction<Linux>, ifname: &str, host: &str) -> Error {
    match find(transaction.kernel(), host).await {
        Ok(Found::Other(link)) => faults::name_taken(host, &link),
        found => faults::interface_exists(ifname, host, matches!(found, Ok(Found::Ours(..)))),
    }
}

/// The refusal of a step in the user's words.
pub(super) async fn explain(transaction: &mut Transaction<Linux>, step: &Step, refusal: &Refusal) -> Error {
    match (step, refusal.errno) {
        (Step::AddVeth(spec), Errno::EXFULL) => port_limit(&spec.bridge),
        (Step::AddVeth(spec), Errno::EEXIST) => exists(transaction, &spec.ifname, &spec.host).await,
        (Step::Protect { .. } | Step::Masquerade { .. }, _) => nftables_refused(step, refusal),
        (Step::AddRoute { route, .. }, Errno::ENETUNREACH | Errno::EHOSTUNREACH) => {
            refused(step, refusal).remedy(format!(
                "correct the routes in the IPAM plugin's config: the next hop to {} must lie in one of the container's subnets",
                route.destination
            ))
        }
        // Every other family it knows.
        (Step::AddAddresses { .. } | Step::AddGateway { .. }, Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) => {
            without_ipv6(step)
        }
        (Step::AddGateway { link, address }, _) if address.is_ipv6() => refused(step, refusal)
            .remedy(format!("sysctl -w net.ipv6.conf.{link}.disable_ipv6=0")),
        _ => refused(step, refusal),
    }
}
