//! What makes a probe trustworthy: with a healthy server it never raises a false alarm, and a VM that is still running
//! elsewhere under the same MAC does not notice it.

use crate::support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bridge_dhcp::net::InterfaceName;
use bridge_dhcp::net::MacAddress;
use bridge_dhcp::probe::{Question, probe};
use serde_json::{Value, json};
use support::feature::{Feature, needs};
use support::guest::DhcpServer;
use support::namespace::{Namespace, text};
use support::plugin::executable;
use support::wire::{frame, send_frame};
use support::{Lab, conf, vm_conf, wait_until};

const MAC: &str = "02:00:00:00:00:99";

fn probing() -> Value {
    vm_conf(json!({"dhcpProbe": true, "runtimeConfig": {"mac": MAC}}))
}

/// Probes one after the other inside this process; the times they took, sorted, and how many had to ask again.
fn in_a_row(lab: &Lab, count: usize) -> (Vec<Duration>, usize) {
    let question = Question {
        client: Some(MacAddress::parse(MAC).unwrap()),
        grace: Duration::ZERO,
        ..Question::on(InterfaceName::parse("br0").unwrap())
    };
    let (mut times, repeated) = lab.node.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut times, mut repeated) = (Vec::new(), 0);
            for number in 0..count {
                let started = Instant::now();
                let answer = probe(&question).await;
                times.push(started.elapsed());
                let report =
                    answer.unwrap_or_else(|error| panic!("probe {number}: {error}\n{}", error.details()));
                assert_eq!(report.offers[0].server.to_string(), "10.77.0.1");
                repeated += usize::from(report.discovers_sent > 1);
            }
            (times, repeated)
        })
    });
    times.sort();
    (times, repeated)
}

/// ADDs with a probe at the same time.
fn at_a_time(lab: &Lab, count: usize) {
    let pods: Vec<Namespace> = (0..count).map(|_| lab.pod()).collect();
    let conf = vm_conf(json!({"dhcpProbe": true}));
    let children: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(number, pod)| lab.call("ADD", &conf, &format!("c{number}"), pod.path(), "net1").start())
        .collect();
    for child in children {
        support::plugin::Outcome::from(child.wait_with_output().unwrap()).ok();
    }
    for (number, pod) in pods.iter().enumerate() {
        lab.call("DEL", &conf, &format!("c{number}"), pod.path(), "net1").run().ok();
    }
}

#[test]
fn two_hundred_in_a_row_and_sixteen_at_a_time_are_all_answered() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let (times, repeated) = in_a_row(&lab, 200);
    println!(
        "measured: a probe takes {:?} (median of 200 in a row; longest {:?}; {repeated} had to ask again)",
        times[100], times[199]
    );
    for _ in 0..3 {
        at_a_time(&lab, 16);
    }
    wait_until("all probes' ports are gone", || lab.ports("br0") == ["ens192"]);
}

#[test]
fn a_busy_node_raises_no_false_alarm() {
    let lab = Lab::new("");
    let _server = DhcpServer::start(&lab);
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let idle = Idle(&busy);
        let (times, _) = in_a_row(&lab, 40);
        println!("measured: beside four busy loops a probe takes {:?} (median of 40)", times[20]);
        at_a_time(&lab, 16);
        drop(idle);
    });
}

/// Ends the busy loops, also when the test fails.
struct Idle<'a>(&'a AtomicBool);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Numbered datagrams to a guest, and how many arrived.
struct Traffic {
    stop: Arc<AtomicBool>,
    sender: std::thread::JoinHandle<u64>,
    arrived: Arc<AtomicU64>,
}

