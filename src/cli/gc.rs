//! `gc`: removes attachments that nobody owns, by a list of those that somebody does.

use std::io::Read;

use serde_json::{Map, Value, json};

use super::output::{Failure, Palette, Tone, harmless, print_json, print_text, table};
use super::{Verdict, block_on};
use crate::cni::environment::Attachment;
use crate::cni::request::valid_attachments;
use crate::error::Error;
use crate::kernel::faults::unseen;
use crate::kernel::linux::Linux;
use crate::net::{ContainerId, InterfaceName, Link, NetworkName};
use crate::operations::gc::{Sorted, Valid, collect, orphaned_rules, remove_rules, sorted_out};
use crate::plan::owner::Owned;

const LONG: &str = "\
Remove attachments that no container owns any more

Multus forwards GC to the cluster network only, never to NetworkAttachmentDefinitions. The kernel removes an attachment \
together with its container's network namespace; what can remain is one whose namespace outlived its pod (a DEL that was \
never sent, a namespace that something keeps open), one of an ADD that was killed, and one chained to another plugin's \
interface. From the kernel alone these look like live ones, so the containers that live must be named:

  crictl pods -q --state ready | bridge-dhcp gc --valid - --dry-run

nftables rules of ports that have vanished are collected, too.

Where none of the attachments would stay, gc refuses: most likely the list is another node's, or names containers instead \
of pod sandboxes. A pod that is being started may not be listed yet: collect what is still stale a minute later.";

const HELP: &str = "\
FILE of --valid is either JSON, a list of {\"containerID\": ..., \"ifname\": ...} as in cni.dev/valid-attachments, or text with \
one CONTAINERID or CONTAINERID/IFNAME in each line. CONTAINERID is the pod sandbox's, in full.

