//! The node's process: keeps the leases of its containers, in one thread. It opens no netlink socket of its own; what it
//! changes in a container, it changes by the rooms below.
//!
//! - `keeper`: one lease, from its handover to its end.
//! - `books`: which leases are kept, whose sandbox is gone, and who is told to return one.
//! - `figures`: what there is to count, as Prometheus' text.
//! - `options`, `say`: how it runs, and its log.
//! - this file: its socket, its beginning and its rounds.
//!
//! # What it trusts
//! Root alone: its socket lies in root's directory, each peer's credentials are checked, records are read with suspicion, and a
//! namespace counts only where the container's interface has the record's MAC.
//!
//! # Its end
//! It may end at any moment. Leases are in their records, addresses end by the kernel's clock; the next agent takes up what the
//! records say, by the paths of the containers' namespaces.

mod books;
mod figures;
mod keeper;
mod options;
mod say;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval};

use self::books::Books;
pub use self::options::Options;
use self::say::say;
use crate::error::{Code, Error};
use crate::kernel::changes::LinkChanges;
use crate::kernel::faults::no_lock;
use crate::kernel::lock::Lock;
use crate::kernel::netlink::Refusal;
use crate::lease::handover::{self, Message};
use crate::lease::place::Place;
use crate::lease::record::Record;
use crate::operations::del::port_lock;
use crate::operations::terminated;

/// How often the agent looks for sandboxes that went without a DEL, and writes its figures. The kernel tells nobody that a
/// namespace has lost its name.
const ROUND: Duration = Duration::from_secs(5);
/// Under which one agent of a node works; a second one waits.
const LOCK: &str = "agent";

/// Keeps leases until it is terminated.
///
/// # Errors
/// Codes 5 and 124: the socket or the lock cannot be had.
pub async fn run(place: Place, options: Options) -> Result<(), Error> {
    let _lock = match Lock::try_acquire(LOCK).map_err(|error| no_lock("agent", &error))? {
        Some(lock) => lock,
        None => {
            say("another agent keeps this node's leases; waiting for its end");
            tokio::select! {
                lock = Lock::acquire(LOCK) => lock.map_err(|error| no_lock("agent", &error))?,
                () = terminated() => return Ok(()),
            }
        }
    };
    let listener = listen(&place.agent_socket()).map_err(|error| {
        let socket = place.agent_socket();
        Error::new(Code::Io, format!("cannot listen on {}: {error}", socket.display()))
            .remedy("run it as root, with /run/bridge-dhcp of the node in its place")
    })?;
    let books = Rc::new(Books::new(place, options));
    LocalSet::new()
        .run_until(async {
            adopt(&books);
            say(format_args!("keeping {} leases", books.count()));
            tokio::select! {
                () = serve(&books, &listener) => {}
                () = rounds(&books) => {}
                () = watch(&books) => {}
                () = terminated() => {}
            }
        })
        .await;
    Ok(())
}

/// Hears of the host sides of the leases' interfaces. Without that, a lease is looked after when it is renewed.
async fn watch(books: &Rc<Books>) {
    if let Err(refusal) = hear_changes(books).await {
        say(format_args!("cannot watch the node's links: {refusal}"));
    }
    std::future::pending().await
}

/// Returns only when the kernel says no more.
async fn hear_changes(books: &Rc<Books>) -> Result<(), Refusal> {
    let mut changes = LinkChanges::open()?;
    loop {
        if let Some(change) = changes.next().await? {
            books.hear(&change);
        }
    }
}

/// The socket of an agent that was killed is in the way of the next one; whoever holds the lock may take it.
fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Takes up what the records say. One whose ADD or DEL is running is not touched: the ADD hands it over.
fn adopt(books: &Rc<Books>) {
    let hosts = Record::hosts(&books.place).unwrap_or_else(|error| {
        say(format_args!("cannot read the records: {error}"));
        Vec::new()
    });
    for host in hosts {
        if let Ok(Some(_lock)) = Lock::try_acquire(&port_lock(&host))
            && let Err(why) = books.keep(&host, None)
        {
            say(format_args!("cannot keep the lease of {host}: {why}"));
        }
    }
}

async fn serve(books: &Rc<Books>, listener: &UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let books = books.clone();
                spawn_local(async move {
                    if let Err(error) = answer(&books, stream).await {
                        say(format_args!("a message could not be answered: {error}"));
                    }
                });
            }
            // Out of descriptors: one may be free by then.
            Err(_) => tokio::time::sleep(ROUND).await,
        }
    }
}

async fn answer(books: &Rc<Books>, mut stream: UnixStream) -> io::Result<()> {
    if !handover::trusted(&stream)? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // Who only looks whether somebody listens says nothing.
    let Some((message, netns)) = handover::receive(&stream).await? else { return Ok(()) };
    let done = match message {
        Message::Keep { host } => match books.keep(&host, netns) {
            Ok(()) => true,
            Err(why) => {
                say(format_args!("cannot keep the lease of {host}: {why}"));
                false
            }
        },
        Message::Release { host } => books.release(&host).await,
    };
    handover::answer(&mut stream, done).await
}

async fn rounds(books: &Rc<Books>) {
    let mut clock = interval(ROUND);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        books.sweep().await;
        if let Err(error) = books.write_figures() {
            say(format_args!("cannot write the figures: {error}"));
        }
    }
}
