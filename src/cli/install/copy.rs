//! The atomic copy: a hidden temporary file, written, synced and read back, takes the place of the old one by rename.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, PosixFadviseAdvice, posix_fadvise};
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

use super::super::output::Failure;

/// The program that runs, whatever became of its path.
const OWN: &str = "/proc/self/exe";
/// The name that nobody else's program has: whatever is there is a copy of this one, if a broken one.
pub const OWN_NAME: &str = "bridge-dhcp";
/// What every version of this program says of itself in `--help`, and no other program does.
const MARK: &[u8] = b"CNI plugin that attaches pods and virtual machines to a bridge of the node";
const MODE: u32 = 0o755;
const PART: usize = 64 * 1024;
/// How often another installation may take our fresh temporary file for a leftover.
const TRIES: usize = 10;

/// SHA-256 of a file.
pub type Checksum = [u8; 32];

/// What an installation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The file was put in place.
    Written,
    /// It was there already.
    Unchanged,
}

/// Puts this program into `folder` under `name`; over another program only by `force`.
///
/// # Errors
/// What failed, and where; `folder` then holds what it held before.
pub fn install(folder: &Path, name: &OsStr, force: bool) -> Result<(Done, Checksum), Failure> {
    let target = folder.join(name);
    if !force && name != OWN_NAME && is_foreign(&target) {
        return Err(Failure::Failed(
            format!("{} is another program: it was left as it is", target.display()),
            Some("remedy: install under another --name, or replace it for all its networks: --force".into()),
        ));
    }
    let own = |error: io::Error| Failure::Failed(format!("cannot read {OWN}: {error}"), None);
    let mut source = File::open(OWN).map_err(own)?;
    let wanted = checksum(&mut source).map_err(own)?;
    remove_leftovers(folder, name).map_err(|error| {
        let what = format!("cannot use directory {}", folder.display());
        failure(
            what,
            folder,
            &error,
            "--dest must be the node's CNI directory, mounted into this container where it runs in one",
        )
    })?;
    let failed = |error: io::Error| {
        let what = format!("cannot install {}", target.display());
        failure(what, folder, &error, "what was there before is still there")
    };
    let done = if is_identical(&target, &wanted) {
        Done::Unchanged
    } else {
        replace(&target, folder, name, &wanted).map_err(failed)?;
        Done::Written
    };
    sync_folder(folder).map_err(failed)?;
    Ok((done, wanted))
}

/// A failure in `folder`, with the remedy for its cause; `otherwise` is the remedy where the cause says nothing.
fn failure(what: String, folder: &Path, error: &io::Error, otherwise: &str) -> Failure {
    let path = folder.display();
    let errno = error.raw_os_error().map(Errno::from_raw);
    let (fact, remedy) = match (errno, folder.metadata()) {
        (Some(Errno::EACCES), Ok(rights)) => denied(folder, &rights),
        (Some(Errno::EROFS), _) => (
            String::new(),
            format!(
                "{path} is on a read-only file system: an immutable node has its CNI directory elsewhere, such as /var/lib/cni/bin; the runtime's and Multus' binDir name it"
            ),
        ),
        (Some(Errno::ENOSPC | Errno::EDQUOT), _) => {
            (String::new(), format!("free some space: df -h {path}; what was there before is still there"))
        }
        _ => (String::new(), otherwise.to_string()),
    };
    Failure::Failed(format!("{what}: {error}{fact}"), Some(format!("remedy: {remedy}")))
}

/// Who may write there, and how to become that.
fn denied(folder: &Path, rights: &Metadata) -> (String, String) {
    let path = folder.display();
    let (uid, gid, mode) = (rights.uid(), rights.gid(), rights.mode() & 0o7777);
    let fact = format!("; {path} belongs to uid {uid}, gid {gid} and has mode {mode:04o}");
    if !geteuid().is_root() {
        return (fact, format!("run it as root; this was user {}", geteuid()));
    }
    let mut remedy = "a container needs the capability DAC_OVERRIDE for a directory that is not its user's, and the type spc_t where SELinux enforces".to_string();
    if (uid, gid) != (0, 0) {
        remedy += &format!("; or on the node: chown root:root {path}");
    }
    (fact, remedy)
}

/// Whether a file of this name is no copy of this program. What cannot be read is not known to be one.
fn is_foreign(target: &Path) -> bool {
    match File::open(target) {
        Err(error) => error.kind() != io::ErrorKind::NotFound || target.is_symlink(),
        Ok(file) => !file.metadata().is_ok_and(|metadata| metadata.is_file()) || !has_mark(file),
    }
}

