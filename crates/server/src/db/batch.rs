//! One transaction of the writer.
use super::answers::RequestKey;
use super::writer::{CommitResult, Write};
use super::{Commit, DbError, Notice};
use rusqlite::Connection;

pub(super) struct Batch<'a> {
    connection: &'a Connection,
}

impl<'a> Batch<'a> {
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    pub(super) fn commit(&mut self, commit: &Commit, _key: &RequestKey) -> Result<CommitResult, DbError> {
        Ok(Err(DbError::Failed(format!("{} commits later", commit.id))))
    }

    pub(super) fn write(&mut self, write: &mut dyn Write) -> Result<(), DbError> {
        self.connection.execute_batch("SAVEPOINT change")?;
        let end = if write.run(self.connection).is_ok() { "RELEASE change" } else { "ROLLBACK TO change; RELEASE change" };
        Ok(self.connection.execute_batch(end)?)
    }

    pub(super) fn finish(self) -> Result<Vec<Notice>, DbError> {
        Ok(Vec::new())
    }
}
