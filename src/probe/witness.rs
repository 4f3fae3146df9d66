//! What was seen at the uplinks: which of our questions left and came back, which answers entered, and who else is heard. Pure.

use std::collections::BTreeSet;

use crate::dhcp::overheard::{Dhcp, Overheard};

/// VLANs that are named in one line.
const VLANS_SHOWN: usize = 8;

/// The transaction numbers of a probe's questions, by the place that they are asked from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asking {
    /// From the temporary port.
    pub port: Vec<u32>,
    /// From the bridge device.
    pub device: Vec<u32>,
}

/// What became of the questions of one place at one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// Questions that left.
    pub left: u32,
    /// The VLAN whose tag the last of these had; 0 is untagged.
    pub left_in: u16,
    /// Answers that entered.
    pub answered: u32,
    /// The VLAN of the last of these.
    pub answered_in: u16,
    /// Questions that entered: they came back.
    pub returned: u32,
}

/// What was seen at one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub ifname: String,
    /// It lies below the uplink that is a port of the bridge: a member of a bond, or a VLAN's device.
    pub below: bool,
    /// The port's questions.
    pub port: Passage,
    /// The bridge device's.
    pub device: Passage,
    /// Questions of other clients that entered.
    pub others_questions: u32,
    /// Answers to other clients that entered.
    pub others_answers: u32,
    /// VLANs that others' broadcasts came in by; 0 is untagged.
    pub heard: BTreeSet<u16>,
}

impl Sight {
    /// Nothing seen yet.
    pub fn at(index: u32, ifname: &str, below: bool) -> Self {
        Self { index, ifname: ifname.to_string(), below, ..Self::default() }
    }

    fn see(&mut self, asking: &Asking, frame: Overheard) {
        let Overheard { leaving, vlan, dhcp } = frame;
        let (xid, is_question) = match dhcp {
            Some(Dhcp::Question(xid)) => (xid, true),
            Some(Dhcp::Answer(xid)) => (xid, false),
            None => {
                self.heard.extend((!leaving).then_some(vlan));
                return;
            }
        };
        let passage = match xid {
            _ if asking.port.contains(&xid) => Some(&mut self.port),
            _ if asking.device.contains(&xid) => Some(&mut self.device),
            _ => None,
        };
        let count = |counter: &mut u32| *counter = counter.saturating_add(1);
        match (passage, leaving, is_question) {
            (Some(passage), true, true) => {
                count(&mut passage.left);
                passage.left_in = vlan;
            }
            (Some(passage), false, false) => {
                count(&mut passage.answered);
                passage.answered_in = vlan;
                self.heard.insert(vlan);
            }
            (Some(passage), false, true) => count(&mut passage.returned),
            // What guests of this node ask and hear proves nothing about the wire.
            (_, true, _) => {}
            (None, false, true) => {
                count(&mut self.others_questions);
                self.heard.insert(vlan);
            }
            (None, false, false) => {
                count(&mut self.others_answers);
                self.heard.insert(vlan);
            }
        }
    }
}

/// All that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Witness {
    asking: Asking,
    /// One for each interface: the uplinks, then what lies below them.
    pub sights: Vec<Sight>,
    /// The port asked while somebody listened.
    pub port_asked: bool,
    /// So did the bridge device.
    pub device_asked: bool,
}

impl Witness {
    /// Whoever looks at these interfaces, and knows these questions.
    pub fn new(asking: Asking, sights: Vec<Sight>) -> Self {
        Self { asking, sights, ..Self::default() }
    }

    /// Takes note of a frame.
    pub fn see(&mut self, index: u32, frame: Overheard) {
        if let Some(sight) = self.sights.iter_mut().find(|sight| sight.index == index) {
            sight.see(&self.asking, frame);
        }
    }

    /// The uplinks themselves.
    pub fn uplinks(&self) -> impl Iterator<Item = &Sight> {
        self.sights.iter().filter(|sight| !sight.below)
    }

    /// The uplink at which this holds.
    pub fn uplink(&self, holds: impl Fn(&Sight) -> bool) -> Option<&Sight> {
        self.uplinks().find(|sight| holds(sight))
    }

    /// Whether one of the port's questions, asked while somebody listened, was never seen to leave.
    pub fn port_never_left(&self) -> bool {
        let seen = |sight: &Sight| sight.port.left > 0;
        self.port_asked && self.uplinks().next().is_some() && self.uplink(seen).is_none()
    }

    /// The uplink by which own questions came back. What a bond's idle member hears of its own is dropped there.
    pub fn returned_by(&self) -> Option<&Sight> {
        self.uplink(|sight| sight.port.returned + sight.device.returned > 0)
    }

    /// The VLAN that the port's questions left in, where others' frames were heard, but none in it; with those heard.
    pub fn unheard_vlan(&self) -> Option<(&Sight, u16, BTreeSet<u16>)> {
        let wire = |below| self.sights.iter().filter(move |sight| sight.below == below);
        // Below a VLAN's device the tags are seen, above it they are not.
        let lowest = wire(true).any(|sight| sight.port.left > 0);
        let left = wire(lowest).find(|sight| sight.port.left > 0)?;
        let heard: BTreeSet<u16> = wire(lowest).flat_map(|sight| &sight.heard).copied().collect();
        let vlan = left.port.left_in;
        (!heard.is_empty() && !heard.contains(&vlan)).then_some((left, vlan, heard))
    }

