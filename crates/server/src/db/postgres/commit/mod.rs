//! Group commit: what waits shares one transaction, and so one round of locks, one of reads, one of writes, and one fsync.
//!
//! A few committers work beside each other, so that one executes while another one waits for the disk; all commits of a workspace go
//! through the same one. Other instances do the same on the same database: what orders the commits of a workspace is its row, which
//! a transaction locks first, workspaces before users, each in ascending order. What a transaction reads after that no other one
//! changes. Nothing is remembered from one transaction to the next.

mod answers;
mod judge;
mod load;
mod picture;
mod save;

use super::instance::Instance;
use super::link::{Class, Link, Links, SqlError, TRIES_BROKEN_MAX, TRIES_MAX, class, pause, told};
use super::outbox::{Stored, Waiting};
use crate::db::request::RequestKey;
use crate::db::stats::Counters;
use crate::db::{Commit, CommitResult, DbError};
use answers::Trim;
use judge::Judged;
use stacksync_chunks::crash_point;
use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Committers of one process.
const COMMITTERS: usize = 2;
/// Commits that may wait for each of them; who comes later waits for room.
const QUEUE_JOBS_MAX: usize = 2_048;
/// Commits in one transaction.
const BATCH_JOBS_MAX: usize = 256;
/// Item versions in one transaction; a commit of more goes alone.
const BATCH_ITEMS_MAX: usize = 4_096;
/// How long one try of a transaction may take.
const TRY_WAIT: Duration = Duration::from_secs(60);

/// A commit that waits, and who waits for it.
pub(super) struct Job {
    pub commit: Commit,
    pub key: RequestKey,
    reply: oneshot::Sender<CommitResult>,
    asked_at: Instant,
}

/// Why a try of a transaction failed.
enum Failed {
    Sql(SqlError),
    Store(DbError),
}

impl From<SqlError> for Failed {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self::Store(error)
    }
}

/// The queues of the committers. When it is dropped they finish what was accepted.
pub(super) struct Committers {
    queues: Vec<mpsc::Sender<Job>>,
    hasher: RandomState,
}

/// What every committer works with.
#[derive(Clone)]
pub(super) struct Tools {
    pub links: Links,
    pub waiting: Arc<Waiting>,
    pub instance: Arc<Instance>,
    pub counters: Arc<Counters>,
}

impl Committers {
    /// Starts them on the current runtime.
    pub(super) fn start(tools: &Tools) -> Self {
        let queues = (0..COMMITTERS)
            .map(|_| {
                let (sender, queue) = mpsc::channel(QUEUE_JOBS_MAX);
                tokio::spawn(Committer { tools: tools.clone(), trim: Trim::default() }.run(queue));
                sender
            })
            .collect();
        Self { queues, hasher: RandomState::new() }
    }

    pub(super) async fn commit(&self, commit: Commit, key: RequestKey) -> CommitResult {
        let at = self.hasher.hash_one(commit.workspace) as usize % self.queues.len().max(1);
        let queue = self.queues.get(at).ok_or(DbError::Unknown)?;
        let (reply, answer) = oneshot::channel();
        queue.send(Job { commit, key, reply, asked_at: Instant::now() }).await.map_err(|_| DbError::Unknown)?;
        answer.await.map_err(|_| DbError::Unknown)?
    }

    /// Commits that wait, and that may wait.
    pub(super) fn depth(&self) -> (usize, usize) {
        let depth = self.queues.iter().map(|queue| queue.max_capacity() - queue.capacity()).sum();
        (depth, QUEUE_JOBS_MAX * self.queues.len())
    }
}

struct Committer {
    tools: Tools,
    trim: Trim,
}

