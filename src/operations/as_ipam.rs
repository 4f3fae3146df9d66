//! This program as the IPAM plugin of another main plugin, which makes the interface and sets what the lease grants.

use std::time::Duration;

use nix::errno::Errno;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::gc::collect_leases;
use super::lease::{Leasing, available};
use super::{faults, terminated};
use crate::cni::applicant::Applicant;
use crate::cni::environment::Attachment;
use crate::cni::ipam_request::IpamRequest;
use crate::cni::version::CniVersion;
use crate::dhcp::client::drive::now;
use crate::dhcp::client::lease::Stage;
use crate::dhcp::expected::Expected;
use crate::error::log::{Level, Log};
use crate::error::{Code, Error};
use crate::kernel::Kernel;
use crate::kernel::faults::{refused, unseen};
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::kernel::netns::Netns;
use crate::lease::place::Place;
use crate::lease::record::Record;
use crate::lease::release;
use crate::plan::names::host_interface;
use crate::plan::step::Step;

/// Longest that an ADD takes; main plugins have no key for it.
const DEADLINE: Duration = Duration::from_secs(15);
/// An interface that shares its MAC with others: no unicast reaches it before it has its address.
const SHARED_MAC: &str = "ipvlan";

/// Serves the request; ADD answers with a result.
///
/// # Errors
/// ADD: codes 110, 113, 114, 130 to 132; CHECK: 123; STATUS: 50.
pub async fn serve(request: &IpamRequest, log: &Log) -> Result<Option<Value>, Error> {
    match request {
        IpamRequest::Add { applicant, version } => add(applicant, *version, log).await.map(Some),
        IpamRequest::Check(attachment) => check(attachment).map(|()| None),
        IpamRequest::Del(attachment) => {
            del(attachment, log).await;
            Ok(None)
        }
        IpamRequest::Status(ipam) => {
            available(ipam).await.map(|()| None).map_err(|error| error.recoded(Code::NotAvailable))
        }
        IpamRequest::Gc { network, valid } => {
            collect_leases(network, valid, log).await;
            Ok(None)
        }
    }
}

async fn add(applicant: &Applicant, version: CniVersion, log: &Log) -> Result<Value, Error> {
    let until = Instant::now() + DEADLINE;
    let netns = Netns::open(&applicant.netns)?;
    let mut kernel = Linux::open(Some(netns)).map_err(|refusal| unseen("the node's network", &refusal))?;
    let leasing = Leasing::for_other(applicant.clone()).await?;
    let work = async {
        let taken = take(applicant, &leasing, &mut kernel, until, log).await?;
        leasing.hand_over(log).await?;
        Ok(taken)
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = terminated() => Err(faults::aborted("by a signal")),
    };
    match outcome.and_then(|result| result.render(version)) {
        Ok(Value::Object(mut result)) => {
            // They are the main plugin's.
            result.remove("interfaces");
            Ok(Value::Object(result))
        }
        Ok(other) => Ok(other),
        Err(error) => {
            leasing.give_back().await?;
            Err(error)
        }
    }
}

async fn take(
    applicant: &Applicant,
    leasing: &Leasing,
    kernel: &mut Linux,
    until: Instant,
    log: &Log,
) -> Result<crate::cni::result::CniResult, Error> {
    let ifname = applicant.attachment.ifname.as_str();
    let unreadable = |refusal| unseen(ifname, &refusal);
    let link = kernel.container_link(ifname).await.map_err(unreadable)?;
    let link = link.ok_or_else(|| unreadable(Refusal::plain(Errno::ENODEV)))?;
    let mac = link.mac.ok_or_else(|| unreadable(Refusal::plain(Errno::EADDRNOTAVAIL)))?;
    // Main plugins ask before they set the interface up, as the incumbent's daemon does it for them.
    let raise = Step::RaiseContainer { ifname: ifname.to_string() };
    kernel.apply(&raise).await.map_err(|refusal| refused(&raise, &refusal))?;
    let up = timeout_at(until, kernel.container_is_up(ifname)).await;
    up.map_err(|_| unreadable(Refusal::plain(Errno::ENETDOWN)))?.map_err(unreadable)?;
    let broadcast = link.kind.as_deref() == Some(SHARED_MAC);
    // Where the link leads, only the main plugin knows: there is no probe to ask for the cause.
    let diagnosis = std::future::pending();
    let (usage, lease) =
        leasing.take(mac, broadcast, kernel, Expected::default(), diagnosis, until, log).await?;
    Ok(usage.answer(&lease))
}

/// Never asks a server: the agent does that.
fn check(attachment: &Attachment) -> Result<(), Error> {
    let host = host_interface(attachment);
    let differs = |what: &str| faults::differs(attachment.ifname.as_str(), &[what.to_string()]);
    match Record::read(&Place::of_this_process(), &host) {
        Ok(Some(record)) if record.lease.times.stage(now()) == Stage::Expired => {
            Err(differs("its DHCP lease is over"))
        }
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(differs("it has no DHCP lease of bridge-dhcp's")),
        Err(error) => Err(differs(&format!("the record of its DHCP lease is bad: {error}"))),
    }
}

/// Nothing that goes wrong here keeps a pod: the lease runs out at the server by itself.
async fn del(attachment: &Attachment, log: &Log) {
    let place = Place::of_this_process();
    let host = host_interface(attachment);
    match Record::read(&place, &host) {
        Ok(Some(record)) => release::give_back_and_tell(&place, &record, log).await,
        Ok(None) => {}
        Err(error) => {
            log.write(Level::Warn, format_args!("a lease is not released, its record is bad: {error}"));
            let _ = Record::remove(&place, &host);
        }
    }
}
