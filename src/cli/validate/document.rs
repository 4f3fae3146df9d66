//! YAML documents as trees whose nodes know their lines.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

/// Deepest nesting that is read; Kubernetes objects stay far below.
const DEPTH_MAX: usize = 64;

/// A node and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line where it begins, from 1; for a block of text that of its first character.
    pub line: usize,
    /// How many lines and characters it takes in its file.
    extent: (usize, usize),
    content: Content,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
    Null,
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key of this map; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|(name, node)| name == key && node.content != Content::Null)
            .map(|(_, n)| n)
    }

    /// The value behind several keys, one inside the other.
    pub fn path(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The entries of this map in order; none where it is none.
    pub fn entries(&self) -> &[(String, Node)] {
        if let Content::Map(entries) = &self.content { entries } else { &[] }
    }

    /// The elements of the list behind a key; none where there is no list.
    pub fn list(&self, key: &str) -> &[Node] {
        match self.get(key).map(|node| &node.content) {
            Some(Content::List(nodes)) => nodes,
            _ => &[],
        }
    }

    /// This node's text.
    pub fn as_text(&self) -> Option<&str> {
        if let Content::Text(text) = &self.content { Some(text) } else { None }
    }

    /// The text behind a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// The integer behind a key.
    pub fn integer(&self, key: &str) -> Option<i64> {
        if let Content::Integer(number) = self.get(key)?.content { Some(number) } else { None }
    }

    /// This truth value.
    pub fn as_boolean(&self) -> Option<bool> {
        if let Content::Boolean(value) = self.content { Some(value) } else { None }
    }

    /// The truth value behind a key.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_boolean()
    }

    /// Whether this is a list.
    pub fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }

    /// The line of the file on which line `inner` of this text stands, both from 1.
    pub fn line_of(&self, inner: usize) -> usize {
        let text = self.as_text().unwrap_or_default();
        // A block keeps its lines; text in quotes may have more lines than it takes.
        if text.trim_matches('\n').lines().count() > self.extent.0 {
            return self.line;
        }
        let blank = text.chars().take_while(|c| *c == '\n').count();
        (self.line + inner).saturating_sub(blank + 1)
    }

    /// Whether this text stands there without quotes.
    pub fn is_bare(&self) -> bool {
        self.as_text().is_some_and(|text| text.chars().count() == self.extent.1)
    }

    /// What stands here, for a message.
    pub fn shown(&self) -> String {
        match &self.content {
            Content::Null => "null".into(),
            Content::Boolean(value) => value.to_string(),
            Content::Integer(number) => number.to_string(),
            Content::Text(text) => format!("{text:?}"),
            Content::List(_) => "a list".into(),
            Content::Map(_) => "a map".into(),
        }
    }

    /// Whether this is a map.
    pub fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    /// Whether there is nothing.
    pub fn is_null(&self) -> bool {
        self.content == Content::Null
    }
}

/// Reads all documents of a text.
///
/// # Errors
/// The line, and what is wrong there.
pub fn parse(text: &str) -> Result<Vec<Node>, (usize, String)> {
    let nodes = MarkedYaml::load_from_str(text)
        .map_err(|error| (error.marker().line(), format!("is not YAML: {error}")))?;
    nodes.iter().map(|node| convert(node, 0)).collect()
}

fn convert(node: &MarkedYaml<'_>, depth: usize) -> Result<Node, (usize, String)> {
    let line = node.span.start.line();
    if depth > DEPTH_MAX {
        return Err((line, format!("is nested more than {DEPTH_MAX} levels deep")));
    }
    let content = match &node.data {
        YamlData::Value(Scalar::Boolean(value)) => Content::Boolean(*value),
        YamlData::Value(Scalar::Integer(number)) => Content::Integer(*number),
        YamlData::Value(Scalar::FloatingPoint(number)) => Content::Text(number.to_string()),
        YamlData::Value(Scalar::String(text)) => Content::Text(text.to_string()),
        YamlData::Sequence(nodes) => {
            Content::List(nodes.iter().map(|node| convert(node, depth + 1)).collect::<Result<_, _>>()?)
        }
        YamlData::Mapping(entries) => {
            let entry = |(key, value): (&MarkedYaml<'_>, &MarkedYaml<'_>)| match &key.data {
                YamlData::Mapping(_) => Err((line, "has {{ }} where a value belongs".to_string())),
                _ => Ok((key_text(key), convert(value, depth + 1)?)),
            };
            Content::Map(merge(entries.iter().map(entry).collect::<Result<_, _>>()?))
        }
        YamlData::Tagged(_, inner) => return convert(inner, depth + 1),
        _ => Content::Null,
    };
    let extent = (node.span.end.line().saturating_sub(line), node.span.len());
    Ok(Node { line, extent, content })
}

/// Resolves merge keys (yaml.org/type/merge), which Kubernetes' reader knows: what stands in the map itself outweighs what
/// they bring in, and an earlier map of theirs a later one.
fn merge(entries: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let (merging, mut merged): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key == "<<");
    for (_, node) in merging {
        let sources = match node.content {
            Content::List(nodes) => nodes,
            _ => vec![node],
        };
        for (key, value) in sources.iter().flat_map(Node::entries) {
            if !merged.iter().any(|(known, _)| known == key) {
                merged.push((key.clone(), value.clone()));
            }
        }
    }
    merged
}

fn key_text(key: &MarkedYaml<'_>) -> String {
    match &key.data {
        YamlData::Value(Scalar::String(text)) => text.to_string(),
        YamlData::Value(Scalar::Integer(number)) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_lines() {
        let documents = parse("a: 1\n---\n# comment\nb:\n  c: [x, true]\n  d: |\n    text\n").unwrap();
        assert_eq!(documents.len(), 2);
        assert_eq!(documents[0].integer("a"), Some(1));
        assert_eq!(documents[1].path(&["b", "c"]).unwrap().line, 5);
        assert_eq!(documents[1].path(&["b"]).unwrap().text("d"), Some("text\n"));
    }

    #[test]
    fn lines_of_a_block_are_lines_of_its_file() {
        let documents = parse("a: |\n\n  one\n  two\nb: \"one\\ntwo\"\nc: 'x'\nd: y\n").unwrap();
        let line = |key: &str, inner| documents[0].get(key).unwrap().line_of(inner);
        assert_eq!((line("a", 2), line("a", 3)), (3, 4));
        assert_eq!((line("b", 1), line("b", 2), line("c", 1)), (5, 5, 6));
        assert!(documents[0].get("d").unwrap().is_bare() && !documents[0].get("c").unwrap().is_bare());
    }

    #[test]
    fn what_is_no_yaml_is_named_with_its_line_and_bombs_do_not_go_off() {
        assert_eq!(parse("a: 1\nb: [\n").unwrap_err().0, 3);
        let bomb: String = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
        assert!(parse(&format!("a0: &a0 [x, x]\n{bomb}")).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("{}{}", "[".repeat(200), "]".repeat(200))).is_err());
    }
}
