//! The policy's file, typed. Unknown keys, keys that stand twice and wrong types are faults.

use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::pattern::Pattern;
use super::rule::{BridgeGrant, GUARDED, Grant, Rule};
use super::yaml::{self, Fault, Node};
use crate::cni::config::{NetConf, known};
use crate::error::log;
use crate::net::VlanRange;
use crate::net::vlan::{VLAN_MAX, merged};

/// Longest name of a rule: it stands in every error.
const NAME_MAX: usize = 40;
/// The word for attachments without VLAN.
const UNTAGGED: &str = "untagged";
/// Keys that a rule neither forces nor gives a default: what it allows of them stands in keys of its own.
const NOT_SET: [&str; 4] = ["bridge", "dns", "ipam", "logFile"];
const RULE_KEYS: [&str; 12] = [
    "name",
    "namespaces",
    "networks",
    "deny",
    "bridges",
    "force",
    "default",
    "forbid",
    "allow",
    "ipam",
    "ipamPaths",
    "logPaths",
];
/// The keys of a rule that denies.
const DENIAL_KEYS: [&str; 4] = ["name", "namespaces", "networks", "deny"];
const BRIDGE_KEYS: [&str; 3] = ["name", "vlans", "trunk"];

/// All rules of a file.
pub fn rules(content: &[u8]) -> Result<Vec<Rule>, Fault> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let before = content.get(..error.valid_up_to()).unwrap_or_default();
        Fault { line: 1 + before.iter().filter(|b| **b == b'\n').count(), text: "is no text in UTF-8".into() }
    })?;
    let document = yaml::document(text)?;
    let file = Section::new(&document, "the file", &["rules"])?;
    let rules = yaml::list(file.required("rules")?, "\"rules\"")?;
    let rules: Vec<Rule> = rules.iter().map(rule).collect::<Result<_, _>>()?;
    for (index, rule) in rules.iter().enumerate() {
        if let Some(first) = rules[..index].iter().find(|first| first.name == rule.name) {
            let text = format!("rule {:?} has the name of the one on line {}", rule.name, first.line);
            return Err(Fault { line: rule.line, text });
        }
    }
    Ok(rules)
}

/// A map whose keys are all known.
struct Section<'n> {
    node: &'n Node<'n>,
    what: &'n str,
    entries: Vec<(&'n str, &'n Node<'n>)>,
}

impl<'n> Section<'n> {
    fn new(node: &'n Node<'n>, what: &'n str, known: &[&str]) -> Result<Self, Fault> {
        let entries = yaml::entries(node, what)?;
        match entries.iter().find(|(key, _)| !known.contains(key)) {
            Some((key, value)) => {
                Err(Fault::at(value, format!("{what} has the key {key:?}; it takes {}", known.join(", "))))
            }
            None => Ok(Self { node, what, entries }),
        }
    }

    fn get(&self, key: &str) -> Option<&'n Node<'n>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, node)| *node)
    }

    fn required(&self, key: &str) -> Result<&'n Node<'n>, Fault> {
        self.get(key).ok_or_else(|| Fault::at(self.node, format!("{} lacks {key:?}", self.what)))
    }

    /// The texts of a list, read by `typed`; `None` where the key is absent.
    fn texts<T>(
        &self,
        key: &str,
        wanted: &str,
        typed: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Fault> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let what = format!("{key:?}");
        let typed = |item: &Node| {
            let text = yaml::text(item, &what)?;
            typed(text).ok_or_else(|| Fault::at(item, format!("{what} has {text:?}, wanted {wanted}")))
        };
        yaml::list(node, &what)?.iter().map(typed).collect::<Result<_, _>>().map(Some)
    }

    fn patterns(&self, key: &str) -> Result<Option<Vec<Pattern>>, Fault> {
        let patterns = self.texts(key, "a name, in which * stands for any characters", Pattern::parse)?;
        match (patterns, self.get(key)) {
            (Some(patterns), Some(node)) if patterns.is_empty() => {
                Err(Fault::at(node, format!("{key:?} is empty, so the rule is for nobody")))
            }
            (patterns, _) => Ok(patterns),
        }
    }

    fn paths(&self, key: &str) -> Result<Option<Vec<PathBuf>>, Fault> {
        let plain = |path: &Path| {
            path.is_absolute()
                && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
                && path.components().count() > 1
        };
        self.texts(key, "an absolute path without \"..\"", |text| {
            Some(PathBuf::from(text)).filter(|path| plain(path))
        })
    }
}

