//! `bridge-dhcp`: a CNI plugin that attaches pods and virtual machines to a bridge of the node and can
//! prove, at attach time, that DHCP works behind it.
//!
//! # Layout
//! Data flows one way, and the modules are its stations:
//! - [`request`]: standard input and environment become a typed [`request::Request`] (what was said).
//! - [`plan`]: a request becomes the steps that are wanted (what it means); pure, no I/O.
//! - [`kernel`]: the only code that touches Linux, behind the trait of our own verbs.
//! - [`dhcp`]: one DISCOVER/OFFER exchange, a pure state machine and the packet socket it runs on.
//! - [`ipam`]: the delegated IPAM plugin, found and executed.
//! - [`probe`]: asks for an offer where an attachment would, and names the cause when none comes.
//! - [`run`]: executes steps on a kernel and undoes them in reverse when one fails.
//! - [`cni`]: the protocol around them: one request in, one document out.
//! - [`cli`]: the same by hand: what a person or a DaemonSet asks of the node.
//! - [`report`]: results per CNI version, and every error with its code.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod cli;
pub mod cni;
pub mod dhcp;
pub mod ipam;
pub mod kernel;
pub mod plan;
pub mod probe;
pub mod report;
pub mod request;
pub mod run;
