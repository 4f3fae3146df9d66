//! The keys `vlan`, `vlanTrunk` and `preserveDefaultVlan`.

use serde_json::Value;

use super::keys::Keys;
use crate::error::Error;
use crate::net::vlan::{VLAN_MAX, merged, without};
use crate::net::{VlanRange, Vlans};

/// The native VLAN of a trunk that names none, as in the `bridge` plugin.
const TRUNK_NATIVE: u16 = 1;

/// Reads the keys; `None` where neither `vlan` nor `vlanTrunk` asks for any.
///
/// # Errors
/// Code 7 naming key, value and range.
pub fn parse(keys: &Keys) -> Result<Option<Vlans>, Error> {
    let access = keys.integer("vlan", 0, VLAN_MAX.into())?.filter(|id| *id != 0).map(|id| id as u16);
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
    Ok(Some(Vlans { native, tagged: without(merged(ranges), native), keep_default }))
}

const TRUNK_KEYS: [&str; 3] = ["id", "minID", "maxID"];
const TRUNK_FORM: &str = "a list of {\"id\": N} or {\"minID\": N, \"maxID\": M} with 1 <= N <= M <= 4094";

fn trunk_item(item: &Value) -> Option<Vec<VlanRange>> {
    let object = item.as_object()?;
    if object.keys().any(|key| !TRUNK_KEYS.contains(&key.as_str())) {
        return None;
    }
    let id = |key: &str| match object.get(key).filter(|value| !value.is_null()) {
        None => Some(None),
        Some(value) => {
            let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
            number.filter(|number| (1..=VLAN_MAX).contains(number)).map(Some)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use serde_json::json;

    fn parse(value: Value) -> Result<Option<Vlans>, Error> {
        super::parse(&Keys::new(value.as_object().unwrap(), ""))
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
            json!([{"id": 7, "minId": 9, "maxId": 12}]),
        ];
        for trunk in bad_trunks {
            assert_eq!(parse(json!({"vlanTrunk": trunk})).unwrap_err().code, Code::InvalidConfig, "{trunk}");
        }
        for vlan in [json!(-1), json!(4095), json!("100"), json!(1.5)] {
            assert!(parse(json!({"vlan": vlan})).unwrap_err().msg().contains("from 0 to 4094"));
        }
    }
}
