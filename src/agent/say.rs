//! The agent's log: lines on standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// One line of the agent's log.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "bridge-dhcp agent: {}", line.to_string().replace('\n', "; "));
}
