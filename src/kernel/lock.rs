//! Mutual exclusion between plugin processes by files that only root can open: whoever has locked the file holds the lock, and
//! the kernel lets go of it however the process ends.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::netns::own_inode;

/// Where the files are. It ends with the node's boot, as all do that the locks are about.
const FOLDER: &str = "/run/bridge-dhcp/locks";

/// A held lock. It belongs to this process's network namespace, as the bridge does.
#[derive(Debug)]
pub struct Lock {
    /// Closed with the value, and with the process.
    _file: File,
    path: PathBuf,
    /// Tells of writes to the file: whoever waits for the lock writes.
    writes: Option<Receiver>,
}

impl Lock {
    /// Takes the lock if it is free. The holder can await that somebody wants it ([`Lock::wanted`]).
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_acquire(name: &str) -> io::Result<Option<Self>> {
        let path = path_of(name)?;
        loop {
            let file = open(&path)?;
            // Before the lock is held, so that nobody can want it unnoticed.
            let writes = Some(watch(&path)?);
            match file.try_lock() {
                Ok(()) if is_current(&file)? => return Ok(Some(Self { _file: file, path, writes })),
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Waits until the lock is free and takes it. The holder learns of it ([`Lock::wanted`]).
    ///
    /// # Errors
    /// What the file system says.
    pub async fn acquire(name: &str) -> io::Result<Self> {
        let path = path_of(name)?;
        loop {
            let mut file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => {
                    file.write_all(b".")?;
                    file = in_turn(file).await?;
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
            if is_current(&file)? {
                return Ok(Self { _file: file, path, writes: None });
            }
        }
    }

    /// Resolves when another process waits for this lock, if it was taken by [`Lock::try_acquire`].
    pub async fn wanted(&self) {
        let Some(writes) = &self.writes else { return std::future::pending().await };
        let mut event = [0; 64];
        loop {
            match writes.readable().await.and_then(|()| writes.try_read(&mut event)) {
                Ok(_) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Lock {
    /// Removes the file before the kernel lets go of the lock, which it does when the file is closed: who has opened it by
    /// then finds out and opens a new one.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The lock under which a bridge is created, joined by those who would create it, and deleted again.
pub fn bridge_lock(name: &str) -> String {
    format!("bridge/{name}")
}

/// The file of a lock. Nodes that share a file system, as a test's do, have different network namespaces.
fn path_of(name: &str) -> io::Result<PathBuf> {
    Ok(Path::new(FOLDER).join(format!("{}-{}", own_inode()?, name.replace('/', "-"))))
}

fn open(path: &Path) -> io::Result<File> {
    let open = || {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        options.open(path)
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(FOLDER)?;
            open()
        }
        outcome => outcome,
    }
}

/// Whether the file is the one that others open, and can only be root's.
fn is_current(file: &File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if metadata.uid() != 0 || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other(format!("a file in {FOLDER} is not root's alone")));
    }
    Ok(metadata.nlink() > 0)
}

fn watch(path: &Path) -> io::Result<Receiver> {
    let events = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    match events.add_watch(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DONT_FOLLOW) {
        // Its holder has removed it meanwhile: the lock will prove not to be the current one.
        Ok(_) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    // Whatever can be read from is as good as a pipe.
    Receiver::from_owned_fd_unchecked(events.into())
}

/// Waits for the lock in a thread of its own, which ends with the process where nobody awaits it any more.
async fn in_turn(file: File) -> io::Result<File> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().spawn(move || {
        let _ = sender.send(file.lock().map(|()| file));
    })?;
    receiver.await.map_err(|_| io::Error::other("the thread that waits for a lock ended early"))?
}
