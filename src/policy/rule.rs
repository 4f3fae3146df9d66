//! One rule: for whom it is, and what it makes of a network config.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::asker::Asker;
use super::faults::refused;
use super::pattern::Pattern;
use crate::cni::config::NetConf;
use crate::cni::config::keys::Keys;
use crate::error::Error;
use crate::net::{VlanRange, Vlans, cidr};

/// Keys that change more than the attachment itself, and `prevResult`, which brings in another plugin's interface. None is
/// allowed unless the rule says so.
pub const GUARDED: [&str; 7] =
    ["createBridge", "forceAddress", "hairpinMode", "ipMasq", "isGateway", "prevResult", "promiscMode"];

/// Keys of `ipam` whose value is a path even where it has no slash.
const PATH_KEYS: [&str; 3] = ["dataDir", "resolvConf", "daemonSocketPath"];
/// How much of the allowed values a message shows.
const SHOWN_MAX: usize = 60;

/// VLANs on bridges.
#[derive(Debug, Clone, PartialEq)]
pub struct BridgeGrant {
    pub(super) bridge: Pattern,
    /// Attachments without VLAN, which are in the bridge's default one.
    pub(super) untagged: bool,
    /// What `vlan` may be: ascending, disjoint.
    pub(super) vlans: Vec<VlanRange>,
    /// What `vlanTrunk` may hold: ascending, disjoint.
    pub(super) trunk: Vec<VlanRange>,
}

/// What a rule gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub(super) bridges: Vec<BridgeGrant>,
    /// These keys have these values, whatever the config says.
    pub(super) forced: Map<String, Value>,
    /// These keys have these values where the config has none.
    pub(super) defaults: Map<String, Value>,
    pub(super) forbidden: Vec<String>,
    /// Those of [`GUARDED`] that are allowed.
    pub(super) allowed: Vec<String>,
    pub(super) ipam: Vec<String>,
    pub(super) ipam_paths: Vec<PathBuf>,
    pub(super) log_paths: Vec<PathBuf>,
}

/// A rule of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub(super) name: String,
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) namespaces: Option<Vec<Pattern>>,
    pub(super) networks: Option<Vec<Pattern>>,
    /// `None`: everything is denied.
    pub(super) grant: Option<Grant>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} (line {})", self.name, self.line)
    }
}

impl Rule {
    /// For whom it is, in words.
    pub fn audience(&self) -> String {
        let named = |what: &str, patterns: &Option<Vec<Pattern>>| match patterns {
            Some(patterns) => format!("{what} {}", listed(patterns)),
            None => format!("any {}", what.trim_end_matches('s')),
        };
        format!("{}, {}", named("namespaces", &self.namespaces), named("networks", &self.networks))
    }

    /// Whether it denies whatever is asked.
    pub fn denies(&self) -> bool {
        self.grant.is_none()
    }

    pub(super) fn names(&self, asker: &Asker) -> bool {
        let means = |patterns: &[Pattern], name: &str| patterns.iter().any(|pattern| pattern.means(name));
        let namespaces = self.namespaces.as_deref().map(|patterns| move |name: &str| means(patterns, name));
        asker.is_of(namespaces)
            && self.networks.as_deref().is_none_or(|patterns| means(patterns, asker.network()))
    }

    /// Where a config of this rule's may have its log.
    pub fn log_paths(&self) -> &[PathBuf] {
        self.grant.as_ref().map_or(&[], |grant| &grant.log_paths)
    }

