//! Small files in a directory of root's: written whole or not at all, read with suspicion.

use std::io;
use std::path::Path;

use crate::kernel::owned::UNFINISHED;
pub(super) use crate::kernel::owned::{read, write};

/// Deletes a file; one that is gone is success.
///
/// # Errors
/// What the file system says.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// The names of the files in a directory, at most `most` of them; none where there is no directory.
///
/// # Errors
/// What the file system says.
pub(super) fn names(directory: &Path, most: usize) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| !name.starts_with(UNFINISHED)).take(most).collect())
}
