//! A packet socket that only listens, on several interfaces at once: DHCP in both directions, and the broadcasts of others.

use std::io::{self, ErrorKind};

use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{LinkAddr, SetSockOpt};

use super::filter;
use super::overheard::{Overheard, overheard};
use super::tap::{self, FRAME_MAX, Tap};

/// Interfaces that one listener hears at most; the filter's jumps reach no further.
pub const INTERFACES_MAX: usize = 16;
/// Foreign broadcasts that are read before the filter keeps them out: by then every VLAN that has any was heard.
const BROADCASTS_MAX: u32 = 4096;
/// Room for frames that wait, in bytes: a storm of others' must not push our own out.
const ROOM: usize = 4 << 20;
/// Frames that are read once nobody listens any more.
const LEFT_OVER_MAX: usize = 4096;
/// Frames read before others have their turn.
const BATCH: u32 = 64;

/// A listener. Ends with the value.
#[derive(Debug)]
pub struct Listener {
    tap: Tap,
    interfaces: Vec<u32>,
    broadcasts: u32,
}

impl Listener {
    /// Listens on the interfaces with these indices, of which the first [`INTERFACES_MAX`] count, in the calling thread's
    /// network namespace. Needs CAP_NET_RAW.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(interfaces: impl IntoIterator<Item = u32>) -> io::Result<Self> {
        let interfaces: Vec<u32> = interfaces.into_iter().take(INTERFACES_MAX).collect();
        let socket = tap::open(&filter::witness(&interfaces, true))?;
        // Beyond the node's limit only for who may; the rest take what there is.
        if RcvBufForce.set(&socket, &ROOM).is_err() {
            let _ = RcvBuf.set(&socket, &ROOM);
        }
        Ok(Self { tap: Tap::new(socket)?, interfaces, broadcasts: 0 })
    }

    /// Shows each frame, with the index of its interface, as it comes; ends only with an error.
    ///
    /// # Errors
    /// What receiving said.
    pub async fn listen(&mut self, mut show: impl FnMut(u32, Overheard)) -> io::Result<()> {
        let mut buffer = [0; FRAME_MAX];
        for read in 1_u32.. {
            match self.tap.receive(&mut buffer).await {
                Ok((frame, seen_on)) => self.hear(&buffer[frame], seen_on, &mut show),
                // One interface of several went down.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENETDOWN) => {}
                Err(error) => return Err(error),
            }
            if read % BATCH == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Shows what had come before, and was not read yet.
    pub fn finish(mut self, mut show: impl FnMut(u32, Overheard)) {
        let mut buffer = [0; FRAME_MAX];
        for _ in 0..LEFT_OVER_MAX {
            match self.tap.try_receive(&mut buffer) {
                Ok((frame, seen_on)) => self.hear(&buffer[frame], seen_on, &mut show),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }

    fn hear(&mut self, frame: &[u8], seen_on: Option<LinkAddr>, show: &mut impl FnMut(u32, Overheard)) {
        let Some(interface) = seen_on else { return };
        let heard = overheard(frame, interface.pkttype());
        if heard.dhcp.is_none() {
            self.broadcasts = self.broadcasts.saturating_add(1);
            if self.broadcasts == BROADCASTS_MAX {
                // Else they go on to be read, which costs time and proves nothing.
                let _ = self.tap.socket().get_ref().attach_filter(&filter::witness(&self.interfaces, false));
            }
        }
        if let Ok(index) = u32::try_from(interface.ifindex()) {
            show(index, heard);
        }
    }
}
