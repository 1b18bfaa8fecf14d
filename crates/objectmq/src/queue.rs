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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Caller, Message, MessageType};

    fn item(number: u64) -> Waiting {
        let message = Message {
            app_id: "a".into(),
            correlation_id: "c".into(),
            reply_to: None,
            kind: MessageType::Gson,
            body: bytes::Bytes::new(),
        };
        Waiting { tag: number, ..Parcel::new(message, Caller::anonymous()).into() }
    }

    #[tokio::test]
    async fn it_is_bounded_ordered_and_ends() {
        let queue = Queue::new(2, Arc::default());
        assert_eq!(queue.offer(item(1)), Ok(()));
        assert_eq!(queue.offer(item(2)), Ok(()));
        assert_eq!(queue.offer(item(3)), Err(NotTaken::Full));
        assert_eq!(queue.next().await.unwrap().tag, 1);
        queue.put_back(item(1)).unwrap();
        assert_eq!((queue.next().await.unwrap().tag, queue.stats.queued.get()), (1, 1));
        assert_eq!(queue.close().len(), 1);
        assert_eq!(queue.offer(item(4)), Err(NotTaken::Closed));
        assert!(queue.next().await.is_none());
        assert_eq!(queue.stats.queued.get(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn as_many_offers_wake_as_many_consumers() {
        const ROUNDS: u64 = 3_000;
        let queue = Arc::new(Queue::new(2, Arc::default()));
        let both_took = Arc::new(tokio::sync::Barrier::new(3));
        for _ in 0..2 {
            let (queue, both_took) = (queue.clone(), both_took.clone());
            tokio::spawn(async move {
                while queue.next().await.is_some() {
                    both_took.wait().await;
                }
            });
        }
        for round in 0..ROUNDS {
            queue.offer(item(round)).unwrap();
            queue.offer(item(round)).unwrap();
            crate::conformance::soon(both_took.wait()).await;
        }
        queue.close();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_is_lost_or_stuck_among_many_consumers_that_come_and_go() {
        const ITEMS: u64 = 20_000;
        let queue = Arc::new(Queue::new(ITEMS as usize, Arc::default()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let consumers: Vec<_> = (0..8)
            .map(|number| {
                let (queue, seen) = (queue.clone(), seen.clone());
                tokio::spawn(async move {
                    loop {
                        // Some waits are given up at once: that must lose nothing.
                        let item = if number % 2 == 0 {
                            match tokio::time::timeout(std::time::Duration::from_micros(50), queue.next()).await {
                                Ok(item) => item,
                                Err(_) => continue,
                            }
                        } else {
                            queue.next().await
                        };
                        match item {
                            Some(item) => lock(&seen).push(item.tag),
                            None => return,
                        }
                    }
                })
            })
            .collect();
        for number in 0..ITEMS {
            queue.offer(item(number)).unwrap();
            if number % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        crate::conformance::eventually("all were taken", || lock(&seen).len() as u64 == ITEMS).await;
        queue.close();
        for consumer in consumers {
            consumer.await.unwrap();
        }
        let mut seen = std::mem::take(&mut *lock(&seen));
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..ITEMS));
    }
}
