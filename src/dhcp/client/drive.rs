//! The loop that runs a client on a socket until something becomes of its lease.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::time::timeout;

use super::lease::Lease;
use super::{Action, Client, Loss};
use crate::dhcp::socket::AsyncPacketSocket;

/// Frames read between two looks at the client, so that a flood cannot keep it from its timers.
const BATCH: usize = 64;
/// Longest sleep: the event loop's clock stands still while the node is suspended, the lease's does not.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What became of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Use this one from now on, in place of the one before.
    Use(Box<Lease>),
    /// Stop using it.
    Lose(Loss),
}

/// The clock of leases: time since the node's start, including suspension (CLOCK_BOOTTIME). Every process sees the same.
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Runs the client until there is news of its lease.
///
/// # Errors
/// What sending or receiving said, such as ENETDOWN; a full queue (ENOBUFS) only costs the frame.
pub async fn event(client: &mut Client, socket: &AsyncPacketSocket) -> io::Result<Event> {
    loop {
        let moment = now();
        match client.next(moment) {
            Action::Use(lease) => return Ok(Event::Use(lease)),
            Action::Lose(loss) => return Ok(Event::Lose(loss)),
            Action::Send(outgoing) => match socket.send(&outgoing.frame(client.identity().chaddr)).await {
                Err(error) if error.raw_os_error() != Some(nix::libc::ENOBUFS) => return Err(error),
                _ => {}
            },
            Action::WaitUntil(until) => {
                let sleep = until.map_or(SLEEP_MAX, |until| until.saturating_sub(moment).min(SLEEP_MAX));
                let hear = socket.hear(BATCH, |frame| client.receive(frame, now()));
                if let Ok(heard) = timeout(sleep, hear).await {
                    heard?;
                }
            }
        }
    }
}
