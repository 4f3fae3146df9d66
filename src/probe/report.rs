//! What an answered probe tells: offers with their times, what was counted, and what is odd about them. It reads as
//! lines of text and serialises to JSON.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::question::Question;
use crate::dhcp::exchange::{Answer, Exchange};
use crate::dhcp::expected::{Expected, Fit};
use crate::dhcp::reply::Offer;
use crate::error::Code;
use crate::net::MacAddress;

/// A lease shorter than this makes its clients ask all the time.
const LEASE_MIN: Duration = Duration::from_secs(60);

/// An answered probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The bridge.
    pub bridge: String,
    /// The VLAN asked in; `None` is the bridge's default.
    pub vlan: Option<u16>,
    /// Whose offer was asked for (`chaddr`).
    #[serde(serialize_with = "shown")]
    pub client: MacAddress,
    /// Ethernet source of the probe's frames.
    #[serde(serialize_with = "shown")]
    pub source: MacAddress,
    /// The offers, in the order they came.
    pub offers: Vec<Offered>,
    /// DHCPDISCOVERs sent.
    pub discovers_sent: u32,
    /// Frames to DHCP clients seen.
    pub frames_seen: u32,
    /// DHCP replies seen, for anyone.
    pub replies_seen: u32,
    /// From the call until the temporary port forwarded, in milliseconds.
    pub ready_after_ms: f64,
    /// From the call to the end, in milliseconds.
    pub elapsed_ms: f64,
    /// What is odd, one line each.
    pub warnings: Vec<Warning>,
}

/// Something odd about an answered probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Warning {
    /// The code, where guests will meet it for as long as they are attached.
    pub lasting: Option<Code>,
    /// One line.
    pub text: String,
}

impl Warning {
    /// What is odd once.
    pub fn passing(text: String) -> Self {
        Self { lasting: None, text }
    }

    /// What guests will meet.
    pub fn lasting(code: Code, text: String) -> Self {
        Self { lasting: Some(code), text }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// One offer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    /// Server identifier.
    pub server: Ipv4Addr,
    /// Ethernet source: the server's, or the last relay's.
    #[serde(serialize_with = "shown")]
    pub server_mac: MacAddress,
    /// Relay that passed it on.
    pub relay: Option<Ipv4Addr>,
    /// The offered address.
    pub address: Ipv4Addr,
    /// Its subnet mask.
    pub mask: Option<Ipv4Addr>,
    /// Default routers.
    pub routers: Vec<Ipv4Addr>,
    /// Lease time in seconds.
    pub lease_seconds: Option<u64>,
    /// Renewal time T1 in seconds.
    pub renewal_seconds: Option<u64>,
    /// Rebinding time T2 in seconds.
    pub rebinding_seconds: Option<u64>,
    /// From the first DHCPDISCOVER to this offer, in milliseconds.
    pub after_ms: f64,
    /// It is from an expected server and of an expected subnet.
    pub expected: bool,
}

impl Report {
    /// The report of a satisfied exchange.
    pub fn new(question: &Question, exchange: &Exchange, ready_after: Duration, elapsed: Duration) -> Self {
        let counters = exchange.counters();
        let identity = exchange.identity();
        Self {
            bridge: question.bridge.to_string(),
            vlan: question.vlans.as_ref().map(|vlans| vlans.native),
            client: identity.chaddr,
            source: identity.source,
            offers: exchange
                .answers()
                .iter()
                .map(|answer| Offered::new(answer, &question.expected))
                .collect(),
            discovers_sent: counters.sent,
            frames_seen: counters.frames,
            replies_seen: counters.replies,
            ready_after_ms: milliseconds(ready_after),
            elapsed_ms: milliseconds(elapsed),
            warnings: warnings(exchange.answers(), counters.more_offers, &question.expected),
        }
    }
}

impl Offered {
    fn new(answer: &Answer, expected: &Expected) -> Self {
        let offer = &answer.offer;
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        Self {
            server: offer.sender.server,
            server_mac: offer.sender.mac,
            relay: offer.sender.relay,
            address: offer.address,
            mask: offer.mask,
            routers: offer.routers.clone(),
            lease_seconds: seconds(offer.lease),
            renewal_seconds: seconds(offer.renewal),
            rebinding_seconds: seconds(offer.rebinding),
            after_ms: milliseconds(answer.after),
            expected: expected.fit(offer) == Fit::Good,
        }
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from server {} ({})", self.address, self.server, self.server_mac)?;
        if let Some(relay) = self.relay {
            write!(f, " through relay {relay}")?;
        }
        write!(f, " after {:.1} ms", self.after_ms)
    }
}

/// What a guest would stumble over later.
fn warnings(answers: &[Answer], more: u32, expected: &Expected) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let count = answers.len() as u64 + u64::from(more);
    if count > 1 {
        let servers: Vec<String> = answers
            .iter()
            .map(|Answer { offer, .. }| format!("{} ({})", offer.sender.server, offer.sender.mac))
            .collect();
        let text = format!("{count} DHCP servers answer: {}", servers.join(", "));
        warnings.push(Warning::passing(text));
    }
    for Answer { offer, .. } in answers {
        let server = offer.sender.server;
        match expected.fit(offer) {
            Fit::Good => {}
            Fit::OtherServer => {
                let text = format!("server {server} ({}) is not in \"servers\"", offer.sender.mac);
                warnings.push(Warning::lasting(Code::RogueServer, text));
            }
            Fit::OtherSubnet => {
                let text = format!("server {server} offers {}, outside \"subnets\"", offer.address);
                warnings.push(Warning::lasting(Code::WrongSubnet, text));
            }
        }
        if offer.routers.is_empty() {
            let text = format!("server {server} names no router: guests would have no default route");
            warnings.push(Warning::passing(text));
        }
        warnings.extend(odd_timers(offer).map(|odd| Warning::passing(format!("server {server}: {odd}"))));
    }
    warnings
}

