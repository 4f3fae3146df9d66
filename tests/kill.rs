//! An ADD that is killed at any system call leaves nothing that the DEL after it does not remove.

mod support;

use std::collections::HashMap;

use serde_json::{Value, json};
use support::{Before, Lab, conf, vm_conf};

/// Kills ADDs at every fifth of the system calls that one of them makes. strace counts the calls of one name in one
/// thread, so each is told to it as a name and a number.
fn survives(lab: &Lab, conf: &Value) {
    let pod = lab.pod();
    let before = Before::new(lab, &pod);
    let stripped = json!({"cniVersion": "1.0.0", "ipam": {}, "name": "lan", "type": "bridge-dhcp"});
    let trace = lab.files.join("trace").to_string_lossy().into_owned();
    let add = lab.call("ADD", conf, "c1", pod.path(), "net1");
    let del = lab.call("DEL", &stripped, "c1", pod.path(), "net1");
    add.clone().under(&["strace", "-f", "-o", &trace]).run().ok();
    del.run().ok();
    before.assert_unchanged("after DEL");

    let places = places(&std::fs::read_to_string(&trace).unwrap());
    let mut killed = 0;
    for (name, number) in places.iter().step_by(5) {
        let inject = format!("inject={name}:signal=SIGKILL:when={number}");
        let child = add.clone().under(&["strace", "-f", "-o", &trace, "-e", &inject]).start();
        killed += usize::from(!child.wait_with_output().unwrap().status.success());
        del.run().ok();
        before.assert_unchanged(&format!("killed at {name} number {number}"));
    }
    println!("measured: ADD makes {} system calls; killed at {killed} of them, nothing left", places.len());
    assert!(killed > places.len() / 8, "strace killed {killed} of {}", places.len());
}

/// The system calls of a trace, each as its name and how often its thread has called that by then.
fn places(trace: &str) -> Vec<(String, usize)> {
    let mut counts = HashMap::new();
    let calls = trace.lines().filter(|line| !line.contains("resumed>"));
    let named = calls.filter_map(|line| {
        let (thread, call) = line.split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        let count = counts.entry((thread.to_string(), name.to_string())).or_insert(0);
        *count += 1;
        Some((name.to_string(), *count))
    });
    named.filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).collect()
}

#[test]
fn in_vm_mode() {
    survives(&Lab::new(""), &vm_conf(json!({})));
}

#[test]
fn in_container_mode() {
    survives(&Lab::new(""), &conf(json!({"portIsolation": true})));
}
