//! The original's database, read in one transaction that cannot write. Its moments have no time zone; the database itself turns them
//! into moments of the zone that it is told.

use super::{ImportError, Told};
use crate::db::postgres::link::{Link, Links, told as said};
use crate::db::postgres::rows::column;
use crate::db::{DbError, OpenError, PostgresPlace};
use std::collections::{HashMap, HashSet};
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

/// An account of the original.
pub(super) struct OldUser {
    pub id: Uuid,
    pub name: String,
    pub email: String,
    /// In bytes.
    pub quota_limit: i64,
    pub created_at: i64,
}

pub(super) struct OldDevice {
    pub id: Uuid,
    pub user: Option<Uuid>,
    pub name: String,
    pub os: String,
    pub app_version: String,
    pub ip: String,
    pub created_at: i64,
    pub seen_at: i64,
}

pub(super) struct OldWorkspace {
    pub id: Uuid,
    pub owner: Uuid,
    pub is_shared: bool,
    pub is_encrypted: bool,
    /// Where its chunks are.
    pub container: String,
}

pub(super) struct OldMember {
    pub workspace: Uuid,
    pub user: Uuid,
    pub name: String,
    pub parent: Option<i64>,
}

pub(super) struct OldItem {
    pub id: i64,
    pub latest: i64,
    pub parent: Option<i64>,
    pub name: String,
    pub is_folder: bool,
    pub versions: Vec<OldVersion>,
}

pub(super) struct OldVersion {
    /// Ascending in the order of the commits.
    pub row: i64,
    pub device: Uuid,
    pub version: i64,
    pub checksum: i64,
    /// Milliseconds since 1970.
    pub modified: i64,
    pub status: String,
    pub size: i64,
    pub chunks: Vec<String>,
}

pub(super) struct Source {
    link: Link,
    schema: &'static str,
    time_zone: String,
    quota_unit: i64,
    columns: HashSet<(String, String)>,
}

impl Source {
    pub(super) async fn open(place: &PostgresPlace, told: &Told) -> Result<Self, ImportError> {
        let unreachable = |reason: String| OpenError::Unreachable { place: place.to_string(), reason };
        let link = Links::new(&place.clone().read_only()).map_err(unreachable)?.link().await;
        let link = link.map_err(|error| unreachable(error.to_string()))?;
        link.opened();
        let failed = |error: &_| ImportError::Failed(place.to_string(), said(error));
        link.script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(|error| failed(&error))?;
        let sql =
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = current_schema()";
        let rows = link.ask(sql, &[]).await.map_err(|error| failed(&error))?;
        let columns: HashSet<(String, String)> = rows
            .iter()
            .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
            .collect::<Result<_, DbError>>()
            .map_err(|error| ImportError::Failed(place.to_string(), error))?;
        let zone =
            "SELECT 1 FROM pg_timezone_names WHERE name = $1 UNION ALL SELECT 1 FROM pg_timezone_abbrevs WHERE abbrev = upper($1)";
        let known = link.ask(zone, &[(&told.time_zone, Type::TEXT)]).await.map_err(|error| failed(&error))?;
        if known.is_empty() {
            return Err(ImportError::Unknown(place.to_string(), format!("it knows no time zone '{}'", told.time_zone)));
        }
        let mut source = Self { link, schema: "", time_zone: told.time_zone.clone(), quota_unit: 1, columns };
        source.schema = source.recognise().map_err(|reason| ImportError::Unknown(place.to_string(), reason))?;
        source.quota_unit = match told.quota_unit {
            Some(unit) => i64::try_from(unit).unwrap_or(i64::MAX),
            None if source.schema == SEED => return Err(ImportError::NoUnit(place.to_string())),
            None => 1,
        };
        Ok(source)
    }

