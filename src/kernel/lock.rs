//! Mutual exclusion between plugin processes without files: whoever has bound the abstract socket holds the lock, and
//! the kernel lets go of it however the process ends.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};

use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};

/// A held lock. It belongs to this process's network namespace, as the bridge does.
#[derive(Debug)]
pub struct Lock {
    listener: UnixListener,
}

impl Lock {
    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// Whatever `bind(2)` says, other than that somebody holds it.
    pub fn try_acquire(name: &str) -> io::Result<Option<Self>> {
        let address = SocketAddr::from_abstract_name(socket_name(name))?;
        match StdListener::bind_addr(&address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Some(Self { listener: UnixListener::from_std(listener)? }))
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the lock is free and takes it. The holder learns of it ([`Lock::wanted`]). A holder that is not
    /// root cannot be a plugin and is ignored: the answer is `None`.
    ///
    /// # Errors
    /// As [`Lock::try_acquire`].
    pub async fn acquire(name: &str) -> io::Result<Option<Self>> {
        loop {
            if let Some(lock) = Self::try_acquire(name)? {
                return Ok(Some(lock));
            }
            let path = std::path::PathBuf::from(format!("\0{}", socket_name(name)));
            let Ok(mut stream) = UnixStream::connect(path).await else {
                tokio::task::yield_now().await;
                continue;
            };
            if stream.peer_cred()?.uid() != 0 {
                return Ok(None);
            }
            // The holder never writes: this returns when it lets go.
            let _ = stream.read_u8().await;
        }
    }

    /// Resolves when another process waits for this lock. One that is not root cannot be a plugin and is sent away.
    pub async fn wanted(&self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == 0) => return,
                Ok(_) => {}
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// The lock under which a bridge is created, joined by those who would create it, and deleted again.
pub fn bridge_lock(name: &str) -> String {
    format!("bridge/{name}")
}

fn socket_name(name: &str) -> String {
    format!("bridge-dhcp/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_is_noticed_and_gets_the_lock_when_it_is_free() {
        let name = format!("test/{}/waiter", std::process::id());
        let held = Lock::try_acquire(&name).unwrap().unwrap();
        assert!(Lock::try_acquire(&name).unwrap().is_none());
        let waiter = tokio::spawn({
            let name = name.clone();
            async move { Lock::acquire(&name).await }
        });
        held.wanted().await;
        assert!(!waiter.is_finished());
        drop(held);
        assert!(waiter.await.unwrap().unwrap().is_some());
    }
}
