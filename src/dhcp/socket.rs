//! A packet socket that hears only what is meant for DHCP clients on one interface.
//!
//! It belongs to the network namespace of the thread that opened it, wherever it is used later.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::sockopt::SetBool;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, LinkAddr, MsgFlags, SetSockOpt, SockFlag, SockType,
    recvmsg, sendmsg, sendto, socketpair,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::filter;
use crate::net::MacAddress;

/// Longest frame taken whole. The DISCOVER says that no message may be longer than an Ethernet frame of 1500 bytes
/// carries.
pub const FRAME_MAX: usize = 2048;

/// Every protocol, also what the interface's own VLAN or bridge handlers would take away (linux/if_ether.h).
const ETH_P_ALL: u16 = 3;

/// Frames that may wait in a new socket before its filter counts; more would be a stream that never ends.
const STRAYS: usize = 4096;

/// Bytes of a VLAN tag, and where it stands in a frame: behind the two addresses.
const TAG: usize = 4;
const TAG_AT: usize = 12;

/// The option by which a packet socket tells each frame's VLAN tag beside it, as the kernel keeps it (packet(7)).
#[derive(Clone)]
struct PacketAuxdata;
nix::setsockopt_impl!(PacketAuxdata, libc::SOL_PACKET, libc::PACKET_AUXDATA, bool, SetBool);

/// `struct tpacket_auxdata` of linux/if_packet.h: its size, and where its status and its tag are.
const AUXDATA: usize = 20;
const AUXDATA_TCI: usize = 16;
const AUXDATA_TPID: usize = 18;

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
        let protocol = Protocol::from(i32::from(ETH_P_ALL.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
        socket.attach_filter(filter)?;
        PacketAuxdata.set(&socket, &true)?;
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

    /// Waits for a frame and puts it into the buffer as it was on the wire, cut to its size; returns where it is there.
    ///
    /// # Errors
    /// ENETDOWN once when the interface goes down.
    pub async fn receive(&self, buffer: &mut [u8; FRAME_MAX]) -> io::Result<Range<usize>> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(received) = ready.try_io(|socket| take(socket.get_ref(), buffer)) {
                return received;
            }
        }
    }

    /// Waits for frames and hands over those that are there, `most` at the most. Holds no buffer while it waits.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub async fn hear(&self, most: usize, mut heard: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let mut ready = self.socket.readable().await?;
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
        take(self.socket.get_ref(), buffer)
    }
}

/// Hands over the frames that are there; `WouldBlock` if there are none.
fn hear(socket: &Socket, most: usize, heard: &mut impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = [0; FRAME_MAX];
    let frame = take(socket, &mut buffer)?;
    heard(&buffer[frame]);
    for _ in 1..most {
        match take(socket, &mut buffer) {
            Ok(frame) => heard(&buffer[frame]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes a frame, and puts the tag that the kernel took out of it back to where it was.
fn take(socket: &Socket, buffer: &mut [u8; FRAME_MAX]) -> io::Result<Range<usize>> {
    let mut beside = nix::cmsg_space!([u8; AUXDATA]);
    let mut parts = [IoSliceMut::new(&mut buffer[TAG..])];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut beside), MsgFlags::MSG_DONTWAIT)?;
    let end = TAG + message.bytes;
    let Some(tag) = message.cmsgs()?.find_map(|beside| tag(&beside)) else { return Ok(TAG..end) };
    buffer.copy_within(TAG..TAG + TAG_AT, 0);
    buffer[TAG_AT..TAG_AT + TAG].copy_from_slice(&tag);
    Ok(0..end)
}

/// The VLAN tag that came beside a frame, if it had one.
fn tag(beside: &ControlMessageOwned) -> Option<[u8; TAG]> {
    let ControlMessageOwned::Unknown(message) = beside else { return None };
    let header = &message.cmsg_header;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    let half = |at: usize| message.data_bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes);
    let status = u32::from_ne_bytes(*message.data_bytes.first_chunk()?);
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let ([a, b], [c, d]) = (half(AUXDATA_TPID)?.to_be_bytes(), half(AUXDATA_TCI)?.to_be_bytes());
    Some([a, b, c, d])
}
