//! Becomes an IPAM plugin that ends with the process that started it: a plugin that outlived a killed ADD
//! could reserve an address after the DEL.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::cni::version::CniVersion;
use crate::error::{Code, Error};

/// The first argument that asks for this; the parent's process id and the executable follow.
pub const ARGUMENT: &str = "launch-ipam-plugin";

/// How often an executable that is being replaced is tried again, as libcni does.
const BUSY_TRIES: usize = 5;
/// Nobody announces that an executable has been written.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Becomes the plugin. Returns only where that cannot be, with the reason as a CNI error on standard output.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments.next();
    let executable = arguments.next().unwrap_or_default();
    // The signal would not come any more if the parent has ended by now.
    let tied = set_pdeathsig(Signal::SIGKILL).is_ok();
    if !tied || parent != Some(getppid().to_string().into()) {
        return ExitCode::FAILURE;
    }
    let mut tries = 0;
    let error = loop {
        tries += 1;
        let error = Command::new(&executable).exec();
        if error.kind() != ErrorKind::ExecutableFileBusy || tries == BUSY_TRIES {
            break error;
        }
        std::thread::sleep(BUSY_PAUSE);
    };
    let error = Error::new(Code::Io, format!("cannot be started: {error}"));
    println!("{}", error.to_json(CniVersion::V1_0_0.as_str()));
    ExitCode::FAILURE
}
