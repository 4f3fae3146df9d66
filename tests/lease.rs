//! A pod's lease, from the DHCP servers that people run: taken in ADD, used as it was granted, given back in DEL.

use crate::support;

use std::path::Path;

use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode};
use serde_json::{Value, json};
use support::agent::Agent;
use support::fake_server::{self, FakeServer, GRANTED};
use support::feature::{Feature, needs, needs_program};
use support::lease::{address, leasing};
use support::server::{Kind, Server, dnsmasq, isc, kea, udhcpd};
use support::wire::Capture;
use support::{Before, Lab, host_side, wait_until};

/// A node whose LAN has a server of this kind.
fn served(kind: Kind, seconds: u32) -> (Lab, Server) {
    let lab = Lab::new("");
    lab.lan.ip("address add 10.77.0.1/24 dev lan0");
    let server = kind(&lab, &lab.lan, "lan0", seconds);
    (lab, server)
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

fn is_given_again(program: &str, kind: Kind) {
    if !needs_program(program) {
        return;
    }
    let (lab, _server) = served(kind, 600);
    let conf = leasing(json!({}));
    let arguments = |pod: &str| format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod}");
    let mut first = String::new();
    for round in 0..20 {
        let (pod, container) = (lab.pod(), format!("sandbox{round}"));
        let call = |operation| {
            lab.call(operation, &conf, &container, pod.path(), "net1").set("CNI_ARGS", &arguments("web-0"))
        };
        call("ADD").run().ok();
        let address = address(&pod);
        // Others come and stay, so that the next free address is another one each time.
        let (other, stranger) = (lab.pod(), format!("stranger{round}"));
        let of_stranger = lab.call("ADD", &conf, &stranger, other.path(), "net1");
        of_stranger.set("CNI_ARGS", &arguments(&stranger)).run().ok();
        call("DEL").run().ok();
        if round == 0 {
            first = address.clone();
        }
        assert_eq!(address, first, "round {round}");
    }
}

#[test]
fn dnsmasq_gives_a_pod_that_comes_back_its_address() {
    is_given_again("dnsmasq", dnsmasq);
}

#[test]
fn kea_gives_a_pod_that_comes_back_its_address() {
    is_given_again("kea-dhcp4", kea);
}

#[test]
fn isc_dhcpd_gives_a_pod_that_comes_back_its_address() {
    is_given_again("dhcpd", isc);
}

/// A lab with a server that does what the test says.
fn faked(answer: impl FnMut(&Message) -> Option<fake_server::Answer> + Send + 'static) -> (Lab, FakeServer) {
    let lab = Lab::new("");
    let server = FakeServer::start(&lab.lan, answer);
    (lab, server)
}

fn kinds(messages: &[Message]) -> Vec<MessageType> {
    messages.iter().filter_map(|message| message.opts().msg_type()).collect()
}

#[test]
fn an_add_without_a_lease_says_why_and_leaves_nothing() {
    let silent_behind_the_offer = |message: &Message| {
        let discover = message.opts().msg_type() == Some(MessageType::Discover);
        discover.then(|| (2, GRANTED, fake_server::options(600)))
    };
    let refusing = |message: &Message| match message.opts().msg_type() {
        Some(MessageType::Discover) => Some((2, GRANTED, fake_server::options(600))),
        _ => Some((6, [0; 4], vec![(54, fake_server::SERVER.to_vec()), (56, b"pool is full".to_vec())])),
    };
    let without_mask = |message: &Message| {
        let options = fake_server::options(600).into_iter().filter(|(code, _)| *code != 1).collect();
        let kind = if message.opts().msg_type() == Some(MessageType::Discover) { 2 } else { 5 };
        Some((kind, GRANTED, options))
    };
    let foreign_client = |_: &Message| {
        let mut options = fake_server::options(600);
        options.push((61, b"\0somebody else".to_vec()));
        Some((2, GRANTED, options))
    };
    type Server = Box<dyn FnMut(&Message) -> Option<fake_server::Answer> + Send>;
    let cases: [(Server, u64, &str); 5] = [
        (Box::new(|_| None), 110, "no DHCP server answers"),
        (Box::new(silent_behind_the_offer), 130, "offered 10.77.0.70, but did not confirm it"),
        (Box::new(refusing), 130, "refused the lease (DHCPNAK): \"pool is full\""),
        (Box::new(without_mask), 130, "it has no subnet mask (option 1)"),
        (Box::new(foreign_client), 130, "another client identifier"),
    ];
    std::thread::scope(|scope| {
        for (server, code, words) in cases {
            scope.spawn(move || is_refused(server, code, words));
        }
    });
}

fn is_refused(
    server: impl FnMut(&Message) -> Option<fake_server::Answer> + Send + 'static,
    code: u64,
    words: &str,
) {
    let (lab, _server) = faked(server);
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let mut conf = leasing(json!({}));
    conf["deadline"] = json!("6s");
    let said = lab.add(&conf, &pod).error(code);
    assert!(said.contains(words) && said.contains("DHCPDISCOVER"), "{said}");
    lab.wait_until_probes_are_gone("br0");
    before.assert_unchanged(words);
    assert_eq!(lab.files.join("run/bridge-dhcp/leases").read_dir().into_iter().flatten().count(), 0);
}

