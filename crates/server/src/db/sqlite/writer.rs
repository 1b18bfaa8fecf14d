//! The writer: one thread, one connection, and one transaction for everything that waits (group commit).
//!
//! Nobody is answered before the transaction's COMMIT returned, so what was answered is on the disk. A job that makes the
//! transaction fail is found by running the jobs of that batch one by one; the others are not harmed.

use super::super::request::RequestKey;
use super::super::stats::Counters;
use super::answers::Trim;
use super::batch::Batch;
use super::checkpoint::Checkpoints;
use super::{Commit, CommitResult, DbError, Notice, outbox};
use rusqlite::Connection;
use stacksync_chunks::crash_point;
use stacksync_core::planted;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; who comes later waits for room.
pub(super) const QUEUE_JOBS_MAX: usize = 4_096;
/// Jobs in one transaction.
pub(super) const BATCH_JOBS_MAX: usize = 256;
/// Item versions in one transaction; a commit of more goes alone.
const BATCH_ITEMS_MAX: usize = 4_096;
/// Published notices whose rows are deleted together.
const FORGET_NOTICES_EVERY: u64 = 512;

/// Something to be written.
pub(super) enum Job {
    Commit(Box<CommitJob>),
    Write(Box<dyn Write>),
}

/// A commit that waits, and who waits for it.
pub(super) struct CommitJob {
    pub commit: Commit,
    pub key: RequestKey,
    pub reply: oneshot::Sender<CommitResult>,
    pub asked_at: Instant,
    pub result: Option<CommitResult>,
}

/// Any other change. `run` may be called again after a rollback.
pub(super) trait Write: Send {
    /// Does it; `Err` means that nothing of it may stay.
    fn run(&mut self, connection: &Connection) -> Result<(), Undo>;
    /// Tells who waits: what `run` found, or why it is not durable.
    fn answer(self: Box<Self>, durable: Result<(), DbError>);
}

/// What a write has done so far must be taken back; the reason is kept by the write itself.
pub(super) struct Undo;

impl Job {
    fn items(&self) -> usize {
        match self {
            Self::Commit(job) => job.commit.items.len().max(1),
            Self::Write(_) => 1,
        }
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub connection: Connection,
    /// `None` without a file.
    pub checkpoints: Option<Checkpoints>,
    pub notices: mpsc::Sender<Notice>,
    pub counters: Arc<Counters>,
    pub trim: Trim,
    /// The last notice that was published.
    pub told: Arc<AtomicU64>,
    /// The last notice whose row was deleted.
    pub forgotten: u64,
}

impl Writer {
    /// Works until every sender is gone and the queue is empty.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut waiting = VecDeque::new();
        let mut arrived = Vec::with_capacity(BATCH_JOBS_MAX);
        loop {
            if waiting.is_empty() && queue.blocking_recv_many(&mut arrived, BATCH_JOBS_MAX) == 0 {
                break;
            }
            waiting.extend(arrived.drain(..));
            while waiting.len() < BATCH_JOBS_MAX
                && let Ok(job) = queue.try_recv()
            {
                waiting.push_back(job);
            }
            self.write(take_batch(&mut waiting));
            if let Some(checkpoints) = &self.checkpoints {
                checkpoints.between(&self.connection);
            }
        }
        self.forget_told();
    }

    /// At the end, so that the next start need not publish again what was published. If it fails, it does.
    fn forget_told(&mut self) {
        let told = self.told.load(Ordering::Relaxed);
        if told > self.forgotten && outbox::forget(&self.connection, told).is_ok() {
            self.forgotten = told;
        }
    }

    /// Writes them and answers everyone who waits for one of them.
    pub(super) fn write(&mut self, mut jobs: Vec<Job>) {
        match self.transact(&mut jobs) {
            Ok(notices) => self.finish(jobs, notices),
            Err(error @ (DbError::Busy | DbError::Damaged(_))) => fail(jobs, &error),
            Err(error) if jobs.len() == 1 => fail(jobs, &error),
            Err(_) => jobs.into_iter().for_each(|job| self.write(vec![job])),
        }
    }

    /// One transaction; on an error nothing of it is on the disk.
    fn transact(&mut self, jobs: &mut [Job]) -> Result<Vec<Notice>, DbError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&transaction, &mut self.trim);
        for job in jobs.iter_mut() {
            match job {
                Job::Commit(job) => job.result = Some(batch.commit(&job.commit, &job.key)?),
                Job::Write(write) => batch.write(write.as_mut())?,
            }
        }
        let notices = batch.finish()?;
        let told = self.told.load(Ordering::Relaxed);
        let forget = told >= self.forgotten + FORGET_NOTICES_EVERY;
        if forget {
            outbox::forget(&transaction, told)?;
        }
        let unlucky = |job: &Job| matches!(job, Job::Commit(job) if job.key.request % 16 == 0);
        if planted!(AnsweredBeforeCommit) && jobs.iter().any(unlucky) {
            transaction.rollback()?;
            return Ok(Vec::new());
        }
        if planted!(NoticeUnsaved) && jobs.iter().any(unlucky) {
            transaction.rollback()?;
            for job in jobs {
                if let Job::Commit(job) = job {
                    job.result = Some(Err(DbError::Unknown));
                }
            }
            return Ok(notices);
        }
        crash_point!("db.before-commit");
        transaction.commit()?;
        crash_point!("db.after-commit");
        if forget {
            self.forgotten = told;
        }
        Ok(notices)
    }

    fn finish(&self, jobs: Vec<Job>, notices: Vec<Notice>) {
        self.counters.batch(jobs.len());
        // Before the answers: who asks for the notice after his answer finds it. If the channel is full or nobody listens, the
        // publisher finds the row in the file.
        for notice in notices {
            let _ = self.notices.try_send(notice);
        }
        crash_point!("db.before-answer");
        for job in jobs {
            match job {
                Job::Commit(job) => {
                    let result = job.result.unwrap_or(Err(DbError::Unknown));
                    self.counters.commit(&result, job.asked_at.elapsed());
                    let _ = job.reply.send(result);
                }
                Job::Write(write) => write.answer(Ok(())),
            }
        }
    }
}

fn take_batch(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let mut batch = Vec::with_capacity(waiting.len().min(BATCH_JOBS_MAX));
    let mut items = 0;
    while batch.len() < BATCH_JOBS_MAX
        && let Some(job) = waiting.front()
    {
        items += job.items();
        if items > BATCH_ITEMS_MAX && !batch.is_empty() {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

fn fail(jobs: Vec<Job>, error: &DbError) {
    for job in jobs {
        match job {
            Job::Commit(job) => drop(job.reply.send(Err(error.clone()))),
            Job::Write(write) => write.answer(Err(error.clone())),
        }
    }
}
