//! The plugin as a runtime calls it: environment, standard input, one JSON document out.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::Lab;
use super::namespace::{Namespace, text};

/// The executable under test: the release binary where BRIDGE_DHCP names it.
pub fn executable() -> String {
    std::env::var("BRIDGE_DHCP").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bridge-dhcp").to_string())
}

/// An executable that plays another plugin; the directory for CNI_PATH.
pub fn script(files: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let directory = files.join("bin");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    directory.to_str().unwrap().to_string()
}

/// One call of the plugin on a node.
#[derive(Clone)]
pub struct Call<'a> {
    node: &'a Namespace,
    environment: Vec<(String, String)>,
    input: String,
    wrapper: Vec<String>,
    executable: String,
}

/// How a call ended.
pub struct Outcome {
    /// Exit status 0.
    pub succeeded: bool,
    /// The JSON document on standard output; null where there was nothing.
    pub json: Value,
    /// Standard error.
    pub stderr: String,
}

impl Lab {
    /// An operation for the interface `ifname` of the container `container`.
    pub fn call<'a>(
        &'a self,
        operation: &str,
        conf: &Value,
        container: &str,
        netns: &Path,
        ifname: &str,
    ) -> Call<'a> {
        let call = Call {
            node: &self.node,
            environment: Vec::new(),
            input: conf.to_string(),
            wrapper: Vec::new(),
            executable: executable(),
        };
        call.set("CNI_COMMAND", operation)
            .set("CNI_CONTAINERID", container)
            .set("CNI_NETNS", &netns.to_string_lossy())
            .set("CNI_IFNAME", ifname)
            .set("CNI_PATH", "/usr/lib/cni:/opt/cni/bin")
            .set("BRIDGE_DHCP_ROOT", &self.files.to_string_lossy())
    }

    /// ADD for `net1` of container `c1`.
    pub fn add(&self, conf: &Value, pod: &Namespace) -> Outcome {
        self.call("ADD", conf, "c1", pod.path(), "net1").run()
    }

    /// CHECK for `net1` of container `c1`, with ADD's result.
    pub fn check(&self, conf: &Value, result: &Value, pod: &Namespace) -> Outcome {
        self.call("CHECK", &super::with_result(conf, result), "c1", pod.path(), "net1").run()
    }

    /// DEL for `net1` of container `c1`.
    pub fn del(&self, conf: &Value, pod: &Namespace) -> Outcome {
        self.call("DEL", conf, "c1", pod.path(), "net1").run()
    }
}

impl Call<'_> {
    /// Sets a variable.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    /// Removes a variable.
    pub fn unset(mut self, name: &str) -> Self {
        self.environment.retain(|(other, _)| other != name);
        self
    }

    /// Puts something else on standard input.
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.input = input.into();
        self
    }

    /// Calls another plugin, with the same environment and standard input.
    pub fn with_executable(mut self, executable: &str) -> Self {
        self.executable = executable.to_string();
        self
    }

    /// Runs the plugin by another program, such as strace.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_string()).collect();
        self
    }

    /// Starts the plugin.
    pub fn start(&self) -> Child {
        let mut words = self.wrapper.clone();
        words.push(self.executable.clone());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.node.enter(|| command.spawn()).unwrap();
        // A plugin that fails early may close its standard input before everything is written.
        let _ = child.stdin.take().unwrap().write_all(self.input.as_bytes());
        child
    }

    /// Runs the plugin to its end.
    pub fn run(&self) -> Outcome {
        Outcome::from(self.start().wait_with_output().unwrap())
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        let stdout = text(&output.stdout);
        let json = match stdout.trim() {
            "" => Value::Null,
            document => serde_json::from_str(document).unwrap_or_else(|error| {
                panic!("not one JSON document: {error}: {document}\n{}", text(&output.stderr))
            }),
        };
        Self { succeeded: output.status.success(), json, stderr: text(&output.stderr) }
    }
}

impl Outcome {
    /// The result of a call that must succeed.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.succeeded, "{} {}", self.json, self.stderr);
        self.json
    }

    /// The error of a call that must fail with this code; asserts what holds for every error.
    #[track_caller]
    pub fn error(self, code: u64) -> String {
        assert!(!self.succeeded, "succeeded: {}", self.json);
        let msg =
            self.json["msg"].as_str().unwrap_or_else(|| panic!("no msg: {} {}", self.json, self.stderr));
        assert_eq!(self.json["code"], code, "{}", self.json);
        assert!(self.json["cniVersion"].is_string());
        assert!(msg.chars().count() < 200 && !msg.contains('\n') && !msg.is_empty(), "{msg}");
        assert!(msg.ends_with(&format!(" (code {code})")), "{msg}");
        let details = self.json["details"].as_str().unwrap();
        assert!(details.starts_with("remedy: ") || !details.contains("remedy: "), "{details}");
        format!("{msg}\n{details}")
    }
}
