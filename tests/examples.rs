//! Every network of conf-examples does what its README says: attached, looked at, checked and detached in the lab.

use crate::support;

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::examples::{files, folder, object};
use support::feature::{Feature, needs};
use support::guest::{DhcpServer, lease, wire};
use support::namespace::Namespace;
use support::plugin::Call;
use support::{Before, Lab, host_side, wait_until, with_result};

const MAC: &str = "02:00:00:00:00:10";

/// The plugins of an example, each as a runtime completes it.
fn plugins(name: &str) -> Vec<Value> {
    let path = folder().join(name);
    let config: Value = if name.ends_with(".yaml") {
        serde_json::from_str(object(&path)["spec"]["config"].as_str().unwrap()).unwrap()
    } else {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let complete = |plugin: &Value| {
        let mut plugin = plugin.clone();
        for key in ["cniVersion", "name"] {
            plugin[key] = config[key].clone();
        }
        plugin
    };
    config["plugins"]
        .as_array()
        .map_or_else(|| vec![config.clone()], |list| list.iter().map(complete).collect())
}

/// A node as the example's README describes it, and the example's network on it.
struct Site {
    lab: Lab,
    plugins: Vec<Value>,
    _server: Option<DhcpServer>,
}

impl Site {
    /// `br-external` on a LAN with its DHCP server, or `br-trunk`; any other bridge is made by the plugin.
    fn new(name: &str) -> Self {
        let mut plugins = plugins(name);
        let bridge = plugins[0]["bridge"].as_str().unwrap().to_string();
        let lab = Lab::empty();
        let mut server = None;
        match bridge.as_str() {
            "br-external" => {
                lab.bridge(&bridge, "");
                lab.uplink(&bridge, "ens192");
                server = Some(DhcpServer::start(&lab));
            }
            "br-trunk" => {
                lab.bridge(&bridge, "vlan_filtering 1");
                lab.uplink(&bridge, "ens224");
                lab.node.ip("link set ens224 mtu 9000\nlink set br-trunk mtu 9000");
                lab.node.run("bridge vlan add dev ens224 vid 100-199");
                lab.node.run("bridge vlan add dev ens224 vid 300");
            }
            _ => {}
        }
        // What IPAM plugins keep on the machine stays with the test.
        match plugins[0]["ipam"]["type"].as_str() {
            Some("host-local") => plugins[0]["ipam"]["dataDir"] = json!(lab.files.join("ipam")),
            Some("dhcp") => plugins[0]["ipam"]["daemonSocketPath"] = json!(lab.files.join("dhcp.sock")),
            _ => {}
        }
        Self { lab, plugins, _server: server }
    }

    /// A call of one plugin of the network, with the MAC that the virtual machine asks for.
    fn call<'a>(&'a self, operation: &str, plugin: &Value, previous: &Value, pod: &Namespace) -> Call<'a> {
        let conf = if previous.is_null() { plugin.clone() } else { with_result(plugin, previous) };
        let call = self.lab.call(operation, &conf, "c1", pod.path(), "net1");
        let call = call.set("CNI_ARGS", &format!("IgnoreUnknown=1;MAC={MAC}"));
        match plugin["type"].as_str().unwrap() {
            "bridge-dhcp" => call,
            other => call.under(&["sh", "-c", &format!("exec /usr/lib/cni/{other}")]),
        }
    }

    fn add(&self, pod: &Namespace) -> Value {
        let one = |previous: Value, plugin: &Value| self.call("ADD", plugin, &previous, pod).run().ok();
        self.plugins.iter().fold(Value::Null, one)
    }

    fn del(&self, result: &Value, pod: &Namespace) {
        for plugin in self.plugins.iter().rev() {
            self.call("DEL", plugin, result, pod).run().ok();
        }
    }

    /// ADD, what the README says that one sees, CHECK, DEL, and nothing is left.
    fn try_out(&self, look: impl FnOnce(&Lab, &Namespace, &Value)) {
        let pod = self.lab.pod();
        if self.plugins[0]["bridge"] != "br-external" {
            // A bridge that the plugin makes stays, with its gateway's address and forwarding: made before.
            self.del(&self.add(&pod), &pod);
        }
        let before = Before::new(&self.lab, &pod);
        let result = self.add(&pod);
        look(&self.lab, &pod, &result);
        for plugin in &self.plugins {
            // CHECK came with 0.4.0; `bridge` fails it without IPAM, whoever comes behind.
            if plugin["cniVersion"] != "0.3.1" && plugin["type"] != "bridge" {
                self.call("CHECK", plugin, &result, &pod).run().ok();
            }
        }
        self.del(&result, &pod);
        self.lab.wait_until_probes_are_gone("br-external");
        before.assert_unchanged("after DEL");
    }

    /// Without its uplink the example fails with this code and leaves nothing.
    fn fails_without_uplink(&self, code: u64) {
        self.lab.node.ip("link del ens192");
        let pod = self.lab.pod();
        let before = Before::new(&self.lab, &pod);
        self.call("ADD", &self.plugins[0], &Value::Null, &pod).run().error(code);
        self.lab.wait_until_probes_are_gone("br-external");
        before.assert_unchanged("after the failed ADD");
    }
}

