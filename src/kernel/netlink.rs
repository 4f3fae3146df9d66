//! A netlink socket that keeps the kernel's own words: every refusal carries errno and extended-ack text.
//!
//! The kernel answers a request inside the system call that sends it, so a request waits for nothing and needs no event
//! loop. Only [`Events`], what the kernel says unasked, is waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::io;
use std::marker::PhantomData;

use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use rtnetlink::packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, Socket, SocketAddr, TokioSocket};

use super::wire::Wire;

/// NLM_F_ACK_TLVS (include/uapi/linux/netlink.h): the ack carries attributes behind the echoed header.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// NLMSGERR_ATTR_MSG (include/uapi/linux/netlink.h): the extended-ack text.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Size of `struct nlmsghdr`, which an ack echoes in front of its attributes.
const HEADER_LEN: usize = 16;
/// The largest datagram that is read: what the kernel makes of a dump at a time is at most half as large (NLMSG_GOODSIZE),
/// and so is the description of one link with all that it may have.
const DATAGRAM_MAX: usize = 64 * 1024;
/// How often an interrupted dump is asked again.
pub(super) const DUMP_TRIES: usize = 8;

/// Why the kernel did not do what a message asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's extended-ack text, where it gave one.
    pub text: Option<String>,
}

impl Refusal {
    /// A refusal without the kernel's text.
    pub fn plain(errno: Errno) -> Self {
        Self { errno, text: None }
    }

    /// The socket failed before the kernel answered: what was asked for may have been done.
    pub(crate) fn unanswered() -> Self {
        Self { errno: Errno::EIO, text: Some("the netlink socket failed before the kernel answered".into()) }
    }

    /// Whether this is no word of the kernel's; rtnetlink and nftables do not say EIO.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.errno == Errno::EIO
    }

    /// What an error message with these header flags says.
    pub(crate) fn of(error: &ErrorMessage, flags: u16) -> Self {
        let text = (flags & NLM_F_ACK_TLVS != 0).then(|| ext_ack_text(&error.header)).flatten();
        Self { errno: Errno::from_raw(error.raw_code().saturating_neg()), text }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => Self::plain(Errno::from_raw(raw)),
            None => Self { errno: Errno::EIO, text: Some(error.to_string()) },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(f, "{text} ({:?})", self.errno),
            None => write!(f, "{} ({:?})", self.errno.desc(), self.errno),
        }
    }
}

fn ext_ack_text(echo: &[u8]) -> Option<String> {
    let mut rest = echo.get(HEADER_LEN..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & 0x3fff;
        let value = rest.get(4..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = String::from_utf8_lossy(value);
            return Some(text.trim_end_matches('\0').to_string());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// A netlink socket in the network namespace of the thread that opened it. It stays there.
pub struct Client<T> {
    socket: Socket,
    sequence: Cell<u32>,
    datagram: RefCell<Vec<u8>>,
    messages: PhantomData<fn(T) -> T>,
}

impl<T> Client<T>
where
    T: NetlinkSerializable + NetlinkDeserializable + Debug,
{
    /// Opens a socket of `protocol` (NETLINK_ROUTE, NETLINK_NETFILTER).
    ///
    /// # Errors
    /// Whatever `socket(2)` or `setsockopt(2)` says.
    pub fn open(protocol: isize) -> io::Result<Self> {
        let socket = Socket::new(protocol)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: Cell::new(0), datagram: RefCell::default(), messages: PhantomData })
    }

    /// Sends one message and returns the answers that precede its acknowledgement. An answer that cannot be decoded
    /// is missing from them.
    ///
    /// # Errors
    /// The kernel's refusal; EIO where the socket failed, so that it may have been done.
    pub async fn request(&self, payload: T, flags: u16) -> Result<Vec<T>, Refusal> {
        self.send(payload, NLM_F_ACK | flags)?;
        self.collect(Collected::default())
    }

    /// Asks for one object, which is all of the answer.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn get(&self, payload: T) -> Result<Option<T>, Refusal> {
        self.send(payload, 0)?;
        let answers = self.collect(Collected { one_is_all: true, ..Collected::default() })?;
        Ok(answers.into_iter().next())
    }

    fn send(&self, payload: T, flags: u16) -> Result<(), Refusal> {
        self.sequence.set(self.sequence.get().wrapping_add(1));
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(Wire(payload)));
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence.get();
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map_err(|_| Refusal::unanswered())?;
        Ok(())
    }

    /// The answers to the request that was sent last.
    fn collect(&self, mut collected: Collected<T>) -> Result<Vec<T>, Refusal> {
        let mut datagram = self.datagram.borrow_mut();
        datagram.reserve(DATAGRAM_MAX);
        while !collected.complete {
            datagram.clear();
            // Where nothing more is to come, the kernel did not answer as its protocol says.
            let received = self.socket.recv_from(&mut *datagram, MsgFlags::MSG_DONTWAIT.bits());
            received.map_err(|_| Refusal::unanswered())?;
            for message in messages(&datagram).filter(|message| message.sequence() == self.sequence.get()) {
                collected.take(message);
            }
        }
        collected.outcome()
    }

    /// Asks for everything that `payload` describes, again if objects changed under the kernel's hands meanwhile
    /// (NLM_F_DUMP_INTR).
    ///
    /// # Errors
    /// The kernel's refusal; EINTR when the objects never held still.
    pub async fn dump(&self, payload: T) -> Result<Vec<T>, Refusal>
    where
        T: Clone,
    {
        for _ in 0..DUMP_TRIES {
            match self.request(payload.clone(), NLM_F_DUMP).await {
                Err(refusal) if refusal.errno == Errno::EINTR => {}
                outcome => return outcome,
            }
        }
        Err(Refusal::plain(Errno::EINTR))
    }
}

