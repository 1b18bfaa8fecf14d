//! The metadata store: who has which version of which item, in one SQLite file.
//!
//! One thread writes; whatever waits for it shares one transaction and one fsync (`writer`, `batch`), and another one copies the
//! write-ahead log back beside it (`checkpoint`). Reads go through a few connections of their own (`readers`). Whether a version may
//! be saved is core's rule `decide`, not a matter of this module; SQL stands nowhere outside it. Other processes may have the file
//! open: nothing that they can change is remembered from one transaction to the next.

mod accounts;
mod answer_codec;
mod answers;
mod batch;
mod changes;
mod checkpoint;
mod error;
pub mod inline;
mod open;
mod outbox;
mod readers;
mod rows;
mod stats;
mod types;
mod view;
mod workspaces;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{DbError, OpenError, RedeemError};
pub use outbox::Outbox;
pub use stats::{DbStats, LATENCY_BUCKETS_US};
pub use types::{
    Access, ChangedItem, Changes, Commit, CommitOutcome, Device, DeviceSeen, Made, Membership, NewDevice, NewUser, Notice,
    NoticeContent, PlaceRule, Role, TreeItem, UnixMs, User, UserKey, WorkspaceView,
};

use checkpoint::Checkpoints;
use inline::Inline;
use readers::Readers;
use rusqlite::Connection;
use stacksync_core::commit::COMMIT_ITEMS_MAX;
use stacksync_protocol::sync_service::REQUEST_ID_BYTES_MAX;
use stats::Counters;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use writer::{CommitJob, Job, QUEUE_JOBS_MAX, Undo, Write, Writer};

/// Notices that wait in memory for the publisher; what does not fit he reads from the file.
const NOTICES_WAITING_MAX: usize = 4_096;

/// The store. Clones share it; when the last one goes, what was accepted is written and the file is closed.
///
/// All operations are for a tokio runtime. They are atomic; those that write are durable when they return `Ok`.
#[derive(Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

struct Shared {
    readers: Readers,
    /// Writes at once, in place of a thread.
    inline: Option<Arc<Inline>>,
    /// `None` only while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    notices: Mutex<Option<mpsc::Receiver<Notice>>>,
    /// The last notice of earlier runs.
    earlier_notices: u64,
    /// The last notice that was published.
    told: Arc<AtomicU64>,
    counters: Arc<Counters>,
    epoch: Uuid,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already answered everyone who waited.
            let _ = thread.join();
        }
    }
}

impl Db {
    /// Opens the file; creates it, or brings it to this program's format, as needed.
    ///
    /// # Errors
    /// See [`OpenError`]. A file of a newer format is left as it is.
    pub fn open(file: &Path) -> Result<Self, OpenError> {
        let mut connection = open::open_writer(file)?;
        let (epoch, earlier_notices) = open::read_meta(&connection, file)?;
        let readers = Readers::open(file)?;
        let checkpoints = Checkpoints::start(file, &mut connection)?;
        let counters = Arc::new(Counters::default());
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let (notices, waiting) = mpsc::channel(NOTICES_WAITING_MAX);
        let told = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            connection,
            checkpoints: Some(checkpoints),
            notices,
            counters: Arc::clone(&counters),
            trim: answers::Trim::default(),
            told: Arc::clone(&told),
            forgotten: 0,
        };
        let thread = std::thread::Builder::new()
            .name("db-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(|error| OpenError::Io { file: file.to_owned(), reason: error.to_string() })?;
        let notices = Mutex::new(Some(waiting));
        Ok(Self {
            shared: Arc::new(Shared {
                readers,
                inline: None,
                jobs: Some(jobs),
                thread: Some(thread),
                notices,
                earlier_notices,
                told,
                counters,
                epoch,
            }),
        })
    }

