//! How long to wait before the next attempt to connect: twice as long after each failure, with jitter, so that the clients of a
//! server that was restarted do not all come at the same moment.

use std::time::Duration;

/// The waiting times of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { first: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row (at least one): between half and all of `first * 2^(failures - 1)`, at most `max`.
    /// `chance` is a random number.
    pub(super) fn wait(&self, failures: u32, chance: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let longest = self.first.saturating_mul(1 << doublings).min(self.max);
        let half = longest / 2;
        half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_maximum_and_vary_by_half() {
        let backoff = Backoff::default();
        let table = [(0, 500), (1, 500), (2, 1_000), (3, 2_000), (7, 30_000), (1_000, 30_000), (u32::MAX, 30_000)];
        for (failures, longest_ms) in table {
            assert_eq!(backoff.wait(failures, u32::MAX), Duration::from_millis(longest_ms), "{failures}");
            assert_eq!(backoff.wait(failures, 0), Duration::from_millis(longest_ms / 2), "{failures}");
        }
    }
}