#[test]
fn a_lease_that_the_add_cannot_use_goes_back_to_the_server() {
    let (lab, server) = faked(fake_server::generous(600));
    let pod = lab.pod();
    // No record, no use of the lease: it would never be released.
    std::fs::create_dir_all(lab.files.join("run")).unwrap();
    std::fs::write(lab.files.join("run/bridge-dhcp"), "in the way").unwrap();
    let before = Before::new(&lab, &pod);
    let said = lab.add(&leasing(json!({})), &pod).error(132);
    assert!(said.contains("cannot write the lease's record"), "{said}");
    before.assert_unchanged("after the failure");
    wait_until("the release is heard", || kinds(&server.heard()).contains(&MessageType::Release));
}

#[test]
fn the_keys_of_ipam_reach_the_wire_and_the_routes() {
    let (lab, server) = faked(|message: &Message| {
        let mut options = fake_server::options(600);
        options.push((121, vec![24, 10, 9, 9, 10, 77, 0, 9, 0, 10, 77, 0, 2]));
        options.push((6, vec![10, 77, 0, 53]));
        options.push((15, b"lan.example".to_vec()));
        options.push((26, vec![5, 120]));
        let kind = if message.opts().msg_type() == Some(MessageType::Discover) { 2 } else { 5 };
        Some((kind, GRANTED, options))
    });
    let pod = lab.pod();
    let conf = leasing(json!({
        "priority": 77,
        "provide": [{"option": "host-name", "fromArg": "K8S_POD_NAME"}, {"option": "60", "value": "ours"}],
        "request": [{"option": "26"}],
    }));
    let call = lab.call("ADD", &conf, "c1", pod.path(), "net1");
    let result = call.set("CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0").run().ok();
    assert_eq!(result["dns"], json!({"nameservers": ["10.77.0.53"], "domain": "lan.example"}));
    let routes = pod.run("ip route show");
    assert!(routes.contains("10.9.9.0/24 via 10.77.0.9 dev net1 metric 77 mtu 1400"), "{routes}");
    assert!(routes.contains("default via 10.77.0.2 dev net1 metric 77 mtu 1400"), "{routes}");
    let heard = server.heard();
    assert_eq!(kinds(&heard), [MessageType::Discover, MessageType::Request]);
    for message in &heard {
        let option = |code: u8| message.opts().get(OptionCode::from(code)).cloned();
        assert_eq!(option(61), Some(DhcpOption::ClientIdentifier(b"\0shop/web-0/net1".to_vec())));
        assert_eq!(option(12), Some(DhcpOption::Hostname("web-0".into())));
        assert_eq!(option(60), Some(DhcpOption::ClassIdentifier(b"ours".to_vec())));
    }
}

#[test]
fn suppressed_gateways_leave_the_other_routes() {
    let (lab, _server) = faked(fake_server::generous(600));
    let pod = lab.pod();
    let result = lab.add(&leasing(json!({"suppress": ["gateway"]})), &pod).ok();
    assert_eq!((&result["ips"][0]["gateway"], &result["routes"]), (&Value::Null, &Value::Null));
    assert_eq!(pod.run("ip route show default"), "");
}

