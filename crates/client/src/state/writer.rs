//! Writing the state: one thread, everything that waits in one transaction, in the order given.
//!
//! What cannot be written (the disk is full) is tried again until it can: the queue is bounded, so the engine waits rather than forgets.

use super::reader::{self, Loaded};
use super::{Flag, LOG_LINES_MAX, Opened, StateError, WorkspaceEntry, codec, schema};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use stacksync_chunks::crash_point;
use stacksync_core::engine::{LogEntry, StateDelta};
use stacksync_core::values::WorkspaceId;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Writes that may wait for the thread.
const QUEUE_MAX: usize = 1_024;
/// Writes that one transaction takes.
const GROUP_MAX: usize = 1_024;
const RETRY_DELAY: Duration = Duration::from_secs(1);

enum Write {
    Delta(WorkspaceId, StateDelta),
    Log(WorkspaceId, i64, LogEntry),
    Status(WorkspaceId, String),
    Workspace(WorkspaceEntry),
    Forget(WorkspaceId),
    Flag(Flag, Option<i64>),
    Flush(oneshot::Sender<()>),
}

/// Why the state is not being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It is tried again.
    NotNow(String),
    /// The database is broken; the run must end, the next one begins afresh.
    Damaged(String),
}

/// The state, held by the one process that keeps it.
pub struct StateWriter {
    file: PathBuf,
    queue: mpsc::Sender<Write>,
    trouble: watch::Receiver<Option<WriteError>>,
    thread: Option<JoinHandle<()>>,
}

/// A state that was opened.
pub struct OpenState {
    /// Writes it from now on.
    pub writer: StateWriter,
    /// What was found.
    pub opened: Opened,
    /// Everything in it, the default workspace first.
    pub workspaces: Vec<(WorkspaceEntry, Loaded)>,
}

impl StateWriter {
    /// Opens (or begins) the state, reads everything in it, and starts the thread that writes it.
    ///
    /// A database in which something makes no sense is put aside, like one that cannot be opened.
    ///
    /// # Errors
    /// [`StateError::Newer`], or that the file cannot be used at all.
    pub fn open(file: &Path) -> Result<OpenState, StateError> {
        let (mut connection, mut opened) = schema::open_or_begin(file)?;
        let workspaces = match read_all(&connection, file) {
            Ok(workspaces) => workspaces,
            Err(StateError::Damaged { .. }) => {
                drop(connection);
                opened = Opened::PutAside(schema::put_aside(file)?);
                connection = schema::open_or_begin(file)?.0;
                Vec::new()
            }
            Err(error @ (StateError::Newer { .. } | StateError::Failed { .. })) => return Err(error),
        };
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (tell, trouble) = watch::channel(None);
        let thread = std::thread::Builder::new()
            .name("state".into())
            .spawn(move || write_all(connection, waiting, &tell))
            .map_err(|error| StateError::Damaged { file: file.to_owned(), problem: error.to_string() })?;
        let writer = Self { file: file.to_owned(), queue, trouble, thread: Some(thread) };
        Ok(OpenState { writer, opened, workspaces })
    }

    /// The database.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Why the last write did not succeed; `None` when it did.
    pub fn trouble(&self) -> watch::Receiver<Option<WriteError>> {
        self.trouble.clone()
    }

    /// Makes sure that the workspace is known under this name. Must come before anything else about it. Cursor and status stay.
    pub async fn workspace(&self, entry: WorkspaceEntry) {
        self.put(Write::Workspace(entry)).await;
    }

    /// Forgets the workspace and all its items.
    pub async fn forget(&self, id: WorkspaceId) {
        self.put(Write::Forget(id)).await;
    }

    /// Saves one step of a workspace's state.
    pub async fn remember(&self, id: WorkspaceId, delta: StateDelta) {
        self.put(Write::Delta(id, delta)).await;
    }

    /// Adds a line to the log.
    pub async fn log(&self, id: WorkspaceId, at_ns: i64, entry: LogEntry) {
        self.put(Write::Log(id, at_ns, entry)).await;
    }

    /// Keeps what `status` shall show.
    pub async fn status(&self, id: WorkspaceId, json: String) {
        self.put(Write::Status(id, json)).await;
    }

    /// Sets or takes back a flag.
    pub async fn flag(&self, flag: Flag, value: Option<i64>) {
        self.put(Write::Flag(flag, value)).await;
    }

