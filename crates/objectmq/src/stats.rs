//! Counters for whoever watches a process. Counting never blocks and never fails.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One number that only code of this crate changes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    pub(crate) fn sub(&self, by: u64) {
        self.0.fetch_sub(by, Relaxed);
    }
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one transport and of the brokers on it.
        #[derive(Debug, Default)]
        pub struct Stats { $($(#[$doc])* pub $name: Counter,)* }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct StatsSnapshot { $($(#[$doc])* pub $name: u64,)* }

        impl Stats {
            /// The counters now.
            pub fn snapshot(&self) -> StatsSnapshot {
                StatsSnapshot { $($name: self.$name.get(),)* }
            }
        }

        impl StatsSnapshot {
            /// Name and value of every counter, for a metrics page.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

stats! {
    /// Synchronous calls that bound objects executed.
    calls,
    /// Asynchronous calls that bound objects executed, notifications included.
    casts,
    /// Executed calls that ended with an error.
    failures,
    /// Executed calls that panicked (also counted as failures).
    panics,
    /// Retries that were answered with the first answer, or joined to a call under way.
    duplicates,
    /// Messages or frames that could not be read.
    malformed,
    /// Messages that were not taken because a queue or a limit was full.
    busy,
    /// Messages that the gate refused.
    refused,
    /// Messages to a reference that nobody is bound to.
    unroutable,
    /// Notifications that a follower missed because its queue was full.
    dropped,
    /// Messages given up after too many deliveries.
    dead,
    /// Answers to nobody: late, unknown, or the caller has left.
    answers_lost,
    /// Messages that were sent again because the broker did not confirm them.
    resent,
    /// Connections to the broker that were lost.
    connections_lost,
    /// Messages that wait in queues now (gauge).
    queued,
    /// WebSocket sessions open now (gauge).
    sessions,
    /// WebSocket sessions since the start.
    sessions_total,
    /// Sessions ended because they did not read what was sent to them.
    sessions_slow,
    /// Sessions ended because nothing came from them for too long.
    sessions_silent,
    /// Frames received by WebSocket sessions.
    frames_in,
    /// Frames sent by WebSocket sessions.
    frames_out,
}