    pub(super) const fn schema(&self) -> &'static str {
        self.schema
    }

    fn has(&self, table: &str, name: &str) -> bool {
        self.columns.contains(&(table.to_owned(), name.to_owned()))
    }

    fn recognise(&self) -> Result<&'static str, String> {
        if self.has("object_version", "object_id") {
            return Err("it is of the first generation (tables object, object_version), which cannot be imported".into());
        }
        for (table, name) in
            [("user1", "swift_user"), ("item", "latest_version"), ("item_version", "checksum"), ("workspace", "is_encrypted")]
        {
            if !self.has(table, name) {
                return Err(format!("there is no column {name} in a table {table}"));
            }
        }
        Ok(if self.has("user1", "quota_used_logical") { FINAL } else { SEED })
    }

    async fn rows(&self, sql: &str, params: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)]) -> Result<Vec<Row>, DbError> {
        self.link.ask(sql, params).await.map_err(|error| said(&error))
    }

    /// A moment of this column as milliseconds since 1970; 0 where there is none.
    fn moment(&self, table: &str, name: &str) -> String {
        if !self.has(table, name) {
            return "0::bigint".into();
        }
        // The zone was found in the database's own list of zones.
        let zone = self.time_zone.replace('\'', "''");
        format!("coalesce(floor(extract(epoch FROM {table}.{name} AT TIME ZONE '{zone}') * 1000)::bigint, 0)")
    }

    pub(super) async fn users(&self) -> Result<Vec<OldUser>, DbError> {
        let sql = format!(
            "SELECT id, name::text, email::text, quota_limit::bigint, {} FROM user1 ORDER BY id",
            self.moment("user1", "created_at")
        );
        let read = |row: &Row| {
            Ok(OldUser {
                id: column(row, 0)?,
                name: column(row, 1)?,
                email: column(row, 2)?,
                quota_limit: column::<i64>(row, 3)?.max(0).saturating_mul(self.quota_unit),
                created_at: column(row, 4)?,
            })
        };
        self.rows(&sql, &[]).await?.iter().map(read).collect()
    }

    pub(super) async fn devices(&self) -> Result<Vec<OldDevice>, DbError> {
        let sql = format!(
            "SELECT id, user_id, coalesce(name, '')::text, coalesce(os, '')::text, coalesce(app_version, '')::text, \
             coalesce(host(last_ip), '')::text, {}, {} FROM device ORDER BY id",
            self.moment("device", "created_at"),
            self.moment("device", "last_access_at")
        );
        let read = |row: &Row| {
            Ok(OldDevice {
                id: column(row, 0)?,
                user: column(row, 1)?,
                name: column(row, 2)?,
                os: column(row, 3)?,
                app_version: column(row, 4)?,
                ip: column(row, 5)?,
                created_at: column(row, 6)?,
                seen_at: column(row, 7)?,
            })
        };
        self.rows(&sql, &[]).await?.iter().map(read).collect()
    }

    pub(super) async fn workspaces(&self) -> Result<Vec<OldWorkspace>, DbError> {
        // Where none is named, it is called like the workspace.
        let named = if self.has("workspace", "swift_container") { "nullif(swift_container::text, '')" } else { "NULL::text" };
        let sql = format!(
            "SELECT id, owner_id, is_shared, is_encrypted, coalesce({named}, id::text) FROM workspace ORDER BY {}, id",
            self.moment("workspace", "created_at")
        );
        let read = |row: &Row| {
            Ok(OldWorkspace {
                id: column(row, 0)?,
                owner: column(row, 1)?,
                is_shared: column(row, 2)?,
                is_encrypted: column(row, 3)?,
                container: column(row, 4)?,
            })
        };
        self.rows(&sql, &[]).await?.iter().map(read).collect()
    }

    pub(super) async fn members(&self) -> Result<Vec<OldMember>, DbError> {
        // 0 was read as "the top".
        let sql = "SELECT workspace_id, user_id, workspace_name::text, nullif(parent_item_id, 0) FROM workspace_user ORDER BY user_id, workspace_id";
        let read = |row: &Row| {
            Ok(OldMember { workspace: column(row, 0)?, user: column(row, 1)?, name: column(row, 2)?, parent: column(row, 3)? })
        };
        self.rows(sql, &[]).await?.iter().map(read).collect()
    }

    /// The items of a workspace by id, each with its versions in order.
    pub(super) async fn items(&self, workspace: Uuid) -> Result<Vec<OldItem>, DbError> {
        let asked: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[(&workspace, Type::UUID)];
        let sql = "SELECT id, latest_version, nullif(parent_id, 0), filename::text, is_folder FROM item WHERE workspace_id = $1 ORDER BY id";
        let mut items = Vec::new();
        for row in self.rows(sql, asked).await? {
            items.push(OldItem {
                id: column(&row, 0)?,
                latest: column(&row, 1)?,
                parent: column(&row, 2)?,
                name: column(&row, 3)?,
                is_folder: column(&row, 4)?,
                versions: Vec::new(),
            });
        }
        let sql = "SELECT c.item_version_id, c.client_chunk_name::text FROM item_version_chunk c JOIN item_version v ON v.id = c.item_version_id \
                   JOIN item i ON i.id = v.item_id WHERE i.workspace_id = $1 ORDER BY c.item_version_id, c.chunk_order";
        let mut chunks: HashMap<i64, Vec<String>> = HashMap::new();
        for row in self.rows(sql, asked).await? {
            chunks.entry(column(&row, 0)?).or_default().push(column(&row, 1)?);
        }
        let at: HashMap<i64, usize> = items.iter().enumerate().map(|(at, item)| (item.id, at)).collect();
        let sql = format!(
            "SELECT item_version.id, item_id, device_id, version::bigint, checksum, {}, status::text, size FROM item_version \
             JOIN item i ON i.id = item_id WHERE i.workspace_id = $1 ORDER BY item_id, version",
            self.moment("item_version", "modified_at")
        );
        for row in self.rows(&sql, asked).await? {
            let number: i64 = column(&row, 0)?;
            let version = OldVersion {
                row: number,
                device: column(&row, 2)?,
                version: column(&row, 3)?,
                checksum: column(&row, 4)?,
                modified: column(&row, 5)?,
                status: column(&row, 6)?,
                size: column(&row, 7)?,
                chunks: chunks.remove(&number).unwrap_or_default(),
            };
            if let Some(item) = at.get(&column::<i64>(&row, 1)?).and_then(|at| items.get_mut(*at)) {
                item.versions.push(version);
            }
        }
        Ok(items)
    }
}

const FINAL: &str = "final (server 0.6)";
const SEED: &str = "seed (server 0.5)";
