//! The store that takes an import in, of whichever kind: one transaction, few kinds of questions.

use super::ImportError;
use super::people::People;
use crate::db::postgres::link::{Link, told};
use crate::db::postgres::rows;
use crate::db::sqlite::open;
use crate::db::transfer::{Cell, Place, Row, TABLES, Table, postgres, sqlite};
use crate::db::{DbError, OpenError};
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Ids in one question.
const IDS_MAX: usize = 500;

/// What is there before.
#[derive(Default)]
pub(super) struct Known {
    pub users: HashMap<Uuid, i64>,
    pub names: HashSet<String>,
    pub emails: HashSet<String>,
    pub devices: HashSet<Uuid>,
    pub last_device: i64,
    pub workspaces: HashMap<Uuid, i64>,
    pub members: HashSet<(i64, i64)>,
    pub member_names: HashSet<(i64, String)>,
}

/// See the module.
pub(super) enum Target {
    Sqlite(Connection),
    Postgres(Box<Link>),
}

/// A value that a question may have for an answer.
enum Value {
    Number(i64),
    Text(String),
    Id(Uuid),
}

impl Target {
    pub(super) async fn open(place: &Place) -> Result<Self, ImportError> {
        match place {
            Place::Sqlite(file) => {
                let connection = open::open_writer(file)?;
                connection
                    .execute_batch("BEGIN IMMEDIATE")
                    .map_err(|error| ImportError::Failed(place.to_string(), error.into()))?;
                Ok(Self::Sqlite(connection))
            }
            Place::Postgres(database) => {
                let link = postgres::open(database).await.map_err(|error| {
                    ImportError::Open(OpenError::Unreachable { place: database.to_string(), reason: error.to_string() })
                })?;
                link.opened();
                let begin =
                    "BEGIN; LOCK TABLE workspaces, users, devices, memberships, items, past_versions IN SHARE ROW EXCLUSIVE MODE";
                link.script(begin).await.map_err(|error| ImportError::Failed(place.to_string(), told(&error)))?;
                Ok(Self::Postgres(Box::new(link)))
            }
        }
    }

    pub(super) async fn known(&self) -> Result<Known, DbError> {
        let mut known = Known::default();
        for values in self.ask("SELECT number, id, name_key, email FROM users", "niTT").await? {
            if let [Value::Number(number), Value::Id(id), Value::Text(name), Value::Text(email)] = &values[..] {
                known.users.insert(*id, *number);
                known.names.insert(name.clone());
                known.emails.insert(email.clone());
            }
        }
        for values in self.ask("SELECT number, id FROM devices", "ni").await? {
            if let [Value::Number(number), Value::Id(id)] = values[..] {
                known.devices.insert(id);
                known.last_device = known.last_device.max(number);
            }
        }
        for values in self.ask("SELECT number, id FROM workspaces", "ni").await? {
            if let [Value::Number(number), Value::Id(id)] = values[..] {
                known.workspaces.insert(id, number);
            }
        }
        let member = if matches!(self, Self::Sqlite(_)) { "user" } else { "member" };
        for values in self.ask(&format!("SELECT {member}, workspace, name_key FROM memberships"), "nnT").await? {
            if let [Value::Number(user), Value::Number(workspace), Value::Text(name)] = &values[..] {
                known.members.insert((*user, *workspace));
                known.member_names.insert((*user, name.clone()));
            }
        }
        Ok(known)
    }

