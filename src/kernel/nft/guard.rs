//! The guard of a port.

use crate::request::mac::MacAddress;

use super::unsupported;
use crate::kernel::netlink::Refusal;

/// Puts it in place.
///
/// # Errors
/// EOPNOTSUPP.
pub async fn protect(_port: &str, _subject: MacAddress) -> Result<(), Refusal> {
    unsupported()
}

/// Removes it.
///
/// # Errors
/// None.
pub async fn unprotect(_port: &str) -> Result<(), Refusal> {
    Ok(())
}

/// What is missing.
///
/// # Errors
/// EOPNOTSUPP.
pub async fn verify(_port: &str, _subject: MacAddress) -> Result<Vec<String>, Refusal> {
    unsupported()
}
