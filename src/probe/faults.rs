//! The errors of the DHCP probe, in the words that the pod's event shows. Facts in, words out; which of them holds is
//! the verdict's affair.

use std::fmt::Display;
use std::time::Duration;

use nix::errno::Errno;

use crate::dhcp::reply::{Offer, Refusal};
use crate::error::{Code, Error, quoted};
use crate::kernel::faults::PRIVILEGES;
use crate::kernel::netlink;
use crate::net::MacAddress;
use crate::plan::faults::stp_off;
use crate::plan::step::Step;

/// Bridge and VLAN as a message names them.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The bridge.
    pub bridge: &'a str,
    /// The VLAN; `None` is the bridge's default.
    pub vlan: Option<u16>,
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.vlan {
            Some(vlan) => write!(f, "bridge {} VLAN {vlan}", self.bridge),
            None => write!(f, "bridge {}", self.bridge),
        }
    }
}

/// Code 124: what the kernel refused while the probe looked at something or asked.
pub fn unseen(what: &str, refusal: &netlink::Refusal) -> Error {
    privileged(Error::new(Code::Kernel, format!("cannot probe for DHCP: {what}: {refusal}")), refusal)
}

/// Code 124: the probe's port could not be made as it has to be.
pub fn no_port(step: &Step, refusal: &netlink::Refusal) -> Error {
    let error =
        Error::new(Code::Kernel, format!("cannot make a temporary port to probe for DHCP: {refusal}"));
    privileged(error.evidence(format!("the kernel refuses to {step}")), refusal)
}

fn privileged(error: Error, refusal: &netlink::Refusal) -> Error {
    if refusal.errno == Errno::EPERM { error.remedy(PRIVILEGES) } else { error }
}

/// Why a bridge without ports is not asked through, where that shall change nothing.
pub const UNASKED_ALONE: &str = "nobody was asked: a temporary port would be the bridge's only one, and take its carrier and its MAC along when it goes";

/// Code 110; with the uplinks by which the question was seen to leave.
pub fn no_offer(place: Place<'_>, timeout: Duration, sent: u32, left_by: Option<&str>) -> Error {
    let seen = left_by.map(|uplinks| format!(", seen leaving by {uplinks},")).unwrap_or_default();
    Error::new(
        Code::NoOffer,
        format!(
            "no DHCP server answers on {place}: {sent} DISCOVERs{seen} and no reply within {} s",
            timeout.as_secs_f32()
        ),
    )
    .remedy("check that the DHCP server runs and serves this segment (relay, VLAN on the switch port), then its pool and its list of known clients")
}

/// Code 110 where an XDP program sees an uplink's frames before anybody can listen.
pub fn behind_xdp(error: Error, uplink: &str, id: u32) -> Error {
    let advice = error.advice().unwrap_or_default().to_string();
    error
        .evidence(format!(
            "uplink {uplink} has an XDP program (id {id}), which may drop answers before anybody sees them"
        ))
        .remedy(format!(
            "ask its owner whether the XDP program of {uplink} drops DHCP (bpftool prog show id {id}), or try without: ip link set dev {uplink} xdp off; then {advice}"
        ))
}

/// Code 110: what answers does so in a VLAN whose tag no guest's IP stack takes.
pub fn tagged_only(place: Place<'_>, count: u32, vlan: u16) -> Error {
    Error::new(
        Code::NoOffer,
        format!(
            "no DHCP server answers on {place} untagged: {count} replies came tagged VLAN {vlan}, which a guest's IP stack drops"
        ),
    )
    .remedy(format!(
        "untag VLAN {vlan} on the switch port behind the uplink (native VLAN), or attach in it: \"vlan\": {vlan}, with vlan_filtering 1 on the bridge and VLAN {vlan} on the uplink"
    ))
}

/// Code 111: the node's probe address is answered.
pub fn mac_denied(client: MacAddress, source: MacAddress, place: Place<'_>, offer: &Offer) -> Error {
    Error::new(
        Code::MacDenied,
        format!(
            "DHCP server {} answers {source} but not {client} on {place}: it denies this MAC, or a switch drops it (DHCP snooping)",
            offer.sender.server
        ),
    )
    .evidence("DHCP snooping with MAC verification drops frames whose chaddr is not their Ethernet source; a guest's own frames pass it")
    .remedy("look for this MAC in the server's deny list and reservations; if the switch verifies MACs, set \"dhcpProbe\": {\"clientMac\": \"ephemeral\"}")
}

