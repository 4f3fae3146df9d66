//! The only code that touches Linux.

pub mod netlink;
