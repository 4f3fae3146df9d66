//! Addresses of an attachment: asked of the IPAM plugin, put on the container side, and served by the bridge.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use super::faults;
use super::lease::{Leasing, diagnosis, expected};
use super::perform::perform;
use super::transaction::Transaction;
use crate::cni::config::Dns;
use crate::cni::request::Add;
use crate::cni::result::{CniResult, Interface};
use crate::dhcp::client::drive::now;
use crate::error::Error;
use crate::error::log::{Level, Log};
use crate::ipam::{Delegate, Delegation};
use crate::kernel::Kernel;
use crate::kernel::faults::{no_lock, unseen};
use crate::kernel::linux::Linux;
use crate::kernel::lock::Lock;
use crate::kernel::random::fresh_macs;
use crate::plan::addresses::Addresses;
use crate::plan::spec::{Place, SysctlSpec, VlanGatewaySpec, VlanSpec};
use crate::plan::step::Step;
use crate::plan::undo::Undo;
use crate::plan::{self, Plan, gateway, names};

/// Longest that a failed ADD waits for the IPAM plugin to take its reservation back: a busy node needs seconds to start one.
const RELEASE_PATIENCE: Duration = Duration::from_secs(5);

/// Who gives the addresses of one attachment, and how far that is.
pub(super) struct Reservation {
    giver: Giver,
    state: Cell<State>,
}

enum Giver {
    Plugin(Delegate),
    Lease(Box<Leasing>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asked,
    Answered,
}

impl Reservation {
    /// Nothing is reserved yet; `None` where the config asks for no addresses.
    ///
    /// # Errors
    /// Code 121 where the IPAM plugin is missing; those of [`Leasing::of`].
    pub(super) async fn find(request: &Add, delegation: &Delegation) -> Result<Option<Self>, Error> {
        let giver = match Leasing::of(request, delegation).await? {
            Some(leasing) => Some(Giver::Lease(Box::new(leasing))),
            None => delegation.find(request.conf.ipam.as_ref())?.map(Giver::Plugin),
        };
        Ok(giver.map(|giver| Self { giver, state: Cell::new(State::Idle) }))
    }

    async fn ask(
        &self,
        request: &Add,
        plan: &Plan,
        kernel: &mut Linux,
        until: Instant,
        log: &Log,
    ) -> Result<Addresses, Error> {
        self.state.set(State::Asked);
        let addresses = match &self.giver {
            Giver::Plugin(delegate) => delegate.add(request.version).await.map(|answer| (answer, None)),
            Giver::Lease(leasing) => {
                let diagnosis = diagnosis(request, plan.mac, until);
                let expected = expected(request);
                let taken = leasing.take(plan.mac, false, kernel, expected, diagnosis, until, log).await;
                taken.map(|(usage, lease)| (usage.answer(&lease), lease.times.rest(now())))
            }
        };
        self.state.set(State::Answered);
        let (answer, lasts) = addresses?;
        Ok(Addresses { lasts, ..Addresses::new(&request.conf, &answer) })
    }

    /// The plugin that is being asked and has not answered.
    pub(super) fn awaited(&self) -> Option<&str> {
        match &self.giver {
            Giver::Plugin(delegate) => (self.state.get() == State::Asked).then(|| delegate.name()),
            Giver::Lease(_) => None,
        }
    }

    /// Leaves what was given to who keeps it.
    ///
    /// # Errors
    /// Those of [`Leasing::hand_over`].
    async fn settle(&self, log: &Log) -> Result<(), Error> {
        match &self.giver {
            Giver::Plugin(_) => Ok(()),
            Giver::Lease(leasing) => leasing.hand_over(log).await,
        }
    }

