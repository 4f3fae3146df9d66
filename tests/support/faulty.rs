//! A DHCP server that does what no server should, and the words it says.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dhcproto::v4::{Decodable, DhcpOption, DhcpOptions, Encodable, Message, MessageType, Opcode};
use socket2::{Domain, Socket, Type};

use super::namespace::Namespace;

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
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let question = Message::from_bytes(&buffer[..length]).unwrap();
                for answer in answers(&question) {
                    socket.send_to(&answer, "255.255.255.255:68").unwrap();
                }
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
