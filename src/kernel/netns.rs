//! Another network namespace, entered by a short-lived thread only, so that nobody ever has to switch back.

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
    /// What `unshare(2)` or the start of a thread says.
    pub fn anonymous() -> io::Result<Self> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_NEWNET)?;
                Ok(Self { file: File::open(OWN)? })
            })?;
            thread.join().map_err(|_| io::Error::other("the thread in the new namespace ended early"))?
        })
    }

    /// Whether this is the namespace that the calling thread is in.
    pub fn is_own(&self) -> bool {
        let identity = |metadata: io::Result<std::fs::Metadata>| metadata.map(|m| (m.dev(), m.ino())).ok();
        let own = identity(std::fs::metadata(OWN));
        own.is_some() && own == identity(self.file.metadata())
    }

    /// Runs `work` in a thread that is in this namespace. Inside a tokio runtime the thread is, too, so that a socket
    /// opened there can be used outside.
    ///
    /// # Errors
    /// What `setns(2)` or the start of the thread says.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let runtime = tokio::runtime::Handle::try_current().ok();
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, || {
                let _guard = runtime.as_ref().map(tokio::runtime::Handle::enter);
                setns(&self.file, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            })?;
            thread.join().map_err(|_| io::Error::other("the thread in the other namespace ended early"))?
        })
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
