//! System calls of the plugin, counted as strace's injection counts them.

use std::collections::HashMap;

use super::Lab;
use super::plugin::Call;

/// A system call: its name, and how often its thread has called it by then.
pub type Place = (String, usize);

/// The system calls that `call` makes; it must succeed.
pub fn places(lab: &Lab, call: &Call) -> Vec<Place> {
    let trace = lab.files.join("trace").to_string_lossy().into_owned();
    call.clone().under(&["strace", "-f", "-o", &trace]).run().ok();
    listed(&std::fs::read_to_string(trace).unwrap())
}

/// `call`, under a strace that does `what` at `place`: `signal=SIGKILL`, `error=EPERM`, ...
pub fn at<'a>(call: &Call<'a>, (name, number): &Place, what: &str) -> Call<'a> {
    let inject = format!("inject={name}:{what}:when={number}");
    call.clone().under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject])
}

/// `call`, under a strace that makes every message to the kernel last, so that what happens between two of them is seen.
pub fn slowly<'a>(call: &Call<'a>) -> Call<'a> {
    let inject = "inject=sendto,sendmsg:delay_exit=20000";
    call.clone().under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", inject])
}

fn listed(trace: &str) -> Vec<Place> {
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
