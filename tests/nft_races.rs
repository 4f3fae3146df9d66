//! Attachments that come and go at the same time: none takes the shared nftables state from another, and the last one takes
//! it away.

use crate::support;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use bridge_dhcp::kernel::nft::{guard, masquerade};
use bridge_dhcp::net::MacAddress;
use ipnetwork::IpNetwork;
use support::feature::{Feature, needs};
use support::namespace::Namespace;

/// What shares a table: makes, checks and removes the state of one attachment by its number.
struct Kind {
    make: fn(u8),
    intact: fn(u8) -> bool,
    remove: fn(u8),
}

const GUARD: Kind = Kind {
    make: |number| guard::protect(&host(number), mac(number)).unwrap(),
    intact: |number| guard::verify(&host(number), mac(number)).unwrap().is_empty(),
    remove: |number| guard::unprotect(&host(number)).unwrap(),
};

const MASQUERADE: Kind = Kind {
    make: |number| masquerade::install(&host(number), &addresses(number)).unwrap(),
    intact: |number| masquerade::verify(&host(number), &addresses(number)).unwrap().is_empty(),
    remove: |number| masquerade::remove(&host(number)).unwrap(),
};

fn host(number: u8) -> String {
    format!("veth{number}")
}

fn mac(number: u8) -> MacAddress {
    MacAddress::new([2, 0, 0, 0, 0, number]).unwrap()
}

fn addresses(number: u8) -> [IpNetwork; 2] {
    [format!("10.1.{number}.5/16").parse().unwrap(), format!("fd01::{number:x}/64").parse().unwrap()]
}

/// Both at once, the second one later by `offset`.
fn together(node: &Namespace, offset: Duration, first: impl FnOnce() + Send, second: impl FnOnce() + Send) {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| node.enter(|| (start.wait(), first())));
        node.enter(|| {
            start.wait();
            let begin = Instant::now();
            while begin.elapsed() < offset {
                std::hint::spin_loop();
            }
            second();
        });
    });
}

fn one_that_comes_survives_the_last_one_that_goes(kind: &Kind) {
    let node = Namespace::new("node");
    for round in 0..80 {
        node.enter(|| (kind.make)(1));
        // The one that goes looks for others and removes the table in a short while: it is tried all along the other's way.
        together(&node, Duration::from_micros(10 * round), || (kind.make)(2), || (kind.remove)(1));
        assert!(node.enter(|| (kind.intact)(2)), "round {round}");
        node.enter(|| (kind.remove)(2));
    }
    assert_eq!(node.run("nft list ruleset"), "");
}

fn the_last_two_leave_nothing(kind: &Kind) {
    let node = Namespace::new("node");
    for round in 0..10 {
        node.enter(|| [1, 2].map(kind.make));
        together(&node, Duration::from_micros(2 * round), || (kind.remove)(1), || (kind.remove)(2));
        assert_eq!(node.run("nft list ruleset"), "", "round {round}");
    }
}

fn many_that_come_and_go_take_nothing_from_each_other(kind: &Kind) {
    let node = Namespace::new("node");
    let start = Barrier::new(16);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (node, start) = (&node, &start);
            scope.spawn(move || {
                node.enter(|| {
                    start.wait();
                    for _ in 0..3 {
                        (kind.make)(number);
                        assert!((kind.intact)(number), "{number}");
                        (kind.remove)(number);
                    }
                });
            });
        }
    });
    assert_eq!(node.run("nft list ruleset"), "");
}

#[test]
fn a_port_that_comes_stays_protected_when_the_last_one_goes() {
    one_that_comes_survives_the_last_one_that_goes(&GUARD);
}

#[test]
fn an_attachment_that_comes_stays_masqueraded_when_the_last_one_goes() {
    if needs(Feature::Nat) {
        one_that_comes_survives_the_last_one_that_goes(&MASQUERADE);
    }
}

#[test]
fn the_last_two_ports_leave_nothing() {
    the_last_two_leave_nothing(&GUARD);
}

#[test]
fn the_last_two_masqueraded_attachments_leave_nothing() {
    if needs(Feature::Nat) {
        the_last_two_leave_nothing(&MASQUERADE);
    }
}

#[test]
fn many_ports_take_nothing_from_each_other() {
    many_that_come_and_go_take_nothing_from_each_other(&GUARD);
}

#[test]
fn many_masqueraded_attachments_take_nothing_from_each_other() {
    if needs(Feature::Nat) {
        many_that_come_and_go_take_nothing_from_each_other(&MASQUERADE);
    }
}
