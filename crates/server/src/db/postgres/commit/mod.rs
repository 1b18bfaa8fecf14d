//! Group commit: what waits shares one transaction, and so one round of locks and reads, one of writes, and one fsync.
//!
//! Committers take turns ([`turn`]): one gathers what waits, reads and writes; as soon as only the disk is waited for, the next one may
//! gather. So groups grow with the load, and nobody waits for company. A workspace whose commits are under way sits out until they are
//! answered, which keeps them in order. Other instances do the same on the same database: what orders the commits of a workspace is its
//! row, which a transaction locks first, workspaces before users, each in ascending order. What a transaction reads after that no other
//! one changes. Nothing is remembered from one transaction to the next.

mod answers;
mod judge;
mod load;
mod picture;
mod save;
mod turn;

use super::instance::Instance;
use super::link::{Class, Link, Links, SqlError, TRIES_BROKEN_MAX, TRIES_MAX, class, pause, told};
use super::outbox::{StoredRow, Waiting};
use crate::db::request::RequestKey;
use crate::db::stats::Counters;
use crate::db::{Commit, CommitResult, DbError};
use answers::Trim;
use judge::{Batch, Judged};
use load::Look;
use stacksync_chunks::crash_point;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::error::SqlState;
use turn::{Gathering, Turn, Turns};

/// Committers of one process: one works while the others wait for the disk.
const COMMITTERS: usize = 3;
/// Commits that may wait for them; who comes later waits for room.
const QUEUE_JOBS_MAX: usize = 4_096;
/// How long everything is looked up after something taken for granted was not so: whoever repeats commits all the time, or names, makes
/// a few transactions run twice, and not all of them.
const THOROUGH_TIME: Duration = Duration::from_secs(1);
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

/// The queue of the committers. When it is dropped they finish what was accepted.
pub(super) struct Committers {
    queue: mpsc::Sender<Job>,
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
        let (queue, waiting) = mpsc::channel(QUEUE_JOBS_MAX);
        let (turns, trim) = (Arc::new(Turns::new(Gathering::new(waiting))), Arc::default());
        for _ in 0..COMMITTERS {
            let (tools, turns, trim) = (tools.clone(), Arc::clone(&turns), Arc::clone(&trim));
            tokio::spawn(Committer { tools, turns, trim, thorough_until: None }.run());
        }
        Self { queue }
    }

    pub(super) async fn commit(&self, commit: Commit, key: RequestKey) -> CommitResult {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Job { commit, key, reply, asked_at: Instant::now() }).await.map_err(|_| DbError::Unknown)?;
        answer.await.map_err(|_| DbError::Unknown)?
    }

    /// Commits that wait, and that may wait.
    pub(super) fn depth(&self) -> (usize, usize) {
        (self.queue.max_capacity() - self.queue.capacity(), QUEUE_JOBS_MAX)
    }
}

struct Committer {
    tools: Tools,
    turns: Arc<Turns>,
    trim: Arc<Mutex<Trim>>,
    /// Nothing is taken for granted until then.
    thorough_until: Option<Instant>,
}

impl Committer {
    async fn run(mut self) {
        let turns = Arc::clone(&self.turns);
        loop {
            let mut turn = turns.take().await;
            let Some(jobs) = turn.gather().await else { break };
            let workspaces: Vec<_> = jobs.iter().map(|job| job.commit.workspace).collect();
            self.write(jobs, turn).await;
            turns.finished(&workspaces);
        }
        self.tools.waiting.close();
    }

    /// Writes the jobs; those that make the transaction fail are found by writing them one by one. The turn ends when the first try
    /// waits for nothing but the disk, or has failed.
    async fn write(&mut self, jobs: Vec<Job>, turn: Turn<'_>) {
        match self.attempt(&jobs, Some(turn)).await {
            Ok(judged) => self.finish(jobs, judged),
            Err(error @ (DbError::Unavailable(_) | DbError::Damaged(_) | DbError::Busy)) => self.fail(jobs, &error),
            Err(error) if jobs.len() == 1 => self.fail(jobs, &error),
            Err(_) => {
                for job in jobs {
                    let alone = vec![job];
                    match self.attempt(&alone, None).await {
                        Ok(judged) => self.finish(alone, judged),
                        Err(error) => self.fail(alone, &error),
                    }
                }
            }
        }
    }

    /// Tries until it is done or there is no hope for now. A commit whose try may have succeeded is tried again too: if it did, its
    /// stored answer is found.
    async fn attempt(&mut self, jobs: &[Job], mut turn: Option<Turn<'_>>) -> Result<Vec<Judged>, DbError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let look = if self.thorough_until.is_some_and(|until| Instant::now() < until) { Look::Thorough } else { Look::Brief };
            let link = self.tools.links.link().await?;
            let ended = tokio::time::timeout(TRY_WAIT, self.transact(&link, jobs, look, turn.take())).await;
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
            if look == Look::Brief && error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
                link.roll_back().await;
                self.thorough_until = Some(Instant::now() + THOROUGH_TIME);
                continue;
            }
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
    async fn transact(&mut self, link: &Link, jobs: &[Job], look: Look, turn: Option<Turn<'_>>) -> Result<Vec<Judged>, Failed> {
        link.opened();
        let owner = self.tools.instance.owner();
        let mut batch = load::load(link, jobs, owner, look).await?;
        let mut judged = judge(link, &mut batch, jobs).await?;
        if look == Look::Brief && !judged.iter().all(Judged::saves_everything) {
            batch = load::load_thoroughly(link, jobs, owner).await?;
            judged = judge(link, &mut batch, jobs).await?;
        }
        let notices = save::save(link, jobs, &batch, &judged, owner, move || drop(turn)).await?;
        link.closed();
        self.tools.instance.note_alone(batch.alone);
        self.tell(notices, owner.is_some());
        let devices = jobs.iter().zip(&judged).filter(|(_, judged)| judged.stores()).map(|(job, _)| job.commit.device);
        self.trim.lock().unwrap_or_else(PoisonError::into_inner).stored(&self.tools.links, devices);
        Ok(judged)
    }

    /// Before the answers: who asks for the notice after his answer finds it.
    fn tell(&self, notices: Vec<StoredRow>, publishes: bool) {
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

/// Judges all of them, and loads what that takes.
async fn judge(link: &Link, batch: &mut Batch, jobs: &[Job]) -> Result<Vec<Judged>, Failed> {
    loop {
        match batch.judge(jobs) {
            Ok(judged) => return Ok(judged),
            Err(lacking) => load::more(link, batch, lacking).await?,
        }
    }
}
