//! The storage's clock: signatures name a time, and a storage refuses those that are far from its own.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// How far the storage's clock is from ours, as far as we were told.
#[derive(Debug, Default)]
pub struct Clock {
    ahead_seconds: AtomicI64,
}

impl Clock {
    /// Now, by the storage's clock, in seconds since 1970.
    pub fn now(&self) -> i64 {
        our_now().saturating_add(self.ahead_seconds.load(Ordering::Relaxed))
    }

    /// The storage says (in the header `Date` of an answer) that it is this time. Answers whether that is news.
    pub fn learn(&self, date: &str) -> bool {
        let Ok(theirs) = OffsetDateTime::parse(date, &Rfc2822) else { return false };
        let ahead = theirs.unix_timestamp() - our_now();
        self.ahead_seconds.swap(ahead, Ordering::Relaxed).abs_diff(ahead) > 1
    }
}

fn our_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time in a listing: RFC 3339, with or without a zone (then UTC).
pub fn listed(text: &str) -> SystemTime {
    let parsed = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339));
    parsed.map_or(UNIX_EPOCH, SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_storage_that_is_ahead_is_followed() {
        let clock = Clock::default();
        assert!(clock.learn("Sat, 01 Jan 2135 00:00:00 GMT"));
        assert!((clock.now() - 5_206_896_000).abs() < 5, "{}", clock.now());
        assert!(!clock.learn("tomorrow"));
    }

    #[test]
    fn both_forms_of_listings_are_read() {
        let expected = UNIX_EPOCH + Duration::from_millis(1_000_000_000_500);
        for text in ["2001-09-09T01:46:40.500Z", "2001-09-09T01:46:40.500000"] {
            assert_eq!(listed(text), expected, "{text}");
        }
        assert_eq!(listed("yesterday"), UNIX_EPOCH);
    }
}