impl Traffic {
    fn start(from: &Namespace, to: &Namespace, address: &str) -> Self {
        let target = format!("{address}:9999");
        let receiver = to.enter(|| UdpSocket::bind(&target).unwrap());
        receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        let (stop, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, ended) = (stop.clone(), arrived.clone(), Arc::downgrade(&arrived));
        std::thread::spawn(move || {
            while ended.strong_count() > 1 {
                counted.fetch_add(u64::from(receiver.recv(&mut [0; 8]).is_ok()), Ordering::Relaxed);
            }
        });
        let sender = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                socket.send_to(&[0; 8], &target).unwrap();
                sent += 1;
                // Slow enough for the receiver's buffer, whatever else the machine does.
                std::thread::sleep(Duration::from_millis(4));
            }
            sent
        });
        Self { stop, sender, arrived }
    }

    fn assert_complete(self) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let arrived = self.arrived;
        wait_until(&format!("all of {sent} datagrams arrived"), || arrived.load(Ordering::Relaxed) == sent);
        assert!(sent > 10, "{sent}");
        println!(
            "measured: {sent} datagrams to the running VM, none lost, while its MAC was probed elsewhere"
        );
    }
}

#[test]
fn a_vm_that_runs_elsewhere_under_the_same_mac_loses_no_packet() {
    // The LAN is a switch; the VM runs on the first node, and migrates to the second.
    let (source, target) = (Lab::new(""), Lab::empty());
    let lan = &source.lan;
    lan.ip("link add sw0 type bridge\nlink set lan0 master sw0\nlink set sw0 up\naddress add 10.77.0.1/24 dev sw0");
    target.bridge("br0", "");
    target.node.ip(&format!(
        "link add ens192 type veth peer name lan1 netns {}\nlink set ens192 master br0\nlink set ens192 up",
        lan.name()
    ));
    lan.ip("link set lan1 master sw0\nlink set lan1 up");
    wait_until("the switch forwards", || {
        lan.forwards("lan0") && lan.forwards("lan1") && target.node.forwards("ens192")
    });
    let guest = Namespace::new("guest");
    source.node.ip(&format!(
        "link add vethabc type veth peer name eth0 address {MAC} netns {}\nlink set vethabc master br0\nlink set vethabc up",
        guest.name()
    ));
    guest.ip("link set eth0 up\naddress add 10.77.0.50/24 dev eth0");
    lan.ip(&format!("neighbor add 10.77.0.50 lladdr {MAC} dev sw0 nud permanent"));
    wait_until("the VM's port forwards", || source.node.forwards("vethabc"));
    // A broadcast of the VM tells every switch where it is.
    assert!(send_frame(&guest, "eth0", &frame([2, 0, 0, 0, 0, 0x99], 1)));
    let where_it_is = || [&source.node, lan, &target.node].map(|namespace| namespace.learned(MAC));
    wait_until("every switch knows the VM", || where_it_is().iter().all(|table| !table.is_empty()));
    let before = where_it_is();

    let _server = DhcpServer::on(
        lan,
        "sw0",
        &source.files.join("leases"),
        &["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600", &format!("--dhcp-host={MAC},10.77.0.50")],
    );
    let traffic = Traffic::start(lan, &guest, "10.77.0.50");
    for _ in 0..5 {
        let pod = target.pod();
        target.add(&probing(), &pod).ok();
        target.del(&probing(), &pod).ok();
    }
    // One that is not answered asks more often, and from other places.
    let pod = target.pod();
    let mut unanswered = probing();
    unanswered["dhcpProbe"] = json!({"timeout": "3s", "servers": ["192.0.2.1"]});
    target.add(&unanswered, &pod).error(113);
    traffic.assert_complete();
    assert_eq!(where_it_is(), before, "no switch has learned the VM anywhere else");
}