/// What the kernel says unasked: the messages of multicast groups, in the network namespace of the thread that opened it.
pub struct Events<T> {
    socket: TokioSocket,
    datagram: Vec<u8>,
    pending: VecDeque<T>,
}

impl<T: NetlinkDeserializable> Events<T> {
    /// Opens a socket of `protocol` that receives the `groups` (RTNLGRP_ numbers). Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Whatever `socket(2)`, `bind(2)` or `setsockopt(2)` says.
    pub fn open(protocol: isize, groups: &[u32]) -> io::Result<Self> {
        let mut socket = TokioSocket::new(protocol)?;
        socket.socket_mut().bind_auto()?;
        for group in groups {
            socket.socket_mut().add_membership(*group)?;
        }
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM_MAX), pending: VecDeque::new() })
    }

    /// The next message; `Ok(None)` where the kernel had to drop some.
    ///
    /// # Errors
    /// What `recv(2)` says, as EIO: the socket hears nothing any more.
    pub async fn next(&mut self) -> Result<Option<T>, Refusal> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                return Ok(Some(message));
            }
            self.datagram.clear();
            match self.socket.recv(&mut self.datagram).await {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(None),
                Err(_) => return Err(Refusal::unanswered()),
            }
            let decoded = messages(&self.datagram).filter_map(|message| message.decode::<Wire<T>>().ok());
            self.pending.extend(decoded.filter_map(|message| match message.payload {
                NetlinkPayload::InnerMessage(Wire(inner)) => Some(inner),
                _ => None,
            }));
        }
    }
}

/// One message of a datagram, undecoded.
#[derive(Clone, Copy)]
pub(super) struct Raw<'a>(&'a [u8]);

impl Raw<'_> {
    /// `nlmsg_seq` (include/uapi/linux/netlink.h).
    fn sequence(self) -> u32 {
        let number = self.0.get(8..12).and_then(|bytes| bytes.try_into().ok());
        number.map(u32::from_ne_bytes).unwrap_or_default()
    }

    /// What the message says.
    ///
    /// # Errors
    /// EBADMSG where it cannot be decoded.
    pub(super) fn decode<M: NetlinkDeserializable>(self) -> Result<NetlinkMessage<M>, Refusal> {
        NetlinkMessage::deserialize(self.0)
            .map_err(|error| Refusal { errno: Errno::EBADMSG, text: Some(error.to_string()) })
    }
}

/// The messages of a datagram; what is cut short ends them.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Raw<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let message = rest.get(..length).filter(|message| message.len() >= HEADER_LEN)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Raw(message))
    })
}

/// What has been read of the answer to a request.
struct Collected<T> {
    objects: Vec<T>,
    refusal: Option<Refusal>,
    one_is_all: bool,
    complete: bool,
}

