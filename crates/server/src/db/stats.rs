//! Counters of the metadata store, for `/metrics`.

use super::CommitResult;
use stacksync_core::commit::Verdict;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets, in microseconds; a last bucket holds what is above.
pub const LATENCY_BUCKETS_US: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// A snapshot of the counters since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DbStats {
    /// Commits answered, replays included.
    pub commits: u64,
    /// Of them: answered from an earlier try.
    pub replays: u64,
    /// Of them: failed as a whole.
    pub failures: u64,
    /// Item versions saved.
    pub accepted: u64,
    /// Item versions refused.
    pub refused: u64,
    /// Transactions of the writer.
    pub batches: u64,
    /// Jobs in them, commits and all other writes.
    pub jobs: u64,
    /// Most jobs in one transaction.
    pub batch_jobs_most: u64,
    /// Jobs that wait now.
    pub queue_depth: u64,
    /// Jobs that may wait.
    pub queue_limit: u64,
    /// How far this process's clock is ahead of the store's, in milliseconds, as found out last; 0 where there is no other clock.
    pub clock_ahead_ms: i64,
    /// Sum of the time from asking to answer over all commits, in microseconds.
    pub latency_us_sum: u64,
    /// Commits per bucket of [`LATENCY_BUCKETS_US`] (not cumulated), and those above the last.
    pub latency_counts: [u64; LATENCY_BUCKETS_US.len() + 1],
}

#[derive(Default)]
pub(super) struct Counters {
    commits: AtomicU64,
    replays: AtomicU64,
    failures: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    batches: AtomicU64,
    jobs: AtomicU64,
    batch_jobs_most: AtomicU64,
    latency_us_sum: AtomicU64,
    latency_counts: [AtomicU64; LATENCY_BUCKETS_US.len() + 1],
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn batch(&self, jobs: usize) {
        add(&self.batches, 1);
        add(&self.jobs, jobs as u64);
        self.batch_jobs_most.fetch_max(jobs as u64, Ordering::Relaxed);
    }

    pub(super) fn commit(&self, result: &CommitResult, took: Duration) {
        add(&self.commits, 1);
        match result {
            Ok(outcome) if outcome.replay => add(&self.replays, 1),
            Ok(outcome) => {
                let accepted = outcome.answer.to.0.saturating_sub(outcome.answer.from.0);
                let refused = outcome.answer.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Refused { .. })).count();
                add(&self.accepted, accepted);
                add(&self.refused, refused as u64);
            }
            Err(_) => add(&self.failures, 1),
        }
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.latency_us_sum, took_us);
        let bucket = LATENCY_BUCKETS_US.partition_point(|&bound| bound < took_us);
        if let Some(count) = self.latency_counts.get(bucket) {
            add(count, 1);
        }
    }

    pub(super) fn snapshot(&self, queue_depth: usize, queue_limit: usize) -> DbStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DbStats {
            commits: get(&self.commits),
            replays: get(&self.replays),
            failures: get(&self.failures),
            accepted: get(&self.accepted),
            refused: get(&self.refused),
            batches: get(&self.batches),
            jobs: get(&self.jobs),
            batch_jobs_most: get(&self.batch_jobs_most),
            queue_depth: queue_depth as u64,
            queue_limit: queue_limit as u64,
            clock_ahead_ms: 0,
            latency_us_sum: get(&self.latency_us_sum),
            latency_counts: std::array::from_fn(|bucket| get(&self.latency_counts[bucket])),
        }
    }
}
