//! A bridge port and the VLANs that it carries, as the kernel shows them.

use std::fmt;

use super::vlan::{VlanRange, merged, without};

/// The state of a bridge port (IFLA_BRPORT_STATE, include/uapi/linux/if_bridge.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "IEEE 802.1D's own words")]
pub enum PortState {
    Disabled,
    Listening,
    Learning,
    Forwarding,
    Blocking,
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        })
    }
}

/// What is particular to a bridge port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Whether frames pass it.
    pub state: PortState,
    /// Frames may leave through the port they came in.
    pub hairpin: bool,
    /// It talks to non-isolated ports only.
    pub isolated: bool,
    /// Broadcasts of other ports leave through it (IFLA_BRPORT_BCAST_FLOOD); the bridge device's own always do.
    pub broadcast_flood: bool,
    /// Only frames of sources that the bridge was told of come in by it (IFLA_BRPORT_LOCKED).
    pub locked: bool,
    /// Hundredths of a second until its state changes (IFLA_BRPORT_FORWARD_DELAY_TIMER).
    pub forward_timer: u64,
}

impl Port {
    /// A port as the kernel makes it, in this state.
    pub fn plain(state: PortState) -> Self {
        Self {
            state,
            hairpin: false,
            isolated: false,
            broadcast_flood: true,
            locked: false,
            forward_timer: 0,
        }
    }
}

/// The VLANs that a port carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortVlans {
    /// VLAN of untagged frames that come in.
    pub pvid: Option<u16>,
    /// VLANs whose frames leave untagged: ascending, disjoint.
    pub untagged: Vec<VlanRange>,
    /// VLANs whose frames leave tagged: ascending, disjoint.
    pub tagged: Vec<VlanRange>,
}

impl PortVlans {
    /// Whether frames of the VLAN pass the port.
    pub fn contains(&self, id: u16) -> bool {
        self.untagged.iter().chain(&self.tagged).any(|range| range.contains(id))
    }

    /// Whether the VLAN's frames leave untagged.
    pub fn is_untagged(&self, id: u16) -> bool {
        self.untagged.iter().any(|range| range.contains(id))
    }

    /// Whether the VLAN's frames leave as they are to come in: untagged both ways, or tagged.
    pub fn is_symmetric(&self, id: u16) -> bool {
        self.is_untagged(id) == (self.pvid == Some(id))
    }

    /// All of them, tagged or not: ascending, disjoint.
    pub fn all(&self) -> Vec<VlanRange> {
        merged(self.untagged.iter().chain(&self.tagged).copied().collect())
    }
}

impl fmt::Display for PortVlans {
    /// With the flags that `bridge vlan` has for them, as in `1 (pvid untagged), 20-30`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = |ranges: &[VlanRange]| match self.pvid {
            Some(id) => without(ranges.to_vec(), id),
            None => ranges.to_vec(),
        };
        let pvid = self.pvid.map(|id| {
            let flags = if self.is_untagged(id) { " (pvid untagged)" } else { " (pvid)" };
            (VlanRange::single(id), flags)
        });
        let untagged = others(&self.untagged).into_iter().map(|range| (range, " (untagged)"));
        let tagged = others(&self.tagged).into_iter().map(|range| (range, ""));
        let mut all: Vec<_> = pvid.into_iter().chain(untagged).chain(tagged).collect();
        all.sort();
        if all.is_empty() {
            return f.write_str("none");
        }
        let shown: Vec<String> = all.iter().map(|(range, flags)| format!("{range}{flags}")).collect();
        f.write_str(&shown.join(", "))
    }
}
