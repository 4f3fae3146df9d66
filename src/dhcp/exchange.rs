//! The exchange as a pure state machine: frames and the time since its start go in, frames to send and times to wait
//! until come out. It does no I/O and reads no clock.

use std::time::Duration;

use super::expected::{Expected, Fit};
use super::random::Random;
use super::reply::{self, Malformed, Offer, Received, Refusal};
use super::{discover, frame};
use crate::net::MacAddress;

/// When a DHCPDISCOVER is repeated, in milliseconds since the first. RFC 2131 section 4.1 begins at four seconds; an
/// ADD has six for everything, and a server that needs a second for its ping must hear an early one.
const REPEATS: [u32; 5] = [100, 300, 900, 2000, 4000];
/// After those, for long timeouts.
const INTERVAL: u32 = 4000;
/// A DISCOVER this close to the end could hardly be answered any more.
const LAST_CHANCE: Duration = Duration::from_millis(100);
/// Offers kept; a segment with more servers than that is told by [`Counters::more_offers`].
const MAX_OFFERS: usize = 16;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Hardware address in the message and in the client identifier: whom the server answers.
    pub chaddr: MacAddress,
    /// Ethernet source of the frames: what bridges and switches learn.
    pub source: MacAddress,
}

/// How long an exchange lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Without a good offer, it ends after this time.
    pub timeout: Duration,
    /// After the first good offer, further ones are awaited for this time, inside the timeout. Zero ends it with the
    /// offers in hand.
    pub grace: Duration,
}

/// What the caller does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this frame, then ask again.
    Send(Vec<u8>),
    /// Hand over frames as they come; ask again after each, and at the latest at this time since the start.
    WaitUntil(Duration),
    /// It is over.
    Done,
}

/// An offer and when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was offered.
    pub offer: Offer,
    /// Time since the start of the exchange.
    pub after: Duration,
}

/// What was sent and seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// DHCPDISCOVERs handed out.
    pub sent: u32,
    /// When the last of them was, since the start.
    pub last_sent: Option<Duration>,
    /// Frames handed in. Behind the socket's filter these are frames to DHCP clients only.
    pub frames: u32,
    /// DHCP replies of any kind, well-formed or not, for anyone.
    pub replies: u32,
    /// Replies to the exchanges that run beside this one.
    pub sibling_exchanges: u32,
    /// Replies to other transactions.
    pub other_exchanges: u32,
    /// Replies with our transaction number for another hardware address.
    pub other_clients: u32,
    /// Frames to DHCP clients with a VLAN's tag.
    pub tagged: u32,
    /// The VLAN of the last of those.
    pub last_tagged: Option<u16>,
    /// Malformed replies.
    pub malformed: u32,
    /// What was wrong with the last of those.
    pub last_malformed: Option<Malformed>,
    /// DHCPNAKs for us.
    pub refusals: u32,
    /// The last of those.
    pub last_refusal: Option<Refusal>,
    /// Offers beyond the sixteen that are kept.
    pub more_offers: u32,
}

/// One exchange. Repeats carry the same transaction number, so that a late answer to the first is an answer.
#[derive(Debug)]
pub struct Exchange {
    identity: Identity,
    expected: Expected,
    xid: u32,
    siblings: Vec<u32>,
    random: Random,
    /// When the first question goes out.
    begin: Duration,
    /// When it ends; brought forward by the first good offer.
    end: Duration,
    satisfied: bool,
    timing: Timing,
    again_at: Option<Duration>,
    next_send: Duration,
    answers: Vec<Answer>,
    counters: Counters,
}

