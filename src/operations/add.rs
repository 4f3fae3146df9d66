//! ADD: looks at the node, plans, carries it out, and takes everything back when it fails, is aborted or runs late.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::address::{self, Reservation};
use super::perform::{exists, explain, perform};
use super::transaction::Transaction;
use super::{check_uplinks, claim, faults, promise};
use crate::cni::config::UplinkCheck;
use crate::cni::request::Add;
use crate::cni::result::{CniResult, Interface};
use crate::error::log::{Level, Log};
use crate::error::{Code, Error};
use crate::ipam::Delegation;
use crate::kernel::faults::{no_lock, unseen};
use crate::kernel::linux::Linux;
use crate::kernel::lock::{Lock, bridge_lock};
use crate::kernel::look::leads_to_a_container;
use crate::kernel::netlink::Refusal;
use crate::kernel::netns::Netns;
use crate::kernel::random::fresh_macs;
use crate::net::{BridgeSeen, Known, Link};
use crate::plan::label::Label;
use crate::plan::step::Step;
use crate::plan::uplink::Doubt;
use crate::plan::{self, Plan, Warning, names};

/// What is kept of the deadline to take things back: deletions wait for the kernel's RCU.
const UNDO_SHARE: u32 = 5;
const UNDO_MAX: Duration = Duration::from_secs(2);
/// How often a bridge that appears or vanishes between looking and acting is looked at again.
const PLAN_TRIES: usize = 3;

/// Attaches, and tells the caller the result's JSON: an attachment that nobody has heard of is taken back.
///
/// # Errors
/// Any code; nothing is left on the node then, or `details` says what is.
pub async fn add(
    request: &Add,
    netns: Netns,
    ipam: &Delegation,
    log: &Log,
    tell: impl FnOnce(&Value) -> io::Result<()>,
) -> Result<(), Error> {
    let started = Instant::now();
    let reservation = Reservation::find(request, ipam).await?;
    let lock = Lock::try_acquire(&super::del::attachment_lock(&request.attachment))
        .map_err(|error| no_lock("attachment", &error))?
        .ok_or_else(|| faults::still_running(&request.attachment))?;
    let kernel = Linux::open(Some(netns)).map_err(|refusal| unseen("the node's network", &refusal))?;
    let mut transaction = Transaction::new(kernel);

    let deadline = started + request.conf.deadline;
    let work_until = deadline - (request.conf.deadline / UNDO_SHARE).min(UNDO_MAX);
    let work = async {
        let attached = attach(request, reservation.as_ref(), &mut transaction, work_until, log);
        let result = super::probe::beside(request, attached, work_until, log).await?;
        keep_warnings(request, &mut transaction, log).await?;
        promise::keep(request, &mut transaction).await?;
        for step in transaction.deferred() {
            perform(&mut transaction, &step).await?;
        }
        tell(&result).map_err(|error| faults::untold(&error))
    };
    let outcome = tokio::select! {
        outcome = work => Some(outcome),
        () = lock.wanted() => Some(Err(faults::aborted("by a DEL for the same container and interface"))),
        () = super::terminated() => Some(Err(faults::aborted("by a signal"))),
        () = tokio::time::sleep_until(work_until) => None,
    };
    let mut error = match outcome {
        Some(Ok(())) => return Ok(()),
        Some(Err(error)) => error,
        None => {
            let awaited = reservation.as_ref().and_then(Reservation::awaited);
            faults::too_late(request.conf.deadline, awaited, transaction.current())
        }
    };
    // Before the link goes: a DHCP lease is released through it.
    if let Some(reservation) = &reservation {
        let patience = deadline.saturating_duration_since(Instant::now()) / 2;
        if let Err(failed) = reservation.release(patience).await {
            error = error.evidence(format!(
                "perhaps left behind: a reservation, as its DEL failed, too: {}",
                failed.msg()
            ));
        }
    }
    Err(take_back(transaction, error, deadline).await)
}

