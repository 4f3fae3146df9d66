//! Many plugins at once on one bridge, and a DEL that races an ADD.

use crate::support;

use serde_json::{Value, json};
use support::namespace::Namespace;
use support::plugin::{Outcome, script};
use support::{Before, Lab, conf, host_side, strace, vm_conf, wait_until};

/// ADDs for containers 0 to 15 at the same time, all of which must succeed.
fn sixteen(lab: &Lab, conf: &Value) {
    let pods: Vec<Namespace> = (0..16).map(|_| lab.pod()).collect();
    let started = pods
        .iter()
        .enumerate()
        .map(|(number, pod)| lab.call("ADD", conf, &format!("c{number}"), pod.path(), "net1").start());
    let started: Vec<_> = started.collect();
    for child in started {
        support::plugin::Outcome::from(child.wait_with_output().unwrap()).ok();
    }
    let ports = lab.ports("br0");
    for number in 0..16 {
        assert!(ports.contains(&host_side(&format!("c{number}"), "net1")));
    }
}

#[test]
fn sixteen_adds_at_once_on_one_bridge_succeed() {
    sixteen(&Lab::new(""), &conf(json!({"deadline": "60s"})));
}

#[test]
fn sixteen_adds_that_all_want_to_create_the_bridge_succeed() {
    for _ in 0..3 {
        sixteen(&Lab::empty(), &vm_conf(json!({"createBridge": true, "mtu": 1400, "deadline": "60s"})));
    }
}

#[test]
fn a_del_wins_over_an_add_that_is_still_running() {
    let lab = Lab::empty();
    // The port of a bridge with STP forwards after 20 s: the ADD waits.
    lab.bridge("br0", "address 02:00:00:00:00:b0 stp_state 1 forward_delay 1000");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let add = lab
        .call("ADD", &conf(json!({"deadline": "60s", "uplinkCheck": "off"})), "c1", pod.path(), "net1")
        .start();
    support::wait_until("the ADD made its port", || lab.node.has(&host_side("c1", "net1")));
    lab.del(&conf(json!({})), &pod).ok();
    // One that the DEL had waited for would have succeeded.
    let said = support::plugin::Outcome::from(add.wait_with_output().unwrap()).error(126);
    assert!(said.contains("DEL"), "{said}");
    before.assert_unchanged("afterwards");
}

#[test]
fn an_add_that_is_terminated_or_runs_late_takes_everything_back() {
    let lab = Lab::empty();
    lab.bridge("br0", "address 02:00:00:00:00:b0 stp_state 1 forward_delay 200");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    let late = conf(json!({"deadline": "5s"}));
    let call = lab.call("ADD", &late, "c1", pod.path(), "net1");
    let child = call.start();
    support::wait_until("the ADD made its port", || lab.node.has(&host_side("c1", "net1")));
    // A port that goes down never forwards.
    lab.node.ip(&format!("link set {} down", host_side("c1", "net1")));
    let said = support::plugin::Outcome::from(child.wait_with_output().unwrap()).error(115);
    assert!(said.contains("did not start forwarding within 5 s"), "{said}");
    before.assert_unchanged("afterwards");

    let child = call.start();
    support::wait_until("the ADD made its port", || lab.node.has(&host_side("c1", "net1")));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    support::plugin::Outcome::from(child.wait_with_output().unwrap()).error(126);
    before.assert_unchanged("afterwards");
}

#[test]
fn an_add_that_fails_does_not_take_promiscuity_from_one_that_succeeds() {
    let lab = Lab::new("address 02:00:00:00:00:b0 ");
    let (first, second) = (lab.pod(), lab.pod());
    let gate = lab.files.join("gate");
    let script = format!(
        "[ $CNI_COMMAND = DEL ] || {{ while [ ! -e {} ]; do sleep 0.01; done; exit 1; }}",
        gate.display()
    );
    let path = support::plugin::script(&lab.files, "fake", &script);
    let failing = conf(json!({"promiscMode": true, "ipam": {"type": "fake"}}));
    let failing = lab.call("ADD", &failing, "c1", first.path(), "net1").set("CNI_PATH", &path).start();
    let promiscuous = || lab.port("br0")["flags"].as_array().unwrap().contains(&json!("PROMISC"));
    support::wait_until("the first ADD made the bridge promiscuous", promiscuous);
    let good = lab.call("ADD", &conf(json!({"promiscMode": true})), "c2", second.path(), "net1").start();
    support::wait_until("the second ADD made its port", || lab.node.has(&host_side("c2", "net1")));
    std::fs::write(gate, "").unwrap();
    support::plugin::Outcome::from(failing.wait_with_output().unwrap()).error(121);
    support::plugin::Outcome::from(good.wait_with_output().unwrap()).ok();
    assert!(promiscuous());
}

#[test]
fn a_second_add_of_the_same_attachment_is_told_to_wait() {
    let lab = Lab::empty();
    lab.bridge("br0", "address 02:00:00:00:00:b0 stp_state 1 forward_delay 300");
    let pod = lab.pod();
    let asked = conf(json!({}));
    let first = lab.call("ADD", &asked, "c1", pod.path(), "net1").start();
    support::wait_until("the ADD made its port", || lab.node.has(&host_side("c1", "net1")));
    assert!(lab.add(&asked, &pod).error(11).contains("still running"));
    support::plugin::Outcome::from(first.wait_with_output().unwrap()).ok();
}

