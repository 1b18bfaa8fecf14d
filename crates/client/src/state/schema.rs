//! The tables of `state.db`, and how it is opened: created, put aside when damaged, refused when newer.

use super::StateError;
use rusqlite::{Connection, OpenFlags};
use stacksync_chunks::crash_point;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FORMAT: i64 = 1;
/// "SSst": tells the file from other databases.
const APPLICATION: i64 = 0x5353_7374;
/// How long one process waits for another one's transaction.
const BUSY_MAX: Duration = Duration::from_secs(10);

const TABLES: &str = "
    CREATE TABLE workspace (
        key        INTEGER PRIMARY KEY,
        id         BLOB NOT NULL UNIQUE,
        name       TEXT NOT NULL,
        is_default INTEGER NOT NULL,
        folder     TEXT NOT NULL,
        identity   TEXT NOT NULL,
        epoch      BLOB NOT NULL,
        revision   INTEGER NOT NULL,
        status     TEXT NOT NULL
    );
    CREATE TABLE item (
        workspace INTEGER NOT NULL,
        id        INTEGER NOT NULL,
        row       BLOB NOT NULL,
        PRIMARY KEY (workspace, id)
    ) WITHOUT ROWID;
    CREATE TABLE log (
        seq       INTEGER PRIMARY KEY,
        workspace INTEGER NOT NULL,
        at_ns     INTEGER NOT NULL,
        path      TEXT NOT NULL,
        verb      TEXT NOT NULL,
        detail    TEXT NOT NULL
    );
    CREATE TABLE flag (
        name  TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// What [`open_or_begin`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The state of an earlier run.
    Kept,
    /// None; it has been begun.
    Begun,
    /// A damaged one: it was put aside here, and a state begun.
    PutAside(PathBuf),
}

/// Opens the state for the process that holds the home, and begins one where there is none that can be used.
///
/// # Errors
/// [`StateError::Newer`], or that the file cannot be used at all.
pub fn open_or_begin(file: &Path) -> Result<(Connection, Opened), StateError> {
    let existed = file.exists();
    match open(file) {
        Ok(connection) => Ok((connection, if existed { Opened::Kept } else { Opened::Begun })),
        Err(StateError::Damaged { .. }) => {
            let aside = put_aside(file)?;
            Ok((open(file)?, Opened::PutAside(aside)))
        }
        Err(error @ (StateError::Newer { .. } | StateError::Failed { .. })) => Err(error),
    }
}

/// Moves a database that cannot be used out of the way; only the last such one is kept.
pub(super) fn put_aside(file: &Path) -> Result<PathBuf, StateError> {
    let aside = file.with_extension("db.damaged");
    crash_point!("state-put-aside.before-rename");
    fs::rename(file, &aside).map_err(|error| StateError::Damaged { file: file.to_owned(), problem: error.to_string() })?;
    crash_point!("state-put-aside.after-rename");
    for extension in ["db-wal", "db-shm"] {
        // Without its database a log of changes says nothing.
        let _ = fs::remove_file(file.with_extension(extension));
    }
    Ok(aside)
}

fn open(file: &Path) -> Result<Connection, StateError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(file, flags)?;
    if format(&connection, file)? == 0 {
        create(&connection).map_err(|source| StateError::from_sqlite(file, source))?;
    }
    check(&connection, file)?;
    Ok(connection)
}

/// Opens an existing state beside the process that holds it; `None` where there is none.
pub(super) fn open_beside(file: &Path) -> Result<Option<Connection>, StateError> {
    if !file.exists() {
        return Ok(None);
    }
    let connection = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    if format(&connection, file)? == 0 {
        return Ok(None);
    }
    check(&connection, file)?;
    Ok(Some(connection))
}

fn connect(file: &Path, flags: OpenFlags) -> Result<Connection, StateError> {
    let connect = || {
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // After a power cut the state may be some moments old, never broken; see the module's head for why that is enough.
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.pragma_update(None, "temp_store", "memory")?;
        Ok(connection)
    };
    connect().map_err(|source| StateError::from_sqlite(file, source))
}

fn format(connection: &Connection, file: &Path) -> Result<i64, StateError> {
    let format = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    format.map_err(|source| StateError::from_sqlite(file, source))
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    crash_point!("state-create.before-commit");
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;"
    ))?;
    crash_point!("state-create.after-commit");
    Ok(())
}

fn check(connection: &Connection, file: &Path) -> Result<(), StateError> {
    let found = format(connection, file)?;
    let application: i64 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|source| StateError::from_sqlite(file, source))?;
    if application != APPLICATION {
        return Err(StateError::Damaged { file: file.to_owned(), problem: "it is another program's".into() });
    }
    if found > FORMAT {
        return Err(StateError::Newer { file: file.to_owned(), found, known: FORMAT });
    }
    Ok(())
}
