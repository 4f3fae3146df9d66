//! `validate`: reads network configs and Kubernetes objects and says what is known to break, before anything is applied.

mod document;
mod finding;
mod inventory;
mod read;
mod rules;
mod source;
mod spelling;

use serde_json::{Value, json};

use self::finding::{Finding, Severity};
use self::inventory::{Inventory, Tally};
pub(super) use self::inventory::{Network, OWN_TYPE};
use super::Verdict;
use super::output::{Failure, Palette, Tone, harmless, print_json, print_text};
use crate::cni::config::NetConf;

const HELP: &str = "\
Files may hold, in any mix: a CNI config or config list (JSON), or Kubernetes objects (YAML or JSON, several documents, \
lists) of the kinds NetworkAttachmentDefinition, VirtualMachine, VirtualMachineInstance, VirtualMachinePool, \
NodeNetworkConfigurationPolicy, Secret (cloud-init's data), and Pod, Deployment and other workloads (Multus' annotations). \
Other kinds are passed over. Of a folder all files that end with .yaml, .yml, .json, .conf or .conflist are read. Give all \
that belong together at once: many rules are about what fits together.

--json prints {\"errors\": N, \"warnings\": N, \"hints\": N, \"checked\": N, \"passedOver\": {KIND: N}, \"findings\": [...]}, each \
finding with severity (\"error\", \"warning\", \"hint\"), rule (a stable name), file, line, document (of the file, from 1), object \
(\"Kind namespace/name\"), message, and remedy (null where there is none; may have several lines).

Exit status: 0 no error, warnings or not; 1 errors, or warnings with --strict; 2 the command line is wrong.";

/// Check networks, machines, pods and node policies for what is known to break
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Validate {
    /// Files or folders to check; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Let warnings count for the exit status
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Validate {
    /// Checks.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self) -> Result<Verdict, Failure> {
        let mut inventory = Inventory::default();
        let sources = source::read(&self.files);
        let files = sources.len();
        for source in sources {
            match source.text {
                Ok(text) => inventory.read(&source.name, &text),
                Err(unreadable) => inventory.findings.push(unreadable),
            }
        }
        let summary = Summary { findings: judge(&mut inventory), tally: inventory.tally, files };
        if self.json {
            print_json(&summary.to_json())?;
        } else {
            print_text(&summary.to_text(Palette::stdout()))?;
        }
        let found = |severity| summary.count(severity) > 0;
        Ok(Verdict::of(found(Severity::Error), found(Severity::Warning), self.strict))
    }
}

/// What the files hold.
///
/// # Errors
/// A file cannot be read.
fn gathered(files: &[String]) -> Result<Inventory, String> {
    let mut inventory = Inventory::default();
    for source in source::read(files) {
        let text = source.text.map_err(|unreadable| format!("{}: {}", source.name, unreadable.message))?;
        inventory.read(&source.name, &text);
    }
    Ok(inventory)
}

/// What is wrong with a file, so that not all in it may have been read.
fn broken(inventory: &Inventory) -> Option<String> {
    let broken = inventory.findings.iter().find(|finding| finding.severity == Severity::Error);
    broken.map(|finding| format!("{}:{}: {}", finding.place.file, finding.place.line, finding.message))
}

/// The networks of this plugin, or of one with the same keys, in the files, each with the name of its object.
///
/// # Errors
/// A file cannot be read, or has no such network that ADD would take; with the reason.
pub fn networks(files: &[String]) -> Result<Vec<(String, NetConf)>, String> {
    let inventory = gathered(files)?;
    let named = |network: &Network| Some((network.place.subject().to_string(), network.conf()?.clone()));
    let networks: Vec<_> = inventory.networks.iter().filter_map(named).collect();
    if !networks.is_empty() {
        return Ok(networks);
    }
    Err(broken(&inventory).unwrap_or_else(|| {
        format!("{}: no network that this plugin would attach; see bridge-dhcp validate", files.join(" "))
    }))
}

/// All networks in a file or folder, as they stand there.
///
/// # Errors
/// What cannot be read in it, with its place.
pub fn definitions(file: &str) -> Result<Vec<Network>, String> {
    let inventory = gathered(&[file.to_string()])?;
    broken(&inventory).map_or(Ok(inventory.networks), Err)
}

/// All rules, in the order of the files.
fn judge(inventory: &mut Inventory) -> Vec<Finding> {
    let mut findings = std::mem::take(&mut inventory.findings);
    findings.extend(rules::judge(inventory));
    findings.sort_by(|a, b| (&a.place, a.severity).cmp(&(&b.place, b.severity)));
    findings
}

/// What there is to say about all files.
struct Summary {
    findings: Vec<Finding>,
    tally: Tally,
    files: usize,
}

impl Summary {
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    fn to_json(&self) -> Value {
        let shown: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        json!({
            "errors": self.count(Severity::Error), "warnings": self.count(Severity::Warning),
            "hints": self.count(Severity::Hint), "checked": self.tally.checked,
            "passedOver": self.tally.passed_over, "findings": shown,
        })
    }

    fn to_text(&self, palette: Palette) -> String {
        let plural =
            |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        let [errors, warnings, hints] =
            [Severity::Error, Severity::Warning, Severity::Hint].map(|s| self.count(s));
        let (tone, verdict) = match (errors, warnings, self.tally.checked) {
            (0, 0, 0) => (Tone::Doubtful, "nothing checked"),
            (0, 0, _) => (Tone::Good, "ok"),
            (0, ..) => (Tone::Doubtful, "warnings"),
            _ => (Tone::Bad, "FAIL"),
        };
        let mut text = format!(
            "{}: {}, {}, {}; {} checked in {}{}\n",
            palette.paint(tone, verdict),
            plural(errors, "error"),
            plural(warnings, "warning"),
            plural(hints, "hint"),
            plural(self.tally.checked, "object"),
            plural(self.files, "file"),
            passed_over(&self.tally),
        );
        for finding in &self.findings {
            text.push_str(&shown(finding, palette));
        }
        text
    }
}

fn passed_over(tally: &Tally) -> String {
    let total: usize = tally.passed_over.values().sum();
    let kinds: Vec<String> = tally.passed_over.keys().map(|kind| harmless(kind)).collect();
    if total == 0 { String::new() } else { format!(", {total} passed over ({})", kinds.join(", ")) }
}

fn shown(finding: &Finding, palette: Palette) -> String {
    let tone = match finding.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Doubtful,
        Severity::Hint => Tone::Faint,
    };
    let place = &finding.place;
    // Some messages name their object themselves.
    let named = place.object.is_empty() || finding.message.starts_with(&place.object);
    let object = if named { String::new() } else { format!("{}: ", harmless(&place.object)) };
    let mut text = format!(
        "\n{}  {}:{}\n         {object}{}\n",
        palette.paint(tone, format_args!("{:7}", finding.severity)),
        harmless(&place.file),
        place.line,
        harmless(&finding.message),
    );
    for (number, line) in finding.remedy.iter().flat_map(|remedy| remedy.lines()).enumerate() {
        let label = if number == 0 { "remedy: " } else { "  " };
        text.push_str(&format!("         {label}{}\n", harmless(line)));
    }
    text
}

#[cfg(test)]
mod tests;
