//! The client of a lease as a pure state machine (RFC 2131 section 4.4): frames and the time go in; messages to send, times
//! to wait until and what became of the lease come out.
//!
//! - [`lease`]: what a server granted, and where in its life that is.
//! - [`messages`]: what the client says, and on which way it goes.
//! - [`drive`](mod@drive): the loop that runs a client on a socket, the only part with I/O.
//! - `domains`: domain names in a server's options.
//! - this file: the states and their changes.

mod domains;
pub mod drive;
pub mod lease;
pub mod messages;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::MessageType;

use self::lease::{Lease, Stage, Unusable};
use self::messages::{Content, Identity, Outgoing, To};
use super::expected::{Expected, Fit};
use super::frame::{self, Unusable as Foreign};
use super::random::Random;
use super::reply::{self, ACK, Malformed, NAK, OFFER, Received, Refusal, Reply, Sender};

/// Pauses between DHCPDISCOVERs, in milliseconds, the last of them for ever: early ones for an attachment that is waited
/// for, as the probe's exchange has them, then RFC 2131's (section 4.1).
const DISCOVER_PAUSES: [u64; 9] = [100, 200, 600, 1100, 2000, 8000, 16_000, 32_000, 64_000];
/// Pauses behind DHCPREQUESTs for an offer. After the last one the server counts as gone.
const REQUEST_PAUSES: [u64; 5] = [100, 300, 600, 1000, 2000];
/// Pauses behind DHCPREQUESTs of a host that comes back. A server that does not know it is silent.
const REBOOT_PAUSES: [u64; 3] = [100, 300, 600];
/// Pauses before the next DHCPDISCOVER after the first, second, ... refusal in a row: no storm of a server that offers
/// what it then refuses.
const REFUSED_PAUSES: [u64; 6] = [0, 1000, 4000, 10_000, 30_000, 60_000];
/// Pause after a DHCPDECLINE (RFC 2131 section 3.1).
const DECLINED_PAUSE: Duration = Duration::from_secs(10);
/// Shortest pause between two requests of a renewal (RFC 2131 section 4.4.5). Of a stage that is shorter than eight of
/// them it is an eighth, so that one lost frame does not cost a short lease.
const RENEWAL_PAUSE_MIN: Duration = Duration::from_secs(60);

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this message, then ask again.
    Send(Outgoing),
    /// Use this lease in place of the one before, if there was one; then ask again.
    Use(Box<Lease>),
    /// Stop using the lease at once; then ask again.
    Lose(Loss),
    /// Hand over frames as they come; ask again after each, and at the latest at this time, if there is one.
    WaitUntil(Option<Duration>),
}

/// Why a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// Nobody renewed it.
    Expired,
    /// A server refused to go on.
    Refused(Refusal),
}

/// What came of asking so far, to tell where no lease came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Story {
    /// DHCPDISCOVERs.
    pub discovers: u32,
    /// DHCPREQUESTs.
    pub requests: u32,
    /// The last server that offered an address.
    pub offered: Option<(Sender, Ipv4Addr)>,
    /// The last offer that was not as expected, and what was wrong with it.
    pub unexpected: Option<(Sender, Ipv4Addr, Fit)>,
    /// The last DHCPNAK.
    pub refused: Option<Refusal>,
    /// The last DHCPACK that was no lease, and whose.
    pub unusable: Option<(Sender, Unusable)>,
    /// The last reply that no client takes.
    pub malformed: Option<Malformed>,
    /// Replies that named another client in option 61 (RFC 6842).
    pub other_client_ids: u32,
}

/// What the client is doing (RFC 2131 figure 5; BOUND, RENEWING and REBINDING are one, since the time tells which).
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// INIT and SELECTING.
    Selecting,
    /// REQUESTING: this address of this server.
    Requesting { address: Ipv4Addr, server: Ipv4Addr, since: Duration },
    /// INIT-REBOOT and REBOOTING, with the address that it had.
    Rebooting { address: Ipv4Addr, since: Duration },
    /// BOUND, RENEWING or REBINDING; with the time of the request that is out, if any.
    Holding { asked: Option<Duration> },
    /// After the release.
    Released,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    identity: Identity,
    expected: Expected,
    random: Random,
    state: State,
    lease: Option<Lease>,
    /// The address to ask for again.
    wish: Option<Ipv4Addr>,
    xid: u32,
    /// When the present exchange began, for the `secs` field.
    began: Duration,
    /// Messages of the present state.
    sent: usize,
    /// When something is to be done.
    due: Option<Duration>,
    /// What is to be told before anything else is done.
    told: Option<Action>,
    refusals: usize,
    story: Story,
}

