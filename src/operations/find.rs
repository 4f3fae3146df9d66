//! Finds the link of an attachment, whatever it is called by now, without looking at any other.

use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::net::Link;
use crate::plan::marks::pair_mark;
use crate::plan::owner::{Owned, owned};

/// What bears the names of an attachment.
pub(crate) enum Found {
    /// Its link.
    Ours(Box<Link>, Box<Owned>),
    /// A link that has its derived name, but is not its.
    Other(Box<Link>),
    /// No link.
    Nothing,
}

/// The link of the attachment with this derived name.
///
/// # Errors
/// The kernel's refusal.
pub(crate) async fn find(kernel: &mut Linux, host: &str) -> Result<Found, Refusal> {
    let named = kernel.link(host).await?;
    if let Some(link) = &named {
        let mut owner = owned(link, None);
        if owner.is_none() && link.peer_netns.is_some() {
            owner = owned(link, kernel.container_netns_id().await?);
        }
        if let Some(owner) = owner.filter(|owner| owner.host == host) {
            return Ok(Found::Ours(Box::new(link.clone()), Box::new(owner)));
        }
    }
    // Somebody has renamed it.
    if let Some(link) = kernel.link(&pair_mark(host)).await?
        && let Some(owner) = owned(&link, None).filter(|owner| owner.host == host)
    {
        return Ok(Found::Ours(Box::new(link), Box::new(owner)));
    }
    Ok(named.map_or(Found::Nothing, |link| Found::Other(Box::new(link))))
}
