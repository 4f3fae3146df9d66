//! What a rule says: how bad, where, what, and what to do.

use std::fmt;

use serde_json::{Value, json};

use crate::error::Error;

/// How bad a finding is; the order is from worst to mildest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It will not work.
    Error,
    /// It will not work as meant, or only until something else happens.
    Warning,
    /// It could be better, or could not be checked.
    Hint,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        })
    }
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as named on the command line; `-` is standard input.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// Which YAML document of the file, from 1.
    pub document: usize,
    /// `Kind namespace/name`; empty where the file is no Kubernetes object.
    pub object: String,
}

impl Place {
    /// The same object, at another line.
    pub fn at(&self, line: usize) -> Self {
        Self { line, ..self.clone() }
    }

    /// What to call the object in a sentence.
    pub fn subject(&self) -> &str {
        if self.object.is_empty() { "the config" } else { &self.object }
    }
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// Stable name of the rule.
    pub rule: &'static str,
    pub place: Place,
    /// The fact, one line.
    pub message: String,
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(severity: Severity, rule: &'static str, place: Place, message: impl Into<String>) -> Self {
        Self { severity, rule, place, message: message.into(), remedy: None }
    }

    /// What ADD itself would say.
    pub fn refusal(rule: &'static str, place: Place, error: &Error) -> Self {
        let remedy = error.advice().map(str::to_string);
        Self { severity: Severity::Error, rule, place, message: error.to_string(), remedy }
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(self, text: impl Into<String>) -> Self {
        Self { remedy: Some(text.into()), ..self }
    }

    /// As `--json` shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.to_string(), "rule": self.rule, "file": self.place.file,
            "line": self.place.line, "document": self.place.document, "object": self.place.object,
            "message": self.message, "remedy": self.remedy,
        })
    }
}
