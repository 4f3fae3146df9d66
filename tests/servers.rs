//! The probe against the DHCP servers that people run, directly and behind a relay: the right offer, no lease, little
//! time beyond the server's own.

use crate::support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge_dhcp::net::InterfaceName;
use bridge_dhcp::net::MacAddress;
use bridge_dhcp::probe::report::Report;
use bridge_dhcp::probe::{Question, probe};
use support::feature::needs_program;
use support::namespace::Namespace;
use support::{Lab, wait_until};

const MAC: &str = "02:00:00:00:00:99";
/// The address that every server reserves for [`MAC`].
const RESERVED: &str = "10.77.0.50";
/// Probes for a median.
const ROUNDS: usize = 21;

/// A server of one kind in a namespace of its own, or on the LAN.
struct Server {
    child: Child,
    leases: PathBuf,
}

impl Server {
    /// Starts the program; returns when its socket is bound.
    fn start(namespace: &Namespace, leases: PathBuf, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = namespace.enter(|| command.spawn()).unwrap();
        wait_until(&format!("{command:?} is ready"), || {
            let sockets = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
            sockets.contains(":0043 ")
        });
        Self { child, leases }
    }

    /// The lease file, without the line in which dhcpd names itself some time after its start.
    fn leases(&self) -> String {
        let content = std::fs::read_to_string(&self.leases).unwrap_or_default();
        content.lines().filter(|line| !line.is_empty() && !line.starts_with("server-duid ")).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A kind of server: how it is started on an interface, with its files in the lab's folder.
type Kind = fn(&Lab, &Namespace, &str) -> Server;

fn file(lab: &Lab, name: &str, content: &str) -> PathBuf {
    let path = lab.files.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn dnsmasq(lab: &Lab, namespace: &Namespace, interface: &str) -> Server {
    let leases = file(lab, "leases", "");
    let mut command = Command::new("dnsmasq");
    command
        .args(["-k", "-u", "root", "--port=0", "--conf-file=/dev/null", "--bind-interfaces", "--pid-file="])
        .args(["--dhcp-authoritative", "--no-ping", "--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,3600"])
        .args(["--dhcp-option=3,10.77.0.1", &format!("--dhcp-host={MAC},{RESERVED}")])
        .args([&format!("--interface={interface}"), &format!("--dhcp-leasefile={}", leases.display())]);
    Server::start(namespace, leases, &mut command)
}

fn kea(lab: &Lab, namespace: &Namespace, interface: &str) -> Server {
    let leases = lab.files.join("kea-leases.csv");
    let conf = format!(
        r#"{{"Dhcp4": {{
            "interfaces-config": {{"interfaces": ["{interface}"], "dhcp-socket-type": "raw"}},
            "lease-database": {{"type": "memfile", "persist": true, "name": "{}", "lfc-interval": 0}},
            "valid-lifetime": 3600, "renew-timer": 1800, "rebind-timer": 3000,
            "subnet4": [{{"id": 1, "subnet": "10.77.0.0/24", "pools": [{{"pool": "10.77.0.60 - 10.77.0.99"}}],
                "option-data": [{{"name": "routers", "data": "10.77.0.1"}}],
                "reservations": [{{"hw-address": "{MAC}", "ip-address": "{RESERVED}"}}]}}]}}}}"#,
        leases.display()
    );
    let conf = file(lab, "kea.json", &conf);
    let mut command = Command::new("kea-dhcp4");
    command.arg("-c").arg(conf).env("KEA_PIDFILE_DIR", &lab.files).env("KEA_LOCKFILE_DIR", &lab.files);
    Server::start(namespace, leases, &mut command)
}

fn isc(lab: &Lab, namespace: &Namespace, interface: &str) -> Server {
    let leases = file(lab, "dhcpd.leases", "");
    // dhcpd wants a subnet for the interface it listens on, also behind a relay.
    let conf = format!(
        "ping-check false; default-lease-time 3600;
         host vm {{ hardware ethernet {MAC}; fixed-address {RESERVED}; }}
         subnet 10.78.0.0 netmask 255.255.255.0 {{ }}
         subnet 10.77.0.0 netmask 255.255.255.0 {{ range 10.77.0.60 10.77.0.99; option routers 10.77.0.1; }}"
    );
    let conf = file(lab, "dhcpd.conf", &conf);
    let mut command = Command::new("dhcpd");
    command.args(["-4", "-f", "-d", "--no-pid", "-cf"]).arg(conf).arg("-lf").arg(&leases).arg(interface);
    Server::start(namespace, leases, &mut command)
}