#[test]
fn an_offer_that_only_the_vms_present_node_gets_is_no_false_alarm() {
    let lab = Lab::new("");
    // As if the server had answered this MAC by unicast, which does not come here.
    let _server = DhcpServer::with(
        &lab,
        &["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600", &format!("--dhcp-host={MAC},ignore")],
    );
    let mut asked = probing();
    asked["dhcpProbe"] = json!({"timeout": "4s"});
    let pod = lab.pod();
    lab.add(&asked, &pod).error(111);
    assert!(send_frame(&lab.lan, "lan0", &frame([2, 0, 0, 0, 0, 0x99], 1)));
    wait_until("the bridge knows the VM behind its uplink", || lab.node.learned(MAC).contains("ens192"));
    let outcome = lab.add(&asked, &pod);
    assert!(outcome.stderr.contains("may be answered there"), "{}", outcome.stderr);
    outcome.ok();
}

#[test]
fn an_offer_that_only_a_running_guest_of_this_node_gets_is_no_false_alarm() {
    let lab = Lab::new("");
    let _server = DhcpServer::with(
        &lab,
        &["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600", &format!("--dhcp-host={MAC},ignore")],
    );
    lab.node
        .ip("link add veth0a type veth peer name guest\nlink set veth0a master br0 up\nlink set guest up");
    wait_until("the bridge knows the guest behind its own port", || {
        send_frame(&lab.node, "guest", &frame([2, 0, 0, 0, 0, 0x99], 1));
        lab.node.learned(MAC).contains("veth0a")
    });
    let line = ["probe", "--bridge", "br0", "--timeout", "4s", "--mac", MAC];
    let output = lab.node.pipe(&executable(), &line, "");
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("is known behind veth0a"), "{said}");
}

#[test]
fn a_server_on_a_bridge_without_uplink_is_no_false_alarm() {
    let lab = Lab::new("");
    lab.node.ip("link del ens192");
    let router = lab.pod();
    lab.call("ADD", &conf(json!({})), "router", router.path(), "net1").run().ok();
    let options = ["--no-ping", "--dhcp-range=10.77.0.100,10.77.0.200,3600"];
    router.ip("address add 10.77.0.1/24 dev net1");
    let server = DhcpServer::on(&router, "net1", &lab.files.join("leases"), &options);
    let pod = lab.pod();
    let outcome = lab.add(&probing(), &pod);
    assert!(outcome.stderr.contains("no port that leads off the node"), "{}", outcome.stderr);
    outcome.ok();
    lab.del(&probing(), &pod).ok();
    let status = |conf: &Value| lab.call("STATUS", conf, "", "".as_ref(), "").run();
    let mut asked = probing();
    asked["cniVersion"] = "1.1.0".into();
    status(&asked).ok();
    let doctor = lab.node.pipe(&executable(), &["doctor", "--bridge", "br0"], "");
    let said = text(&doctor.stdout);
    assert!(doctor.status.success() && said.contains("warn: bridge br0: uplink"), "{said}");

    // What is written is meant.
    let mut strict = probing();
    strict["uplinkCheck"] = "fail".into();
    lab.add(&strict, &pod).error(105);
    drop(server);
    asked["dhcpProbe"] = json!({"timeout": "2s", "onFailure": "warn"});
    lab.add(&asked, &pod).error(105);
    assert!(status(&asked).error(51).contains("code 105"));
}

#[test]
fn an_unanswered_probe_that_only_warns_lets_a_bad_uplink_fail() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let mut asked = probing();
    asked["dhcpProbe"] = json!({"timeout": "2s", "onFailure": "warn"});
    // Too slow a spanning tree to ask at all.
    lab.node.ip("link set br0 type bridge stp_state 1 forward_delay 1500");
    lab.add(&asked, &pod).ok();
    lab.del(&asked, &pod).ok();
    lab.node.ip("link del ens192");
    lab.add(&asked, &pod).error(105);

    if needs(Feature::VlanFiltering) {
        // The probe asks in the native VLAN, which the uplink carries.
        let lab = Lab::new("vlan_filtering 1");
        asked["vlanTrunk"] = json!([{"minID": 100, "maxID": 101}]);
        let error = lab.add(&asked, &pod).error(104);
        assert!(error.contains("vid 100-101"), "{error}");
    }
}