/// Writes what ADD warned of into the port's label, where `list` and `doctor` find it for as long as the attachment lasts.
async fn keep_warnings(request: &Add, transaction: &mut Transaction<Linux>, log: &Log) -> Result<(), Error> {
    let warnings = log.warned();
    if warnings.is_empty() {
        return Ok(());
    }
    let host = names::host_interface(&request.attachment);
    let port = transaction.kernel().link(&host).await.map_err(|refusal| unseen(&host, &refusal))?;
    let label = port.as_ref().and_then(|port| Label::from_alias(port.alias.as_deref()?));
    match (port, label) {
        (Some(before), Some(label)) => {
            let alias = Label { warnings, ..label }.to_alias();
            perform(transaction, &Step::Label { port: before.name.clone(), alias, before }).await
        }
        _ => Ok(()),
    }
}

async fn attach(
    request: &Add,
    reservation: Option<&Reservation>,
    transaction: &mut Transaction<Linux>,
    until: Instant,
    log: &Log,
) -> Result<Value, Error> {
    let result = match &request.previous {
        Some(previous) => attach_chained(request, previous, transaction, log).await?,
        None => attach_pair(request, reservation, transaction, until, log).await?,
    };
    result.render(request.version)
}

async fn attach_pair(
    request: &Add,
    reservation: Option<&Reservation>,
    transaction: &mut Transaction<Linux>,
    until: Instant,
    log: &Log,
) -> Result<CniResult, Error> {
    let plan = join(request, transaction, log).await?;
    if reservation.is_some() {
        address::prepare(request, transaction, log).await;
    }
    for step in &plan.open {
        perform(transaction, step).await?;
    }
    let mut result = CniResult { dns: request.conf.dns.clone().unwrap_or_default(), ..CniResult::default() };
    if let Some(reservation) = reservation {
        address::configure(request, &plan, reservation, transaction, &mut result, until, log).await?;
    }
    let name = request.conf.bridge.as_str();
    let kernel = transaction.kernel();
    let bridge = kernel.link(name).await.map_err(|refusal| unseen(name, &refusal))?;
    let host = kernel.link(&plan.host).await.map_err(|refusal| unseen(&plan.host, &refusal))?;
    // Much may have happened since it became one: IPAM may take seconds.
    if host
        .as_ref()
        .is_none_or(|host| host.master.is_none() || host.master != bridge.as_ref().map(|link| link.index))
    {
        return Err(faults::no_port_any_more(&plan.host, name));
    }
    log.write(Level::Info, format_args!("attached {} to {name} as {}", request.attachment.ifname, plan.host));
    let described = |name: &str, link: Option<Link>| Interface {
        name: name.to_string(),
        mac: link.as_ref().and_then(|link| link.mac).map(|mac| mac.to_string()),
        mtu: link.map(|link| link.mtu),
        ..Interface::default()
    };
    let host = described(&plan.host, host);
    let container = Interface {
        name: request.attachment.ifname.to_string(),
        mac: Some(plan.mac.to_string()),
        mtu: plan.mtu.or(host.mtu),
        sandbox: Some(request.netns.to_string_lossy().into_owned()),
        ..Interface::default()
    };
    result.interfaces.splice(0..0, [described(name, bridge), host, container]);
    Ok(result)
}

/// Applies policy to the interface that the previous plugin made, and passes its result on.
async fn attach_chained(
    request: &Add,
    previous: &CniResult,
    transaction: &mut Transaction<Linux>,
    log: &Log,
) -> Result<CniResult, Error> {
    let name = request.conf.bridge.as_str();
    let kernel = transaction.kernel();
    let seen = kernel.bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
    plan::validate_bridge(&request.conf, &seen)?;
    let bridge = plan::chained::bridge(request, &seen)?;
    let host = names::host_interface(&request.attachment);
    if kernel.link(&host).await.map_err(|refusal| unseen(&host, &refusal))?.is_some() {
        return Err(exists(transaction, request.attachment.ifname.as_str(), &host).await);
    }
    let kernel = transaction.kernel();
    let chain = super::chain::find(kernel, request, previous, bridge).await?;
    judge_uplinks(request, kernel, &seen, log).await?;
    for step in &plan::chained::attach(request, bridge, &chain)? {
        perform(transaction, step).await?;
    }
    log.write(Level::Info, format_args!("{} of the previous plugin is a port of {name}", chain.port.name));
    Ok(previous.clone())
}

