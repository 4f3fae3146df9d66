//! What keeps operations on one attachment apart: nobody but root can take it, hold it up or end it, and it goes with its
//! process.

use crate::support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use support::namespace::Namespace;
use support::plugin::{Outcome, script};
use support::{Before, Lab, conf, host_side, vm_conf, wait_until};

/// A program of nobody's that holds an abstract socket of this name on the node, with or without listening.
struct Squatter(Child);

impl Squatter {
    fn new(node: &Namespace, name: &str, listening: bool) -> Self {
        let listen = if listening { "&& listen(S, 9)" } else { "" };
        let hold = format!(
            r#"socket(S, AF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un("\0bridge-dhcp/{name}")) {listen} or die $!;
            $| = 1; print "held\n"; <STDIN>"#
        );
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", "perl", "-MSocket", "-e", &hold]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = node.enter(|| command.spawn()).unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "held\n");
        Self(child)
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Processor time of ended children so far.
fn children_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    let time =
        |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

#[test]
fn a_stranger_on_the_node_holds_neither_add_nor_del_up() {
    let host = host_side("c1", "net1");
    for listening in [true, false] {
        let lab = Lab::empty();
        let pod = lab.pod();
        let names = [format!("attachment/{host}"), "bridge/br0".to_string()];
        let _held = names.map(|name| Squatter::new(&lab.node, &name, listening));
        let before = children_time();
        lab.add(&vm_conf(json!({"createBridge": true, "deadline": "3s"})), &pod).ok();
        lab.del(&conf(json!({})), &pod).ok();
        assert!(!lab.node.has(&host));
        let took = children_time() - before;
        assert!(took < Duration::from_secs(2), "{took:?} of processor time, listening: {listening}");
    }
}

#[test]
fn a_stranger_on_the_node_cannot_reach_the_lock_of_a_running_add() {
    let host = host_side("c1", "net1");
    let lab = Lab::new("");
    let pod = lab.pod();
    let lock = lab.lock_file(&format!("attachment/{host}"));
    let answer = r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.2/24"}]}"#;
    // Reading is enough to lock a file, writing tells its holder to end, and only one's own can be put in its place.
    let meddling = format!(
        "[ -e {lock} ] || exit 1; for try in '<{lock}' '>>{lock}' '>{lock}.mine'; do
           setpriv --reuid=65534 --clear-groups sh -c \": $try\" 2>/dev/null && exit 1; done",
        lock = lock.display()
    );
    let path =
        script(&lab.files, "fake", &format!("[ $CNI_COMMAND = DEL ] || {{ {meddling}; echo '{answer}'; }}"));
    let path = format!("{path}:{}", std::env::var("PATH").unwrap());
    let conf = conf(json!({"cniVersion": "1.0.0", "ipam": {"type": "fake"}}));
    lab.call("ADD", &conf, "c1", pod.path(), "net1").set("CNI_PATH", &path).run().ok();
    assert!(!lock.exists(), "it goes with the operation");
}

/// An ADD that waits, since its port forwards only after 20 seconds.
fn waiting_add(lab: &Lab, pod: &Namespace) -> Child {
    lab.bridge("br0", "address 02:00:00:00:00:b0 stp_state 1 forward_delay 1000");
    let add = lab.call("ADD", &conf(json!({"deadline": "60s"})), "c1", pod.path(), "net1").start();
    wait_until("the ADD made its port", || lab.node.has(&host_side("c1", "net1")));
    add
}

#[test]
fn what_a_killed_add_held_is_free_at_once() {
    let lab = Lab::empty();
    let pod = lab.pod();
    let mut add = waiting_add(&lab, &pod);
    let before = Before::new(&lab, &pod);
    kill(Pid::from_raw(add.id() as i32), Signal::SIGKILL).unwrap();
    add.wait().unwrap();
    lab.del(&conf(json!({})), &pod).ok();
    assert!(!lab.node.has(&host_side("c1", "net1")));
    lab.add(&vm_conf(json!({})), &pod).ok();
    drop(before);
    assert!(!lab.lock_file(&format!("attachment/{}", host_side("c1", "net1"))).exists());
}

#[test]
fn of_many_dels_at_once_each_ends_and_the_add_gives_way_to_the_first() {
    let lab = Lab::empty();
    let pod = lab.pod();
    let add = waiting_add(&lab, &pod);
    let del = lab.call("DEL", &conf(json!({})), "c1", pod.path(), "net1");
    let dels: Vec<Child> = (0..8).map(|_| del.start()).collect();
    for del in dels {
        Outcome::from(del.wait_with_output().unwrap()).ok();
    }
    let said = Outcome::from(add.wait_with_output().unwrap()).error(126);
    assert!(said.contains("DEL"), "{said}");
    assert!(!lab.node.has(&host_side("c1", "net1")));
}

#[test]
fn a_lock_file_that_is_not_roots_alone_is_not_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new("");
    let pod = lab.pod();
    let lock = lab.lock_file(&format!("attachment/{}", host_side("c1", "net1")));
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let elsewhere = lab.files.join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, &lock).unwrap();
    assert!(lab.add(&vm_conf(json!({})), &pod).error(124).contains("lock"));
    assert!(!elsewhere.exists(), "a link is not followed");
    std::fs::remove_file(&lock).unwrap();
    std::fs::write(&lock, "").unwrap();
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(lab.add(&vm_conf(json!({})), &pod).error(124).contains("lock"));
    std::fs::remove_file(&lock).unwrap();
    lab.add(&vm_conf(json!({})), &pod).ok();
}
