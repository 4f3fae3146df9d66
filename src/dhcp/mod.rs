//! One DHCPDISCOVER/OFFER exchange: does a server answer a client at this place? It never requests, releases or
//! declines, so it takes no lease.
//!
//! - [`frame`]: Ethernet, IPv4 and UDP around a DHCP message, every length checked before use.
//! - [`discover`] and [`reply`]: what is asked, and what an answer says, each of its options read by itself.
//! - [`expected`]: which offers are good.
//! - [`exchange`]: the state machine; bytes and clock in, bytes and timers out, no I/O.
//! - [`filter`] and [`socket`]: the packet socket that lets only frames to a DHCP client through.
//! - [`drive`](mod@drive): the loop that joins the last two.

pub mod discover;
pub mod drive;
pub mod exchange;
pub mod expected;
pub mod filter;
pub mod frame;
mod options;
pub mod reply;
#[cfg(test)]
pub(crate) mod samples;
pub mod socket;
