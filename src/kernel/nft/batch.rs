//! Conversation with the kernel's nftables: questions, dumps and atomic batches, each answered before `send` returns.
//!
//! It does not go through `Client`: what is wrong with a batch as a whole (a stale generation, a commit that failed) is
//! answered to the message that begins it, and then nothing else is, so waiting for one answer per message could wait for ever.

use netlink_packet_netfilter::nftables::{GenAttribute, GenMessage, ListAttribute, NfTablesMessage};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use nix::errno::Errno;
use nix::sys::socket::MsgFlags;
use rtnetlink::packet_core::{
    DecodeError, DefaultNla, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NlaBuffer, NlasIterator, Parseable,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use crate::kernel::netlink::{self, Refusal};

/// NFNL_SUBSYS_NFTABLES (include/uapi/linux/netfilter/nfnetlink.h): the subsystem that a batch is for.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// NFNL_MSG_BATCH_BEGIN, of the same header.
const NFNL_MSG_BATCH_BEGIN: u8 = 16;
/// NFNL_BATCH_GENID, of the same header: the generation that the batch's author has seen.
const NFNL_BATCH_GENID: u16 = 1;
/// Size of `struct nfgenmsg`, of the same header, in front of the attributes.
const GENERIC_HEADER: usize = 4;
/// The largest part of a dump that the kernel makes.
const PART_MAX: usize = 32 * 1024;
/// How often another program's changes may come between our look and our batch.
pub const TRIES: usize = 64;

/// One message of a batch.
#[derive(Debug, Clone)]
pub struct Change {
    /// What to make or to remove.
    pub message: NfTablesMessage,
    /// NLM_F_CREATE, NLM_F_EXCL, NLM_F_APPEND.
    pub flags: u16,
}

/// The attributes of an object that the kernel shows, not decoded yet: the library's decoder of whole messages formats a list
/// once for each of its elements, so its time grows with the square of their number.
pub struct Answer(Vec<u8>);

impl Answer {
    /// The attributes as the kernel sent them.
    pub fn attributes(&self) -> &[u8] {
        &self.0
    }

    /// Decodes an object without long lists.
    ///
    /// # Errors
    /// EBADMSG where the kernel sent something else.
    pub fn decode<T: Parseable<[u8]>>(&self) -> Result<T, Refusal> {
        T::parse(&self.0).map_err(undecodable)
    }

    /// Decodes the members of the list that is the attribute of this `kind`.
    ///
    /// # Errors
    /// EBADMSG where the kernel sent something else.
    pub fn members<T>(&self, kind: u16) -> Result<Vec<ListAttribute<T>>, Refusal>
    where
        ListAttribute<T>: for<'a> Parseable<NlaBuffer<&'a [u8]>>,
    {
        let mut members = Vec::new();
        for attribute in NlasIterator::new(self.0.as_slice()) {
            let attribute = attribute.map_err(undecodable)?;
            if attribute.kind() == kind {
                for member in NlasIterator::new(attribute.value()) {
                    let member = member.map_err(undecodable)?;
                    members.push(ListAttribute::parse(&member).map_err(undecodable)?);
                }
            }
        }
        Ok(members)
    }
}

impl NetlinkDeserializable for Answer {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(payload.get(GENERIC_HEADER..).unwrap_or_default().to_vec()))
    }
}

fn undecodable(error: DecodeError) -> Refusal {
    Refusal { errno: Errno::EBADMSG, text: Some(error.to_string()) }
}