#[test]
fn links_that_come_and_go_while_ports_are_read_hide_no_uplink() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let conf = vm_conf(json!({"uplinkCheck": "fail"}));
    let add = lab.call("ADD", &conf, "c1", pod.path(), "net1");
    let places = strace::places(&lab, &add);
    lab.del(&conf, &pod).ok();
    // Each answer in turn becomes the end of an interrupted dump: length 20, NLMSG_DONE, NLM_F_MULTI and NLM_F_DUMP_INTR.
    let mut succeeded = 0;
    for place in places.iter().filter(|(name, _)| name == "recvfrom") {
        let outcome = strace::at(&add, place, "poke_exit=@arg2=1400000003001200").run();
        assert_ne!(outcome.json["code"], 105, "{place:?}: {}", outcome.json);
        succeeded += usize::from(outcome.succeeded);
        lab.del(&conf, &pod).ok();
    }
    assert!(succeeded > 0, "no interrupted dump was read again");
}

#[test]
fn an_add_that_is_cut_short_takes_nothing_from_the_attachment_that_is_there() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let conf = vm_conf(json!({}));
    let add = lab.call("ADD", &conf, "c1", pod.path(), "net1");
    let places = strace::places(&lab, &add);
    let before = Before::new(&lab, &pod);
    for what in ["error=EIO", "signal=SIGTERM"] {
        for place in places.iter().filter(|(name, _)| name == "sendto") {
            let outcome = strace::at(&add, place, what).run();
            assert!(!outcome.succeeded, "{place:?}: {}", outcome.json);
            before.assert_unchanged(&format!("a second ADD with {what} at {place:?}"));
        }
    }
}

#[test]
fn a_port_that_somebody_takes_off_the_bridge_meanwhile_is_no_attachment() {
    let host = host_side("c1", "net1");
    let lab = Lab::new("");
    let pod = lab.pod();
    let before = Before::new(&lab, &pod);
    for meddling in
        [format!("ip link set {host} nomaster"), "ip link set br0 down; ip link set br0 name br1".to_string()]
    {
        let answer = r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.2/24"}]}"#;
        let path = script(
            &lab.files,
            "fake",
            &format!("[ $CNI_COMMAND = DEL ] || {{ {meddling}; echo '{answer}'; }}"),
        );
        let conf = conf(json!({"cniVersion": "1.0.0", "ipam": {"type": "fake"}}));
        let path = format!("{path}:{}", std::env::var("PATH").unwrap());
        let add = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run();
        let error = add.error(124);
        assert!(error.contains(&format!("{host} is no port of bridge br0 any more")), "{error}");
        if lab.node.has("br1") {
            lab.node.ip("link set br1 name br0\nlink set br0 up");
            wait_until("the uplink forwards again", || lab.node.forwards("ens192"));
        }
        before.assert_unchanged(&meddling);
    }
}

#[test]
fn a_bridge_that_somebody_else_makes_meanwhile_is_not_deleted() {
    let lab = Lab::empty();
    let pod = lab.pod();
    let replaced =
        "ip link del br0; ip link add br0 address 02:00:00:00:00:0c type bridge; ip link set br0 up";
    let path = script(&lab.files, "fake", &format!("[ $CNI_COMMAND = DEL ] || {{ {replaced}; exit 1; }}"));
    let conf = conf(json!({"createBridge": true, "ipam": {"type": "fake"}}));
    lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().error(121);
    assert_eq!(lab.port("br0")["address"], "02:00:00:00:00:0c");
    assert!(!lab.node.has(&host_side("c1", "net1")));
}

#[test]
fn whoever_may_create_or_delete_a_bridge_waits_for_those_who_do() {
    let lab = Lab::empty();
    let pod = lab.pod();
    let (asked, gate) = (lab.files.join("asked"), lab.files.join("gate"));
    let held_up = format!(
        "[ $CNI_COMMAND = DEL ] || {{ touch {}; while [ ! -e {} ]; do sleep 0.01; done; exit 1; }}",
        asked.display(),
        gate.display()
    );
    let path = script(&lab.files, "fake", &held_up);
    let conf = conf(json!({"createBridge": true, "deadline": "60s", "ipam": {"type": "fake"}}));
    let add = lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path);

    let lock = lab.lock("bridge/br0");
    let mut child = add.start();
    wait_until("the ADD waits or acts", || lock.wanted() || asked.exists());
    assert!(!lab.node.has("br0"));
    drop(lock);
    wait_until("the ADD asks for addresses", || asked.exists());
    let lock = lab.lock("bridge/br0");
    std::fs::write(gate, "").unwrap();
    wait_until("the ADD waits or ends", || lock.wanted() || child.try_wait().unwrap().is_some());
    assert!(lab.node.has("br0"));
    drop(lock);
    Outcome::from(child.wait_with_output().unwrap()).error(121);
    assert!(!lab.node.has("br0"));
}

#[test]
fn a_port_that_is_taken_off_before_it_forwards_is_not_waited_for() {
    let host = host_side("c1", "net1");
    let lab = Lab::new("");
    let pod = lab.pod();
    let conf = conf(json!({"deadline": "60s"}));
    let add = lab.call("ADD", &conf, "c1", pod.path(), "net1");
    let places = strace::places(&lab, &add);
    lab.del(&conf, &pod).ok();
    let mut failed = 0;
    for place in places.iter().filter(|(name, _)| name == "sendto") {
        let mut child = strace::at(&add, place, "delay_enter=300000").start();
        wait_until("the pair is there or the ADD over", || {
            lab.node.has(&host) || child.try_wait().unwrap().is_some()
        });
        lab.node.pipe("ip", &["link", "set", "dev", &host, "nomaster"], "");
        let outcome = Outcome::from(child.wait_with_output().unwrap());
        if !outcome.succeeded {
            failed += 1;
            assert_eq!(outcome.json["code"], 124, "{place:?}: {}", outcome.json);
            assert!(!lab.node.has(&host), "{place:?}");
        }
        lab.del(&conf, &pod).ok();
    }
    assert!(failed > 0, "nobody came in time");
}
