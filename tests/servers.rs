//! The probe against the DHCP servers that people run, directly and behind a relay: the right offer, no lease, little
//! time beyond the server's own.

use crate::support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge_dhcp::net::InterfaceName;
use bridge_dhcp::net::MacAddress;
use bridge_dhcp::probe::report::Report;
use bridge_dhcp::probe::{Question, probe};
use support::Lab;
use support::feature::needs_program;
use support::namespace::Namespace;
use support::server::{Kind, MAC, RESERVED, Server, dnsmasq, isc, kea, udhcpd};

/// Lease time.
const SECONDS: u32 = 3600;
/// Probes for a median.
const ROUNDS: usize = 21;

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
            assert_eq!(offer.lease_seconds, Some(SECONDS.into()));
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
    let server = kind(&lab, &lab.lan, "lan0", SECONDS);
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
    let server = kind(&lab, &far, "srv0", SECONDS);
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
