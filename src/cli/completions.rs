//! `completions`: the completion script of a shell on standard output.

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::{Failure, print};
use super::{Arguments, Verdict};

/// Print a shell's completion script
#[derive(Debug, clap::Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    /// Prints it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self) -> Result<Verdict, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "bridge-dhcp", &mut script);
        print(&script)?;
        Ok(Verdict::Well)
    }
}
