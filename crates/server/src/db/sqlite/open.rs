//! Opening the metadata file: connection settings, recognition, migrations.
//!
//! Migrations are plain SQL files compiled into the program, counted by `user_version`: one integer in the file's header that a
//! look at the file shows and that changes in the same transaction as the schema. They only ever go forward, and a file that a
//! newer program wrote is never touched.

use super::OpenError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use stacksync_chunks::crash_point;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// Marks the file as ours: "SSmd".
const APPLICATION_ID: i64 = 0x5353_6d64;
/// Schema changes in order; the file's format is how many of them it has seen.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql")];
/// The newest format that this program knows.
pub(super) const FORMAT: i64 = MIGRATIONS.len() as i64;

/// How long one program waits for another one's transaction.
const LOCK_WAIT: Duration = Duration::from_secs(20);
/// Page cache of the writing connection.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// Page cache of each reading connection.
const READER_CACHE_KIB: i64 = 8 * 1024;
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 128;

/// Opens for writing; creates and migrates as needed.
pub(in crate::db) fn open_writer(file: &Path) -> Result<Connection, OpenError> {
    let open = || -> Result<Connection, OpenTrouble> {
        let mut connection =
            Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | NO_MUTEX)?;
        settings(&connection, WRITER_CACHE_KIB)?;
        // Before anything is written: what is not ours is left as it is.
        migrations_seen(&connection.transaction()?)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        migrate(&mut connection)?;
        Ok(connection)
    };
    open().map_err(|trouble| trouble.at(file))
}

/// Opens for reading a file that [`open_writer`] has opened before.
pub(super) fn open_reader(file: &Path) -> Result<Connection, OpenError> {
    let open = || -> Result<Connection, OpenTrouble> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE | NO_MUTEX)?;
        settings(&connection, READER_CACHE_KIB)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    };
    open().map_err(|trouble| trouble.at(file))
}

/// An empty store in memory.
pub(super) fn open_in_memory() -> rusqlite::Result<Connection> {
    let mut connection = Connection::open_in_memory()?;
    settings_in_memory(&connection)?;
    let transaction = connection.transaction()?;
    create(&transaction)?;
    transaction.commit()?;
    Ok(connection)
}

/// The settings of a connection to a store in memory.
pub(super) fn settings_in_memory(connection: &Connection) -> rusqlite::Result<()> {
    settings(connection, READER_CACHE_KIB)
}

/// A connection is used by one thread at a time.
const NO_MUTEX: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

fn settings(connection: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    // Otherwise the planner looks at the values that are bound, and prepares joins and pages again for every other value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -cache_kib)
}

/// How many migrations a file of ours has seen; 0 if it is empty. All looks are at one state: another process may be making the file.
fn migrations_seen(connection: &Transaction<'_>) -> Result<usize, OpenTrouble> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let owner: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match usize::try_from(found) {
        Ok(0) if owner == 0 && tables == 0 => Ok(0),
        _ if owner != APPLICATION_ID => Err(OpenTrouble::NotOurs),
        _ if found > FORMAT => Err(OpenTrouble::Newer(found)),
        Ok(seen @ 1..) => Ok(seen),
        _ => Err(OpenTrouble::NotOurs),
    }
}

fn migrate(connection: &mut Connection) -> Result<(), OpenTrouble> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Looked at again: another process may have been faster.
    match migrations_seen(&transaction)? {
        0 => create(&transaction)?,
        seen => apply(&transaction, seen)?,
    }
    crash_point!("db-open.before-commit");
    transaction.commit()?;
    crash_point!("db-open.after-commit");
    Ok(())
}

fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    apply(transaction, 0)?;
    let epoch = Uuid::new_v4();
    transaction.execute("INSERT INTO meta (only, epoch, last_notice) VALUES (1, ?1, 0)", [epoch.as_bytes().as_slice()])?;
    Ok(())
}

fn apply(transaction: &Transaction<'_>, seen: usize) -> rusqlite::Result<()> {
    for sql in MIGRATIONS.iter().skip(seen) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)
}

/// What went wrong, before the file's path is added.
enum OpenTrouble {
    Newer(i64),
    NotOurs,
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenTrouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl OpenTrouble {
    fn at(self, file: &Path) -> OpenError {
        let file = file.to_owned();
        match self {
            Self::Newer(found) => OpenError::Newer { file, found, supported: FORMAT },
            Self::NotOurs => OpenError::Damaged { file, reason: "it was written by another program".into() },
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    OpenError::Damaged { file, reason: error.to_string() }
                }
                _ => OpenError::Io { file, reason: error.to_string() },
            },
        }
    }
}

/// The epoch, and the number of the last notice.
pub(super) fn read_meta(connection: &Connection, file: &Path) -> Result<(Uuid, u64), OpenError> {
    let sql = "SELECT epoch, last_notice FROM meta";
    let read = connection.query_row(sql, [], |row| Ok((super::rows::uuid(row, 0)?, super::rows::unsigned(row, 1)?)));
    read.map_err(|error| OpenTrouble::Sqlite(error).at(file))
}
