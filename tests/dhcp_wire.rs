//! The exchange over a real packet socket, against real servers and a faulty one, each in a namespace of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::support;

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bridge_dhcp::dhcp::drive::drive;
use bridge_dhcp::dhcp::exchange::{Exchange, Identity, Timing};
use bridge_dhcp::dhcp::reply::Malformed;
use bridge_dhcp::dhcp::socket::{FRAME_MAX, PacketSocket};
use bridge_dhcp::net::MacAddress;
use dhcproto::v4::{Decodable, DhcpOption, Message, MessageType};
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use support::faulty::{answer, server_socket};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Long enough for a server that starts late and pings first.
const PATIENT: Timing = Timing { timeout: Duration::from_secs(12), grace: Duration::ZERO };

/// The test's thread alone in a namespace, where `client0` is wired to `lan0`, the server's; and a directory.
/// Programs started from it die with it.
struct Lab {
    directory: PathBuf,
    programs: Vec<Child>,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        unshare(CloneFlags::CLONE_NEWNET).expect("namespaces need root");
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("dhcp-wire-{}-{number}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lab = Self { directory, programs: Vec::new(), runtime };
        lab.ip("link add client0 type veth peer name lan0");
        lab.ip("address add 10.77.0.1/24 dev lan0");
        lab.ip("link set client0 up");
        lab.ip("link set lan0 up");
        lab
    }

    fn ip(&self, arguments: &str) {
        let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.directory.join(name);
        std::fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    fn serve(&mut self, program: &str, arguments: &[&str]) {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]).args(arguments);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.programs.push(child);
    }

    /// Returns the lease file.
    fn dnsmasq(&mut self, options: &[&str]) -> String {
        let leases = self.file("dnsmasq.leases", "");
        let file = format!("--dhcp-leasefile={leases}");
        let arguments = "-k -u root --port=0 --conf-file=/dev/null --interface=lan0 --bind-interfaces --pid-file= \
                         --dhcp-authoritative --no-ping --dhcp-range=10.77.0.50,10.77.0.60,3600";
        let fixed: Vec<&str> = arguments.split_whitespace().chain([file.as_str()]).collect();
        self.serve("dnsmasq", &[&fixed, options].concat());
        leases
    }

    fn socket(&self, interface: &str) -> PacketSocket {
        PacketSocket::open(if_nametoindex(interface).unwrap()).unwrap()
    }

    /// A fresh exchange on `client0`. A server that is still starting misses its first questions and hears a later one.
    fn ask(&self, timing: Timing) -> Exchange {
        let mut exchange = Exchange::new(identity(), timing, std::process::id().into());
        let socket = self.socket("client0");
        self.runtime.block_on(async {
            drive(std::slice::from_mut(&mut exchange), &socket.into_async().unwrap()).await.unwrap();
        });
        exchange
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn identity() -> Identity {
    Identity {
        chaddr: MacAddress::local([2, 0, 0, 0, 0, 0x42]),
        source: MacAddress::host_side([0, 1, 2, 3, 4, 5]),
    }
}

#[test]
fn dnsmasq_offers_and_leases_nothing() {
    let mut lab = Lab::new();
    let leases = lab.dnsmasq(&[]);
    let exchange = lab.ask(PATIENT);
    let [answer] = exchange.answers() else { panic!("{:?} {:?}", exchange.answers(), exchange.counters()) };
    let offer = &answer.offer;
    assert_eq!((offer.sender.server, offer.sender.ip, offer.sender.relay), (SERVER, SERVER, None));
    assert_eq!(offer.address.octets()[..3], [10, 77, 0]);
    assert_eq!(offer.mask, Some(Ipv4Addr::new(255, 255, 255, 0)));
    assert_eq!(offer.routers, [SERVER]);
    assert_eq!(offer.lease, Some(Duration::from_secs(3600)));
    assert!(offer.renewal.is_some() && offer.rebinding.is_some());
    assert_eq!(std::fs::read_to_string(leases).unwrap(), "");
}

#[test]
fn a_reservation_for_the_chaddr_is_honoured() {
    let mut lab = Lab::new();
    lab.dnsmasq(&["--dhcp-host=02:00:00:00:00:42,10.77.0.99", "--dhcp-ignore=tag:!known"]);
    let exchange = lab.ask(PATIENT);
    assert_eq!(exchange.answers()[0].offer.address, Ipv4Addr::new(10, 77, 0, 99));
}

#[test]
fn udhcpd_offers_and_leases_nothing() {
    let mut lab = Lab::new();
    let leases = lab.file("udhcpd.leases", "");
    let pid_file = lab.directory.join("udhcpd.pid");
    let config = lab.file(
        "udhcpd.conf",
        &format!(
            "start 10.77.0.50\nend 10.77.0.60\ninterface lan0\nlease_file {leases}\npidfile {}\n",
            pid_file.display()
        ),
    );
    lab.serve("udhcpd", &["-f", &config]);
    let exchange = lab.ask(PATIENT);
    let [answer] = exchange.answers() else { panic!("{:?} {:?}", exchange.answers(), exchange.counters()) };
    assert_eq!(answer.offer.sender.server, SERVER);
    assert!(answer.offer.routers.is_empty(), "none configured");
    assert_eq!(std::fs::read_to_string(leases).unwrap(), "");
}

/// Answers the first question with these payloads, made from it.
fn faulty_server(answers: impl Fn(&Message) -> Vec<Vec<u8>> + Send + 'static) -> JoinHandle<()> {
    let socket = server_socket("lan0");
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        let length = socket.recv(&mut buffer).unwrap();
        let question = Message::from_bytes(&buffer[..length]).unwrap();
        for answer in answers(&question) {
            socket.send_to(&answer, "255.255.255.255:68").unwrap();
        }
    })
}

