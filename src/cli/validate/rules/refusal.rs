//! What ADD would answer to a config: all of it, where ADD itself ends with the first fault.

use serde_json::{Map, Value, json};

use crate::cni::config::NetConf;
use crate::error::Error;

/// A bridge's name that ADD takes.
const ANY_BRIDGE: &str = "br0";

/// The faults of a config, the first as ADD names it.
pub fn all(object: &Map<String, Value>) -> Vec<Error> {
    let mut object = object.clone();
    let mut errors = Vec::new();
    // Each round takes one key out of the config, so there are no more rounds than keys.
    while let Err(error) = NetConf::parse(&object) {
        let mended = without_cause(&object, &error);
        errors.push(error);
        match mended {
            Some(mended) => object = mended,
            None => break,
        }
    }
    errors
}

/// The config without the key that an error is about: the one without which there is another outcome.
fn without_cause(object: &Map<String, Value>, error: &Error) -> Option<Map<String, Value>> {
    let cured = |candidate: &Map<String, Value>| NetConf::parse(candidate).err().as_ref() != Some(error);
    let inside = object.iter().filter_map(|(key, value)| Some((key, value.as_object()?)));
    let inner = inside.flat_map(|(key, value)| {
        value.keys().map(move |inner| {
            let mut value = value.clone();
            value.remove(inner);
            (key.clone(), Value::Object(value))
        })
    });
    let narrowed = inner.map(|(key, value)| {
        let mut candidate = object.clone();
        candidate.insert(key, value);
        candidate
    });
    // The bridge cannot be left out, only be another one.
    let mut bridged = object.clone();
    bridged.insert("bridge".into(), json!(ANY_BRIDGE));
    let outer = object.keys().filter(|key| *key != "bridge").map(|key| {
        let mut candidate = object.clone();
        candidate.remove(key);
        candidate
    });
    narrowed.chain([bridged]).chain(outer).find(cured)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(value: Value) -> Vec<String> {
        all(value.as_object().unwrap()).iter().map(|error| error.msg().to_string()).collect()
    }

    #[test]
    fn every_fault_is_named_once() {
        let said = facts(json!({"vlan": -1, "disableContainerInterface": "true", "bridge": "a/b",
            "dhcpProbe": {"timeout": 5, "server": ["10.0.0.1"], "onFailure": "ignore"}}));
        assert_eq!(said.len(), 6, "{said:#?}");
        for part in ["\"vlan\"", "disableContainerInterface", "\"bridge\"", "timeout", "server", "onFailure"]
        {
            assert_eq!(said.iter().filter(|fact| fact.contains(part)).count(), 1, "{part} in {said:#?}");
        }
    }

    #[test]
    fn a_fault_of_two_keys_is_one_and_a_missing_key_hides_none() {
        assert_eq!(facts(json!({"bridge": "b", "deadline": "5s", "dhcpProbe": true})).len(), 1);
        assert_eq!(
            facts(json!({"bridge": "b", "deadline": "30s", "dhcpProbe": {"timeout": "20s"}})).len(),
            0
        );
        assert_eq!(facts(json!({"mtu": "x", "vlan": 5000})).len(), 3);
    }
}
