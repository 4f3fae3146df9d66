//! The sockets through which the node's kernel is asked, and the container's namespace where there is one.

use nix::errno::Errno;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::interface::Route;
use super::netlink::Refusal;
use super::netns::Netns;
use super::taken::Taken;
use crate::plan::spec::Place;

/// The node's kernel, and the container's namespace where there is one.
pub struct Linux {
    pub(super) host: Route,
    pub(super) netns: Option<Netns>,
    container: Option<Route>,
    pub(super) taken: Taken,
}

impl Linux {
    /// Opens the node's side.
    ///
    /// # Errors
    /// The refusal of the socket.
    pub fn open(netns: Option<Netns>) -> Result<Self, Refusal> {
        Ok(Self { host: Route::open(NETLINK_ROUTE)?, netns, container: None, taken: Taken::default() })
    }

    /// Opens new sockets; where none can be had, the old one may still do.
    pub(super) fn reopen(&mut self) {
        if let Ok(host) = Route::open(NETLINK_ROUTE) {
            self.host = host;
        }
        self.container = None;
    }

    pub(super) fn container(&mut self) -> Result<&Route, Refusal> {
        let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
        match &mut self.container {
            Some(client) => Ok(client),
            empty => Ok(empty.insert(netns.enter(|| Route::open(NETLINK_ROUTE))??)),
        }
    }

    /// Runs `work` in the network namespace that is meant.
    pub(super) fn at<T>(&self, place: Place, work: impl FnOnce() -> T) -> Result<T, Refusal> {
        match place {
            Place::Node => Ok(work()),
            Place::Container => {
                let netns = self.netns.as_ref().ok_or(Refusal::plain(Errno::ENOENT))?;
                Ok(netns.enter(work)?)
            }
        }
    }
}
