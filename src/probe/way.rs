//! The way of a probe's question and of its answer, hop by hop: where each was seen, where it was seen last, and what dropped it
//! there. Pure.

use serde::Serialize;

use super::dropper;
use super::facts::{Asked, Facts};
use super::verdict::lost;
use super::witness::Sight;
use crate::error::{Code, Error};

/// Whether a frame was seen at a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// It was.
    Yes,
    /// It was not, although a listener was there.
    No,
    /// No listener was there.
    Unknown,
}

/// A place that question and answer pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// `port`, `bridge`, `uplink` or `lan`.
    pub at: &'static str,
    /// Its name; the LAN has none.
    pub name: String,
    /// Whether the question was seen to pass.
    pub question: Seen,
    /// Whether the answer was.
    pub answer: Seen,
}

/// The whole way: the port, the bridge, the uplink, the LAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// In the question's order.
    pub hops: [Hop; 4],
    /// What dropped question or answer behind the hop where it was last seen, where that is on this node.
    pub dropper: Option<String>,
    /// Own questions came back by the uplink.
    #[serde(rename = "cameBack")]
    pub came_back: bool,
}

impl Way {
    /// That of a probe that is answered.
    pub fn answered(bridge: &str, uplink: &str) -> Self {
        let hop = |at, name: &str| Hop { at, name: name.to_string(), question: Seen::Yes, answer: Seen::Yes };
        let hops = [hop("port", "port"), hop("bridge", bridge), hop("uplink", uplink), hop("lan", "LAN")];
        Self { hops, dropper: None, came_back: false }
    }

    /// That of a probe that got no good offer, and this verdict.
    pub(super) fn of(facts: &Facts<'_>, verdict: &Error) -> Self {
        let witness = facts.witness.as_ref().ok();
        let at_uplink = |passed: fn(&Sight) -> bool| match witness {
            Some(witness) if witness.port_asked => seen(witness.uplink(passed).is_some()),
            _ => Seen::Unknown,
        };
        let left = at_uplink(|sight| sight.port.left > 0);
        let entered = at_uplink(|sight| sight.port.answered > 0);
        let asked = facts.on_port.iter().any(|asked| asked.counters.sent > 0);
        let replied = |asked: &Asked| {
            let counters = &asked.counters;
            !asked.answers.is_empty() || counters.refusals + counters.malformed + counters.tagged > 0
        };
        let reached = seen(facts.on_port.iter().any(replied));
        // Between its ports the bridge shows a frame to no listener.
        let between = |before, behind| match (before, behind) {
            (_, Seen::Yes) => Seen::Yes,
            (Seen::No, _) => Seen::No,
            _ => Seen::Unknown,
        };
        let hop = |at, name: &str, question, answer| Hop { at, name: name.to_string(), question, answer };
        let beyond = if entered == Seen::Yes { Seen::Yes } else { Seen::Unknown };
        let dropper = (verdict.code == Code::BridgedFramesDropped)
            .then(|| dropper::find(facts, lost(facts).as_ref()).cause);
        Self {
            hops: [
                hop("port", "port", seen(asked), reached),
                hop("bridge", &facts.bridge.name, between(Seen::Unknown, left), between(entered, reached)),
                hop("uplink", &uplink_shown(facts), left, entered),
                hop("lan", "LAN", beyond, beyond),
            ],
            dropper,
            came_back: verdict.code == Code::FramesComeBack,
        }
    }
}

fn seen(was: bool) -> Seen {
    if was { Seen::Yes } else { Seen::No }
}

/// The uplink that has seen most of question and answer, with how many there are besides.
fn uplink_shown(facts: &Facts<'_>) -> String {
    let names = facts.uplinks.iter().map(|uplink| uplink.link.name.as_str());
    let passed = |name: &&str| {
        facts.witness.as_ref().map_or(0, |witness| {
            let at = witness.uplink(|sight| sight.ifname == *name);
            at.map_or(0, |sight| u8::from(sight.port.answered > 0) * 2 + u8::from(sight.port.left > 0))
        })
    };
    let first = names.clone().rev().max_by_key(passed).unwrap_or("no uplink");
    match facts.uplinks.len() {
        0 | 1 => first.to_string(),
        count => format!("{first} (+{})", count - 1),
    }
}
