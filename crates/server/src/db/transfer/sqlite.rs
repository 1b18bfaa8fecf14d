//! An SQLite file as a source and as a target.

use super::{BATCH_ROWS, Cell, Part, Parts, Place, Report, Row, Summary, TABLES, Table, TransferError, compare};
use crate::db::sqlite::open;
use crate::db::{DbError, OpenError};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Transaction, TransactionBehavior, params_from_iter};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use uuid::Uuid;

fn failed(file: &Path, error: impl Into<DbError>) -> TransferError {
    TransferError::Failed { place: file.display().to_string(), error: error.into() }
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
}

/// Reads the file on a thread of its own.
pub(super) fn send(file: &Path, parts: mpsc::Sender<Part>) -> Result<(), TransferError> {
    if !file.exists() {
        return Err(TransferError::Missing(file.display().to_string()));
    }
    let mut connection = open::open_writer(file)?;
    let file = file.to_owned();
    std::thread::spawn(move || {
        if let Err(error) = read(&mut connection, &parts) {
            // Whoever does not listen any more has failed himself.
            let _ = parts.blocking_send(Part::Failed(failed(&file, error)));
        }
    });
    Ok(())
}

fn read(connection: &mut Connection, parts: &mpsc::Sender<Part>) -> Result<(), DbError> {
    let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let epoch = snapshot.query_row("SELECT epoch FROM meta", [], |row| row.get::<_, Vec<u8>>(0))?;
    let epoch = Uuid::from_slice(&epoch).map_err(|_| DbError::Damaged("its epoch is not 16 bytes".into()))?;
    let _ = parts.blocking_send(Part::Epoch(epoch));
    for (at, table) in TABLES.iter().enumerate() {
        visit(&snapshot, table, |rows| parts.blocking_send(Part::Rows(at, rows)).is_ok())?;
    }
    Ok(())
}

/// Hands the rows over in batches, until `take` says that it is enough.
fn visit(snapshot: &Transaction<'_>, table: &Table, mut take: impl FnMut(Vec<Row>) -> bool) -> Result<(), DbError> {
    let mut statement = snapshot.prepare(&format!("SELECT {} FROM {} ORDER BY {}", names(table), table.name, table.order.0))?;
    let mut found = statement.query([])?;
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    while let Some(row) = found.next()? {
        batch.push((0..table.columns.len()).map(|at| cell(row.get_ref(at)?)).collect::<Result<Row, DbError>>()?);
        if batch.len() == BATCH_ROWS && !take(std::mem::take(&mut batch)) {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        take(batch);
    }
    Ok(())
}

fn cell(value: ValueRef<'_>) -> Result<Cell, DbError> {
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(_) => return Err(DbError::Damaged("a fraction where there are none".into())),
        ValueRef::Text(text) => {
            Cell::Text(String::from_utf8(text.to_vec()).map_err(|_| DbError::Damaged("text that is not UTF-8".into()))?)
        }
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    })
}

/// Writes a file beside the target, reads it back, and puts it in its place.
pub(super) async fn receive(file: &Path, parts: Parts) -> Result<Report, TransferError> {
    if file.exists() {
        return Err(TransferError::NotEmpty(file.display().to_string()));
    }
    let new = beside(file);
    remove(&new);
    let done = fill(&new, parts).await;
    let placed = done.and_then(|report| {
        std::fs::rename(&new, file)
            .and_then(|()| file.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all()))
            .map_err(|error| OpenError::Io { file: file.to_owned(), reason: error.to_string() })?;
        Ok(report)
    });
    remove(&new);
    placed
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".copy");
    name.into()
}

fn remove(file: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        // What is not there need not go.
        let _ = std::fs::remove_file(name);
    }
}

async fn fill(file: &Path, mut parts: Parts) -> Result<Report, TransferError> {
    let mut connection = open::open_writer(file)?;
    let wrong = |error: rusqlite::Error| failed(file, error);
    let mut written = vec![Summary::default(); TABLES.len()];
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
    while let Some(part) = parts.recv().await {
        match part {
            Part::Failed(error) => return Err(error),
            Part::Epoch(epoch) => {
                transaction.execute("UPDATE meta SET epoch = ?1", [epoch.as_bytes().as_slice()]).map_err(wrong)?;
            }
            Part::Rows(at, rows) => {
                if let (Some(table), Some(summary)) = (TABLES.get(at), written.get_mut(at)) {
                    insert(&transaction, table, &rows).map_err(wrong)?;
                    summary.add(&rows);
                }
            }
        }
    }
    transaction.execute("UPDATE meta SET last_notice = (SELECT coalesce(max(id), 0) FROM notices)", []).map_err(wrong)?;
    transaction.commit().map_err(wrong)?;
    let report =
        compare(&Place::Sqlite(file.to_owned()), &written, &summaries(&mut connection).map_err(|error| failed(file, error))?)?;
    // One file, durable, without a log beside it.
    connection.pragma_update(None, "journal_mode", "delete").map_err(wrong)?;
    Ok(report)
}

/// Writes rows.
pub(in crate::db) fn insert(connection: &Connection, table: &Table, rows: &[Row]) -> rusqlite::Result<()> {
    let holes = vec!["?"; table.columns.len()].join(", ");
    let mut statement = connection.prepare_cached(&format!("INSERT INTO {} ({}) VALUES ({holes})", table.name, names(table)))?;
    for row in rows {
        let values = row.iter().map(|cell| match cell {
            Cell::Null => Value::Null,
            Cell::Int(number) => Value::Integer(*number),
            Cell::Text(text) => Value::Text(text.clone()),
            Cell::Bytes(bytes) => Value::Blob(bytes.clone()),
        });
        statement.execute(params_from_iter(values))?;
    }
    Ok(())
}

/// What the file holds.
fn summaries(connection: &mut Connection) -> Result<Vec<Summary>, DbError> {
    let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let mut summaries = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        let mut summary = Summary::default();
        visit(&snapshot, table, |rows| {
            summary.add(&rows);
            true
        })?;
        summaries.push(summary);
    }
    Ok(summaries)
}