/// Searches a file in parts, each with the end of the one before it: the mark may lie across their border.
fn has_mark(mut file: File) -> bool {
    let mut part = vec![0; PART];
    let mut kept = 0;
    loop {
        let filled = match file.read(&mut part[kept..]) {
            Ok(0) | Err(_) => return false,
            Ok(length) => kept + length,
        };
        if part[..filled].windows(MARK.len()).any(|bytes| bytes == MARK) {
            return true;
        }
        let rest = filled.saturating_sub(MARK.len());
        part.copy_within(rest..filled, 0);
        kept = filled - rest;
    }
}

fn replace(target: &Path, folder: &Path, name: &OsStr, wanted: &Checksum) -> io::Result<()> {
    let mut temporary = Temporary::create(folder, name)?;
    temporary.fill()?;
    if temporary.checksum()? != *wanted {
        return Err(io::Error::other("what was written reads back differently: the disk is faulty"));
    }
    temporary.rename(target)
}

/// A temporary file, removed with the value. The lock on it says that its installation is alive; it is held by a file
/// that is open for reading only, since the kernel executes no file that is open for writing (ETXTBSY).
struct Temporary {
    path: Option<PathBuf>,
    writer: Option<File>,
    reader: Flock<File>,
}

impl Temporary {
    fn create(folder: &Path, name: &OsStr) -> io::Result<Self> {
        for _ in 0..TRIES {
            let mut random = [0; 8];
            getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
            let mut file_name = prefix(name);
            file_name.push(format!("{:016x}", u64::from_ne_bytes(random)));
            let path = folder.join(file_name);
            let writer = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            let remove = |error: io::Error| {
                let _ = std::fs::remove_file(&path);
                error
            };
            let Ok(reader) = File::open(&path) else { continue };
            let reader =
                Flock::lock(reader, FlockArg::LockExclusive).map_err(|(_, errno)| remove(errno.into()))?;
            let still_there = reader.metadata().map_err(remove)?.nlink() > 0;
            if still_there {
                return Ok(Self { path: Some(path), writer: Some(writer), reader });
            }
        }
        Err(io::Error::other("other installations keep removing the temporary file"))
    }

    /// Writes the program, makes it executable and durable, and closes it for writing.
    fn fill(&mut self) -> io::Result<()> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let mut source = File::open(OWN)?;
        let mut part = vec![0; PART];
        loop {
            match source.read(&mut part)? {
                0 => break,
                length => writer.write_all(&part[..length])?,
            }
        }
        writer.set_permissions(Permissions::from_mode(MODE))?;
        writer.sync_all()
    }

    /// The checksum of what is on the disk, as far as the kernel lets go of its copy in memory.
    fn checksum(&mut self) -> io::Result<Checksum> {
        let _ = posix_fadvise(&*self.reader, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        checksum(&mut &*self.reader)
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        std::fs::rename(path, target)?;
        self.path = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// How the names of temporary files begin: hidden, and of this program under this name only.
fn prefix(name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".install-");
    prefix
}

/// Removes the temporary files of installations that are no longer alive.
fn remove_leftovers(folder: &Path, name: &OsStr) -> io::Result<()> {
    let prefix = prefix(name);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(prefix.as_bytes()) || !entry.file_type()?.is_file() {
            continue;
        }
        let Ok(file) = open_as_it_is(&entry.path()) else { continue };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(_lock) => match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            },
            Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, errno)) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Whether the file is this program already, as a file of its own that may be executed.
fn is_identical(path: &Path, wanted: &Checksum) -> bool {
    let Ok(mut file) = open_as_it_is(path) else { return false };
    let fit = |metadata: &Metadata| metadata.is_file() && metadata.mode() & 0o7777 == MODE;
    file.metadata().is_ok_and(|metadata| fit(&metadata))
        && checksum(&mut file).is_ok_and(|sum| sum == *wanted)
}

/// Opens what has this name for reading: no link is followed, no pipe waited for.
fn open_as_it_is(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)
}

fn checksum(file: &mut impl Read) -> io::Result<Checksum> {
    let mut hash = Sha256::new();
    let mut part = vec![0; PART];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hash.finalize().into()),
            length => hash.update(&part[..length]),
        }
    }
}

/// Makes the rename durable, where the file system can.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
        outcome => outcome,
    }
}
