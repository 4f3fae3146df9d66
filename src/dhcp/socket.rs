//! A packet socket that hears only what is meant for DHCP clients on one interface.
//!
//! It belongs to the network namespace of the thread that opened it, wherever it is used later.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, ControlMessage, LinkAddr, MsgFlags, SockFlag, SockType, sendmsg, sendto, socketpair,
};
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
        Ok(AsyncPacketSocket {
            socket: AsyncFd::new(self.socket)?,
            interface: self.interface,
            closes_later: None,
        })
    }
}

/// A packet socket in an event loop.
///
/// Closing a packet socket takes the kernel 8-20 ms, in the thread that closes it or at the latest in the exit of the
/// process. This one leaves the last reference to the kernel's collector of sockets in flight, whose worker does the
/// waiting (since Linux 6.9; before, the collector runs in the closing thread and it takes as long as any close).
#[derive(Debug)]
pub struct AsyncPacketSocket {
    // Dropped in this order.
    socket: AsyncFd<Socket>,
    interface: LinkAddr,
    closes_later: Option<InFlight>,
}

/// A socket that lies in its own receive queue, and the one that it was sent through. Closing the latter wakes the
/// collector, so it comes last.
#[derive(Debug)]
struct InFlight {
    _queue: OwnedFd,
    _waker: OwnedFd,
}

impl InFlight {
    /// A message to nobody that holds the socket.
    fn holding(socket: &Socket) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (waker, queue) = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags)?;
        let held = [socket.as_raw_fd(), queue.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&held)];
        sendmsg::<()>(waker.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::empty(), None)?;
        Ok(Self { _queue: queue, _waker: waker })
    }
}

impl Drop for AsyncPacketSocket {
    fn drop(&mut self) {
        self.closes_later = InFlight::holding(self.socket.get_ref()).ok();
    }
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
