//! A client under a clock of its own, against servers that answer as the test wants.

use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{Decodable, Decoder, DhcpOption, Message, MessageType, OptionCode};
use proptest::prelude::*;

use super::lease::{Lease, Route, Times};
use super::*;
use crate::dhcp::samples::{self, SERVER, Wrapping};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const ADDRESS: Ipv4Addr = samples::OFFERED;
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 51);
const SERVERS: To = To::Server { from: ADDRESS, server: SERVER, hop: [0x52 & 0xfc | 2, 0, 0, 0, 0, 1] };
/// What an offer has behind its message type: an hour, T1 after half of it, T2 after seven eighths.
const LEASE: &[(u8, &[u8])] = samples::OFFER.split_at(1).1;

fn identity() -> Identity {
    Identity {
        chaddr: samples::client_mac(),
        client_id: b"\0shop/web-0/net1".to_vec(),
        broadcast: false,
        requested: vec![1, 121, 3, 6],
        provided: vec![(12, b"web-0".to_vec()), (200, b"raw".to_vec())],
    }
}

fn client() -> Client {
    Client::new(identity(), None, Duration::ZERO, 1)
}

/// What the client sends now; it must send something.
fn sent(client: &mut Client, now: Duration) -> (Message, To) {
    match client.next(now) {
        Action::Send(Outgoing { message, to }) => (Message::decode(&mut Decoder::new(&message)).unwrap(), to),
        other => panic!("{other:?}"),
    }
}

fn kind(message: &Message) -> MessageType {
    message.opts().msg_type().unwrap()
}

/// A server's answer of this type to what the client asks at the moment.
fn answer(client: &Client, kind: u8, address: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = samples::reply(&[&[(53, &[kind][..])], options].concat());
    message[4..8].copy_from_slice(&client.xid.to_be_bytes());
    message[16..20].copy_from_slice(&address.octets());
    Wrapping::default().around(&message)
}

fn without(code: u8) -> Vec<(u8, &'static [u8])> {
    LEASE.iter().copied().filter(|(candidate, _)| *candidate != code).collect()
}

/// A client that got this lease at once.
fn bound(options: &[(u8, &[u8])]) -> (Client, Lease) {
    let mut client = client();
    sent(&mut client, Duration::ZERO);
    client.receive(&answer(&client, OFFER, ADDRESS, options), Duration::ZERO);
    sent(&mut client, Duration::ZERO);
    client.receive(&answer(&client, ACK, ADDRESS, options), Duration::ZERO);
    match client.next(Duration::ZERO) {
        Action::Use(lease) => (client, *lease),
        other => panic!("{other:?}"),
    }
}

fn wake(client: &mut Client, now: Duration) -> Duration {
    match client.next(now) {
        Action::WaitUntil(Some(at)) => at,
        other => panic!("{other:?}"),
    }
}

fn option(message: &Message, code: u8) -> Option<DhcpOption> {
    message.opts().get(OptionCode::from(code)).cloned()
}