/// What is odd about the timers (RFC 2131 section 4.4.5: T1 before T2 before the end of the lease).
fn odd_timers(offer: &Offer) -> Option<String> {
    let lease = offer.lease?;
    let seconds = |time: Duration| time.as_secs();
    if lease < LEASE_MIN {
        return Some(format!("lease of only {} s", seconds(lease)));
    }
    match (offer.renewal, offer.rebinding) {
        (Some(renewal), _) if renewal >= lease => {
            Some(format!("renewal after {} s in a lease of {} s", seconds(renewal), seconds(lease)))
        }
        (_, Some(rebinding)) if rebinding >= lease => {
            Some(format!("rebinding after {} s in a lease of {} s", seconds(rebinding), seconds(lease)))
        }
        (Some(renewal), Some(rebinding)) if renewal > rebinding => {
            Some(format!("renewal after {} s, rebinding before it", seconds(renewal)))
        }
        _ => None,
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn shown<S: Serializer>(mac: &MacAddress, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::reply::{Received, read};
    use crate::dhcp::samples::{XID, client_mac, offer_frame};

    fn answer(change: impl FnOnce(&mut Offer)) -> Answer {
        let Received::Offered(mut offer) = read(&offer_frame(), XID, client_mac()) else { panic!() };
        change(&mut offer);
        Answer { offer, after: Duration::from_millis(2) }
    }

    fn warned(answers: &[Answer]) -> String {
        text(&warnings(answers, 0, &Expected::default()))
    }

    fn text(warnings: &[Warning]) -> String {
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_plain_offer_warns_of_nothing() {
        assert_eq!(warned(&[answer(|_| {})]), "");
        let forever = answer(|offer| offer.lease = Some(Duration::from_secs(u32::MAX.into())));
        assert_eq!(warned(&[forever]), "");
        assert_eq!(warned(&[answer(|offer| offer.lease = None)]), "");
    }

    #[test]
    fn what_a_guest_would_stumble_over_is_said() {
        let seconds = |count| Some(Duration::from_secs(count));
        let cases: [(Answer, &str); 5] = [
            (answer(|offer| offer.routers.clear()), "no router"),
            (answer(|offer| offer.lease = seconds(30)), "only 30 s"),
            (answer(|offer| offer.renewal = seconds(3600)), "renewal after 3600 s in a lease"),
            (answer(|offer| offer.rebinding = seconds(4000)), "rebinding after 4000 s in a lease"),
            (answer(|offer| offer.renewal = seconds(3200)), "rebinding before it"),
        ];
        for (answer, expected) in cases {
            assert!(warned(&[answer]).contains(expected), "{expected}");
        }
    }

    #[test]
    fn a_second_server_is_named() {
        let other = answer(|offer| {
            offer.sender.server = Ipv4Addr::new(192, 0, 2, 7);
            offer.sender.ip = offer.sender.server;
        });
        let text = warned(&[answer(|_| {}), other.clone()]);
        assert!(text.starts_with("2 DHCP servers answer: ") && text.contains("192.0.2.7 ("), "{text}");
        let expected = Expected { servers: vec![answer(|_| {}).offer.sender.server], subnets: Vec::new() };
        let is_expected = |answer: &Answer| Offered::new(answer, &expected).expected;
        assert!(is_expected(&answer(|_| {})) && !is_expected(&other));
        let warnings = warnings(&[answer(|_| {}), other], 0, &expected);
        let lasting: Vec<Code> = warnings.iter().filter_map(|warning| warning.lasting).collect();
        assert_eq!(lasting, [Code::RogueServer]);
        let text = super::tests::text(&warnings);
        assert!(text.contains("192.0.2.7") && text.contains("not in \"servers\""), "{text}");
    }
}
