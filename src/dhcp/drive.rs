//! The loop that runs an exchange on a socket.

use std::io::{self, ErrorKind};

use tokio::time::{Instant, timeout_at};

use super::exchange::{Action, Exchange};
use super::socket::{AsyncPacketSocket, FRAME_MAX};

/// Frames read between two looks at the exchange, so that a flood can't keep it from its end.
const BATCH: usize = 64;

/// Runs the exchange to its end: offers and counters are in it afterwards, and also when this future is dropped.
///
/// The exchange's clock starts with the first poll.
///
/// # Errors
/// What sending or receiving said, such as ENETDOWN; a full queue (ENOBUFS) only costs the frame.
pub async fn drive(exchange: &mut Exchange, socket: &AsyncPacketSocket) -> io::Result<()> {
    let start = Instant::now();
    let mut buffer = [0; FRAME_MAX];
    loop {
        match exchange.next(start.elapsed()) {
            Action::Done => return Ok(()),
            Action::Send(frame) => match socket.send(&frame).await {
                Err(error) if error.raw_os_error() != Some(nix::libc::ENOBUFS) => return Err(error),
                _ => {}
            },
            Action::WaitUntil(at) => {
                let Ok(received) = timeout_at(start + at, socket.receive(&mut buffer)).await else {
                    continue;
                };
                exchange.receive(&buffer[..received?], start.elapsed());
                // All offers in hand count, also those behind the first.
                for _ in 1..BATCH {
                    match socket.try_receive(&mut buffer) {
                        Ok(length) => exchange.receive(&buffer[..length], start.elapsed()),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}