fn udhcpd(lab: &Lab, namespace: &Namespace, interface: &str) -> Server {
    let leases = file(lab, "udhcpd.leases", "");
    let conf = format!(
        "start 10.77.0.60\nend 10.77.0.99\ninterface {interface}\nlease_file {}\npidfile {}\nstatic_lease {MAC} {RESERVED}\noption router 10.77.0.1\noption subnet 255.255.255.0\noption lease 3600\n",
        leases.display(),
        lab.files.join("udhcpd.pid").display()
    );
    let conf = file(lab, "udhcpd.conf", &conf);
    let mut command = Command::new("udhcpd");
    command.arg("-f").arg(conf);
    Server::start(namespace, leases, &mut command)
}

fn ask(lab: &Lab) -> Report {
    let question = Question {
        client: Some(MacAddress::parse(MAC).unwrap()),
        grace: Duration::ZERO,
        ..Question::on(InterfaceName::parse("br0").unwrap())
    };
    let answer = lab.node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(probe(&question))
    });
    answer.unwrap_or_else(|error| panic!("{error}\n{}", error.details()))
}

fn answers(name: &str, lab: &Lab, server: &Server, address: &str, relay: Option<&str>) {
    // One at a time: side by side they would measure each other.
    static ASKING: Mutex<()> = Mutex::new(());
    let _asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = server.leases();
    let mut beyond: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let report = ask(lab);
            let [offer] = report.offers.as_slice() else { panic!("{report:?}") };
            assert_eq!(
                (offer.address.to_string().as_str(), offer.server.to_string().as_str()),
                (RESERVED, address)
            );
            assert_eq!(offer.relay.map(|relay| relay.to_string()).as_deref(), relay);
            assert_eq!(offer.routers[0].to_string(), "10.77.0.1");
            assert_eq!(offer.lease_seconds, Some(3600));
            assert_eq!(report.warnings, []);
            report.elapsed_ms - offer.after_ms
        })
        .collect();
    assert_eq!(server.leases(), before, "no lease is taken");
    beyond.sort_by(f64::total_cmp);
    println!(
        "measured: {name}: {:.1} ms beyond the server's own time (median of {ROUNDS})",
        beyond[ROUNDS / 2]
    );
}

fn directly(program: &'static str, kind: Kind) {
    if !needs_program(program) {
        return;
    }
    let lab = Lab::new("");
    lab.lan.ip("address add 10.77.0.1/24 dev lan0");
    let server = kind(&lab, &lab.lan, "lan0");
    answers(program, &lab, &server, "10.77.0.1", None);
}

fn behind_a_relay(program: &'static str, kind: Kind) {
    if !needs_program(program) || !needs_program("dhcrelay") {
        return;
    }
    let lab = Lab::new("");
    let far = Namespace::new("server");
    lab.lan.ip(&format!(
        "address add 10.77.0.1/24 dev lan0
         link add up0 type veth peer name srv0 netns {}
         address add 10.78.0.1/24 dev up0
         link set up0 up",
        far.name()
    ));
    far.ip("address add 10.78.0.2/24 dev srv0\nlink set srv0 up\nroute add 10.77.0.0/24 via 10.78.0.1");
    let server = kind(&lab, &far, "srv0");
    let mut relay = Command::new("dhcrelay");
    relay.args(["-4", "-d", "--no-pid", "-id", "lan0", "-iu", "up0", "10.78.0.2"]);
    let _relay = Server::start(&lab.lan, PathBuf::new(), &mut relay);
    answers(&format!("{program} behind a relay"), &lab, &server, "10.78.0.2", Some("10.77.0.1"));
}

#[test]
fn dnsmasq_answers() {
    directly("dnsmasq", dnsmasq);
}

#[test]
fn dnsmasq_answers_behind_a_relay() {
    behind_a_relay("dnsmasq", dnsmasq);
}

#[test]
fn kea_answers() {
    directly("kea-dhcp4", kea);
}

#[test]
fn kea_answers_behind_a_relay() {
    behind_a_relay("kea-dhcp4", kea);
}

#[test]
fn isc_dhcpd_answers() {
    directly("dhcpd", isc);
}

#[test]
fn isc_dhcpd_answers_behind_a_relay() {
    behind_a_relay("dhcpd", isc);
}

#[test]
fn udhcpd_answers() {
    directly("udhcpd", udhcpd);
}

#[test]
fn udhcpd_answers_behind_a_relay() {
    behind_a_relay("udhcpd", udhcpd);
}
