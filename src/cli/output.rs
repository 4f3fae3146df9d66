//! What a command writes: text in aligned columns or JSON, colour on a terminal only, silence where the reader has gone.

use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::error::Error;

/// Why a command could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The command line asks for what makes no sense: exit status 2.
    Usage(String),
    /// The fact and the remedy: exit status 1.
    Failed(String, Option<String>),
}

impl Failure {
    /// Says it on standard error.
    pub fn report(&self) -> ExitCode {
        let (text, remedy, status) = match self {
            Self::Usage(text) => (text, None, 2),
            Self::Failed(text, remedy) => (text, remedy.as_ref(), 1),
        };
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "error: {text}");
        if let Some(remedy) = remedy {
            let _ = writeln!(stderr, "{remedy}");
        }
        ExitCode::from(status)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string(), Some(error.details()).filter(|details| !details.is_empty()))
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// Standard output cannot be written for another reason.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}"), None))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a JSON document, indented.
///
/// # Errors
/// As [`print`].
pub fn print_json(document: &Value) -> Result<(), Failure> {
    print(format!("{document:#}\n"))
}

/// How a word is set off where colour is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Worth a look.
    Doubtful,
    /// Broken.
    Bad,
    /// Beside the point.
    Faint,
}

/// Colours words, or leaves them as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette {
    coloured: bool,
}

impl Palette {
    /// For standard output: colour on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is dumb.
    pub fn stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { coloured: !refused && std::io::stdout().is_terminal() }
    }

    /// Without colour.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { coloured: false }
    }

    /// The text in the tone's colour.
    pub fn paint(self, tone: Tone, text: impl fmt::Display) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "1;31",
            Tone::Faint => "2",
        };
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// Text from elsewhere as it may stand in a terminal: control characters, which could steer it, are escaped.
pub fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

/// Rows in columns as wide as their widest cell, two spaces apart.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    rows.iter().fold(String::new(), |mut text, row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_blanks() {
        let rows = [vec!["a".to_string(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&rows), "a    bb\nccc  d\n");
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(harmless("a\x1b[31mb\u{9b}2J"), "a\\u{1b}[31mb\\u{9b}2J");
    }

    #[test]
    fn colour_is_only_where_it_is_seen() {
        assert_eq!(Palette { coloured: false }.paint(Tone::Bad, "FAIL"), "FAIL");
        assert_eq!(Palette { coloured: true }.paint(Tone::Good, "ok"), "\x1b[32mok\x1b[0m");
    }
}
