//! `bridge-dhcp`: a CNI plugin that attaches pods and virtual machines to a bridge of the node and can
//! prove, at attach time, that DHCP works behind it.
//!
//! # The map
//! Data flows one way: what the runtime says becomes a request, the request a plan, and the plan steps on the kernel,
//! each with its undo. A room imports only from floors below its own; each room's `mod.rs` lists its files.
//!
//! | floor | room | what it is for |
//! |---|---|---|
//! | 11 | `main.rs` | decides who called: a runtime or a person |
//! | 10 | [`cli`] | the command line: one file for each command, one exit status for all |
//! | 9 | [`agent`] | the node's process: keeps the leases of its containers |
//! | 8 | [`operations`] | ADD, DEL, CHECK, STATUS, GC, each as one screen of steps; what is undone, and in which order |
//! | 7 | [`probe`] | asks for an offer where an attachment would, and names the cause when none comes: codes 110 to 118 |
//! | 7 | [`lease`] | takes, records and returns the DHCP lease of a container |
//! | 6 | [`kernel`] | the only code that touches Linux, and that carries steps and undos out: netlink sockets, nftables, namespaces, sysctls, locks, fresh MACs |
//! | 5 | [`plan`] | request and facts in, steps out, without I/O: names, owners, uplinks, which VLANs a port gets, what undoes each step |
//! | 5 | [`ipam`] | finds and executes another IPAM plugin |
//! | 5 | [`policy`] | what the node's owner allows to whom, decided before anything is planned: codes 140 and 141 |
//! | 4 | [`dhcp`] | DHCP messages and options, the state machines of the probe's exchange and of a lease, the packet socket |
//! | 3 | [`cni`] | what a CNI runtime says and hears: environment, config keys (trunks, too) and their errors, previous result, result |
//! | 2 | [`net`] | the field's words without I/O: MAC, names, VLAN ranges, CIDR, link, port and bridge as the kernel shows them |
//! | 1 | [`error`] | the error that a pod's event shows, the table of its codes, the log |
//!
//! Each room says its own errors, in a file `faults` where there are many.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod agent;
pub mod cli;
pub mod cni;
pub mod dhcp;
pub mod error;
pub mod ipam;
pub mod kernel;
pub mod lease;
pub mod net;
pub mod operations;
pub mod plan;
pub mod policy;
pub mod probe;
