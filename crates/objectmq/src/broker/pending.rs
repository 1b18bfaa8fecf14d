//! Calls that wait for their answer. An entry lives exactly as long as the call: answered, expired and abandoned ones leave nothing.

use crate::queue::lock;
use crate::transport::ReplySink;
use crate::{Message, SendError, Stats};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

const SHARDS: usize = 16;

/// Answers that one multi call collects; more are dropped and counted.
pub const MULTI_ANSWERS_MAX: usize = 4_096;

type Shard = HashMap<Arc<str>, Waiter>;

pub struct Pending {
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
    closed: AtomicBool,
    stats: Arc<Stats>,
}

enum Waiter {
    One(oneshot::Sender<Result<Message, SendError>>),
    Many(Vec<Message>),
}

impl Pending {
    pub fn new(stats: Arc<Stats>) -> Pending {
        Pending { shards: Default::default(), hasher: Default::default(), closed: AtomicBool::new(false), stats }
    }

    /// Waits for the one answer to `id`, until the entry is dropped.
    pub fn one(&self, id: &Arc<str>) -> (Entry<'_>, oneshot::Receiver<Result<Message, SendError>>) {
        let (answer, waiting) = oneshot::channel();
        lock(self.shard(id)).insert(id.clone(), Waiter::One(answer));
        // Checked after the insertion, so that closing sees this entry or this sees the closing.
        if self.closed.load(Ordering::SeqCst) {
            self.settle(id, Err(SendError::Closed));
        }
        (Entry { pending: self, id: id.clone() }, waiting)
    }

    /// Collects the answers to `id`, until the entry is dropped.
    pub fn many(&self, id: &Arc<str>) -> Entry<'_> {
        lock(self.shard(id)).insert(id.clone(), Waiter::Many(Vec::new()));
        Entry { pending: self, id: id.clone() }
    }

    /// Fails everything that waits, now and later.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.fail_all(&SendError::Closed);
    }

    /// Calls that wait.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn fail_all(&self, error: &SendError) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let failing: Vec<Arc<str>> =
                shard.iter().filter(|(_, waiter)| matches!(waiter, Waiter::One(_))).map(|(id, _)| id.clone()).collect();
            for id in failing {
                if let Some(Waiter::One(answer)) = shard.remove(&id) {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn settle(&self, id: &str, outcome: Result<Message, SendError>) {
        let mut shard = lock(self.shard(id));
        match (shard.get_mut(id), outcome) {
            (Some(Waiter::One(_)), outcome) => {
                let waiter = shard.remove(id);
                drop(shard);
                if let Some(Waiter::One(answer)) = waiter {
                    // The caller may have given up this instant.
                    let _ = answer.send(outcome);
                }
            }
            (Some(Waiter::Many(answers)), Ok(message)) if answers.len() < MULTI_ANSWERS_MAX => answers.push(message),
            (Some(Waiter::Many(_)) | None, Ok(_)) => self.stats.answers_lost.add(1),
            (Some(Waiter::Many(_)) | None, Err(_)) => {}
        }
    }

    fn shard(&self, id: &str) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(id) as usize;
        &self.shards[hash % SHARDS]
    }
}

impl ReplySink for Pending {
    fn answer(&self, message: Message) {
        let id = message.correlation_id.clone();
        self.settle(&id, Ok(message));
    }

    fn failed(&self, correlation_id: &str, error: SendError) {
        self.settle(correlation_id, Err(error));
    }

    fn disconnected(&self, why: &str) {
        self.fail_all(&SendError::Disconnected(why.to_owned()));
    }
}

/// Removes what waits, when dropped.
pub struct Entry<'a> {
    pending: &'a Pending,
    id: Arc<str>,
}

impl Entry<'_> {
    /// What was collected.
    pub fn answers(self) -> Vec<Message> {
        match lock(self.pending.shard(&self.id)).remove(&self.id) {
            Some(Waiter::Many(answers)) => answers,
            Some(Waiter::One(_)) | None => Vec::new(),
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        lock(self.pending.shard(&self.id)).remove(&self.id);
    }
}
