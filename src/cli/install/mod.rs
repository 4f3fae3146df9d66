//! `install`: puts this program into a CNI directory, for a DaemonSet's container that has nothing but this file.

mod copy;

use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

use nix::sys::signal::{SigSet, Signal};

use self::copy::{Done, OWN_NAME, install};
use super::output::{Failure, print};
use super::{Verdict, version};

/// Copy this program into a CNI directory, atomically and verified by checksum
///
/// Installing over a running or an older version is safe: every ADD finds either the old file or the new one. What a
/// killed installation left behind is removed by the next one. A file that is identical already is not written again.
/// Another program is not replaced without --force: `--name bridge` would change every network of that type.
#[derive(Debug, clap::Args)]
pub struct Install {
    /// The CNI directory, such as /opt/cni/bin; it must exist
    #[arg(long, value_name = "DIR")]
    dest: PathBuf,
    /// The file's name in it, which is the "type" of network configs
    #[arg(long, default_value = OWN_NAME, value_parser = file_name)]
    name: OsString,
    /// Replace another program that has this name, too
    #[arg(long)]
    force: bool,
    /// Then wait for SIGTERM or SIGINT and leave the file in place: keeps a DaemonSet's container alive
    #[arg(long)]
    wait: bool,
}

impl Install {
    /// Installs, and waits where asked to.
    ///
    /// # Errors
    /// What could not be done; the file that was there is in place then.
    pub fn run(self) -> Result<Verdict, Failure> {
        // Blocked before any work: a signal that comes early waits, also for PID 1, which the kernel would spare it.
        let ending = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        if self.wait {
            ending.thread_block().map_err(|errno| failed(format!("cannot block signals: {errno}")))?;
        }
        let (done, digest) = install(&self.dest, &self.name, self.force)?;
        let path = self.dest.join(&self.name);
        let verb = match done {
            Done::Written => "installed",
            Done::Unchanged => "unchanged",
        };
        let hex = digest.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let version = version();
        print(format!("{verb} {} (version {version}, sha256 {hex})\n", path.display()))?;
        if self.wait {
            ending.wait().map_err(|errno| failed(format!("cannot wait for signals: {errno}")))?;
        }
        Ok(Verdict::Well)
    }
}

fn failed(text: String) -> Failure {
    Failure::Failed(text, None)
}

/// A name that stays inside the directory, and leaves room for the temporary file's.
fn file_name(text: &str) -> Result<OsString, &'static str> {
    const LONGEST: usize = 200;
    match text {
        "" | "." | ".." => Err("not a file name"),
        _ if text.contains('/') => Err("a file name, not a path; the directory goes to --dest"),
        _ if text.len() > LONGEST => Err("longer than 200 bytes"),
        _ => Ok(text.into()),
    }
}