fn rule(node: &Node) -> Result<Rule, Fault> {
    let section = Section::new(node, "a rule", &RULE_KEYS)?;
    let name = section.required("name")?;
    let text = yaml::text(name, "\"name\"")?;
    if text.is_empty() || text.chars().count() > NAME_MAX || text.chars().any(char::is_control) {
        return Err(Fault::at(name, format!("\"name\" must have 1 to {NAME_MAX} plain characters")));
    }
    let grant = match section.get("deny") {
        None => Some(grant(&section)?),
        Some(deny) if yaml::is_true(deny) => {
            Section::new(node, "a rule with \"deny\"", &DENIAL_KEYS)?;
            None
        }
        Some(deny) => return Err(yaml::wrong(deny, "\"deny\"", "true; leave it out otherwise")),
    };
    Ok(Rule {
        name: text.to_string(),
        line: yaml::line(node),
        namespaces: section.patterns("namespaces")?,
        networks: section.patterns("networks")?,
        grant,
    })
}

fn grant(section: &Section) -> Result<Grant, Fault> {
    let bridges = yaml::list(section.required("bridges")?, "\"bridges\"")?;
    let own_key = |key: &str| known::OWN.iter().find(|own| **own == key).map(|own| (*own).to_string());
    let guarded = |key: &str| GUARDED.iter().find(|known| **known == key).map(|known| (*known).to_string());
    let file_name = |name: &str| (!name.is_empty() && !name.contains('/')).then(|| name.to_string());
    let grant = Grant {
        bridges: bridges.iter().map(bridge).collect::<Result<_, _>>()?,
        forced: values(section, "force")?,
        defaults: values(section, "default")?,
        forbidden: section.texts("forbid", "a config key", own_key)?.unwrap_or_default(),
        allowed: section.texts("allow", &GUARDED.join(", "), guarded)?.unwrap_or_default(),
        ipam: section.texts("ipam", "the name of an IPAM plugin", file_name)?.unwrap_or_default(),
        ipam_paths: section.paths("ipamPaths")?.unwrap_or_default(),
        log_paths: section.paths("logPaths")?.unwrap_or_else(|| vec![log::DIRECTORY.into()]),
    };
    let twice = grant.forced.keys().find(|key| grant.defaults.contains_key(*key));
    match (twice, section.get("default")) {
        (Some(key), Some(node)) => {
            Err(Fault::at(node, format!("{key:?} stands in \"force\" and in \"default\"")))
        }
        _ => Ok(grant),
    }
}

/// Config keys with values that ADD would take.
fn values(section: &Section, what: &str) -> Result<Map<String, Value>, Fault> {
    let Some(node) = section.get(what) else { return Ok(Map::new()) };
    let mut values = Map::new();
    for (key, value) in yaml::entries(node, &format!("{what:?}"))? {
        if !known::OWN.contains(&key) || NOT_SET.contains(&key) {
            return Err(Fault::at(
                value,
                format!("{what:?} has {key:?}, which is no config key that a rule may set"),
            ));
        }
        values.insert(key.to_string(), yaml::json(value, &format!("{key:?}"))?);
    }
    let bridge = ("bridge".to_string(), Value::from("br0"));
    let config = values.clone().into_iter().chain([bridge]).collect();
    NetConf::parse(&config).map_err(|error| Fault::at(node, format!("in {what:?}, {}", error.msg())))?;
    Ok(values)
}

fn bridge(node: &Node) -> Result<BridgeGrant, Fault> {
    let section = Section::new(node, "an entry of \"bridges\"", &BRIDGE_KEYS)?;
    let name = section.required("name")?;
    let text = yaml::text(name, "a bridge's \"name\"")?;
    let bridge = Pattern::parse(text).ok_or_else(|| Fault::at(name, format!("{text:?} names no bridge")))?;
    let (untagged, access) = vlans(section.required("vlans")?, true)?;
    let trunk = section.get("trunk").map(|node| vlans(node, false)).transpose()?.unwrap_or_default().1;
    Ok(BridgeGrant { bridge, untagged, vlans: access, trunk })
}

/// Whether the list has the word for "no VLAN", and its VLANs.
fn vlans(node: &Node, or_none: bool) -> Result<(bool, Vec<VlanRange>), Fault> {
    let (mut untagged, mut ranges) = (false, Vec::new());
    for item in yaml::list(node, "a list of VLANs")? {
        let word = yaml::text(item, "a VLAN").ok();
        match range(item, word) {
            Some(range) => ranges.push(range),
            None if or_none && word == Some(UNTAGGED) => untagged = true,
            None => {
                let word = if or_none { ", or untagged" } else { "" };
                let wanted = format!("an id from 1 to {VLAN_MAX}, or a range such as 100-119{word}");
                return Err(yaml::wrong(item, "a VLAN", &wanted));
            }
        }
    }
    Ok((untagged, merged(ranges)))
}

fn range(node: &Node, word: Option<&str>) -> Option<VlanRange> {
    let id = |number: i64| u16::try_from(number).ok().filter(|id| (1..=VLAN_MAX).contains(id));
    if let Some(number) = yaml::integer(node) {
        return id(number).map(VlanRange::single);
    }
    let digits = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten().and_then(id)
    };
    let (first, last) = word?.split_once('-')?;
    let range = VlanRange { first: digits(first)?, last: digits(last)? };
    (range.first <= range.last).then_some(range)
}
