//! The DHCP lease of an ADD: who takes it, how it is asked for, handed over, and given back when the ADD fails.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::probe::question;
use crate::cni::applicant::Applicant;
use crate::cni::config::Ipam;
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
use crate::lease::record::Record;
use crate::lease::terms::Use;
use crate::lease::{faults, identity, memory, release, socket};
use crate::net::MacAddress;
use crate::plan::names;
use crate::probe::probe;
use crate::probe::report::Report;

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
    applicant: Applicant,
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
        if request.conf.is_gateway {
            return Err(faults::own_gateway());
        }
        Self::begin(Applicant::of(request, terms), place, kept).map(Some)
    }

    /// The lease of another plugin's interface.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) async fn for_other(applicant: Applicant) -> Result<Self, Error> {
        let place = Place::of_this_process();
        let kept = handover::is_kept(&place).await;
        Self::begin(applicant, place, kept)
    }

    fn begin(applicant: Applicant, place: Place, kept: bool) -> Result<Self, Error> {
        let machine =
            |pod: &&String| pod.rsplit('/').next().is_some_and(|name| name.starts_with(VIRTUAL_MACHINE));
        if let Some(pod) = applicant.pod.as_ref().filter(machine) {
            return Err(faults::virtual_machine(pod));
        }
        if applicant.terms.require_agent && !kept {
            return Err(faults::nobody_renews(NO_AGENT));
        }
        Ok(Self { applicant, place, held: RefCell::default() })
    }

    /// Asks until this time, from the half of it on beside a diagnosis. The record is written when this returns, the address
    /// not yet used. `broadcast` as in [`crate::dhcp::client::messages::Identity`].
    ///
    /// # Errors
    /// The diagnosis: codes 100 to 116 and 130; 132 for the record.
    #[expect(clippy::too_many_arguments, reason = "who asks, where, for what, for how long, and who is told")]
    pub(super) async fn take(
        &self,
        mac: MacAddress,
        broadcast: bool,
        kernel: &mut Linux,
        expected: Expected,
        diagnosis: impl Future<Output = Result<Report, Error>>,
        until: Instant,
        log: &Log,
    ) -> Result<(Use, Lease), Error> {
        let ifname = self.applicant.attachment.ifname.as_str();
        let unreadable = |refusal| unseen(ifname, &refusal);
        let socket = socket::open(kernel, ifname, mac).await.map_err(unreadable)?;
        let identity = identity::of(&self.applicant, mac, broadcast);
        let wish = memory::recall(&self.place, &identity.client_id);
        let seed = random_bytes().map_err(|refusal| unseen("random numbers", &refusal))?;
        let client = Client::new(identity, wish, now(), u64::from_ne_bytes(seed));
        let mut client = client.expecting(expected);
        let lease = match ask(&mut client, &socket, diagnosis, until - LAST_WORDS).await {
            Ok(answer) => answer?,
            Err(error) => return Err(unreadable(error.into())),
        };

        let record = Record::new(&self.applicant, client.identity(), lease.clone());
        let (written, usage) = (record.write(&self.place), record.usage);
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
    pub(super) async fn hand_over(&self, log: &Log) -> Result<(), Error> {
        let host = names::host_interface(&self.applicant.attachment);
        let netns = Netns::open(&self.applicant.netns)?;
        match handover::send(&self.place, &Message::Keep { host }, Some(&netns)).await {
            Ok(()) => Ok(()),
            Err(error) if self.applicant.terms.require_agent => {
                Err(faults::nobody_renews(&error.to_string()))
            }
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

/// The servers and subnets that the config expects of any DHCP offer.
pub(super) fn expected(request: &Add) -> Expected {
    let wanted = request.conf.dhcp_probe.as_ref();
    wanted.map_or_else(Expected::default, |wanted| Expected {
        servers: wanted.servers.clone(),
        subnets: wanted.subnets.clone(),
    })
}

/// The probe that names the cause where no lease comes until this time.
///
/// # Errors
/// Its verdict.
pub(super) async fn diagnosis(request: &Add, mac: MacAddress, until: Instant) -> Result<Report, Error> {
    let wanted = request.conf.dhcp_probe.clone().unwrap_or_default();
    probe(&question(&request.conf, &wanted, Some(mac), until - LAST_WORDS - VERDICT)).await
}

/// Asks for a lease, from the half of the time on beside a diagnosis; as the outer error, what the socket says.
async fn ask(
    client: &mut Client,
    socket: &AsyncPacketSocket,
    diagnosis: impl Future<Output = Result<Report, Error>>,
    until: Instant,
) -> io::Result<Result<Lease, Error>> {
    let begun = Instant::now();
    let half = begun + until.saturating_duration_since(begun) / 2;
    let diagnosing = async {
        sleep_until(half).await;
        diagnosis.await
    };
    tokio::pin!(diagnosing);
    let mut diagnosis = None;
    loop {
        tokio::select! {
            outcome = event(client, socket) => if let Event::Use(lease) = outcome? {
                return Ok(Ok(*lease));
            },
            found = &mut diagnosing, if diagnosis.is_none() => diagnosis = Some(found),
            () = sleep_until(until) => break,
        }
    }
    let story = client.story();
    Ok(Err(faults::ungranted(story).unwrap_or_else(|| match diagnosis {
        Some(Err(verdict)) => faults::asked(verdict, story),
        Some(Ok(report)) => match report.offers.first() {
            Some(offer) => faults::answered_others_only(story, offer),
            None => faults::unanswered(story, begun.elapsed()),
        },
        None => faults::unanswered(story, begun.elapsed()),
    })))
}
