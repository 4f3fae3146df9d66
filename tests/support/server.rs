//! The DHCP servers that people run, each started in a namespace with its files in the lab's folder.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::namespace::Namespace;
use super::{Lab, wait_until};

/// A client for which every server has a reservation.
pub const MAC: &str = "02:00:00:00:00:99";
/// The address that every server reserves for [`MAC`].
pub const RESERVED: &str = "10.77.0.50";

/// A server of one kind in a namespace of its own, or on the LAN.
pub struct Server {
    child: Child,
    leases: PathBuf,
}

impl Server {
    /// Starts the program; returns when its socket is bound.
    pub fn start(namespace: &Namespace, leases: PathBuf, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = namespace.enter(|| command.spawn()).unwrap();
        wait_until(&format!("{command:?} is ready"), || {
            let sockets = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
            sockets.contains(":0043 ")
        });
        Self { child, leases }
    }

    /// The lease file, without the line in which dhcpd names itself some time after its start.
    pub fn leases(&self) -> String {
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
pub type Kind = fn(&Lab, &Namespace, &str, u32) -> Server;

fn file(lab: &Lab, name: &str, content: &str) -> PathBuf {
    let path = lab.files.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// dnsmasq, with leases of this many seconds.
pub fn dnsmasq(lab: &Lab, namespace: &Namespace, interface: &str, seconds: u32) -> Server {
    let leases = file(lab, "leases", "");
    let mut command = Command::new("dnsmasq");
    command
        .args(["-k", "-u", "root", "--port=0", "--conf-file=/dev/null", "--bind-interfaces", "--pid-file="])
        .args([
            "--dhcp-authoritative",
            "--no-ping",
            &format!("--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,{seconds}"),
        ])
        .args(["--dhcp-option=3,10.77.0.1", &format!("--dhcp-host={MAC},{RESERVED}")])
        .args([&format!("--interface={interface}"), &format!("--dhcp-leasefile={}", leases.display())]);
    Server::start(namespace, leases, &mut command)
}

/// kea, with leases of this many seconds.
pub fn kea(lab: &Lab, namespace: &Namespace, interface: &str, seconds: u32) -> Server {
    let leases = lab.files.join("kea-leases.csv");
    let conf = format!(
        r#"{{"Dhcp4": {{
            "interfaces-config": {{"interfaces": ["{interface}"], "dhcp-socket-type": "raw"}},
            "lease-database": {{"type": "memfile", "persist": true, "name": "{}", "lfc-interval": 0}},
            "valid-lifetime": {seconds}, "renew-timer": {}, "rebind-timer": {},
            "subnet4": [{{"id": 1, "subnet": "10.77.0.0/24", "pools": [{{"pool": "10.77.0.60 - 10.77.0.99"}}],
                "option-data": [{{"name": "routers", "data": "10.77.0.1"}}],
                "reservations": [{{"hw-address": "{MAC}", "ip-address": "{RESERVED}"}}]}}]}}}}"#,
        leases.display(),
        seconds / 2,
        seconds / 6 * 5
    );
    let conf = file(lab, "kea.json", &conf);
    let mut command = Command::new("kea-dhcp4");
    command.arg("-c").arg(conf).env("KEA_PIDFILE_DIR", &lab.files).env("KEA_LOCKFILE_DIR", &lab.files);
    Server::start(namespace, leases, &mut command)
}

/// isc, with leases of this many seconds.
pub fn isc(lab: &Lab, namespace: &Namespace, interface: &str, seconds: u32) -> Server {
    let leases = file(lab, "dhcpd.leases", "");
    // dhcpd wants a subnet for the interface it listens on, also behind a relay.
    let conf = format!(
        "ping-check false; default-lease-time {seconds}; min-lease-time {seconds};
         host vm {{ hardware ethernet {MAC}; fixed-address {RESERVED}; }}
         subnet 10.78.0.0 netmask 255.255.255.0 {{ }}
         subnet 10.77.0.0 netmask 255.255.255.0 {{ range 10.77.0.60 10.77.0.99; option routers 10.77.0.1; }}"
    );
    let conf = file(lab, "dhcpd.conf", &conf);
    let mut command = Command::new("dhcpd");
    command.args(["-4", "-f", "-d", "--no-pid", "-cf"]).arg(conf).arg("-lf").arg(&leases).arg(interface);
    Server::start(namespace, leases, &mut command)
}

/// udhcpd, with leases of this many seconds.
pub fn udhcpd(lab: &Lab, namespace: &Namespace, interface: &str, seconds: u32) -> Server {
    let leases = file(lab, "udhcpd.leases", "");
    let conf = format!(
        "start 10.77.0.60\nend 10.77.0.99\ninterface {interface}\nlease_file {}\npidfile {}\nstatic_lease {MAC} {RESERVED}\noption router 10.77.0.1\noption subnet 255.255.255.0\noption lease {seconds}\n",
        leases.display(),
        lab.files.join("udhcpd.pid").display()
    );
    let conf = file(lab, "udhcpd.conf", &conf);
    let mut command = Command::new("udhcpd");
    command.arg("-f").arg(conf);
    Server::start(namespace, leases, &mut command)
}