    /// Gives back what may have been reserved, within `time`: what is on the node has to be taken back, too.
    ///
    /// # Errors
    /// Code 121 or 132 where the reservation may remain.
    pub(super) async fn release(&self, time: Duration) -> Result<(), Error> {
        match (self.state.get(), &self.giver) {
            (State::Idle, _) => Ok(()),
            (_, Giver::Plugin(delegate)) => delegate.forward("DEL", time.min(RELEASE_PATIENCE)).await,
            (_, Giver::Lease(leasing)) => leasing.give_back().await,
        }
    }
}

/// Prepares the container side for addresses, before it goes up. Where the kernel's parameters are read-only, addresses
/// still work: they are announced or settled in the kernel's own way.
pub(super) async fn prepare(request: &Add, transaction: &mut Transaction<Linux>, log: &Log) {
    let ifname = request.attachment.ifname.as_str();
    // Hairpin mode and a MAC that migrates echo a host's own solicitations, which then look like duplicates.
    let detect = if request.conf.enable_dad { "1" } else { "0" };
    for (family, key, value) in
        [("ipv6", "accept_dad", detect), ("ipv4", "arp_notify", "1"), ("ipv6", "ndisc_notify", "1")]
    {
        prefer(transaction, &format!("net/{family}/conf/{ifname}/{key}"), value, log).await;
    }
}

/// Asks for addresses until this time and applies them; completes the result, but for the first three of its `interfaces`.
///
/// # Errors
/// Code 121 for the IPAM plugin, 7 for an address in the way, 124 for what the kernel refuses.
pub(super) async fn configure(
    request: &Add,
    plan: &Plan,
    reservation: &Reservation,
    transaction: &mut Transaction<Linux>,
    result: &mut CniResult,
    until: Instant,
    log: &Log,
) -> Result<(), Error> {
    let addresses = reservation.ask(request, plan, transaction.kernel(), until, log).await?;
    if let Some(gateway) = addresses.own_gateway() {
        return Err(plan::faults::gateway_is_the_containers(request.conf.bridge.as_str(), gateway));
    }
    let ifname = request.attachment.ifname.as_str();
    if let Some(mtu) = plan.mtu.filter(|mtu| *mtu < plan::faults::IPV6_MTU_MIN && addresses.has_family(false))
    {
        return Err(plan::faults::mtu_too_small_for_ipv6(ifname, mtu));
    }
    if addresses.has_family(false) {
        for interface in ["lo", ifname] {
            let key = format!("net/ipv6/conf/{interface}/disable_ipv6");
            set(transaction, &key, "0").await?;
        }
        let key = format!("net/ipv6/conf/{ifname}/keep_addr_on_down");
        prefer(transaction, &key, "1", log).await;
    }
    for step in &addresses.steps(ifname) {
        perform(transaction, step).await?;
    }
    perform(transaction, &Step::Announce { ifname: ifname.to_string(), mac: plan.mac }).await?;
    if request.conf.ip_masq {
        let step = Step::Masquerade { port: plan.host.clone(), addresses: addresses.addresses.clone() };
        perform(transaction, &step).await?;
    }
    if !addresses.gateways.is_empty() {
        result.interfaces.extend(serve(request, &addresses, transaction).await?);
    }
    reservation.settle(log).await?;
    if addresses.dns != Dns::default() && request.conf.dns.is_none() {
        result.dns = addresses.dns;
    }
    (result.ips, result.routes) = (addresses.ips, addresses.routes);
    Ok(())
}

/// Makes the bridge the subnets' gateway; the interface that carries the addresses, where that is not the bridge. From
/// here on no other ADD may count on what this one might have to take back.
async fn serve(
    request: &Add,
    addresses: &Addresses,
    transaction: &mut Transaction<Linux>,
) -> Result<Option<Interface>, Error> {
    let bridge = request.conf.bridge.as_str();
    let lock =
        Lock::acquire(&format!("gateway/{bridge}")).await.map_err(|error| no_lock("gateway", &error))?;
    transaction.hold(lock);
    let of_vlan = match &request.conf.vlans {
        Some(vlans) => Some(in_vlan(bridge, vlans.native, transaction).await?),
        None => None,
    };
    let carrier = of_vlan.as_ref().map_or(bridge, |interface| interface.name.as_str()).to_string();
    let kernel = transaction.kernel();
    let link = kernel.link(&carrier).await.map_err(|refusal| unseen(&carrier, &refusal))?;
    let link = link.ok_or_else(|| faults::vanished(&carrier))?;
    let present = kernel.addresses(link.index).await.map_err(|refusal| unseen(&carrier, &refusal))?;
    let steps = gateway::steps(&carrier, &addresses.gateways, &present, request.conf.force_address)?;
    for step in &steps {
        perform(transaction, step).await?;
    }
    if let (false, None, Some(mac)) = (steps.is_empty(), &of_vlan, link.mac) {
        perform(transaction, &Step::PinMac { bridge: carrier, mac }).await?;
    }
    for (v4, key) in [(true, "net/ipv4/ip_forward"), (false, "net/ipv6/conf/all/forwarding")] {
        if addresses.gateways.iter().any(|gateway| gateway.is_ipv4() == v4) {
            let step = setting(transaction, Place::Node, key, "1")?;
            transaction.defer(step);
        }
    }
    Ok(of_vlan)
}

/// The interface `BRIDGE.VLAN`, created where it is missing.
async fn in_vlan(bridge: &str, vlan: u16, transaction: &mut Transaction<Linux>) -> Result<Interface, Error> {
    let name = format!("{bridge}.{vlan}");
    if crate::net::InterfaceName::parse(&name).is_none() {
        return Err(plan::faults::vlan_gateway_name(&name));
    }
    let kernel = transaction.kernel();
    let unreadable = |refusal| unseen(&name, &refusal);
    let port = names::gateway_port(&name);
    // The port goes up last: a port that is down was left by a killed ADD, and no frame passes it.
    if kernel.link(&port).await.map_err(unreadable)?.is_some_and(|link| !link.up) {
        kernel.revert(&Undo::DeleteVeth { name: port.clone(), mac: None }).await.map_err(unreadable)?;
    }
    if kernel.link(&name).await.map_err(unreadable)?.is_none() {
        let seen = kernel.link(bridge).await.map_err(unreadable)?;
        let macs = fresh_macs().map_err(unreadable)?;
        let default = seen.as_ref().and_then(|link| link.bridge.as_ref()).map(|bridge| bridge.default_pvid);
        let spec = VlanGatewaySpec {
            name: name.clone(),
            mac: macs.container,
            port_mac: macs.host,
            bridge: bridge.to_string(),
            mtu: seen.map_or(1500, |link| link.mtu),
            vlans: VlanSpec {
                port,
                native: vlan,
                tagged: Vec::new(),
                remove: default.filter(|default| *default != 0 && *default != vlan),
            },
        };
        perform(transaction, &Step::AddVlanGateway(spec)).await?;
    }
    let link = transaction.kernel().link(&name).await.map_err(unreadable)?;
    let mac = link.and_then(|link| link.mac).map(|mac| mac.to_string());
    Ok(Interface { name, mac, ..Interface::default() })
}

/// Sets a kernel parameter of the container's that addresses can do without.
async fn prefer(transaction: &mut Transaction<Linux>, key: &str, value: &str, log: &Log) {
    if let Err(error) = set(transaction, key, value).await {
        log.write(Level::Info, format_args!("{}", error.msg()));
    }
}

/// Sets a kernel parameter of the container's.
async fn set(transaction: &mut Transaction<Linux>, key: &str, value: &str) -> Result<(), Error> {
    match setting(transaction, Place::Container, key, value)? {
        Some(step) => perform(transaction, &step).await,
        None => Ok(()),
    }
}

/// The step for a kernel parameter that exists and has another value. What belongs to an interface of the attachment's goes
/// away with it; what the container's `lo` had comes back when the ADD fails.
fn setting(
    transaction: &mut Transaction<Linux>,
    place: Place,
    key: &str,
    value: &str,
) -> Result<Option<Step>, Error> {
    let found = transaction.kernel().sysctl(place, key).map_err(|refusal| unseen(key, &refusal))?;
    let Some(before) = found.filter(|before| before != value) else { return Ok(None) };
    let lasting = place == Place::Container && key.contains("/lo/");
    let spec = SysctlSpec {
        place,
        key: key.to_string(),
        value: value.to_string(),
        before: Some(before).filter(|_| lasting),
    };
    Ok(Some(Step::SetSysctl(spec)))
}
