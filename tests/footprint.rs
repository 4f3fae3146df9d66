//! What the executable needs: no files, no other programs, little memory, no library of the system.

use crate::support;

use std::process::{Command, Stdio};

use serde_json::json;
use support::feature::needs_release_binary;
use support::plugin::executable;
use support::{Lab, conf, vm_conf};

/// Most memory that a command may use, in KiB.
const MEMORY_MAX: u64 = 4096;

#[test]
fn the_static_binary_runs_in_a_chroot_with_proc_and_sys_only() {
    if !needs_release_binary() {
        return;
    }
    let lab = Lab::new("");
    let pod = lab.pod();
    let root = lab.files.join("root");
    for folder in ["proc", "sys", "netns"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::copy(executable(), root.join("bridge-dhcp")).unwrap();
    std::fs::write(root.join("netns/pod"), "").unwrap();
    let script = format!(
        "set -e; R={}; mount -t proc proc $R/proc; mount -t sysfs sysfs $R/sys; mount --bind {} $R/netns/pod; exec chroot $R /bridge-dhcp",
        root.display(),
        pod.path().display()
    );
    for operation in ["ADD", "DEL", "VERSION"] {
        let call = lab.call(operation, &conf(json!({})), "c1", "/netns/pod".as_ref(), "net1");
        let inner = script.clone();
        let outcome = call.under(&["unshare", "-m", "sh", "-c", &inner, "sh"]).run();
        outcome.ok();
        assert_eq!(pod.has("net1"), operation == "ADD");
    }
}

#[test]
fn an_add_in_vm_mode_starts_no_process_and_opens_no_file_but_the_netns_its_lock_and_the_log() {
    let lab = Lab::new("");
    let pod = lab.pod();
    let trace = lab.files.join("trace").to_string_lossy().into_owned();
    let (path, log) = lab.log_file("log");
    let call = lab.call("ADD", &vm_conf(json!({"logFile": path})), "c1", pod.path(), "net1");
    let traced = "trace=execve,execveat,fork,vfork,clone,clone3,open,openat,openat2,creat";
    call.under(&["strace", "-f", "-qq", "-e", traced, "-o", &trace]).run().ok();
    let trace = std::fs::read_to_string(trace).unwrap();
    let logs = log.parent().unwrap().to_string_lossy();
    let allowed = [
        "\"/proc",
        "\"/sys",
        "\"/run/bridge-dhcp/locks/",
        &pod.path().to_string_lossy(),
        &logs,
        ", \"log\", ",
    ];
    let mut calls = trace.lines().filter(|line| line.contains('('));
    assert!(calls.next().unwrap().contains("execve("), "the plugin itself");
    for line in calls {
        let name = line.split('(').next().unwrap().rsplit(' ').next().unwrap();
        if name.starts_with("clone") {
            assert!(line.contains("CLONE_THREAD"), "a process: {line}");
            continue;
        }
        // A dynamically linked developer's build opens its libraries before main.
        let library = line.contains("/etc/ld.so") || line.contains(".so");
        let file = name.starts_with("open") || name == "creat";
        assert!(file && (library || allowed.iter().any(|path| line.contains(path))), "{line}");
    }
    assert!(std::fs::read_to_string(log).unwrap().contains("attached net1"));
}

#[test]
fn no_command_uses_more_than_four_mebibytes() {
    if !needs_release_binary() {
        return;
    }
    let lab = Lab::new("");
    let pod = lab.pod();
    let result = lab.add(&vm_conf(json!({})), &pod).ok();
    lab.del(&conf(json!({})), &pod).ok();
    let checked = support::with_result(
        &vm_conf(json!({"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "net1"}]})),
        &result,
    );
    for operation in ["VERSION", "ADD", "CHECK", "STATUS", "GC", "DEL"] {
        let call = lab.call(
            operation,
            &if operation == "ADD" { vm_conf(json!({})) } else { checked.clone() },
            "c1",
            pod.path(),
            "net1",
        );
        let report = lab.files.join("rusage").to_string_lossy().into_owned();
        // GNU time is small itself: the peak of a process counts what it was before it became the plugin.
        call.under(&["/usr/bin/time", "-o", &report, "-f", "%M"]).run().ok();
        let peak: u64 = std::fs::read_to_string(&report).unwrap().trim().parse().unwrap();
        println!("measured: {operation} peaks at {peak} KiB");
        assert!(peak <= MEMORY_MAX, "{operation} used {peak} KiB");
    }
}

/// Most system calls of an ADD in VM mode without a probe, and of its DEL, from the start of the process to its end.
const ADD_CALLS_MAX: usize = 125;
const DEL_CALLS_MAX: usize = 96;

#[test]
fn add_and_del_ask_the_kernel_for_little_and_start_no_thread() {
    if !needs_release_binary() {
        return;
    }
    let lab = Lab::new("");
    let pod = lab.pod();
    for (operation, most) in [("ADD", ADD_CALLS_MAX), ("DEL", DEL_CALLS_MAX)] {
        let call = lab.call(operation, &vm_conf(json!({})), "c1", pod.path(), "net1");
        let places = support::strace::places(&lab, &call);
        println!("measured: {operation} makes {} system calls", places.len());
        assert!(places.len() <= most, "{operation} makes {} system calls", places.len());
        assert!(places.iter().all(|(name, _)| !name.starts_with("clone")), "{operation} starts a thread");
    }
}

#[test]
fn version_answers_at_once() {
    let mut times: Vec<_> = (0..50)
        .map(|_| {
            let started = std::time::Instant::now();
            let mut command = Command::new(executable());
            command.env_clear().env("CNI_COMMAND", "VERSION").stdin(Stdio::null()).stdout(Stdio::null());
            assert!(command.status().unwrap().success());
            started.elapsed()
        })
        .collect();
    times.sort();
    println!("measured: VERSION takes {:?} (median of 50 processes)", times[25]);
}
