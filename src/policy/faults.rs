//! The words for what the policy refuses, and for a policy that cannot be used.

use std::fmt::Display;

use super::PATH;
use super::yaml::Fault;
use crate::error::{Code, Error};

/// Code 140 of one rule.
pub fn refused(rule: &impl Display, fact: &str) -> Error {
    Error::new(Code::Policy, format!("node policy, {rule}: {fact}")).remedy(format!(
        "change the network, or ask the node's owner; on the node: bridge-dhcp policy check /{PATH} --network FILE --namespace NAMESPACE"
    ))
}

/// Code 140: no rule is meant for who asks.
pub fn nobody(asker: &impl Display) -> Error {
    Error::new(Code::Policy, format!("node policy: no rule is for {asker}"))
        .remedy(format!("ask the node's owner for a rule in /{PATH}"))
}

/// Code 140: the namespace is not to be trusted.
pub fn no_namespace(fact: &str) -> Error {
    Error::new(Code::Policy, format!("node policy: CNI_ARGS {fact}, so no rule can be chosen"))
        .remedy("see what the container runtime passes: it names the pod's namespace once")
}

/// Code 141: what the file says.
pub(super) fn malformed(fault: &Fault) -> Error {
    Error::new(Code::PolicyUnusable, format!("node policy, line {}: {}", fault.line, fault.text))
        .remedy(format!("{CORRECT}: bridge-dhcp policy check /{PATH}"))
}

/// Code 141: the file itself.
pub fn unreadable(why: &str) -> Error {
    Error::new(Code::PolicyUnusable, format!("node policy /{PATH} cannot be used: {why}")).remedy(format!(
        "{CORRECT}: chown root:root /{PATH} && chmod 0644 /{PATH}, and its directories likewise"
    ))
}

const CORRECT: &str = "nothing is attached on this node until the file is right (DEL and GC work)";
