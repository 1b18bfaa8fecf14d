//! A store in memory that works on its caller's thread: no file, no thread, no waiting; the same transactions, rules and rows.
//!
//! For simulations. Its operations are done when they are first polled, so the order in which they are called is the order in which
//! they happen, and nothing but their arguments decides what they do.

use super::writer::{Job, Writer};
use super::{DbError, open};
use rusqlite::backup::Backup;
use rusqlite::{Connection, params};
use stacksync_core::values::{DeviceId, UserId, WorkspaceId};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Pages that one step of a copy takes: all of them.
const ALL_PAGES: i32 = -1;

/// The one connection, for reading and writing.
pub(super) struct Inline(Mutex<Writer>);

impl Inline {
    pub(super) const fn new(writer: Writer) -> Self {
        Self(Mutex::new(writer))
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        // A panic within a transaction has rolled it back.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, job: Job) {
        self.lock().write(vec![job]);
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
        super::readers::snapshot(&mut self.lock().connection, read)
    }
}

/// A whole store in memory at one moment.
pub struct Copy(Connection);

/// Who is there when a simulation begins.
#[derive(Clone, Debug)]
pub struct Population {
    /// The store's epoch.
    pub epoch: Uuid,
    /// The users, with the devices of each.
    pub users: Vec<(UserId, Vec<DeviceId>)>,
    /// Workspaces with their members, the owner first.
    pub workspaces: Vec<(WorkspaceId, Vec<UserId>)>,
}

/// A store could not be made or copied.
#[derive(Debug, thiserror::Error)]
#[error("the store in memory failed: {0}")]
pub struct CopyError(#[from] rusqlite::Error);

impl Copy {
    /// An empty store of this program's format.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn empty() -> Result<Self, CopyError> {
        Ok(Self(open::open_in_memory()?))
    }

    /// Another one of the same content.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn another(&self) -> Result<Self, CopyError> {
        copy_of(&self.0).map(Self)
    }

    /// How many versions of items it holds, the past ones included.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn versions(&self) -> Result<u64, CopyError> {
        let sql = "SELECT (SELECT count(*) FROM items) + (SELECT count(*) FROM past_versions)";
        Ok(self.0.query_row(sql, [], |row| super::rows::unsigned(row, 0))?)
    }

    /// Puts these people into it.
    ///
    /// # Errors
    /// When they cannot be.
    pub fn settle(&self, people: &Population) -> Result<(), CopyError> {
        self.set_epoch(people.epoch)?;
        for (number, (user, devices)) in (1_i64..).zip(&people.users) {
            let name = format!("user{number}");
            self.0.execute(
                "INSERT INTO users (number, id, name, name_key, email, quota_limit, created_at) VALUES (?1, ?2, ?3, ?3, ?3, ?4, 0)",
                params![number, user.0.as_bytes(), name, i64::MAX],
            )?;
            for device in devices {
                self.0.execute(
                    "INSERT INTO devices (id, user, token_hash, name, os, app_version, ip, created_at, seen_at) \
                     VALUES (?1, ?2, ?1, ?3, '', '', '', 0, 0)",
                    params![device.0.as_bytes(), number, name],
                )?;
            }
        }
        for (number, (workspace, members)) in (1_i64..).zip(&people.workspaces) {
            self.settle_workspace(number, *workspace, members, people)?;
        }
        Ok(())
    }

    fn settle_workspace(&self, number: i64, id: WorkspaceId, members: &[UserId], all: &Population) -> Result<(), CopyError> {
        let of = |member: &UserId| (1_i64..).zip(&all.users).find(|(_, (user, _))| user == member).map(|(number, _)| number);
        for (at, member) in members.iter().enumerate() {
            if at == 0 {
                let sql = "INSERT INTO workspaces (number, id, owner, is_default) VALUES (?1, ?2, ?3, 0)";
                self.0.execute(sql, params![number, id.0.as_bytes(), of(member)])?;
            }
            let name = format!("workspace{number}");
            let sql = "INSERT INTO memberships (user, workspace, name, name_key, parent) VALUES (?1, ?2, ?3, ?3, NULL)";
            self.0.execute(sql, params![of(member), number, name])?;
        }
        Ok(())
    }

    /// Makes it another store to whoever knew it: what an operator does with a copy that he puts in place of a newer one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_epoch(&self, epoch: Uuid) -> Result<(), CopyError> {
        self.0.execute("UPDATE meta SET epoch = ?1", [epoch.as_bytes().as_slice()])?;
        Ok(())
    }

    pub(super) fn into_connection(self) -> Connection {
        self.0
    }
}

fn copy_of(connection: &Connection) -> Result<Connection, CopyError> {
    let mut copy = Connection::open_in_memory()?;
    Backup::new(connection, &mut copy)?.step(ALL_PAGES)?;
    open::settings_in_memory(&copy)?;
    Ok(copy)
}

impl Inline {
    /// Everything that it holds now.
    pub(super) fn copy(&self) -> Result<Copy, CopyError> {
        copy_of(&self.lock().connection).map(Copy)
    }
}
