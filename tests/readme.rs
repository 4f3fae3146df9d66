//! The READMEs say what the program says, and what they show works.

use crate::support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bridge_dhcp::cni::config::NetConf;
use bridge_dhcp::cni::config::{dhcp_probe, known};
use bridge_dhcp::error::Code;
use serde_json::{Value, json};
use support::Lab;
use support::examples::yaml;
use support::feature::{Feature, needs};
use support::guest::DhcpServer;
use support::namespace::text;
use support::plugin::executable;

const READMES: [&str; 3] = ["README.md", "conf-examples/README.md", "conf-examples/install/README.md"];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn section(title: &str) -> String {
    let readme = read("README.md");
    let section = readme.split(&format!("\n## {title}\n")).nth(1).unwrap();
    section.split("\n## ").next().unwrap().to_string()
}

/// The rows of a table below its head, each as its cells.
fn rows(table: &str) -> Vec<Vec<String>> {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    lines
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect())
        .collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_string()).collect()
}

#[test]
fn the_table_of_codes_is_the_programs() {
    let expected: Vec<Vec<String>> =
        Code::ALL.iter().map(|code| vec![(*code as u32).to_string(), code.meaning().to_string()]).collect();
    assert_eq!(rows(&section("Error codes")), expected);
}

/// The tables of config keys: of the config, and of `dhcpProbe`.
fn key_tables() -> [Vec<Vec<String>>; 2] {
    let section = section("Configuration");
    let (config, probe) = section.split_once("`dhcpProbe` as an object:").unwrap();
    [rows(config), rows(probe)]
}

#[test]
fn the_tables_of_keys_are_the_programs() {
    let [config, probe] = key_tables();
    let keys = |table: &[Vec<String>]| -> Vec<String> {
        table.iter().flat_map(|row| quoted(&row[0])).map(str::to_string).collect()
    };
    assert_eq!(keys(&config), known::OWN);
    assert_eq!(keys(&probe), dhcp_probe::KEYS);
}

/// A default that the table gives as a value rather than in words.
fn default(cell: &str) -> Option<Value> {
    match (cell, quoted(cell).as_slice()) {
        ("true" | "false", _) => Some(json!(cell == "true")),
        (_, [word]) if cell.len() == word.len() + 2 => Some(json!(word)),
        _ => None,
    }
}

#[test]
fn a_key_with_its_default_changes_nothing() {
    let parse = |config: Value| NetConf::parse(config.as_object().unwrap()).unwrap();
    let [config, probe] = key_tables();
    let mut compared = 0;
    for row in config.iter().filter(|row| row[0] != "`dhcpProbe`") {
        let Some(value) = default(&row[1]) else { continue };
        assert_eq!(
            parse(json!({"bridge": "b", quoted(&row[0])[0]: value})),
            parse(json!({"bridge": "b"})),
            "{row:?}"
        );
        compared += 1;
    }
    for row in &probe {
        let Some(value) = default(&row[1]) else { continue };
        let given = parse(json!({"bridge": "b", "dhcpProbe": {quoted(&row[0])[0]: value}}));
        assert_eq!(given, parse(json!({"bridge": "b", "dhcpProbe": {}})), "{row:?}");
        compared += 1;
    }
    assert!(compared >= 15, "{compared}");
}

/// What a command of the program says of itself.
fn help(command: &str) -> String {
    let output = Command::new(executable()).arg(command).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "{command}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn every_command_is_listed_and_every_flag_exists() {
    let all = text(&Command::new(executable()).arg("--help").env_clear().output().unwrap().stdout);
    let commands = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_string();
    let commands: BTreeSet<&str> =
        commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let section = section("By hand");
    let listed = section.lines().filter_map(|line| line.strip_prefix("| `bridge-dhcp "));
    let listed: BTreeSet<&str> = listed.filter_map(|rest| rest.split([' ', '`']).next()).collect();
    assert_eq!(listed, commands);

    let mut flags = 0;
    for readme in READMES.map(read) {
        for call in readme.split("bridge-dhcp ").skip(1) {
            let mut words = call.split(['`', '\n']).next().unwrap().split([' ', '[', ']']);
            let command = words.next().unwrap();
            for flag in words.filter(|word| word.starts_with("--") && commands.contains(command)) {
                assert!(help(command).contains(flag), "bridge-dhcp {command} {flag}");
                flags += 1;
            }
        }
    }
    assert!(flags >= 10, "{flags}");
}

#[test]
fn every_link_leads_somewhere_and_every_file_is_there() {
    for name in READMES {
        let readme = read(name);
        let anchor = |line: &str| {
            let kept = line.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
        };
        let anchors: Vec<String> = readme.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        for target in readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let found = match target.strip_prefix('#') {
                Some(heading) => anchors.iter().any(|anchor| anchor == heading),
                None => target.starts_with("https://") || folder.with_file_name(target).exists(),
            };
            assert!(found, "{name}: {target}");
        }
        let words = readme.split(|c: char| c.is_whitespace() || "`()\"'$;,".contains(c));
        let files = words.map(|word| word.trim_start_matches("./").trim_end_matches(['.', ':']));
        for file in files.filter(|word| {
            ["conf-examples/", "integration/", "tests/", "src/"].iter().any(|folder| word.starts_with(folder))
                && !word.contains('*')
        }) {
            assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists(), "{name}: {file}");
        }
    }
}

/// Attaches with the README's network of this number and detaches, on a node whose `bridge` has a DHCP server behind it.
fn works(number: usize, bridge: &str, bridge_options: &str) {
    let shown = blocks(&section("Networks to copy"), "yaml").swap_remove(number);
    let lab = Lab::empty();
    let judged = lab.node.pipe(&executable(), &["validate", "-"], &shown);
    assert!(text(&judged.stdout).starts_with("ok: 0 errors, 0 warnings"), "{}", text(&judged.stdout));

    lab.bridge(bridge, bridge_options);
    lab.uplink(bridge, "ens192");
    let _server = DhcpServer::start(&lab);
    let mut config: Value = serde_json::from_str(yaml(&shown)["spec"]["config"].as_str().unwrap()).unwrap();
    if config["ipam"]["type"] == "host-local" {
        // What it keeps on the machine stays with the test.
        config["ipam"]["dataDir"] = json!(lab.files.join("ipam"));
    }
    let pod = lab.pod();
    lab.add(&config, &pod).ok();
    assert!(pod.has("net1"));
    lab.del(&config, &pod).ok();
    assert!(!pod.has("net1"));
}

#[test]
fn the_network_of_a_machine_on_the_lan_works() {
    works(0, "br-external", "");
}

#[test]
fn the_network_of_a_machine_in_a_vlan_works() {
    if needs(Feature::VlanFiltering) {
        works(1, "br-trunk", "vlan_filtering 1");
    }
}

#[test]
fn the_network_of_pods_works() {
    if needs(Feature::Nat) {
        works(2, "br-external", "");
    }
}
