//! The objects of conf-examples have the shape that their kinds require and fit together, and the installation's commands
//! install, with the rights that they get on a cluster.

use crate::support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::examples::{files, folder, object, yaml};
use support::feature::needs_release_binary;
use support::namespace::text;
use support::plugin::executable;
use support::{Lab, wait_until};

#[test]
fn the_plugin_itself_finds_no_fault_with_all_of_them_together() {
    let mut command = Command::new(executable());
    command.arg("validate").args(files(&folder(), "yaml")).args(files(&folder(), "conflist"));
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.starts_with("ok: 0 errors, 0 warnings"), "{said}");
}

/// What the API server or the tool refuses an object without, by kind; `*` stands for each element of a list.
const REQUIRED: [(&str, &str, &[&str]); 7] = [
    ("NetworkAttachmentDefinition", "k8s.cni.cncf.io/v1", &["spec/config"]),
    (
        "NodeNetworkConfigurationPolicy",
        "nmstate.io/v1",
        &[
            "spec/desiredState/interfaces/*/name",
            "spec/desiredState/interfaces/*/type",
            "spec/desiredState/interfaces/*/state",
        ],
    ),
    (
        "VirtualMachine",
        "kubevirt.io/v1",
        &[
            "spec/runStrategy",
            "spec/template/spec/domain/memory/guest",
            "spec/template/spec/domain/devices/disks/*/name",
            "spec/template/spec/domain/devices/disks/*/disk/bus",
            "spec/template/spec/domain/devices/interfaces/*/name",
            "spec/template/spec/domain/devices/interfaces/*/bridge",
            "spec/template/spec/networks/*/name",
            "spec/template/spec/networks/*/multus/networkName",
            "spec/template/spec/volumes/*/name",
        ],
    ),
    (
        "DaemonSet",
        "apps/v1",
        &[
            "spec/selector/matchLabels",
            "spec/template/metadata/labels",
            "spec/template/spec/initContainers/*/image",
            "spec/template/spec/containers/*/name",
            "spec/template/spec/containers/*/image",
            "spec/template/spec/containers/*/resources/requests",
            "spec/template/spec/volumes/*/hostPath/path",
        ],
    ),
    ("ServiceAccount", "v1", &[]),
    (
        "RoleBinding",
        "rbac.authorization.k8s.io/v1",
        &["roleRef/name", "subjects/*/name", "subjects/*/namespace"],
    ),
    ("Kustomization", "kustomize.config.k8s.io/v1beta1", &["resources/*"]),
];

/// The values at a path; null where one is missing.
fn at<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    path.split('/').fold(vec![value], |values, part| {
        values
            .into_iter()
            .flat_map(|value| match (part, value) {
                ("*", Value::Array(items)) if !items.is_empty() => items.iter().collect(),
                ("*", _) => vec![&Value::Null],
                _ => vec![&value[part]],
            })
            .collect()
    })
}

fn names(value: &Value, path: &str) -> Vec<String> {
    let mut names: Vec<_> =
        at(value, path).iter().map(|name| name.as_str().unwrap_or_default().to_string()).collect();
    names.sort();
    names
}

#[test]
fn every_object_has_what_its_kind_requires() {
    for path in files(&folder(), "yaml") {
        let source = std::fs::read_to_string(&path).unwrap();
        assert!(source.starts_with("# "), "{path:?} says what it is for");
        let object = yaml(&source);
        let kind = object["kind"].as_str().unwrap_or("?");
        let (_, version, required) =
            REQUIRED.iter().find(|(name, ..)| *name == kind).unwrap_or_else(|| panic!("{path:?}: {kind}"));
        assert_eq!(object["apiVersion"], *version, "{path:?}");
        for place in required.iter().chain(if kind == "Kustomization" { &[][..] } else { &["metadata/name"] })
        {
            assert!(at(&object, place).iter().all(|value| !value.is_null()), "{path:?}: {place}");
        }
        if kind == "Kustomization" {
            for resource in names(&object, "resources/*") {
                let resource = path.with_file_name(resource);
                assert!(resource.is_file() || resource.join("kustomization.yaml").is_file(), "{resource:?}");
            }
        }
    }
}

#[test]
fn a_container_that_is_added_to_the_daemonset_comes_from_the_same_registry() {
    let images = |name: &str| {
        let source =
            std::fs::read_to_string(folder().join("install").join(name).join("kustomization.yaml")).unwrap();
        (source.contains("image: bridge-dhcp"), yaml(&source)["images"].clone())
    };
    let (_, expected) = images("kubernetes");
    assert!(expected.is_array());
    let adding = ["agent", "openshift", "policy"].map(images);
    let adding: Vec<_> = adding.iter().filter(|(adds, _)| *adds).collect();
    assert!(adding.len() >= 2 && adding.iter().all(|(_, images)| *images == expected), "{adding:?}");
}

