//! From the text of a file to the objects in it.

mod json;
mod machine;
mod network;
mod pod;
mod policy;
mod secret;

use super::document::{Node, parse};
use super::finding::{Finding, Place, Severity};
use super::inventory::{Identity, Inventory};
use super::spelling;

/// Kinds that are checked, and where each has its pods' template.
const KINDS: [(&str, Kind); 15] = [
    ("NetworkAttachmentDefinition", Kind::Definition),
    ("VirtualMachine", Kind::Machine(&["spec", "template", "spec"])),
    ("VirtualMachineInstance", Kind::Machine(&["spec"])),
    ("VirtualMachineInstanceReplicaSet", Kind::Machine(&["spec", "template", "spec"])),
    ("VirtualMachinePool", Kind::Machine(&["spec", "virtualMachineTemplate", "spec", "template", "spec"])),
    ("NodeNetworkConfigurationPolicy", Kind::Policy),
    ("Secret", Kind::Secret),
    ("Pod", Kind::Pod(&[])),
    ("Deployment", Kind::Pod(&["spec", "template"])),
    ("StatefulSet", Kind::Pod(&["spec", "template"])),
    ("DaemonSet", Kind::Pod(&["spec", "template"])),
    ("ReplicaSet", Kind::Pod(&["spec", "template"])),
    ("ReplicationController", Kind::Pod(&["spec", "template"])),
    ("Job", Kind::Pod(&["spec", "template"])),
    ("CronJob", Kind::Pod(&["spec", "jobTemplate", "spec", "template"])),
];

#[derive(Clone, Copy)]
enum Kind {
    Definition,
    Machine(&'static [&'static str]),
    Policy,
    Secret,
    Pod(&'static [&'static str]),
}

impl Identity {
    fn read(node: &Node) -> Option<Self> {
        let metadata = node.get("metadata")?;
        // Tools that make objects of a pattern give only the begin of the name.
        let name = metadata.text("name").or_else(|| metadata.text("generateName"))?;
        Some(Self { namespace: metadata.text("namespace").map(str::to_string), name: name.to_string() })
    }
}

impl Inventory {
    /// Adds what a file holds.
    pub fn read(&mut self, file: &str, text: &str) {
        let place = |line| Place { file: file.to_string(), line, document: 1, object: String::new() };
        let (text, marked) = match text.strip_prefix('\u{feff}') {
            Some(text) => (text, true),
            None => (text, false),
        };
        if marked && text.trim_start().starts_with('{') {
            let what = "the file begins with a byte order mark (BOM), which is not allowed in JSON";
            self.findings.push(syntax(place(1), what).remedy("save it as UTF-8 without BOM"));
        }
        // JSON is YAML, too, but its own parser names the mistakes that matter, such as a trailing comma.
        if text.trim_start().starts_with('{') && !is_template(text) {
            match json::object(text) {
                Err(mistake) => return self.unreadable(place(mistake.line), "the file", &mistake),
                Ok((object, twice)) if !object.contains_key("kind") => {
                    self.tally.checked += 1;
                    self.stands_twice(place(1), twice);
                    return self.read_config(network::Frame::plain(place(1)), object);
                }
                Ok(_) => {}
            }
        }
        match parse(text) {
            Ok(documents) if documents.iter().all(Node::is_null) => {
                self.findings.push(syntax(place(1), "the file is empty"));
            }
            Ok(documents) => {
                let filled = documents.iter().enumerate().filter(|(_, document)| !document.is_null());
                filled.for_each(|(number, document)| self.read_object(file, number + 1, document));
            }
            Err((line, _)) if text.contains("{{") => self.findings.push(
                syntax(place(line), "the file is not YAML: it looks like a Helm template")
                    .remedy("validate what it becomes: helm template CHART | bridge-dhcp validate -"),
            ),
            Err((line, why)) => self.findings.push(syntax(place(line), format!("the file {why}"))),
        }
    }

    fn unreadable(&mut self, place: Place, what: &str, mistake: &json::Mistake) {
        let finding = syntax(place, format!("{what} is not a JSON object: {}", mistake.why));
        self.findings.push(Finding { remedy: mistake.remedy.map(str::to_string), ..finding });
    }

    /// Readers differ on which value of the two counts, so ADD takes neither.
    fn stands_twice(&mut self, place: Place, key: Option<String>) {
        self.findings.extend(key.map(|key| {
            let message = format!("config key {key:?} stands twice in one object");
            Finding::new(Severity::Error, "key-twice", place, message)
                .remedy(format!("remove one of the two {key:?}"))
        }));
    }

    fn read_object(&mut self, file: &str, document: usize, node: &Node) {
        let kind = node.text("kind").unwrap_or_default();
        if let Some(of) = kind.strip_suffix("List") {
            // Items of a list of one kind, as the API itself answers, do not repeat it.
            for item in node.list("items") {
                match item.text("kind") {
                    Some(_) => self.read_object(file, document, item),
                    None => self.read_single(file, document, item, of),
                }
            }
            return;
        }
        self.read_single(file, document, node, kind);
    }

    fn read_single(&mut self, file: &str, document: usize, node: &Node, kind: &str) {
        let identity = Identity::read(node);
        let shown = identity.as_ref().map(|identity| format!("{kind} {identity}"));
        let object = shown.unwrap_or_else(|| kind.to_string());
        let place = Place { file: file.to_string(), line: node.line, document, object };
        if kind.is_empty() {
            let what = "the document is neither a network config in JSON nor a Kubernetes object: it has no \"kind\"";
            return self.findings.push(syntax(place, what));
        }
        let Some((_, known)) = KINDS.iter().find(|(name, _)| *name == kind) else {
            return self.pass_over(place, kind);
        };
        let Some(identity) = identity else {
            let what = format!("{kind} has no metadata.name");
            return self.findings.push(syntax(place, what));
        };
        self.tally.checked += 1;
        self.named.push(place.clone());
        match known {
            Kind::Definition => self.read_definition(place, identity, node),
            Kind::Machine(path) => self.read_machine(place, identity, node, path),
            Kind::Policy => self.read_policy(&place, node),
            Kind::Secret => self.read_secret(place, identity, node),
            Kind::Pod(path) => self.read_pod(place, identity, node, path),
        }
    }

    fn pass_over(&mut self, place: Place, kind: &str) {
        *self.tally.passed_over.entry(kind.to_string()).or_default() += 1;
        if let Some(meant) = spelling::meant(kind, KINDS.map(|(name, _)| name)) {
            let message = format!("{} is of no kind that is checked", place.subject());
            self.findings
                .push(Finding::new(Severity::Error, "kind", place, message).remedy(format!("kind: {meant}")));
        }
    }
}

/// A finding about what cannot be read.
fn syntax(place: Place, message: impl Into<String>) -> Finding {
    Finding::new(Severity::Error, "syntax", place, message)
}

/// Whether a text that begins with a brace begins with a template's.
fn is_template(text: &str) -> bool {
    text.trim_start().starts_with("{{")
}

/// Text in base64, with line breaks anywhere, as Kubernetes reads it.
///
/// # Errors
/// Says in words what is wrong with it.
pub fn decoded(text: &str) -> Result<String, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let bytes = data_encoding::BASE64.decode(&digits).map_err(|error| format!("is no base64: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "is base64 of what is no text".into())
}
