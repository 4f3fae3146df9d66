//! What every room needs to say what went wrong: the error, the table of codes, the log.
//!
//! - `code`: the table of codes; which of them an error has is decided by the room that finds it.
//! - [`log`]: the file that the administrator names.
//!
//! Multus puts some 600 characters before `msg` in the pod's event, drops the code, and joins `msg; details`. So `msg` is
//! one line that is complete in itself and ends with the code, and `details` begins with the remedy.

mod code;
pub mod log;

use std::fmt;

pub use code::Code;

/// Longest fact in characters; more is cut. With its code behind it, `msg` stays below 200.
pub const MSG_MAX: usize = 188;
/// Other programs' words may stand in an observation, and the whole error in an event of the cluster.
pub const OBSERVATION_MAX: usize = 2000;

/// A failure as the user reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The stable number.
    pub code: Code,
    msg: String,
    evidence: Vec<String>,
    remedy: Option<String>,
}

impl Error {
    /// An error whose one-line `msg` starts with the fact. Control characters become spaces; more than
    /// [`MSG_MAX`] characters are cut.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        let msg = line(&msg.into(), MSG_MAX);
        Self { code, msg, evidence: Vec::new(), remedy: None }
    }

    /// Adds one observation that supports the fact. Control characters become spaces; more than [`OBSERVATION_MAX`]
    /// characters are cut.
    #[must_use]
    pub fn evidence(mut self, observation: impl Into<String>) -> Self {
        self.evidence.push(line(&observation.into(), OBSERVATION_MAX));
        self
    }

    /// Says what to do, as a command where one exists.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = Some(text.into());
        self
    }

    /// The same diagnosis under the code that the operation uses for it.
    #[must_use]
    pub fn recoded(mut self, code: Code) -> Self {
        self.evidence.push(format!("code {}: {}", self.code as u32, self.code.meaning()));
        self.code = code;
        self
    }

    /// The fact, one line.
    pub fn msg(&self) -> &str {
        &self.msg
    }

    /// The observations that support the fact.
    pub fn observations(&self) -> &[String] {
        &self.evidence
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The error object on standard output (CNI spec section 5, "Error").
    pub fn to_json(&self, version: &str) -> serde_json::Value {
        let code = self.code as u32;
        serde_json::json!({
            "cniVersion": version, "code": code, "msg": self.to_string(), "details": self.details(),
        })
    }

    /// Remedy and evidence, one per line; empty where there is neither. The remedy comes first: an event is cut at its end.
    pub fn details(&self) -> String {
        let remedy = self.remedy.iter().map(|text| format!("remedy: {text}"));
        remedy.chain(self.evidence.iter().cloned()).collect::<Vec<_>>().join("\n")
    }
}

/// A name quoted for a shell: a tenant may choose the name, and an operator pastes the command.
pub(crate) fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    match name.chars().all(plain) {
        true => name.to_string(),
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

/// One line of at most `limit` characters that a terminal and a log take as text: others' words may be in it.
fn line(text: &str, limit: usize) -> String {
    let kept = if text.chars().count() > limit { limit - 1 } else { limit };
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(kept);
    plain.chain((kept < limit).then_some('…')).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.msg, self.code as u32)
    }
}

impl std::error::Error for Error {}