/// The lease of a guest that KubeVirt puts behind the interface; its wiring goes again.
fn guest_lease(pod: &Namespace) -> Option<String> {
    let guest = wire(pod, "net1", MAC, 1500);
    let address = lease(&guest);
    pod.ip("link del k6t-x\nlink del tapx");
    address
}

/// The VLANs of the host side, each with what it has besides being there.
fn vlans(lab: &Lab) -> Value {
    let mut vlans = lab.node.vlans(&host_side("c1", "net1"));
    for vlan in &mut vlans {
        vlan.as_object_mut().unwrap().retain(|_, value| *value != json!([]));
    }
    vlans.into()
}

#[test]
fn vm_lan() {
    Site::new("vm-lan.yaml").try_out(|_, pod, _| {
        assert_eq!(
            (&pod.link("net1")["operstate"], &pod.link("net1")["address"]),
            (&json!("DOWN"), &json!(MAC))
        );
        assert!(guest_lease(pod).is_some_and(|address| address.starts_with("10.77.0.")));
    });
}

#[test]
fn vm_lan_probe() {
    let site = Site::new("vm-lan-probe.yaml");
    site.try_out(|_, pod, _| assert!(guest_lease(pod).is_some()));
    site.fails_without_uplink(105);
}

#[test]
fn vm_vlan() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    Site::new("vm-vlan.yaml").try_out(|lab, _, _| {
        assert_eq!(vlans(lab), json!([{"vlan": 120, "flags": ["PVID", "Egress Untagged"]}]));
    });
}

#[test]
fn vm_trunk() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    Site::new("vm-trunk.yaml").try_out(|lab, _, _| {
        assert_eq!(
            vlans(lab),
            json!([
                {"vlan": 100, "vlanEnd": 119},
                {"vlan": 120, "flags": ["PVID", "Egress Untagged"]},
                {"vlan": 121, "vlanEnd": 199},
                {"vlan": 300},
            ])
        );
    });
}

#[test]
fn vm_jumbo() {
    if !needs(Feature::VlanFiltering) {
        return;
    }
    Site::new("vm-jumbo.yaml").try_out(|_, pod, _| assert_eq!(pod.link("net1")["mtu"], 9000));
}

#[test]
fn vm_static() {
    let site = Site::new("vm-static.yaml");
    site.try_out(|_, pod, _| assert_eq!(pod.link("net1")["address"], MAC));
    site.fails_without_uplink(105);
}

#[test]
fn vm_macspoofchk() {
    Site::new("vm-macspoofchk.yaml").try_out(|lab, _, _| {
        let host = host_side("c1", "net1");
        assert_eq!(lab.port(&host)["linkinfo"]["info_slave_data"]["isolated"], true);
        assert!(lab.node.run("nft list ruleset").contains(&format!("\"{host}\" . {MAC}")));
    });
}