    /// The config as it counts: with what the rule forces and, where the config says nothing, its defaults.
    ///
    /// # Errors
    /// Code 140 where the rule denies, or the config has a key that it forbids.
    pub fn amended(&self, config: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
        let grant = self.granted()?;
        let keys = Keys::new(config, "");
        if let Some(key) = grant.forbidden.iter().find(|key| keys.value(key).is_some()) {
            return Err(refused(self, &format!("config key {key:?} is forbidden")));
        }
        let mut amended = config.clone();
        let absent = |key: &str| keys.value(key).is_none();
        let defaults = grant.defaults.iter().filter(|(key, _)| absent(key));
        amended.extend(defaults.chain(&grant.forced).map(|(key, value)| (key.clone(), value.clone())));
        if !grant.allows("createBridge") && absent("createBridge") {
            // A gateway would create it unasked.
            amended.insert("createBridge".into(), false.into());
        }
        Ok(amended)
    }

    /// Judges a config, typed after [`Rule::amended`]; `config` is its object. `chained`: the interface is another plugin's.
    ///
    /// # Errors
    /// Code 140 with what is not allowed.
    pub fn judge(&self, conf: &NetConf, config: &Map<String, Value>, chained: bool) -> Result<(), Error> {
        let grant = self.granted()?;
        let checks = [
            grant.bridge(conf),
            grant.guarded(conf, chained),
            grant.ipam(conf, config),
            grant.log_file(Keys::new(config, "").value("logFile").and_then(Value::as_str)),
        ];
        match checks.into_iter().find_map(Result::err) {
            Some(fact) => Err(refused(self, &fact)),
            None => Ok(()),
        }
    }

    fn granted(&self) -> Result<&Grant, Error> {
        self.grant
            .as_ref()
            .ok_or_else(|| refused(self, &format!("it denies everything to {}", self.audience())))
    }

    /// What the rule puts into every config, in words; empty where it is nothing.
    pub fn additions(&self) -> Vec<String> {
        let Some(grant) = &self.grant else { return Vec::new() };
        let shown = |what: &str, values: &Map<String, Value>| {
            values.iter().map(|(key, value)| format!("{what} {key}: {value}")).collect::<Vec<_>>()
        };
        [shown("forces", &grant.forced), shown("by default", &grant.defaults)].concat()
    }
}

impl Grant {
    /// Whether one of [`GUARDED`] is allowed: by name, or since the owner sets it.
    fn allows(&self, key: &str) -> bool {
        let set = |values: &Map<String, Value>| {
            let aliases: &[&str] =
                if key == "isGateway" { &["isGateway", "isDefaultGateway"] } else { &[key] };
            aliases.iter().any(|key| values.get(*key) == Some(&Value::Bool(true)))
        };
        self.allowed.iter().any(|allowed| allowed == key) || set(&self.forced) || set(&self.defaults)
    }

    fn bridge(&self, conf: &NetConf) -> Result<(), String> {
        let bridge = conf.bridge.as_str();
        let Some(grant) = self.bridges.iter().find(|grant| grant.bridge.means(bridge)) else {
            let allowed: Vec<&Pattern> = self.bridges.iter().map(|grant| &grant.bridge).collect();
            return Err(format!("bridge {bridge} is not allowed, only {}", listed(&allowed)));
        };
        match &conf.vlans {
            None if grant.untagged => Ok(()),
            None => Err(format!("\"vlan\" is required on {bridge}: {}", grant.shown())),
            Some(vlans) => grant.vlans(vlans).map_err(|fact| format!("{fact} on {bridge}")),
        }
    }

    fn guarded(&self, conf: &NetConf, chained: bool) -> Result<(), String> {
        let asked = [
            ("createBridge", conf.create_bridge),
            ("forceAddress", conf.force_address),
            ("hairpinMode", conf.hairpin),
            ("ipMasq", conf.ip_masq),
            ("isGateway", conf.is_gateway),
            ("prevResult", chained),
            ("promiscMode", conf.promiscuous),
        ];
        match asked.iter().find(|(key, asked)| *asked && !self.allows(key)) {
            Some((key, _)) => Err(format!("{key:?} is not allowed")),
            None => Ok(()),
        }
    }

