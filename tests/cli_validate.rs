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
    assert_eq!(
        text(&output.stdout),
        "ok: 0 errors, 0 warnings, 0 hints; 5 objects checked in 2 files, 1 passed over (ConfigMap)\n"
    );
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
    assert!(
        said.starts_with("FAIL: 4 errors, 0 warnings, 0 hints; 2 objects checked in 2 files\n"),
        "{said}"
    );
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
fn warnings_count_for_the_exit_status_where_they_are_to() {
    // A machine that names a network of another namespace than its own.
    let files = std::fs::read_to_string(sample("people/dhcp.yaml")).unwrap();
    let files = files.replacen("name: lan\n  namespace: vms", "name: lan\n  namespace: default", 1);
    for (words, status) in [(&["-"][..], 0), (&["--strict", "-"], 1), (&["--strict", "--json", "-"], 1)] {
        let output = validate(words, &files);
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}", text(&output.stdout));
    }
    assert!(text(&validate(&["-"], &files).stdout).starts_with("warnings: 0 errors, 1 warning"));
    assert_eq!(validate(&["--strict", &sample("good.yaml")], "").status.code(), Some(0));
}

#[test]
fn a_wrong_command_line_is_no_finding() {
    for words in [&[][..], &["--nonsense"]] {
        assert_eq!(validate(words, "").status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn what_cannot_be_read_hides_nothing_else() {
    let folder = Folder::new("unreadable");
    folder.write("bytes.yaml", b"a: \xff\n");
    let bytes = folder.path("bytes.yaml");
    let output = validate(&["--json", "/nowhere.yaml", &bytes, &sample("bad.yaml"), "-", "-"], "kind: Pod\n");
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = |file: &str| -> Vec<&str> {
        let findings = shown["findings"].as_array().unwrap().iter();
        findings.filter(|one| one["file"] == file).map(|one| one["message"].as_str().unwrap()).collect()
    };
    assert!(said("/nowhere.yaml")[0].contains("the file cannot be read"), "{shown:#}");
    assert!(said(&bytes)[0].contains("not text in UTF-8"), "{shown:#}");
    assert_eq!(said(&sample("bad.yaml")).len(), 3, "{shown:#}");
    assert!(said("-").contains(&"standard input is named twice: it can be read once"), "{shown:#}");
}

#[test]
fn of_a_folder_the_manifests_are_read() {
    let folder = Folder::new("folder");
    folder.write("notes.txt", b"not: [a manifest");
    folder.write("net.conflist", &std::fs::read(sample("good.conflist")).unwrap());
    folder.write("lan.yml", &std::fs::read(sample("good.yaml")).unwrap());
    let output = validate(&[&folder.path("")], "");
    assert!(text(&output.stdout).starts_with("ok: 0 errors"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("5 objects checked in 2 files"), "{}", text(&output.stdout));

    let empty = Folder::new("empty");
    let output = validate(&[&empty.path("")], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("the folder has no file that ends with .yaml"));
}

#[test]
fn where_nothing_is_checked_it_does_not_say_ok() {
    let output = validate(&["-"], "kind: Kustomization\nresources: [lan.yaml]\n");
    let said = text(&output.stdout);
    assert!(said.starts_with("nothing checked: "), "{said}");
    assert!(said.contains("1 passed over (Kustomization)"), "{said}");
    assert_eq!(output.status.code(), Some(0));
    // A kind that is misspelt is no other kind.
    let output = validate(&["-"], "kind: NetworkAttachementDefinition\nmetadata: {name: lan}\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("remedy: kind: NetworkAttachmentDefinition"));
}

#[test]
fn what_is_no_manifest_is_called_what_it_is() {
    for (input, fact) in [
        (
            "\u{feff}{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"type\": \"bridge-dhcp\", \"bridge\": \"b\"}",
            "begins with a byte order mark (BOM)",
        ),
        ("{{- if .Values.lan }}\nkind: Pod\n{{- end }}\n", "looks like a Helm template"),
        (
            "kind: NetworkAttachmentDefinition\nmetadata: {name: lan}\nspec: {config: {{ .Values.config }} }\n",
            "looks like a Helm template",
        ),
        ("a: 1\n", "the document is neither a network config in JSON nor a Kubernetes object"),
        ("", "the file is empty"),
    ] {
        let output = validate(&["-"], input);
        assert_eq!(output.status.code(), Some(1), "{input}");
        assert!(text(&output.stdout).contains(fact), "{input}: {}", text(&output.stdout));
    }
}

#[test]
fn a_mistake_in_a_block_is_named_by_the_line_of_its_file() {
    let definition = "kind: NetworkAttachmentDefinition\nmetadata: {name: lan}\nspec:\n  config: |\n    {\n      \"type\": \"bridge-dhcp\"\n      \"bridge\": \"b\"\n    }\n";
    let said = text(&validate(&["-"], definition).stdout);
    assert!(said.contains("-:7\n") && said.contains("expected `,` or `}`"), "{said}");
    assert!(!said.contains("at line"), "{said}");
}

#[test]
fn a_fixed_address_under_bridge_binding_moves_into_the_guest_by_copying() {
    let files = std::fs::read_to_string(sample("people/secret.yaml")).unwrap().replace(
        "\"disableContainerInterface\":true",
        "\"ipam\":{\"type\":\"static\",\"addresses\":[{\"address\":\"10.77.0.60/24\",\"gateway\":\"10.77.0.1\"}]}",
    );
    let shown: Value = serde_json::from_slice(&validate(&["--json", "-"], &files).stdout).unwrap();
    let findings = shown["findings"].as_array().unwrap();
    let remedy =
        findings.iter().find(|one| one["rule"] == "ipam-for-vm").unwrap()["remedy"].as_str().unwrap();
    let (advice, volume) = remedy.split_once('\n').unwrap();
    assert!(advice.contains("disableContainerInterface"), "{advice}");
    // The snippet is a volume that a machine with this interface can have: put in the place of its own, all is well.
    let volume: String = volume.lines().map(|line| format!("        {line}\n")).collect();
    let mended = std::fs::read_to_string(sample("people/secret.yaml")).unwrap();
    let (machine, _) = mended.split_once("        - name: cloudinitdisk\n          cloudInit").unwrap();
    let output = validate(&["-"], &format!("{machine}{}", volume.replace("cloud-init", "cloudinitdisk")));
    assert!(text(&output.stdout).starts_with("ok: 0 errors, 0 warnings"), "{}", text(&output.stdout));
}

/// A folder for the files of one test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("validate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
