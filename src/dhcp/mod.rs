//! A DHCP client's messages, and the pure state machines that send and hear them: the probe's exchange, which only asks for
//! offers and takes no lease, and the client of a lease.
//!
//! - [`frame`]: Ethernet, IPv4 and UDP around a DHCP message, every length checked before use.
//! - `message`, [`discover`] and [`reply`]: what is asked, and what an answer says.
//! - `options`: the options of an answer, each read by itself; `client/lease` reads those of a lease.
//! - [`expected`]: which offers are good.
//! - [`client`]: the client of a lease, a state machine from DISCOVER to RELEASE.
//! - [`exchange`]: the probe's state machine; bytes and clock in, bytes and timers out, no I/O.
//! - `random`: numbers that need not be secret, from a seed.
//! - [`filter`], `tap` and [`socket`]: the packet socket that lets only frames to a DHCP client through.
//! - [`drive`](mod@drive): the loop that joins exchange and socket.
//! - [`listener`]: a packet socket of a bystander, and [`overheard`](mod@overheard), what a frame tells it.

pub mod client;
pub mod discover;
pub mod drive;
pub mod exchange;
pub mod expected;
pub mod filter;
pub mod frame;
pub mod listener;
mod message;
mod options;
pub mod overheard;
mod random;
pub mod reply;
#[cfg(test)]
pub(crate) mod samples;
pub mod socket;
mod tap;
