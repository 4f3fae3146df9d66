//! The CNI protocol around the operations: one request in, one JSON document out, exit status 0 or 1.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::time::Instant;

use nix::errno::Errno;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::owner::Owner;
use crate::cni::config::known;
use crate::cni::environment::{Command, Variables};
use crate::cni::ipam_request::IpamRequest;
use crate::cni::request::{Input, Request};
use crate::cni::version::CniVersion;
use crate::error::log::{Level, Log};
use crate::error::{Code, Error};
use crate::ipam::Delegation;
use crate::kernel::netns::Netns;

/// The version of error objects where the config names none that is supported.
const ERROR_VERSION: CniVersion = CniVersion::V1_0_0;

/// Serves the request that environment and standard input describe.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(report_panic));
    let variables = Variables::new(std::env::vars_os());
    match variables.command() {
        Ok(None) => {
            about();
            ExitCode::SUCCESS
        }
        Ok(Some(Command::Version)) => answer(Ok(Some(versions())), ERROR_VERSION.as_str()),
        Ok(Some(command)) => serve(command, &variables),
        Err(error) => answer(Err(error), ERROR_VERSION.as_str()),
    }
}

fn serve(command: Command, variables: &Variables) -> ExitCode {
    let input = Input::read(std::io::stdin().lock());
    let version = CniVersion::from_config(&input.object).unwrap_or(ERROR_VERSION);
    let owner = Owner::of_this_node(command, variables, &input.object);
    let context = context(command, variables, &input.object);
    let log = Log::open(&input.object, context, |path| owner.log_file(path));
    let started = Instant::now();
    if IpamRequest::is_meant(&std::env::args_os().next().unwrap_or_default(), &input.object) {
        let outcome = serve_as_ipam(command, variables, &input, &log);
        return answer(outcome, version.as_str());
    }
    report_oddities(command, &input, &log);
    let outcome = owner
        .request(command, variables, &input)
        .and_then(|request| execute(request, variables, input.bytes, &log));
    let elapsed = started.elapsed().as_millis();
    match &outcome {
        Ok(_) => log.write(Level::Debug, format_args!("done in {elapsed} ms")),
        Err(error) => {
            log.write(Level::Error, format_args!("failed after {elapsed} ms: {error}\n{}", error.details()))
        }
    }
    answer(outcome, version.as_str())
}

fn serve_as_ipam(
    command: Command,
    variables: &Variables,
    input: &Input,
    log: &Log,
) -> Result<Option<Value>, Error> {
    let request = IpamRequest::parse(command, variables, &input.object)?;
    event_loop()?.block_on(super::as_ipam::serve(&request, log))
}

fn event_loop() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::Internal, format!("cannot start the event loop: {error}")))
}

/// What the log should say of the config although the operation goes on.
fn report_oddities(command: Command, input: &Input, log: &Log) {
    match (&input.fault, command) {
        (Some(fault), Command::Del) => log.write(
            Level::Warn,
            format_args!(
                "{fault}: what the environment names is removed all the same, no IPAM plugin is called"
            ),
        ),
        (None, Command::Add) => known::unknown(&input.object).for_each(|key| {
            log.write(Level::Info, format_args!("config key {key:?} is unknown and has no effect"));
        }),
        _ => {}
    }
}

fn execute(
    request: Option<Request>,
    variables: &Variables,
    stdin: Vec<u8>,
    log: &Log,
) -> Result<Option<Value>, Error> {
    let Some(request) = request else { return Ok(None) };
    let netns = match &request {
        Request::Add(add) => Some(foreign_netns(Netns::open(&add.netns)?, variables)?),
        Request::Check(check) => Some(foreign_netns(Netns::open(&check.add.netns)?, variables)?),
        Request::Del(del) => match del.netns.as_deref().map(Netns::open) {
            Some(Ok(netns)) => Some(foreign_netns(netns, variables)?),
            Some(Err(_)) | None => None,
        },
        Request::Status(_) | Request::Gc(_) => None,
    };
    let ipam = Delegation { path: variables.path(), stdin };
    event_loop()?.block_on(async {
        match (request, netns) {
            (Request::Add(add), Some(netns)) => {
                super::add::add(&add, netns, &ipam, log, print).await.map(|()| None)
            }
            (Request::Check(check), Some(netns)) => {
                super::check::check(&check, netns, &ipam).await.map(|()| None)
            }
            (Request::Del(del), netns) => super::del::del(&del, netns, &ipam, log).await.map(|()| None),
            (Request::Status(status), _) => super::status::status(&status, &ipam).await.map(|()| None),
            (Request::Gc(gc), _) => super::gc::gc(&gc, &ipam, log).await.map(|()| None),
            (Request::Add(_) | Request::Check(_), None) => {
                Err(Error::new(Code::Internal, "ADD and CHECK need a network namespace"))
            }
        }
    })
}

