//! `validate`: reads network configs and Kubernetes objects and says what is known to break, before anything is applied.

mod cloud_init;
mod document;
mod finding;
mod kinds;
mod machine;
mod network;
mod policy;

use std::io::Read;

use serde_json::{Value, json};

use self::finding::{Finding, Severity};
use self::kinds::Inventory;
use super::Verdict;
use super::output::{Failure, Palette, Tone, harmless, print, print_json};

/// The longest file that is read.
const FILE_MAX: u64 = 16 << 20;

const HELP: &str = "\
Files may hold, in any mix: a CNI config or config list (JSON), or Kubernetes objects (YAML or JSON, several documents,
lists) of the kinds NetworkAttachmentDefinition, VirtualMachine, VirtualMachineInstance and
NodeNetworkConfigurationPolicy; other kinds are passed over. Give all that belong together at once: many rules are about
what fits together.

--json prints {\"errors\": N, \"warnings\": N, \"hints\": N, \"findings\": [...]}, each finding with severity (\"error\", \"warning\",
\"hint\"), rule (a stable name), file, line, document (of the file, from 1), object (\"Kind namespace/name\"), message, and
remedy (null where there is none).

Exit status: 0 nothing, or hints only; 1 errors or warnings; 2 the command line is wrong.";

/// Check network configs, NetworkAttachmentDefinitions, VMs and node policies for what is known to break
#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub struct Validate {
    /// Files to check; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Validate {
    /// Checks.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn run(self) -> Result<Verdict, Failure> {
        let mut inventory = Inventory::default();
        for file in &self.files {
            inventory.read(file, &contents(file)?);
        }
        let findings = judge(inventory);
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let [errors, warnings, hints] = [Severity::Error, Severity::Warning, Severity::Hint].map(count);
        if self.json {
            let shown: Vec<Value> = findings.iter().map(Finding::to_json).collect();
            print_json(&json!({"errors": errors, "warnings": warnings, "hints": hints, "findings": shown}))?;
        } else {
            print(to_text(&findings, [errors, warnings, hints], self.files.len(), Palette::stdout()))?;
        }
        Ok(if errors + warnings == 0 { Verdict::Well } else { Verdict::Findings })
    }
}

fn contents(file: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::Usage(format!("{file}: cannot be read: {error}"));
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(file).map_err(failed)?),
    };
    let mut text = String::new();
    source.take(FILE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > FILE_MAX {
        return Err(Failure::Usage(format!("{file}: is larger than {} MiB", FILE_MAX >> 20)));
    }
    Ok(text)
}

/// All rules, in the order of the files.
fn judge(mut inventory: Inventory) -> Vec<Finding> {
    let mut findings = std::mem::take(&mut inventory.unreadable);
    for rules in [network::judge, policy::judge, machine::judge, cloud_init::judge] {
        findings.extend(rules(&inventory));
    }
    findings.sort_by(|a, b| (&a.place, a.severity).cmp(&(&b.place, b.severity)));
    findings
}

fn to_text(
    findings: &[Finding],
    [errors, warnings, hints]: [usize; 3],
    files: usize,
    palette: Palette,
) -> String {
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let files = plural(files, "file");
    let counts = format!(
        "{}, {}, {} in {files}",
        plural(errors, "error"),
        plural(warnings, "warning"),
        plural(hints, "hint")
    );
    let (tone, verdict) = match (errors, warnings) {
        (0, 0) => (Tone::Good, "ok"),
        (0, _) => (Tone::Doubtful, "warnings"),
        _ => (Tone::Bad, "FAIL"),
    };
    let mut text = format!("{}: {counts}\n", palette.paint(tone, verdict));
    for finding in findings {
        let tone = match finding.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Doubtful,
            Severity::Hint => Tone::Faint,
        };
        let place = &finding.place;
        let object =
            if place.object.is_empty() { String::new() } else { format!("{}: ", harmless(&place.object)) };
        text.push_str(&format!(
            "\n{}  {}:{}\n         {object}{}\n",
            palette.paint(tone, format_args!("{:7}", finding.severity)),
            harmless(&place.file),
            place.line,
            harmless(&finding.message),
        ));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("         remedy: {}\n", harmless(remedy)));
        }
    }
    text
}

#[cfg(test)]
mod tests;
