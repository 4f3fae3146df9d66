//! A sign of life while something takes seconds: on a terminal that can take it back only, and gone when it is over.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::output::is_dumb;

const STEP: Duration = Duration::from_millis(100);
const FIGURES: [&str; 4] = ["|", "/", "-", "\\"];

/// Does the work; meanwhile, standard error shows `what` and the time that has passed.
pub async fn beside<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() || is_dumb() {
        return work.await;
    }
    let outcome = tokio::select! {
        outcome = work => outcome,
        never = turn(what) => match never {},
    };
    // To the line's begin, and clear it (ECMA-48 EL).
    show("\r\x1b[K");
    outcome
}

async fn turn(what: &str) -> std::convert::Infallible {
    let started = Instant::now();
    let mut ticks = interval(STEP);
    for figure in FIGURES.iter().cycle() {
        ticks.tick().await;
        show(&format!("\r{figure} {what} … {:.1} s", started.elapsed().as_secs_f32()));
    }
    std::future::pending().await
}

fn show(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