#[test]
fn machines_fit_their_networks_and_their_cloud_init() {
    for path in files(&folder().join("machines"), "yaml") {
        let object = object(&path);
        let machine = &object["spec"]["template"]["spec"];
        let devices = &machine["domain"]["devices"];
        assert_eq!(names(devices, "interfaces/*/name"), names(machine, "networks/*/name"), "{path:?}");
        assert_eq!(names(devices, "disks/*/name"), names(machine, "volumes/*/name"), "{path:?}");
        let data = at(machine, "volumes/*/cloudInitNoCloud/networkData");
        let data = yaml(data.iter().find_map(|data| data.as_str()).unwrap());
        assert_eq!(data["version"], 2);
        let interface = &data["ethernets"]["lan"];
        assert_eq!(interface["match"]["macaddress"], devices["interfaces"][0]["macAddress"], "{path:?}");
        assert!(interface["dhcp4"] == true || interface["addresses"].is_array(), "{path:?}");
    }
}

/// The program as root with these capabilities only.
fn with_capabilities(set: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", set, "--inh-caps=-all", "--no-new-privs", &executable()]);
    command
}

/// A directory with this mode that belongs to user 1001 and group 1002.
fn somebody_elses(lab: &Lab, mode: u32) -> PathBuf {
    let directory = lab.files.join(format!("bin {mode:o}"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
    std::os::unix::fs::chown(&directory, Some(1001), Some(1002)).unwrap();
    directory
}

/// A container of the DaemonSet with its directory of the node replaced, under the rights that it has.
fn container(kind: &str, directory: &Path) -> Command {
    let object = object(&folder().join("install/kubernetes/daemonset.yaml"));
    let container = &object["spec"]["template"]["spec"][kind][0];
    let security = &container["securityContext"];
    assert_eq!(security["capabilities"], json!({"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}));
    assert_eq!(
        (&security["allowPrivilegeEscalation"], &security["readOnlyRootFilesystem"]),
        (&json!(false), &json!(true))
    );
    let mount = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let mut command = with_capabilities("-all,+dac_override");
    for argument in container["args"].as_array().unwrap() {
        command.arg(argument.as_str().unwrap().replace(mount, directory.to_str().unwrap()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn the_daemonset_installs_keeps_and_leaves_the_binary() {
    let lab = Lab::empty();
    let directory = lab.files.join("bin");
    std::fs::create_dir(&directory).unwrap();
    let installed = directory.join("bridge-dhcp");
    for round in ["empty", "populated"] {
        assert!(container("initContainers", &directory).status().unwrap().success(), "{round}");
        assert_eq!(std::fs::read(&installed).unwrap(), std::fs::read(executable()).unwrap());
    }
    std::fs::write(&installed, "an older version").unwrap();
    let mut keeper = container("containers", &directory).spawn().unwrap();
    wait_until("the main container has restored the file", || {
        std::fs::read(&installed).is_ok_and(|bytes| bytes.len() > 100) && is_executable(&installed)
    });
    assert!(keeper.try_wait().unwrap().is_none(), "the main container goes on");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(keeper.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(keeper.wait().unwrap().success(), "SIGTERM is its regular end");
    let version = Command::new(&installed).arg("--version").output().unwrap();
    assert!(text(&version.stdout).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_daemonset_installs_into_a_directory_that_is_not_roots() {
    let lab = Lab::empty();
    let directory = somebody_elses(&lab, 0o755);
    let installed = directory.join("bridge-dhcp");
    for round in ["empty", "populated"] {
        assert!(container("initContainers", &directory).status().unwrap().success(), "{round}");
        let file = std::fs::metadata(&installed).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (0, 0, 0o755), "{round}");
        // As the owner of the directory may leave it.
        std::os::unix::fs::chown(&installed, Some(1001), Some(1002)).unwrap();
        std::fs::set_permissions(&installed, PermissionsExt::from_mode(0o700)).unwrap();
    }
}

#[test]
fn without_its_capability_it_names_the_directorys_rights() {
    let lab = Lab::empty();
    for (mode, begin) in [(0o755, "cannot install "), (0o700, "cannot use directory ")] {
        let directory = somebody_elses(&lab, mode);
        let output = with_capabilities("-all").args(["install", "--dest"]).arg(&directory).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let rights = format!("belongs to uid 1001, gid 1002 and has mode {mode:04o}\n");
        for part in [begin, "Permission denied", &rights, "DAC_OVERRIDE", "chown root:root "] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 == 0o111)
}

#[test]
fn the_image_holds_one_file_and_that_runs_alone() {
    let recipe = std::fs::read_to_string(folder().join("install/Containerfile")).unwrap();
    let steps: Vec<&str> =
        recipe.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase())).collect();
    let words: Vec<&str> = steps.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(words, ["FROM", "ARG", "COPY", "LABEL", "ENTRYPOINT"]);
    assert_eq!((steps[0], steps[4]), ("FROM scratch", "ENTRYPOINT [\"/bridge-dhcp\"]"));
    let version = format!("image.version=\"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(recipe.contains(&version), "the label is the crate's version");
    if !needs_release_binary() {
        return;
    }
    let lab = Lab::empty();
    let root = lab.files.join("root");
    std::fs::create_dir(&root).unwrap();
    // By a process of its own: what this one has open for writing, nobody can execute.
    assert!(Command::new("cp").arg(executable()).arg(&root).status().unwrap().success());
    let mut command = Command::new("chroot");
    let output = command
        .arg(&root)
        .args(["/bridge-dhcp", "--version"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .output()
        .unwrap();
    assert!(text(&output.stdout).contains(env!("CARGO_PKG_VERSION")), "{}", text(&output.stderr));
}
