//! A network namespace with a name and a path, as runtimes make them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::Value;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Removed with the value; the kernel then removes what is in it.
pub struct Namespace {
    name: String,
    path: PathBuf,
    file: File,
}

impl Namespace {
    /// A fresh namespace whose name ends in `role`, with `lo` up.
    pub fn new(role: &str) -> Self {
        let name = format!("bd{}-{}-{role}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new("/run/netns").join(&name);
        std::fs::create_dir_all("/run/netns").unwrap();
        File::create(&path).unwrap();
        std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                    .unwrap();
            });
            made.join().unwrap();
        });
        let file = File::open(&path).unwrap();
        let namespace = Self { name, path, file };
        namespace.ip("link set lo up");
        // Link-local addresses of the lab's own interfaces shall not change while a test compares.
        namespace.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
        namespace
    }

    /// The name that `ip netns` shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same namespace under another value, which does not remove it.
    pub fn handle(&self) -> Handle {
        Handle(self.file.try_clone().unwrap())
    }

    /// The path that CNI_NETNS carries.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in a thread inside the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.file, work)
    }

    /// Carries out several lines for `ip -batch` in one process; none may fail.
    pub fn ip(&self, lines: &str) {
        let output = self.pipe("ip", &["-batch", "-"], lines);
        assert!(output.status.success(), "ip in {}: {lines}\n{}", self.name, text(&output.stderr));
    }

    /// What an `ip` command says, as JSON with all details.
    pub fn ip_json(&self, arguments: &str) -> Value {
        let words: Vec<&str> = ["-d", "-j"].into_iter().chain(arguments.split_whitespace()).collect();
        let output = self.pipe("ip", &words, "");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// An interface as `ip -d -j link` shows it; null where there is none.
    pub fn link(&self, name: &str) -> Value {
        self.ip_json(&format!("link show dev {name}"))[0].clone()
    }

    /// Whether there is an interface of that name.
    pub fn has(&self, name: &str) -> bool {
        !self.link(name).is_null()
    }

    /// Runs a command that must succeed; what it prints.
    pub fn run(&self, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = self.pipe(words[0], &words[1..], "");
        assert!(output.status.success(), "{command} in {}: {}", self.name, text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a program with `input` on its standard input.
    pub fn pipe(&self, program: &str, arguments: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.enter(|| command.spawn()).unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Whether a bridge port forwards.
    pub fn forwards(&self, port: &str) -> bool {
        self.link(port)["linkinfo"]["info_slave_data"]["state"] == "forwarding"
    }

    /// Lets it forward packets of both families.
    pub fn forward(&self) {
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            self.enter(|| std::fs::write(format!("/proc/sys/{key}"), "1").unwrap());
        }
    }

    /// Where bridges have learned or been told a MAC: the lines of `bridge fdb` that name it.
    pub fn learned(&self, mac: &str) -> String {
        let table = self.run("bridge fdb show");
        table.lines().filter(|line| line.contains(mac)).map(|line| format!("{line}\n")).collect()
    }

    /// Loads rules in `nft`'s own language.
    pub fn nft(&self, rules: &str) {
        let output = self.pipe("nft", &["-f", "-"], rules);
        assert!(output.status.success(), "nft in {}: {rules}\n{}", self.name, text(&output.stderr));
    }

    /// The VLANs of a port, as `bridge -j vlan` shows them.
    pub fn vlans(&self, port: &str) -> Vec<Value> {
        let output = self.pipe("bridge", &["-j", "-compressvlans", "vlan", "show", "dev", port], "");
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        shown[0]["vlans"].as_array().cloned().unwrap_or_default()
    }

    /// The global addresses of each interface that has some. `ip` also lists interfaces without any address, and says `{}`
    /// for a link-local one, which comes by itself at its own time.
    pub fn addresses(&self) -> Value {
        let shown = self.ip_json("address show scope global");
        let address = |info: &Value| Some(format!("{}/{}", info["local"].as_str()?, info["prefixlen"]));
        let links = shown.as_array().into_iter().flatten().filter(|link| link["ifname"].is_string());
        let entry = |link: &Value| {
            let infos = link["addr_info"].as_array().into_iter().flatten();
            (link["ifname"].as_str().unwrap().to_string(), infos.filter_map(address).collect::<Value>())
        };
        Value::Object(links.map(entry).filter(|(_, addresses)| addresses[0].is_string()).collect())
    }

    /// Links, VLANs, addresses, routes, rules and some sysctls as text, without what the kernel counts by itself.
    pub fn snapshot(&self) -> Snapshot {
        let mut links = self.ip_json("link show");
        strip_passing(&mut links);
        let vlans = self.pipe("bridge", &["-j", "-compressvlans", "vlan", "show"], "");
        let rules = self.pipe("nft", &["list", "ruleset"], "");
        let sysctls = self.enter(|| {
            ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/forwarding"]
                .map(|key| format!("{key}={:?}", std::fs::read_to_string(format!("/proc/sys/{key}")).ok()))
        });
        let routes = text(&self.pipe("ip", &["route", "show", "table", "all"], "").stdout);
        // The kernel adds IPv6's own to an interface some time after that has a carrier.
        let passing = |route: &str| route.contains("fe80:") || route.starts_with("multicast ff00:");
        let routes: Vec<&str> = routes.lines().filter(|route| !passing(route)).collect();
        let parts = [
            serde_json::to_string_pretty(&links).unwrap(),
            text(&vlans.stdout),
            self.addresses().to_string(),
            routes.join("\n").replace(" linkdown", ""),
            uncounted(&text(&rules.stdout)),
            sysctls.join("\n"),
        ];
        Snapshot(parts.join("\n"))
    }
}

/// A namespace that another value removes.
pub struct Handle(File);

impl Handle {
    /// Runs `work` in a thread inside the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        enter(&self.0, work)
    }
}

fn enter<T: Send>(file: &File, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Rules without what they have counted.
fn uncounted(rules: &str) -> String {
    let mut parts = rules.split("counter packets ");
    let first = parts.next().unwrap_or_default().to_string();
    // "12 bytes 345 drop"
    let rest = |part: &str| part.splitn(4, ' ').nth(3).unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + "counter " + &rest(part))
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A namespace's state; compares as text, shows as the lines that a comparison with itself would not need.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot(String);

impl Snapshot {
    /// Fails with the lines that differ.
    #[track_caller]
    pub fn assert_same(&self, before: &Snapshot, when: &str) {
        let only = |here: &Snapshot, there: &Snapshot| {
            let lines = here.0.lines().filter(|line| !there.0.lines().any(|other| other == *line));
            lines.map(str::to_string).collect::<Vec<_>>().join("\n")
        };
        assert!(self == before, "{when}: before:\n{}\nafter:\n{}", only(before, self), only(self, before));
    }
}

/// What passes by itself: a bridge's timers run, its carrier and its offload limits follow the ports with a delay.
fn strip_passing(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item != "NO-CARRIER" && item != "LOWER_UP");
            items.iter_mut().for_each(strip_passing);
        }
        Value::Object(object) => {
            object.retain(|key, _| {
                !key.ends_with("_timer") && !key.starts_with("tso_max") && key != "operstate"
                    // STP's own: while the tree changes, addresses age quickly.
                    && !key.starts_with("topology_change") && key != "ageing_time"
            });
            object.values_mut().for_each(strip_passing);
        }
        _ => {}
    }
}

/// Bytes of a program's output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
