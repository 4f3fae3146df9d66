//! The exchange as a pure state machine: frames and the time since its start go in, frames to send and times to wait
//! until come out. It does no I/O and reads no clock.

use std::time::Duration;

use super::expected::{Expected, Fit};
use super::reply::{self, Malformed, Offer, Received, Refusal};
use super::{discover, frame};
use crate::request::mac::MacAddress;

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
    random: u64,
    /// When the first question goes out.
    begin: Duration,
    /// When it ends; brought forward by the first good offer.
    end: Duration,
    satisfied: bool,
    timing: Timing,
    next_send: Duration,
    answers: Vec<Answer>,
    counters: Counters,
}

impl Exchange {
    /// Begins an exchange whose transaction number and jitter come from `seed`, which must not be guessable from
    /// outside nor used twice.
    pub fn new(identity: Identity, timing: Timing, seed: u64) -> Self {
        let mut random = seed;
        let xid = (splitmix64(&mut random) >> 32) as u32;
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
        if received != Received::Unrelated {
            counters.replies = counters.replies.saturating_add(1);
        }
        match received {
            Received::Unrelated => {}
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

    /// Sets the time of the repeat after the one that goes out now.
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
        let jitter = Duration::from_millis(splitmix64(&mut self.random) % (spread + 1));
        let planned = (planned + jitter).saturating_sub(Duration::from_millis(spread / 2));
        // A caller that was held up must not send two at once.
        self.next_send = planned.max(now + Duration::from_millis(u64::from(gap) / 2));
    }
}

/// One step of the SplitMix64 generator; it only has to spread the seed's entropy.
fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::samples::{self, OFFER, Wrapping};

    const SECOND: Duration = Duration::from_secs(1);

    fn identity() -> Identity {
        Identity { chaddr: samples::client_mac(), source: MacAddress::local([0xfe, 0, 0, 0, 0, 7]) }
    }

    fn exchange(timeout: Duration, grace: Duration, seed: u64) -> Exchange {
        Exchange::new(identity(), Timing { timeout, grace }, seed)
    }

    /// A server's answer to this exchange, under this server's address.
    fn answer(exchange: &Exchange, server: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
        let identifier = [10, 77, 0, server];
        let options: Vec<_> = options
            .iter()
            .map(|&(code, data)| (code, if code == 54 { &identifier[..] } else { data }))
            .collect();
        let mut message = samples::reply(&options);
        message[4..8].copy_from_slice(&exchange.xid().to_be_bytes());
        Wrapping::default().around(&message)
    }

    /// Follows the exchange's own timers; returns when it sent, and when it was over.
    fn run(exchange: &mut Exchange) -> (Vec<Duration>, Duration) {
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        loop {
            match exchange.next(now) {
                Action::Send(_) => sent.push(now),
                Action::WaitUntil(at) => {
                    assert!(at > now, "a timer in the past spins");
                    now = at;
                }
                Action::Done => return (sent, now),
            }
        }
    }

    #[test]
    fn repeats_follow_the_plan_with_jitter_inside_the_timeout() {
        let mut moments = std::collections::HashSet::new();
        for seed in 0..500 {
            let (sent, end) = run(&mut exchange(6 * SECOND, Duration::ZERO, seed));
            assert_eq!(end, 6 * SECOND);
            let plan = [(0, 0), (100, 10), (300, 20), (900, 60), (2000, 110), (4000, 200)];
            assert_eq!(sent.len(), plan.len(), "{sent:?}");
            for (sent, (planned, spread)) in sent.iter().zip(plan) {
                let sent = sent.as_millis() as u64;
                assert!(sent.abs_diff(planned) <= spread, "{sent} for {planned}");
                moments.insert(sent);
            }
        }
        assert!(moments.len() > 300, "no jitter: {}", moments.len());
    }

    #[test]
    fn short_and_long_timeouts_scale() {
        for (timeout, count) in [(1, 1), (150, 1), (350, 2), (500, 3), (1500, 4), (9000, 7), (60_000, 19)] {
            let timeout = Duration::from_millis(timeout);
            for seed in 0..50 {
                let (sent, end) = run(&mut exchange(timeout, SECOND, seed));
                assert_eq!(end, timeout);
                assert!(sent.len().abs_diff(count) <= 1, "{timeout:?}: {sent:?}");
                assert!(sent[1..].iter().all(|&at| at + LAST_CHANCE <= timeout), "{timeout:?}: {sent:?}");
            }
        }
    }

