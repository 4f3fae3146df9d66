//! The guest behind a VM-mode attachment, wired the way KubeVirt does it, and the DHCP server on its LAN.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Lab;
use super::feature::{Feature, present};
use super::namespace::{Namespace, text};

/// Wires a pod as KubeVirt's virt-handler does: the interface is renamed and gets another MAC, a bridge of the pod joins
/// it with the guest, and a placeholder takes its name and MAC. The guest is a namespace whose `eth0` has the MAC.
pub fn wire(pod: &Namespace, ifname: &str, mac: &str, mtu: u64) -> Namespace {
    let guest = Namespace::new("guest");
    // A kernel without dummies: a bridge without ports is a link as idle.
    let placeholder = if present(Feature::Dummy) { "dummy" } else { "bridge" };
    pod.ip(&format!(
        "link add k6t-x type bridge
         link set k6t-x up
         link set {ifname} down
         link set {ifname} name x-nic
         link set x-nic address 02:aa:aa:aa:aa:aa
         link set x-nic master k6t-x
         link set x-nic type bridge_slave learning off
         link set x-nic up
         link add tapx mtu {mtu} type veth peer name eth0 address {mac} netns {}
         link set tapx master k6t-x
         link set tapx up
         link add {ifname} address {mac} mtu {mtu} type {placeholder}",
        guest.name()
    ));
    guest.ip("link set eth0 up");
    guest
}

/// A running dnsmasq in the LAN, which is ended with the value.
pub struct DhcpServer {
    child: Child,
}

impl DhcpServer {
    /// Serves 10.77.0.100 to 10.77.0.200 on `lan0`; answers at once. Ready when this returns.
    pub fn start(lab: &Lab) -> Self {
        Self::with(
            lab,
            &["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600", "--dhcp-option=3,10.77.0.1"],
        )
    }

    /// Serves `lan0` from 10.77.0.1 as these options say. Ready when this returns.
    pub fn with(lab: &Lab, options: &[&str]) -> Self {
        lab.lan.ip("address replace 10.77.0.1/24 dev lan0");
        Self::on(&lab.lan, "lan0", &lab.files.join("leases"), options)
    }

    /// Serves an interface that has an address. Ready when this returns.
    pub fn on(lan: &Namespace, interface: &str, leases: &Path, options: &[&str]) -> Self {
        let mut command = Command::new("dnsmasq");
        command
            .args(["-k", "-u", "root", "--port=0", "--conf-file=/dev/null", "--bind-interfaces"])
            .args(["--dhcp-authoritative", "--log-dhcp", "--log-facility=-", "--pid-file="])
            .arg(format!("--interface={interface}"))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = lan.enter(|| command.spawn()).unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        // dnsmasq says this after its socket is bound.
        assert!(log.by_ref().any(|line| line.unwrap().contains("DHCP, IP range")), "dnsmasq did not start");
        std::thread::spawn(move || log.for_each(drop));
        Self { child }
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address that a DHCP client in the guest gets, or none.
pub fn lease(guest: &Namespace) -> Option<String> {
    let output = guest.pipe(
        "busybox",
        &["udhcpc", "-i", "eth0", "-n", "-q", "-t", "10", "-T", "1", "-s", "/bin/true"],
        "",
    );
    let said = text(&output.stderr) + &text(&output.stdout);
    let words = said.split("lease of ").nth(1)?;
    words.split_whitespace().next().map(str::to_string)
}