/// Code 111: only the node's probe address is answered.
pub fn only_probe_answered(
    client: MacAddress,
    source: MacAddress,
    own: MacAddress,
    place: Place<'_>,
    offer: &Offer,
) -> Error {
    Error::new(
        Code::MacDenied,
        format!(
            "DHCP server {} answers {source} but not {client} on {place}: its pool is exhausted, it knows registered clients only, or it denies this MAC",
            offer.sender.server
        ),
    )
    .evidence(format!(
        "{own}, the bridge's own MAC, is not answered either: {source} may only have an address that the server holds for it since an earlier probe"
    ))
    .remedy("look at the server's log, its free addresses and its list of known clients")
}

/// Code 111: only the node's own address is answered.
pub fn only_own_mac(own: MacAddress, place: Place<'_>, offer: &Offer) -> Error {
    Error::new(
        Code::MacDenied,
        format!(
            "DHCP server {} answers only this node's own MAC {own} on {place}: a hypervisor or switch port drops other source MACs",
            offer.sender.server
        ),
    )
    .evidence("a server for registered clients only looks the same if this node is registered")
    .remedy("allow forged transmits, MAC changes and promiscuous mode on the hypervisor's port group, or raise the switch port's MAC limit")
}

/// Code 112.
pub(super) fn bridged_frames_dropped(place: Place<'_>, dropper: &Dropper) -> Error {
    Error::new(
        Code::BridgedFramesDropped,
        format!(
            "{place} itself gets a DHCP offer, its ports do not: this node drops bridged frames ({})",
            dropper.cause
        ),
    )
    .remedy(&dropper.remedy)
}

/// What drops, as a message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropper {
    /// What it is.
    pub cause: String,
    /// What to do about it.
    pub remedy: String,
}

/// Where on the node a probe's frames were seen for the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// No question left by any of these.
    Question {
        /// The uplinks, as a sentence names them.
        uplinks: String,
    },
    /// The answer entered, and reached no port.
    Answer {
        /// The uplink that it entered by.
        uplink: String,
    },
}

/// Code 112, seen at the uplinks.
pub(super) fn dropped_here(place: Place<'_>, lost: &Lost, dropper: &Dropper) -> Error {
    let fact = match lost {
        Lost::Question { uplinks } => {
            format!("the DHCP question of a port of {place} never left by {uplinks}")
        }
        Lost::Answer { uplink } => format!("the DHCP answer entered {place} by {uplink} and reached no port"),
    };
    let fact = format!("{fact}: this node drops it ({})", dropper.cause);
    Error::new(Code::BridgedFramesDropped, fact).remedy(&dropper.remedy)
}

/// What to do about code 117.
pub const FIND_THE_LOOP: &str = "find the loop: a second cable or uplink to the same LAN without STP, a team or bond that the switch does not know, a hypervisor's or switch port's hairpin (reflective relay)";

/// What a probe that is answered says of code 117.
pub fn learned_behind(place: Place<'_>, source: MacAddress, port: &str) -> String {
    format!(
        "what {place} sends by {port} comes back by it (own probe address {source} learned there): a loop, or a switch that reflects frames; guests' MACs move there, too"
    )
}

/// Code 117.
pub fn frames_come_back(place: Place<'_>, uplink: &str, count: u32) -> Error {
    Error::new(
        Code::FramesComeBack,
        format!(
            "what {place} sends by {uplink} comes back by it ({count} own questions): a loop, or a switch that reflects frames"
        ),
    )
    .evidence("the bridge then learns its guests' MACs behind the uplink, and sends what is for them there")
    .remedy(FIND_THE_LOOP)
}

/// Code 118.
pub fn vlan_not_on_wire(place: Place<'_>, uplink: &str, vlan: u16, heard: &str, listened: Duration) -> Error {
    let (nothing, remedy) = match vlan {
        0 => (
            "nothing untagged".to_string(),
            "give the switch port behind the uplink a native (untagged) VLAN, or attach in one that it carries: \"vlan\"".to_string(),
        ),
        vlan => (
            format!("nothing in VLAN {vlan}"),
            format!("allow VLAN {vlan}, tagged, on the switch port behind {uplink} (and on the hypervisor's port group)"),
        ),
    };
    Error::new(
        Code::VlanNotOnWire,
        format!(
            "no DHCP on {place}: the switch port seems not to carry it: heard on {uplink} in {} s: {heard}; {nothing}",
            listened.as_secs_f32()
        ),
    )
    .remedy(remedy)
}

