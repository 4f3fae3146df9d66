//! Who asks: the pod's namespace, as the runtime says it in CNI_ARGS, and the network's name.

use super::faults;
use crate::error::Error;

/// The longest name of a namespace (RFC 1123, label).
const NAMESPACE_MAX: usize = 63;

/// Whose pod it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Namespace {
    /// A pod's of this namespace.
    Named(String),
    /// No pod's: the runtime is not Kubernetes'.
    Unnamed,
    /// Anybody's: STATUS is asked for no pod.
    Anybody,
}

/// Namespace and network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    namespace: Namespace,
    network: String,
}

impl Asker {
    /// Takes all values that CNI_ARGS has for K8S_POD_NAMESPACE.
    ///
    /// # Errors
    /// Code 140 where it stands twice or is no name of a namespace: which one counts must not be a guess.
    pub fn new(namespaces: &[String], network: &str) -> Result<Self, Error> {
        let namespace = match namespaces {
            [] => Namespace::Unnamed,
            [name] if is_label(name) => Namespace::Named(name.clone()),
            [name] => return Err(faults::no_namespace(&format!("has K8S_POD_NAMESPACE={name:?}"))),
            _ => return Err(faults::no_namespace("has K8S_POD_NAMESPACE more than once")),
        };
        Ok(Self { namespace, network: network.to_string() })
    }

    /// Nobody in particular.
    pub fn anybody(network: &str) -> Self {
        Self { namespace: Namespace::Anybody, network: network.to_string() }
    }

    /// It is nobody in particular.
    pub fn is_anybody(&self) -> bool {
        self.namespace == Namespace::Anybody
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Whether a rule for these namespaces means this asker. A rule that names none means everybody, also who has none.
    pub(super) fn is_of(&self, named: Option<impl Fn(&str) -> bool>) -> bool {
        match (&self.namespace, named) {
            (_, None) | (Namespace::Anybody, _) => true,
            (Namespace::Named(name), Some(named)) => named(name),
            (Namespace::Unnamed, Some(_)) => false,
        }
    }
}

impl std::fmt::Display for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Namespace::Named(name) => write!(f, "namespace {name}, network {}", self.network),
            Namespace::Unnamed => write!(f, "no namespace, network {}", self.network),
            Namespace::Anybody => write!(f, "any namespace, network {}", self.network),
        }
    }
}

fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAMESPACE_MAX).contains(&text.len()) && text.bytes().all(plain)
}
