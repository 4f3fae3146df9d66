//! An exchange under a clock of its own: when it asks, what it hears, and when it ends.

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
    let options: Vec<_> =
        options.iter().map(|&(code, data)| (code, if code == 54 { &identifier[..] } else { data })).collect();
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
    let mut exchange = exchange(6 * SECOND, Duration::ZERO, 7)
        .expecting(Expected { servers: vec![std::net::Ipv4Addr::new(10, 77, 0, 2)], subnets: Vec::new() });
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

#[test]
fn a_question_goes_out_at_the_wanted_time_as_well() {
    for seed in 0..100 {
        let at = Duration::from_millis(1350);
        let (sent, end) = run(&mut exchange(2500 * SECOND / 1000, Duration::ZERO, seed).again_at(at));
        assert!(sent.contains(&at) && end == 2500 * SECOND / 1000, "{sent:?}");
        let (plain, _) = run(&mut exchange(2500 * SECOND / 1000, Duration::ZERO, seed));
        assert!(sent.len() <= plain.len() + 1, "{sent:?}");
    }
}
