//! What passes on the wire and what the kernel announces, seen from inside a namespace.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bridge_dhcp::kernel::netlink::Events;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recv, send,
    setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};

use super::namespace::Namespace;

/// RTNLGRP_LINK.
const LINK_GROUP: u32 = 1;

/// Frames of one interface, both directions, from the moment of its start.
pub struct Capture {
    stop: Arc<AtomicBool>,
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts on an interface that exists; listens when this returns.
    pub fn start(namespace: &Namespace, interface: &str) -> Self {
        let socket = namespace.enter(|| {
            let socket = open(SockProtocol::EthAll);
            bind(socket.as_raw_fd(), &address(interface).unwrap()).unwrap();
            setsockopt(&socket, ReceiveTimeout, &TimeVal::new(0, 20_000)).unwrap();
            socket
        });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let frames = Arc::new(Mutex::new(Vec::new()));
        let seen = frames.clone();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            loop {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => seen.lock().unwrap().push(buffer[..length].to_vec()),
                    Err(_) if stopped.load(Ordering::Relaxed) => return,
                    Err(_) => {}
                }
            }
        });
        Self { stop, frames, thread: Some(thread) }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        self.frames.lock().unwrap().clone()
    }

    /// Everything seen until the interface was quiet for a moment.
    pub fn stop(mut self) -> Vec<Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.seen()
    }
}

fn open(protocol: SockProtocol) -> OwnedFd {
    socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap()
}

/// The link-level address of an interface of the calling thread's namespace.
fn address(interface: &str) -> Option<LinkAddr> {
    let found = getifaddrs().ok()?.find(|candidate| {
        candidate.interface_name == interface
            && candidate.address.is_some_and(|address| address.family() == Some(AddressFamily::Packet))
    });
    found?.address?.as_link_addr().copied()
}

/// The frames whose Ethernet source is `mac`.
pub fn from_mac<'a>(frames: &'a [Vec<u8>], mac: &str) -> Vec<&'a Vec<u8>> {
    let wanted: Vec<u8> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    frames.iter().filter(|frame| frame.get(6..12) == Some(&wanted)).collect()
}

/// A broadcast frame of an ethertype for local experiments (IEEE 802).
pub fn frame(source: [u8; 6], mark: u8) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(source);
    frame.extend([0x88, 0xb5]);
    frame.extend([mark; 46]);
    frame
}

/// Sends one frame through an interface; false while it is not there or not up.
pub fn send_frame(namespace: &Namespace, interface: &str, frame: &[u8]) -> bool {
    namespace.enter(|| send_here(interface, frame))
}

/// A thread that sends a frame through an interface in a tight loop from the moment that it appears.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Starts; the interface need not be there yet.
    pub fn start(namespace: &Namespace, interface: &'static str, frame: Vec<u8>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let file = std::fs::File::open(namespace.path()).unwrap();
        let (ready, begun) = channel();
        let thread = std::thread::spawn(move || {
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(()).unwrap();
            let mut bound = None;
            while !stopped.load(Ordering::Relaxed) {
                if bound.is_none() {
                    bound = bound_socket(interface);
                }
                let Some(socket) = &bound else { continue };
                match send(socket.as_raw_fd(), &frame, MsgFlags::empty()) {
                    Ok(_) => _ = counted.fetch_add(1, Ordering::Relaxed),
                    Err(nix::errno::Errno::ENETDOWN) => {}
                    Err(_) => bound = None,
                }
            }
        });
        begun.recv().unwrap();
        Self { stop, sent, thread: Some(thread) }
    }

    /// Stops once it has sent a frame; on a busy processor it may come late.
    pub fn stop(mut self) {
        super::wait_until("the flood has begun", || self.sent.load(Ordering::Relaxed) > 0);
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A packet socket of the calling thread's namespace, bound to the interface.
pub fn bound_socket(interface: &str) -> Option<OwnedFd> {
    let address = address(interface)?;
    let socket = open(SockProtocol::EthAll);
    bind(socket.as_raw_fd(), &address).ok().map(|()| socket)
}

/// The same in the namespace of the calling thread.
pub fn send_here(interface: &str, frame: &[u8]) -> bool {
    bound_socket(interface).is_some_and(|socket| send(socket.as_raw_fd(), frame, MsgFlags::empty()).is_ok())
}

/// What the kernel announces about interfaces of a namespace.
pub struct Monitor {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Vec<(String, bool)>>>,
}

impl Monitor {
    /// Starts; subscribed when this returns.
    pub fn start(namespace: &Namespace) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, begun) = channel();
        let file = std::fs::File::open(namespace.path()).unwrap();
        let thread = std::thread::spawn(move || {
            nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut changes = Events::<RouteNetlinkMessage>::open(0, &[LINK_GROUP]).unwrap();
                ready.send(()).unwrap();
                let mut seen = Vec::new();
                tokio::pin!(stopped);
                let mut over = false;
                loop {
                    tokio::select! {
                        biased;
                        change = changes.next() => seen.extend(change.unwrap().and_then(announced)),
                        _ = &mut stopped, if !over => over = true,
                        () = tokio::time::sleep(std::time::Duration::from_millis(20)), if over => return seen,
                    }
                }
            })
        });
        begun.recv().unwrap();
        Self { stop: Some(stop), thread: Some(thread) }
    }

    /// Every announcement: the interface and whether it was up.
    pub fn stop(mut self) -> Vec<(String, bool)> {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap()
    }
}

fn announced(message: RouteNetlinkMessage) -> Option<(String, bool)> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let up = link.header.flags.contains(LinkFlags::Up);
    link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some((name, up)),
        _ => None,
    })
}
