//! What operations and frames cost, compared in one run with the incumbent or with a smaller case; never an absolute time.
use crate::support;

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};
use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::namespace::Namespace;
use support::plugin::executable;
use support::wire::{Capture, bound_socket, from_mac, send_frame};
use support::{Lab, conf, wait_until};

const INCUMBENT: &str = "/usr/lib/cni/bridge";
const ROUNDS: usize = 15;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The times of ADDs for each of the calls, taken in turn so that noise meets all alike.
fn adds(lab: &Lab, calls: &[(&str, &Value)]) -> Vec<Vec<Duration>> {
    let mut times = vec![Vec::new(); calls.len()];
    for _ in 0..ROUNDS {
        for (index, (executable, conf)) in calls.iter().enumerate() {
            let pod = lab.pod();
            let call =
                |operation| lab.call(operation, conf, "c1", pod.path(), "net1").with_executable(executable);
            let add = call("ADD");
            let started = Instant::now();
            let outcome = add.run();
            times[index].push(started.elapsed());
            outcome.ok();
            call("DEL").run().ok();
        }
    }
    times
}

#[test]
fn an_add_is_not_slower_than_the_incumbents() {
    let lab = Lab::new("");
    let plain = conf(json!({"cniVersion": "1.0.0"}));
    let times = adds(&lab, &[(&executable(), &plain), (INCUMBENT, &plain)]);
    let times: Vec<Duration> = times.into_iter().map(median).collect();
    println!("measured: ADD of a pod takes {:?}, the incumbent's {:?} (medians)", times[0], times[1]);
    assert!(times[0] <= times[1] * 2, "{times:?}");
}

#[test]
fn a_trunk_of_all_vlans_costs_what_one_vlan_costs() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    let lab = Lab::new("vlan_filtering 1");
    let one = conf(json!({"cniVersion": "1.0.0", "vlan": 100}));
    let trunk = conf(json!({"cniVersion": "1.0.0", "vlanTrunk": [{"minID": 1, "maxID": 4094}]}));
    let times = adds(&lab, &[(&executable(), &one), (&executable(), &trunk), (INCUMBENT, &one)]);
    // A busy machine delays single calls; the quickest of each says what it costs.
    let quickest: Vec<Duration> = times.iter().filter_map(|times| times.iter().min().copied()).collect();
    let times: Vec<Duration> = times.into_iter().map(median).collect();
    println!(
        "measured: ADD with one VLAN takes {:?}, with a trunk of 4094 {:?}, the incumbent's with one VLAN {:?} (medians)",
        times[0], times[1], times[2]
    );
    assert!(quickest[1] <= quickest[0] * 5, "{quickest:?}");
}

/// A node with a number of guarded attachments, all of one pod; `net0` is the first.
fn guarded(attachments: usize) -> (Lab, Namespace) {
    let lab = Lab::new("");
    let pod = lab.pod();
    // Nobody but the test sends.
    pod.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap());
    for number in 0..attachments {
        let mac = format!("02:00:00:00:{:02x}:{:02x}", number / 256, number % 256);
        let conf = conf(json!({"macspoofchk": true, "uplinkCheck": "off", "runtimeConfig": {"mac": mac}}));
        lab.call("ADD", &conf, "c1", pod.path(), &format!("net{number}")).run().ok();
    }
    (lab, pod)
}

fn received(lab: &Lab) -> u64 {
    lab.lan.ip_json("-s link show dev lan0")[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

/// A unicast frame from `net0` to the LAN.
fn to_lan(lab: &Lab, source: [u8; 6]) -> Vec<u8> {
    let lan = lab.lan.link("lan0")["address"].as_str().unwrap().to_string();
    let mut frame: Vec<u8> = lan.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
    frame.extend(source);
    frame.extend([0x88, 0xb5]);
    frame.extend([0; 46]);
    frame
}

/// The time that frames take from `net0` into the LAN.
fn burst(lab: &Lab, pod: &Namespace, frame: &[u8], count: u64) -> Duration {
    let before = received(lab);
    let elapsed = pod.enter(|| {
        let socket = bound_socket("net0").unwrap();
        let started = Instant::now();
        for _ in 0..count {
            // A full queue drops: send again.
            while send(socket.as_raw_fd(), frame, MsgFlags::empty()).is_err() {}
        }
        started.elapsed()
    });
    wait_until("all frames have arrived", || received(lab) >= before + count);
    elapsed
}

#[test]
fn five_hundred_guarded_attachments_stop_spoofing_at_the_frame_rate_of_one() {
    const FRAMES: u64 = 20_000;
    let (one, many) = (guarded(1), guarded(500));
    let spoofed = to_lan(&many.0, [2, 0, 0, 0, 1, 0]);
    let capture = Capture::start(&many.0.lan, "lan0");
    assert!(send_frame(&many.1, "net0", &spoofed), "the MAC of attachment 256, by the port of the first");
    let own = to_lan(&many.0, [2, 0, 0, 0, 0, 0]);
    // The bridges learn where the LAN is.
    for lab in [&one.0, &many.0] {
        assert!(send_frame(&lab.lan, "lan0", &support::wire::frame([2, 0, 0, 0, 9, 9], 0)));
    }
    assert!(send_frame(&many.1, "net0", &own));
    wait_until("the own frame arrives", || !from_mac(&capture.seen(), "02:00:00:00:00:00").is_empty());
    assert!(from_mac(&capture.stop(), "02:00:00:00:01:00").is_empty());

    let frames = [to_lan(&one.0, [2, 0, 0, 0, 0, 0]), own];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (index, (lab, pod)) in [&one, &many].into_iter().enumerate() {
            times[index].push(burst(lab, pod, &frames[index], FRAMES));
        }
    }
    let [one, many] = times.map(|times| median(times).as_nanos() as f64 / FRAMES as f64);
    println!(
        "measured: a frame through a guarded port takes {one:.0} ns with 1 guarded attachment, {many:.0} ns with 500 ({:+.1} %, medians)",
        (many / one - 1.0) * 100.0
    );
    assert!(many < one * 1.5, "{one} {many}");
}
