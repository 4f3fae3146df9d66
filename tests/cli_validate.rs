//! `validate` as a person or a pipeline calls it: files and standard input, text and JSON, exit status.

use crate::support;

use std::process::Output;

use serde_json::Value;
use support::Lab;
use support::namespace::text;
use support::plugin::executable;

fn sample(name: &str) -> String {
    format!("{}/tests/cli_validate/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn validate(words: &[&str], input: &str) -> Output {
    let lab = Lab::empty();
    let all: Vec<&str> = ["validate"].iter().chain(words).copied().collect();
    lab.node.pipe(&executable(), &all, input)
}

#[test]
fn what_is_good_passes() {
    let good = [sample("good.yaml"), sample("good.conflist")];
    let output = validate(&[&good[0], &good[1]], "");
    assert_eq!(text(&output.stdout), "ok: 0 errors, 0 warnings, 0 hints in 2 files\n");
    assert_eq!(output.status.code(), Some(0));
    let examples = std::fs::read_dir(format!("{}/conf-examples", env!("CARGO_MANIFEST_DIR"))).unwrap();
    for example in examples
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
    {
        let output = validate(&[example.to_str().unwrap()], "");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    }
}

#[test]
fn what_is_bad_is_named_with_its_place() {
    let (yaml, conf) = (sample("bad.yaml"), sample("bad.conf"));
    let output = validate(&[&yaml, &conf], "");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.starts_with("FAIL: 4 errors, 0 warnings, 0 hints in 2 files\n"), "{said}");
    for part in [
        format!("{yaml}:7"),
        "NetworkAttachmentDefinition lan: unknown config key \"vlanId\"; this plugin's key is \"vlan\""
            .into(),
        "remedy: rename \"vlanId\" to \"vlan\"".into(),
        format!("{yaml}:25"),
        "interface \"lan0\" has no network of that name (networks: lan)".into(),
        format!("{conf}:2"),
    ] {
        assert!(said.contains(&part), "{part} in {said}");
    }
    assert!(!said.contains('\x1b'));

    let output = validate(&["--json", &yaml, &conf], "");
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&shown["errors"], &shown["warnings"], &shown["hints"]), (&4.into(), &0.into(), &0.into()));
    let findings = shown["findings"].as_array().unwrap();
    let rules: Vec<&str> = findings.iter().map(|finding| finding["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["syntax", "config", "interface-without-network", "network-without-interface"]);
    assert_eq!(findings[1]["object"], "NetworkAttachmentDefinition lan");
    assert_eq!((&findings[2]["document"], &findings[2]["line"]), (&2.into(), &25.into()));
}

#[test]
fn standard_input_is_a_file_too_and_hints_are_no_failure() {
    let config = r#"{"cniVersion": "1.0.0", "name": "n", "type": "bridge"}"#;
    let output = validate(&["-"], config);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("hint     -:1"), "{}", text(&output.stdout));
    let output = validate(&["-"], &config.replace("bridge\"", "bridge-dhcp\", \"bridge\": \"a/b\""));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}

#[test]
fn what_cannot_be_read_is_a_wrong_command_line() {
    for words in [&["/nowhere.yaml"][..], &["/"], &[], &["--nonsense"]] {
        assert_eq!(validate(words, "").status.code(), Some(2), "{words:?}");
    }
}
