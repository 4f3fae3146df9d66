//! A packet socket that hears only what is meant for DHCP clients on one interface.
//!
//! It belongs to the network namespace of the thread that opened it, wherever it is used later.

use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{SockFilter, Socket};

use super::filter;
use super::tap::{self, Tap};

use crate::net::MacAddress;

pub use super::tap::FRAME_MAX;

/// Opened in a namespace, not yet known to an event loop.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    interface: LinkAddr,
}

impl PacketSocket {
    /// Opens a socket for the interface with this index in the calling thread's network namespace. Needs CAP_NET_RAW.
    /// Each frame is sent to the interface by name.
    ///
    /// # Errors
    /// ENODEV if there is no such interface, else what the kernel says.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        Self::filtered(ifindex, &filter::dhcp_client(ifindex))
    }

    /// The same for the replies to one client only.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for(ifindex: u32, chaddr: MacAddress) -> io::Result<Self> {
        Self::filtered(ifindex, &filter::one_client(ifindex, chaddr))
    }

    fn filtered(ifindex: u32, filter: &[SockFilter]) -> io::Result<Self> {
        // The namespace of a probe has two interfaces; this reads all there are.
        let interface = getifaddrs()?
            .find_map(|entry| {
                entry.address?.as_link_addr().copied().filter(|link| link.ifindex() == ifindex as usize)
            })
            .ok_or(io::Error::from_raw_os_error(nix::libc::ENODEV))?;
        Ok(Self { socket: tap::open(filter)?, interface })
    }

    /// Registers the socket with the current tokio runtime.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn into_async(self) -> io::Result<AsyncPacketSocket> {
        Ok(AsyncPacketSocket { tap: Tap::new(self.socket)?, interface: self.interface })
    }
}

/// A packet socket in an event loop.
#[derive(Debug)]
pub struct AsyncPacketSocket {
    tap: Tap,
    interface: LinkAddr,
}

impl AsyncPacketSocket {
    /// Sends a complete Ethernet frame, waiting for room in the socket's buffer.
    ///
    /// # Errors
    /// ENETDOWN while the interface is down, ENXIO when it is gone, ENOBUFS when its queue is full.
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            let mut ready = self.tap.socket().writable().await?;
            let sent = ready.try_io(|socket| {
                Ok(sendto(socket.get_ref().as_raw_fd(), frame, &self.interface, MsgFlags::MSG_DONTWAIT)?)
            });
            if let Ok(sent) = sent {
                return sent.map(drop);
            }
        }
    }

    /// Waits for a frame and puts it into the buffer as it was on the wire, cut to its size; returns where it is there.
    ///
    /// # Errors
    /// ENETDOWN once when the interface goes down.
    pub async fn receive(&self, buffer: &mut [u8; FRAME_MAX]) -> io::Result<Range<usize>> {
        self.tap.receive(buffer).await.map(|(frame, _)| frame)
    }

    /// Waits for frames and hands over those that are there, `most` at the most. Holds no buffer while it waits.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn hear(&self, most: usize, mut heard: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let mut ready = self.tap.socket().readable().await?;
            let outcome = ready.try_io(|socket| hear(socket.get_ref(), most, &mut heard));
            if let Ok(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Takes a frame that is already there.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, else as [`Self::receive`].
    pub fn try_receive(&self, buffer: &mut [u8; FRAME_MAX]) -> io::Result<Range<usize>> {
        self.tap.try_receive(buffer).map(|(frame, _)| frame)
    }
}

/// Hands over the frames that are there; `WouldBlock` if there are none.
fn hear(socket: &Socket, most: usize, heard: &mut impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0; FRAME_MAX];
    let (frame, _) = tap::take(socket, &mut buffer)?;
    heard(&buffer[frame]);
    for _ in 1..most {
        match tap::take(socket, &mut buffer) {
            Ok((frame, _)) => heard(&buffer[frame]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
