//! All tests that need a lab are one executable, one module a file: what is linked once is built in seconds.
//! `cargo test --test all vlan::` runs one file, `cargo test --test all trunk` whatever has that in its name.

mod support;

mod agent;
mod check;
mod cli_doctor;
mod cli_list;
mod cli_validate;
mod concurrency;
mod container_mode;
mod cost;
mod detach;
mod dhcp_wire;
mod diagnosis;
mod example_objects;
mod examples;
mod footprint;
mod gateway;
mod gc;
mod install;
mod ipam;
mod kill;
mod lease;
mod like_bridge;
mod locks;
mod nft_guard;
mod nft_masquerade;
mod nft_races;
mod node_policy;
mod ownership;
mod ownership_random;
mod ownership_table;
mod policy;
mod probe;
mod probe_trust;
mod protocol;
mod readme;
mod refusals;
mod servers;
mod undo;
mod vlan;
mod vm_mode;
mod witness;

#[test]
fn every_file_is_a_module_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let modules: Vec<&str> = include_str!("main.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs") else { continue };
        assert!(module == "main" || modules.contains(&module), "no line \"mod {module};\" in tests/main.rs");
    }
}
