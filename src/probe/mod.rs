//! Would a DHCP client attached here, with this VLAN and this MAC, get an offer? Asks by DHCPDISCOVER alone, through a
//! temporary port of the bridge, and names the cause when no good offer comes. It takes no lease.
//!
//! - [`question`]: what is asked, and where.
//! - [`ask`]: one probe, from its temporary port to its report or diagnosis.
//! - `exchanges`: who asks, and with which addresses.
//! - `second_half`: what is looked at besides, from the half of the time on.
//! - `bridge_device`: the bridge device itself as the second place to ask from.
//! - [`witness`]: what was seen to leave and to enter by the uplinks; pure.
//! - `facts`: what was seen; pure data.
//! - [`verdict`]: the one cause that the facts prove (it chooses between the codes 110 to 118, which `faults` has); pure.
//! - `dropper`: what of the node drops what was lost on it; pure.
//! - [`way`]: the way of question and answer, hop by hop; pure.
//! - `evidence`: the lines behind a verdict; pure.
//! - [`faults`]: the words and the code of each verdict.
//! - [`report`]: what an answered probe tells.

pub mod ask;
mod bridge_device;
mod dropper;
mod evidence;
mod exchanges;
mod facts;
pub mod faults;
pub mod question;
pub mod report;
mod second_half;
pub mod verdict;
pub mod way;
pub mod witness;

pub use ask::{Unanswered, probe, trace};
pub use exchanges::source;
pub use question::Question;
