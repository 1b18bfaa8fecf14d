//! Reading the state: everything at the start of a run, and what commands beside a run ask for.

use super::{Flag, StateError, codec, schema};
use rusqlite::{Connection, OptionalExtension, params};
use stacksync_core::engine::{Cursor, Row};
use stacksync_core::values::{ItemId, Revision, WorkspaceId};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What is remembered of one workspace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// How far it was followed.
    pub cursor: Cursor,
    /// Its items.
    pub rows: Vec<(ItemId, Row)>,
}

/// A workspace that this device keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceEntry {
    /// Which.
    pub id: WorkspaceId,
    /// The user's name for it.
    pub name: String,
    /// Whether it is the user's default workspace, which is the root folder itself.
    pub is_default: bool,
    /// Name of its folder in the root folder; empty for the default workspace.
    pub folder: String,
    /// Which folder that was when it was made, as JSON; empty for the default workspace.
    pub identity: String,
    /// How far it was followed.
    pub cursor: Cursor,
    /// What the running process said last, as JSON; empty if it never did.
    pub status: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// In which workspace.
    pub workspace: WorkspaceId,
    /// When, in nanoseconds since 1970.
    pub at_ns: i64,
    /// To which item.
    pub path: String,
    /// What.
    pub verb: String,
    /// More, for people.
    pub detail: String,
}

/// A connection to the state for commands that run beside (or without) the process that keeps it.
pub struct StateReader {
    file: PathBuf,
    connection: Connection,
}

impl StateReader {
    /// Opens it; `None` where there is no state yet.
    ///
    /// # Errors
    /// When it is newer, damaged or cannot be read.
    pub fn open(file: &Path) -> Result<Option<Self>, StateError> {
        Ok(schema::open_beside(file)?.map(|connection| Self { file: file.to_owned(), connection }))
    }

    /// The workspaces, the default one first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn workspaces(&self) -> Result<Vec<WorkspaceEntry>, StateError> {
        self.ask(workspaces)
    }

    /// Everything about one workspace; empty if it is not known.
    ///
    /// # Errors
    /// When the database cannot be read, or a row makes no sense.
    pub fn load(&self, workspace: WorkspaceId) -> Result<Loaded, StateError> {
        load(&self.connection, &self.file, workspace)
    }

    /// The newest lines of the log that are about this path or what is below it (an empty path: all), oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn log(&self, path: &str, lines_max: u32) -> Result<Vec<LogLine>, StateError> {
        self.ask(|connection| log(connection, path, lines_max))
    }

    /// The value of a flag, if it is set.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn flag(&self, flag: Flag) -> Result<Option<i64>, StateError> {
        self.ask(|connection| {
            connection
                .prepare_cached("SELECT value FROM flag WHERE name = ?1")?
                .query_row([flag.word()], |row| row.get(0))
                .optional()
        })
    }

    /// Every flag that is set.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn flags(&self) -> Result<Vec<(Flag, i64)>, StateError> {
        let mut set = Vec::new();
        for flag in Flag::ALL {
            if let Some(value) = self.flag(flag)? {
                set.push((flag, value));
            }
        }
        Ok(set)
    }

    /// Sets or takes back a flag. The running process sees it within a second.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_flag(&self, flag: Flag, value: Option<i64>) -> Result<(), StateError> {
        self.ask(|connection| set_flag(connection, flag, value))
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        question(&self.connection).map_err(|source| StateError::from_sqlite(&self.file, source))
    }
}

pub(super) fn set_flag(connection: &Connection, flag: Flag, value: Option<i64>) -> rusqlite::Result<()> {
    match value {
        Some(value) => connection.execute("INSERT OR REPLACE INTO flag VALUES (?1, ?2)", params![flag.word(), value])?,
        None => connection.execute("DELETE FROM flag WHERE name = ?1", [flag.word()])?,
    };
    Ok(())
}

pub(super) fn workspaces(connection: &Connection) -> rusqlite::Result<Vec<WorkspaceEntry>> {
    let sql = "SELECT id, name, is_default, folder, identity, epoch, revision, status FROM workspace
               ORDER BY is_default DESC, name, key";
    let mut statement = connection.prepare(sql)?;
    let entries = statement.query_map([], |row| {
        Ok(WorkspaceEntry {
            id: WorkspaceId(Uuid::from_bytes(row.get(0)?)),
            name: row.get(1)?,
            is_default: row.get(2)?,
            folder: row.get(3)?,
            identity: row.get(4)?,
            cursor: Cursor { epoch: u128::from_be_bytes(row.get(5)?), revision: Revision(row.get::<_, i64>(6)? as u64) },
            status: row.get(7)?,
        })
    })?;
    entries.collect()
}

pub(super) fn load(connection: &Connection, file: &Path, workspace: WorkspaceId) -> Result<Loaded, StateError> {
    let sqlite = |source| StateError::from_sqlite(file, source);
    let found = connection
        .query_row("SELECT key, epoch, revision FROM workspace WHERE id = ?1", [workspace.0.as_bytes()], |row| {
            let cursor = Cursor { epoch: u128::from_be_bytes(row.get(1)?), revision: Revision(row.get::<_, i64>(2)? as u64) };
            Ok((row.get::<_, i64>(0)?, cursor))
        })
        .optional()
        .map_err(sqlite)?;
    let Some((key, cursor)) = found else { return Ok(Loaded::default()) };
    let mut statement = connection.prepare("SELECT id, row FROM item WHERE workspace = ?1").map_err(sqlite)?;
    let mut answers = statement.query([key]).map_err(sqlite)?;
    let mut rows = Vec::new();
    let damaged = |problem: &dyn std::fmt::Display| StateError::Damaged { file: file.to_owned(), problem: problem.to_string() };
    while let Some(answer) = answers.next().map_err(sqlite)? {
        let id = answer.get(0).ok().and_then(ItemId::new).ok_or_else(|| damaged(&"an item without an id"))?;
        let bytes = answer.get_ref(1).map_err(sqlite)?.as_blob().map_err(|error| damaged(&error))?;
        rows.push((id, codec::decode(id, bytes).map_err(|error| damaged(&error))?));
    }
    Ok(Loaded { cursor, rows })
}

fn log(connection: &Connection, path: &str, lines_max: u32) -> rusqlite::Result<Vec<LogLine>> {
    let sql = "SELECT workspace.id, at_ns, path, verb, detail FROM log JOIN workspace ON workspace.key = log.workspace
               WHERE ?1 = '' OR path = ?1 OR substr(path, 1, length(?1) + 1) = ?1 || '/'
               ORDER BY seq DESC LIMIT ?2";
    let mut statement = connection.prepare(sql)?;
    let lines = statement.query_map(params![path, lines_max], |row| {
        Ok(LogLine {
            workspace: WorkspaceId(Uuid::from_bytes(row.get(0)?)),
            at_ns: row.get(1)?,
            path: row.get(2)?,
            verb: row.get(3)?,
            detail: row.get(4)?,
        })
    })?;
    let mut lines = lines.collect::<rusqlite::Result<Vec<_>>>()?;
    lines.reverse();
    Ok(lines)
}
