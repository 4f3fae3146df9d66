//! A DHCP server on the LAN that does what a test says.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use dhcproto::v4::{Decodable, Decoder, Message, MessageType};

use super::namespace::Namespace;
use super::wire::{Capture, send_here};

/// What the server says of itself.
pub const SERVER: [u8; 4] = [10, 77, 0, 1];
/// The address that it grants.
pub const GRANTED: [u8; 4] = [10, 77, 0, 70];

/// An answer: message type, address and options.
pub type Answer = (u8, [u8; 4], Vec<(u8, Vec<u8>)>);

/// The options of a lease of this many seconds.
pub fn options(seconds: u32) -> Vec<(u8, Vec<u8>)> {
    vec![
        (54, SERVER.to_vec()),
        (51, seconds.to_be_bytes().to_vec()),
        (1, vec![255, 255, 255, 0]),
        (3, vec![10, 77, 0, 1]),
    ]
}

/// A server that grants every wish, with leases of this many seconds.
pub fn generous(seconds: u32) -> impl FnMut(&Message) -> Option<Answer> + Send {
    move |message| match message.opts().msg_type() {
        Some(MessageType::Discover) => Some((2, GRANTED, options(seconds))),
        Some(MessageType::Request) => Some((5, GRANTED, options(seconds))),
        _ => None,
    }
}

/// Answers on `lan0` until it is dropped.
pub struct FakeServer {
    stop: Arc<Mutex<bool>>,
    heard: Receiver<Message>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeServer {
    /// Starts; it listens when this returns. `lan0` needs no address for it.
    pub fn start(
        lan: &Namespace,
        mut answer: impl FnMut(&Message) -> Option<Answer> + Send + 'static,
    ) -> Self {
        let capture = Capture::start(lan, "lan0");
        let stop = Arc::new(Mutex::new(false));
        let stopped = stop.clone();
        let (tell, heard) = channel();
        let lan = lan.handle();
        let thread = std::thread::spawn(move || {
            let mut read = 0;
            while !*stopped.lock().unwrap() {
                let seen = capture.seen();
                for frame in &seen[read..] {
                    let Some(message) = request(frame) else { continue };
                    let reply = answer(&message).map(|answer| reply(&message, frame, &answer));
                    // Told first: a client that has its answer may ask at once what was heard.
                    let _ = tell.send(message);
                    if let Some(reply) = reply {
                        lan.enter(|| send_here("lan0", &reply));
                    }
                }
                read = seen.len();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            capture.stop();
        });
        Self { stop, heard, thread: Some(thread) }
    }

    /// The messages of clients since the last call.
    pub fn heard(&self) -> Vec<Message> {
        self.heard.try_iter().collect()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        *self.stop.lock().unwrap() = true;
        let _ = self.thread.take().unwrap().join();
    }
}

/// A client's message in a frame.
fn request(frame: &[u8]) -> Option<Message> {
    let to_server =
        frame.len() > 282 && frame[12..14] == [8, 0] && frame[23] == 17 && frame[36..38] == [0, 67];
    if !to_server {
        return None;
    }
    Message::decode(&mut Decoder::new(&frame[42..])).ok()
}

fn reply(message: &Message, frame: &[u8], (kind, address, options): &Answer) -> Vec<u8> {
    let mut bytes = vec![2, 1, 6, 0];
    bytes.extend(message.xid().to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(address);
    bytes.extend([0; 8]);
    bytes.extend(message.chaddr());
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, *kind]);
    for (code, value) in options {
        bytes.extend([*code, value.len() as u8]);
        bytes.extend(value);
    }
    bytes.push(255);
    let mut ip = vec![0x45, 0];
    ip.extend((28 + bytes.len() as u16).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend(SERVER);
    ip.extend([255; 4]);
    let sum = ip.chunks(2).fold(0, |sum: u32, word| sum + u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let mut udp = vec![0, 67, 0, 68];
    udp.extend((8 + bytes.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    [&frame[6..12], &[0x52, 0x77, 0, 0, 0, 1], &[8, 0], &ip, &udp, &bytes].concat()
}