#[test]
fn machines_and_gateways_are_refused_with_what_to_do_instead() {
    let (lab, server) = faked(fake_server::generous(600));
    let pod = lab.pod();
    let machine = lab.call("ADD", &leasing(json!({})), "c1", pod.path(), "net1");
    let machine = machine.set("CNI_ARGS", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=virt-launcher-db-x7k2p");
    let said = machine.run().error(7);
    assert!(said.contains("disableContainerInterface"), "{said}");
    let mut gateway = leasing(json!({}));
    gateway["isDefaultGateway"] = true.into();
    assert!(lab.add(&gateway, &pod).error(7).contains("router of its own"));
    let said = lab.add(&leasing(json!({"requireAgent": true})), &pod).error(131);
    assert!(said.contains("bridge-dhcp agent"), "{said}");
    assert!(server.heard().is_empty());
}

#[test]
fn nobody_renewing_is_told_and_the_kernel_ends_the_lease() {
    let (lab, _server) = faked(fake_server::generous(3));
    let pod = lab.pod();
    let outcome = lab.add(&leasing(json!({})), &pod);
    assert!(outcome.stderr.contains("nobody renews the DHCP lease"), "{}", outcome.stderr);
    outcome.ok();
    assert_eq!(address(&pod), "10.77.0.70");
    wait_until("the address ends with the lease", || address(&pod).is_empty());
    lab.del(&leasing(json!({})), &pod).ok();
}

#[test]
fn a_detached_pod_needs_no_namespace_and_no_good_record() {
    let (lab, server) = faked(fake_server::generous(600));
    let conf = leasing(json!({}));
    let record = lab.files.join(format!("run/bridge-dhcp/leases/{}.json", host_side("c1", "net1")));
    for spoil in ["", "{", "{\"format\":1}", &"[".repeat(70_000)] {
        let pod = lab.pod();
        lab.add(&conf, &pod).ok();
        assert!(record.exists());
        if !spoil.is_empty() {
            std::fs::write(&record, spoil).unwrap();
        }
        lab.del(&conf, &pod).ok();
        assert!(!record.exists() && !lab.node.has(&host_side("c1", "net1")));
    }
    let pod = lab.pod();
    lab.add(&conf, &pod).ok();
    drop(pod);
    lab.call("DEL", &conf, "c1", Path::new("/run/netns/gone"), "net1").run().ok();
    assert!(!record.exists());
    let mut released = 0;
    wait_until("the one whose record and namespace were there is released", || {
        let heard = kinds(&server.heard());
        released += heard.iter().filter(|kind| **kind == MessageType::Release).count();
        released > 0
    });
    assert_eq!(released, 1);
}

/// A lab whose node has the NIC `ens224` on the LAN and no bridge, and a directory with our program under the name `dhcp`.
fn without_a_bridge(lab: &Lab) -> String {
    lab.node.ip(&format!(
        "link add ens224 type veth peer name lan0 netns {}\nlink set ens224 up",
        lab.lan.name()
    ));
    lab.lan.ip("link set lan0 up");
    let directory = lab.files.join("bin");
    std::fs::create_dir_all(&directory).unwrap();
    let installed = lab.command(&["install", "--name", "dhcp", "--dest"]).arg(&directory).status().unwrap();
    assert!(installed.success());
    directory.to_str().unwrap().to_string()
}

#[test]
fn another_main_plugin_gets_its_lease_here_and_the_agent_keeps_it() {
    if !needs(Feature::Macvlan) {
        return;
    }
    let lab = Lab::empty();
    let path = without_a_bridge(&lab);
    let server = FakeServer::start(&lab.lan, fake_server::generous(4));
    let _agent = Agent::start(&lab);
    let pod = lab.pod();
    let conf = json!({
        "cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "ens224", "ipam": {"type": "dhcp"},
    });
    let call = |operation: &str, conf: &Value| {
        let call = lab.call(operation, conf, "c1", pod.path(), "net1").set("CNI_PATH", &path);
        call.with_executable("/usr/lib/cni/macvlan").run()
    };
    let result = call("ADD", &conf).ok();
    assert_eq!(result["ips"][0]["address"], "10.77.0.70/24");
    assert_eq!(result["interfaces"].as_array().unwrap().len(), 1, "the main plugin's own");
    let lifetime = || pod.ip_json("address show dev net1")[0]["addr_info"][0]["valid_life_time"].as_u64();
    wait_until("the address has the lease's end", || lifetime().is_some_and(|seconds| seconds <= 4));
    wait_until("it is renewed", || server.heard().iter().any(|message| !message.ciaddr().is_unspecified()));
    assert_eq!(address(&pod), "10.77.0.70");
    call("CHECK", &support::with_result(&conf, &result)).ok();
    call("DEL", &conf).ok();
    wait_until("the release is heard", || kinds(&server.heard()).contains(&MessageType::Release));
    call("DEL", &conf).ok();
}

#[test]
fn as_an_ipam_plugin_it_answers_every_operation_and_takes_no_lease_in_check() {
    if !needs(Feature::Macvlan) {
        return;
    }
    let lab = Lab::empty();
    let path = without_a_bridge(&lab);
    let server = FakeServer::start(&lab.lan, fake_server::generous(600));
    let pod = lab.pod();
    lab.node
        .ip(&format!("link add m0 link ens224 type macvlan mode bridge\nlink set m0 netns {}", pod.name()));
    pod.ip("link set m0 name net1");
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "lan", "type": "macvlan", "ipam": {"type": "dhcp"},
        "cni.dev/valid-attachments": [],
    });
    let dhcp = format!("{path}/dhcp");
    let call = |operation: &str, conf: &Value| {
        lab.call(operation, conf, "c1", pod.path(), "net1").with_executable(&dhcp).run()
    };
    assert!(call("CHECK", &conf).error(123).contains("no DHCP lease"));
    call("STATUS", &conf).ok();
    assert!(server.heard().is_empty());
    let result = call("ADD", &conf).ok();
    assert_eq!(
        result,
        json!({
            "cniVersion": "1.1.0", "dns": {},
            "ips": [{"address": "10.77.0.70/24", "gateway": "10.77.0.1"}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}],
        })
    );
    call("CHECK", &conf).ok();
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "c1", "ifname": "net1"}]);
    call("GC", &conf).ok();
    call("CHECK", &conf).ok();
    conf["cni.dev/valid-attachments"] = json!([]);
    call("GC", &conf).ok();
    wait_until("the release is heard", || kinds(&server.heard()).contains(&MessageType::Release));
    assert!(call("CHECK", &conf).error(123).contains("no DHCP lease"));
    conf["ipam"]["requireAgent"] = true.into();
    assert!(call("STATUS", &conf).error(50).contains("nobody on this node would renew"));
    call("ADD", &conf).error(131);
}
