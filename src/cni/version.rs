//! The versions of the CNI protocol and what came with each.

use std::fmt;

use serde_json::{Map, Value};

use crate::cni::config::keys::Keys;
use crate::error::{Code, Error};

/// A version of the CNI spec; the order is the spec's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the spec's own numbers")]
pub enum CniVersion {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl CniVersion {
    /// All supported versions, ascending.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The version as the spec writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The config's `cniVersion`; absent or empty means 0.1.0, as libcni has it.
    ///
    /// # Errors
    /// Code 1 for a version that is not exactly one of the supported ones, code 7 for no string.
    pub fn from_config(object: &Map<String, Value>) -> Result<Self, Error> {
        let Some(text) = Keys::new(object, "").text("cniVersion")? else { return Ok(Self::V0_1_0) };
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            let supported = Self::ALL.map(Self::as_str).join(" ");
            Error::new(Code::IncompatibleVersion, format!("incompatible CNI versions: config is {text:?}"))
                .evidence(format!("config is {text:?}, plugin supports [{supported}]"))
                .remedy("set \"cniVersion\" to one of these, 0.3.1 or later")
        })
    }

    /// CHECK came with 0.4.0.
    pub fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// GC and STATUS came with 1.1.0.
    pub fn has_gc_and_status(self) -> bool {
        self >= Self::V1_1_0
    }

    /// Results have had `interfaces` since 0.3.0.
    pub fn has_interfaces(self) -> bool {
        self >= Self::V0_3_0
    }
}

impl fmt::Display for CniVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_exact_versions_are_known_and_none_is_the_first() {
        let of = |value: Value| CniVersion::from_config(value.as_object().unwrap());
        assert_eq!(of(json!({})).unwrap(), CniVersion::V0_1_0);
        assert_eq!(of(json!({"cniVersion": ""})).unwrap(), CniVersion::V0_1_0);
        assert_eq!(of(json!({"cniVersion": "1.1.0"})).unwrap(), CniVersion::V1_1_0);
        for unknown in ["1.2.0", "0.3", "v1.0.0", "1.0.0 "] {
            let error = of(json!({"cniVersion": unknown})).unwrap_err();
            assert_eq!(error.code, Code::IncompatibleVersion);
            assert!(error.details().contains("plugin supports [0.1.0 0.2.0 0.3.0 0.3.1 0.4.0 1.0.0 1.1.0]"));
        }
    }
}
