//! `policy`: says what a node policy makes of a network, and puts one into its place.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Map;

use super::Verdict;
use super::output::{Failure, Palette, Tone, harmless, print};
use super::validate::{Network, OWN_TYPE, definitions};
use crate::cni::config::NetConf;
use crate::error::Error;
use crate::kernel::{owned, root};
use crate::policy::asker::Asker;
use crate::policy::rule::Rule;
use crate::policy::{self, faults};

const HELP: &str = "\
check reads a policy as ADD does. With --network it takes each network config of that file (a NetworkAttachmentDefinition, a
config or a config list) and says which rule decides, whether it allows the network, and what it adds. The namespace is the
pod's: --namespace, else that of the NetworkAttachmentDefinition.

install checks a policy and writes it where the plugin reads it, or to --dest, whole or not at all: for a DaemonSet's container, whose
ConfigMap the node cannot see. A policy that is not right leaves the old one in place.

Exit status: 0 the policy is right and allows all networks, 1 it is not or does not, 2 the command line is wrong.";

/// Explain what the node's policy allows, or put one into its place
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Policy {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Read a policy, and say which of its rules decides about a network
    Check(Check),
    /// Write a policy to the node
    Install(Install),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A file with networks
    #[arg(long, value_name = "FILE")]
    network: Option<String>,
    /// The pod's namespace
    #[arg(long, requires = "network")]
    namespace: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Install {
    /// The policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The directory that the node has as /etc/cni/bridge-dhcp
    #[arg(long, value_name = "DIR")]
    dest: Option<PathBuf>,
}

impl Policy {
    /// Checks or installs.
    ///
    /// # Errors
    /// A policy that is not right; what cannot be read or written.
    pub fn run(self) -> Result<Verdict, Failure> {
        match self.command {
            Command::Check(check) => check.run(),
            Command::Install(install) => install.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<Verdict, Failure> {
        let policy = policy::Policy::parse(&content(&self.file)?)?;
        let Some(file) = &self.network else {
            print(overview(&self.file, &policy))?;
            return Ok(Verdict::Well);
        };
        let mut answers = Vec::new();
        for network in definitions(file).map_err(|why| Failure::Failed(why, None))? {
            answers.extend(self.answers(&policy, &network)?);
        }
        if answers.is_empty() {
            return Err(Failure::Failed(format!("{file} has no network of type {OWN_TYPE}"), None));
        }
        let palette = Palette::stdout();
        print(answers.iter().map(|answer| answer.to_text(palette)).collect::<String>())?;
        let allowed = answers.iter().all(|answer| answer.refusal.is_none());
        Ok(if allowed { Verdict::Well } else { Verdict::Findings })
    }

    /// One for each config of a network that is this plugin's.
    fn answers(&self, policy: &policy::Policy, network: &Network) -> Result<Vec<Answer>, Failure> {
        let identity = network.identity.as_ref();
        let namespace = self.namespace.clone().or_else(|| identity?.namespace.clone());
        let name = network.config_name.clone().or_else(|| identity.map(|identity| identity.name.clone()));
        let asker = Asker::new(namespace.as_slice(), &name.unwrap_or_default())?;
        let own = network.plugins.iter().enumerate().filter(|(_, plugin)| plugin.kind == OWN_TYPE);
        Ok(own
            .map(|(position, plugin)| {
                let chained = position > 0 || plugin.object.contains_key("prevResult");
                answer(policy, &asker, &plugin.object, chained)
            })
            .collect())
    }
}

/// What the policy says of one config.
struct Answer {
    asker: Asker,
    /// Rules that come first and are for others.
    passed: Vec<String>,
    decided: Option<String>,
    additions: Vec<String>,
    refusal: Option<Error>,
}

fn answer(
    policy: &policy::Policy,
    asker: &Asker,
    config: &Map<String, serde_json::Value>,
    chained: bool,
) -> Answer {
    let rule = policy.deciding(asker).first().copied();
    let passed = policy.rules().iter().take_while(|passed| Some(*passed) != rule);
    let judged = |rule: &Rule| {
        let amended = rule.amended(config)?;
        rule.judge(&NetConf::parse(&amended)?, &amended, chained)
    };
    Answer {
        asker: asker.clone(),
        passed: passed.map(|rule| format!("{rule} is for {}", rule.audience())).collect(),
        decided: rule.map(Rule::to_string),
        additions: rule.map(Rule::additions).unwrap_or_default(),
        refusal: rule.map_or_else(|| Err(faults::nobody(asker)), judged).err(),
    }
}

impl Answer {
    fn to_text(&self, palette: Palette) -> String {
        let (tone, word) = match self.refusal {
            None => (Tone::Good, "allowed"),
            Some(_) => (Tone::Bad, "refused"),
        };
        let mut text = format!("{}: {}\n", palette.paint(tone, word), harmless(&self.asker.to_string()));
        let mut line = |words: &str| text.push_str(&format!("  {}\n", harmless(words)));
        self.passed.iter().for_each(|passed| line(&format!("passed over: {passed}")));
        match &self.decided {
            Some(rule) => line(&format!("decided by: {rule}")),
            None => line("decided by: no rule; who meets none gets nothing"),
        }
        match &self.refusal {
            Some(refusal) => line(&refusal.to_string()),
            None => self.additions.iter().for_each(|addition| line(addition)),
        }
        text
    }
}

fn overview(file: &Path, policy: &policy::Policy) -> String {
    let rules = policy.rules();
    let head = format!(
        "ok: {}: {} rules, the first that is for namespace and network decides\n",
        file.display(),
        rules.len()
    );
    let line = |rule: &Rule| {
        let denies = if rule.denies() { ", denies everything" } else { "" };
        format!("  {rule}: {}{denies}\n", rule.audience())
    };
    head + &rules.iter().map(line).collect::<String>() + "  everybody else: nothing\n"
}

impl Install {
    fn run(self) -> Result<Verdict, Failure> {
        let content = content(&self.file)?;
        policy::Policy::parse(&content)?;
        let place = root::path(&Path::new("/").join(policy::PATH));
        let directory = self.dest.as_deref().or(place.parent()).unwrap_or(Path::new("/"));
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        owned::write(directory, &name, &content).map_err(|error| {
            Failure::Failed(format!("cannot write {}/{name}: {error}", directory.display()), None)
        })?;
        print(format!("installed {}/{name}\n", directory.display()))?;
        Ok(Verdict::Well)
    }
}

/// A policy's text. Who calls this by hand may keep it anywhere; a ConfigMap's files are symbolic links.
fn content(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |why: &str| Failure::Failed(format!("cannot read {}: {why}", file.display()), None);
    let mut content = Vec::new();
    File::open(file)
        .and_then(|file| file.take(policy::SIZE_MAX + 1).read_to_end(&mut content))
        .map_err(|error| failed(&error.to_string()))?;
    match content.len() as u64 > policy::SIZE_MAX {
        true => Err(failed(&format!("it is larger than {} bytes", policy::SIZE_MAX))),
        false => Ok(content),
    }
}