#[test]
fn pod_host_local() {
    if !needs(Feature::Nat) {
        return;
    }
    Site::new("pod-host-local.yaml").try_out(|lab, pod, result| {
        // The first address went to the attachment that made the bridge.
        assert_eq!(result["ips"][0]["address"], "10.88.0.101/24");
        let gateways = lab.node.addresses()["br-local"].to_string();
        assert!(gateways.contains("10.88.0.1/24") && gateways.contains("fd00:10:88::1/64"), "{gateways}");
        for gateway in ["10.88.0.1", "fd00:10:88::1"] {
            pod.run(&format!("busybox ping -c 1 -W 10 {gateway}"));
        }
        assert!(lab.node.run("nft list ruleset").contains("masquerade"));
    });
}

/// The `dhcp` plugin's daemon, ended with the value.
struct Daemon(Child);

impl Daemon {
    fn start(lab: &Lab) -> Self {
        let socket = lab.files.join("dhcp.sock");
        let mut command = Command::new("/usr/lib/cni/dhcp");
        command.args(["daemon", "-socketpath"]).arg(&socket).stdin(Stdio::null()).stderr(Stdio::null());
        let daemon = Self(lab.node.enter(|| command.spawn()).unwrap());
        wait_until("the daemon listens", || UnixStream::connect(&socket).is_ok());
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn pod_dhcp() {
    leases(Site::new("pod-dhcp.yaml"));
}

#[test]
fn pod_dhcp_where_the_dhcp_plugins_daemon_runs() {
    let site = Site::new("pod-dhcp.yaml");
    let _daemon = Daemon::start(&site.lab);
    leases(site);
}

fn leases(site: Site) {
    site.try_out(|_, pod, result| {
        let address = result["ips"][0]["address"].as_str().unwrap();
        assert!(address.starts_with("10.77.0.1") && address.ends_with("/24"), "{address}");
        assert_eq!(pod.addresses()["net1"][0], address);
    });
}

#[test]
fn pod_tuning() {
    Site::new("pod-tuning.yaml").try_out(|_, pod, _| {
        assert_eq!(pod.addresses()["net1"][0], "10.77.0.50/24");
        pod.run("busybox ping -c 1 -W 10 10.77.0.1");
        let limit = pod.enter(|| std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap());
        assert_eq!(limit.trim(), "500");
    });
}

#[test]
fn chained() {
    Site::new("chained.yaml").try_out(|lab, pod, result| {
        assert_eq!(result["interfaces"].as_array().unwrap().len(), 3);
        let host = result["interfaces"][1]["name"].as_str().unwrap();
        assert_eq!(lab.port(host)["master"], "br-external");
        assert_eq!(lab.port(&host_side("c1", "net1"))["ifname"], host, "the same link by its other name");
        let mac = pod.link("net1")["address"].as_str().unwrap().to_string();
        assert!(lab.node.run("nft list ruleset").contains(&format!("\"{host}\" . {mac}")));
    });
}

#[test]
fn runtime() {
    if !needs(Feature::Nat) {
        return;
    }
    Site::new("runtime.conflist").try_out(|lab, pod, result| {
        assert!(result["ips"][0]["address"].as_str().unwrap().starts_with("10.89.7."));
        pod.run("busybox ping -c 1 -W 10 10.89.7.1");
        assert!(lab.node.run("tc qdisc show").contains("tbf"));
    });
}

#[test]
fn every_network_has_a_test_and_every_file_a_line_in_a_readme() {
    let source = include_str!("examples.rs");
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for ending in ["yaml", "conflist"] {
        for path in files(&folder(), ending) {
            let name = path.strip_prefix(folder()).unwrap().to_str().unwrap().to_string();
            if name.starts_with("install/") {
                continue;
            }
            assert!(readme.contains(&format!("]({name})")), "{name} is not in the README");
            assert!(name.contains('/') || source.contains(&format!("Site::new(\"{name}\")")), "{name}");
        }
    }
}
