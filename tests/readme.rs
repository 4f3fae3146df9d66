//! The README says what the program says.

use bridge_dhcp::report::Code;
use bridge_dhcp::request::netconf::NetConf;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

#[test]
fn the_table_of_codes_is_the_programs() {
    let rows: Vec<String> =
        Code::ALL.iter().map(|code| format!("| {} | {} |", *code as u32, code.meaning())).collect();
    let readme = readme();
    let section = readme.split("## Error codes").nth(1).unwrap().split("\n## ").next().unwrap();
    let found: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(found, rows, "the table should be:\n{}", rows.join("\n"));
}

#[test]
fn every_network_in_it_is_a_valid_config() {
    let readme = readme();
    let blocks: Vec<&str> =
        readme.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3);
    for block in blocks {
        let config: serde_json::Value = serde_json::from_str(block).unwrap();
        NetConf::parse(config.as_object().unwrap()).unwrap();
    }
}
