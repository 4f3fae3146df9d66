//! All exchanges of one probe, and the addresses that they ask with.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::faults::unseen;
use super::question::Question;
use super::witness::Asking;
use crate::dhcp::exchange::{Exchange, Identity, Timing};
use crate::error::Error;
use crate::kernel::random::random_bytes;
use crate::net::{Link, MacAddress};

/// How long after the half of the time the question is asked once more, for those who listen from then on.
const TO_BE_SEEN: Duration = Duration::from_millis(100);

/// The Ethernet source of every probe of this bridge on this node: the same one each time, since switches with port
/// security count addresses. No other interface has it, since it is a hash of the bridge's own address and name.
pub fn source(bridge: &Link) -> MacAddress {
    let mac = bridge.mac.map(MacAddress::octets).unwrap_or_default();
    let digest =
        Sha256::new().chain_update("bridge-dhcp probe ").chain_update(mac).chain_update(&bridge.name);
    let digest: [u8; 32] = digest.finalize().into();
    let [a, b, c, d, e, f, ..] = digest;
    MacAddress::local([a, b, c, d, e, f])
}

/// All exchanges of a probe; each knows the others, so that their replies are not taken for a stranger's.
pub(super) struct Exchanges {
    /// How long the question had.
    pub(super) window: Duration,
    /// The question itself and, from the half of the time on, the second identity.
    pub(super) on_port: Vec<Exchange>,
    /// From the bridge device: the question's client, the second identity, the bridge's own address.
    pub(super) at_bridge: Vec<Exchange>,
}

impl Exchanges {
    /// Their transaction numbers, by the place that they are asked from.
    pub(super) fn asking(&self) -> Asking {
        let of = |exchanges: &[Exchange]| exchanges.iter().map(Exchange::xid).collect();
        Asking { port: of(&self.on_port), device: of(&self.at_bridge) }
    }

    pub(super) fn new(
        question: &Question,
        bridge: &Link,
        source: MacAddress,
        timeout: Duration,
        half: Duration,
    ) -> Result<Self, Error> {
        let client = question.client.unwrap_or(source);
        let timing = Timing { timeout, grace: question.grace };
        let begin = |chaddr, source, timing| {
            let seed = random_bytes().map(u64::from_be_bytes);
            let seed = seed.map_err(|refusal| unseen("random numbers", &refusal))?;
            Ok(Exchange::new(Identity { chaddr, source }, timing, seed).expecting(question.expected.clone()))
        };
        let mut on_port = vec![begin(client, source, timing)?.again_at(half + TO_BE_SEEN)];
        let rest = Timing { timeout: timeout.saturating_sub(half), grace: timeout };
        let mut at_bridge = vec![begin(client, source, rest)?];
        if client != source {
            on_port.push(begin(source, source, timing)?.beginning_at(half));
            at_bridge.push(begin(source, source, rest)?);
        }
        if let Some(own) = bridge.mac {
            at_bridge.push(begin(own, own, rest)?);
        }
        let all: Vec<u32> = on_port.iter().chain(&at_bridge).map(Exchange::xid).collect();
        let introduce = |exchanges: Vec<Exchange>| {
            let introduced = exchanges.into_iter().map(|exchange| exchange.beside(all.clone()));
            introduced.collect::<Vec<_>>()
        };
        Ok(Self { window: timeout, on_port: introduce(on_port), at_bridge: introduce(at_bridge) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_the_same_each_time_and_another_for_each_bridge() {
        let of = |name: &str, last| {
            let mac = Some(MacAddress::local([2, 0, 0, 0, 0, last]));
            source(&Link { mac, ..Link::plain(name) })
        };
        assert_eq!(of("br0", 1), of("br0", 1));
        assert_ne!(of("br0", 1), of("br0", 2), "bridges of one name on two nodes");
        assert_ne!(of("br0", 1), of("br1", 1), "bridges of one node");
    }
}