    #[test]
    fn a_later_beginning_shifts_all_questions_but_not_the_end() {
        for seed in 0..50 {
            let shifted = 3 * SECOND;
            let (sent, end) = run(&mut exchange(6 * SECOND, Duration::ZERO, seed).beginning_at(shifted));
            assert_eq!((sent[0], end), (shifted, 6 * SECOND));
            assert_eq!(sent.len(), 5, "{sent:?}");
        }
        let (sent, _) = run(&mut exchange(SECOND, Duration::ZERO, 1).beginning_at(2 * SECOND));
        assert!(sent.is_empty());
    }

    #[test]
    fn an_unexpected_offer_is_kept_and_the_question_goes_on() {
        let mut exchange = exchange(6 * SECOND, Duration::ZERO, 7).expecting(Expected {
            servers: vec![std::net::Ipv4Addr::new(10, 77, 0, 2)],
            subnets: Vec::new(),
        });
        assert!(matches!(exchange.next(Duration::ZERO), Action::Send(_)));
        let rogue = answer(&exchange, 1, OFFER);
        exchange.receive(&rogue, Duration::from_millis(5));
        assert!(!exchange.satisfied());
        assert!(matches!(exchange.next(Duration::from_millis(200)), Action::Send(_)), "it asks again");
        let good = answer(&exchange, 2, OFFER);
        exchange.receive(&good, Duration::from_millis(210));
        assert!(exchange.satisfied());
        assert_eq!(exchange.next(Duration::from_millis(210)), Action::Done);
        assert_eq!(exchange.answers().len(), 2);
    }

    #[test]
    fn replies_to_siblings_are_no_strangers() {
        let sibling = exchange(SECOND, SECOND, 1);
        let stranger = exchange(SECOND, SECOND, 2);
        let mut exchange = exchange(SECOND, SECOND, 3).beside(vec![sibling.xid()]);
        exchange.receive(&answer(&sibling, 1, OFFER), Duration::ZERO);
        exchange.receive(&answer(&stranger, 1, OFFER), Duration::ZERO);
        assert_eq!((exchange.counters().sibling_exchanges, exchange.counters().other_exchanges), (1, 1));
    }

    #[test]
    fn a_caller_that_was_held_up_does_not_send_a_burst() {
        let mut exchange = exchange(6 * SECOND, Duration::ZERO, 1);
        assert!(matches!(exchange.next(Duration::ZERO), Action::Send(_)));
        assert!(matches!(exchange.next(3 * SECOND), Action::Send(_)));
        assert!(matches!(exchange.next(3 * SECOND), Action::WaitUntil(at) if at > 3 * SECOND));
    }

    #[test]
    fn every_frame_is_the_same_question_from_the_probes_address() {
        let mut exchange = exchange(6 * SECOND, Duration::ZERO, 2);
        let mut now = Duration::ZERO;
        let mut frames = Vec::new();
        loop {
            match exchange.next(now) {
                Action::Send(frame) => frames.push((now, frame)),
                Action::WaitUntil(at) => now = at,
                Action::Done => break,
            }
        }
        for (at, frame) in frames {
            assert_eq!(frame[6..12], identity().source.octets());
            let message = &frame[42..];
            assert_eq!(message[4..8], exchange.xid().to_be_bytes());
            assert_eq!(u64::from(u16::from_be_bytes([message[8], message[9]])), at.as_secs());
            assert_eq!(message[28..34], identity().chaddr.octets());
        }
    }

    #[test]
    fn transaction_numbers_differ_by_seed() {
        let numbers: std::collections::HashSet<u32> =
            (0..1000).map(|seed| exchange(SECOND, SECOND, seed).xid()).collect();
        assert_eq!(numbers.len(), 1000);
    }

    #[test]
    fn without_grace_the_offers_in_hand_end_it() {
        let mut exchange = exchange(6 * SECOND, Duration::ZERO, 3);
        exchange.next(Duration::ZERO);
        let now = Duration::from_millis(40);
        exchange.receive(&answer(&exchange, 1, OFFER), now);
        exchange.receive(&answer(&exchange, 2, OFFER), now);
        exchange.receive(&answer(&exchange, 1, OFFER), now);
        assert_eq!(exchange.next(now), Action::Done);
        let servers: Vec<u8> = exchange.answers().iter().map(|a| a.offer.sender.server.octets()[3]).collect();
        assert_eq!(servers, [1, 2], "both, each once");
        assert_eq!(exchange.answers()[0].after, now);
        assert_eq!((exchange.counters().frames, exchange.counters().replies), (3, 3));
    }