#[test]
fn four_messages_take_a_lease() {
    let mut client = Client::new(identity(), Some(OTHER), Duration::ZERO, 1);
    let (discover, to) = sent(&mut client, Duration::ZERO);
    assert_eq!((kind(&discover), to), (MessageType::Discover, To::Everybody));
    assert_eq!(option(&discover, 50), Some(DhcpOption::RequestedIpAddress(OTHER)), "the wish");
    assert_eq!(option(&discover, 54), None);
    assert_eq!(option(&discover, 12), Some(DhcpOption::Hostname("web-0".into())));
    assert!(matches!(option(&discover, 200), Some(DhcpOption::Unknown(raw)) if raw.data() == b"raw"));
    let requested = [1, 121, 3, 6].map(OptionCode::from).to_vec();
    assert_eq!(option(&discover, 55), Some(DhcpOption::ParameterRequestList(requested)));
    assert!(discover.ciaddr().is_unspecified() && !discover.flags().broadcast());

    client.receive(&answer(&client, OFFER, ADDRESS, LEASE), 2 * SECOND);
    let (request, to) = sent(&mut client, 2 * SECOND);
    assert_eq!((kind(&request), to), (MessageType::Request, To::Everybody));
    assert_eq!(request.xid(), discover.xid(), "of the offer");
    assert_eq!(request.secs(), 2);
    assert_eq!(option(&request, 50), Some(DhcpOption::RequestedIpAddress(ADDRESS)));
    assert_eq!(option(&request, 54), Some(DhcpOption::ServerIdentifier(SERVER)));
    assert_eq!(option(&request, 61), option(&discover, 61));
    assert!(request.ciaddr().is_unspecified());

    client.receive(&answer(&client, ACK, ADDRESS, LEASE), 3 * SECOND);
    let Action::Use(lease) = client.next(3 * SECOND) else { panic!() };
    assert_eq!((lease.address, lease.prefix, lease.server), (ADDRESS, 24, SERVER));
    assert_eq!(lease.name_servers, [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)]);
    assert_eq!(lease.times.since, 2 * SECOND, "counted from the request, not from the answer");
    assert_eq!(client.state(3 * SECOND), "BOUND");
    let at = wake(&mut client, 3 * SECOND);
    assert!(at >= 1802 * SECOND && at <= 1840 * SECOND, "{at:?}");
}

#[test]
fn renewal_is_unicast_rebinding_broadcast_and_the_end_exact() {
    let (mut client, _) = bound(LEASE);
    let mut now = Duration::ZERO;
    let mut asked = Vec::new();
    let end = loop {
        match client.next(now) {
            Action::WaitUntil(Some(at)) => now = at,
            Action::Send(Outgoing { message, to }) => {
                let request = Message::decode(&mut Decoder::new(&message)).unwrap();
                assert_eq!(kind(&request), MessageType::Request);
                assert_eq!(request.ciaddr(), ADDRESS);
                assert_eq!((option(&request, 50), option(&request, 54)), (None, None));
                asked.push((now.as_secs(), to));
            }
            Action::Lose(Loss::Expired) => break now,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end, HOUR);
    let (unicast, broadcast) =
        asked.iter().copied().partition::<Vec<(u64, To)>, _>(|(_, to)| *to != To::Everybody);
    assert_eq!(unicast[0].1, SERVERS);
    assert!(unicast.iter().all(|(at, _)| (1800..3150).contains(at)), "{unicast:?}");
    assert!(broadcast.iter().all(|(at, _)| (3150..3600).contains(at)), "{broadcast:?}");
    let gaps = asked.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(gaps.min().unwrap() >= 20 && unicast.len() >= 4 && broadcast.len() >= 3, "{asked:?}");
    let (discover, _) = sent(&mut client, end);
    assert_eq!(kind(&discover), MessageType::Discover);
    assert_eq!(option(&discover, 50), Some(DhcpOption::RequestedIpAddress(ADDRESS)), "the same again");
}

#[test]
fn an_answer_in_any_stage_prolongs_the_lease_and_may_change_it() {
    for at in [1850, 3200] {
        let (mut client, _) = bound(LEASE);
        let at = at * SECOND;
        let _ = sent(&mut client, at);
        let other = [&without(3)[..], &[(3, &[10, 77, 0, 9])]].concat();
        client.receive(&answer(&client, ACK, OTHER, &other), at + SECOND);
        let Action::Use(lease) = client.next(at + SECOND) else { panic!() };
        assert_eq!((lease.address, lease.routers[0]), (OTHER, Ipv4Addr::new(10, 77, 0, 9)));
        assert_eq!(lease.times.end(), Some(at + HOUR));
    }
}

#[test]
fn a_refusal_ends_the_lease_at_once_and_repeated_ones_slow_the_client_down() {
    let (mut client, _) = bound(LEASE);
    let mut now = 1850 * SECOND;
    sent(&mut client, now);
    client.receive(&answer(&client, NAK, Ipv4Addr::UNSPECIFIED, &[(56, b"moved")]), now);
    let Action::Lose(Loss::Refused(refusal)) = client.next(now) else { panic!() };
    assert_eq!(refusal.message.as_deref(), Some("moved"));
    assert!(client.lease().is_none());
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (discover, _) = sent(&mut client, now);
        assert_eq!(option(&discover, 50), None, "what was refused is not wished for");
        client.receive(&answer(&client, OFFER, ADDRESS, LEASE), now);
        assert_eq!(kind(&sent(&mut client, now).0), MessageType::Request);
        client.receive(&answer(&client, NAK, Ipv4Addr::UNSPECIFIED, &[]), now);
        let next = wake(&mut client, now);
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 4, 10, 30, 60, 60, 60, 60]);
}

