//! What the running kernel can do; a test that needs more says so and is counted.

use std::io::Write;
use std::sync::Mutex;

use super::namespace::Namespace;

/// A feature that not every kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// CONFIG_BRIDGE_VLAN_FILTERING.
    VlanFiltering,
    /// CONFIG_DUMMY.
    Dummy,
    /// CONFIG_NF_TABLES_INET with NAT.
    Nat,
    /// CONFIG_BRIDGE_NETFILTER.
    BridgeNetfilter,
    /// CONFIG_NF_TABLES_NETDEV, with hooks for both directions.
    Netdev,
    /// What the ebtables of nftables makes.
    EbtablesNft,
    /// CONFIG_BRIDGE_EBT_T_FILTER, and the program.
    EbtablesLegacy,
    /// CONFIG_NET_SCH_TBF.
    Tbf,
    /// CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED.
    U32Mirred,
    /// Of tc, the classifiers matchall and flower, and the actions gact and police.
    TcActions,
    /// Generic XDP.
    Xdp,
    /// CONFIG_BONDING.
    Bonding,
    /// CONFIG_MACVLAN.
    Macvlan,
}

static KNOWN: Mutex<Vec<(Feature, bool)>> = Mutex::new(Vec::new());

/// Whether the kernel has the feature; tried once.
pub fn present(feature: Feature) -> bool {
    let mut known = KNOWN.lock().unwrap();
    if let Some((_, answer)) = known.iter().find(|(other, _)| *other == feature) {
        return *answer;
    }
    let namespace = Namespace::new("feature");
    let makes = |program, arguments: &[&str], line| namespace.pipe(program, arguments, line).status.success();
    let answer = match feature {
        Feature::VlanFiltering => makes("ip", &["-batch", "-"], "link add b0 type bridge vlan_filtering 1"),
        Feature::Dummy => makes("ip", &["-batch", "-"], "link add d0 type dummy"),
        Feature::Nat => {
            let table = "table inet t {\nchain c {\ntype nat hook postrouting priority 100;\n}\n}";
            makes("nft", &["-f", "-"], table)
        }
        Feature::Netdev => {
            let chain = |hook| format!("chain {hook} {{\ntype filter hook {hook} device lo priority 0;\n}}");
            makes(
                "nft",
                &["-f", "-"],
                &format!("table netdev t {{\n{}\n{}\n}}", chain("ingress"), chain("egress")),
            )
        }
        Feature::EbtablesNft => {
            let rule = [
                "-A",
                "FORWARD",
                "-p",
                "IPv4",
                "--ip-protocol",
                "udp",
                "--ip-destination-port",
                "68",
                "-j",
                "DROP",
            ];
            installed("ebtables-nft") && makes("ebtables-nft", &rule, "")
        }
        Feature::EbtablesLegacy => installed("ebtables-legacy") && makes("ebtables-legacy", &["-L"], ""),
        Feature::Tbf => {
            makes("tc", &["-batch", "-"], "qdisc add dev lo root tbf rate 1kbit burst 100 limit 100")
        }
        Feature::U32Mirred => makes(
            "tc",
            &["-batch", "-"],
            "qdisc add dev lo clsact\nfilter add dev lo ingress protocol ip u32 match u32 0 0 action mirred egress redirect dev lo",
        ),
        Feature::TcActions => makes(
            "tc",
            &["-batch", "-"],
            "qdisc add dev lo clsact\nfilter add dev lo ingress matchall action police rate 8kbit burst 64 conform-exceed drop\nfilter add dev lo egress protocol ip flower ip_proto udp action drop",
        ),
        Feature::Macvlan => makes(
            "ip",
            &["-batch", "-"],
            "link add v0 type veth peer name v1\nlink add m0 link v0 type macvlan mode bridge",
        ),
        Feature::Bonding => makes("ip", &["-batch", "-"], "link add bond7 type bond"),
        Feature::Xdp => {
            let object = std::env::temp_dir().join(format!("bridge-dhcp-xdp-{}.o", std::process::id()));
            std::fs::write(&object, super::xdp::dropping()).unwrap();
            let attached = makes(
                "ip",
                &["-batch", "-"],
                &format!("link set dev lo xdpgeneric object {} section xdp", object.display()),
            );
            std::fs::remove_file(&object).unwrap();
            attached
        }
        Feature::BridgeNetfilter => std::path::Path::new("/proc/sys/net/bridge").exists(),
    };
    known.push((feature, answer));
    answer
}

/// Whether the test may go on; where not, that is recorded for the closing summary.
pub fn needs(feature: Feature) -> bool {
    if present(feature) {
        return true;
    }
    skipped(&format!("{feature:?}"));
    false
}

/// Whether the test may go on, which runs a program that not every distribution has; where not, as with [`needs`].
pub fn needs_program(name: &str) -> bool {
    let found = installed(name);
    if !found {
        skipped(&format!("program {name}"));
    }
    found
}

/// Whether the program is there.
fn installed(name: &str) -> bool {
    let folders = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(name).exists())
}

/// Whether the test may go on, which needs the static binary; where not, as with [`needs`]: `cargo test` alone has none, the
/// test command always gives it.
pub fn needs_release_binary() -> bool {
    let given = std::env::var("BRIDGE_DHCP").is_ok();
    if !given {
        skipped("the release binary");
    }
    given
}

fn skipped(need: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_string();
    println!("skipped: needs {need}");
    if let Ok(path) = std::env::var("BRIDGE_DHCP_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        // One write, so that the lines of parallel tests do not mix.
        file.write_all(format!("{test}\tneeds {need}\n").as_bytes()).unwrap();
    }
}
