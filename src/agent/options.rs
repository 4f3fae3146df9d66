//! How the agent runs.

use std::path::PathBuf;

use crate::lease::record::Record;

/// How the agent runs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the containers' namespaces are found from here, put in front of their paths.
    pub host_prefix: Option<PathBuf>,
    /// The file for Prometheus' text collector.
    pub metrics: Option<PathBuf>,
}

impl Options {
    /// Where the namespace of a record is found from here.
    pub(super) fn path_of(&self, record: &Record) -> PathBuf {
        match &self.host_prefix {
            Some(prefix) => prefix.join(record.netns.strip_prefix("/").unwrap_or(&record.netns)),
            None => record.netns.clone(),
        }
    }
}
