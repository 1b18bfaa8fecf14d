//! The embedded store: one SQLite file.
//!
//! One thread writes; whatever waits for it shares one transaction and one fsync (`writer`, `batch`), and another one copies the
//! write-ahead log back beside it (`checkpoint`). Reads go through a few connections of their own (`readers`). Other processes may
//! have the file open: nothing that they can change is remembered from one transaction to the next.

mod accounts;
mod answers;
mod batch;
mod bundles;
mod changes;
mod checkpoint;
pub mod inline;
pub(in crate::db) mod open;
mod outbox;
mod readers;
mod rows;
#[cfg(test)]
mod tests;
mod view;
mod workspaces;
mod writer;

use super::columns::signed;
use super::request::RequestKey;
use super::stats::Counters;
use super::store::{Answer, NoticeSource, Store};
use super::{
    Access, ChangedItem, Changes, Commit, CommitOutcome, CommitResult, DbError, DbStats, Device, DeviceSeen, Made, Membership,
    NewDevice, NewUser, Notice, NoticeContent, OpenError, RedeemError, Role, TreeItem, UnixMs, User, UserKey, WorkspaceView,
};
use checkpoint::Checkpoints;
use futures_util::future::BoxFuture;
use inline::{Copy, CopyError, Inline};
use outbox::Outbox;
use readers::Readers;
use rusqlite::Connection;
use stacksync_core::values::{DeviceId, ItemId, Name, Revision, UserId, WorkspaceId};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;
use workspaces::NewWorkspace;
use writer::{CommitJob, Job, QUEUE_JOBS_MAX, Undo, Write, Writer};

/// Notices that wait in memory for the publisher; what does not fit he reads from the file.
const NOTICES_WAITING_MAX: usize = 4_096;

/// A SQLite file that is open. When it is dropped, what was accepted is written and the file is closed.
pub(super) struct Sqlite {
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

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already answered everyone who waited.
            let _ = thread.join();
        }
    }
}

impl Sqlite {
    /// Opens the file; creates it, or brings it to this program's format, as needed.
    pub(super) fn open(file: &Path) -> Result<Self, OpenError> {
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
        Ok(Self { readers, inline: None, jobs: Some(jobs), thread: Some(thread), notices, earlier_notices, told, counters, epoch })
    }

    /// A store in memory that begins with this content; see [`inline`].
    pub(super) fn inline(copy: Copy) -> Result<Self, OpenError> {
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
        Ok(Self {
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
        })
    }

    async fn send(&self, job: Job) -> Result<(), DbError> {
        if let Some(inline) = &self.inline {
            inline.write(job);
            return Ok(());
        }
        let jobs = self.jobs.as_ref().ok_or(DbError::Unknown)?;
        jobs.send(job).await.map_err(|_| DbError::Unknown)
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> Result<T, DbError> + Send + 'static) -> Answer<'_, T> {
        Box::pin(self.readers.read(read))
    }

    /// Runs `write` in the writer's next transaction; on an error of its own nothing of it stays.
    fn write<T, E>(&self, write: impl FnMut(&Connection) -> Result<T, E> + Send + 'static) -> BoxFuture<'_, Result<T, E>>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.send(Job::Write(Box::new(Closure { write, result: None, reply }))).await?;
            answer.await.map_err(|_| DbError::Unknown)?
        })
    }

    fn set(&self, user: UserId, sql: &'static str, value: impl rusqlite::ToSql + Send + 'static) -> Answer<'_, ()> {
        self.write(move |connection| accounts::set(connection, user, sql, &value))
    }
}

impl Store for Sqlite {
    fn epoch(&self) -> Uuid {
        self.epoch
    }

    fn stats(&self) -> DbStats {
        let depth = self.jobs.as_ref().map_or(0, |jobs| jobs.max_capacity() - jobs.capacity());
        self.counters.snapshot(depth, QUEUE_JOBS_MAX)
    }

    fn copy(&self) -> Result<Option<Copy>, CopyError> {
        self.inline.as_ref().map(|inline| inline.copy()).transpose()
    }

