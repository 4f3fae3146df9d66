//! The VLANs that a port shall carry, from `vlan`, `vlanTrunk` and `preserveDefaultVlan`.

use std::fmt;

use serde_json::Value;

use crate::report::Error;
use crate::request::keys::Keys;

/// Highest VLAN id that a bridge port takes (802.1Q; 4095 is reserved).
const VLAN_MAX: u32 = 4094;
/// The native VLAN of a trunk that names none, as in the `bridge` plugin.
const TRUNK_NATIVE: u16 = 1;

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
    /// Reads the keys; `None` where neither `vlan` nor `vlanTrunk` asks for any.
    ///
    /// # Errors
    /// Code 7 naming key, value and range.
    pub fn parse(keys: &Keys) -> Result<Option<Self>, Error> {
        let access = keys.integer("vlan", 0, VLAN_MAX)?.filter(|id| *id != 0).map(|id| id as u16);
        let trunk = keys.list("vlanTrunk")?;
        let keep_default = keys.boolean("preserveDefaultVlan")?;
        let mut ranges = Vec::new();
        for item in trunk {
            ranges.extend(trunk_item(item).ok_or_else(|| keys.wrong("vlanTrunk", TRUNK_FORM))?);
        }
        if access.is_none() && ranges.is_empty() {
            return Ok(None);
        }
        let native = access.unwrap_or(TRUNK_NATIVE);
        Ok(Some(Self { native, tagged: without(merged(ranges), native), keep_default }))
    }

    /// Whether frames of this VLAN pass the port, tagged or not.
    pub fn contains(&self, id: u16) -> bool {
        id == self.native || self.tagged.iter().any(|range| range.contains(id))
    }
}

const TRUNK_FORM: &str = "a list of {\"id\": N} or {\"minID\": N, \"maxID\": M} with 1 <= N <= M <= 4094";

fn trunk_item(item: &Value) -> Option<Vec<VlanRange>> {
    let object = item.as_object()?;
    let id = |key: &str| match object.get(key).filter(|value| !value.is_null()) {
        None => Some(None),
        Some(value) => {
            let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
            number.filter(|number| (1..=VLAN_MAX as u16).contains(number)).map(Some)
        }
    };
    let range = match (id("minID")?, id("maxID")?) {
        (None, None) => None,
        (Some(first), Some(last)) if first <= last => Some(VlanRange { first, last }),
        _ => return None,
    };
    let single = id("id")?.map(VlanRange::single);
    let ranges: Vec<_> = range.into_iter().chain(single).collect();
    (!ranges.is_empty()).then_some(ranges)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Code;
    use serde_json::json;

    fn parse(value: Value) -> Result<Option<Vlans>, Error> {
        Vlans::parse(&Keys::new(value.as_object().unwrap(), ""))
    }

    fn shown(value: Value) -> (u16, String) {
        let vlans = parse(value).unwrap().unwrap();
        (vlans.native, VlanRange::listed(&vlans.tagged))
    }

    #[test]
    fn no_vlan_is_none() {
        assert_eq!(parse(json!({"vlan": 0, "vlanTrunk": [], "preserveDefaultVlan": true})).unwrap(), None);
    }

    #[test]
    fn a_trunk_is_merged_into_few_ranges_without_its_native_vlan() {
        assert_eq!(shown(json!({"vlan": 100})), (100, String::new()));
        assert_eq!(shown(json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]})), (1, "2-4094".into()));
        let trunk = json!([{"id": 7}, {"minID": 10, "maxID": 20}, {"id": 21}, {"minID": 5, "maxID": 6}, {"id": 15, "minID": 30, "maxID": 30}]);
        assert_eq!(shown(json!({"vlan": 12, "vlanTrunk": trunk})), (12, "5-7,10-11,13-21,30".into()));
    }

    #[test]
    fn ids_out_of_range_are_refused() {
        let bad_trunks = [
            json!([{}]),
            json!([{"id": 0}]),
            json!([{"id": 4095}]),
            json!([{"minID": 5}]),
            json!([{"minID": 9, "maxID": 3}]),
            json!([3]),
            json!([{"id": "7"}]),
        ];
        for trunk in bad_trunks {
            assert_eq!(parse(json!({"vlanTrunk": trunk})).unwrap_err().code, Code::InvalidConfig, "{trunk}");
        }
        for vlan in [json!(-1), json!(4095), json!("100"), json!(1.5)] {
            assert!(parse(json!({"vlan": vlan})).unwrap_err().msg().contains("from 0 to 4094"));
        }
    }
}
