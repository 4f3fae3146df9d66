//! Another network namespace, and the calling thread's short visits to it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{FsType, fstatfs};

use super::faults::no_netns;
use crate::error::Error;

/// NSFS_MAGIC (include/uapi/linux/magic.h).
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);
/// How often the way back is tried.
const RETURN_TRIES: usize = 8;
/// The calling thread's own network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace.
#[derive(Debug)]
pub struct Netns {
    file: File,
}

/// The number by which the kernel knows the calling thread's own network namespace while it exists.
///
/// # Errors
/// What `stat(2)` says.
pub fn own_inode() -> io::Result<u64> {
    Ok(std::fs::metadata(OWN)?.ino())
}

impl Netns {
    /// Opens the namespace at `path`. Never blocks, whatever lies there.
    ///
    /// # Errors
    /// Code 8 where the path is gone or is no network namespace, 124 where this process may enter none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
            .map_err(|error| no_netns(path, "cannot be opened", &error))?;
        let netns = Self { file };
        let on_nsfs = fstatfs(&netns.file).is_ok_and(|stat| stat.filesystem_type() == NSFS_MAGIC);
        if !on_nsfs {
            return Err(no_netns(path, "is not a namespace", &Errno::EINVAL.into()));
        }
        netns.enter(|| ()).map_err(|error| no_netns(path, "is not a network namespace", &error))?;
        Ok(netns)
    }

    /// A fresh namespace without a name: it ends with this value and with what was opened in it, and so, however the
    /// process ends, by the kernel's own hand.
    ///
    /// # Errors
    /// What `unshare(2)` says.
    pub fn anonymous() -> io::Result<Self> {
        let own = File::open(OWN)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let _back = Back(own);
        Ok(Self { file: File::open(OWN)? })
    }

    /// Whether this is the namespace that the calling thread is in.
    pub fn is_own(&self) -> bool {
        let identity = |metadata: io::Result<std::fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
        let own = identity(std::fs::metadata(OWN));
        own.is_some() && own == identity(self.file.metadata())
    }

    /// Runs `work` with the calling thread in this namespace. Only this thread changes its namespace, and `work` never
    /// awaits, so no other task sees it.
    ///
    /// # Errors
    /// What `setns(2)` says.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let own = File::open(OWN)?;
        setns(&self.file, CloneFlags::CLONE_NEWNET)?;
        let _back = Back(own);
        Ok(work())
    }

    /// The same namespace, open a second time.
    ///
    /// # Errors
    /// What `dup(2)` says.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()? })
    }

    /// Whether this path leads to this namespace.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |metadata: io::Result<std::fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
        let own = identity(self.file.metadata());
        own.is_some() && own == identity(std::fs::metadata(path))
    }

    /// The open file, to name the namespace to the kernel (IFLA_NET_NS_FD).
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Takes the calling thread back to the namespace that it came from, also when it panics there.
struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        // The kernel may lack memory for a moment.
        let returned = (0..RETURN_TRIES).any(|_| setns(&self.0, CloneFlags::CLONE_NEWNET).is_ok());
        if !returned {
            // In the wrong namespace every further step would hit the wrong links.
            std::process::abort();
        }
    }
}