/// Looks at the bridge, plans, and makes the pair a port of it. An ADD that may create the bridge does so under a lock, so
/// that no failing ADD deletes a bridge that another one is about to join.
async fn join(request: &Add, transaction: &mut Transaction<Linux>, log: &Log) -> Result<Plan, Error> {
    let name = request.conf.bridge.as_str();
    let _lock = match request.conf.create_bridge {
        true => Some(Lock::acquire(&bridge_lock(name)).await.map_err(|error| no_lock("bridge", &error))?),
        false => None,
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let seen = transaction.kernel().bridge(name).await.map_err(|refusal| unseen(name, &refusal))?;
        plan::validate_bridge(&request.conf, &seen)?;
        plan::validate_forwarding(&request.conf, &seen)?;
        let macs = fresh_macs().map_err(|refusal| unseen("random numbers", &refusal))?;
        if tries == 1 {
            judge_uplinks(request, transaction.kernel(), &seen, log).await?;
            judge_mac(request, transaction.kernel(), &seen, log).await?;
        }
        let plan = plan::attach(request, &seen, macs);
        for warning in &plan.warnings {
            match warning {
                Warning::Passing(text) => log.write(Level::Warn, text),
                Warning::Lasting(code, text) => log.warn(*code, text),
            }
        }
        match join_as_planned(transaction, &plan.join).await {
            Ok(()) => {
                claim::names(request, &plan, transaction).await?;
                return Ok(plan);
            }
            Err((Step::CreateBridge(_), refusal)) if refusal.errno == Errno::EEXIST && tries < PLAN_TRIES => {
            }
            Err((step, refusal)) => return Err(explain(transaction, &step, &refusal).await),
        }
    }
}

async fn join_as_planned(
    transaction: &mut Transaction<Linux>,
    steps: &[Step],
) -> Result<(), (Step, Refusal)> {
    for step in steps {
        transaction.perform(step).await.map_err(|refusal| (step.clone(), refusal))?;
    }
    Ok(())
}

async fn judge_uplinks(request: &Add, kernel: &Linux, seen: &BridgeSeen, log: &Log) -> Result<(), Error> {
    let verdict = match (request.conf.uplink_check, seen) {
        (UplinkCheck::Off, _) => return Ok(()),
        (_, BridgeSeen::Present(bridge)) => check_uplinks(kernel, bridge, &request.conf).await,
        (_, BridgeSeen::Missing { .. }) => Err(plan::faults::no_uplink(request.conf.bridge.as_str())),
    };
    match verdict {
        Ok(None) => {}
        Ok(Some(Doubt { fact, remedy })) => {
            log.warn(Code::VlanNotOnUplink, format_args!("{fact}; {remedy}"));
        }
        Err(error) if request.conf.uplink_check == UplinkCheck::Fail => return Err(error),
        Err(error) => log.warn(error.code, format_args!("{error}; {}", error.details())),
    }
    Ok(())
}

/// A requested MAC that the node itself or another container on it uses is a mistake. One that is known behind another
/// port may be a VM's that migrates here, which is never refused.
async fn judge_mac(request: &Add, kernel: &Linux, seen: &BridgeSeen, log: &Log) -> Result<(), Error> {
    let (Some(mac), BridgeSeen::Present(bridge)) = (request.mac, seen) else { return Ok(()) };
    let vlan = plan::native_vlan(request.conf.vlans.as_ref(), bridge);
    let known = kernel.known(bridge, mac, vlan).await;
    let Some(Known { link, own }) = known.map_err(|refusal| unseen("the forwarding table", &refusal))? else {
        return Ok(());
    };
    if link.name == names::host_interface(&request.attachment) {
        return Ok(());
    }
    if own {
        return Err(faults::mac_of_the_node(mac, &link, &bridge.name));
    }
    if leads_to_a_container(&link) {
        return Err(faults::duplicate_mac(mac, &link, &bridge.name));
    }
    log.write(Level::Info, format_args!("MAC {mac} is known behind {}, as in a live migration", link.name));
    Ok(())
}

async fn take_back(mut transaction: Transaction<Linux>, error: Error, deadline: Instant) -> Error {
    match timeout_at(deadline, transaction.roll_back()).await {
        Ok(remains) => {
            remains.into_iter().fold(error, |error, line| error.evidence(format!("left behind: {line}")))
        }
        Err(_) => {
            error.evidence("left behind: the deadline expired while taking things back; DEL removes them")
        }
    }
}