    fn ipam(&self, conf: &NetConf, config: &Map<String, Value>) -> Result<(), String> {
        let Some(ipam) = &conf.ipam else { return Ok(()) };
        if !self.ipam.contains(&ipam.plugin) {
            let allowed = if self.ipam.is_empty() { "none".into() } else { listed(&self.ipam) };
            return Err(format!("IPAM plugin {} is not allowed, only {allowed}", shortened(&ipam.plugin)));
        }
        let values = Keys::new(config, "").value("ipam").and_then(Value::as_object);
        let outside = values.into_iter().flatten().filter(|(key, _)| *key != "type");
        match outside
            .flat_map(|(key, value)| paths(key, value))
            .find(|(_, path)| !is_below(path, &self.ipam_paths))
        {
            Some((key, path)) => Err(format!(
                "\"ipam\" key {} has a path that is not allowed: {}",
                shortened(key),
                shortened(path)
            )),
            None => Ok(()),
        }
    }

    fn log_file(&self, path: Option<&str>) -> Result<(), String> {
        match path.filter(|path| !path.is_empty()) {
            Some(path) if !is_below(path, &self.log_paths) => {
                let allowed: Vec<_> = self.log_paths.iter().map(|path| path.display()).collect();
                let allowed =
                    if allowed.is_empty() { "nowhere".into() } else { format!("below {}", listed(&allowed)) };
                Err(format!("\"logFile\" {} is not allowed, only {allowed}", shortened(path)))
            }
            _ => Ok(()),
        }
    }
}

impl BridgeGrant {
    fn vlans(&self, vlans: &Vlans) -> Result<(), String> {
        let contains = |granted: &[VlanRange], asked: VlanRange| {
            granted.iter().any(|range| range.contains(asked.first) && range.contains(asked.last))
        };
        if !contains(&self.vlans, VlanRange::single(vlans.native)) {
            return Err(format!("VLAN {} is not allowed, only {}", vlans.native, self.shown()));
        }
        if let Some(range) = vlans.tagged.iter().find(|range| !contains(&self.trunk, **range)) {
            let allowed = if self.trunk.is_empty() {
                "none".into()
            } else {
                shortened(&VlanRange::listed(&self.trunk))
            };
            return Err(format!("VLAN {range} is not allowed in \"vlanTrunk\", only {allowed}"));
        }
        if vlans.keep_default && !self.untagged {
            return Err("\"preserveDefaultVlan\" is not allowed".into());
        }
        Ok(())
    }

    fn shown(&self) -> String {
        let untagged = self.untagged.then(|| "untagged".to_string());
        let vlans = (!self.vlans.is_empty()).then(|| VlanRange::listed(&self.vlans));
        shortened(&untagged.into_iter().chain(vlans).collect::<Vec<_>>().join(","))
    }
}

/// All texts in a value of `ipam` that are paths.
fn paths<'v>(key: &'v str, value: &'v Value) -> Vec<(&'v str, &'v str)> {
    match value {
        Value::String(text) => {
            let named = PATH_KEYS.iter().any(|known| known.eq_ignore_ascii_case(key));
            let path = named || text.contains('/') && cidr::parse(text).is_err();
            if path && !text.is_empty() { vec![(key, text)] } else { Vec::new() }
        }
        Value::Array(items) => items.iter().flat_map(|item| paths(key, item)).collect(),
        Value::Object(object) => object.iter().flat_map(|(key, value)| paths(key, value)).collect(),
        _ => Vec::new(),
    }
}

/// Whether a path is one of these, or below one, without `..` anywhere.
pub fn is_below(path: &str, allowed: &[PathBuf]) -> bool {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    path.is_absolute() && plain && allowed.iter().any(|directory| path.starts_with(directory))
}

fn listed<T: fmt::Display>(items: &[T]) -> String {
    shortened(&items.iter().map(T::to_string).collect::<Vec<_>>().join(", "))
}

/// Cut so that the rule's name is never cut for it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
