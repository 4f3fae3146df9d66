//! A pod's lease, from the DHCP servers that people run: taken in ADD, used as it was granted, given back in DEL.

mod support;

use serde_json::{Value, json};
use support::feature::needs_program;
use support::namespace::Namespace;
use support::server::{Kind, Server, dnsmasq, isc, kea, udhcpd};
use support::wire::Capture;
use support::{Lab, conf, wait_until};

/// A node whose LAN has a server of this kind.
fn served(kind: Kind, seconds: u32) -> (Lab, Server) {
    let lab = Lab::new("");
    lab.lan.ip("address add 10.77.0.1/24 dev lan0");
    let server = kind(&lab, &lab.lan, "lan0", seconds);
    (lab, server)
}

fn leasing(changes: Value) -> Value {
    let mut ipam = json!({"type": "dhcp"});
    ipam.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    conf(json!({"ipam": ipam}))
}

/// The address of `net1`, without its prefix.
fn address(pod: &Namespace) -> String {
    let shown = pod.addresses()["net1"][0].as_str().unwrap_or_default().to_string();
    shown.split('/').next().unwrap().to_string()
}

/// The types of the DHCP messages that clients sent, with the IPv4 source of each.
fn messages(frames: &[Vec<u8>]) -> Vec<(u8, String)> {
    let of_clients = frames.iter().filter(|frame| frame.len() > 285 && frame[34..38] == [0, 68, 0, 67]);
    let shown = of_clients.map(|frame| {
        let kind =
            frame[282..].windows(3).find(|option| option[..2] == [53, 1]).map_or(0, |option| option[2]);
        (kind, format!("{}.{}.{}.{}", frame[26], frame[27], frame[28], frame[29]))
    });
    shown.collect()
}

fn is_leased_and_released(program: &str, kind: Kind) {
    if !needs_program(program) {
        return;
    }
    let (lab, server) = served(kind, 600);
    let (pod, conf) = (lab.pod(), leasing(json!({})));
    let before = server.leases();
    let capture = Capture::start(&lab.lan, "lan0");
    let result = lab.add(&conf, &pod).ok();
    let leased = address(&pod);
    assert_eq!(result["ips"][0]["address"], format!("{leased}/24"));
    assert_eq!(result["ips"][0]["gateway"], "10.77.0.1");
    assert_eq!(result["ips"][0]["interface"], 2);
    assert_eq!(result["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}]));
    let lasts = pod.ip_json("address show dev net1")[0]["addr_info"][0]["valid_life_time"].as_u64().unwrap();
    assert!((590..=600).contains(&lasts), "the kernel knows the end: {lasts}");
    assert!(pod.run("ip route show default").contains("via 10.77.0.1"));
    lab.check(&conf, &result, &pod).ok();
    if program != "udhcpd" {
        // udhcpd writes its file every two hours.
        wait_until("the server has written the lease", || server.leases().contains(&leased));
    }
    lab.del(&conf, &pod).ok();
    if program == "dnsmasq" {
        wait_until("the server has deleted the lease", || server.leases() == before);
    }
    let sent = messages(&capture.stop());
    let mut kinds: Vec<u8> = sent.iter().map(|(kind, _)| *kind).collect();
    // udhcpd looks for two seconds whether somebody has the address.
    kinds.dedup();
    assert_eq!(kinds, [1, 3, 7], "DISCOVER, REQUEST, RELEASE: {sent:?}");
    assert_eq!(sent.last().unwrap().1, leased, "the release comes from the leased address");
    assert_eq!(std::fs::read_dir(lab.files.join("run/bridge-dhcp/leases")).unwrap().count(), 0);
}

#[test]
fn dnsmasq_leases_and_hears_the_release() {
    is_leased_and_released("dnsmasq", dnsmasq);
}

#[test]
fn kea_leases_and_hears_the_release() {
    is_leased_and_released("kea-dhcp4", kea);
}

#[test]
fn isc_dhcpd_leases_and_hears_the_release() {
    is_leased_and_released("dhcpd", isc);
}

#[test]
fn udhcpd_leases_and_hears_the_release() {
    is_leased_and_released("udhcpd", udhcpd);
}
