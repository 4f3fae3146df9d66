//! The attachments' state in nftables: the MAC-spoof guard and masquerade, spoken over netlink, one atomic batch per change.
//!
//! All functions work in the network namespace of the calling thread, which they block: the kernel carries out a batch inside
//! `sendmsg(2)`, and its answers are there when that returns.

mod batch;
mod chain;
pub mod foreign;
pub mod guard;
pub mod masquerade;
mod rule;
mod table;

use std::collections::BTreeSet;

use crate::kernel::netlink::Refusal;

/// The name of our tables; each family has its own.
pub(super) const TABLE: &str = "bridge_dhcp";

/// The host-side interfaces that have state in nftables, whether the interfaces still exist or not. Reads our own tables only.
///
/// # Errors
/// The kernel's refusal.
pub fn attachments() -> Result<BTreeSet<String>, Refusal> {
    let mut hosts = guard::ports()?;
    hosts.append(&mut masquerade::hosts()?);
    Ok(hosts)
}
