//! VLAN ids, ranges of them, and those that one port shall carry.

use std::fmt;

/// Highest VLAN id that a bridge port takes (802.1Q; 4095 is reserved).
pub const VLAN_MAX: u16 = 4094;

/// An inclusive range of VLAN ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct VlanRange {
    /// The lowest id.
    pub first: u16,
    /// The highest id.
    pub last: u16,
}

impl VlanRange {
    /// The range of one id.
    pub fn single(id: u16) -> Self {
        Self { first: id, last: id }
    }

    /// Whether the id lies in the range.
    pub fn contains(&self, id: u16) -> bool {
        (self.first..=self.last).contains(&id)
    }

    /// Ranges as one text, as in `1,20-30`.
    pub fn listed(ranges: &[Self]) -> String {
        ranges.iter().map(Self::to_string).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for VlanRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The VLANs of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vlans {
    /// The VLAN of untagged frames, in and out.
    pub native: u16,
    /// VLANs whose frames are tagged: ascending, disjoint, without the native one.
    pub tagged: Vec<VlanRange>,
    /// Whether the bridge's default VLAN stays on the port.
    pub keep_default: bool,
}

impl Vlans {
    /// Whether frames of this VLAN pass the port, tagged or not.
    pub fn contains(&self, id: u16) -> bool {
        id == self.native || self.tagged.iter().any(|range| range.contains(id))
    }
}

/// The same ids as ascending ranges that neither overlap nor touch.
pub fn merged(mut ranges: Vec<VlanRange>) -> Vec<VlanRange> {
    ranges.sort();
    let mut result: Vec<VlanRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match result.last_mut() {
            Some(previous) if range.first <= previous.last.saturating_add(1) => {
                previous.last = previous.last.max(range.last);
            }
            _ => result.push(range),
        }
    }
    result
}

/// The ranges with one id cut out.
pub fn without(ranges: Vec<VlanRange>, id: u16) -> Vec<VlanRange> {
    let cut = |range: VlanRange| {
        let below =
            (range.first < id).then(|| VlanRange { first: range.first, last: range.last.min(id - 1) });
        let above = (range.last > id).then(|| VlanRange { first: range.first.max(id + 1), last: range.last });
        if range.first > id || range.last < id { [Some(range), None] } else { [below, above] }
    };
    ranges.into_iter().flat_map(cut).flatten().collect()
}
