//! Reads typed values out of a JSON object; whatever is wrong becomes an error that names key, value and range.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Code, Error};

/// One JSON object of the config, with the path that leads to it (`""` or `dhcpProbe.`).
pub struct Keys<'a> {
    object: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Keys<'a> {
    /// Reads from `object`, whose keys are reported behind `path`.
    pub fn new(object: &'a Map<String, Value>, path: &'a str) -> Self {
        Self { object, path }
    }

    /// The raw value; JSON null counts as absent, and a name in another letter case as the name, as they do for Go.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        let spelled = || self.object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        let value = self.object.get(key).or_else(|| spelled().map(|(_, value)| value));
        value.filter(|value| !value.is_null())
    }

    /// Error 7 that names the key, what stands there and what should.
    pub fn wrong(&self, key: &str, wanted: &str) -> Error {
        let found = self.value(key).map_or_else(|| "nothing".to_string(), shown);
        Error::new(
            Code::InvalidConfig,
            format!("config key \"{}{key}\" is {found}, wanted {wanted}", self.path),
        )
    }

    /// A boolean, false where absent.
    ///
    /// # Errors
    /// Code 7 for another type.
    pub fn boolean(&self, key: &str) -> Result<bool, Error> {
        match self.value(key) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    /// A string; absent and empty are the same, as they are for Go.
    ///
    /// # Errors
    /// Code 7 for another type.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => {
                let text = value.as_str().ok_or_else(|| self.wrong(key, "a string"))?;
                Ok(Some(text).filter(|text| !text.is_empty()))
            }
        }
    }

    /// An integer between `low` and `high`.
    ///
    /// # Errors
    /// Code 7 for another type or out of range.
    pub fn integer(&self, key: &str, low: u32, high: u32) -> Result<Option<u32>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number {
            Some(number) if (low..=high).contains(&number) => Ok(Some(number)),
            _ => Err(self.wrong(key, &format!("an integer from {low} to {high}"))),
        }
    }

    /// A duration such as `"6s"` or `"1500ms"`, between `low` and `high`.
    ///
    /// # Errors
    /// Code 7 for another type, another notation or out of range.
    pub fn duration(&self, key: &str, low: Duration, high: Duration) -> Result<Option<Duration>, Error> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match parse_duration(text) {
            Some(duration) if (low..=high).contains(&duration) => Ok(Some(duration)),
            _ => {
                Err(self
                    .wrong(key, &format!("a duration such as \"6s\" or \"1500ms\" from {low:?} to {high:?}")))
            }
        }
    }

    /// An object.
    ///
    /// # Errors
    /// Code 7 for another type.
    pub fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => value.as_object().map(Some).ok_or_else(|| self.wrong(key, "an object")),
        }
    }

    /// A list, empty where absent.
    ///
    /// # Errors
    /// Code 7 for another type.
    pub fn list(&self, key: &str) -> Result<&'a [Value], Error> {
        match self.value(key) {
            None => Ok(&[]),
            Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| self.wrong(key, "a list")),
        }
    }
}

/// A value as an error message shows it: JSON, cut after 40 characters.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Reads an integer with the unit `ms`, `s` or `m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..unit].parse().ok()?;
    match &text[unit..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        assert_eq!(parse_duration("6s"), Some(Duration::from_secs(6)));
        assert_eq!(parse_duration("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("1m"), Some(Duration::from_secs(60)));
        for text in
            ["", "6", "s", "-1s", "1.5s", "6 s", "6h", "99999999999999999999s", "18446744073709551615m"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn an_error_names_key_value_and_range() {
        let object = serde_json::json!({"vlan": 5000, "mtu": "1500", "hairpinMode": 1});
        let keys = Keys::new(object.as_object().unwrap(), "");
        let message = |error: Error| (error.code, error.msg().to_string());
        assert_eq!(
            message(keys.integer("vlan", 0, 4094).unwrap_err()),
            (Code::InvalidConfig, "config key \"vlan\" is 5000, wanted an integer from 0 to 4094".into())
        );
        assert!(keys.integer("mtu", 0, 65535).unwrap_err().msg().contains("\"mtu\" is \"1500\""));
        assert!(keys.boolean("hairpinMode").unwrap_err().msg().contains("true or false"));
    }
}
