//! The only code that touches Linux: our own verbs behind one trait, and the kernel that carries them out.
//!
//! - [`linux`]: the sockets, and the container's namespace.
//! - `verbs`: the table of our verbs: each step and each undo is one short call.
//! - `bridge`, `veth`, `port`, `port_vlans`, `container`, `gateway`, `sysctl`: what these calls do, by subject.
//! - [`look`]: what is there, read as narrowly as the kernel allows; [`ports`]: of one bridge.
//! - [`changes`]: what happens to the node's interfaces.
//! - [`probe_port`]: the temporary port that a probe asks through.
//! - [`nft`]: our nftables table; [`firewall`]: the rules of others.
//! - [`diagnosis`]: what only a diagnosis looks at; [`uplink_guards`]: what of an interface drops frames.
//! - [`lock`]: mutual exclusion between plugin processes.
//! - [`netns`]: another network namespace.
//! - [`netlink`]: a netlink socket, `wire` what it takes and gives; `interface`, `link`, `address`, `route`, [`vlan`]: its messages, by subject.
//! - [`owned`]: files that only root has written, or may write to; [`root`]: where the node's files begin.
//! - [`random`]: addresses and numbers made of entropy.
//! - `taken`: what may have to be given back.
//! - [`faults`]: the words for what the kernel refuses.

mod address;
mod bridge;
pub mod changes;
mod container;
pub mod diagnosis;
pub mod faults;
pub mod firewall;
mod gateway;
mod interface;
mod link;
pub mod linux;
pub mod lock;
pub mod look;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod owned;
mod port;
mod port_vlans;
pub mod ports;
pub mod probe_port;
pub mod random;
pub mod root;
mod route;
mod sysctl;
mod taken;
pub mod uplink_guards;
mod verbs;
mod veth;
pub mod vlan;
mod wire;

use std::future::Future;

use crate::kernel::netlink::Refusal;
use crate::plan::step::Step;
use crate::plan::undo::Undo;

/// What carries out steps and takes them back.
pub trait Kernel {
    /// Speaks over new sockets from now on: a broken socket may be the reason why steps are taken back.
    fn reconnect(&mut self);

    /// Carries out one step.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn apply(&mut self, step: &Step) -> impl Future<Output = Result<(), Refusal>>;

    /// Takes a step back; succeeds when there is nothing to take back.
    ///
    /// # Errors
    /// The kernel's refusal, where something remains.
    fn revert(&mut self, undo: &Undo) -> impl Future<Output = Result<(), Refusal>>;
}
