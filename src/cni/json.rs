//! JSON as standard input has it, and the first key that stands twice in one of its objects.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A document and what is wrong with it all the same.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// The document; of a key that stands twice, the last value.
    pub value: Value,
    /// The first key that stands twice in one object, at any depth. Go takes the last value, other readers the first:
    /// what an admission controller has read may not be what is carried out.
    pub twice: Option<String>,
}

/// Reads one document.
///
/// # Errors
/// What `serde_json` says; also where objects and lists are nested more than 127 deep.
pub fn parse(bytes: &[u8]) -> Result<Document, serde_json::Error> {
    let twice = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Node { twice: &twice }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Document { value, twice: twice.into_inner() })
}

/// Any value of the document.
#[derive(Clone, Copy)]
struct Node<'a> {
    twice: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if object.insert(key.clone(), value).is_some() {
                self.twice.borrow_mut().get_or_insert(key);
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_key_that_stands_twice_is_found_at_any_depth() {
        for (text, key) in [
            (r#"{"vlan": 1, "vlan": 2}"#, "vlan"),
            (r#"{"a": {"b": [{"c": 1, "d": 2, "c": 1}]}}"#, "c"),
            (r#"[{"x": null, "x": null}]"#, "x"),
            (r#"{"v\u006can": 1, "vlan": 2}"#, "vlan"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().twice.as_deref(), Some(key), "{text}");
        }
        let once = r#"{"a": {"x": 1}, "b": {"x": 2}, "c": [{"x": 3}, {"x": 4}]}"#;
        assert_eq!(parse(once.as_bytes()).unwrap().twice, None);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(100_000);
        for text in ["", "{", "{} {}", "{\"a\": 1e999}", deep.as_str()] {
            assert!(parse(text.as_bytes()).is_err(), "{}", &text[..text.len().min(20)]);
        }
    }

    proptest! {
        #[test]
        fn every_other_document_is_read_as_serde_json_reads_it(
            text in r#"[\[\]{}:,"0-9a-c.eE+ \\-]{0,24}"#, number in any::<f64>(), word in ".*",
        ) {
            for text in [text, json!({"n": number, "w": word}).to_string()] {
                let (own, theirs) = (parse(text.as_bytes()), serde_json::from_str::<Value>(&text));
                prop_assert_eq!(own.ok().map(|document| document.value), theirs.ok());
            }
        }
    }
}