impl Committer {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut waiting = VecDeque::new();
        let mut arrived = Vec::with_capacity(BATCH_JOBS_MAX);
        loop {
            if waiting.is_empty() && queue.recv_many(&mut arrived, BATCH_JOBS_MAX).await == 0 {
                break;
            }
            waiting.extend(arrived.drain(..));
            while waiting.len() < BATCH_JOBS_MAX
                && let Ok(job) = queue.try_recv()
            {
                waiting.push_back(job);
            }
            self.write(take_batch(&mut waiting)).await;
        }
        self.tools.waiting.close();
    }

    /// Writes the jobs; those that make the transaction fail are found by writing them one by one.
    async fn write(&mut self, jobs: Vec<Job>) {
        match self.attempt(&jobs).await {
            Ok(judged) => self.finish(jobs, judged),
            Err(error @ (DbError::Unavailable(_) | DbError::Damaged(_) | DbError::Busy)) => self.fail(jobs, &error),
            Err(error) if jobs.len() == 1 => self.fail(jobs, &error),
            Err(_) => {
                for job in jobs {
                    let alone = vec![job];
                    match self.attempt(&alone).await {
                        Ok(judged) => self.finish(alone, judged),
                        Err(error) => self.fail(alone, &error),
                    }
                }
            }
        }
    }

    /// Tries until it is done or there is no hope for now. A commit whose try may have succeeded is tried again too: if it did, its
    /// stored answer is found.
    async fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<Judged>, DbError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let link = self.tools.links.link().await?;
            let ended = tokio::time::timeout(TRY_WAIT, self.transact(&link, jobs)).await;
            let error = match ended {
                Ok(Ok(judged)) => return Ok(judged),
                Ok(Err(Failed::Store(error))) => {
                    link.roll_back().await;
                    return Err(error);
                }
                Ok(Err(Failed::Sql(error))) => error,
                Err(_) => {
                    self.tools.waiting.lost_count();
                    return Err(DbError::Unavailable(format!("it did not answer within {} s", TRY_WAIT.as_secs())));
                }
            };
            self.tools.links.note(&error);
            let class = class(&error);
            match class {
                Class::Gone => self.tools.waiting.lost_count(),
                Class::Again | Class::Final => link.roll_back().await,
            }
            let tries_max = match class {
                Class::Again => TRIES_MAX,
                Class::Gone => TRIES_BROKEN_MAX,
                Class::Final => 0,
            };
            if tries >= tries_max {
                return Err(told(&error));
            }
            tracing::debug!(error = %told(&error), tries, "a transaction is tried again");
            drop(link);
            pause(tries).await;
        }
    }

    /// One transaction: locks and reads in one round trip, judges, writes and commits in another.
    async fn transact(&mut self, link: &Link, jobs: &[Job]) -> Result<Vec<Judged>, Failed> {
        link.opened();
        let owner = self.tools.instance.owner();
        let mut batch = load::load(link, jobs, owner).await?;
        let judged = loop {
            match batch.judge(jobs) {
                Ok(judged) => break judged,
                Err(lacking) => load::more(link, &mut batch, lacking).await?,
            }
        };
        let notices = save::save(link, jobs, &batch, &judged, owner).await?;
        link.closed();
        self.tell(notices, owner.is_some());
        let devices = jobs.iter().zip(&judged).filter(|(_, judged)| judged.stores()).map(|(job, _)| job.commit.device);
        self.trim.stored(&self.tools.links, devices);
        Ok(judged)
    }

    /// Before the answers: who asks for the notice after his answer finds it.
    fn tell(&self, notices: Vec<Stored>, publishes: bool) {
        if publishes {
            self.tools.waiting.add(notices);
        }
    }

    fn finish(&self, jobs: Vec<Job>, judged: Vec<Judged>) {
        crash_point!("pg.before-answer");
        self.tools.counters.batch(jobs.len());
        for (job, judged) in jobs.into_iter().zip(judged) {
            self.answer(job, judged.into_result());
        }
    }

    fn fail(&self, jobs: Vec<Job>, error: &DbError) {
        for job in jobs {
            self.answer(job, Err(error.clone()));
        }
    }

    fn answer(&self, job: Job, result: CommitResult) {
        self.tools.counters.commit(&result, job.asked_at.elapsed());
        let _ = job.reply.send(result);
    }
}

fn take_batch(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let mut batch = Vec::with_capacity(waiting.len().min(BATCH_JOBS_MAX));
    let mut items = 0;
    while batch.len() < BATCH_JOBS_MAX
        && let Some(job) = waiting.front()
    {
        items += job.commit.items.len().max(1);
        if items > BATCH_ITEMS_MAX && !batch.is_empty() {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}
