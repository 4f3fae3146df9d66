//! What a command writes: text in aligned columns or JSON, colour on a terminal only, silence where the reader has gone.

use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::error::Error;

/// A narrower terminal is taken for one that does not know its width.
const WIDTH_MIN: usize = 20;

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

/// Writes text for a person: on a terminal no line is broken inside of a word.
///
/// # Errors
/// As [`print`].
pub fn print_text(text: &str) -> Result<(), Failure> {
    print(terminal_width().map_or_else(|| text.to_string(), |width| folded(text, width)))
}

/// How many characters a line of the terminal takes; `None` where standard output is none.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width >= WIDTH_MIN)
}

/// Breaks lines that are longer than `width` between words. What follows begins below the line's last column, or below its
/// first word.
pub fn folded(text: &str, width: usize) -> String {
    text.split_inclusive('\n').flat_map(|line| folded_line(line, width)).collect()
}

fn folded_line(line: &str, width: usize) -> Vec<String> {
    let hanging = hanging(line, width);
    let (mut lines, mut current, mut used) = (Vec::new(), String::new(), 0);
    for word in line.split_inclusive(' ') {
        let length = visible(word.trim_end());
        if used + length > width && used > hanging {
            lines.push(format!("{}\n", current.trim_end()));
            current = " ".repeat(hanging);
            used = hanging;
        }
        current.push_str(word);
        used += visible(word);
    }
    lines.push(current);
    lines
}

/// The column of a line's last cell, as far as it leaves half of the width; else that of its first word.
fn hanging(line: &str, width: usize) -> usize {
    let mut column = line.chars().take_while(|c| *c == ' ').count();
    let (mut at, mut blanks) = (0, 0);
    for word in line.split_inclusive(' ') {
        // A blank alone follows a blank: between the two is the border of a column.
        if word == " " {
            blanks += 1;
        } else {
            if blanks > 0 && at <= width / 2 {
                column = at;
            }
            blanks = 0;
        }
        at += visible(word);
    }
    column
}

/// How many columns a text takes; sequences that set colours (ECMA-48 SGR) take none.
fn visible(text: &str) -> usize {
    let mut inside = false;
    let shown = text.chars().filter(|c| {
        let ends = inside && *c == 'm';
        inside = (inside || *c == '\x1b') && !ends;
        !inside && !ends && *c != '\n'
    });
    shown.count()
}

/// Writes a JSON document, indented.
///
/// # Errors
/// As [`print`].
pub fn print_json(document: &Value) -> Result<(), Failure> {
    print(format!("{document:#}\n"))
}

/// Whether the terminal shows sequences that steer it as text, as editors' shells do.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb")
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
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || is_dumb();
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
    fn long_lines_break_between_words_below_their_last_column() {
        let line = "ok  \x1b[32mdhcp\x1b[0m  one two three four\n";
        assert_eq!(folded(line, 20), "ok  \x1b[32mdhcp\x1b[0m  one two\n          three four\n");
        assert_eq!(folded("    one two three\nshort\n", 11), "    one two\n    three\nshort\n");
        assert_eq!(folded("averyveryverylongword and more\n", 10), "averyveryverylongword\nand more\n");
        for width in 20..60 {
            let text = folded("remedy: in the pod's node, do this and that and nothing else\n", width);
            assert!(text.lines().all(|line| line.len() <= width), "{width}: {text}");
        }
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
