//! A name in which `*` stands for any characters.

use std::fmt;

/// One pattern; without `*` it means the one name that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Takes a pattern; `None` where nothing could have such a name.
    pub fn parse(text: &str) -> Option<Self> {
        let good = !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/');
        good.then(|| Self(text.to_string()))
    }

    /// Whether the name is meant. Letters count as they are: the kernel's and Kubernetes' names differ by case.
    pub fn means(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(last) = parts.next_back() else { return name == self.0 };
        let Some(rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
            return false;
        };
        let skipped = |rest: &str, part: &str| rest.find(part).map(|at| at + part.len());
        parts.try_fold(rest, |rest, part| skipped(rest, part).map(|end| &rest[end..])).is_some()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_nothing_else_does() {
        for (pattern, meant, other) in [
            ("tenant-a", &["tenant-a"][..], &["tenant-ab", "Tenant-a", "tenant-", ""][..]),
            ("tenant-*", &["tenant-", "tenant-a"], &["tenant", "xtenant-a"]),
            ("*-lan", &["a-lan", "-lan"], &["lan", "a-lan-b"]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["ac", "acb", "ab"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("*", &["", "x"], &[]),
            ("br.1?0", &["br.1?0"], &["br.120"]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert!(meant.iter().all(|name| pattern.means(name)), "{pattern}");
            assert!(!other.iter().any(|name| pattern.means(name)), "{pattern}");
        }
        assert!(["", "a b", "a/b", "a\n"].iter().all(|text| Pattern::parse(text).is_none()));
    }
}
