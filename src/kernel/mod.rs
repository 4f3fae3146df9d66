//! The only code that touches Linux: our own verbs behind one trait, and the kernel that carries them out.

mod address;
pub mod diagnosis;
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
pub mod ports;
pub mod probe_port;
mod route;
mod sysctl;
pub mod vlan;

use std::future::Future;

use crate::kernel::netlink::Refusal;
use crate::plan::step::{Step, Undo};

/// What carries out steps and takes them back.
pub trait Kernel {
    /// Speaks over new sockets from now on: one that failed may be why steps are taken back.
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
