//! The loop that runs exchanges on a socket.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::exchange::{Action, Exchange};
use super::socket::{AsyncPacketSocket, FRAME_MAX};

/// Frames read between two looks at the exchanges, so that a flood can't keep them from their end.
const BATCH: usize = 64;

/// Runs exchanges, which share what the socket hears, until the first of them ends: offers and counters are in them
/// afterwards, and also when this future is dropped.
///
/// Their clock starts with the first poll.
///
/// # Errors
/// What sending or receiving said, such as ENETDOWN; a full queue (ENOBUFS) only costs the frame.
pub async fn drive(exchanges: &mut [Exchange], socket: &AsyncPacketSocket) -> io::Result<()> {
    let start = Instant::now();
    let mut buffer = [0; FRAME_MAX];
    while let Some(wake) = advance(exchanges, socket, start).await? {
        let Ok(received) = timeout_at(start + wake, socket.receive(&mut buffer)).await else {
            continue;
        };
        let hear = |exchanges: &mut [Exchange], frame: &[u8]| {
            exchanges.iter_mut().for_each(|exchange| exchange.receive(frame, start.elapsed()));
        };
        hear(exchanges, &buffer[received?]);
        // All offers in hand count, also those behind the first.
        for _ in 1..BATCH {
            match socket.try_receive(&mut buffer) {
                Ok(frame) => hear(exchanges, &buffer[frame]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Sends what is due; the next time to look, or `None` when the first exchange has ended.
async fn advance(
    exchanges: &mut [Exchange],
    socket: &AsyncPacketSocket,
    start: Instant,
) -> io::Result<Option<Duration>> {
    let mut wake: Option<Duration> = None;
    for (position, exchange) in exchanges.iter_mut().enumerate() {
        loop {
            match exchange.next(start.elapsed()) {
                Action::Done if position == 0 => return Ok(None),
                Action::Done => break,
                Action::Send(frame) => match socket.send(&frame).await {
                    Err(error) if error.raw_os_error() != Some(nix::libc::ENOBUFS) => return Err(error),
                    _ => {}
                },
                Action::WaitUntil(at) => {
                    wake = Some(wake.map_or(at, |wake| wake.min(at)));
                    break;
                }
            }
        }
    }
    Ok(wake)
}
