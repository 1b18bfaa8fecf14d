//! Whose turn it is to gather commits, and what he takes.
//!
//! One committer has the turn at a time. He takes what waits, in the order in which it came, but of no workspace whose commits are under
//! way: they would be decided in the wrong order if the ones before them had to be tried again.

use super::Job;
use stacksync_core::values::WorkspaceId;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc};

/// Commits in one transaction.
const BATCH_JOBS_MAX: usize = 256;
/// Item versions in one transaction; a commit of more goes alone.
const BATCH_ITEMS_MAX: usize = 4_096;
/// Commits that are looked at for one transaction, those included that must sit out.
const LOOKED_AT_MAX: usize = 4 * BATCH_JOBS_MAX;

/// The turn, and what is under way.
pub(super) struct Turns {
    gathering: tokio::sync::Mutex<Gathering>,
    under_way: Mutex<HashSet<WorkspaceId>>,
    finished: Notify,
}

/// What waits.
pub(super) struct Gathering {
    queue: mpsc::Receiver<Job>,
    /// Taken from the queue, in order.
    waiting: VecDeque<Job>,
}

impl Gathering {
    pub(super) const fn new(queue: mpsc::Receiver<Job>) -> Self {
        Self { queue, waiting: VecDeque::new() }
    }
}

/// The turn, until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    gathering: tokio::sync::MutexGuard<'a, Gathering>,
}

impl Turns {
    pub(super) fn new(gathering: Gathering) -> Self {
        Self { gathering: tokio::sync::Mutex::new(gathering), under_way: Mutex::default(), finished: Notify::new() }
    }

    /// Waits for the turn.
    pub(super) async fn take(&self) -> Turn<'_> {
        Turn { turns: self, gathering: self.gathering.lock().await }
    }

    /// The commits of these workspaces are answered.
    pub(super) fn finished(&self, workspaces: &[WorkspaceId]) {
        let mut under_way = self.under_way();
        for workspace in workspaces {
            under_way.remove(workspace);
        }
        drop(under_way);
        self.finished.notify_one();
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<WorkspaceId>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits until something can be done, and takes all of that, up to the limits. `None` when nothing will come any more.
    pub(super) async fn gather(&mut self) -> Option<Vec<Job>> {
        let Gathering { queue, waiting } = &mut *self.gathering;
        let mut open = true;
        loop {
            while waiting.len() < LOOKED_AT_MAX
                && let Ok(job) = queue.try_recv()
            {
                waiting.push_back(job);
            }
            let batch = take_batch(waiting, &mut self.turns.under_way());
            if !batch.is_empty() {
                return Some(batch);
            }
            if waiting.is_empty() && !open {
                return None;
            }
            let room = waiting.len() < LOOKED_AT_MAX;
            tokio::select! {
                job = queue.recv(), if open && room => match job {
                    Some(job) => waiting.push_back(job),
                    None => open = false,
                },
                () = self.turns.finished.notified(), if !waiting.is_empty() => {}
            }
        }
    }
}

fn take_batch(waiting: &mut VecDeque<Job>, under_way: &mut HashSet<WorkspaceId>) -> Vec<Job> {
    let mut batch: Vec<Job> = Vec::with_capacity(waiting.len().min(BATCH_JOBS_MAX));
    let mut sitting_out = VecDeque::new();
    let mut items = 0;
    while batch.len() < BATCH_JOBS_MAX
        && let Some(job) = waiting.pop_front()
    {
        let fits = items + job.commit.items.len().max(1) <= BATCH_ITEMS_MAX || batch.is_empty();
        if under_way.contains(&job.commit.workspace) {
            sitting_out.push_back(job);
        } else if fits {
            items += job.commit.items.len().max(1);
            batch.push(job);
        } else {
            waiting.push_front(job);
            break;
        }
    }
    under_way.extend(batch.iter().map(|job| job.commit.workspace));
    sitting_out.append(waiting);
    *waiting = sitting_out;
    batch
}
