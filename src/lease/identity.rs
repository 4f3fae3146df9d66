//! Who asks for a lease: the same client for every life of a pod, so that the server gives it the same address.

use sha2::{Digest, Sha256};

use crate::cni::applicant::Applicant;
use crate::cni::config::lease::CLIENT_IDENTIFIER;
use crate::dhcp::client::messages::Identity;
use crate::net::MacAddress;

/// Type of a client identifier that is no hardware address (RFC 2132 section 9.14).
const TEXT: u8 = 0;
/// Hardware type Ethernet.
const ETHERNET: u8 = 1;
/// Longest readable identifier. Beyond, servers' lease files and logs cut it; a digest stands for it then.
const TEXT_MAX: usize = 128;

/// The client of an interface with this MAC. `broadcast` as in [`Identity`].
///
/// The identifier is option 61 of `provide`, else the MAC where the config wants that, else namespace, pod and interface,
/// else, without Kubernetes, the MAC where it was chosen and the container where it was not.
pub fn of(applicant: &Applicant, mac: MacAddress, broadcast: bool) -> Identity {
    let terms = &applicant.terms;
    let mut provided = terms.provided(&applicant.arguments);
    let given = provided.iter().position(|(option, _)| *option == CLIENT_IDENTIFIER);
    let given = given.map(|position| provided.remove(position).1);
    let ifname = &applicant.attachment.ifname;
    let client_id = match (given, &applicant.pod) {
        (Some(given), _) => given,
        (None, Some(pod)) if !terms.by_mac => text(&format!("{pod}/{ifname}")),
        (None, None) if !terms.by_mac && !applicant.chosen_mac => {
            text(&format!("{}/{ifname}", applicant.attachment.container))
        }
        (None, _) => [&[ETHERNET][..], &mac.octets()].concat(),
    };
    Identity { chaddr: mac, client_id, broadcast, requested: terms.requested.clone(), provided }
}

fn text(name: &str) -> Vec<u8> {
    if name.len() <= TEXT_MAX {
        return [&[TEXT][..], name.as_bytes()].concat();
    }
    [&[TEXT][..], &Sha256::digest(name.as_bytes())].concat()
}
