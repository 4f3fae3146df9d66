//! Who asks for a DHCP lease: as much of a request as the lease is about, whichever plugin makes the interface.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::lease::LeaseTerms;
use super::environment::Attachment;
use super::request::Add;
use crate::net::NetworkName;

/// An interface that shall have a lease.
#[derive(Debug, Clone)]
pub struct Applicant {
    /// Whose interface.
    pub attachment: Attachment,
    /// The container's network namespace, verbatim.
    pub netns: PathBuf,
    /// The network's name.
    pub network: NetworkName,
    /// `namespace/name` of the pod, where the runtime is Kubernetes'.
    pub pod: Option<String>,
    /// CNI_ARGS.
    pub arguments: BTreeMap<String, String>,
    /// Somebody chose the interface's MAC: it is the same in the container's next life.
    pub chosen_mac: bool,
    /// Another plugin makes the interface and sets what the lease grants.
    pub foreign: bool,
    /// How the lease is asked for and used.
    pub terms: LeaseTerms,
}

impl Applicant {
    /// The attachment of our own ADD.
    pub fn of(request: &Add, terms: LeaseTerms) -> Self {
        Self {
            attachment: request.attachment.clone(),
            netns: request.netns.clone(),
            network: request.network.clone(),
            pod: request.pod.clone(),
            arguments: request.arguments.clone(),
            chosen_mac: request.mac.is_some(),
            foreign: false,
            terms,
        }
    }
}
