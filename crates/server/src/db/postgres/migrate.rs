//! Bringing a database to this program's format: plain SQL files compiled into the program, applied in one transaction under a lock, so
//! that of several instances that start at once one does it and the others find it done. Only ever forward.

use super::link::{Lasting, Link, Links, SqlError, Stop, described, query};
use super::place::PostgresPlace;
use super::rows::{column, damaged};
use crate::db::{DbError, OpenError};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// Schema changes in order; the database's format is how many of them it has seen.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
];
/// The newest format that this program knows.
pub(super) const FORMAT: i64 = MIGRATIONS.len() as i64;
/// What the lock is known by in the database: "StackSyn".
const LOCK: i64 = 0x5374_6163_6b53_796e;

/// What a look at the database found.
enum Found {
    Nothing,
    Format(i64, Uuid),
}

/// Connections to the database, of which one was made.
pub(super) async fn enter(place: &PostgresPlace) -> Result<Links, OpenError> {
    let links = Links::new(place).map_err(|reason| OpenError::Refused { place: place.to_string(), reason })?;
    links.enter().await.map_err(|(lasting, reason)| match lasting {
        Lasting::Yes => OpenError::Refused { place: place.to_string(), reason },
        Lasting::No => OpenError::Unreachable { place: place.to_string(), reason },
    })?;
    Ok(links)
}

/// Returns the epoch.
pub(in crate::db) async fn migrate(links: &Links, place: &str) -> Result<Uuid, OpenError> {
    let done = links.write(|link| Box::pin(bring_up(link))).await;
    match done {
        Ok(Ok(epoch)) => Ok(epoch),
        Ok(Err(found)) => Err(OpenError::NewerDatabase { place: place.to_owned(), found, supported: FORMAT }),
        Err(error) => Err(failed(place.to_owned(), error)),
    }
}

/// What it means for opening the database.
pub(super) fn failed(place: String, error: DbError) -> OpenError {
    match error {
        DbError::Failed(reason) | DbError::Damaged(reason) => OpenError::ForeignDatabase { place, reason },
        DbError::Unavailable(reason) => OpenError::Unreachable { place, reason },
        error => OpenError::Unreachable { place, reason: error.to_string() },
    }
}

/// The format of a database; 0 if it has none yet.
pub(super) async fn format(link: &Link) -> Result<i64, Stop<DbError>> {
    Ok(match look(link).await? {
        Found::Nothing => 0,
        Found::Format(format, _) => format,
    })
}

/// `Err` holds a format that is too new.
async fn bring_up(link: &Link) -> Result<Result<Uuid, i64>, Stop<DbError>> {
    // Most starts find everything done and need no lock.
    if let Found::Format(format, epoch) = look(link).await?
        && format >= FORMAT
    {
        return Ok(if format > FORMAT { Err(format) } else { Ok(epoch) });
    }
    link.rows(&query!("SELECT pg_advisory_xact_lock($1)", INT8), &[&LOCK]).await?;
    match look(link).await? {
        Found::Format(format, _) if format > FORMAT => Ok(Err(format)),
        Found::Format(format, epoch) => {
            apply(link, usize::try_from(format).unwrap_or(0)).await?;
            link.script(&format!("UPDATE meta SET format = {FORMAT}")).await?;
            Ok(Ok(epoch))
        }
        Found::Nothing => {
            apply(link, 0).await?;
            let epoch = Uuid::new_v4();
            link.script(&format!("INSERT INTO meta (format, epoch) VALUES ({FORMAT}, '{epoch}')")).await?;
            Ok(Ok(epoch))
        }
    }
}

async fn apply(link: &Link, seen: usize) -> Result<(), Stop<DbError>> {
    for sql in MIGRATIONS.iter().skip(seen) {
        link.script(sql).await.map_err(not_ours)?;
    }
    Ok(())
}

async fn look(link: &Link) -> Result<Found, Stop<DbError>> {
    // A look-up by name may remember that there was none before the lock; this one reads.
    let sql = query!("SELECT EXISTS (SELECT 1 FROM pg_tables WHERE tablename = 'meta' AND schemaname = current_schema())");
    let there = link.first(&sql, &[]).await?;
    if !there.map(|row| column::<bool>(&row, 0)).transpose()?.unwrap_or(false) {
        return Ok(Found::Nothing);
    }
    let row = link.first(&query!("SELECT format, epoch FROM meta"), &[]).await.map_err(not_ours)?;
    let row = row.ok_or_else(|| damaged("its table meta is empty"))?;
    Ok(Found::Format(i64::from(column::<i32>(&row, 0)?), column(&row, 1)?))
}

/// Tables of other names or shapes are somebody else's.
fn not_ours(error: SqlError) -> Stop<DbError> {
    match error.code() {
        Some(code) if [SqlState::DUPLICATE_TABLE, SqlState::UNDEFINED_COLUMN].contains(code) => {
            Stop::Answer(DbError::Damaged(format!("it holds tables of another program: {}", described(&error))))
        }
        _ => Stop::Sql(error),
    }
}
