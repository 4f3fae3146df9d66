//! What every message of a client has in common: its length, and how it counts time.

use std::time::Duration;

use dhcproto::v4::{Encodable, EncodeResult, Encoder, Message};

/// Some relays and servers drop what is shorter than a BOOTP message (RFC 1542 section 2.1).
const BOOTP_LENGTH: usize = 300;

/// Largest DHCP message a client takes: what fits an Ethernet frame of 1500 bytes behind IPv4 and UDP headers.
pub(super) const MAX_MESSAGE: u16 = 1472;

/// The message's bytes, at least 300.
///
/// # Errors
/// Those of the encoder: an option that does not fit its length field.
pub(super) fn encode(message: &Message) -> EncodeResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(BOOTP_LENGTH);
    message.encode(&mut Encoder::new(&mut bytes))?;
    bytes.resize(bytes.len().max(BOOTP_LENGTH), 0);
    Ok(bytes)
}

/// The `secs` field: what does not fit says "very long".
pub(super) fn seconds(elapsed: Duration) -> u16 {
    u16::try_from(elapsed.as_secs()).unwrap_or(u16::MAX)
}
