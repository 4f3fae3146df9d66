//! The words for what the kernel refuses and for what cannot be seen of it.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::netlink::Refusal;
use crate::error::{Code, Error};
use crate::plan::step::Step;

/// What the kernel's EPERM asks for: namespaces are entered and made (CAP_SYS_ADMIN), links changed (CAP_NET_ADMIN), and
/// the probe's frames sent (CAP_NET_RAW).
pub const PRIVILEGES: &str = "run it as root of the node with CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW: a debug container needs all of them";

/// Code 124: what the kernel refused while it was being looked at.
pub fn unseen(what: &str, refusal: &Refusal) -> Error {
    let error = Error::new(Code::Kernel, format!("cannot read {what}: {refusal}"));
    if refusal.errno == Errno::EPERM { error.remedy(PRIVILEGES) } else { error }
}

/// Code 8, or 124 where the kernel lets this process into no namespace at all. `why` says what was tried.
pub fn no_netns(path: &Path, why: &str, refusal: &io::Error) -> Error {
    let shown = path.display();
    if refusal.raw_os_error() == Some(Errno::EPERM as i32) {
        return Error::new(Code::Kernel, format!("may not enter CNI_NETNS {shown}: {refusal}"))
            .remedy(PRIVILEGES);
    }
    Error::new(Code::InvalidNetns, format!("CNI_NETNS {shown} {why}: {refusal}"))
        .remedy("the container is gone or was never there: let the runtime make a new sandbox")
}

/// Code 124: the lock of an attachment, a bridge or a gateway.
pub fn no_lock(whose: &str, error: &io::Error) -> Error {
    Error::new(Code::Kernel, format!("cannot take the {whose}'s lock: {error}"))
}

/// Code 124: the kernel's own words about a step.
pub fn refused(step: &Step, refusal: &Refusal) -> Error {
    let error = Error::new(Code::Kernel, format!("cannot {step}: {refusal}"));
    match refusal.errno {
        Errno::EPERM => error.remedy(PRIVILEGES),
        _ => error,
    }
}

/// Code 120: the kernel's own words about a change to the ruleset.
pub fn nftables_refused(step: &Step, refusal: &Refusal) -> Error {
    let error = Error::new(Code::Nftables, format!("cannot {step}: nftables says {refusal}"));
    match refusal.errno {
        Errno::EPERM => error.remedy(PRIVILEGES),
        Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => error.remedy(
            "load the kernel's modules: modprobe -a nf_tables nft_chain_nat nft_masq; `nft list ruleset` shows whether it has nftables",
        ),
        _ => error.evidence("`nft list ruleset` shows what is there"),
    }
}

/// Code 124: an IPv6 address on a kernel that was booted without IPv6.
pub fn without_ipv6(step: &Step) -> Error {
    Error::new(Code::Kernel, format!("cannot {step}: this node's kernel runs without IPv6"))
        .remedy("boot the node without ipv6.disable=1, or take the IPv6 ranges out of \"ipam\"")
}

/// Code 108.
pub fn port_limit(bridge: &str) -> Error {
    Error::new(
        Code::PortLimit,
        format!("bridge {bridge} has no free port left: it has 1023, the kernel's limit"),
    )
    .remedy("use a second bridge, or schedule fewer attachments on this node")
}