impl Client {
    /// A client without a lease, which asks at once: for `wish`, if that is still to be had. Transaction numbers and jitter
    /// come from `seed`, which must not be guessable from outside nor used twice.
    pub fn new(identity: Identity, wish: Option<Ipv4Addr>, now: Duration, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            identity,
            expected: Expected::default(),
            xid: random.xid(),
            random,
            state: State::Selecting,
            lease: None,
            wish,
            began: now,
            sent: 0,
            due: Some(now),
            told: None,
            refusals: 0,
            story: Story::default(),
        }
    }

    /// A client that holds a lease, for instance one that another process took.
    pub fn holding(identity: Identity, lease: Lease, now: Duration, seed: u64) -> Self {
        let mut client = Self::new(identity, Some(lease.address), now, seed);
        client.lease = Some(lease);
        client.state = State::Holding { asked: None };
        client
    }

    /// The same client, which takes only these offers.
    #[must_use]
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// The lease in hand.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What came of asking so far.
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// The state's name in RFC 2131.
    pub fn state(&self, now: Duration) -> &'static str {
        match (&self.state, self.lease.as_ref().map(|lease| lease.times.stage(now))) {
            (State::Selecting, _) => "SELECTING",
            (State::Requesting { .. }, _) => "REQUESTING",
            (State::Rebooting { .. }, _) => "REBOOTING",
            (State::Holding { .. }, Some(Stage::Renewing(_))) => "RENEWING",
            (State::Holding { .. }, Some(Stage::Rebinding(_))) => "REBINDING",
            (State::Holding { .. }, _) => "BOUND",
            (State::Released, _) => "RELEASED",
        }
    }

    /// What to do at this time.
    pub fn next(&mut self, now: Duration) -> Action {
        loop {
            if let Some(told) = self.told.take() {
                return told;
            }
            // Before anything else: no moment may pass in which an expired lease is used, whatever the client waits for.
            if self.lease.as_ref().is_some_and(|lease| lease.times.stage(now) == Stage::Expired) {
                self.lose(Loss::Expired, Duration::ZERO, now);
                continue;
            }
            if self.due.is_none_or(|due| due > now) {
                let end = self.lease.as_ref().and_then(|lease| lease.times.end());
                return Action::WaitUntil(self.due.into_iter().chain(end).min());
            }
            let message = match self.state {
                State::Selecting => self.discover(now),
                State::Requesting { address, server, .. } => self.request(address, server, now),
                State::Rebooting { address, .. } => self.reboot_request(address, now),
                State::Holding { .. } => self.renew(now),
                State::Released => {
                    self.due = None;
                    None
                }
            };
            if let Some(message) = message {
                return Action::Send(message);
            }
        }
    }

    /// Reads a received frame. Any bytes will do.
    pub fn receive(&mut self, frame: &[u8], now: Duration) {
        let opened = match frame::parse(frame) {
            Ok(datagram) => reply::open(&datagram, self.xid, self.identity.chaddr),
            Err(Foreign::Malformed(bad)) => Err(Malformed::Frame(bad)),
            Err(Foreign::Unrelated | Foreign::Tagged(_)) => return,
        };
        let reply = match opened {
            Ok(Ok(reply)) => reply,
            Ok(Err(Received::Malformed(malformed))) | Err(malformed) => {
                self.story.malformed = Some(malformed);
                return;
            }
            Ok(Err(_)) => return,
        };
        // RFC 6842 section 3: an answer for another identifier is another client's; old servers leave it out.
        if reply.options.bytes(61).is_some_and(|echoed| echoed != self.identity.client_id) {
            self.story.other_client_ids = self.story.other_client_ids.saturating_add(1);
            return;
        }
        match (&self.state, reply.kind) {
            (State::Selecting, OFFER) => self.consider(&reply, now),
            (
                State::Requesting { since, .. }
                | State::Rebooting { since, .. }
                | State::Holding { asked: Some(since) },
                ACK,
            ) => self.accept(&reply, *since, now),
            (State::Requesting { .. } | State::Rebooting { .. } | State::Holding { asked: Some(_) }, NAK) => {
                self.refused(reply.refusal(), now);
            }
            _ => {}
        }
    }

    /// Asks whether the lease in hand still holds (INIT-REBOOT), for instance because the link was down: without an answer
    /// it stays as it was.
    pub fn confirm(&mut self, now: Duration) {
        let Some(lease) = &self.lease else { return };
        self.state = State::Rebooting { address: lease.address, since: now };
        self.begin(now);
    }

    /// Refuses the lease in hand because another host uses its address, and asks for another one after ten seconds.
    pub fn decline(&mut self, now: Duration) {
        let Some(lease) = self.lease.take() else { return };
        let content = Content {
            xid: self.random.xid(),
            wanted: Some(lease.address),
            server: Some(lease.server),
            ..Content::default()
        };
        self.wish = None;
        self.state = State::Selecting;
        self.begin(now + DECLINED_PAUSE);
        let message = self.identity.returning(MessageType::Decline, &content);
        self.told = message.ok().map(|message| Action::Send(Outgoing { message, to: To::Everybody }));
    }

    /// Ends it: the message that gives the lease in hand back, if there is one.
    pub fn release(&mut self) -> Option<Outgoing> {
        self.state = State::Released;
        self.due = None;
        self.told = None;
        let lease = self.lease.take()?;
        release(&self.identity, &lease, self.random.xid())
    }

    fn discover(&mut self, now: Duration) -> Option<Outgoing> {
        let pause = pause(&DISCOVER_PAUSES, self.sent).unwrap_or(DISCOVER_PAUSES[DISCOVER_PAUSES.len() - 1]);
        self.schedule(pause, now);
        self.story.discovers = self.story.discovers.saturating_add(1);
        let content = Content { wanted: self.wish, ..self.content(now) };
        self.ask(MessageType::Discover, &content, To::Everybody)
    }

    fn request(&mut self, address: Ipv4Addr, server: Ipv4Addr, now: Duration) -> Option<Outgoing> {
        let Some(pause) = pause(&REQUEST_PAUSES, self.sent) else {
            self.state = State::Selecting;
            self.begin(now);
            return None;
        };
        if self.sent == 0 {
            self.state = State::Requesting { address, server, since: now };
        }
        self.schedule(pause, now);
        self.story.requests = self.story.requests.saturating_add(1);
        let content = Content { wanted: Some(address), server: Some(server), ..self.content(now) };
        self.ask(MessageType::Request, &content, To::Everybody)
    }

    fn reboot_request(&mut self, address: Ipv4Addr, now: Duration) -> Option<Outgoing> {
        let Some(pause) = pause(&REBOOT_PAUSES, self.sent) else {
            self.state = State::Holding { asked: None };
            return None;
        };
        self.schedule(pause, now);
        let content = Content { wanted: Some(address), ..self.content(now) };
        self.ask(MessageType::Request, &content, To::Everybody)
    }

    /// What a lease in hand needs at this time; sets when it needs something again.
    fn renew(&mut self, now: Duration) -> Option<Outgoing> {
        let lease = self.lease.as_ref()?;
        let Lease { address: from, server, hop, .. } = *lease;
        let length = lease.times.rebinding.saturating_sub(lease.times.renewal);
        let (to, until) = match lease.times.stage(now) {
            Stage::Fresh(renewal) => {
                self.due = renewal.map(|renewal| renewal + self.spread(renewal.saturating_sub(now)));
                return None;
            }
            Stage::Renewing(until) => (To::Server { from, server, hop }, until),
            Stage::Rebinding(until) => (To::Everybody, until),
            Stage::Expired => return None,
        };
        let pause = (until - now) / 2;
        self.due = Some((now + pause.max(RENEWAL_PAUSE_MIN.min(length / 8))).min(until));
        self.xid = self.random.xid();
        if self.state == (State::Holding { asked: None }) {
            self.began = now;
        }
        self.state = State::Holding { asked: Some(now) };
        let content = Content { in_use: Some(from), ..self.content(now) };
        self.ask(MessageType::Request, &content, to)
    }

    /// A little after the moment of renewal, so that leases that were taken together are not renewed together.
    fn spread(&mut self, ahead: Duration) -> Duration {
        let most = (ahead / 50).min(RENEWAL_PAUSE_MIN).as_millis();
        Duration::from_millis(self.random.up_to(most as u64))
    }

    fn consider(&mut self, reply: &Reply, now: Duration) {
        let offer = match reply.offer() {
            Ok(offer) => offer,
            Err(malformed) => {
                self.story.malformed = Some(malformed);
                return;
            }
        };
        match self.expected.fit(&offer) {
            Fit::Good => {
                self.story.offered = Some((offer.sender, offer.address));
                let (address, server) = (offer.address, offer.sender.server);
                self.state = State::Requesting { address, server, since: now };
                self.sent = 0;
                self.due = Some(now);
            }
            unfit => self.story.unexpected = Some((offer.sender, offer.address, unfit)),
        }
    }

    fn accept(&mut self, reply: &Reply, since: Duration, now: Duration) {
        match Lease::read(reply, since) {
            Ok(lease) => {
                self.refusals = 0;
                self.wish = Some(lease.address);
                self.lease = Some(lease.clone());
                self.state = State::Holding { asked: None };
                self.due = Some(now);
                self.told = Some(Action::Use(Box::new(lease)));
            }
            Err(unusable) => self.story.unusable = Some((reply.sender, unusable)),
        }
    }

    fn refused(&mut self, refusal: Refusal, now: Duration) {
        self.story.refused = Some(refusal.clone());
        let last = REFUSED_PAUSES[REFUSED_PAUSES.len() - 1];
        let pause = Duration::from_millis(pause(&REFUSED_PAUSES, self.refusals).unwrap_or(last));
        self.refusals += 1;
        // A server of another subnet refuses the address that is wished for, however often it is wished.
        self.wish = None;
        self.lose(Loss::Refused(refusal), pause, now);
    }

    fn lose(&mut self, why: Loss, pause: Duration, now: Duration) {
        if self.lease.take().is_some() {
            self.told = Some(Action::Lose(why));
        }
        self.state = State::Selecting;
        self.begin(now + pause);
    }

    /// A new exchange from this time on.
    fn begin(&mut self, at: Duration) {
        self.xid = self.random.xid();
        self.began = at;
        self.sent = 0;
        self.due = Some(at);
    }

    /// The time of the repeat: a tenth of the pause to either side, so that clients that began together drift apart.
    fn schedule(&mut self, pause: u64, now: Duration) {
        self.sent += 1;
        let jitter = self.random.up_to(pause / 5);
        self.due = Some(now + Duration::from_millis(pause - pause / 10 + jitter));
    }

    fn content(&self, now: Duration) -> Content {
        Content { xid: self.xid, elapsed: now.saturating_sub(self.began), ..Content::default() }
    }

    fn ask(&self, kind: MessageType, content: &Content, to: To) -> Option<Outgoing> {
        let message = self.identity.asking(kind, content).ok()?;
        Some(Outgoing { message, to })
    }
}

/// The message that gives a lease back, for who holds no client but a record of it.
pub fn release(identity: &Identity, lease: &Lease, xid: u32) -> Option<Outgoing> {
    let content =
        Content { xid, in_use: Some(lease.address), server: Some(lease.server), ..Content::default() };
    let message = identity.returning(MessageType::Release, &content).ok()?;
    Some(Outgoing { message, to: To::Server { from: lease.address, server: lease.server, hop: lease.hop } })
}

fn pause(pauses: &[u64], index: usize) -> Option<u64> {
    pauses.get(index).copied()
}
