//! The agent keeps leases as servers grant them: renewed, changed, taken away, and through its own end.

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dhcproto::v4::{Message, MessageType};
use serde_json::{Value, json};
use support::agent::Agent;
use support::fake_server::{self, Answer, FakeServer, GRANTED};
use support::lease::{address, leasing};
use support::{Lab, host_side, wait_until};

/// Leases of so few seconds are renewed after half of them.
const SECONDS: u32 = 4;

/// A lab with an agent and a server that does what the test says.
fn kept(answer: impl FnMut(&Message) -> Option<Answer> + Send + 'static) -> (Lab, FakeServer, Agent) {
    let lab = Lab::new("");
    let server = FakeServer::start(&lab.lan, answer);
    let agent = Agent::start(&lab);
    (lab, server, agent)
}

fn is_request(message: &Message) -> bool {
    message.opts().msg_type() == Some(MessageType::Request)
}

/// A request to renew: it names the address that is in use.
fn is_renewal(message: &Message) -> bool {
    is_request(message) && !message.ciaddr().is_unspecified()
}

fn leases(lab: &Lab) -> Value {
    let output = lab.command(&["leases", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_lease_outlives_its_time_by_renewal_and_ends_with_del() {
    let (lab, server, _agent) = kept(fake_server::generous(SECONDS));
    let pod = lab.pod();
    let outcome = lab.add(&leasing(json!({"requireAgent": true})), &pod);
    assert!(!outcome.stderr.contains("nobody renews"), "{}", outcome.stderr);
    outcome.ok();
    let begun = Instant::now();
    let mut renewals = 0;
    while begun.elapsed() < Duration::from_secs(u64::from(SECONDS) * 2 + 1) {
        assert_eq!(address(&pod), "10.77.0.70", "after {:?}", begun.elapsed());
        renewals += server.heard().iter().filter(|message| is_renewal(message)).count();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!((3..=5).contains(&renewals), "{renewals}");
    let shown = leases(&lab);
    assert_eq!((&shown["agent"], &shown["leases"][0]["state"]), (&json!(true), &json!("BOUND")));
    lab.del(&leasing(json!({})), &pod).ok();
    wait_until("the release is heard", || {
        server.heard().iter().any(|message| message.opts().msg_type() == Some(MessageType::Release))
    });
    assert_eq!(leases(&lab)["leases"], json!([]));
}

#[test]
fn what_a_renewal_changes_is_changed_on_the_link() {
    let last = Arc::new(AtomicU8::new(70));
    let said = last.clone();
    let (lab, _server, _agent) = kept(move |message: &Message| {
        let last = said.load(Ordering::Relaxed);
        let mut options = fake_server::options(SECONDS);
        options.retain(|(code, _)| *code != 3);
        options.push((3, vec![10, 77, 0, last - 60]));
        let kind = if is_request(message) { 5 } else { 2 };
        Some((kind, [10, 77, 0, last], options))
    });
    let pod = lab.pod();
    let conf = leasing(json!({}));
    let result = lab.add(&conf, &pod).ok();
    last.store(71, Ordering::Relaxed);
    wait_until("the new address is there", || address(&pod) == "10.77.0.71");
    wait_until("the new router is there", || pod.run("ip route show default").contains("via 10.77.0.11"));
    assert_eq!(pod.addresses()["net1"].as_array().unwrap().len(), 1, "the old one is gone");
    assert_eq!(pod.run("ip route show default").lines().count(), 1, "the old router is gone");
    lab.check(&conf, &result, &pod).ok();
    lab.del(&conf, &pod).ok();
}

#[test]
fn a_refused_lease_leaves_the_link_at_once_and_another_one_comes() {
    let refuse = Arc::new(AtomicU32::new(0));
    let refusing = refuse.clone();
    let (lab, _server, _agent) =
        kept(move |message: &Message| match (is_renewal(message), refusing.load(Ordering::Relaxed)) {
            (true, 1) => Some((6, [0; 4], vec![(54, fake_server::SERVER.to_vec()), (56, b"moved".to_vec())])),
            (_, 1) => None,
            (_, 0) => Some((if is_request(message) { 5 } else { 2 }, GRANTED, fake_server::options(SECONDS))),
            _ => Some((if is_request(message) { 5 } else { 2 }, [10, 77, 0, 90], fake_server::options(600))),
        });
    let pod = lab.pod();
    lab.add(&leasing(json!({})), &pod).ok();
    refuse.store(1, Ordering::Relaxed);
    wait_until("the refused address is gone", || address(&pod).is_empty());
    assert!(lab.agent_log().contains("refuses 10.77.0.70 (moved)"), "{}", lab.agent_log());
    refuse.store(2, Ordering::Relaxed);
    wait_until("another lease is there", || address(&pod) == "10.77.0.90");
    assert!(pod.run("ip route show default").contains("via 10.77.0.1"));
}

#[test]
fn an_expired_lease_is_never_on_the_link() {
    let silent = Arc::new(AtomicU32::new(0));
    let silenced = silent.clone();
    let (lab, server, _agent) = kept(move |message: &Message| {
        let mut generous = fake_server::generous(SECONDS);
        if silenced.load(Ordering::Relaxed) == 1 { None } else { generous(message) }
    });
    let pod = lab.pod();
    lab.add(&leasing(json!({})), &pod).ok();
    wait_until("it is renewed", || server.heard().iter().any(is_renewal));
    silent.store(1, Ordering::Relaxed);
    // The last renewal that was answered began at most this long ago.
    let granted = Instant::now();
    wait_until("the address is gone", || address(&pod).is_empty());
    let after = granted.elapsed();
    assert!(after < Duration::from_millis(u64::from(SECONDS) * 1000 + 300), "{after:?}");
    silent.store(0, Ordering::Relaxed);
    wait_until("the lease is back", || address(&pod) == "10.77.0.70");
}

#[test]
fn an_agent_that_is_killed_loses_nothing_and_two_do_no_harm() {
    let (lab, server, agent) = kept(fake_server::generous(SECONDS));
    let pods: Vec<_> = (0..3).map(|_| lab.pod()).collect();
    for (number, pod) in pods.iter().enumerate() {
        lab.call("ADD", &leasing(json!({})), &format!("c{number}"), pod.path(), "net1").run().ok();
    }
    let second = Agent::starting(&lab);
    agent.kill();
    wait_until("the second agent keeps them", || lab.agent_log().contains("keeping 3 leases"));
    server.heard();
    std::thread::sleep(Duration::from_secs(u64::from(SECONDS) + 1));
    for pod in &pods {
        assert_eq!(address(pod), "10.77.0.70");
    }
    let renewals = server.heard().iter().filter(|message| is_renewal(message)).count();
    assert!((6..=10).contains(&renewals), "each is renewed by one agent: {renewals}");
    second.kill();
    // Without any, DEL gives them back by itself.
    for (number, pod) in pods.iter().enumerate() {
        lab.call("DEL", &leasing(json!({})), &format!("c{number}"), pod.path(), "net1").run().ok();
    }
    wait_until("three releases are heard", || {
        let released = |message: &&Message| message.opts().msg_type() == Some(MessageType::Release);
        server.heard().iter().filter(released).count() == 3
    });
}

#[test]
fn a_sandbox_that_goes_without_a_del_gives_its_lease_back() {
    let (lab, server, _agent) = kept(fake_server::generous(600));
    let pod = lab.pod();
    lab.add(&leasing(json!({})), &pod).ok();
    drop(pod);
    wait_until("the release is heard", || {
        server.heard().iter().any(|message| message.opts().msg_type() == Some(MessageType::Release))
    });
    wait_until("the link is gone, too", || !lab.node.has(&host_side("c1", "net1")));
    wait_until("the record is gone", || leases(&lab)["leases"] == json!([]));
}

#[test]
fn a_link_that_was_down_has_its_lease_confirmed_and_its_routes_back() {
    let (lab, server, _agent) = kept(fake_server::generous(600));
    let pod = lab.pod();
    lab.add(&leasing(json!({})), &pod).ok();
    server.heard();
    pod.ip("link set net1 down\nlink set net1 up");
    wait_until("the lease is confirmed", || server.heard().iter().any(is_request));
    wait_until("the route is back", || pod.run("ip route show default").contains("via 10.77.0.1"));
    assert_eq!(address(&pod), "10.77.0.70");
}

#[test]
fn the_manifests_rights_are_those_that_these_tests_give_it() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/conf-examples/install/agent/kustomization.yaml");
    let manifest = std::fs::read_to_string(file).unwrap();
    let added = manifest.lines().find_map(|line| line.trim().strip_prefix("add: [")).unwrap();
    let added: Vec<String> = added
        .trim_end_matches(']')
        .split(", ")
        .map(|name| format!("+{}", name.trim_matches('"').to_lowercase()))
        .collect();
    assert_eq!(format!("-all,{}", added.join(",")), support::agent::RIGHTS);
}
