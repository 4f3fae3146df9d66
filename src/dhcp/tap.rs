//! A packet socket as the probe needs it: deaf but for its filter, each frame as it was on the wire, closed without waiting.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::sockopt::SetBool;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, LinkAddr, MsgFlags, SetSockOpt, SockFlag, SockType,
    recvmsg, sendmsg, socketpair,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

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

/// Opens a socket that hears what passes the filter, in the calling thread's network namespace. Needs CAP_NET_RAW.
///
/// It is not bound: binding a socket that already hears waits 13-20 ms for the kernel's RCU, and an address to bind
/// a deaf one to can't be made without `unsafe`. So the filter tells the interface.
pub(super) fn open(filter: &[SockFilter]) -> io::Result<Socket> {
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
    Ok(socket)
}

/// Takes a frame, and puts the tag that the kernel took out of it back to where it was; the interface that it was seen on
/// comes with it.
pub(super) fn take(
    socket: &Socket,
    buffer: &mut [u8; FRAME_MAX],
) -> io::Result<(Range<usize>, Option<LinkAddr>)> {
    let mut beside = nix::cmsg_space!([u8; AUXDATA]);
    let mut parts = [IoSliceMut::new(&mut buffer[TAG..])];
    let message =
        recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut beside), MsgFlags::MSG_DONTWAIT)?;
    let (end, seen_on) = (TAG + message.bytes, message.address);
    let Some(tag) = message.cmsgs()?.find_map(|beside| tag(&beside)) else { return Ok((TAG..end, seen_on)) };
    buffer.copy_within(TAG..TAG + TAG_AT, 0);
    buffer[TAG_AT..TAG_AT + TAG].copy_from_slice(&tag);
    Ok((0..end, seen_on))
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

/// A packet socket in an event loop.
///
/// Closing a packet socket takes the kernel 8-20 ms, in the thread that closes it or at the latest in the exit of the
/// process. This one leaves the last reference to the kernel's collector of sockets in flight, whose worker does the
/// waiting (since Linux 6.9; before, the collector runs in the closing thread and it takes as long as any close).
#[derive(Debug)]
pub(super) struct Tap {
    // Dropped in this order.
    socket: AsyncFd<Socket>,
    closes_later: Option<InFlight>,
}

impl Tap {
    /// Registers the socket with the current tokio runtime.
    #[expect(
        deprecated,
        reason = "unsound only for what does not own its descriptor; the replacement is unsafe"
    )]
    pub(super) fn new(socket: Socket) -> io::Result<Self> {
        Ok(Self { socket: AsyncFd::new(socket)?, closes_later: None })
    }

    /// The socket in its event loop.
    pub(super) fn socket(&self) -> &AsyncFd<Socket> {
        &self.socket
    }

    /// Waits for a frame.
    pub(super) async fn receive(
        &self,
        buffer: &mut [u8; FRAME_MAX],
    ) -> io::Result<(Range<usize>, Option<LinkAddr>)> {
        loop {
            let mut ready = self.socket.readable().await?;
            if let Ok(received) = ready.try_io(|socket| take(socket.get_ref(), buffer)) {
                return received;
            }
        }
    }

    /// Takes a frame that is already there; `WouldBlock` if there is none.
    pub(super) fn try_receive(
        &self,
        buffer: &mut [u8; FRAME_MAX],
    ) -> io::Result<(Range<usize>, Option<LinkAddr>)> {
        take(self.socket.get_ref(), buffer)
    }
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

impl Drop for Tap {
    fn drop(&mut self) {
        self.closes_later = InFlight::holding(self.socket.get_ref()).ok();
    }
}
