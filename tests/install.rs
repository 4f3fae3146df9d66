//! `install` puts the program in place atomically: whoever runs it meanwhile, whatever kills it, however full the disk.

use crate::support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use support::namespace::text;
use support::plugin::executable;
use support::{Lab, vm_conf, wait_until};

/// A CNI directory of this test.
fn folder(lab: &Lab) -> PathBuf {
    let folder = lab.files.join("cni bin");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn install(folder: &Path) -> Output {
    Command::new(executable()).args(["install", "--dest"]).arg(folder).output().unwrap()
}

fn installed(folder: &Path) {
    let output = install(folder);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// An installation that lingers in the moment after the rename, where a file still open for writing would be one that
/// nobody can execute.
fn installed_slowly(folder: &Path) {
    let output = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "inject=?rename,renameat,renameat2:delay_exit=100000"])
        .arg(executable())
        .args(["install", "--dest"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Puts an older version there: the same program with a few bytes behind its end. By processes of their own, since a
/// file that this one has open for writing could not be executed by anyone.
fn older_version(folder: &Path) {
    let script = r#"cat "$0" >"$1/new" && echo older >>"$1/new" && chmod 755 "$1/new" && mv "$1/new" "$1/bridge-dhcp""#;
    let status = Command::new("sh").args(["-c", script, &executable()]).arg(folder).status().unwrap();
    assert!(status.success());
}

fn is_current(folder: &Path) -> bool {
    std::fs::read(folder.join("bridge-dhcp")).unwrap() == std::fs::read(executable()).unwrap()
}

#[test]
fn the_file_is_executable_complete_and_alone() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    let first = text(&install(&folder).stdout);
    assert!(first.starts_with("installed ") && first.contains("sha256 "), "{first}");
    assert!(is_current(&folder));
    let path = folder.join("bridge-dhcp");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(file_names(&folder), ["bridge-dhcp"]);
    let sum = text(&Command::new("sha256sum").arg(&path).output().unwrap().stdout);
    assert!(first.contains(&sum[..64]), "{first} {sum}");

    let second = text(&install(&folder).stdout);
    assert!(second.starts_with("unchanged "), "{second}");
    // A file with another mode is no good copy, neither is a link.
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(text(&install(&folder).stdout).starts_with("installed "));
    std::fs::rename(&path, folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(text(&install(&folder).stdout).starts_with("installed "));
    assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
    let named = ["install", "--name", "other", "--dest"];
    assert!(Command::new(executable()).args(named).arg(&folder).output().unwrap().status.success());
    assert_eq!(file_names(&folder), ["bridge-dhcp", "elsewhere", "other"]);
}

#[test]
fn not_one_call_fails_while_it_is_replaced() {
    let lab = Lab::new("");
    let folder = folder(&lab);
    let path = folder.join("bridge-dhcp");
    let (present, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (versions, adds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    let there = present.load(Ordering::SeqCst);
                    let mut command = Command::new(&path);
                    command.env_clear().env("CNI_COMMAND", "VERSION").stdin(Stdio::null());
                    match command.output() {
                        Ok(output) => assert!(output.status.success() && !output.stdout.is_empty()),
                        // Before the first installation nothing is there yet; that is all that may go wrong.
                        Err(error) => assert!(
                            !there && error.kind() == std::io::ErrorKind::NotFound,
                            "{error}, installed: {there}"
                        ),
                    }
                    versions.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            let pod = lab.pod();
            let run = format!("exec '{}'", path.display());
            let call = |operation| {
                let call = lab.call(operation, &vm_conf(json!({})), "c1", pod.path(), "net1");
                call.under(&["sh", "-c", &run]).run()
            };
            while !ended.load(Ordering::SeqCst) {
                if present.load(Ordering::SeqCst) {
                    call("ADD").ok();
                    call("DEL").ok();
                    adds.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let work = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until("it was called in the empty directory", || versions.load(Ordering::SeqCst) > 5);
            installed(&folder);
            present.store(true, Ordering::SeqCst);
            for round in 0..10 {
                let before = (versions.load(Ordering::SeqCst), adds.load(Ordering::SeqCst));
                older_version(&folder);
                if round % 2 == 0 {
                    installed(&folder)
                } else {
                    installed_slowly(&folder)
                }
                assert!(is_current(&folder), "round {round}");
                wait_until("it was called again", || {
                    versions.load(Ordering::SeqCst) > before.0 && adds.load(Ordering::SeqCst) > before.1
                });
            }
        }));
        ended.store(true, Ordering::SeqCst);
        work.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    println!("measured: {versions:?} VERSION and {adds:?} ADD calls during 11 installations, none failed");
}

#[test]
fn killed_anywhere_it_leaves_the_old_file_or_the_new_one() {
    let lab = Lab::empty();
    let trace = lab.files.join("trace");
    for populated in [false, true] {
        for (call, number) in [
            ("flock", 1),
            ("write", 1),
            ("write", 7),
            ("fchmod", 1),
            ("fsync", 1),
            ("fadvise64", 1),
            ("?rename,renameat,renameat2", 1),
            ("fsync", 2),
        ] {
            let folder = folder(&lab);
            if populated {
                older_version(&folder);
            }
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let output = Command::new("strace")
                .args(["-f", "-e", &inject, "-o"])
                .arg(&trace)
                .arg(executable())
                .args(["install", "--dest"])
                .arg(&folder)
                .output()
                .unwrap();
            assert!(!output.status.success(), "{call} {number} was never called");
            let path = folder.join("bridge-dhcp");
            assert!(populated <= path.exists(), "killed at {call} {number}: the file is gone");
            if path.exists() {
                let version = Command::new(&path).arg("--version").output().unwrap();
                assert!(version.status.success(), "killed at {call} {number}: half a file");
            }
            installed(&folder);
            assert!(is_current(&folder));
            assert_eq!(file_names(&folder), ["bridge-dhcp"], "after {call} {number}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
    }
}

#[test]
fn leftovers_go_but_not_what_is_somebody_elses() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    let living = folder.join(".bridge-dhcp.install-0000000000000001");
    std::fs::write(folder.join(".bridge-dhcp.install-0000000000000002"), "half").unwrap();
    std::fs::write(&living, "another installation, at work").unwrap();
    std::fs::write(folder.join(".bridge.install-0000000000000003"), "of another name").unwrap();
    std::fs::create_dir(folder.join(".bridge-dhcp.install-folder")).unwrap();
    let lock = nix::fcntl::Flock::lock(
        std::fs::File::open(&living).unwrap(),
        nix::fcntl::FlockArg::LockExclusiveNonblock,
    );
    installed(&folder);
    let rest = [
        ".bridge-dhcp.install-0000000000000001",
        ".bridge-dhcp.install-folder",
        ".bridge.install-0000000000000003",
        "bridge-dhcp",
    ];
    assert_eq!(file_names(&folder), rest);
    drop(lock);
    installed(&folder);
    assert_eq!(file_names(&folder), &rest[1..]);
}

#[test]
fn several_at_a_time_all_succeed() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    older_version(&folder);
    let start = || {
        let mut command = Command::new(executable());
        command.args(["install", "--dest"]).arg(&folder).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..6).map(|_| start()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert!(is_current(&folder));
    assert_eq!(file_names(&folder), ["bridge-dhcp"]);
}

/// Runs a shell script in a mount namespace of its own with an empty file system of `size` bytes on `$1`; `$0` is the
/// program.
fn on_small_disk(folder: &Path, size: u64, script: &str) -> Output {
    let script = format!("mount -t tmpfs -o size={size} tmpfs \"$1\" || exit 99; {script}");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, &executable()]).arg(folder);
    command.output().unwrap()
}

#[test]
fn a_full_or_read_only_disk_keeps_what_was_there() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    let size = std::fs::metadata(executable()).unwrap().len();
    let output =
        on_small_disk(&folder, size / 2, r#""$0" install --dest "$1"; echo "status $?"; ls -A "$1""#);
    assert_eq!(text(&output.stdout), "status 1\n", "nothing is left");
    let said = text(&output.stderr);
    assert!(said.contains("No space left on device") && said.contains("remedy: free some space"), "{said}");

    let populated = r#"cp "$0" "$1/bridge-dhcp" && echo older >>"$1/bridge-dhcp" && before=$(sha256sum "$1/bridge-dhcp")
        RESTRICT
        "$0" install --dest "$1"; echo "status $?"; ls -A "$1"
        [ "$before" = "$(sha256sum "$1/bridge-dhcp")" ] && "$1/bridge-dhcp" --version | cut -d " " -f 1,2"#;
    let stays = format!("status 1\nbridge-dhcp\nbridge-dhcp {}\n", env!("CARGO_PKG_VERSION"));
    let output = on_small_disk(&folder, size * 3 / 2, &populated.replace("RESTRICT", ""));
    assert_eq!(text(&output.stdout), stays);
    assert!(text(&output.stderr).contains("No space left on device"), "{}", text(&output.stderr));

    let read_only = populated.replace("RESTRICT", r#"mount -o remount,ro "$1""#);
    let output = on_small_disk(&folder, size * 3, &read_only);
    assert_eq!(text(&output.stdout), stays);
    let said = text(&output.stderr);
    assert!(said.contains("Read-only file system") && said.contains("/var/lib/cni/bin"), "{said}");
}

#[test]
fn another_program_is_replaced_by_force_only() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    let install = |name: &str, force: &[&str]| {
        let words = [&["install", "--name", name, "--dest", folder.to_str().unwrap()], force].concat();
        Command::new(executable()).args(words).output().unwrap()
    };
    std::fs::write(folder.join("bridge"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("bridge", folder.join("cnv-bridge")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("dangling")).unwrap();
    for name in ["bridge", "cnv-bridge", "dangling"] {
        let output = install(name, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(said.contains("is another program") && said.contains("--force"), "{name}: {said}");
    }
    assert_eq!(std::fs::read(folder.join("bridge")).unwrap(), b"#!/bin/sh\n");
    assert!(install("bridge", &["--force"]).status.success());
    assert_eq!(std::fs::read(folder.join("bridge")).unwrap(), std::fs::read(executable()).unwrap());

    // A version of this program is none, whatever it is called; and what is called as this one was to be one.
    older_version(&folder);
    std::fs::rename(folder.join("bridge-dhcp"), folder.join("bridge")).unwrap();
    assert!(text(&install("bridge", &[]).stdout).starts_with("installed"));
    std::fs::write(folder.join("bridge-dhcp"), "half a copy").unwrap();
    installed(&folder);
}

#[test]
fn who_is_not_root_is_told_so() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    let program = lab.files.join("bridge-dhcp");
    std::fs::copy(executable(), &program).unwrap();
    let said = |uid: &str| {
        let words = [&format!("--reuid={uid}"), "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
        let mut command = Command::new("setpriv");
        command.args(words).arg(&program).args(["install", "--dest"]).arg(&folder);
        text(&command.output().unwrap().stderr)
    };
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o555)).unwrap();
    let stranger = said("65534");
    assert!(stranger.contains("run it as root; this was user 65534"), "{stranger}");
    assert!(!stranger.contains("chown"), "{stranger}");
    // Root without the capability, in a directory that is root's.
    let bounded = said("0");
    assert!(bounded.contains("DAC_OVERRIDE") && !bounded.contains("chown"), "{bounded}");
}

#[test]
fn what_reads_back_differently_is_not_installed() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    older_version(&folder);
    let older = std::fs::read(folder.join("bridge-dhcp")).unwrap();
    // A write that the kernel confirms, but that never happens.
    let output = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "inject=write:retval=65536:when=2"])
        .arg(executable())
        .args(["install", "--dest"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("reads back differently"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read(folder.join("bridge-dhcp")).unwrap(), older);
    assert_eq!(file_names(&folder), ["bridge-dhcp"]);
}

#[test]
fn a_wrong_destination_is_named() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    let missing = install(&folder.join("missing"));
    assert_eq!(missing.status.code(), Some(1));
    let said = text(&missing.stderr);
    assert!(said.contains("missing: No such file or directory") && said.contains("mounted"), "{said}");
    assert!(file_names(&folder).is_empty());
    std::fs::write(folder.join("file"), "").unwrap();
    assert!(text(&install(&folder.join("file")).stderr).contains("Not a directory"));
    std::fs::create_dir(folder.join("bridge-dhcp")).unwrap();
    assert!(text(&install(&folder).stderr).contains("Is a directory"));
    assert_eq!(file_names(&folder), ["bridge-dhcp", "file"]);
    for name in ["", ".", "..", "a/b"] {
        let output =
            Command::new(executable()).args(["install", "--name", name, "--dest"]).arg(&folder).output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{name}");
    }
}

#[test]
fn it_waits_idle_and_ends_at_a_signal_also_as_pid_1() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    for (wrapper, signal) in [
        (&["env"][..], "TERM"),
        (&["env"], "INT"),
        (&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"], "TERM"),
    ] {
        let mut child = Command::new(wrapper[0])
            .args(&wrapper[1..])
            .arg(executable())
            .args(["install", "--wait", "--dest"])
            .arg(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("bridge-dhcp"));
        let started = child.id();
        let waiting = if wrapper[0] == "unshare" { only_child(started) } else { started };
        wait_until("it waits", || state(waiting) == "S");
        let switches = context_switches(waiting);
        // While another one does all of the work.
        installed(&folder);
        assert!(child.try_wait().unwrap().is_none());
        assert_eq!(context_switches(waiting), switches, "it does something while it waits");
        let kill = Command::new("kill").args([&format!("-{signal}"), &waiting.to_string()]).status();
        assert!(kill.unwrap().success());
        assert!(child.wait().unwrap().success(), "{wrapper:?} {signal}");
        assert!(is_current(&folder));
    }
}

fn only_child(parent: u32) -> u32 {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn status(process: u32, key: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line[key.len()..].trim().to_string()
}

fn state(process: u32) -> String {
    status(process, "State:")[..1].to_string()
}

fn context_switches(process: u32) -> String {
    status(process, "voluntary_ctxt_switches:")
}

#[test]
fn a_signal_that_comes_during_the_installation_is_not_lost() {
    let lab = Lab::empty();
    let folder = folder(&lab);
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "strace", "-f", "-o", "/dev/null"])
        .args(["-e", "inject=fsync:signal=SIGTERM:when=1"])
        .arg(executable())
        .args(["install", "--wait", "--dest"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(is_current(&folder));
    assert_eq!(file_names(&folder), ["bridge-dhcp"]);
}
