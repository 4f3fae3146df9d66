//! A netlink socket that keeps the kernel's own words: every refusal carries errno and extended-ack text.

use std::fmt::{self, Debug};
use std::io;

use futures_util::{Stream, StreamExt};
use nix::errno::Errno;
use rtnetlink::packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rtnetlink::proto::{ConnectionHandle, new_connection};
use rtnetlink::sys::{AsyncSocket, SocketAddr};

use super::wire::Wire;

/// NLM_F_ACK_TLVS (include/uapi/linux/netlink.h): the ack carries attributes behind the echoed header.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// NLMSGERR_ATTR_MSG (include/uapi/linux/netlink.h): the extended-ack text.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Size of `struct nlmsghdr`, which an ack echoes in front of its attributes.
const HEADER_LEN: usize = 16;
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
pub struct Client<T: Debug> {
    handle: ConnectionHandle<Wire<T>>,
}

impl<T> Client<T>
where
    T: NetlinkSerializable + NetlinkDeserializable + Debug + Unpin + Send + 'static,
{
    /// Opens a socket of `protocol` (NETLINK_ROUTE, NETLINK_NETFILTER). Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Whatever `socket(2)`, `bind(2)` or `setsockopt(2)` says.
    pub fn open(protocol: isize) -> io::Result<Self> {
        Ok(Self::listen(protocol, &[])?.0)
    }

    /// Opens a socket that also receives the multicast `groups` (RTNLGRP_ numbers); their messages come out of the
    /// returned stream, `None` where the kernel had to drop some.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn listen(
        protocol: isize,
        groups: &[u32],
    ) -> io::Result<(Self, impl Stream<Item = Option<T>> + Unpin + use<T>)> {
        let (mut connection, handle, events) = new_connection::<Wire<T>>(protocol)?;
        // Else the end of an answer looks like the end of the socket.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        let socket = connection.socket_mut().socket_mut();
        socket.bind_auto()?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        tokio::spawn(connection);
        let events = events.filter_map(|(message, _)| {
            std::future::ready(match message.payload {
                NetlinkPayload::InnerMessage(Wire(inner)) => Some(Some(inner)),
                NetlinkPayload::Overrun(_) => Some(None),
                _ => None,
            })
        });
        Ok((Self { handle }, events))
    }

    /// Sends one message and returns the answers that precede its acknowledgement. An answer that cannot be decoded
    /// is missing from them, it never makes the request wait.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn request(&self, payload: T, flags: u16) -> Result<Vec<T>, Refusal> {
        let mut message =
            NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(Wire(payload)));
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let answers =
            self.handle.request(message, SocketAddr::new(0, 0)).map_err(|_| Refusal::unanswered())?;
        collect(answers).await
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

async fn collect<T: Debug>(
    mut answers: impl Stream<Item = NetlinkMessage<Wire<T>>> + Unpin,
) -> Result<Vec<T>, Refusal> {
    let mut received = Vec::new();
    let mut refusal = None;
    let mut complete = false;
    while let Some(message) = answers.next().await {
        match answer(message) {
            Answer::Object(inner) => received.push(inner),
            Answer::Refused(first) => refusal = refusal.or(Some(first)),
            Answer::End => complete = true,
            Answer::Other => {}
        }
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None if complete => Ok(received),
        None => Err(Refusal::unanswered()),
    }
}

enum Answer<T> {
    Object(T),
    Refused(Refusal),
    End,
    Other,
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
        NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => Answer::End,
        _ => Answer::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_core::DoneMessage;
    use rtnetlink::packet_route::RouteNetlinkMessage;
    use rtnetlink::packet_route::link::LinkMessage;

    type Said = NetlinkMessage<Wire<RouteNetlinkMessage>>;

    fn said(flags: u16, payload: NetlinkPayload<Wire<RouteNetlinkMessage>>) -> Said {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.header.flags = flags;
        message
    }

    fn object(flags: u16) -> Said {
        said(flags, NetlinkPayload::InnerMessage(Wire(RouteNetlinkMessage::NewLink(LinkMessage::default()))))
    }

    fn end(flags: u16) -> Said {
        said(flags, NetlinkPayload::Done(DoneMessage::default()))
    }

    async fn collected(answers: Vec<Said>) -> Result<usize, Errno> {
        let outcome = collect(futures_util::stream::iter(answers)).await;
        outcome.map(|objects| objects.len()).map_err(|refusal| refusal.errno)
    }

    #[tokio::test]
    async fn a_dump_counts_only_when_it_is_whole() {
        assert_eq!(collected(vec![object(0), object(0), end(0)]).await, Ok(2));
        assert_eq!(collected(vec![object(0)]).await, Err(Errno::EIO), "without its end");
        assert_eq!(collected(vec![object(NLM_F_DUMP_INTR), end(0)]).await, Err(Errno::EINTR));
        assert_eq!(collected(vec![object(0), end(NLM_F_DUMP_INTR)]).await, Err(Errno::EINTR), "at its end");
    }
}
