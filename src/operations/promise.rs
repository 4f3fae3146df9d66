//! What ADD promised is looked at once more before it says success: while it waited for IPAM or a DHCP server, a firewall
//! may have been reloaded and the port changed.

use super::check::{port_differences, vlan_differences};
use super::faults;
use super::perform::perform;
use super::transaction::Transaction;
use crate::cni::request::Add;
use crate::error::Error;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::kernel::nft;
use crate::net::BridgeSeen;
use crate::plan::step::Step;
use crate::plan::{faults::bridge_missing, names, validate_bridge};

/// Restores rules that are gone. Where port or bridge are not what they were made to be, another program works against
/// this one, and the attachment is refused.
///
/// # Errors
/// Code 120 where the rules cannot be restored, 123 naming what differs, 100 to 103 for the bridge, 124 where the kernel
/// cannot be asked.
pub(super) async fn keep(request: &Add, transaction: &mut Transaction<Linux>) -> Result<(), Error> {
    for step in transaction.promised() {
        if !holds(&step)? {
            perform(transaction, &step).await?;
        }
    }
    let waited = request.conf.ipam.is_some() || request.conf.dhcp_probe.is_some();
    if waited { unchanged(request, transaction.kernel()).await } else { Ok(()) }
}

fn holds(step: &Step) -> Result<bool, Error> {
    let missing = match step {
        Step::Protect { port, mac, .. } => nft::guard::verify(port, *mac).map(|missing| missing.is_empty()),
        Step::Masquerade { port, addresses } => {
            nft::masquerade::verify(port, addresses).map(|missing| missing.is_empty())
        }
        _ => Ok(true),
    };
    missing.map_err(|refusal| unseen("the nftables rules", &refusal))
}

async fn unchanged(request: &Add, kernel: &mut Linux) -> Result<(), Error> {
    let name = request.conf.bridge.as_str();
    let host = names::host_interface(&request.attachment);
    let seen = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
    validate_bridge(&request.conf, &seen)?;
    let bridge = match &seen {
        BridgeSeen::Present(bridge) => bridge,
        BridgeSeen::Missing { present } => return Err(bridge_missing(name, present)),
    };
    let Some(link) = kernel.link(&host).await.map_err(|refusal| unseen(&host, &refusal))? else {
        return Err(faults::no_port_any_more(&host, name));
    };
    let mut differences = port_differences(request, &link, bridge);
    if let Some(vlans) = &request.conf.vlans {
        differences.extend(vlan_differences(kernel, &link, vlans).await?);
    }
    match differences.is_empty() {
        true => Ok(()),
        false => Err(faults::differs(&host, &differences)),
    }
}
