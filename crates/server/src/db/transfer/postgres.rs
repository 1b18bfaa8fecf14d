//! A PostgreSQL database as a source and as a target.

use super::{BATCH_ROWS, Cell, Column, Part, Parts, Report, Row, Summary, TABLES, Table, TransferError, compare};
use crate::db::postgres::link::{Link, Links, SqlError, told};
use crate::db::postgres::{migrate, rows};
use crate::db::{DbError, OpenError, PostgresPlace};
use tokio::sync::mpsc;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// What failed in the database.
pub(in crate::db) enum Wrong {
    Sql(SqlError),
    Store(DbError),
}

impl From<SqlError> for Wrong {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<DbError> for Wrong {
    fn from(error: DbError) -> Self {
        Self::Store(error)
    }
}

/// The same as an error of the store.
pub(in crate::db) fn error(wrong: Wrong) -> DbError {
    match wrong {
        Wrong::Sql(error) => told(&error),
        Wrong::Store(error) => error,
    }
}

fn failed(place: &PostgresPlace, wrong: impl Into<Wrong>) -> TransferError {
    TransferError::Failed { place: place.to_string(), error: error(wrong.into()) }
}

/// A connection to a database of this program's format.
pub(in crate::db) async fn open(place: &PostgresPlace) -> Result<Link, TransferError> {
    let unreachable = |reason: String| OpenError::Unreachable { place: place.to_string(), reason };
    let links = Links::new(place).map_err(unreachable)?;
    migrate::migrate(&links, &place.to_string()).await?;
    Ok(links.link().await.map_err(|error| unreachable(error.to_string()))?)
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Reads the database in a task of its own.
pub(super) async fn send(place: &PostgresPlace, parts: mpsc::Sender<Part>) -> Result<(), TransferError> {
    let link = open(place).await?;
    let place = place.clone();
    let begun = begin_reading(&link).await.map_err(|error| failed(&place, error))?;
    if begun.living > 0 {
        return Err(TransferError::InUse(place.to_string(), begun.living));
    }
    tokio::spawn(async move {
        let _ = parts.send(Part::Epoch(begun.epoch)).await;
        if let Err(error) = send_tables(&link, &parts).await {
            let _ = parts.send(Part::Failed(failed(&place, error))).await;
        }
    });
    Ok(())
}

async fn send_tables(link: &Link, parts: &mpsc::Sender<Part>) -> Result<(), Wrong> {
    for (at, table) in TABLES.iter().enumerate() {
        begin_table(link, table).await?;
        loop {
            let rows = next_rows(link, table).await?;
            // Whoever does not listen any more has failed himself.
            if rows.is_empty() || parts.send(Part::Rows(at, rows)).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

struct Begun {
    epoch: Uuid,
    /// Instances that run on the database.
    living: u64,
}

async fn begin_reading(link: &Link) -> Result<Begun, Wrong> {
    link.opened();
    link.script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let sql = "SELECT m.epoch, (SELECT count(*) FROM instances WHERE seen_at > clock_timestamp() - interval '5 s') FROM meta m";
    let row = link.ask(sql, &[]).await?;
    let row = row.first().ok_or_else(|| rows::damaged("its table meta is empty"))?;
    Ok(Begun { epoch: rows::column(row, 0)?, living: rows::unsigned(row, 1)? })
}

/// Begins to read a table in the transaction that is open.
async fn begin_table(link: &Link, table: &Table) -> Result<(), SqlError> {
    let sql = format!("DECLARE moving NO SCROLL CURSOR FOR SELECT {} FROM {} ORDER BY {}", names(table), table.name, table.order.1);
    link.script(&sql).await
}

/// The next rows of that table; after the last ones none, and another table may be begun.
async fn next_rows(link: &Link, table: &Table) -> Result<Vec<Row>, Wrong> {
    let found = link.ask(&format!("FETCH {BATCH_ROWS} FROM moving"), &[]).await?;
    if found.is_empty() {
        link.script("CLOSE moving").await?;
    }
    Ok(found.iter().map(|row| read_row(row, table)).collect::<Result<_, _>>()?)
}

fn read_row(row: &tokio_postgres::Row, table: &Table) -> Result<Row, DbError> {
    let cell = |(at, (.., kind)): (usize, &(&str, &str, Column))| -> Result<Cell, DbError> {
        Ok(match kind {
            Column::Int => rows::column::<Option<i64>>(row, at)?.map_or(Cell::Null, Cell::Int),
            Column::Small => rows::column::<Option<i16>>(row, at)?.map_or(Cell::Null, |number| Cell::Int(number.into())),
            Column::Flag => rows::column::<Option<bool>>(row, at)?.map_or(Cell::Null, |flag| Cell::Int(flag.into())),
            Column::Text => rows::column::<Option<String>>(row, at)?.map_or(Cell::Null, Cell::Text),
            Column::Uuid => rows::column::<Option<Uuid>>(row, at)?.map_or(Cell::Null, |id| Cell::Bytes(id.as_bytes().to_vec())),
            Column::Bytes => rows::column::<Option<Vec<u8>>>(row, at)?.map_or(Cell::Null, Cell::Bytes),
        })
    };
    table.columns.iter().enumerate().map(cell).collect()
}

/// Writes everything in one transaction, reads it back there, and commits.
pub(super) async fn receive(place: &PostgresPlace, mut parts: Parts) -> Result<Report, TransferError> {
    let link = open(place).await?;
    let wrong = |error: Wrong| failed(place, error);
    link.opened();
    link.script("BEGIN").await.map_err(|error| failed(place, error))?;
    if !is_empty(&link).await.map_err(wrong)? {
        return Err(TransferError::NotEmpty(place.to_string()));
    }
    let mut written = vec![Summary::default(); TABLES.len()];
    while let Some(part) = parts.recv().await {
        match part {
            Part::Failed(error) => return Err(error),
            Part::Epoch(epoch) => {
                link.script(&format!("UPDATE meta SET epoch = '{epoch}'")).await.map_err(|error| failed(place, error))?
            }
            Part::Rows(at, rows) => {
                if let (Some(table), Some(summary)) = (TABLES.get(at), written.get_mut(at)) {
                    insert(&link, table, &rows).await.map_err(wrong)?;
                    summary.add(&rows);
                }
            }
        }
    }
    let found = summaries(&link).await.map_err(wrong)?;
    let report = compare(place, &written, &found)?;
    link.script("COMMIT").await.map_err(|error| failed(place, error))?;
    link.closed();
    Ok(report)
}

/// What the transaction sees in the tables.
async fn summaries(link: &Link) -> Result<Vec<Summary>, Wrong> {
    let mut found = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        count_on(link, table).await?;
        begin_table(link, table).await?;
        let mut summary = Summary::default();
        loop {
            let rows = next_rows(link, table).await?;
            if rows.is_empty() {
                break;
            }
            summary.add(&rows);
        }
        found.push(summary);
    }
    Ok(found)
}

/// Nobody else writes to it until the transaction ends.
async fn is_empty(link: &Link) -> Result<bool, Wrong> {
    link.script("LOCK TABLE users, devices, workspaces, items, notices IN EXCLUSIVE MODE").await?;
    let sql = "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM workspaces) OR EXISTS (SELECT 1 FROM items)";
    let row = link.ask(sql, &[]).await?;
    let any = row.first().map(|row| rows::column::<bool>(row, 0)).transpose()?;
    Ok(any == Some(false))
}

/// New rows get numbers after those that were brought.
pub(in crate::db) async fn count_on(link: &Link, table: &Table) -> Result<(), SqlError> {
    let Some((_, number, _)) = table.columns.first().filter(|_| table.numbered) else { return Ok(()) };
    let name = table.name;
    let sql =
        format!("SELECT setval(pg_get_serial_sequence('{name}', '{number}'), coalesce(max({number}), 0) + 1, false) FROM {name}");
    link.script(&sql).await
}

/// One column of many rows.
fn values(rows: &[Row], at: usize, kind: Column) -> Box<dyn ToSql + Sync + Send> {
    let cells = rows.iter().map(move |row| row.get(at).unwrap_or(&Cell::Null));
    let int = |cell: &Cell| if let Cell::Int(number) = cell { Some(*number) } else { None };
    let bytes = |cell: &Cell| if let Cell::Bytes(bytes) = cell { Some(bytes.clone()) } else { None };
    match kind {
        Column::Int => Box::new(cells.map(int).collect::<Vec<_>>()),
        Column::Small => Box::new(cells.map(|cell| int(cell).and_then(|number| i16::try_from(number).ok())).collect::<Vec<_>>()),
        Column::Flag => Box::new(cells.map(|cell| int(cell).map(|number| number != 0)).collect::<Vec<_>>()),
        Column::Text => {
            Box::new(cells.map(|cell| if let Cell::Text(text) = cell { Some(text.clone()) } else { None }).collect::<Vec<_>>())
        }
        Column::Uuid => Box::new(cells.map(|cell| bytes(cell).and_then(|bytes| Uuid::from_slice(&bytes).ok())).collect::<Vec<_>>()),
        Column::Bytes => Box::new(cells.map(bytes).collect::<Vec<_>>()),
    }
}

const fn array_of(kind: Column) -> Type {
    match kind {
        Column::Int => Type::INT8_ARRAY,
        Column::Small => Type::INT2_ARRAY,
        Column::Flag => Type::BOOL_ARRAY,
        Column::Text => Type::TEXT_ARRAY,
        Column::Uuid => Type::UUID_ARRAY,
        Column::Bytes => Type::BYTEA_ARRAY,
    }
}

/// Writes rows.
pub(in crate::db) async fn insert(link: &Link, table: &Table, rows: &[Row]) -> Result<(), Wrong> {
    let columns: Vec<_> =
        table.columns.iter().enumerate().map(|(at, (.., kind))| (values(rows, at, *kind), array_of(*kind))).collect();
    let params: Vec<(&(dyn ToSql + Sync), Type)> =
        columns.iter().map(|(values, kind)| -> (&(dyn ToSql + Sync), Type) { (&**values, kind.clone()) }).collect();
    let holes = (1..=columns.len()).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT * FROM unnest({holes})", table.name, names(table));
    link.ask(&sql, &params).await?;
    Ok(())
}
