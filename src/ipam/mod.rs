//! Delegated address management: finds and executes the IPAM plugin that the config names (CNI spec section 4).

pub mod launch;

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cni::config::Ipam;
use crate::cni::result::CniResult;
use crate::cni::version::CniVersion;
use crate::error::{Code, Error};

/// Most that a delegate may print on standard output.
const STDOUT_MAX: u64 = 1 << 20;
/// Most of a delegate's standard error that is kept and passed on.
const STDERR_MAX: u64 = 64 << 10;
/// Most addresses and routes together that one attachment gets: each costs a request to the kernel.
const ENTRIES_MAX: usize = 1000;
/// The spec's code for an unknown CNI_COMMAND.
const UNKNOWN_COMMAND: u64 = 4;
/// The spec's code for a config version that the plugin does not know.
const UNKNOWN_VERSION: u64 = 1;

/// Where IPAM plugins are found, and what they are given.
#[derive(Debug, Clone)]
pub struct Delegation {
    /// The directories of CNI_PATH.
    pub path: Vec<PathBuf>,
    /// The complete config.
    pub stdin: Vec<u8>,
}

/// An IPAM plugin, ready to be called with this request's environment and config.
#[derive(Debug, Clone)]
pub struct Delegate {
    name: String,
    executable: PathBuf,
    stdin: Vec<u8>,
}

impl Delegation {
    /// Finds the config's IPAM plugin in the directories of CNI_PATH; `None` where the config names none.
    ///
    /// # Errors
    /// Code 7 where the name is no plain file name, code 121 where no directory has it.
    pub fn find(&self, ipam: Option<&Ipam>) -> Result<Option<Delegate>, Error> {
        let Some(Ipam { plugin: name, .. }) = ipam else { return Ok(None) };
        if name.contains('/') || name.contains('\0') || matches!(name.as_str(), "" | "." | "..") {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("config key \"ipam.type\" is {name:?}, wanted the file name of an IPAM plugin"),
            ));
        }
        let executable = |file: &PathBuf| {
            file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        let directories = self.path.iter().filter(|dir| dir.is_absolute());
        let Some(executable) = directories.map(|dir| dir.join(name)).find(executable) else {
            let searched =
                self.path.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(Error::new(
                Code::Ipam,
                format!("IPAM plugin {name:?} is not in CNI_PATH ({searched})"),
            )
            .remedy(format!("install {name} into one of these directories on this node")));
        };
        Ok(Some(Delegate { name: name.clone(), executable, stdin: self.stdin.clone() }))
    }
}

impl Delegate {
    /// `ipam.type`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for addresses.
    ///
    /// # Errors
    /// Code 121 with the delegate's own code and text, or what is wrong with its answer.
    pub async fn add(&self, version: CniVersion) -> Result<CniResult, Error> {
        let stdout = self.call("ADD").await?;
        let value: Value = serde_json::from_slice(&stdout).map_err(|error| {
            self.failed(&format!("printed no JSON result: {error}")).evidence(excerpt(&stdout))
        })?;
        let answered = value.get("cniVersion").and_then(Value::as_str);
        let version =
            CniVersion::ALL.into_iter().find(|known| Some(known.as_str()) == answered).unwrap_or(version);
        let result =
            CniResult::parse(&value, version, "its answer").map_err(|error| self.failed(error.msg()))?;
        if result.ips.is_empty() {
            return Err(self.failed("returned no addresses"));
        }
        if let Some(ip) = result.ips.iter().find(|ip| unusable(ip.address.ip())) {
            return Err(self.failed(&format!("returned {}, which no host can have", ip.address)));
        }
        if result.ips.len() + result.routes.len() > ENTRIES_MAX {
            return Err(self.failed(&format!("returned more than {ENTRIES_MAX} addresses and routes")));
        }
        Ok(result)
    }

    /// Calls it for `operation` and ignores what it prints. Plugins older than CNI 1.1 know neither STATUS nor GC: that
    /// is success.
    ///
    /// # Errors
    /// Code 121 with the delegate's own code and text, or that it took longer than `patience`.
    pub async fn forward(&self, operation: &str, patience: Duration) -> Result<(), Error> {
        match timeout(patience, self.call(operation)).await {
            Ok(outcome) => outcome.map(drop),
            Err(_) => {
                Err(self.failed(&format!("{operation} did not end within {} s", patience.as_secs_f32())))
            }
        }
    }

    async fn call(&self, operation: &str) -> Result<Vec<u8>, Error> {
        let mut child = self.spawn(operation)?;
        let _group = Group(child.id());
        let (mut stdin, mut stdout, mut stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin.take() {
                // A delegate that fails early may not read everything.
                let _ = stdin.write_all(&self.stdin).await;
            }
            Ok(())
        };
        let answer = async {
            let stdout = bounded(&mut stdout, STDOUT_MAX).await;
            if stdout.len() as u64 > STDOUT_MAX {
                Err(self.failed("printed more than 1 MiB"))
            } else {
                Ok(stdout)
            }
        };
        let read =
            async { tokio::try_join!(write, answer, async { Ok(beginning(&mut stderr, STDERR_MAX).await) }) };
        let ((), stdout, stderr) = read.await?;
        let status = child.wait().await.map_err(|error| self.failed(&error.to_string()))?;
        if !stderr.is_empty() {
            let _ = std::io::stderr().write_all(&stderr);
        }
        if status.success() {
            return Ok(stdout);
        }
        let error: Value = serde_json::from_slice(&stdout).unwrap_or_default();
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
        if text("msg").is_empty() {
            return Err(self
                .failed(&format!("ended with {status} and no error"))
                .evidence(excerpt(&stdout))
                .evidence(excerpt(&stderr)));
        }
        let code = error.get("code").and_then(Value::as_u64).unwrap_or_default();
        if code == UNKNOWN_COMMAND && matches!(operation, "STATUS" | "GC") {
            return Ok(Vec::new());
        }
        let failed = self.failed(&format!("{} (its code {code})", text("msg")));
        let failed = match code {
            UNKNOWN_VERSION => {
                failed.remedy(format!("set \"cniVersion\" to one that {} knows, or update it", self.name))
            }
            _ => failed,
        };
        Err(if text("details").is_empty() { failed } else { failed.evidence(text("details")) })
    }

    fn spawn(&self, operation: &str) -> Result<Child, Error> {
        Command::new("/proc/self/exe")
            .args([launch::ARGUMENT, &std::process::id().to_string()])
            .arg(&self.executable)
            .env("CNI_COMMAND", operation)
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.failed(&format!("cannot be started: {error}")))
    }

    fn failed(&self, why: &str) -> Error {
        Error::new(Code::Ipam, format!("IPAM plugin {:?} failed: {why}", self.name))
    }
}

/// The process group of a delegate: killed when the call ends, however it ends, with what the delegate started.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

fn unusable(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_multicast()
}

/// Reads to the end, but one byte more than `limit` at the most.
async fn bounded(stream: &mut Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let _ = stream.take(limit + 1).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Keeps the beginning and reads the rest all the same: a talkative program would die of a closed pipe.
async fn beginning(stream: &mut Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let bytes = bounded(stream, limit).await;
    if let Some(stream) = stream {
        let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
    }
    bytes
}

/// The beginning of some output, for evidence.
fn excerpt(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .chars()
        .take(300)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("it printed: {text:?}")
}
