//! Small files in a directory of root's: written whole or not at all, read with suspicion.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// What unfinished files begin with; a process that was killed leaves them.
const UNFINISHED: &str = ".new-";

/// Writes the file `name`, making the directory where it is missing. A reader finds the old content or the new one.
///
/// # Errors
/// What the file system says; the directory is somebody else's or a symbolic link.
pub(super) fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    prepare(directory)?;
    let unfinished = directory.join(format!("{UNFINISHED}{}-{name}", std::process::id()));
    let written = create(&unfinished)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| std::fs::rename(&unfinished, directory.join(name)));
    if written.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    written
}

fn create(path: &Path) -> io::Result<File> {
    // What is left there is of a process with the same number that was killed.
    let _ = std::fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = std::fs::symlink_metadata(directory)?;
    let own = metadata.is_dir() && metadata.uid() == geteuid().as_raw();
    if !own || metadata.permissions().mode() & 0o022 != 0 {
        let text = format!("{} is no directory that only its owner writes to", directory.display());
        return Err(io::Error::other(text));
    }
    Ok(())
}

/// Reads a file of at most `most` bytes; `None` where there is none.
///
/// # Errors
/// What the file system says; it is no regular file, larger, or somebody else may have written it.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let options = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(options.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("it is no file that only its owner writes to"));
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(Some(content))
}

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