impl<T> Default for Collected<T> {
    fn default() -> Self {
        Self { objects: Vec::new(), refusal: None, one_is_all: false, complete: false }
    }
}

impl<T: NetlinkDeserializable> Collected<T> {
    fn take(&mut self, message: Raw<'_>) {
        let Ok(message) = message.decode::<Wire<T>>() else { return };
        let ends = match &message.payload {
            NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => true,
            _ => self.one_is_all,
        };
        match answer(message) {
            Answer::Object(inner) => self.objects.push(inner),
            Answer::Refused(first) => self.refusal = self.refusal.take().or(Some(first)),
            Answer::Nothing => {}
        }
        self.complete |= ends;
    }

    fn outcome(self) -> Result<Vec<T>, Refusal> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(self.objects),
        }
    }
}

/// Reads again, `tries` times at the most, what the kernel says was changed while it was read (NLM_F_DUMP_INTR).
///
/// # Errors
/// The kernel's refusal; EINTR when what is read never held still.
pub(super) fn steady<T>(tries: usize, mut read: impl FnMut() -> Result<T, Refusal>) -> Result<T, Refusal> {
    for _ in 1..tries {
        match read() {
            Err(refusal) if refusal.errno == Errno::EINTR => {}
            outcome => return outcome,
        }
    }
    read()
}

enum Answer<T> {
    Object(T),
    Refused(Refusal),
    Nothing,
}

fn answer<T>(message: NetlinkMessage<Wire<T>>) -> Answer<T> {
    let flags = message.header.flags;
    match message.payload {
        // The end carries it, too: what was removed while the last part was read is missing without a further object.
        NetlinkPayload::InnerMessage(_) | NetlinkPayload::Done(_) if flags & NLM_F_DUMP_INTR != 0 => {
            Answer::Refused(Refusal::plain(Errno::EINTR))
        }
        NetlinkPayload::InnerMessage(Wire(inner)) => Answer::Object(inner),
        NetlinkPayload::Error(error) if error.code.is_some() => Answer::Refused(Refusal::of(&error, flags)),
        NetlinkPayload::Done(done) if done.code < 0 => {
            Answer::Refused(Refusal::plain(Errno::from_raw(done.code.saturating_neg())))
        }
        _ => Answer::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_core::DoneMessage;
    use rtnetlink::packet_route::RouteNetlinkMessage;
    use rtnetlink::packet_route::link::LinkMessage;

    fn said(flags: u16, payload: NetlinkPayload<Wire<RouteNetlinkMessage>>) -> Vec<u8> {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.header.flags = flags;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    fn object(flags: u16) -> Vec<u8> {
        said(flags, NetlinkPayload::InnerMessage(Wire(RouteNetlinkMessage::NewLink(LinkMessage::default()))))
    }

    fn end(flags: u16) -> Vec<u8> {
        said(flags, NetlinkPayload::Done(DoneMessage::default()))
    }

    fn collected(answers: &[Vec<u8>]) -> Option<Result<usize, Errno>> {
        let datagram = answers.concat();
        let mut collected = Collected::<RouteNetlinkMessage>::default();
        messages(&datagram).for_each(|message| collected.take(message));
        let complete = collected.complete;
        let outcome = collected.outcome().map(|objects| objects.len()).map_err(|refusal| refusal.errno);
        complete.then_some(outcome)
    }

    #[test]
    fn a_dump_counts_only_when_it_is_whole() {
        assert_eq!(collected(&[object(0), object(0), end(0)]), Some(Ok(2)));
        assert_eq!(collected(&[object(0)]), None, "without its end");
        assert_eq!(collected(&[object(NLM_F_DUMP_INTR), end(0)]), Some(Err(Errno::EINTR)));
        assert_eq!(collected(&[object(0), end(NLM_F_DUMP_INTR)]), Some(Err(Errno::EINTR)), "at its end");
    }

    #[test]
    fn what_cannot_be_decoded_is_passed_over() {
        let mut cut = object(0);
        cut.truncate(17);
        cut[0] = 17;
        cut.extend([0; 3]);
        assert_eq!(collected(&[cut, object(0), end(0)]), Some(Ok(1)));
        for datagram in [&[][..], &[3, 0, 0, 0], &[255, 255, 255, 255, 0], &[16, 0, 0, 0]] {
            assert_eq!(messages(datagram).count(), 0);
        }
    }
}