    /// Asks; `kinds` has a letter for each column: `n` number, `i` id, `T` text.
    async fn ask(&self, sql: &str, kinds: &str) -> Result<Vec<Vec<Value>>, DbError> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare(sql)?;
                let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Vec<Value>> {
                    kinds.chars().enumerate().map(|(at, kind)| sqlite_value(row, at, kind)).collect()
                };
                Ok(statement.query_map([], read)?.collect::<rusqlite::Result<_>>()?)
            }
            Self::Postgres(link) => {
                let found = link.ask(sql, &[]).await.map_err(|error| told(&error))?;
                let read = |row: &tokio_postgres::Row| -> Result<Vec<Value>, DbError> {
                    kinds.chars().enumerate().map(|(at, kind)| postgres_value(row, at, kind)).collect()
                };
                found.iter().map(read).collect()
            }
        }
    }

    async fn number(&self, sql: &str) -> Result<u64, DbError> {
        let found = self.ask(sql, "n").await?;
        match found.first().map(Vec::as_slice) {
            Some([Value::Number(number)]) => Ok(u64::try_from(*number).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    /// The first of these items' ids that others use.
    pub(super) async fn taken(&self, items: &[Row]) -> Result<Vec<i64>, DbError> {
        let ids: Vec<String> =
            items.iter().filter_map(|row| if let Some(Cell::Int(id)) = row.get(2) { Some(id.to_string()) } else { None }).collect();
        let mut taken = Vec::new();
        for ids in ids.chunks(IDS_MAX) {
            for values in self.ask(&format!("SELECT id FROM items WHERE id IN ({}) LIMIT 10", ids.join(",")), "n").await? {
                taken.extend(values.iter().filter_map(|value| if let Value::Number(id) = value { Some(*id) } else { None }));
            }
        }
        taken.truncate(10);
        Ok(taken)
    }

    pub(super) async fn insert(&mut self, name: &str, rows: &[Row]) -> Result<(), DbError> {
        let Some(table) = TABLES.iter().find(|table| table.name == name) else { return Ok(()) };
        for rows in rows.chunks(1_000) {
            match self {
                Self::Sqlite(connection) => sqlite::insert(connection, table, rows)?,
                Self::Postgres(link) => postgres::insert(link, table, rows).await.map_err(postgres::error)?,
            }
        }
        Ok(())
    }

    pub(super) async fn run(&mut self, sql: &str) -> Result<(), DbError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Self::Postgres(link) => link.script(sql).await.map_err(|error| told(&error)),
        }
    }

    /// Counts and references of what was written; says what is wrong with them.
    pub(super) async fn wrong(&self, people: &People) -> Result<Option<String>, DbError> {
        if people.fresh.is_empty() {
            return Ok(None);
        }
        let fresh = people.fresh.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let items = self.number(&format!("SELECT count(*) FROM items WHERE workspace IN ({fresh})")).await?;
        if items != people.items {
            return Ok(Some(format!("{} items were written, and {items} are there", people.items)));
        }
        for (what, sql) in [
            (
                "items are in folders that are not there",
                format!(
                    "SELECT count(*) FROM items i WHERE i.workspace IN ({fresh}) AND i.parent <> 0 AND NOT EXISTS \
                     (SELECT 1 FROM items p WHERE p.id = i.parent AND p.workspace = i.workspace AND p.kind = 1 \
                     AND (p.name_key IS NOT NULL OR i.name_key IS NULL))"
                ),
            ),
            (
                "workspaces have another number of versions than revisions",
                format!(
                    "SELECT count(*) FROM workspaces w WHERE w.number IN ({fresh}) AND w.revision <> \
                     (SELECT count(*) FROM items i WHERE i.workspace = w.number) + (SELECT count(*) FROM past_versions p \
                     JOIN items i ON i.id = p.id WHERE i.workspace = w.number)"
                ),
            ),
            (
                "workspaces have nobody",
                format!(
                    "SELECT count(*) FROM workspaces w WHERE w.number IN ({fresh}) AND NOT EXISTS \
                     (SELECT 1 FROM memberships m WHERE m.workspace = w.number)"
                ),
            ),
        ] {
            let count = self.number(&sql).await?;
            if count > 0 {
                return Ok(Some(format!("{count} {what}")));
            }
        }
        Ok(None)
    }

    pub(super) async fn commit(&mut self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(connection) => Ok(connection.execute_batch("COMMIT")?),
            Self::Postgres(link) => {
                for table in TABLES.iter().filter(|table: &&Table| table.numbered && table.name != "notices") {
                    postgres::count_on(link, table).await.map_err(|error| told(&error))?;
                }
                link.script("COMMIT").await.map_err(|error| told(&error))?;
                link.closed();
                Ok(())
            }
        }
    }
}

fn sqlite_value(row: &rusqlite::Row<'_>, at: usize, kind: char) -> rusqlite::Result<Value> {
    Ok(match kind {
        'n' => Value::Number(row.get(at)?),
        'i' => Value::Id(Uuid::from_slice(&row.get::<_, Vec<u8>>(at)?).unwrap_or_default()),
        _ => Value::Text(row.get(at)?),
    })
}

fn postgres_value(row: &tokio_postgres::Row, at: usize, kind: char) -> Result<Value, DbError> {
    Ok(match kind {
        'n' => Value::Number(rows::column(row, at)?),
        'i' => Value::Id(rows::column(row, at)?),
        _ => Value::Text(rows::column(row, at)?),
    })
}
