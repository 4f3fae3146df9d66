//! Files that nobody but root has written, and files that root writes to without being led elsewhere.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

/// What unfinished files begin with; a process that was killed leaves them.
pub const UNFINISHED: &str = ".new-";

/// Reads a file of at most `most` bytes; `None` where there is none.
///
/// # Errors
/// What the file system says; it is no regular file, larger, or somebody else may have written it.
pub fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let options = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(options.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ELOOP as i32) => {
            return Err(io::Error::other("it is a symbolic link"));
        }
        opened => opened?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_own(&metadata) {
        return Err(io::Error::other("it is no file that only its owner writes to"));
    }
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(Some(content))
}

/// Reads the file `path` below `root`, as [`read`] does, where nobody else can exchange it or a directory on the way.
///
/// # Errors
/// As [`read`]; a directory on the way is a symbolic link, or somebody else may write to it.
pub fn read_below(root: &Path, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut strange = None;
    let directories: Vec<&Path> =
        path.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty()).collect();
    for directory in directories.into_iter().rev() {
        let metadata = match std::fs::symlink_metadata(root.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        let text = |what: &str| io::Error::other(format!("its directory /{} {what}", directory.display()));
        if !metadata.is_dir() {
            return Err(text("is a symbolic link or a file"));
        }
        if !is_own(&metadata) {
            strange.get_or_insert(text("belongs to somebody else, or others may write to it"));
        }
    }
    match (read(&root.join(path), most)?, strange) {
        (Some(_), Some(strange)) => Err(strange),
        (content, _) => Ok(content),
    }
}

/// Opens a file to append to, making it where it is missing. `place` is the directory that the path leads out of by no
/// symbolic link, no `..` and no mount of a magic kind, or the file itself. A pipe might block for ever, and a terminal or
/// standard output take lines among the result: only a regular file of one name is opened.
///
/// # Errors
/// What the file system says; place or file is not as it must be.
pub fn append(place: &Path, path: &Path) -> io::Result<File> {
    let (directory, name) = match path.strip_prefix(place) {
        Ok(rest) if !rest.as_os_str().is_empty() => (place.to_path_buf(), rest.to_path_buf()),
        Ok(_) => parts(path)?,
        Err(_) => return Err(io::Error::other(format!("it is not below {}", place.display()))),
    };
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags.bits()).open(directory)?;
    if !is_own(&directory.metadata()?) {
        return Err(io::Error::other("its directory belongs to somebody else, or others may write to it"));
    }
    let how = OpenHow::new()
        .flags(OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .mode(Mode::S_IRUSR | Mode::S_IWUSR)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = File::from(openat2(directory, &name, how)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.nlink() != 1 {
        return Err(io::Error::other("it is no regular file, or has a second name"));
    }
    Ok(file)
}

/// Makes a directory of root's where it is missing.
///
/// # Errors
/// What the file system says; the directory is somebody else's or a symbolic link.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = std::fs::symlink_metadata(directory)?;
    if !metadata.is_dir() || !is_own(&metadata) {
        let text = format!("{} is no directory that only its owner writes to", directory.display());
        return Err(io::Error::other(text));
    }
    Ok(())
}

/// Writes the file `name`, making the directory where it is missing. A reader finds the old content or the new one.
///
/// # Errors
/// What the file system says; the directory is somebody else's or a symbolic link.
pub fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    make_directory(directory)?;
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

fn parts(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    match (path.parent(), path.file_name()) {
        (Some(directory), Some(name)) => Ok((directory.to_path_buf(), name.into())),
        _ => Err(io::Error::other("it names no file")),
    }
}

fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw() && metadata.mode() & 0o022 == 0
}
