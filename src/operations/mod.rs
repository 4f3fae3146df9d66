//! ADD, DEL, CHECK, STATUS and GC: carry out what was planned, and take it back in reverse when a step fails.
//!
//! - [`serve`]: the CNI protocol around them; `owner`: what the node's owner has to say first.
//! - [`add`]: attaches; [`del`]: gives the lease or the reservation back, then removes the link; [`check`], [`status`], [`gc`].
//! - `address`, `lease`: what IPAM or a DHCP server gave, put on the container side; `as_ipam`: this program as that plugin.
//! - `chain`: the previous plugin's interface; `claim`, `find`: the names that prove an attachment's link ours.
//! - `probe`: the DHCP probe beside an ADD; `promise`: what must still be there when ADD says success.
//! - `perform`: one step, or why the kernel refused it; `transaction`: the undo of each step.
//! - `faults`: the words for how an operation ends.

pub mod add;
mod address;
mod as_ipam;
mod chain;
pub mod check;
mod claim;
pub mod del;
mod faults;
mod find;
pub mod gc;
mod lease;
mod owner;
mod perform;
mod probe;
mod promise;
pub mod serve;
pub mod status;
mod transaction;

use crate::cni::config::NetConf;
use crate::error::Error;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::{Link, Uplink};
use crate::plan::uplink::{self, Doubt};

/// Judges the uplinks of the config's bridge, reading as few of its ports as the verdict needs.
///
/// # Errors
/// Codes 104, 105, 106; 124 where they cannot be read.
pub(crate) async fn check_uplinks(
    kernel: &Linux,
    bridge: &Link,
    conf: &NetConf,
) -> Result<Option<Doubt>, Error> {
    let Some(kind) = &bridge.bridge else { return Ok(None) };
    let vlans = conf.vlans.as_ref();
    let verdict = |uplinks: &[Uplink]| {
        uplink::judge(&bridge.name, kind, vlans, uplinks).map(|()| uplink::doubt(kind, vlans, uplinks))
    };
    let uplinks = kernel
        .uplinks(bridge, |uplink| matches!(verdict(std::slice::from_ref(uplink)), Ok(None)))
        .await
        .map_err(|refusal| unseen(&format!("the ports of bridge {}", bridge.name), &refusal))?;
    verdict(&uplinks)
}

/// Resolves at SIGTERM or SIGINT.
pub(crate) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
