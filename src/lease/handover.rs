//! Between whoever takes or returns a lease and the agent that keeps it: one message and one answer over a Unix socket that
//! only root reaches. The record is what is handed over; a message only names it, with the container's namespace beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::unistd::{close, geteuid};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::place::Place;
use crate::kernel::netns::Netns;

/// Longest that one side waits for the other.
const PATIENCE: Duration = Duration::from_millis(800);
/// Longest message.
const SIZE_MAX: usize = 512;
/// The answer where it was done.
const DONE: u8 = b'+';

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Keep the lease of this host interface's record from now on.
    Keep {
        /// The record's name.
        host: String,
    },
    /// Return it to the server and forget it.
    Release {
        /// The record's name.
        host: String,
    },
}

/// Whether an agent listens on this node.
pub async fn is_kept(place: &Place) -> bool {
    timeout(PATIENCE, connect(place)).await.is_ok_and(|connected| connected.is_ok())
}

/// Tells the agent, and waits until it has done it.
///
/// # Errors
/// There is no agent, or it could not; what came of it is in its log.
pub async fn send(place: &Place, message: &Message, netns: Option<&Netns>) -> io::Result<()> {
    let exchange = async {
        let mut stream = connect(place).await?;
        let text = serde_json::to_vec(message)?;
        let descriptor: Vec<RawFd> = netns.iter().map(|netns| netns.file().as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&descriptor)];
        let rights = if descriptor.is_empty() { &[][..] } else { &rights[..] };
        let socket = stream.as_raw_fd();
        let sent = stream
            .async_io(Interest::WRITABLE, || {
                Ok(sendmsg::<()>(socket, &[IoSlice::new(&text)], rights, MsgFlags::MSG_NOSIGNAL, None)?)
            })
            .await?;
        if sent != text.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        match stream.read_u8().await? {
            DONE => Ok(()),
            _ => Err(io::Error::other("the agent could not do it")),
        }
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Who listens there must be whom we trust as we trust ourselves.
async fn connect(place: &Place) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(place.agent_socket()).await?;
    if trusted(&stream)? { Ok(stream) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Whether the process at the other end is root's, as this one is.
///
/// # Errors
/// What the kernel says.
pub fn trusted(stream: &UnixStream) -> io::Result<bool> {
    Ok(stream.peer_cred()?.uid() == geteuid().as_raw())
}

/// What the other end says, and the namespace that came with it; `None` where it says nothing and goes.
///
/// # Errors
/// What the kernel says; it is no message; it does not come in time.
pub async fn receive(stream: &UnixStream) -> io::Result<Option<(Message, Option<Netns>)>> {
    let socket = stream.as_raw_fd();
    let receiving = stream.async_io(Interest::READABLE, || take(socket));
    let (text, netns) = timeout(PATIENCE, receiving).await??;
    match text.as_slice() {
        [] => Ok(None),
        text => Ok(Some((serde_json::from_slice(text)?, netns))),
    }
}

/// Answers a message.
///
/// # Errors
/// What the kernel says.
pub async fn answer(stream: &mut UnixStream, done: bool) -> io::Result<()> {
    stream.write_u8(if done { DONE } else { b'-' }).await
}

/// One message. A descriptor is opened anew by its number in this process, since to take one over as it is would need
/// `unsafe`; so a namespace is all that can come in this way.
fn take(socket: RawFd) -> io::Result<(Vec<u8>, Option<Netns>)> {
    let mut text = [0; SIZE_MAX];
    let mut beside = nix::cmsg_space!([RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut beside), flags)?;
    let received: Vec<RawFd> = message
        .cmsgs()?
        .flat_map(|beside| match beside {
            ControlMessageOwned::ScmRights(descriptors) => descriptors,
            _ => Vec::new(),
        })
        .collect();
    let length = message.bytes;
    let mut netns = None;
    for descriptor in received {
        netns = Netns::open(&PathBuf::from(format!("/proc/self/fd/{descriptor}"))).ok();
        close(descriptor)?;
    }
    Ok((text[..length].to_vec(), netns))
}