    /// A store in memory that begins with this content and works on its caller's thread; see [`inline`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn inline(copy: inline::Copy) -> Result<Self, OpenError> {
        let connection = copy.into_connection();
        let (epoch, earlier_notices) = open::read_meta(&connection, Path::new(""))?;
        let counters = Arc::new(Counters::default());
        let (notices, waiting) = mpsc::channel(NOTICES_WAITING_MAX);
        let told = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            connection,
            checkpoints: None,
            notices,
            counters: Arc::clone(&counters),
            trim: answers::Trim::default(),
            told: Arc::clone(&told),
            forgotten: 0,
        };
        let inline = Arc::new(Inline::new(writer));
        let shared = Shared {
            readers: Readers::inline(Arc::clone(&inline)),
            inline: Some(inline),
            // Nothing ever waits in it.
            jobs: Some(mpsc::channel(QUEUE_JOBS_MAX).0),
            thread: None,
            notices: Mutex::new(Some(waiting)),
            earlier_notices,
            told,
            counters,
            epoch,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Another one means that the metadata was replaced by other metadata.
    pub fn epoch(&self) -> Uuid {
        self.shared.epoch
    }

    /// Judges the items by core's rule and saves what passes, in one transaction with the answer and the notice. The answer to a
    /// repeated `(device, id)` is the first answer.
    ///
    /// # Errors
    /// [`DbError::NoAccess`], [`DbError::RequestReused`], [`DbError::TooMuch`], or the store failed; nothing was saved then, and the
    /// same commit may be sent again. Refusals of items are no errors.
    pub async fn commit(&self, commit: Commit) -> Result<Arc<CommitOutcome>, DbError> {
        if commit.items.len() > COMMIT_ITEMS_MAX {
            return Err(DbError::TooMuch { what: "items of one commit", limit: COMMIT_ITEMS_MAX });
        }
        if commit.id.len() > REQUEST_ID_BYTES_MAX {
            return Err(DbError::TooMuch { what: "bytes of a request id", limit: REQUEST_ID_BYTES_MAX });
        }
        let key = answers::RequestKey::of(&commit);
        let (reply, answer) = oneshot::channel();
        self.send(Job::Commit(Box::new(CommitJob { commit, key, reply, asked_at: Instant::now(), result: None }))).await?;
        answer.await.map_err(|_| DbError::Unknown)?
    }

    /// The notices to publish: first those that an earlier run left, then each new one right after its transaction. There is one
    /// publisher: `None` from the second call on.
    pub fn outbox(&self) -> Option<Outbox> {
        let waiting = self.shared.notices.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Outbox::new(self.shared.readers.clone(), waiting, self.shared.earlier_notices))
    }

    /// Says that the notices up to this one were published. They are forgotten with some later commit, or when the store is closed;
    /// until then a crash brings them back.
    ///
    /// # Errors
    /// If the store is closed.
    pub async fn outbox_done(&self, up_to: u64) -> Result<(), DbError> {
        self.shared.told.fetch_max(up_to, Ordering::Relaxed);
        self.shared.jobs.as_ref().map(|_| ()).ok_or(DbError::Unknown)
    }

    /// Counters since the store was opened.
    pub fn stats(&self) -> DbStats {
        let depth = self.shared.jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity());
        self.shared.counters.snapshot(depth, QUEUE_JOBS_MAX)
    }

    /// Whether the file can be read and the writer lives.
    ///
    /// # Errors
    /// If not.
    pub async fn check(&self) -> Result<(), DbError> {
        if self.shared.jobs.as_ref().is_none_or(mpsc::Sender::is_closed) {
            return Err(DbError::Unknown);
        }
        self.read(|connection| Ok(connection.query_row("SELECT only FROM meta", [], |_| Ok(()))?)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, DbError> {
        self.shared.readers.read(read).await
    }

    async fn send(&self, job: Job) -> Result<(), DbError> {
        if let Some(inline) = &self.shared.inline {
            inline.write(job);
            return Ok(());
        }
        let jobs = self.shared.jobs.as_ref().ok_or(DbError::Unknown)?;
        jobs.send(job).await.map_err(|_| DbError::Unknown)
    }

    /// Runs `write` in the writer's next transaction; on an error of its own nothing of it stays.
    async fn write<T, E>(&self, write: impl FnMut(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Write(Box::new(Closure { write, result: None, reply }))).await?;
        answer.await.map_err(|_| DbError::Unknown)?
    }
}

/// A [`Write`] made of a function.
struct Closure<F, T, E> {
    write: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Write for Closure<F, T, E>
where
    F: FnMut(&Connection) -> Result<T, E> + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), Undo> {
        let result = (self.write)(connection);
        let done = result.as_ref().map(|_| ()).map_err(|_| Undo);
        self.result = Some(result);
        done
    }

    fn answer(self: Box<Self>, durable: Result<(), DbError>) {
        let result = match durable {
            Ok(()) => self.result.unwrap_or_else(|| Err(DbError::Unknown.into())),
            Err(error) => Err(error.into()),
        };
        let _ = self.reply.send(result);
    }
}
