//! Waiting for something that other processes do: asks again and again, never sleeps for a fixed time in the hope that it was enough.

use std::time::{Duration, Instant};

/// Longest wait for anything in a story. Generous: debug builds, two cores, several stories at once.
pub const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Waits until `look` finds something.
///
/// # Errors
/// What `look` said last, when `patience` is used up.
pub fn try_until<T>(patience: Duration, mut look: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let start = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        let missing = match look() {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        if start.elapsed() > patience {
            return Err(format!("{missing} (after {} s)", patience.as_secs()));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits until `look` finds something, for [`PATIENCE`] at most.
///
/// # Panics
/// When it does not, with what `look` said last.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    match try_until(PATIENCE, look) {
        Ok(found) => found,
        Err(missing) => panic!("{what}: {missing}"),
    }
}

/// Waits until `holds` holds.
///
/// # Panics
/// As [`until`].
#[track_caller]
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || if holds() { Ok(()) } else { Err("not yet".to_owned()) });
}
