//! The DHCP lease of an ADD: who takes it, how it is asked for, handed over, and given back when the ADD fails.

use std::cell::RefCell;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::probe::question;
use crate::cni::config::Ipam;
use crate::cni::config::lease::LeaseTerms;
use crate::cni::request::Add;
use crate::dhcp::client::Client;
use crate::dhcp::client::drive::{Event, event, now};
use crate::dhcp::client::lease::Lease;
use crate::dhcp::expected::Expected;
use crate::dhcp::socket::AsyncPacketSocket;
use crate::error::Error;
use crate::error::log::{Level, Log};
use crate::ipam::Delegation;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::kernel::netns::Netns;
use crate::kernel::random::random_bytes;
use crate::lease::handover::{self, Message};
use crate::lease::place::Place;
use crate::lease::record::{Owner, Record};
use crate::lease::terms::Use;
use crate::lease::{faults, identity, memory, release, socket};
use crate::net::MacAddress;
use crate::plan::names;
use crate::probe::probe;

/// What is kept of the time for the words when no lease comes, and what the probe's verdict takes beyond its own time.
const LAST_WORDS: Duration = Duration::from_millis(200);
const VERDICT: Duration = Duration::from_millis(500);
/// Longest that the incumbent's daemon is waited for.
const DAEMON_PATIENCE: Duration = Duration::from_millis(500);
/// Why nobody renews.
const NO_AGENT: &str = "bridge-dhcp's agent does not run";
/// What the pods of KubeVirt's virtual machines are named.
const VIRTUAL_MACHINE: &str = "virt-launcher-";

/// Whether the incumbent's daemon gives leases on this node: it runs, and its plugin is there. An explicit `delegate` names
/// another plugin whatever runs.
pub(super) async fn is_delegated(ipam: &Ipam, delegation: &Delegation) -> bool {
    let Some(terms) = ipam.lease.as_ref().filter(|_| ipam.is_dhcp()) else { return ipam.lease.is_none() };
    if let Some(delegate) = terms.delegate {
        return delegate;
    }
    let daemon = timeout(DAEMON_PATIENCE, UnixStream::connect(&terms.daemon_socket)).await;
    matches!(daemon, Ok(Ok(_))) && delegation.find(Some(ipam)).is_ok()
}

/// Whether an ADD would take a lease.
///
/// # Errors
/// Code 131 where the config demands an agent and there is none.
pub(super) async fn available(ipam: &Ipam) -> Result<(), Error> {
    let demanded = ipam.lease.as_ref().is_some_and(|terms| terms.require_agent);
    if demanded && !handover::is_kept(&Place::of_this_process()).await {
        return Err(faults::nobody_renews(NO_AGENT));
    }
    Ok(())
}

/// The lease of one ADD.
pub(super) struct Leasing {
    terms: LeaseTerms,
    place: Place,
    held: RefCell<Option<(AsyncPacketSocket, Record)>>,
}

impl Leasing {
    /// Takes it upon itself, unless another plugin gives leases on this node: `None` then.
    ///
    /// # Errors
    /// Code 7 where nobody should take a lease here; code 131 where the config demands an agent and there is none.
    pub(super) async fn of(request: &Add, delegation: &Delegation) -> Result<Option<Self>, Error> {
        let Some((ipam, terms)) =
            request.conf.ipam.as_ref().and_then(|ipam| Some((ipam, ipam.lease.clone()?)))
        else {
            return Ok(None);
        };
        let place = Place::of_this_process();
        let kept = handover::is_kept(&place).await;
        // Beside our agent, the incumbent's daemon is a remainder of before.
        let open = terms.delegate.is_none() && ipam.is_dhcp();
        if !(open && kept) && is_delegated(ipam, delegation).await {
            return Ok(None);
        }
        refuse(request)?;
        if terms.require_agent && !kept {
            return Err(faults::nobody_renews(NO_AGENT));
        }
        Ok(Some(Self { terms, place, held: RefCell::default() }))
    }

    /// Asks until this time. The record is written when this returns, the address not yet used.
    ///
    /// # Errors
    /// The diagnosis: codes 100 to 116 and 130; 132 for the record.
    pub(super) async fn take(
        &self,
        request: &Add,
        mac: MacAddress,
        kernel: &mut Linux,
        until: Instant,
        log: &Log,
    ) -> Result<(Use, Lease), Error> {
        let ifname = request.attachment.ifname.as_str();
        let socket = socket::open(kernel, ifname, mac).await.map_err(|refusal| unseen(ifname, &refusal))?;
        let identity = identity::of(request, &self.terms, mac, false);
        let wish = memory::recall(&self.place, &identity.client_id);
        let seed = random_bytes().map_err(|refusal| unseen("random numbers", &refusal))?;
        let client = Client::new(identity, wish, now(), u64::from_ne_bytes(seed));
        let mut client = client.expecting(expected(request));
        let lease = ask(request, mac, &mut client, &socket, until - LAST_WORDS).await?;

        let usage = Use::from(&self.terms);
        let record = Record::new(owner(request), client.identity(), usage, lease.clone());
        let written = record.write(&self.place);
        if let Err(error) = memory::remember(&self.place, &client.identity().client_id, lease.address) {
            log.write(Level::Info, format_args!("cannot remember {}: {error}", lease.address));
        }
        *self.held.borrow_mut() = Some((socket, record));
        written.map_err(|error| faults::no_record(&error))?;
        log.write(Level::Info, format_args!("leased {} from {}", lease.address, lease.server));
        Ok((usage, lease))
    }