    /// Waits until everything so far is in the database.
    pub async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        self.put(Write::Flush(done)).await;
        let _ = wait.await;
    }

    /// After damage the thread is gone and nothing is kept any more; the run is about to end.
    async fn put(&self, write: Write) {
        let _ = self.queue.send(write).await;
    }

    /// Writes what is left and ends the thread. Blocks for as long as that takes.
    pub fn close(mut self) {
        let (closed, _) = mpsc::channel(1);
        self.queue = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read_all(connection: &Connection, file: &Path) -> Result<Vec<(WorkspaceEntry, Loaded)>, StateError> {
    let entries = reader::workspaces(connection).map_err(|source| StateError::from_sqlite(file, source))?;
    entries.into_iter().map(|entry| reader::load(connection, file, entry.id).map(|loaded| (entry, loaded))).collect()
}

fn write_all(mut connection: Connection, mut waiting: mpsc::Receiver<Write>, tell: &watch::Sender<Option<WriteError>>) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while waiting.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
        while let Err(error) = write_group(&mut connection, &group) {
            match StateError::from_sqlite(Path::new(""), error) {
                StateError::Damaged { problem, .. } => {
                    tell.send_replace(Some(WriteError::Damaged(problem)));
                    return;
                }
                StateError::Failed { source, .. } => tell.send_replace(Some(WriteError::NotNow(source.to_string()))),
                StateError::Newer { .. } => return,
            };
            if waiting.is_closed() {
                return;
            }
            std::thread::sleep(RETRY_DELAY);
        }
        tell.send_if_modified(|trouble| trouble.take().is_some());
        for write in group.drain(..) {
            if let Write::Flush(done) = write {
                let _ = done.send(());
            }
        }
    }
}

fn write_group(connection: &mut Connection, group: &[Write]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut logged = false;
    for write in group {
        match write {
            Write::Delta(id, delta) => write_delta(&transaction, *id, delta)?,
            Write::Log(id, at_ns, entry) => {
                logged = true;
                write_log(&transaction, *id, *at_ns, entry)?;
            }
            Write::Status(id, json) => {
                let mut update = transaction.prepare_cached("UPDATE workspace SET status = ?2 WHERE id = ?1")?;
                update.execute(params![id.0.as_bytes(), json])?;
            }
            Write::Workspace(entry) => write_workspace(&transaction, entry)?,
            Write::Forget(id) => forget(&transaction, *id)?,
            Write::Flag(flag, value) => reader::set_flag(&transaction, *flag, *value)?,
            Write::Flush(_) => {}
        }
    }
    if logged {
        transaction.execute("DELETE FROM log WHERE seq <= (SELECT max(seq) FROM log) - ?1", [LOG_LINES_MAX])?;
    }
    crash_point!("state.before-commit");
    transaction.commit()?;
    crash_point!("state.after-commit");
    Ok(())
}

/// `None` for a workspace that was forgotten while something about it was still waiting.
fn key(transaction: &Transaction<'_>, id: WorkspaceId) -> rusqlite::Result<Option<i64>> {
    let mut select = transaction.prepare_cached("SELECT key FROM workspace WHERE id = ?1")?;
    select.query_row([id.0.as_bytes()], |row| row.get(0)).optional()
}

fn write_delta(transaction: &Transaction<'_>, id: WorkspaceId, delta: &StateDelta) -> rusqlite::Result<()> {
    let Some(key) = key(transaction, id)? else { return Ok(()) };
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO item VALUES (?1, ?2, ?3)")?;
    let mut remove = transaction.prepare_cached("DELETE FROM item WHERE workspace = ?1 AND id = ?2")?;
    for (item, row) in &delta.rows {
        match row {
            Some(row) => put.execute(params![key, item.get(), codec::encode(row)])?,
            None => remove.execute(params![key, item.get()])?,
        };
    }
    if let Some(cursor) = delta.cursor {
        let mut update = transaction.prepare_cached("UPDATE workspace SET epoch = ?2, revision = ?3 WHERE key = ?1")?;
        update.execute(params![key, cursor.epoch.to_be_bytes(), cursor.revision.0 as i64])?;
    }
    Ok(())
}

fn write_log(transaction: &Transaction<'_>, id: WorkspaceId, at_ns: i64, entry: &LogEntry) -> rusqlite::Result<()> {
    let Some(key) = key(transaction, id)? else { return Ok(()) };
    let mut put =
        transaction.prepare_cached("INSERT INTO log (workspace, at_ns, path, verb, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    put.execute(params![key, at_ns, entry.path.to_string(), entry.verb, entry.detail])?;
    Ok(())
}

fn write_workspace(transaction: &Transaction<'_>, entry: &WorkspaceEntry) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO workspace (id, name, is_default, folder, identity, epoch, revision, status) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, '')
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, is_default = excluded.is_default,
             folder = excluded.folder, identity = excluded.identity",
        params![entry.id.0.as_bytes(), entry.name, entry.is_default, entry.folder, entry.identity, [0u8; 16]],
    )?;
    Ok(())
}

fn forget(transaction: &Transaction<'_>, id: WorkspaceId) -> rusqlite::Result<()> {
    let Some(key) = key(transaction, id)? else { return Ok(()) };
    transaction.execute("DELETE FROM item WHERE workspace = ?1", [key])?;
    transaction.execute("DELETE FROM log WHERE workspace = ?1", [key])?;
    transaction.execute("DELETE FROM workspace WHERE key = ?1", [key])?;
    Ok(())
}
