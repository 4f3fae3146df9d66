//! A packet socket that hears only what is meant for DHCP clients on one interface.
//!
//! It belongs to the network namespace of the thread that opened it, wherever it is used later.

use std::io::{self, Read};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, MsgFlags, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::filter;

/// Longest frame taken whole. The DISCOVER says that no message may be longer than an Ethernet frame of 1500 bytes
/// carries.
pub const FRAME_MAX: usize = 2048;

/// Every protocol, also what the interface's own VLAN or bridge handlers would take away (linux/if_ether.h).
const ETH_P_ALL: u16 = 3;

/// Frames that may wait in a new socket before its filter counts; more would be a stream that never ends.
const STRAYS: usize = 4096;

/// Opened in a namespace, not yet known to an event loop.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    interface: LinkAddr,
}

impl PacketSocket {
    /// Opens a socket for the interface with this index in the calling thread's network namespace. Needs CAP_NET_RAW.
    ///
    /// It is not bound: binding a socket that already hears waits 13-20 ms for the kernel's RCU, and an address to bind
    /// a deaf one to can't be made without `unsafe`. So the filter tells the interface, and each frame is sent to it by name.
    /// Closing takes the kernel 8-20 ms, also where it happens implicitly.
    ///
    /// # Errors
    /// ENODEV if there is no such interface, else what the kernel says.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        // The namespace of a probe has two interfaces; this reads all there are.
        let interface = getifaddrs()?
            .find_map(|entry| {
                entry.address?.as_link_addr().copied().filter(|link| link.ifindex() == ifindex as usize)
            })
            .ok_or(io::Error::from_raw_os_error(nix::libc::ENODEV))?;
        let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
        socket.attach_filter(&filter::dhcp_client(ifindex))?;
        // What came between the two calls was not asked for.
        for _ in 0..STRAYS {
            if (&socket).read(&mut [0; 1]).is_err() {
                break;
            }
        }
        Ok(Self { socket, interface })
    }

    /// Registers the socket with the current tokio runtime.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    #[expect(
        deprecated,
        reason = "unsound only for what does not own its descriptor; the replacement is unsafe"
    )]
    pub fn into_async(self) -> io::Result<AsyncPacketSocket> {
        Ok(AsyncPacketSocket { socket: AsyncFd::new(self.socket)?, interface: self.interface })
    }
}

/// A packet socket in an event loop.
#[derive(Debug)]
pub struct AsyncPacketSocket {
    socket: AsyncFd<Socket>,
    interface: LinkAddr,
}

impl AsyncPacketSocket {
    /// Sends a complete Ethernet frame, waiting for room in the socket's buffer.
    ///
    /// # Errors
    /// ENETDOWN while the interface is down, ENXIO when it is gone, ENOBUFS when its queue is full.
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            let mut ready = self.socket.writable().await?;
            let sent = ready.try_io(|socket| {
                Ok(sendto(socket.get_ref().as_raw_fd(), frame, &self.interface, MsgFlags::MSG_DONTWAIT)?)
            });
            if let Ok(sent) = sent {
                return sent.map(drop);
            }
        }
    }

    /// Waits for a frame and puts it into the buffer, cut to its size; returns the length.
    ///
    /// # Errors
    /// ENETDOWN once when the interface goes down.
    pub async fn receive(&self, buffer: &mut [u8; FRAME_MAX]) -> io::Result<usize> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(received) = ready.try_io(|socket| socket.get_ref().read(buffer)) {
                return received;
            }
        }
    }

    /// Takes a frame that is already there.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, else as [`Self::receive`].
    pub fn try_receive(&self, buffer: &mut [u8; FRAME_MAX]) -> io::Result<usize> {
        self.socket.get_ref().read(buffer)
    }
}