/// Makes `attempt`, which gets the ruleset's generation as of before it looked at anything, until it says that it is done.
/// A refusal counts only where no other program changed the ruleset meanwhile: otherwise the attempt acted on an outdated look.
///
/// # Errors
/// The kernel's refusal; EAGAIN when the ruleset never held still.
pub fn settle(mut attempt: impl FnMut(Option<u32>) -> Result<bool, Refusal>) -> Result<(), Refusal> {
    let mut last = Refusal::plain(Errno::EAGAIN);
    for _ in 0..TRIES {
        let before = generation()?;
        match attempt(before) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(refusal) if generation()? == before => return Err(refusal),
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

/// The number of the ruleset's present state, which every commit in this namespace changes; `None` without nf_tables.
fn generation() -> Result<Option<u32>, Refusal> {
    let question = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
    let Some(answer) = ask(NetfilterProtoFamily::Unspec, question)? else { return Ok(None) };
    let attributes = answer.decode::<GenMessage>()?.attributes;
    let id = attributes.into_iter().find_map(|attribute| match attribute {
        GenAttribute::Id(id) => Some(id),
        _ => None,
    });
    id.map(Some).ok_or(Refusal::plain(Errno::EBADMSG))
}

/// Whether a question was refused because there is nothing to show: no such object (ENOENT), no nf_tables in this kernel (EINVAL,
/// `nfnetlink_rcv_msg`), not this family (EAFNOSUPPORT), no nfnetlink at all (EPROTONOSUPPORT, of `socket(2)`).
pub fn is_absence(refusal: &Refusal) -> bool {
    matches!(refusal.errno, Errno::ENOENT | Errno::EINVAL | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT)
}

/// Asks for one object; `None` where there is no such object.
///
/// # Errors
/// The kernel's refusal.
pub fn ask(family: NetfilterProtoFamily, question: NfTablesMessage) -> Result<Option<Answer>, Refusal> {
    let mut answer = None;
    let outcome = exchange(&[message(family, question, NLM_F_REQUEST | NLM_F_ACK)], |object| {
        answer = Some(object);
        Ok(false)
    });
    match outcome {
        Err(refusal) if is_absence(&refusal) => Ok(None),
        outcome => outcome.map(|()| answer),
    }
}

/// Shows all objects that the question describes to `enough` until it says so. The kernel makes the dump part by part as it is
/// read, so a reader that soon has enough costs one part.
///
/// # Errors
/// The kernel's refusal; EINTR when the ruleset changed meanwhile.
pub fn dump(
    family: NetfilterProtoFamily,
    question: NfTablesMessage,
    enough: impl FnMut(Answer) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    exchange(&[message(family, question, NLM_F_REQUEST | NLM_F_DUMP)], enough)
}

/// Carries out all changes or none; with a generation, only if the ruleset is still of that generation (else ERESTART).
///
/// # Errors
/// The kernel's first refusal; nothing was changed.
pub fn commit(
    family: NetfilterProtoFamily,
    changes: Vec<Change>,
    generation: Option<u32>,
) -> Result<(), Refusal> {
    if changes.is_empty() {
        return Ok(());
    }
    let begin = match generation {
        Some(id) => ControlMessage::Other {
            message_type: NFNL_MSG_BATCH_BEGIN,
            attributes: vec![DefaultNla::new(NFNL_BATCH_GENID, id.to_be_bytes().to_vec())],
        },
        None => ControlMessage::BatchBegin,
    };
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
    let control = |inner: ControlMessage| wrap(NetfilterMessage::new(header.clone(), inner), NLM_F_REQUEST);
    let mut batch = vec![control(begin)];
    batch.extend(
        changes
            .into_iter()
            .map(|change| message(family, change.message, NLM_F_REQUEST | NLM_F_ACK | change.flags)),
    );
    batch.push(control(ControlMessage::BatchEnd));
    exchange(&batch, |_| Ok(false))
}

fn message(
    family: NetfilterProtoFamily,
    inner: NfTablesMessage,
    flags: u16,
) -> NetlinkMessage<NetfilterMessage> {
    wrap(NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), inner), flags)
}

fn wrap(inner: NetfilterMessage, flags: u16) -> NetlinkMessage<NetfilterMessage> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(inner));
    message.header.flags = flags;
    message.finalize();
    message
}

/// Sends the messages in one datagram and reads what is there then. The last message that asked for an acknowledgement must
/// have got one, or its dump an end, unless `enough` ended the reading.
fn exchange(
    messages: &[NetlinkMessage<NetfilterMessage>],
    mut enough: impl FnMut(Answer) -> Result<bool, Refusal>,
) -> Result<(), Refusal> {
    let wanted = messages.iter().filter(|message| message.header.flags & NLM_F_ACK != 0).count().max(1);
    let mut bytes = Vec::new();
    for message in messages {
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
    }
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.set_ext_ack(true)?;
    socket.set_cap_ack(true)?;
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;

    let mut confirmed = 0;
    let mut part = Vec::with_capacity(PART_MAX);
    while confirmed < wanted {
        part.clear();
        // Nothing more to come before all is confirmed: the kernel did not answer as its protocol says.
        socket.recv_from(&mut part, MsgFlags::MSG_DONTWAIT.bits())?;
        for message in netlink::messages(&part) {
            let message = message.decode::<Answer>()?;
            let flags = message.header.flags;
            if flags & NLM_F_DUMP_INTR != 0 {
                return Err(Refusal::plain(Errno::EINTR));
            }
            let over = match message.payload {
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(Refusal::of(&error, flags));
                }
                NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => {
                    confirmed += 1;
                    false
                }
                NetlinkPayload::InnerMessage(object) => enough(object)?,
                _ => false,
            };
            if over {
                return Ok(());
            }
        }
    }
    Ok(())
}
