//! Names as CNI and the kernel allow them; once typed, a name is right.

use std::fmt;

/// IFNAMSIZ - 1 (include/uapi/linux/if.h).
const INTERFACE_NAME_MAX: usize = 15;

macro_rules! name_type {
    ($(#[doc = $doc:literal])+ $name:ident, $valid:path) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as a name, or `None` where the rules forbid it.
            pub fn parse(text: &str) -> Option<Self> {
                $valid(text).then(|| Self(text.to_string()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// An interface name: 1 to 15 bytes, not `.` or `..`, without `/`, `:` and white space (CNI pkg/utils, kernel
    /// `dev_valid_name`), nor `%`, which the kernel may take for a pattern (`dev_alloc_name`).
    InterfaceName, is_interface_name
}
name_type! {
    /// CNI_CONTAINERID: starts with a letter or digit, then also `_`, `.`, `-` (CNI spec section 2).
    ContainerId, is_identifier
}
name_type! {
    /// The network's `name`: same rule as a container id (CNI spec section 1).
    NetworkName, is_identifier
}

fn is_interface_name(text: &str) -> bool {
    (1..=INTERFACE_NAME_MAX).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.chars().any(|c| "/:%".contains(c) || c.is_whitespace() || c.is_control())
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_follow_the_kernel_and_cni() {
        for good in ["eth0", "a", "pod0123456789ab", "br.120", "ü"] {
            assert!(InterfaceName::parse(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:1", "a b", "a\u{a0}b", "sixteen-bytes-ab", "a\0", "a\nb", "br%d"]
        {
            assert!(InterfaceName::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn identifiers_start_with_a_letter_or_digit() {
        for good in ["a", "0", "cni-1_2.3", &"f".repeat(500)] {
            assert!(ContainerId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", ".a", "_a", "a/b", "a b", "é", "a\n"] {
            assert!(NetworkName::parse(bad).is_none(), "{bad:?}");
        }
    }
}
