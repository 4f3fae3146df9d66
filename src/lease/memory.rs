//! Which address an identity had last, beyond the life of its pod and of the node's uptime. A hint to the server, no claim:
//! whatever is wrong with it, the client asks for any address.

use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;

use sha2::{Digest, Sha256};

use super::file;
use super::place::Place;

/// Longest content: an address.
const SIZE_MAX: u64 = 64;
/// Most identities that are remembered; beyond them, the first ones in the directory are forgotten.
const COUNT_MAX: usize = 4096;

/// The address that the client with this identifier had last.
pub fn recall(place: &Place, client_id: &[u8]) -> Option<Ipv4Addr> {
    let content = file::read(&place.addresses().join(name(client_id)), SIZE_MAX).ok()??;
    std::str::from_utf8(&content).ok()?.trim().parse().ok()
}

/// Remembers it.
///
/// # Errors
/// What the file system says.
pub fn remember(place: &Place, client_id: &[u8], address: Ipv4Addr) -> io::Result<()> {
    if recall(place, client_id) == Some(address) {
        return Ok(());
    }
    let directory = place.addresses();
    let known = file::names(&directory, 2 * COUNT_MAX)?;
    for name in known.iter().take((known.len() + 1).saturating_sub(COUNT_MAX)) {
        file::remove(&directory.join(name))?;
    }
    file::write(&directory, &name(client_id), format!("{address}\n").as_bytes())
}

fn name(client_id: &[u8]) -> String {
    Sha256::digest(client_id).iter().take(16).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
