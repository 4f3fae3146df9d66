//! The words for a lease that was not to be had, kept or written down.

use std::fmt::Display;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::client::Story;
use crate::dhcp::expected::Fit;
use crate::dhcp::reply::Sender;
use crate::error::{Code, Error};

/// What the client itself heard: code 113 or 114 for an offer that was not as expected, 130 for a server that answered and
/// gave no lease; `None` where nobody answered, which only the probe can explain.
pub fn ungranted(story: &Story) -> Option<Error> {
    let error = if let Some((sender, why)) = &story.unusable {
        let fact = format!("DHCP server {} answered, but granted no usable lease: {why}", sender.server);
        Error::new(Code::NoLease, fact).remedy(format!("correct the options of {}", shown(sender)))
    } else if let Some(refusal) = &story.refused {
        let words = refusal.message.as_ref().map(|text| format!(": {text:?}")).unwrap_or_default();
        let fact = format!("DHCP server {} refused the lease (DHCPNAK){words}", refusal.sender.server);
        Error::new(Code::NoLease, fact).remedy(
            "look at its log and its pool: two servers with different pools, or a lease that it cannot write",
        )
    } else if let Some((sender, address)) = &story.offered {
        let fact = format!("DHCP server {} offered {address}, but did not confirm it", sender.server);
        Error::new(Code::NoLease, fact).remedy(format!("look at the log of {}", shown(sender)))
    } else if let Some((sender, address, fit)) = &story.unexpected {
        unexpected(sender, *address, *fit)
    } else if story.other_client_ids > 0 {
        Error::new(Code::NoLease, "DHCP replies named another client identifier than ours (RFC 6842)")
    } else {
        return None;
    };
    Some(asked(error, story))
}

fn unexpected(sender: &Sender, address: Ipv4Addr, fit: Fit) -> Error {
    match fit {
        Fit::OtherServer => Error::new(
            Code::RogueServer,
            format!("DHCP server {} offered {address}, but is not in \"dhcpProbe.servers\"", sender.server),
        )
        .remedy(format!("find {} and stop its DHCP service, or add it to the list", shown(sender))),
        _ => Error::new(
            Code::WrongSubnet,
            format!("DHCP server {} offered {address}, outside \"dhcpProbe.subnets\"", sender.server),
        )
        .remedy("check the VLAN, or add the subnet to the list"),
    }
}

/// Code 110: nobody answered, and the probe was not asked or could not tell why.
pub fn unanswered(story: &Story, waited: Duration) -> Error {
    let fact = format!("no DHCP server answered within {:.1} s", waited.as_secs_f32());
    asked(Error::new(Code::NoOffer, fact), story)
        .remedy("raise \"deadline\" for a diagnosis, or ask by hand: bridge-dhcp doctor --bridge BRIDGE")
}

/// Code 130: somebody else is answered here.
pub fn answered_others_only(story: &Story, offer: impl Display) -> Error {
    asked(Error::new(Code::NoLease, "a DHCP server answers here, but not this client's identifier"), story)
        .evidence(format!("the probe got an offer of {offer}"))
        .remedy("look at the server's log for this pod's client identifier; \"clientId\": \"mac\" asks by the MAC")
}

/// What was asked stands behind every diagnosis.
pub fn asked(error: Error, story: &Story) -> Error {
    error.evidence(format!(
        "sent {} DHCPDISCOVER and {} DHCPREQUEST for the container's own lease",
        story.discovers, story.requests
    ))
}

/// Code 131: the config demands that somebody renews the lease.
pub fn nobody_renews(why: &str) -> Error {
    Error::new(Code::NoAgent, format!("nobody on this node would renew the lease: {why}"))
        .remedy("run `bridge-dhcp agent` on the node (README, \"Leases\"), or remove \"ipam.requireAgent\"")
}

/// Code 132: the record of a lease.
pub fn no_record(error: &io::Error) -> Error {
    Error::new(Code::Record, format!("cannot write the lease's record: {error}")).remedy(
        "make /run/bridge-dhcp/leases writable for root on this node: df /run; ls -ld /run/bridge-dhcp",
    )
}

/// Code 7: a virtual machine's pod.
pub fn virtual_machine(pod: &str) -> Error {
    Error::new(
        Code::InvalidConfig,
        format!("\"ipam\" is \"dhcp\" for {pod}, a virtual machine: its guest asks for its own lease"),
    )
    .evidence("a lease of the pod's own would take the guest's address or confuse KubeVirt when it ends")
    .remedy(
        "remove \"ipam\" and set \"disableContainerInterface\": true; the guest uses the LAN's DHCP server",
    )
}

/// Code 7: the bridge as the gateway of a subnet that a server on the LAN manages.
pub fn own_gateway() -> Error {
    Error::new(
        Code::InvalidConfig,
        "\"isGateway\" and \"isDefaultGateway\" exclude a DHCP lease: the LAN has a router of its own",
    )
    .remedy("remove them; the DHCP server names the router, and the bridge needs the LAN's NIC as a port")
}

fn shown(sender: &Sender) -> String {
    format!("{} (MAC {})", sender.server, sender.mac)
}