    /// Hands the lease over to the agent.
    ///
    /// # Errors
    /// Code 131 where that fails and the config demands an agent.
    pub(super) async fn hand_over(&self, request: &Add, log: &Log) -> Result<(), Error> {
        let host = names::host_interface(&request.attachment);
        let netns = Netns::open(&request.netns)?;
        match handover::send(&self.place, &Message::Keep { host }, Some(&netns)).await {
            Ok(()) => Ok(()),
            Err(error) if self.terms.require_agent => Err(faults::nobody_renews(&error.to_string())),
            Err(error) => {
                log.write(
                    Level::Warn,
                    format_args!(
                        "nobody renews the DHCP lease, its address ends with it: no agent ({error})"
                    ),
                );
                Ok(())
            }
        }
    }

    /// Gives back what was taken, before the link goes.
    ///
    /// # Errors
    /// Code 132 where the record remains.
    pub(super) async fn give_back(&self) -> Result<(), Error> {
        let Some((socket, record)) = self.held.take() else { return Ok(()) };
        // The agent may have it already, and would renew what is given back.
        let message = Message::Release { host: record.host.clone() };
        if handover::send(&self.place, &message, None).await.is_err() {
            // Without it, the lease runs out at the server by itself.
            let _ = release::send(&socket, &record).await;
        }
        Record::remove(&self.place, &record.host).map_err(|error| faults::no_record(&error))
    }
}

fn refuse(request: &Add) -> Result<(), Error> {
    if let Some(pod) = &request.pod
        && pod.rsplit('/').next().is_some_and(|name| name.starts_with(VIRTUAL_MACHINE))
    {
        return Err(faults::virtual_machine(pod));
    }
    if request.conf.is_gateway {
        return Err(faults::own_gateway());
    }
    Ok(())
}

/// The servers and subnets that the config expects of any DHCP offer.
fn expected(request: &Add) -> Expected {
    let wanted = request.conf.dhcp_probe.as_ref();
    wanted.map_or_else(Expected::default, |wanted| Expected {
        servers: wanted.servers.clone(),
        subnets: wanted.subnets.clone(),
    })
}

fn owner(request: &Add) -> Owner {
    Owner {
        host: names::host_interface(&request.attachment),
        netns: request.netns.clone(),
        ifname: request.attachment.ifname.to_string(),
        network: request.network.to_string(),
        container: request.attachment.container.to_string(),
        pod: request.pod.clone(),
    }
}

/// Asks for a lease, from the half of the time on beside a probe: where no lease comes, that names the cause.
async fn ask(
    request: &Add,
    mac: MacAddress,
    client: &mut Client,
    socket: &AsyncPacketSocket,
    until: Instant,
) -> Result<Lease, Error> {
    let begun = Instant::now();
    let half = begun + until.saturating_duration_since(begun) / 2;
    let diagnosing = async {
        sleep_until(half).await;
        let wanted = request.conf.dhcp_probe.clone().unwrap_or_default();
        probe(&question(&request.conf, &wanted, Some(mac), until - VERDICT)).await
    };
    tokio::pin!(diagnosing);
    let mut diagnosis = None;
    loop {
        tokio::select! {
            outcome = event(client, socket) => match outcome {
                Ok(Event::Use(lease)) => return Ok(*lease),
                Ok(Event::Lose(_)) => {}
                Err(error) => return Err(unseen(request.attachment.ifname.as_str(), &error.into())),
            },
            found = &mut diagnosing, if diagnosis.is_none() => diagnosis = Some(found),
            () = sleep_until(until) => break,
        }
    }
    let story = client.story();
    Err(faults::ungranted(story).unwrap_or_else(|| match diagnosis {
        Some(Err(verdict)) => faults::asked(verdict, story),
        Some(Ok(report)) => match report.offers.first() {
            Some(offer) => faults::answered_others_only(story, offer),
            None => faults::unanswered(story, begun.elapsed()),
        },
        None => faults::unanswered(story, begun.elapsed()),
    }))
}
