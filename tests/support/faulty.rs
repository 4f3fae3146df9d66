//! A DHCP server that does what no server should, and the words it says.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dhcproto::v4::{Decodable, DhcpOption, DhcpOptions, Encodable, Message, MessageType, Opcode};
use nix::sys::socket::{MsgFlags, send};
use socket2::{Domain, Socket, Type};

use super::namespace::Namespace;
use super::wire::bound_socket;

/// A server's socket on an interface of the calling thread's namespace.
pub fn server_socket(interface: &str) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.bind_device(Some(interface.as_bytes())).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], 67)).into()).unwrap();
    UdpSocket::from(socket)
}

/// An answer of this kind to a question, changed.
pub fn answer(question: &Message, kind: MessageType, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = question.clone();
    message
        .set_opcode(Opcode::BootReply)
        .set_yiaddr(Ipv4Addr::new(10, 77, 0, 50))
        .set_opts(DhcpOptions::default());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    change(&mut message);
    message.to_vec().unwrap()
}

/// A broadcast from a server's address to DHCP clients, with the tag of a VLAN.
pub fn tagged(vlan: u16, message: &[u8]) -> Vec<u8> {
    let length = |of: usize| u16::try_from(of).unwrap().to_be_bytes();
    let mut ip = vec![0x45, 0];
    ip.extend(length(28 + message.len()));
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 1, 255, 255, 255, 255]);
    let sum: u32 = ip.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    ip[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    let tag = vlan.to_be_bytes();
    let ethernet = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x81, 0], &tag, &[8, 0]].concat();
    [&ethernet[..], &ip, &[0, 67, 0, 68], &length(8 + message.len()), &[0, 0], message].concat()
}

/// Answers every question with payloads made from it, until the value goes.
pub struct FaultyServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FaultyServer {
    /// Serves an interface that has an address.
    pub fn start(
        lan: &Namespace,
        interface: &str,
        answers: impl Fn(&Message) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let socket = lan.enter(|| server_socket(interface));
        let answering = socket.try_clone().unwrap();
        Self::sending(socket, move |question| {
            for answer in answers(question) {
                answering.send_to(&answer, "255.255.255.255:68").unwrap();
            }
        })
    }

    /// Offers with the tag of a VLAN to clients that ask without, on an interface.
    pub fn tagging(lan: &Namespace, interface: &str, vlan: u16) -> Self {
        let (socket, raw) = lan.enter(|| (server_socket(interface), bound_socket(interface).unwrap()));
        Self::sending(socket, move |question| {
            let frame = tagged(vlan, &answer(question, MessageType::Offer, |_| {}));
            send(raw.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
        })
    }

    fn sending(socket: UdpSocket, respond: impl Fn(&Message) + Send + 'static) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                respond(&Message::from_bytes(&buffer[..length]).unwrap());
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}