impl Exchange {
    /// Begins an exchange whose transaction number and jitter come from `seed`, which must not be guessable from
    /// outside nor used twice.
    pub fn new(identity: Identity, timing: Timing, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let xid = random.xid();
        Self {
            identity,
            expected: Expected::default(),
            xid,
            siblings: Vec::new(),
            random,
            begin: Duration::ZERO,
            end: timing.timeout,
            satisfied: false,
            timing,
            again_at: None,
            next_send: Duration::ZERO,
            answers: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// The same exchange for which only these offers are good. It goes on asking when others come.
    #[must_use]
    pub fn expecting(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// The same exchange with its first question at this time since the start.
    #[must_use]
    pub fn beginning_at(self, begin: Duration) -> Self {
        Self { begin, next_send: begin, ..self }
    }

    /// The same exchange, which asks at this time since the start, too, if it is not answered by then.
    #[must_use]
    pub fn again_at(self, at: Duration) -> Self {
        Self { again_at: Some(at), ..self }
    }

    /// The same exchange, told the transaction numbers of those that run beside it.
    #[must_use]
    pub fn beside(self, siblings: Vec<u32>) -> Self {
        Self { siblings, ..self }
    }

    /// What to do at this time since the start.
    pub fn next(&mut self, now: Duration) -> Action {
        if now >= self.end {
            return Action::Done;
        }
        if now < self.begin {
            return Action::WaitUntil(self.begin.min(self.end));
        }
        // A second server answers the DISCOVER that the first one answered; no need to repeat it.
        let asking = !self.satisfied && self.next_send + LAST_CHANCE <= self.end;
        // The first goes out however short the timeout is.
        if self.counters.sent > 0 && (!asking || now < self.next_send) {
            return Action::WaitUntil(if asking { self.next_send } else { self.end });
        }
        match discover::message(self.identity.chaddr, self.xid, now - self.begin) {
            Ok(message) => {
                self.schedule(now);
                self.counters.sent += 1;
                self.counters.last_sent = Some(now);
                Action::Send(frame::broadcast(self.identity.source, &message))
            }
            // The encoder refuses only what does not vary here.
            Err(_) => Action::Done,
        }
    }

    /// Reads a received frame at this time since the start. Any bytes will do.
    pub fn receive(&mut self, frame: &[u8], now: Duration) {
        let counters = &mut self.counters;
        counters.frames = counters.frames.saturating_add(1);
        let received = reply::read(frame, self.xid, self.identity.chaddr);
        if !matches!(received, Received::Unrelated | Received::Tagged(_)) {
            counters.replies = counters.replies.saturating_add(1);
        }
        match received {
            Received::Unrelated => {}
            Received::Tagged(vlan) => {
                counters.tagged = counters.tagged.saturating_add(1);
                counters.last_tagged = Some(vlan);
            }
            Received::OtherExchange(xid) if self.siblings.contains(&xid) => {
                counters.sibling_exchanges = counters.sibling_exchanges.saturating_add(1);
            }
            Received::OtherExchange(_) => {
                counters.other_exchanges = counters.other_exchanges.saturating_add(1);
            }
            Received::OtherClient => counters.other_clients = counters.other_clients.saturating_add(1),
            Received::Malformed(what) => {
                counters.malformed = counters.malformed.saturating_add(1);
                counters.last_malformed = Some(what);
            }
            Received::Refused(refusal) => {
                counters.refusals = counters.refusals.saturating_add(1);
                counters.last_refusal = Some(refusal);
            }
            Received::Offered(offer) => self.keep(offer, now),
        }
    }

    /// The offers in hand, in the order they came, each server's repetitions left out.
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// What was sent and seen so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Who asks.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether a good offer is in hand.
    pub fn satisfied(&self) -> bool {
        self.satisfied
    }

    /// The transaction number.
    pub fn xid(&self) -> u32 {
        self.xid
    }

    fn keep(&mut self, offer: Offer, now: Duration) {
        let better = !self.satisfied && self.expected.fit(&offer) == Fit::Good;
        let known = self.answers.iter().position(|known| {
            let (known, sender) = (&known.offer.sender, &offer.sender);
            (known.server, known.mac) == (sender.server, sender.mac)
        });
        // Every repeat is answered again, and a flooding bridge may deliver one answer twice; but a server of several
        // subnets may offer an address of another one the next time.
        if known.is_some() && !better {
            return;
        }
        if better {
            self.satisfied = true;
            self.end = self.end.min(now.saturating_add(self.timing.grace));
        }
        let answer = Answer { offer, after: now };
        match known {
            Some(position) => self.answers[position] = answer,
            None if self.answers.len() < MAX_OFFERS => self.answers.push(answer),
            None => self.counters.more_offers = self.counters.more_offers.saturating_add(1),
        }
    }

    /// Sets the time of the next repeat.
    fn schedule(&mut self, now: Duration) {
        let sent = self.counters.sent as usize;
        let (planned, gap) = match REPEATS.get(sent) {
            Some(&at) => {
                let before = sent.checked_sub(1).and_then(|index| REPEATS.get(index)).copied().unwrap_or(0);
                (self.begin + Duration::from_millis(at.into()), at - before)
            }
            None => (now + Duration::from_millis(INTERVAL.into()), INTERVAL),
        };
        // A tenth of the gap, to either side: probes that began together drift apart and never meet the next round.
        let spread = u64::from(gap) / 5;
        let jitter = Duration::from_millis(self.random.up_to(spread));
        let planned = (planned + jitter).saturating_sub(Duration::from_millis(spread / 2));
        // A caller that was held up must not send two at once.
        let next = planned.max(now + Duration::from_millis(u64::from(gap) / 2));
        self.next_send = self.again_at.filter(|at| (now..next).contains(at) && *at > now).unwrap_or(next);
    }
}

#[cfg(test)]
mod tests;
