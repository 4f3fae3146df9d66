//! Reads one value of the policy's YAML; a wrong one becomes a fault with its line.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Value};

/// A node of the file.
pub type Node<'a> = MarkedYaml<'a>;

/// Deepest nesting of a value that goes into configs; their own keys have two levels.
const DEPTH_MAX: usize = 8;

/// What is wrong with the file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// In words.
    pub text: String,
}

impl Fault {
    /// At a node.
    pub fn at(node: &Node, text: impl Into<String>) -> Self {
        Self { line: line(node), text: text.into() }
    }
}

/// Where a node begins, from 1.
pub fn line(node: &Node) -> usize {
    node.span.start.line()
}

/// The one document of a text. The reader below refuses keys that stand twice, and bounds what aliases expand to.
pub fn document(text: &str) -> Result<Node<'_>, Fault> {
    let mut documents = Node::load_from_str(text)
        .map_err(|error| Fault { line: error.marker().line(), text: format!("is no YAML: {error}") })?;
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (Some(second), false) => Err(Fault::at(&second, "a second document, wanted one")),
        (None, _) => {
            Err(Fault { line: 1, text: "the file is empty; \"rules: []\" would refuse everybody".into() })
        }
    }
}

/// The entries of a map, each with its key.
pub fn entries<'n>(node: &'n Node, what: &str) -> Result<Vec<(&'n str, &'n Node<'n>)>, Fault> {
    let YamlData::Mapping(entries) = &node.data else {
        return Err(wrong(node, what, "a map"));
    };
    let entry = |(key, value): (&'n Node<'n>, &'n Node<'n>)| match &key.data {
        YamlData::Value(Scalar::String(name)) => Ok((name.as_ref(), value)),
        _ => Err(Fault::at(key, format!("{what} has a key that is no text"))),
    };
    entries.iter().map(entry).collect()
}

/// The elements of a list.
pub fn list<'n>(node: &'n Node, what: &str) -> Result<&'n [Node<'n>], Fault> {
    match &node.data {
        YamlData::Sequence(nodes) => Ok(nodes),
        _ => Err(wrong(node, what, "a list")),
    }
}

/// A text.
pub fn text<'n>(node: &'n Node, what: &str) -> Result<&'n str, Fault> {
    match &node.data {
        YamlData::Value(Scalar::String(text)) => Ok(text),
        _ => Err(wrong(node, what, "a text")),
    }
}

/// Whether there is the value true; it is the only one that a policy says in words.
pub fn is_true(node: &Node) -> bool {
    matches!(node.data, YamlData::Value(Scalar::Boolean(true)))
}

/// An integer, where it is one.
pub fn integer(node: &Node) -> Option<i64> {
    match node.data {
        YamlData::Value(Scalar::Integer(number)) => Some(number),
        _ => None,
    }
}

/// A value as it stands in a network config.
pub fn json(node: &Node, what: &str) -> Result<Value, Fault> {
    nested(node, what, 0)
}

fn nested(node: &Node, what: &str, depth: usize) -> Result<Value, Fault> {
    if depth > DEPTH_MAX {
        return Err(Fault::at(node, format!("{what} is nested more than {DEPTH_MAX} levels deep")));
    }
    Ok(match &node.data {
        YamlData::Value(Scalar::Boolean(value)) => Value::from(*value),
        YamlData::Value(Scalar::Integer(number)) => Value::from(*number),
        YamlData::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        YamlData::Sequence(nodes) => {
            Value::Array(nodes.iter().map(|node| nested(node, what, depth + 1)).collect::<Result<_, _>>()?)
        }
        YamlData::Mapping(_) => {
            let entries = entries(node, what)?.into_iter();
            let entries = entries.map(|(key, value)| Ok((key.to_string(), nested(value, what, depth + 1)?)));
            Value::Object(entries.collect::<Result<Map<_, _>, Fault>>()?)
        }
        _ => return Err(wrong(node, what, "true, false, a number, a text, a list or a map")),
    })
}

/// A value of another kind.
pub fn wrong(node: &Node, what: &str, wanted: &str) -> Fault {
    Fault::at(node, format!("{what} must be {wanted}"))
}
