//! The only clock of the driver: what the engine is told of time.

use stacksync_core::engine::Now;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Counts from when it was made. Copies count alike.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The moment, for the engine.
    pub fn now(self) -> Now {
        Now { ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), unix_ns: unix_ns() }
    }

    /// When a deadline of the engine is.
    pub fn at(self, ms: u64) -> Instant {
        // A deadline beyond all time never comes.
        self.start.checked_add(Duration::from_millis(ms)).unwrap_or_else(|| self.start + Duration::from_secs(1 << 32))
    }
}

/// Wall clock in nanoseconds since 1970; before that, 0.
pub fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
