//! The lab: network namespaces that play node, LAN and pods, the plugin run among them, and what kernel and wire say.
//! Everything that a test makes goes away with the values that hold it, also when the test fails.

pub mod agent;
pub mod examples;
pub mod fake_server;
pub mod faulty;
pub mod feature;
pub mod guest;
pub mod ipam;
pub mod lease;
pub mod namespace;
pub mod plugin;
pub mod server;
pub mod strace;
pub mod wire;
pub mod xdp;

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use namespace::{Namespace, Snapshot};
use serde_json::{Value, json};

/// How long a test waits for what must happen; far more than it ever takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `done` says so; what was waited for is named when it never does.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A MAC as hardware has it, below every `fe:` one: the bridge takes it, and keeps it when ports come and go. A random
/// one of the kernel's may lie above.
fn uplink_mac() -> String {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let ([a, b], [c, d]) =
        ((std::process::id() as u16).to_be_bytes(), COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    format!("02:c0:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// A node with a bridge, and a LAN behind the bridge's uplink.
pub struct Lab {
    /// The node's network namespace.
    pub node: Namespace,
    /// The LAN: `lan0` is the other end of the uplink.
    pub lan: Namespace,
    /// Files of this test.
    pub files: PathBuf,
}

impl Lab {
    /// A node without a bridge.
    pub fn empty() -> Self {
        let node = Namespace::new("node");
        let lan = Namespace::new("lan");
        let files = std::env::temp_dir().join(format!("bridge-dhcp-{}", node.name()));
        std::fs::create_dir_all(&files).unwrap();
        Self { node, lan, files }
    }

    /// A node whose bridge `br0`, made with `options`, has the uplink `ens192` to the LAN.
    pub fn new(options: &str) -> Self {
        let lab = Self::empty();
        lab.bridge("br0", options);
        lab.uplink("br0", "ens192");
        lab
    }

    /// Adds a bridge, up. `options` may begin with `address MAC`: the kernel gives a bridge without ports and without
    /// a MAC of its own that of its first port.
    pub fn bridge(&self, name: &str, options: &str) {
        let (address, options) = match options.strip_prefix("address ").and_then(|rest| rest.split_once(' '))
        {
            Some((address, options)) => (format!("address {address}"), options),
            None => (String::new(), options),
        };
        self.node.ip(&format!("link add {name} {address} type bridge {options}\nlink set {name} up"));
    }

    /// Adds an uplink from a bridge to the LAN; its other end is `lan0`.
    pub fn uplink(&self, bridge: &str, name: &str) {
        self.node.ip(&format!(
            "link add {name} address {} type veth peer name lan0 netns {}\nlink set {name} master {bridge}\nlink set {name} up",
            uplink_mac(),
            self.lan.name()
        ));
        self.lan.ip("link set lan0 up");
        wait_until("the uplink forwards", || self.node.forwards(name));
    }

    /// A pod's network namespace.
    pub fn pod(&self) -> Namespace {
        Namespace::new("pod")
    }

    /// An interface of the node as `ip -d -j link` shows it; null where there is none.
    pub fn port(&self, name: &str) -> Value {
        self.node.link(name)
    }

    /// The names of the ports of a bridge.
    pub fn ports(&self, bridge: &str) -> Vec<String> {
        let links = self.node.ip_json("link show");
        let ports = links.as_array().unwrap().iter().filter(|link| link["master"] == bridge);
        ports.map(|link| link["ifname"].as_str().unwrap().to_string()).collect()
    }

    /// How many temporary ports of probes a bridge has.
    pub fn probe_ports(&self, bridge: &str) -> usize {
        self.ports(bridge).iter().filter(|name| name.starts_with("vethprobe")).count()
    }

    /// The kernel removes a probe's temporary port by itself, soon after the plugin has ended.
    pub fn wait_until_probes_are_gone(&self, bridge: &str) {
        wait_until("the kernel removes the probe's port", || self.probe_ports(bridge) == 0);
    }

    /// Puts a table in the way of the plugin's own, so that nftables refuses every rule of it.
    pub fn obstruct_rules(&self) {
        self.node.nft("add table bridge bridge_dhcp\nadd set bridge bridge_dhcp ports { type ipv4_addr; }");
    }

    /// A log file of the node: its path in a config, and where this test finds it.
    pub fn log_file(&self, name: &str) -> (String, PathBuf) {
        let path = format!("/var/log/bridge-dhcp/{name}");
        let found = self.files.join(path.trim_start_matches('/'));
        (path, found)
    }

    /// Takes a lock of the plugin's on the node, as another plugin process would.
    pub fn lock(&self, name: &str) -> HeldLock {
        let path = self.lock_file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&path).unwrap();
        file.try_lock().unwrap();
        HeldLock { file, path }
    }

    /// The file of a lock of the plugin's on the node.
    pub fn lock_file(&self, name: &str) -> PathBuf {
        let node = std::fs::metadata(self.node.path()).unwrap().ino();
        Path::new("/run/bridge-dhcp/locks").join(format!("{node}-{}", name.replace('/', "-")))
    }

    /// All that an attachment could leave behind on the node.
    pub fn snapshot(&self) -> Snapshot {
        self.node.snapshot()
    }
}

/// A lock of the plugin's, held until the value goes.
pub struct HeldLock {
    file: File,
    path: PathBuf,
}

impl HeldLock {
    /// Whether somebody waits for it, who says so by writing into the file.
    pub fn wanted(&self) -> bool {
        self.file.metadata().unwrap().len() > 0
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Fails unless an error has all these words, and a remedy.
#[track_caller]
pub fn assert_diagnosis(said: &str, says: &[&str]) {
    for words in says {
        assert!(said.contains(words), "{words:?} is missing in: {said}");
    }
    assert!(said.contains("remedy: "), "{said}");
}

/// Node and pod before something that must leave them as they were.
pub struct Before<'a> {
    lab: &'a Lab,
    pod: &'a Namespace,
    node_before: Snapshot,
    pod_before: Snapshot,
}

impl<'a> Before<'a> {
    /// Remembers.
    pub fn new(lab: &'a Lab, pod: &'a Namespace) -> Self {
        Self { lab, pod, node_before: lab.snapshot(), pod_before: pod.snapshot() }
    }

    /// Fails with the lines that differ.
    #[track_caller]
    pub fn assert_unchanged(&self, when: &str) {
        self.lab.snapshot().assert_same(&self.node_before, when);
        self.pod.snapshot().assert_same(&self.pod_before, when);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What killed plugins left; another node may get this one's number.
        let prefix = self.lock_file("");
        let prefix = prefix.file_name().unwrap().to_string_lossy();
        let locks = std::fs::read_dir("/run/bridge-dhcp/locks").into_iter().flatten().flatten();
        for lock in locks.filter(|lock| lock.file_name().to_string_lossy().starts_with(&*prefix)) {
            let _ = std::fs::remove_file(lock.path());
        }
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// The config of a plain attachment to `br0`, with some keys changed or added. Its uplinks are not looked at.
pub fn conf(changes: Value) -> Value {
    let mut conf = json!({
        "cniVersion": "1.1.0", "name": "lan", "type": "bridge-dhcp", "bridge": "br0",
    });
    let object = conf.as_object_mut().unwrap();
    for (key, value) in changes.as_object().unwrap() {
        object.insert(key.clone(), value.clone());
    }
    conf
}

/// The config of a VM's attachment to `br0`.
pub fn vm_conf(changes: Value) -> Value {
    let mut conf = conf(changes);
    conf["disableContainerInterface"] = true.into();
    conf
}

/// The config with this result as its `prevResult`.
pub fn with_result(conf: &Value, result: &Value) -> Value {
    let mut conf = conf.clone();
    conf["prevResult"] = result.clone();
    conf
}

/// A pair that another plugin made between node and pod, as its result describes it; of a smaller MTU and a lower MAC
/// than the bridge's, so that both are changed and given back.
pub fn other_plugins_pair(lab: &Lab, pod: &Namespace) -> Value {
    lab.node.ip(&format!(
        "link add ptp0 mtu 1400 address 02:00:00:00:00:0c type veth peer name net1 mtu 1400 netns {}\nlink set ptp0 addrgenmode none up",
        pod.name()
    ));
    pod.ip("link set net1 up");
    let interfaces = json!([{"name": "ptp0"}, {"name": "net1", "sandbox": pod.path()}]);
    json!({"cniVersion": "1.0.0", "interfaces": interfaces})
}

/// The host side's name as the design has it.
pub fn host_side(container: &str, ifname: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{container}/{ifname}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("veth{}", &hex[..11])
}
