//! One lease, from its handover to its end: renewed in time, put on the link as it is granted, taken off when it is over.
//!
//! What a keeper rarely does is boxed: thousands of them wait, and each holds room for all that it does unboxed.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;

use ipnetwork::IpNetwork;
use tokio::sync::{Notify, oneshot};

use super::figures::{Figures, count};
use super::say::say;
use crate::dhcp::client::drive::{Event, event, now};
use crate::dhcp::client::lease::{Lease, Stage};
use crate::dhcp::client::{Client, Loss};
use crate::dhcp::socket::AsyncPacketSocket;
use crate::kernel::linux::Linux;
use crate::kernel::netlink::Refusal;
use crate::kernel::netns::Netns;
use crate::kernel::random::random_bytes;
use crate::lease::link::Target;
use crate::lease::place::Place;
use crate::lease::record::Record;
use crate::lease::{memory, release, socket};
use crate::net::MacAddress;

/// Why a lease is no longer kept.
pub(super) enum Ended {
    /// It was to be given back.
    Returned,
    /// The container's interface is gone or cannot be worked on.
    Gone(String),
}

/// What keeps one lease.
pub(super) struct Keeper {
    record: Record,
    mac: MacAddress,
    netns: Netns,
    place: Place,
    shared: Shared,
}

/// What a keeper has in common with the books.
pub(super) struct Shared {
    pub(super) figures: Rc<Figures>,
    /// The client's state, by its name.
    pub(super) state: Rc<Cell<&'static str>>,
    /// Something happened to the interface.
    pub(super) woken: Rc<Notify>,
}

impl Keeper {
    /// Begins nothing yet; `None` where the record names no MAC.
    pub(super) fn new(record: Record, netns: Netns, place: Place, shared: Shared) -> Option<Self> {
        let mac = record.identity()?.chaddr;
        Some(Self { record, mac, netns, place, shared })
    }

    /// Whose lease it is, for the log.
    pub(super) fn owner(&self) -> String {
        self.record.owner()
    }

    /// Keeps it until it is told to give it back. What cannot be done in the container is told and tried again with the next
    /// news; an address whose time cannot be prolonged ends by the kernel's clock.
    pub(super) async fn run(mut self, mut told: oneshot::Receiver<oneshot::Sender<bool>>) -> Ended {
        let (mut client, mut socket) = match Box::pin(self.begin()).await {
            Ok(begun) => begun,
            Err(refusal) => return Ended::Gone(refusal.to_string()),
        };
        let mut settled = false;
        loop {
            self.shared.state.set(client.state(now()));
            let news = tokio::select! {
                news = self.news(&mut client, &mut socket) => news,
                outcome = Box::pin(self.await_main_plugin()), if !settled => {
                    settled = true;
                    if let Err(refusal) = outcome {
                        self.say(format_args!("{refusal}"));
                    }
                    continue;
                }
                done = &mut told => {
                    let sent = client.lease().is_none() || Box::pin(release::send(&socket, &self.record)).await.is_ok();
                    if let Ok(done) = done {
                        let _ = done.send(sent);
                    }
                    return Ended::Returned;
                }
            };
            let worked = match news {
                Ok(Some(Event::Use(lease))) => Box::pin(self.put(*lease)).await,
                Ok(Some(Event::Lose(loss))) => Box::pin(self.take_off(&loss)).await,
                Ok(None) => return Ended::Gone("its interface is gone".to_string()),
                Err(refusal) => return Ended::Gone(refusal.to_string()),
            };
            if let Err(refusal) = worked {
                self.say(format_args!("{refusal}"));
            }
        }
    }

    /// What becomes of the lease next; `None` when the interface is gone.
    async fn news(
        &self,
        client: &mut Client,
        socket: &mut AsyncPacketSocket,
    ) -> Result<Option<Event>, Refusal> {
        loop {
            tokio::select! {
                event = event(client, socket) => match event {
                    Ok(event) => return Ok(Some(event)),
                    Err(error) => self.say(format_args!("{}: {error}", self.record.ifname)),
                },
                () = self.shared.woken.notified() => {
                    if Box::pin(self.is_complete(client)).await? {
                        continue;
                    }
                }
            }
            match Box::pin(self.come_back(client)).await? {
                Some(opened) => *socket = opened,
                None => return Ok(None),
            }
        }
    }

    /// Where another plugin sets the address, it does so some time after it was told of it, and for ever: gives it the end
    /// of the lease then.
    async fn await_main_plugin(&self) -> Result<(), Refusal> {
        let lease = &self.record.lease;
        let Some(network) = lease.network().filter(|_| self.record.foreign) else { return Ok(()) };
        let mut kernel = self.kernel()?;
        kernel.container_has_address(&self.record.ifname, IpNetwork::V4(network)).await?;
        self.target().put(&mut kernel, Some(lease), lease).await
    }

