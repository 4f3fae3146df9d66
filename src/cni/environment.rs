//! The CNI_ environment variables (CNI spec section 2, and what the reference `skel` validates).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Code, Error};
use crate::net::{ContainerId, InterfaceName};

/// The operation that the runtime asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the spec's own words")]
pub enum Command {
    Add,
    Del,
    Check,
    Status,
    Gc,
    Version,
}

impl Command {
    const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Status, Self::Gc, Self::Version];

    /// The operation as CNI_COMMAND names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.as_str() == text)
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Self::Status | Self::Gc => &["CNI_PATH"],
            Self::Version => &[],
        }
    }
}

/// One container's interface: what ADD, CHECK and DEL are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// CNI_CONTAINERID.
    pub container: ContainerId,
    /// CNI_IFNAME.
    pub ifname: InterfaceName,
}

/// The variables as the runtime set them; an empty one counts as missing.
pub struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Takes the variables whose names begin with `CNI_`, and the trace context.
    pub fn new(all: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let wanted = |name: &str| name.starts_with("CNI_") || name == "TRACEPARENT";
        Self(
            all.filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .filter(|(name, value)| wanted(name) && !value.is_empty())
                .collect(),
        )
    }

    /// The operation, `None` where CNI_COMMAND is missing: the program was started by hand.
    ///
    /// # Errors
    /// Code 4 for an unknown operation, or when variables that it requires are missing; all of them are named.
    pub fn command(&self) -> Result<Option<Command>, Error> {
        let Some(text) = self.0.get("CNI_COMMAND") else { return Ok(None) };
        let text = text.to_string_lossy();
        let Some(command) = Command::parse(&text) else {
            return Err(Error::new(Code::Environment, format!("unknown CNI_COMMAND: {text}"))
                .remedy("use ADD, DEL, CHECK, STATUS, GC or VERSION"));
        };
        let missing: Vec<&str> =
            command.required().iter().copied().filter(|name| !self.0.contains_key(*name)).collect();
        if missing.is_empty() {
            Ok(Some(command))
        } else {
            Err(Error::new(
                Code::Environment,
                format!("required env variables [{}] missing", missing.join(",")),
            ))
        }
    }

    /// Container id and interface name.
    ///
    /// # Errors
    /// Code 4 naming the variable and its value.
    pub fn attachment(&self) -> Result<Attachment, Error> {
        let malformed = |name: &str, rule: &str| {
            let value = self.text(name);
            Error::new(Code::Environment, format!("{name} is {value:?}, which is not {rule}"))
        };
        Ok(Attachment {
            container: ContainerId::parse(&self.text("CNI_CONTAINERID")).ok_or_else(|| {
                malformed("CNI_CONTAINERID", "a letter or digit followed by letters, digits, '_', '.', '-'")
            })?,
            ifname: InterfaceName::parse(&self.text("CNI_IFNAME")).ok_or_else(|| {
                malformed("CNI_IFNAME", "an interface name (1 to 15 bytes, no '/', ':' or white space)")
            })?,
        })
    }

    /// CNI_NETNS, verbatim.
    pub fn netns(&self) -> Option<PathBuf> {
        self.0.get("CNI_NETNS").map(PathBuf::from)
    }

    /// The directories of CNI_PATH, in order.
    pub fn path(&self) -> Vec<PathBuf> {
        self.0.get("CNI_PATH").map(|path| std::env::split_paths(path).collect()).unwrap_or_default()
    }

    /// Whether CNI_NETNS may be the plugin's own network namespace (skel's CNI_NETNS_OVERRIDE).
    pub fn netns_override(&self) -> bool {
        matches!(self.text("CNI_NETNS_OVERRIDE").to_ascii_uppercase().as_str(), "1" | "TRUE")
    }

    /// W3C trace context, for the log.
    pub fn trace_parent(&self) -> Option<String> {
        self.0.get("TRACEPARENT").map(|value| value.to_string_lossy().into_owned())
    }

    /// CNI_ARGS as key and value; of a repeated key the last counts.
    ///
    /// # Errors
    /// Code 4 for a part without `=`.
    pub fn arguments(&self) -> Result<BTreeMap<String, String>, Error> {
        self.pairs().map(|pairs| pairs.into_iter().collect())
    }

    /// All values that CNI_ARGS has for one key, in order.
    ///
    /// # Errors
    /// Code 4 for a part without `=`.
    pub fn arguments_named(&self, key: &str) -> Result<Vec<String>, Error> {
        let pairs = self.pairs()?.into_iter();
        Ok(pairs.filter(|(name, _)| name == key).map(|(_, value)| value).collect())
    }

    fn pairs(&self) -> Result<Vec<(String, String)>, Error> {
        let text = self.text("CNI_ARGS");
        text.split(';')
            .filter(|pair| !pair.is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) => Ok((key.to_string(), value.to_string())),
                None => Err(Error::new(
                    Code::Environment,
                    format!("CNI_ARGS has {pair:?} where KEY=VALUE belongs"),
                )),
            })
            .collect()
    }

    fn text(&self, name: &str) -> String {
        self.0.get(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn all_missing_variables_are_named_and_empty_is_missing() {
        let error = variables(&[("CNI_COMMAND", "ADD"), ("CNI_IFNAME", "")]).command().unwrap_err();
        assert_eq!(error.code, Code::Environment);
        assert_eq!(
            error.msg(),
            "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"
        );
    }

    #[test]
    fn del_needs_no_netns_and_version_needs_nothing() {
        let del = [("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "e"), ("CNI_PATH", "/x")];
        assert_eq!(variables(&del).command().unwrap(), Some(Command::Del));
        assert_eq!(variables(&[("CNI_COMMAND", "VERSION")]).command().unwrap(), Some(Command::Version));
        assert_eq!(variables(&[]).command().unwrap(), None);
        assert!(variables(&[("CNI_COMMAND", "add")]).command().unwrap_err().msg().contains("add"));
    }

    #[test]
    fn of_a_repeated_argument_the_last_counts() {
        let arguments = variables(&[("CNI_ARGS", "IgnoreUnknown=true;MAC=a;;K=;IgnoreUnknown=1;MAC=b")])
            .arguments()
            .unwrap();
        assert_eq!(arguments["MAC"], "b");
        assert_eq!(arguments["K"], "");
        assert!(variables(&[("CNI_ARGS", "nonsense")]).arguments().is_err());
    }
}