--json prints {\"dryRun\": bool, \"kept\": N, \"stale\": [...], \"undecided\": [...], \"rules\": [...]}: stale attachments, each with \
hostInterface, network, container, interface, pod (null where unknown), and rules of vanished ports, each with hostInterface; both \
with outcome: \"would remove\", \"removed\", \"in use\" (an ADD is running) or \"failed\", then with error. Undecided links stay, each \
with hostInterface and reason: it looks like an attachment's, or is one's of which the alias does not say whose any more.

Exit status: 0 nothing is left to remove, or --dry-run found nothing; 1 something could not be removed, or --dry-run found \
something; 2 the command line is wrong.";

/// Remove attachments that no container owns any more
#[derive(Debug, clap::Args)]
#[command(long_about = LONG, after_long_help = HELP)]
pub struct Gc {
    /// File that lists the valid attachments; - is standard input
    #[arg(long, value_name = "FILE")]
    valid: Option<String>,
    /// Keep this container's attachments, or one of them; may be repeated
    #[arg(long, value_name = "CONTAINERID[/IFNAME]")]
    keep: Vec<String>,
    /// Only attachments of this CNI network
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// Remove them also where no attachment at all would stay
    #[arg(long)]
    force: bool,
    /// Show what would be removed, remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What became of a stale attachment.
enum Fate {
    WouldRemove,
    Removed,
    InUse,
    Failed(Error),
}

impl Fate {
    fn of(removed: Result<bool, Error>) -> Self {
        match removed {
            Ok(true) => Self::Removed,
            Ok(false) => Self::InUse,
            Err(error) => Self::Failed(error),
        }
    }
}

/// What was found.
#[derive(Default)]
struct Swept {
    /// How many attachments stay.
    kept: usize,
    attachments: Vec<(Link, Owned, Fate)>,
    /// What stays, and why.
    undecided: Vec<(Link, &'static str)>,
    /// nftables rules, by the port that has vanished.
    rules: Vec<(String, Fate)>,
}

impl Gc {
    /// Collects, or shows what it would collect.
    ///
    /// # Errors
    /// No list of valid attachments, or a malformed one; the kernel's refusal.
    pub fn run(self) -> Result<Verdict, Failure> {
        let valid = self.valid()?;
        let network = self.network.as_deref().map(|name| {
            NetworkName::parse(name)
                .ok_or_else(|| Failure::Usage(format!("--network {name:?} is not the name of a CNI network")))
        });
        let network = network.transpose()?;
        let swept = block_on(self.sweep(network.as_ref(), &valid))?;
        let open = |fate: &Fate| matches!(fate, Fate::WouldRemove | Fate::Failed(_));
        let left = swept.attachments.iter().any(|(.., fate)| open(fate))
            || swept.rules.iter().any(|(_, fate)| open(fate));
        if self.json {
            let stale: Vec<Value> = swept.attachments.iter().map(attachment_json).collect();
            let rules: Vec<Value> = swept.rules.iter().map(rules_json).collect();
            let undecided = swept.undecided.iter();
            let undecided: Vec<Value> =
                undecided.map(|(link, why)| json!({"hostInterface": link.name, "reason": why})).collect();
            print_json(&json!({
                "dryRun": self.dry_run, "kept": swept.kept, "stale": stale, "undecided": undecided,
                "rules": rules,
            }))?;
        } else {
            print_text(&to_text(&swept, Palette::stdout()))?;
        }
        Ok(if left { Verdict::Findings } else { Verdict::Well })
    }

    fn valid(&self) -> Result<Valid, Failure> {
        if self.valid.is_none() && self.keep.is_empty() {
            return Err(Failure::Usage(
                "gc needs to know which containers live: --valid FILE or --keep CONTAINERID (see --help); \
                 without them every attachment would be removed"
                    .into(),
            ));
        }
        let mut valid = match self.valid.as_deref() {
            None => Valid::default(),
            Some(path) => parse(path, &contents(path)?)?,
        };
        for text in &self.keep {
            keep(&mut valid, text).map_err(|why| Failure::Usage(format!("--keep {text:?} {why}")))?;
        }
        Ok(valid)
    }

    async fn sweep(&self, network: Option<&NetworkName>, valid: &Valid) -> Result<Swept, Failure> {
        let mut kernel = Linux::open(None).map_err(|refusal| unseen("the node's network", &refusal))?;
        let links = kernel.attachments().await.map_err(|refusal| unseen("the node's links", &refusal))?;
        let Sorted { stale, kept, undecided } = sorted_out(links, network, valid);
        if kept == 0 && !self.dry_run && !self.force {
            refuse_all(&stale)?;
        }
        let mut swept = Swept { kept, undecided, ..Swept::default() };
        for (link, owned) in stale {
            let fate = match self.dry_run {
                true => Fate::WouldRemove,
                false => Fate::of(collect(&mut kernel, &link, &owned).await),
            };
            swept.attachments.push((link, owned, fate));
        }
        swept.attachments.sort_by(|(a, ..), (b, ..)| a.name.cmp(&b.name));
        for port in orphaned_rules(&kernel).await? {
            let fate = match self.dry_run {
                true => Fate::WouldRemove,
                false => Fate::of(remove_rules(&mut kernel, &port).await),
            };
            swept.rules.push((port, fate));
        }
        Ok(swept)
    }
}

/// A list that names none of the attachments is more likely to be a wrong one than all pods are to be gone.
fn refuse_all(stale: &[(Link, Owned)]) -> Result<(), Failure> {
    if stale.is_empty() {
        return Ok(());
    }
    let shown = match stale.len() {
        1 => "the only attachment".to_string(),
        count => format!("none of the {count} attachments"),
    };
    let verb = if stale.len() == 1 { "is not" } else { "is" };
    let fact = format!("{shown} {verb} in the list of valid ones: nothing was removed");
    let example = stale.iter().find_map(|(_, owned)| owned.label.as_ref());
    let example =
        example.map(|label| format!(", such as {}", harmless(&label.container))).unwrap_or_default();
    let remedy = format!(
        "remedy: list pod sandboxes of this node by their full ids{example}: crictl pods -q --state ready; --force, if really no pod lives"
    );
    Err(Failure::Failed(fact, Some(remedy)))
}

fn contents(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let outcome = match path {
        "-" => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(path).map(|read| text = read),
    };
    outcome.map(|()| text).map_err(|error| Failure::Usage(format!("--valid {path} cannot be read: {error}")))
}

/// Reads a list of valid attachments. An empty text is an error rather than an empty list: it is what a failed command
/// leaves in a pipe, and everything would be removed.
fn parse(path: &str, text: &str) -> Result<Valid, Failure> {
    let wrong = |why: String| Failure::Usage(format!("--valid {path}: {why}"));
    if text.trim_start().starts_with(['[', '{']) {
        let value = serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        return from_json(value).map_err(wrong);
    }
    let mut valid = Valid::default();
    for (number, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        keep(&mut valid, line).map_err(|why| wrong(format!("line {} {why}", number + 1)))?;
    }
    if valid.is_empty() {
        return Err(wrong(
            "is empty; to say that no container lives, give the JSON list [], and --force".into(),
        ));
    }
    Ok(valid)
}

/// Reads the list as GC does: by itself, or out of a config.
fn from_json(value: Value) -> Result<Valid, String> {
    let (object, by_itself) = match value {
        Value::Object(object) => (object, false),
        list => (Map::from_iter([("cni.dev/valid-attachments".to_string(), list)]), true),
    };
    let attachments = valid_attachments(&object).map_err(|error| match by_itself {
        // The file has no such key that could be named.
        true => "its elements are not {\"containerID\": ..., \"ifname\": ...}; containers alone go one in each line".into(),
        false => error.msg().to_string(),
    })?;
    Ok(attachments.iter().collect())
}

fn keep(valid: &mut Valid, text: &str) -> Result<(), &'static str> {
    const WRONG: &str =
        "is not CONTAINERID or CONTAINERID/IFNAME, as `crictl pods -q` prints them: no table, no comments";
    match text.split_once('/') {
        None => valid.insert_container(&ContainerId::parse(text).ok_or(WRONG)?),
        Some((container, ifname)) => valid.insert(&Attachment {
            container: ContainerId::parse(container).ok_or(WRONG)?,
            ifname: InterfaceName::parse(ifname).ok_or(WRONG)?,
        }),
    }
    Ok(())
}

fn outcome(fate: &Fate) -> (&'static str, Tone) {
    match fate {
        Fate::WouldRemove => ("would remove", Tone::Doubtful),
        Fate::Removed => ("removed", Tone::Good),
        Fate::InUse => ("in use", Tone::Doubtful),
        Fate::Failed(_) => ("failed", Tone::Bad),
    }
}

fn attachment_json((link, owned, fate): &(Link, Owned, Fate)) -> Value {
    let label = owned.label.as_ref();
    let shown = json!({
        "hostInterface": link.name, "network": label.map(|label| &label.network),
        "container": label.map(|label| &label.container), "interface": label.map(|label| &label.ifname),
        "pod": label.and_then(|label| label.pod.as_ref()), "outcome": outcome(fate).0,
    });
    with_error(shown, fate)
}

fn rules_json((port, fate): &(String, Fate)) -> Value {
    with_error(json!({"hostInterface": port, "outcome": outcome(fate).0}), fate)
}

fn with_error(mut shown: Value, fate: &Fate) -> Value {
    if let Fate::Failed(error) = fate {
        shown["error"] = error.msg().into();
    }
    shown
}

fn to_text(swept: &Swept, palette: Palette) -> String {
    let attachments = swept.attachments.iter().map(|(link, owned, fate)| {
        let network = owned.label.as_ref().map(|label| format!(" in network {}", label.network));
        let who = format!("of {}{}", owned.owner(), network.unwrap_or_default());
        (fate, link.name.clone(), harmless(&who))
    });
    let rules = swept
        .rules
        .iter()
        .map(|(port, fate)| (fate, port.clone(), "which is gone: its nftables rules".into()));
    let all: Vec<(&Fate, String, String)> = attachments.chain(rules).collect();
    let undecided = swept.undecided.iter();
    let undecided: String =
        undecided.map(|(link, why)| format!("left alone  {}: {why}\n", harmless(&link.name))).collect();
    if all.is_empty() {
        return undecided + &format!("no stale attachments ({} kept)\n", swept.kept);
    }
    let row = |(fate, port, what): &(&Fate, String, String)| {
        let error = if let Fate::Failed(error) = fate { error.msg() } else { "" };
        vec![outcome(fate).0.to_string(), port.clone(), what.clone(), error.to_string()]
    };
    let text = table(&all.iter().map(row).collect::<Vec<_>>());
    // Coloured after the columns are aligned: escape sequences have no width.
    let lines = text.lines().zip(&all).map(|(line, (fate, ..))| {
        let (word, tone) = outcome(fate);
        format!("{}{}\n", palette.paint(tone, word), line.strip_prefix(word).unwrap_or(line))
    });
    lines.collect::<String>() + &undecided + &ending(swept)
}

/// What a dry run says of the real one.
fn ending(swept: &Swept) -> String {
    let would = swept.attachments.iter().any(|(.., fate)| matches!(fate, Fate::WouldRemove));
    match swept.kept {
        0 if would => "none would stay: without --dry-run this needs --force\n".into(),
        kept => format!("{kept} kept\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::label::Label;
    use crate::plan::names::host_interface;

    fn covered(text: &str, container: &str, ifname: &str) -> bool {
        let attachment = Attachment {
            container: ContainerId::parse(container).unwrap(),
            ifname: InterfaceName::parse(ifname).unwrap(),
        };
        let network = NetworkName::parse("lan").unwrap();
        let label = Label::new(&network, &attachment, None, false, None);
        let owned =
            Owned { host: host_interface(&attachment), chained: None, facts: None, label: Some(label) };
        sorted_out(vec![(Link::plain("veth0"), Some(owned))], None, &parse("f", text).unwrap()).kept == 1
    }

    #[test]
    fn lines_and_json_name_containers_and_interfaces() {
        assert!(covered("c1\nc2/net1\n\n", "c1", "net9") && covered("c1\nc2/net1\n", "c2", "net1"));
        assert!(!covered("c2/net1", "c2", "net2") && !covered("[]", "c1", "net1"));
        assert!(covered(r#"[{"containerID": "c1", "ifname": "net1"}]"#, "c1", "net1"));
        assert!(covered(
            r#"{"cni.dev/attachments": [{"containerID": "c1", "ifname": "net1"}]}"#,
            "c1",
            "net1"
        ));
    }

    #[test]
    fn what_a_failed_command_leaves_in_a_pipe_is_not_an_empty_list() {
        for text in ["", "\n \n", "{}", "[{}]", "{", "a b", "time=\"x\" level=fatal"] {
            assert!(matches!(parse("f", text), Err(Failure::Usage(_))), "{text:?}");
        }
    }
}