    /// A client that goes on where the record ends, or asks again where the lease is over or was taken off meanwhile.
    async fn begin(&self) -> Result<(Client, AsyncPacketSocket), Refusal> {
        let mut kernel = self.kernel()?;
        let ifname = &self.record.ifname;
        let socket = socket::open(&mut kernel, ifname, self.mac).await?;
        let link = kernel.container_link(ifname).await?.map_or(0, |link| link.index);
        let addresses = kernel.container_addresses(link).await?;
        let lease = &self.record.lease;
        let on_link = lease.network().is_some_and(|network| addresses.contains(&IpNetwork::V4(network)));
        let over = lease.times.stage(now()) == Stage::Expired;
        let seed = u64::from_ne_bytes(random_bytes()?);
        let identity = self.record.identity().ok_or(Refusal::plain(nix::errno::Errno::EINVAL))?;
        let client = if (on_link || self.record.foreign) && !over {
            Client::holding(identity, lease.clone(), now(), seed)
        } else {
            Client::new(identity, Some(lease.address), now(), seed)
        };
        Ok((client, socket))
    }

    /// Uses what the server granted. The record is written first: what is on the link can always be given back.
    async fn put(&mut self, lease: Lease) -> Result<(), Refusal> {
        let changed = lease.address != self.record.lease.address;
        count(&self.shared.figures.granted);
        let before = std::mem::replace(&mut self.record.lease, lease);
        if let Err(error) = self.record.write(&self.place) {
            self.say(format_args!("cannot write the lease's record: {error}"));
        }
        let mut kernel = self.kernel()?;
        let lease = &self.record.lease;
        self.target().put(&mut kernel, Some(&before), lease).await?;
        if changed {
            count(&self.shared.figures.changed);
            self.say(format_args!("{} in the place of {}", lease.address, before.address));
            if let Some(identity) = self.record.identity() {
                let _ = memory::remember(&self.place, &identity.client_id, lease.address);
            }
        }
        Ok(())
    }

    async fn take_off(&self, loss: &Loss) -> Result<(), Refusal> {
        let lease = &self.record.lease;
        match loss {
            Loss::Expired => {
                count(&self.shared.figures.expired);
                self.say(format_args!("nobody renewed {}; asking for another lease", lease.address));
            }
            Loss::Refused(refusal) => {
                count(&self.shared.figures.refused);
                let words = refusal.message.as_deref().unwrap_or("no reason given");
                let server = refusal.sender.server;
                self.say(format_args!(
                    "{server} refuses {} ({words}); asking for another lease",
                    lease.address
                ));
            }
        }
        let mut kernel = self.kernel()?;
        self.target().take_off(&mut kernel, lease).await
    }

    /// Whether the interface is up and has the lease's routes, which the kernel forgets when it goes down.
    async fn is_complete(&self, client: &Client) -> Result<bool, Refusal> {
        let mut kernel = self.kernel()?;
        let Some(link) = kernel.container_link(&self.record.ifname).await? else { return Ok(false) };
        let Some(lease) = client.lease() else { return Ok(link.up) };
        for route in self.target().routes(lease) {
            if !kernel.container_has_route(link.index, &route).await? {
                return Ok(false);
            }
        }
        Ok(link.up)
    }

    /// After the link was down: the kernel has forgotten the routes, and the network behind it may be another one. `None`
    /// where the interface is gone.
    async fn come_back(&self, client: &mut Client) -> Result<Option<AsyncPacketSocket>, Refusal> {
        let mut kernel = self.kernel()?;
        if !kernel.container_is_up(&self.record.ifname).await? {
            return Ok(None);
        }
        let opened = socket::open(&mut kernel, &self.record.ifname, self.mac).await?;
        if let Some(lease) = client.lease().filter(|lease| lease.times.stage(now()) != Stage::Expired) {
            self.target().put(&mut kernel, Some(lease), lease).await?;
            client.confirm(now());
        }
        Ok(Some(opened))
    }

    fn kernel(&self) -> Result<Linux, Refusal> {
        Linux::open(Some(self.netns.try_clone()?))
    }

    fn target(&self) -> Target<'_> {
        Target { ifname: &self.record.ifname, mac: self.mac, usage: self.record.usage }
    }

    fn say(&self, line: impl Display) {
        say(format_args!("{}: {line}", self.record.owner()));
    }
}