/// The container's namespace must not be the node's, as the reference `skel` has it; checked before anything is
/// touched.
fn foreign_netns(netns: Netns, variables: &Variables) -> Result<Netns, Error> {
    if netns.is_own() && !variables.netns_override() {
        return Err(Error::new(
            Code::InvalidNetns,
            "plugin's netns and netns from CNI_NETNS should not be the same",
        )
        .remedy("pods with hostNetwork cannot be attached"));
    }
    Ok(netns)
}

/// What stands in every line of the log.
fn context(command: Command, variables: &Variables, object: &Map<String, Value>) -> String {
    let mut parts = vec![format!("command={}", command.as_str())];
    if let Ok(attachment) = variables.attachment() {
        parts.push(format!("container={} ifname={}", attachment.container, attachment.ifname));
    }
    if let Some(name) = object.get("name").and_then(Value::as_str) {
        parts.push(format!("network={}", name.escape_default()));
    }
    if let Ok(arguments) = variables.arguments()
        && let (Some(namespace), Some(pod)) =
            (arguments.get("K8S_POD_NAMESPACE"), arguments.get("K8S_POD_NAME"))
    {
        parts.push(format!("pod={}/{}", namespace.escape_default(), pod.escape_default()));
    }
    if let Some(trace) = variables.trace_parent() {
        parts.push(format!("trace={}", trace.escape_default()));
    }
    parts.join(" ")
}

fn answer(outcome: Result<Option<Value>, Error>, version: &str) -> ExitCode {
    let (document, code) = match outcome {
        Ok(document) => (document, ExitCode::SUCCESS),
        Err(error) => (Some(error.to_json(version)), ExitCode::FAILURE),
    };
    match document.map(|document| (print(&document), document)) {
        Some((Err(_), document)) => {
            // Runtimes show standard error where standard output is empty.
            let _ = writeln!(std::io::stderr(), "{document}");
            ExitCode::FAILURE
        }
        Some((Ok(()), _)) | None => code,
    }
}

/// Writes one document, past the standard library's buffer: what cannot be written now must not follow later, before an
/// error.
fn print(document: &Value) -> std::io::Result<()> {
    let text = format!("{document}\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match nix::unistd::write(std::io::stdout(), rest) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn versions() -> Value {
    json!({
        "cniVersion": CniVersion::V1_1_0.as_str(),
        "supportedVersions": CniVersion::ALL.map(CniVersion::as_str),
    })
}

fn about() {
    let supported = CniVersion::ALL.map(CniVersion::as_str).join(", ");
    let _ = writeln!(
        std::io::stderr(),
        "CNI plugin bridge-dhcp v{}\nCNI protocol versions supported: {supported}",
        env!("CARGO_PKG_VERSION")
    );
}

/// Runtimes show standard error only when standard output is empty: even a panic ends in one JSON error.
fn report_panic(panic: &PanicHookInfo) {
    let place = panic.location().map(|location| format!(" at {}:{}", location.file(), location.line()));
    let error = Error::new(Code::Internal, format!("internal error{}", place.unwrap_or_default()))
        .evidence(panic.payload_as_str().unwrap_or("no message"))
        .remedy("this is a defect of bridge-dhcp: please report it with this text");
    let _ = print(&error.to_json(ERROR_VERSION.as_str()));
    std::process::exit(1);
}
