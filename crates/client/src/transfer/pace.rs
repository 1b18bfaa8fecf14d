//! How fast bytes go, each way: one line for all transfers of the process, whether to a storage or through the service.
//!
//! Bodies are counted, not headers, and not what the service is asked and told. Slow lines carry few requests at once, so that each of
//! them keeps moving: whoever is on the other side takes one that does not for dead.

use super::retry::Failure;
use super::shared::take;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Bytes of a step, where nothing limits them.
const STEP_BYTES_MAX: usize = 64 * 1024;
/// A step of a limited line takes so long.
const STEP_TIME: Duration = Duration::from_millis(100);
/// Of a time in which nothing was sent, so much is made up for.
const BURST: Duration = Duration::from_millis(100);
/// Requests at once on a limited line.
const LANES_MAX: u32 = 8;
/// Each of them gets so many bytes per second, if there are several.
const LANE_RATE_MIN: u64 = 64 * 1024;

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// The slowest: still more than what keeps a connection alive.
    pub const BYTES_MIN: u64 = 4 * 1024;

    /// `None` where it would be slower than [`Self::BYTES_MIN`].
    pub fn new(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).filter(|bytes| bytes.get() >= Self::BYTES_MIN).map(Self)
    }

    /// Bytes per second.
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }

    fn time_of(self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.bytes() as f64)
    }
}

/// How fast bytes may go now; `None` is as fast as they can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// To the storage.
    pub up: Option<Rate>,
    /// From the storage.
    pub down: Option<Rate>,
}

/// One way.
pub(super) struct Pace {
    line: Mutex<Line>,
    lanes: Arc<Semaphore>,
}

struct Line {
    rate: Option<Rate>,
    /// When all that was let in has gone.
    free_at: Instant,
}

impl Pace {
    /// As fast as it can.
    pub(super) fn new() -> Self {
        Self { line: Mutex::new(Line { rate: None, free_at: Instant::now() }), lanes: Arc::new(Semaphore::new(LANES_MAX as usize)) }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on. Answers whether that is a change.
    pub(super) fn set(&self, rate: Option<Rate>) -> bool {
        let mut line = self.line();
        let changed = line.rate != rate;
        if changed {
            // What waits keeps its place, which is some steps away at most.
            *line = Line { rate, free_at: Instant::now() };
        }
        changed
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        self.line().rate
    }

    /// How many bytes to send in one piece.
    pub(super) fn step(&self) -> usize {
        self.rate().map_or(STEP_BYTES_MAX, |rate| {
            let step = rate.bytes() as f64 * STEP_TIME.as_secs_f64();
            (step as usize).clamp(1, STEP_BYTES_MAX)
        })
    }

    /// Gets in line with so many bytes. When their turn is, `None` if it is now.
    pub(super) fn turn(&self, bytes: usize) -> Option<Instant> {
        let (turn, _) = self.enter(bytes)?;
        (turn > Instant::now()).then_some(turn)
    }

    /// Gets in line with bytes that are here already, and waits until they should be.
    pub(super) async fn arrived(&self, bytes: usize) {
        if let Some((_, end)) = self.enter(bytes) {
            sleep_until(end).await;
        }
    }

    /// When so many bytes begin and end to go.
    fn enter(&self, bytes: usize) -> Option<(Instant, Instant)> {
        let mut line = self.line();
        let rate = line.rate?;
        let now = Instant::now();
        let begin = line.free_at.max(now.checked_sub(BURST).unwrap_or(now));
        line.free_at = begin + rate.time_of(bytes);
        Some((begin, line.free_at))
    }

    /// A request's place on the line, if it is limited.
    pub(super) async fn lane(&self) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let Some(rate) = self.rate() else { return Ok(None) };
        let at_once = (rate.bytes() / LANE_RATE_MIN).clamp(1, u64::from(LANES_MAX));
        take(&self.lanes, LANES_MAX / at_once as u32).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(bytes: u64) -> Pace {
        let pace = Pace::new();
        assert!(pace.set(Rate::new(bytes)));
        pace
    }

    /// Sends so many bytes over the line, in its steps.
    async fn send(pace: &Pace, mut bytes: usize) {
        while bytes > 0 {
            let step = pace.step().min(bytes);
            if let Some(turn) = pace.turn(step) {
                sleep_until(turn).await;
            }
            bytes -= step;
        }
    }

    fn seconds(elapsed: Duration) -> f64 {
        elapsed.as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_send_share_one_rate() {
        let pace = pace(100_000);
        let start = Instant::now();
        tokio::join!(send(&pace, 400_000), send(&pace, 250_000), send(&pace, 350_000));
        assert!((9.7..=10.1).contains(&seconds(start.elapsed())), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_arrives_is_held_back_at_the_same_rate() {
        let pace = pace(1 << 20);
        let start = Instant::now();
        let receive = || async {
            for _ in 0..16 {
                pace.arrived(64 << 10).await;
            }
        };
        tokio::join!(receive(), receive(), receive(), receive());
        assert!((3.8..=4.1).contains(&seconds(start.elapsed())), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_made_up_for() {
        let pace = pace(10_000);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let start = Instant::now();
        send(&pace, 100_000).await;
        assert!(seconds(start.elapsed()) >= 9.7, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn another_rate_counts_at_once() {
        let pace = pace(Rate::BYTES_MIN);
        let start = Instant::now();
        let faster = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert!(pace.set(None));
            assert!(!pace.set(None));
        };
        tokio::join!(send(&pace, 100 << 20), faster);
        assert!((5.0..5.3).contains(&seconds(start.elapsed())), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_has_few_lanes() {
        for (bytes, lanes) in [(Rate::BYTES_MIN, 1), (200_000, 4), (10 << 20, 8)] {
            let pace = pace(bytes);
            let mut taken = Vec::new();
            for _ in 0..lanes {
                taken.push(pace.lane().await.unwrap().unwrap());
            }
            let more = tokio::time::timeout(Duration::from_secs(1), pace.lane()).await;
            assert!(more.is_err(), "{bytes}");
        }
        assert!(Pace::new().lane().await.unwrap().is_none());
    }
}
