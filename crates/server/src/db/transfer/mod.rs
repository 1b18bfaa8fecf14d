//! Moving the whole metadata from one store to another one, of whichever kind: so that one starts small and grows, or goes back.
//!
//! All tables are read at one moment of the source and written in one step of the target: it is there whole, or not at all. Before that
//! step everything is read back from the target and compared by count and checksum. Ids, revisions, the epoch, stored answers and
//! untold notices stay what they are, so devices notice nothing. Bytes at rest are no metadata: they stay where they are.

pub(super) mod postgres;
pub(super) mod sqlite;
mod table;
#[cfg(test)]
mod tests;

use super::{DbError, OpenError, PostgresPlace};
use std::path::PathBuf;
pub(super) use table::{Cell, Column, Row, TABLES, Table};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Rows that travel together.
const BATCH_ROWS: usize = 1_000;
/// Batches that wait for the target.
const BATCHES_WAITING_MAX: usize = 4;

/// A store to be read or written as a whole.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A database.
    Postgres(Box<PostgresPlace>),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "{}", file.display()),
            Self::Postgres(place) => write!(f, "{place}"),
        }
    }
}

/// Why nothing was moved. The target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// One of the two cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nothing to be moved.
    #[error("{0}: there is no metadata")]
    Missing(String),
    /// Something is there already.
    #[error("{0}: is not empty; nothing was copied")]
    NotEmpty(String),
    /// The source is being changed.
    #[error("{0}: {1} running service(s) use it; stop them first")]
    InUse(String, u64),
    /// One of the two failed on the way.
    #[error("{place}: {error}; nothing was copied")]
    Failed {
        /// Which of the two.
        place: String,
        /// What it says.
        error: DbError,
    },
    /// The target holds something else than was written to it.
    #[error("{place}: holds something else than was written to it (table {table}); nothing was copied")]
    Different {
        /// The target.
        place: String,
        /// The first table that differs.
        table: &'static str,
    },
}

/// What a table holds: how many rows, and a checksum that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    checksum: u128,
}

impl Summary {
    fn add(&mut self, rows: &[Row]) {
        for row in rows {
            self.rows += 1;
            self.checksum = self.checksum.wrapping_add(table::checksum(row));
        }
    }
}

/// What was moved, table by table.
pub type Report = Vec<(&'static str, Summary)>;

/// What a source sends: its epoch first, then the rows of each table in the order of [`TABLES`].
enum Part {
    Epoch(Uuid),
    Rows(usize, Vec<Row>),
    Failed(TransferError),
}

type Parts = mpsc::Receiver<Part>;

/// Moves everything.
///
/// # Errors
/// See [`TransferError`].
pub async fn transfer(from: &Place, to: &Place) -> Result<Report, TransferError> {
    let (sender, parts) = mpsc::channel(BATCHES_WAITING_MAX);
    match from {
        Place::Sqlite(file) => sqlite::send(file, sender)?,
        Place::Postgres(place) => postgres::send(place, sender).await?,
    }
    match to {
        Place::Sqlite(file) => sqlite::receive(file, parts).await,
        Place::Postgres(place) => postgres::receive(place, parts).await,
    }
}

/// Compares what was written with what is there.
fn compare(place: &dyn std::fmt::Display, written: &[Summary], found: &[Summary]) -> Result<Report, TransferError> {
    let mut report = Report::new();
    for ((table, written), found) in TABLES.iter().zip(written).zip(found) {
        if written != found {
            return Err(TransferError::Different { place: place.to_string(), table: table.name });
        }
        report.push((table.name, *found));
    }
    Ok(report)
}
