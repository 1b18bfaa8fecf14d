//! A bounded queue with many producers and many waiting consumers. It never blocks a producer and never holds its lock over an
//! await or a call to others.

use crate::stats::Stats;
use crate::transport::{Parcel, Settler};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What waits in a queue.
pub(crate) struct Waiting {
    pub parcel: Parcel,
    /// For the settler.
    pub tag: u64,
    /// Who is told what became of it, if not whoever owns the queue.
    pub settler: Option<Arc<dyn Settler>>,
}

impl From<Parcel> for Waiting {
    fn from(parcel: Parcel) -> Waiting {
        Waiting { parcel, tag: 0, settler: None }
    }
}

/// Why a queue did not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Full,
    Closed,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Notify,
    capacity: usize,
    stats: Arc<Stats>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    closed: bool,
}

impl Queue {
    pub fn new(capacity: usize, stats: Arc<Stats>) -> Queue {
        Queue { state: Mutex::default(), ready: Notify::new(), capacity, stats }
    }

    /// Appends, if there is room.
    pub fn offer(&self, item: Waiting) -> Result<(), NotTaken> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(NotTaken::Closed);
        }
        if state.waiting.len() >= self.capacity {
            return Err(NotTaken::Full);
        }
        state.waiting.push_back(item);
        self.stats.queued.add(1);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Puts back what was taken before, in front. There is always room for it, since it had a place.
    pub fn put_back(&self, item: Waiting) -> Result<(), NotTaken> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(NotTaken::Closed);
        }
        state.waiting.push_front(item);
        self.stats.queued.add(1);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// The next item; `None` once the queue is closed. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Waiting> {
        loop {
            // Registered before looking, so that an offer in between is not missed.
            let ready = self.ready.notified();
            {
                let mut state = lock(&self.state);
                if let Some(item) = state.waiting.pop_front() {
                    self.stats.queued.sub(1);
                    // Two offers that find nobody registered leave one permit only: whoever takes the first wakes the next.
                    if !state.waiting.is_empty() {
                        self.ready.notify_one();
                    }
                    return Some(item);
                }
                if state.closed {
                    return None;
                }
            }
            ready.await;
        }
    }

    /// Takes all that waits.
    pub fn take_all(&self) -> VecDeque<Waiting> {
        let left = std::mem::take(&mut lock(&self.state).waiting);
        self.stats.queued.sub(left.len() as u64);
        left
    }

    /// Ends it, and returns what waited.
    pub fn close(&self) -> VecDeque<Waiting> {
        let mut state = lock(&self.state);
        state.closed = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.stats.queued.sub(left.len() as u64);
        self.ready.notify_waiters();
        left
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        lock(&self.state).waiting.len()
    }
}

/// Locks; a panic of another holder cannot leave our plain collections in a state that matters.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