    #[test]
    fn grace_waits_for_a_second_server_without_asking_again() {
        let mut exchange = exchange(6 * SECOND, Duration::from_millis(500), 4);
        exchange.next(Duration::ZERO);
        let now = Duration::from_millis(40);
        exchange.receive(&answer(&exchange, 1, OFFER), now);
        assert_eq!(exchange.next(now), Action::WaitUntil(Duration::from_millis(540)));
        exchange.receive(&answer(&exchange, 2, OFFER), Duration::from_millis(300));
        assert_eq!(exchange.next(Duration::from_millis(300)), Action::WaitUntil(Duration::from_millis(540)));
        assert_eq!(exchange.next(Duration::from_millis(540)), Action::Done);
        assert_eq!(exchange.answers().len(), 2);
        assert_eq!(exchange.counters().sent, 1);
    }

    #[test]
    fn a_server_that_offers_better_the_next_time_is_heard() {
        let subnet = "10.77.0.0/24".parse().unwrap();
        let expected = Expected { servers: Vec::new(), subnets: vec![subnet] };
        let mut exchange = exchange(6 * SECOND, Duration::ZERO, 8).expecting(expected);
        exchange.next(Duration::ZERO);
        let elsewhere = |frame: &[u8]| {
            let mut frame = frame.to_vec();
            frame[42 + 16..42 + 20].copy_from_slice(&[192, 168, 7, 9]);
            frame
        };
        let good = answer(&exchange, 1, OFFER);
        let now = Duration::from_millis(40);
        exchange.receive(&elsewhere(&good), now);
        exchange.receive(&elsewhere(&good), now);
        assert!(!exchange.satisfied() && exchange.answers().len() == 1);
        exchange.receive(&good, 2 * now);
        assert!(exchange.satisfied());
        assert_eq!(exchange.answers()[0].after, 2 * now);
        exchange.receive(&elsewhere(&good), 3 * now);
        assert_eq!(exchange.answers().len(), 1);
        assert_eq!(exchange.answers()[0].offer.address, samples::OFFERED);
    }

    #[test]
    fn grace_never_outlasts_the_timeout() {
        let mut exchange = exchange(SECOND, 5 * SECOND, 5);
        exchange.next(Duration::ZERO);
        let now = Duration::from_millis(900);
        exchange.receive(&answer(&exchange, 1, OFFER), now);
        assert_eq!(exchange.next(now), Action::WaitUntil(SECOND));
        assert_eq!(exchange.next(SECOND), Action::Done);
    }

    #[test]
    fn what_is_no_offer_is_counted_and_the_question_goes_on() {
        let mut exchange = exchange(6 * SECOND, Duration::ZERO, 6);
        exchange.next(Duration::ZERO);
        let now = Duration::from_millis(40);
        let mut other_client = answer(&exchange, 1, OFFER);
        other_client[42 + 28] ^= 0x10;
        let refusal = answer(&exchange, 1, &[(53, &[6]), (56, b"not here")]);
        let bootp = answer(&exchange, 1, &[]);
        let other_exchange = samples::offer_frame();
        for frame in [&b"junk"[..], &other_client, &refusal, &bootp, &other_exchange, &other_exchange] {
            exchange.receive(frame, now);
        }
        assert!(matches!(exchange.next(now), Action::WaitUntil(_)));
        assert!(exchange.answers().is_empty());
        let counters = exchange.counters();
        assert_eq!((counters.sent, counters.frames, counters.replies), (1, 6, 5));
        assert_eq!((counters.other_clients, counters.other_exchanges), (1, 2));
        assert_eq!((counters.malformed, counters.last_malformed), (1, Some(Malformed::NoMessageType)));
        assert_eq!(counters.refusals, 1);
        assert_eq!(counters.last_refusal.as_ref().unwrap().message.as_deref(), Some("not here"));
    }

    #[test]
    fn a_flood_of_servers_is_bounded_and_counted() {
        let mut exchange = exchange(6 * SECOND, SECOND, 7);
        exchange.next(Duration::ZERO);
        for server in 0..=u8::MAX {
            exchange.receive(&answer(&exchange, server, OFFER), Duration::ZERO);
        }
        assert_eq!(exchange.answers().len(), MAX_OFFERS);
        // 10.77.0.0 is a server like any other here.
        assert_eq!(exchange.counters().more_offers, 256 - MAX_OFFERS as u32);
    }
}