    /// One line for each interface.
    pub fn lines(&self) -> Vec<String> {
        let line = |sight: &Sight| {
            let Sight { ifname, port, device, others_questions, others_answers, heard, .. } = sight;
            format!(
                "seen at {ifname} in the second half: questions of the port left {}, of the bridge {}; answers to the port entered {}, to the bridge {}; own questions came back {}; others' questions {others_questions}, answers {others_answers}; broadcasts heard in VLANs: {}",
                port.left,
                device.left,
                port.answered,
                device.answered,
                port.returned + device.returned,
                vlans_shown(heard)
            )
        };
        self.sights.iter().map(line).collect()
    }
}

/// VLANs as a sentence names them; 0 is `untagged`.
pub fn vlans_shown(vlans: &BTreeSet<u16>) -> String {
    let mut shown: Vec<String> = vlans.iter().take(VLANS_SHOWN).map(|vlan| vlan_shown(*vlan)).collect();
    if vlans.len() > VLANS_SHOWN {
        shown.push(format!("{} more", vlans.len() - VLANS_SHOWN));
    }
    if shown.is_empty() { "none".to_string() } else { shown.join(", ") }
}

/// A VLAN as a sentence names it; 0 is `untagged`.
pub fn vlan_shown(vlan: u16) -> String {
    if vlan == 0 { "untagged".to_string() } else { vlan.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u32 = 1;
    const DEVICE: u32 = 2;
    const FOREIGN: u32 = 3;

    fn witness() -> Witness {
        let asking = Asking { port: vec![PORT], device: vec![DEVICE] };
        let sights = vec![Sight::at(4, "bond0", false), Sight::at(5, "eth0", true)];
        Witness { port_asked: true, ..Witness::new(asking, sights) }
    }

    fn seen(frames: &[(u32, bool, u16, Option<Dhcp>)]) -> Witness {
        let mut witness = witness();
        for &(index, leaving, vlan, dhcp) in frames {
            witness.see(index, Overheard { leaving, vlan, dhcp });
        }
        witness
    }

    #[test]
    fn each_frame_counts_where_it_was_seen_and_whose_it_is() {
        let witness = seen(&[
            (4, true, 0, Some(Dhcp::Question(PORT))),
            (5, true, 120, Some(Dhcp::Question(PORT))),
            (4, false, 0, Some(Dhcp::Answer(PORT))),
            (4, false, 0, Some(Dhcp::Question(DEVICE))),
            (4, false, 0, Some(Dhcp::Question(FOREIGN))),
            (4, false, 0, Some(Dhcp::Answer(FOREIGN))),
            (4, true, 0, Some(Dhcp::Answer(FOREIGN))),
            (9, true, 0, Some(Dhcp::Question(PORT))),
        ]);
        let [above, below] = witness.sights.as_slice() else { panic!() };
        assert_eq!((above.port.left, above.port.answered, above.device.returned), (1, 1, 1));
        assert_eq!((above.others_questions, above.others_answers), (1, 1));
        assert_eq!((below.port.left, below.port.left_in, below.port.answered), (1, 120, 0));
        assert!(!witness.port_never_left());
    }

    #[test]
    fn a_question_that_nobody_could_see_accuses_nobody() {
        assert!(witness().port_never_left());
        assert!(!Witness { port_asked: false, ..witness() }.port_never_left());
        assert!(!Witness { sights: Vec::new(), ..witness() }.port_never_left());
    }

    #[test]
    fn what_an_idle_member_of_a_bond_hears_of_us_is_no_loop() {
        assert!(seen(&[(5, false, 0, Some(Dhcp::Question(PORT)))]).returned_by().is_none());
        assert!(seen(&[(4, false, 0, Some(Dhcp::Question(PORT)))]).returned_by().is_some());
    }

    #[test]
    fn a_vlan_is_missing_on_the_wire_only_where_others_are_heard() {
        let asked = |vlan| (5, true, vlan, Some(Dhcp::Question(PORT)));
        let missing =
            |frames: &[_]| seen(frames).unheard_vlan().map(|(_, vlan, heard)| (vlan, vlans_shown(&heard)));
        assert_eq!(missing(&[asked(120)]), None);
        assert_eq!(missing(&[(5, false, 0, None), (5, false, 10, None)]), None);
        let heard = [(5, false, 0, None), (5, false, 10, None), asked(120)];
        assert_eq!(missing(&heard), Some((120, "untagged, 10".to_string())));
        assert_eq!(missing(&[(5, false, 120, None), asked(120)]), None);
        assert_eq!(missing(&[(5, false, 10, None), asked(0)]), Some((0, "10".to_string())));
        // Our own broadcasts are none of the wire's.
        assert_eq!(missing(&[(5, true, 10, None), asked(120)]), None);
    }

    #[test]
    fn many_vlans_are_counted() {
        let many = (0..12).collect();
        assert_eq!(vlans_shown(&many), "untagged, 1, 2, 3, 4, 5, 6, 7, 4 more");
    }
}
