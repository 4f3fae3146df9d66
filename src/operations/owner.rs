//! Asks the node's owner: whoever may write a network config gets what the policy gives, before anything is looked at.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cni::environment::{Command, Variables};
use crate::cni::request::{Input, Request};
use crate::error::log;
use crate::error::{Code, Error};
use crate::kernel::{owned, root};
use crate::policy::asker::Asker;
use crate::policy::rule::{Rule, is_below};
use crate::policy::{self, Policy, faults};

/// The policy and who asks, read once for a call.
pub(super) struct Owner {
    /// `None`: there is no policy.
    policy: Result<Option<Policy>, Error>,
    asker: Result<Asker, Error>,
}

impl Owner {
    /// Of this node.
    pub(super) fn of_this_node(command: Command, variables: &Variables, config: &Map<String, Value>) -> Self {
        let network = config.get("name").and_then(Value::as_str).unwrap_or_default();
        let asker = match command {
            Command::Status | Command::Gc => Ok(Asker::anybody(network)),
            _ => variables
                .arguments_named("K8S_POD_NAMESPACE")
                .and_then(|namespaces| Asker::new(&namespaces, network)),
        };
        Self { policy: read_policy(), asker }
    }

    /// Types the request and judges it. DEL and GC are never refused: what they remove was allowed once.
    ///
    /// # Errors
    /// Codes 140 and 141, and those of [`Request::parse`]; STATUS has code 50 for the policy's.
    pub(super) fn request(
        &self,
        command: Command,
        variables: &Variables,
        input: &Input,
    ) -> Result<Option<Request>, Error> {
        if input.fault.is_some() || matches!(command, Command::Del | Command::Gc) {
            return Request::parse(command, variables, input);
        }
        let for_operation = |error: Error| match command {
            Command::Status => error.recoded(Code::NotAvailable),
            _ => error,
        };
        let Some(policy) = self.policy.as_ref().map_err(|error| for_operation(error.clone()))? else {
            return Request::parse(command, variables, input);
        };
        let asker = self.asker.as_ref().map_err(|error| for_operation(error.clone()))?;
        let mut refusal = faults::nobody(asker);
        for rule in policy.deciding(asker) {
            match allowed(rule, command, variables, input) {
                Err(error) if error.code == Code::Policy => {
                    refusal = error.evidence(format!("asked by {asker}"));
                }
                outcome => return outcome,
            }
        }
        Err(for_operation(refusal))
    }

    /// Opens a log file where this call may have one.
    ///
    /// # Errors
    /// It is elsewhere, or not as it must be.
    pub(super) fn log_file(&self, path: &str) -> io::Result<File> {
        let fixed = vec![PathBuf::from(log::DIRECTORY)];
        let places = match (&self.policy, &self.asker) {
            (Ok(None), _) => fixed,
            (Ok(Some(policy)), Ok(asker)) => {
                policy.deciding(asker).first().map(|rule| rule.log_paths().to_vec()).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let Some(place) = places.iter().find(|place| is_below(path, std::slice::from_ref(*place))) else {
            let shown: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
            let shown =
                if shown.is_empty() { "nowhere".to_string() } else { format!("below {}", shown.join(", ")) };
            return Err(io::Error::other(format!("log files are allowed {shown}")));
        };
        if place == Path::new(log::DIRECTORY) {
            owned::make_directory(&root::path(place))?;
        }
        owned::append(&root::path(place), &root::path(Path::new(path)))
    }
}

fn read_policy() -> Result<Option<Policy>, Error> {
    let content = owned::read_below(&root::of_this_process(), Path::new(policy::PATH), policy::SIZE_MAX)
        .map_err(|error| faults::unreadable(&error.to_string()))?;
    content.as_deref().map(Policy::parse).transpose()
}

/// The request with what the rule forces, if the rule allows it.
fn allowed(
    rule: &Rule,
    command: Command,
    variables: &Variables,
    input: &Input,
) -> Result<Option<Request>, Error> {
    let object = rule.amended(&input.object)?;
    let amended = Input { bytes: Vec::new(), object, fault: None };
    let request = Request::parse(command, variables, &amended)?;
    let judged = match &request {
        Some(Request::Add(add)) => Some((&add.conf, add.previous.is_some())),
        // The result that CHECK gets is the attachment's own.
        Some(Request::Check(check)) => Some((&check.add.conf, false)),
        Some(Request::Status(status)) => Some((&status.conf, false)),
        _ => None,
    };
    if let Some((conf, chained)) = judged {
        rule.judge(conf, &amended.object, chained)?;
    }
    Ok(request)
}