/// Code 113.
pub fn rogue_server(place: Place<'_>, offer: &Offer, expected: &[impl Display]) -> Error {
    Error::new(
        Code::RogueServer,
        format!(
            "rogue DHCP server {} (MAC {}) offers {} on {place}: it is not in \"servers\" ({})",
            offer.sender.server,
            offer.sender.mac,
            offer.address,
            listed(expected)
        ),
    )
    .remedy("find that MAC in the switch's address table and disconnect it, or add the server to \"dhcpProbe.servers\"")
}

/// Code 114.
pub fn wrong_subnet(place: Place<'_>, offer: &Offer, expected: &[impl Display]) -> Error {
    Error::new(
        Code::WrongSubnet,
        format!(
            "DHCP server {} offers {} on {place}, outside \"subnets\" ({}): wrong VLAN or wrong pool",
            offer.sender.server,
            offer.address,
            listed(expected)
        ),
    )
    .remedy("compare \"vlan\" with the VLAN of that subnet, and the server's pool with \"dhcpProbe.subnets\"")
}

/// Seconds that a probe needs once its port forwards.
const BEYOND_STP: u64 = 5;

/// Code 115: the bridge's STP keeps a new port from forwarding longer than the probe may take.
pub fn spanning_tree(bridge: &str, delay: Duration, timeout: Duration, uplinks: usize) -> Error {
    let longer = format!(
        "give the probe more time: \"dhcpProbe\": {{\"timeout\": \"{}s\"}} and a \"deadline\" beyond that (at most \"60s\")",
        delay.as_secs() + BEYOND_STP
    );
    Error::new(
        Code::NotForwarding,
        format!(
            "bridge {bridge} runs STP: a new port forwards only after {} s, the DHCP probe may take {} s",
            delay.as_secs(),
            timeout.as_secs_f32()
        ),
    )
    .evidence(format!("STP on, forward delay {} s in each of listening and learning", delay.as_secs() / 2))
    .remedy(match uplinks {
        0 | 1 => format!("{longer}, or, {}", stp_off(bridge)),
        more => format!(
            "{longer}; STP must stay on, since the bridge has {more} uplinks: without it they are a loop"
        ),
    })
}

/// Code 115: the probe's own port.
pub fn port_not_forwarding(port: &str, bridge: &str, timeout: Duration) -> Error {
    Error::new(
        Code::NotForwarding,
        format!("a new port of bridge {bridge} does not forward within {} s", timeout.as_secs_f32()),
    )
    .evidence(format!("temporary port {port}; a spanning tree daemon of the node decides its state"))
    .remedy(format!("bridge -d link show master {}", quoted(bridge)))
}

/// Code 122: the node was too slow to ask at all, which says nothing about DHCP.
pub fn no_time(place: Place<'_>, timeout: Duration) -> Error {
    Error::new(
        Code::Deadline,
        format!(
            "the DHCP probe of {place} could not ask within {} s: this node is overloaded",
            timeout.as_secs_f32()
        ),
    )
    .remedy("raise \"dhcpProbe.timeout\" and \"deadline\"")
}

/// Code 116: refused.
pub fn refused(place: Place<'_>, client: MacAddress, refusal: &Refusal) -> Error {
    let words = refusal.message.as_ref().map(|text| format!(" ({text:?})")).unwrap_or_default();
    Error::new(
        Code::BadReplies,
        format!(
            "DHCP server {} answers {client} on {place} with NAK instead of an offer{words}",
            refusal.sender.server
        ),
    )
    .remedy("the server's log says why it refuses; a second server with another subnet on this segment does so, too")
}

/// Code 116: malformed.
pub fn malformed(place: Place<'_>, count: u32, what: &dyn Display) -> Error {
    Error::new(Code::BadReplies, format!("{count} malformed DHCP replies on {place}, no offer: {what}"))
        .remedy("look at the replies: tcpdump -eni UPLINK -vvv udp port 68")
}

/// Code 116: for others.
pub fn replies_to_others(place: Place<'_>, count: u32) -> Error {
    Error::new(
        Code::BadReplies,
        format!(
            "a DHCP server answers others on {place} ({count} replies seen), but offers this client nothing"
        ),
    )
    .evidence("an exhausted pool and a server for registered clients only look like this")
    .remedy("the server's log says why it ignores this client")
}

fn listed(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