#[test]
fn refusals_and_garbage_are_counted_and_the_offer_behind_them_is_found() {
    let lab = Lab::new();
    let server = faulty_server(|question| {
        vec![
            b"garbage".to_vec(),
            answer(question, MessageType::Nak, |message| {
                message.opts_mut().insert(DhcpOption::Message("wrong network".into()));
            }),
            answer(question, MessageType::Offer, |message| {
                message.set_xid(message.xid() ^ 1);
            }),
            answer(question, MessageType::Offer, |message| {
                message.set_chaddr(&[2, 0, 0, 0, 0, 1]);
            }),
            answer(question, MessageType::Offer, |_| {}),
        ]
    });
    let exchange = lab.ask(PATIENT);
    server.join().unwrap();
    let counters = exchange.counters();
    let [answer] = exchange.answers() else { panic!("{:?} {counters:?}", exchange.answers()) };
    assert_eq!(answer.offer.sender.server, SERVER, "no option 54: the source stands in");
    assert_eq!((counters.malformed, counters.last_malformed), (1, Some(Malformed::Short(7))));
    assert_eq!((counters.refusals, counters.other_exchanges, counters.other_clients), (1, 1, 1));
    assert_eq!(counters.last_refusal.as_ref().unwrap().message.as_deref(), Some("wrong network"));
}

#[test]
fn all_offers_in_hand_count_without_grace() {
    let lab = Lab::new();
    let mut exchange = Exchange::new(identity(), PATIENT, std::process::id().into());
    let none = Ipv4Addr::UNSPECIFIED;
    let question = Message::new_with_id(exchange.xid(), none, none, none, none, &identity().chaddr.octets());
    let (asking, watching) = (lab.socket("client0"), lab.socket("client0"));
    let server = server_socket("lan0");
    lab.runtime.block_on(async {
        let (asking, watching) = (asking.into_async().unwrap(), watching.into_async().unwrap());
        for last in [1, 2] {
            let offer = answer(&question, MessageType::Offer, |message| {
                message.opts_mut().insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 77, 0, last)));
            });
            server.send_to(&offer, "255.255.255.255:68").unwrap();
            tokio::time::timeout(PATIENT.timeout, watching.receive(&mut [0; FRAME_MAX]))
                .await
                .unwrap()
                .unwrap();
        }
        drive(std::slice::from_mut(&mut exchange), &asking).await.unwrap();
    });
    let servers: Vec<u8> = exchange.answers().iter().map(|a| a.offer.sender.server.octets()[3]).collect();
    assert_eq!(servers, [1, 2]);
}

#[test]
fn a_socket_hears_its_own_interface_only_and_not_what_the_node_sends() {
    let lab = Lab::new();
    lab.ip("link add other0 type veth peer name other1");
    lab.ip("link set other0 up");
    lab.ip("link set other1 up");
    let (other, server_side) = (lab.socket("other0"), lab.socket("lan0"));
    let server = faulty_server(|question| vec![answer(question, MessageType::Offer, |_| {})]);
    let exchange = lab.ask(PATIENT);
    server.join().unwrap();
    assert_eq!(exchange.answers().len(), 1);
    lab.runtime.block_on(async {
        for deaf in [other, server_side] {
            let heard = deaf.into_async().unwrap().try_receive(&mut [0; FRAME_MAX]);
            assert_eq!(heard.unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn silence_ends_with_the_timeout_and_its_counters() {
    let lab = Lab::new();
    let exchange = lab.ask(Timing { timeout: Duration::from_secs(2), grace: Duration::ZERO });
    assert!(exchange.answers().is_empty());
    assert!(exchange.counters().sent >= 2, "{:?}", exchange.counters());
    assert_eq!(exchange.counters().frames, 0);
}

#[test]
fn an_interface_that_is_down_or_gone_is_an_error() {
    let lab = Lab::new();
    let socket = lab.socket("client0");
    let index = if_nametoindex("client0").unwrap();
    lab.ip("link set client0 down");
    let mut exchange = Exchange::new(identity(), PATIENT, 1);
    let error = lab.runtime.block_on(async {
        drive(std::slice::from_mut(&mut exchange), &socket.into_async().unwrap()).await.unwrap_err()
    });
    assert_eq!(error.raw_os_error(), Some(nix::libc::ENETDOWN));
    lab.ip("link del client0");
    assert_eq!(PacketSocket::open(index).unwrap_err().raw_os_error(), Some(nix::libc::ENODEV));
}
