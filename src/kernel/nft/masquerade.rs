//! The masquerade of a port.

use ipnetwork::IpNetwork;

use super::unsupported;
use crate::kernel::netlink::Refusal;

/// Puts it in place.
///
/// # Errors
/// EOPNOTSUPP.
pub async fn install(_port: &str, _subject: &[IpNetwork]) -> Result<(), Refusal> {
    unsupported()
}

/// Removes it.
///
/// # Errors
/// None.
pub async fn remove(_port: &str) -> Result<(), Refusal> {
    Ok(())
}

/// What is missing.
///
/// # Errors
/// EOPNOTSUPP.
pub async fn verify(_port: &str, _subject: &[IpNetwork]) -> Result<Vec<String>, Refusal> {
    unsupported()
}
