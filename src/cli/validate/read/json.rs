//! JSON as people write it: what is wrong with it, in words and with the line.

use serde_json::{Map, Value};

use crate::cni::json;

/// Why a text is no JSON object.
pub struct Mistake {
    /// Line in the text, from 1.
    pub line: usize,
    pub why: String,
    pub remedy: Option<&'static str>,
}

/// Reads a JSON object, and the first key that stands twice in it.
///
/// # Errors
/// The first mistake.
pub fn object(text: &str) -> Result<(Map<String, Value>, Option<String>), Mistake> {
    let error = match json::parse(text.as_bytes()) {
        Ok(json::Document { value: Value::Object(object), twice }) => return Ok((object, twice)),
        Ok(_) => return Err(Mistake { line: 1, why: "it is JSON of another type".into(), remedy: None }),
        Err(error) => error,
    };
    let (why, remedy) = match stray(text) {
        Some((line, stray)) if line <= error.line() + 1 => {
            return Err(Mistake { line, why: stray.fact().into(), remedy: Some(stray.remedy()) });
        }
        _ if text.contains("{{") => {
            ("it looks like a Helm template".into(), Some("validate the output of `helm template`"))
        }
        _ => (error.to_string(), None),
    };
    // The number of the line is given beside it, as the file counts.
    let why: String = why;
    let why = why.rsplit_once(" at line ").map_or(why.as_str(), |(fact, _)| fact).to_string();
    Err(Mistake { line: error.line().max(1), why, remedy })
}

/// What other notations allow between values, and JSON does not.
#[derive(Clone, Copy)]
enum Stray {
    Comment,
    Comma,
}

impl Stray {
    fn fact(self) -> &'static str {
        match self {
            Self::Comment => "it has a comment, which JSON does not know",
            Self::Comma => "it has a comma behind the last entry, which JSON does not allow",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Comment => "remove the comment, or write it in the YAML around the config",
            Self::Comma => "remove the comma",
        }
    }
}

/// The first comment or trailing comma outside of strings, and its line.
fn stray(text: &str) -> Option<(usize, Stray)> {
    let (mut line, mut comma, mut quoted) = (1, None, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (quoted, character) {
            (true, '\\') => drop(characters.next()),
            (_, '"') => (quoted, comma) = (!quoted, None),
            (_, '\n') => line += 1,
            (false, '#') => return Some((line, Stray::Comment)),
            (false, '/') if matches!(characters.peek(), Some('/' | '*')) => {
                return Some((line, Stray::Comment));
            }
            (false, ',') => comma = Some(line),
            (false, '}' | ']') if comma.is_some() => return comma.map(|line| (line, Stray::Comma)),
            (false, other) if !other.is_whitespace() => comma = None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_called_that() {
        for (text, line, part) in [
            ("{\n  // the LAN\n  \"a\": 1}", 2, "comment"),
            ("{\n  \"a\": 1 # one\n}", 2, "comment"),
            ("{\"a\": /* one */ 1}", 1, "comment"),
            ("{\n \"a\": 1,\n}", 2, "comma behind the last"),
            ("{\"a\": [1,\n2,]}", 2, "comma behind the last"),
            ("{\"a\": \"x # , }\"\n \"b\": 1}", 2, "expected `,`"),
            ("{\"a\": {{ .Values.vlan }}}", 1, "Helm"),
            ("[]", 1, "another type"),
        ] {
            let mistake = object(text).unwrap_err();
            assert_eq!(mistake.line, line, "{text}");
            assert!(mistake.why.contains(part), "{text}: {}", mistake.why);
        }
        assert!(object("{\"a\": \"// # ,}\"}").is_ok());
    }
}