#[test]
fn what_a_server_leaves_out_has_a_substitute_or_makes_no_lease() {
    let (_, lease) = bound(&without(51));
    assert_eq!(lease.times.lasts, Some(HOUR));
    let (_, lease) = bound(&without(54));
    assert_eq!(lease.server, SERVER, "the source of the answer");
    let (_, lease) = bound(&[&without(58)[..], &[]].concat());
    assert_eq!(lease.times.renewal, HOUR / 2);

    for (options, complaint) in [
        (without(1), "no subnet mask"),
        ([&without(1)[..], &[(1, &[255, 0, 255, 0])]].concat(), "has holes"),
        ([&without(51)[..], &[(51, &[0; 4])]].concat(), "0 seconds"),
    ] {
        let mut client = client();
        sent(&mut client, Duration::ZERO);
        client.receive(&answer(&client, OFFER, ADDRESS, LEASE), Duration::ZERO);
        sent(&mut client, Duration::ZERO);
        client.receive(&answer(&client, ACK, ADDRESS, &options), Duration::ZERO);
        assert!(matches!(client.next(Duration::ZERO), Action::WaitUntil(_)));
        let (_, unusable) = client.story().unusable.unwrap();
        assert!(unusable.to_string().contains(complaint), "{unusable}");
    }
}

#[test]
fn times_out_of_order_are_replaced_both() {
    let secs = |value: u32| Some(Duration::from_secs(value.into()));
    let times = |t1, t2| {
        let times = Times::new(Duration::ZERO, secs(800), t1, t2).unwrap();
        (times.renewal.as_secs(), times.rebinding.as_secs())
    };
    assert_eq!(times(None, None), (400, 700));
    assert_eq!(times(secs(100), secs(200)), (100, 200));
    assert_eq!(times(secs(100), None), (100, 700));
    assert_eq!(times(None, secs(600)), (400, 600));
    for (t1, t2) in [(0, 200), (200, 200), (300, 200), (100, 800), (900, 1000), (u32::MAX, u32::MAX)] {
        assert_eq!(times(secs(t1), secs(t2)), (400, 700), "{t1} {t2}");
    }
    assert_eq!(times(None, secs(300)), (400, 700));
}

#[test]
fn an_infinite_lease_is_never_renewed() {
    let forever = [&without(51)[..], &[(51, &[0xff; 4])]].concat();
    let (mut client, lease) = bound(&forever);
    assert_eq!(lease.times.end(), None);
    assert_eq!(client.next(Duration::ZERO), Action::WaitUntil(None));
    assert_eq!(client.next(1_000_000 * HOUR), Action::WaitUntil(None));
}

#[test]
fn answers_for_others_are_not_heard() {
    let mut client = client();
    sent(&mut client, Duration::ZERO);
    let foreign = [LEASE, &[(61, b"\0shop/web-1/net1")]].concat();
    client.receive(&answer(&client, OFFER, ADDRESS, &foreign), Duration::ZERO);
    assert!(matches!(client.next(Duration::ZERO), Action::WaitUntil(_)));
    assert_eq!(client.story().other_client_ids, 1);
    let mut other_xid = answer(&client, OFFER, ADDRESS, LEASE);
    other_xid[42 + 4] ^= 1;
    client.receive(&other_xid, Duration::ZERO);
    client.receive(&answer(&client, ACK, ADDRESS, LEASE), Duration::ZERO);
    client.receive(&answer(&client, NAK, ADDRESS, LEASE), Duration::ZERO);
    assert!(matches!(client.next(Duration::ZERO), Action::WaitUntil(_)));
    let own = [LEASE, &[(61, b"\0shop/web-0/net1")]].concat();
    client.receive(&answer(&client, OFFER, ADDRESS, &own), Duration::ZERO);
    assert_eq!(kind(&sent(&mut client, Duration::ZERO).0), MessageType::Request);
}

