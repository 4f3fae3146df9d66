//! The log: a file that the administrator names, because Multus throws standard error away when a plugin fails.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::Code;

/// Where log files are, unless the node's policy names other places: a network's author must not choose what root writes to.
pub const DIRECTORY: &str = "/var/log/bridge-dhcp";

/// How much is logged; the order is from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words of `logLevel`")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    /// Reads `logLevel`. Multus' daemon injects its own words; an unknown one means the default.
    fn parse(text: &str) -> Self {
        match text {
            "debug" => Self::Debug,
            "error" | "panic" => Self::Error,
            "warn" | "warning" => Self::Warn,
            _ => Self::Info,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

/// Where messages go. Nothing that goes wrong here ever fails an operation.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    level: Level,
    context: String,
    warned: RefCell<BTreeSet<Code>>,
}

impl Log {
    /// The log that the config names with `logFile` and `logLevel`, by way of `opener`; `context` stands in every line.
    /// Warnings go to standard error, too; so does that the file cannot be opened.
    pub fn open(
        object: &Map<String, Value>,
        context: String,
        opener: impl Fn(&str) -> io::Result<File>,
    ) -> Self {
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let file = text("logFile").and_then(|path| {
            opener(path).map_err(|error| complain(&format!("cannot open logFile {path}: {error}"))).ok()
        });
        Self {
            file,
            level: text("logLevel").map_or(Level::Info, Level::parse),
            context,
            warned: RefCell::default(),
        }
    }

    /// Warns of what holds for as long as the attachment does. Every runtime drops the standard error of an ADD that
    /// succeeds, so the code is remembered for the attachment's label.
    pub fn warn(&self, code: Code, message: impl fmt::Display) {
        self.warned.borrow_mut().insert(code);
        self.write(Level::Warn, message);
    }

    /// The codes of all lasting warnings so far, ascending.
    pub fn warned(&self) -> Vec<Code> {
        self.warned.borrow().iter().copied().collect()
    }

    /// Writes one line.
    pub fn write(&self, level: Level, message: impl fmt::Display) {
        if level > self.level {
            return;
        }
        let message = message.to_string().replace('\n', "; ");
        if level == Level::Warn {
            complain(&message);
        }
        if let Some(mut file) = self.file.as_ref() {
            let line = format!("{} [{level}] {} {message}\n", timestamp(SystemTime::now()), self.context);
            let _ = file.write_all(line.as_bytes());
        }
    }
}

fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "bridge-dhcp: {message}");
}

/// RFC 3339 in UTC with milliseconds.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (days, of_day) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar, counted in eras of 400 years
/// that begin on March 1st.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_rfc_3339() {
        // date -u -d @1709210096 --rfc-3339=seconds; date -u -d @4102444799
        for (seconds, shown) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (1_709_210_096, "2024-02-29T12:34:56.007Z"),
            (4_102_444_799, "2099-12-31T23:59:59.007Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 7)), shown);
        }
    }
}
