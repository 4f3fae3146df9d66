//! Kernel parameters of the network namespace that the calling thread is in.

use std::io;

use super::linux::Linux;
use super::netlink::Refusal;
use crate::plan::spec::Place;

/// The value at this path below /proc/sys, without the line end; `None` where the kernel has no such parameter.
///
/// # Errors
/// Whatever reading says, other than that it does not exist.
pub fn read(key: &str) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path(key)) {
        Ok(value) => Ok(Some(value.trim_end().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets the value.
///
/// # Errors
/// Whatever writing says.
pub fn write(key: &str, value: &str) -> io::Result<()> {
    std::fs::write(path(key), value)
}

fn path(key: &str) -> String {
    format!("/proc/sys/{key}")
}

impl Linux {
    pub(super) fn set_sysctl(&self, place: Place, key: &str, value: &str) -> Result<(), Refusal> {
        Ok(self.at(place, || write(key, value))??)
    }
}