#[test]
fn an_unexpected_offer_is_told_and_not_taken() {
    let mut client = client().expecting(Expected { servers: vec![OTHER], subnets: Vec::new() });
    sent(&mut client, Duration::ZERO);
    client.receive(&answer(&client, OFFER, ADDRESS, LEASE), Duration::ZERO);
    assert!(matches!(client.next(Duration::ZERO), Action::WaitUntil(_)));
    let (sender, address, fit) = client.story().unexpected.unwrap();
    assert_eq!((sender.server, address, fit), (SERVER, ADDRESS, Fit::OtherServer));
}

#[test]
fn a_server_that_falls_silent_behind_its_offer_is_left_for_another_try() {
    let mut client = client();
    sent(&mut client, Duration::ZERO);
    client.receive(&answer(&client, OFFER, ADDRESS, LEASE), Duration::ZERO);
    let (mut now, mut requests) = (Duration::ZERO, 0);
    loop {
        match client.next(now) {
            Action::WaitUntil(Some(at)) => now = at,
            Action::Send(out) => match kind(&Message::decode(&mut Decoder::new(&out.message)).unwrap()) {
                MessageType::Request => requests += 1,
                kind => {
                    assert_eq!(kind, MessageType::Discover);
                    break;
                }
            },
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(requests, REQUEST_PAUSES.len());
    assert!(now >= 3 * SECOND && now <= 5 * SECOND, "{now:?}");
}

#[test]
fn a_host_that_comes_back_asks_first_and_believes_a_refusal_only() {
    let (mut client, lease) = bound(LEASE);
    client.confirm(SECOND);
    let (request, to) = sent(&mut client, SECOND);
    assert_eq!((kind(&request), to), (MessageType::Request, To::Everybody));
    assert_eq!(option(&request, 50), Some(DhcpOption::RequestedIpAddress(ADDRESS)));
    assert_eq!(option(&request, 54), None);
    assert!(request.ciaddr().is_unspecified());
    let mut now = SECOND;
    for _ in 1..REBOOT_PAUSES.len() {
        now = wake(&mut client, now);
        sent(&mut client, now);
    }
    now = wake(&mut client, now);
    let renewal = wake(&mut client, now);
    assert_eq!((client.state(now), client.lease()), ("BOUND", Some(&lease)));
    assert!(renewal >= 1800 * SECOND);

    client.confirm(now);
    sent(&mut client, now);
    client.receive(&answer(&client, ACK, ADDRESS, LEASE), now);
    let Action::Use(prolonged) = client.next(now) else { panic!() };
    assert_eq!(prolonged.times.since, now);
    client.confirm(now);
    sent(&mut client, now);
    client.receive(&answer(&client, NAK, ADDRESS, &[]), now);
    assert!(matches!(client.next(now), Action::Lose(Loss::Refused(_))));
}

#[test]
fn an_address_of_another_host_is_declined_and_another_one_asked_for_later() {
    let (mut client, _) = bound(LEASE);
    client.decline(SECOND);
    let (decline, to) = sent(&mut client, SECOND);
    assert_eq!((kind(&decline), to), (MessageType::Decline, To::Everybody));
    assert_eq!(option(&decline, 50), Some(DhcpOption::RequestedIpAddress(ADDRESS)));
    assert_eq!(option(&decline, 54), Some(DhcpOption::ServerIdentifier(SERVER)));
    assert!(decline.ciaddr().is_unspecified());
    let at = wake(&mut client, SECOND);
    assert_eq!(at, 11 * SECOND);
    assert_eq!(option(&sent(&mut client, at).0, 50), None);
}

#[test]
fn a_release_names_the_lease_and_its_client_and_ends_everything() {
    let (mut client, _) = bound(LEASE);
    let Outgoing { message, to } = client.release().unwrap();
    let message = Message::decode(&mut Decoder::new(&message)).unwrap();
    assert_eq!((kind(&message), to), (MessageType::Release, SERVERS));
    assert_eq!((message.ciaddr(), option(&message, 50)), (ADDRESS, None));
    assert_eq!(option(&message, 54), Some(DhcpOption::ServerIdentifier(SERVER)));
    assert_eq!(option(&message, 61), Some(DhcpOption::ClientIdentifier(identity().client_id)));
    assert_eq!(option(&message, 55), None);
    assert_eq!(client.next(HOUR), Action::WaitUntil(None));
    assert!(client.release().is_none());
}

#[test]
fn a_clock_that_jumped_past_the_end_ends_the_lease_before_anything_is_sent() {
    let (mut client, _) = bound(LEASE);
    assert_eq!(client.next(1_000 * HOUR), Action::Lose(Loss::Expired));
    let (mut client, _) = bound(LEASE);
    client.confirm(SECOND);
    assert_eq!(client.next(HOUR), Action::Lose(Loss::Expired), "also while it asks");
}

#[test]
fn classless_routes_replace_the_router_and_come_in_an_order_that_the_kernel_takes() {
    let network = |text: &str| text.parse().unwrap();
    let hop = |last| Some(Ipv4Addr::new(10, 77, 0, last));
    let shown = |options: &[(u8, &[u8])]| bound(options).1.routes();
    let default = Route { destination: network("0.0.0.0/0"), via: hop(1) };
    assert_eq!(shown(LEASE), [default]);

    let classful: &[u8] = &[172, 16, 0, 0, 10, 77, 0, 9, 0, 0, 0, 0, 10, 77, 0, 9];
    let with_classful = [LEASE, &[(33, classful)]].concat();
    assert_eq!(
        shown(&with_classful),
        [Route { destination: network("172.16.0.0/16"), via: hop(9) }, default]
    );

    let classless: &[u8] = &[24, 10, 1, 1, 10, 77, 0, 9, 0, 10, 99, 0, 1, 16, 10, 5, 0, 0, 0, 0, 33];
    let off_link = Some(Ipv4Addr::new(10, 99, 0, 1));
    for code in [121, 249] {
        let options = [&with_classful[..], &[(code, classless)]].concat();
        assert_eq!(
            shown(&options),
            [
                Route { destination: network("10.5.0.0/16"), via: None },
                Route { destination: network("10.99.0.1/32"), via: None },
                Route { destination: network("10.1.1.0/24"), via: hop(9) },
                Route { destination: network("0.0.0.0/0"), via: off_link },
            ]
        );
    }
    let halves = classless.split_at(7);
    let split = [LEASE, &[(121, halves.0), (12, b"x"), (121, halves.1)]].concat();
    assert_eq!(shown(&split).len(), 4, "an option in pieces, RFC 3396");
}

/// What a server does with one request.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Silent,
    Grant { seconds: u32, t1: u32, t2: u32, last: u8 },
    Refuse,
    Junk,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let grant = (1u32..=u32::MAX, any::<u32>(), any::<u32>(), 1u8..=254)
        .prop_map(|(seconds, t1, t2, last)| Deed::Grant { seconds, t1, t2, last });
    let short = (1u32..200, 0u32..200, 0u32..200, 1u8..=254)
        .prop_map(|(seconds, t1, t2, last)| Deed::Grant { seconds, t1, t2, last });
    let deed = prop_oneof![
        3 => Just(Deed::Silent), 3 => grant, 4 => short, 1 => Just(Deed::Refuse), 1 => Just(Deed::Junk)
    ];
    prop::collection::vec(deed, 1..40)
}

fn reply_to(client: &Client, deed: Deed, message: &[u8]) -> Option<Vec<u8>> {
    let discover = kind(&Message::decode(&mut Decoder::new(message)).unwrap()) == MessageType::Discover;
    match deed {
        Deed::Silent => None,
        Deed::Refuse => Some(answer(client, NAK, Ipv4Addr::UNSPECIFIED, &[])),
        Deed::Junk => Some(answer(client, 77, ADDRESS, &[(61, b"x")])),
        Deed::Grant { seconds, t1, t2, last } => {
            let address = Ipv4Addr::new(10, 77, 0, last);
            let [seconds, t1, t2] = [seconds, t1, t2].map(u32::to_be_bytes);
            let options = [(1, &[255, 255, 255, 0][..]), (51, &seconds), (58, &t1), (59, &t2)];
            Some(answer(client, if discover { OFFER } else { ACK }, address, &options))
        }
    }
}

proptest! {
    #[test]
    fn whatever_servers_do_no_lease_is_used_past_its_end_and_no_client_storms(
        deeds in deeds(), seed in any::<u64>(), delays in prop::collection::vec(0u64..5000, 1..10),
    ) {
        let mut client = Client::new(identity(), None, Duration::ZERO, seed);
        let mut now = Duration::ZERO;
        let mut used: Option<Lease> = None;
        let (mut messages, mut at_once) = (0, 0);
        let mut deeds = deeds.iter().copied().cycle();
        let mut delays = delays.iter().copied().cycle();
        while messages < 100 {
            let action = client.next(now);
            prop_assert_eq!(client.lease().is_some(), match &action {
                Action::Use(_) => true,
                Action::Lose(_) => false,
                _ => used.is_some(),
            });
            match action {
                Action::Use(lease) => used = Some(*lease),
                Action::Lose(_) => prop_assert!(used.take().is_some()),
                Action::WaitUntil(None) => break,
                Action::WaitUntil(Some(at)) => {
                    prop_assert!(at > now);
                    let end = used.as_ref().and_then(|lease| lease.times.end());
                    prop_assert!(end.is_none_or(|end| at <= end), "asleep at the end");
                    (now, at_once) = (at, 0);
                }
                Action::Send(outgoing) => {
                    (messages, at_once) = (messages + 1, at_once + 1);
                    prop_assert!(at_once <= 4, "a burst");
                    let end = used.as_ref().and_then(|lease| lease.times.end());
                    prop_assert!(end.is_none_or(|end| now < end), "{:?} used at {:?}", used, now);
                    if let Some(frame) = reply_to(&client, deeds.next().unwrap(), &outgoing.message) {
                        let late = Duration::from_millis(delays.next().unwrap());
                        let due = match client.next(now) { Action::WaitUntil(at) => at, other => panic!("{other:?}") };
                        now = due.map_or(now + late, |due| due.min(now + late));
                        client.receive(&frame, now);
                        at_once = if late.is_zero() { at_once } else { 0 };
                    }
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_heard_without_harm(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..8)) {
        let (mut client, lease) = bound(LEASE);
        sent(&mut client, 1850 * SECOND);
        for frame in frames {
            client.receive(&frame, 1850 * SECOND);
        }
        prop_assert_eq!(client.lease(), Some(&lease));
    }

    #[test]
    fn any_options_of_an_answer_are_read_without_harm(options in prop::collection::vec(any::<u8>(), 0..700)) {
        let (mut client, _) = bound(LEASE);
        sent(&mut client, 1850 * SECOND);
        let mut message = samples::bare_reply();
        message[4..8].copy_from_slice(&client.xid.to_be_bytes());
        message.extend(samples::encode(&[(53, &[ACK]), (1, &[255, 255, 255, 0])]));
        message.extend(options);
        client.receive(&Wrapping::default().around(&message), 1850 * SECOND);
        if let Action::Use(lease) = client.next(1850 * SECOND) {
            let routes = lease.routes();
            prop_assert!(routes.len() <= 2 * 65 && lease.search.len() <= 16);
        }
    }
}

#[test]
fn a_lease_survives_being_written_down() {
    let classless: &[u8] = &[24, 10, 1, 1, 10, 77, 0, 9, 0, 0, 0, 0, 0];
    let (_, lease) =
        bound(&[LEASE, &[(121, classless), (15, b"lan"), (119, b"\x01a\0"), (26, &[5, 0])]].concat());
    assert_eq!((lease.mtu, lease.domain.as_deref(), lease.search.len()), (Some(1280), Some("lan"), 1));
    let text = serde_json::to_string(&lease).unwrap();
    assert_eq!(serde_json::from_str::<Lease>(&text).unwrap(), lease);
}