    fn check(&self) -> Answer<'_, ()> {
        if self.jobs.as_ref().is_none_or(mpsc::Sender::is_closed) {
            return Box::pin(async { Err(DbError::Unknown) });
        }
        self.read(|connection| Ok(connection.query_row("SELECT only FROM meta", [], |_| Ok(()))?))
    }

    fn commit(&self, commit: Commit, key: RequestKey) -> BoxFuture<'_, CommitResult> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.send(Job::Commit(Box::new(CommitJob { commit, key, reply, asked_at: Instant::now(), result: None }))).await?;
            answer.await.map_err(|_| DbError::Unknown)?
        })
    }

    fn changes(&self, workspace: WorkspaceId, since: Revision, limit: u32) -> Answer<'_, Changes> {
        self.read(move |connection| changes::changes(connection, workspace, since, limit))
    }

    fn tree(&self, workspace: WorkspaceId) -> Answer<'_, Vec<TreeItem>> {
        self.read(move |connection| changes::tree(connection, workspace))
    }

    fn bodies(&self, workspace: WorkspaceId) -> Answer<'_, Vec<Vec<u8>>> {
        self.read(move |connection| changes::bodies(connection, workspace))
    }

    fn item(&self, workspace: WorkspaceId, id: ItemId) -> Answer<'_, Option<ChangedItem>> {
        self.read(move |connection| changes::item(connection, workspace, id))
    }

    fn outbox(&self) -> Option<Box<dyn NoticeSource>> {
        let waiting = self.notices.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(Box::new(Outbox::new(self.readers.clone(), waiting, self.earlier_notices)))
    }

    /// They are forgotten with some later commit, or when the store is closed; until then a crash brings them back.
    fn outbox_done(&self, up_to: u64) -> Answer<'_, ()> {
        self.told.fetch_max(up_to, Ordering::Relaxed);
        let open = self.jobs.as_ref().map(|_| ()).ok_or(DbError::Unknown);
        Box::pin(async move { open })
    }

    fn add_user(&self, new: NewUser) -> Answer<'_, User> {
        self.write(move |connection| accounts::add_user(connection, &new))
    }

    fn user(&self, key: UserKey) -> Answer<'_, Option<User>> {
        self.read(move |connection| accounts::user(connection, &key))
    }

    fn users(&self) -> Answer<'_, Vec<User>> {
        self.read(accounts::users)
    }

    fn set_quota(&self, user: UserId, quota_limit: u64) -> Answer<'_, ()> {
        self.set(user, "UPDATE users SET quota_limit = ?2 WHERE id = ?1", signed(quota_limit))
    }

    fn set_password(&self, user: UserId, phc: Option<String>) -> Answer<'_, ()> {
        self.set(user, "UPDATE users SET password = ?2 WHERE id = ?1", phc)
    }

    fn set_access(&self, user: UserId, access: Access) -> Answer<'_, ()> {
        self.set(user, "UPDATE users SET disabled = ?2 WHERE id = ?1", access == Access::Disabled)
    }

    fn remove_user(&self, user: UserId) -> Answer<'_, Vec<WorkspaceId>> {
        self.write(move |connection| accounts::remove_user(connection, user))
    }

    fn add_join_code(&self, user: UserId, code_hash: [u8; 32], expires_at: UnixMs) -> Answer<'_, ()> {
        self.write(move |connection| accounts::add_join_code(connection, user, &code_hash, expires_at))
    }

    fn redeem_join_code(
        &self,
        code_hash: [u8; 32],
        device: NewDevice,
        token_hash: [u8; 32],
    ) -> BoxFuture<'_, Result<(User, Device), RedeemError>> {
        self.write(move |connection| accounts::redeem(connection, &code_hash, &device, &token_hash))
    }

    fn device_by_token(&self, token_hash: [u8; 32]) -> Answer<'_, Option<(User, Device)>> {
        self.read(move |connection| accounts::device_by_token(connection, &token_hash))
    }

    fn device(&self, device: DeviceId) -> Answer<'_, Option<(User, Device)>> {
        self.read(move |connection| accounts::device(connection, device))
    }

    fn turned_away(&self, devices: Vec<DeviceId>) -> Answer<'_, Vec<DeviceId>> {
        self.read(move |connection| accounts::turned_away(connection, devices))
    }

    fn devices(&self, user: UserId) -> Answer<'_, Vec<Device>> {
        self.read(move |connection| accounts::devices(connection, user))
    }

    fn revoke_device(&self, device: DeviceId) -> Answer<'_, ()> {
        self.write(move |connection| accounts::revoke(connection, device))
    }

    fn touch_device(&self, device: DeviceId, seen: DeviceSeen) -> Answer<'_, ()> {
        self.write(move |connection| accounts::touch(connection, device, &seen))
    }

    fn membership(&self, user: UserId, workspace: WorkspaceId) -> Answer<'_, Option<Membership>> {
        self.read(move |connection| workspaces::membership(connection, user, workspace))
    }

    fn members(&self, workspace: WorkspaceId) -> Answer<'_, Vec<UserId>> {
        self.read(move |connection| workspaces::members(connection, workspace))
    }

    fn workspaces_of(&self, user: UserId) -> Answer<'_, Vec<WorkspaceView>> {
        self.read(move |connection| workspaces::views(connection, user))
    }

    fn add_workspace(&self, user: UserId, name: Name, parent: Option<ItemId>) -> Answer<'_, WorkspaceView> {
        let new = NewWorkspace::Further { name, parent };
        self.write(move |connection| workspaces::add(connection, user, &new))
    }

    fn update_membership(
        &self,
        user: UserId,
        workspace: WorkspaceId,
        name: Name,
        parent: Option<ItemId>,
        request_id: Option<String>,
    ) -> Answer<'_, WorkspaceView> {
        self.write(move |connection| workspaces::update(connection, user, workspace, (&name, parent), request_id.clone()))
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
