//! Notices between the transaction that caused them and the publisher that tells them.
//!
//! Each is a row, written in the transaction of its cause, and goes to the publisher through a channel right after COMMIT. Their
//! numbers have no gaps, so whatever did not come through the channel (left by an earlier run, written by another process, too
//! much at once) shows as a gap and is read from the file. Nothing is told before it is durable, and nothing is forgotten before
//! it was told.

use super::super::columns::{parent_number, signed};
use super::super::store::{Answer, NoticeSource};
use super::readers::Readers;
use super::rows::{all, name, parent, run, unsigned, uuid};
use super::{DbError, Notice, NoticeContent};
use rusqlite::{Connection, Row, params};
use stacksync_core::values::{DeviceId, Revision, UserId, WorkspaceId};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;

/// Notices that one look into the file brings.
const PAGE: usize = 256;
/// How often the file is looked at for notices of other processes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The publisher's end.
pub(super) struct Outbox {
    readers: Readers,
    waiting: mpsc::Receiver<Notice>,
    /// Read from the file; to be given out before anything else.
    ready: VecDeque<Notice>,
    /// Came through the channel; given out when everything before it was.
    held: Option<Notice>,
    /// Everything up to here was given out.
    last: u64,
    /// The last notice that was there when the store was opened.
    earlier: u64,
}

impl Outbox {
    pub(super) fn new(readers: Readers, waiting: mpsc::Receiver<Notice>, earlier: u64) -> Self {
        Self { readers, waiting, ready: VecDeque::new(), held: None, last: 0, earlier }
    }

    /// The next notice, in order; waits for it. `None` once the store is closed.
    async fn next(&mut self) -> Result<Option<Notice>, DbError> {
        loop {
            if let Some(notice) = self.now().await? {
                return Ok(Some(notice));
            }
            match tokio::time::timeout(LOOK_INTERVAL, self.waiting.recv()).await {
                Ok(None) => return Ok(None),
                Ok(notice) => self.held = notice,
                Err(_) => self.look().await?,
            }
        }
    }

    /// The next notice, in order, if there is one now.
    async fn now(&mut self) -> Result<Option<Notice>, DbError> {
        loop {
            if let Some(notice) = self.at_hand() {
                return Ok(Some(notice));
            }
            if let Some(held) = self.held.as_ref().map(|held| held.id) {
                self.fill_gap(held - 1).await?;
            } else if self.last < self.earlier {
                self.fill_gap(self.earlier).await?;
            } else {
                match self.waiting.try_recv() {
                    Ok(notice) => self.held = Some(notice),
                    Err(_) => return Ok(None),
                }
            }
        }
    }

    /// The next notice if it is here already.
    fn at_hand(&mut self) -> Option<Notice> {
        if self.ready.is_empty() {
            let held = self.held.take()?;
            match held.id {
                id if id <= self.last => return None,
                id if id == self.last + 1 => self.ready.push_back(held),
                _ => {
                    self.held = Some(held);
                    return None;
                }
            }
        }
        let notice = self.ready.pop_front()?;
        self.last = notice.id;
        Some(notice)
    }

    /// Reads what is missing up to here. Rows that are gone (they were told, or their workspace was removed) are nobody's loss.
    async fn fill_gap(&mut self, up_to: u64) -> Result<(), DbError> {
        let last = self.last;
        let missing = self.readers.read(move |connection| stored(connection, last, up_to)).await?;
        if missing.is_empty() {
            self.last = up_to;
        }
        self.ready.extend(missing);
        Ok(())
    }

    /// Looks for what other processes wrote.
    async fn look(&mut self) -> Result<(), DbError> {
        let last = self.last;
        self.ready.extend(self.readers.read(move |connection| stored(connection, last, u64::MAX)).await?);
        Ok(())
    }
}

impl NoticeSource for Outbox {
    fn next_now(&mut self) -> Answer<'_, Option<Notice>> {
        Box::pin(self.now())
    }

    fn next_many(&mut self, limit: usize) -> Answer<'_, Vec<Notice>> {
        Box::pin(async move {
            let mut notices: Vec<_> = self.next().await?.into_iter().collect();
            while !notices.is_empty() && notices.len() < limit {
                if self.held.is_none() {
                    self.held = self.waiting.try_recv().ok();
                }
                match self.at_hand() {
                    Some(notice) => notices.push(notice),
                    None => break,
                }
            }
            Ok(notices)
        })
    }
}

/// Number of the latest notice.
pub(super) fn last(connection: &Connection) -> Result<u64, DbError> {
    Ok(connection.prepare_cached("SELECT last_notice FROM meta")?.query_row([], |row| unsigned(row, 0))?)
}

/// Counts up to `last`.
pub(super) fn set_last(connection: &Connection, last: u64) -> Result<(), DbError> {
    run(connection, "UPDATE meta SET last_notice = ?1", [signed(last)])?;
    Ok(())
}

/// Adds one notice and counts it.
pub(super) fn add(connection: &Connection, content: NoticeContent) -> Result<(), DbError> {
    let id = last(connection)? + 1;
    set_last(connection, id)?;
    insert(connection, &Notice { id, content })
}

/// Writes a notice whose number the caller has counted.
pub(super) fn insert(connection: &Connection, notice: &Notice) -> Result<(), DbError> {
    let id = signed(notice.id);
    match &notice.content {
        NoticeContent::Commit { workspace, from, to, device, request_id, outcome: _ } => run(
            connection,
            "INSERT INTO notices (id, kind, workspace, subject, from_revision, to_revision, request_id) \
                 VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6)",
            params![id, workspace.0.as_bytes(), device.0.as_bytes(), signed(from.0), signed(to.0), request_id],
        )?,
        NoticeContent::Workspace { user, workspace, name, parent, request_id } => run(
            connection,
            "INSERT INTO notices (id, kind, workspace, subject, name, parent, request_id) VALUES (?1, 2, ?2, ?3, ?4, ?5, ?6)",
            params![id, workspace.0.as_bytes(), user.0.as_bytes(), name.as_str(), parent_number(*parent), request_id],
        )?,
    };
    Ok(())
}

/// At most [`PAGE`] stored notices above `after`, up to `up_to`, in order.
pub(super) fn stored(connection: &Connection, after: u64, up_to: u64) -> Result<Vec<Notice>, DbError> {
    let sql = "SELECT id, kind, workspace, subject, from_revision, to_revision, request_id, name, parent FROM notices \
         WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    all(connection, sql, params![signed(after), signed(up_to), signed(PAGE as u64)], read_notice)
}

fn read_notice(row: &Row<'_>) -> rusqlite::Result<Notice> {
    let workspace = WorkspaceId(uuid(row, 2)?);
    let subject = uuid(row, 3)?;
    let content = match row.get(1)? {
        1 => NoticeContent::Commit {
            workspace,
            from: Revision(unsigned(row, 4)?),
            to: Revision(unsigned(row, 5)?),
            device: DeviceId(subject),
            request_id: row.get(6)?,
            outcome: None,
        },
        2 => NoticeContent::Workspace {
            user: UserId(subject),
            workspace,
            name: name(row, 7)?,
            parent: parent(row, 8)?,
            request_id: row.get(6)?,
        },
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(1, other)),
    };
    Ok(Notice { id: unsigned(row, 0)?, content })
}

/// Deletes the notices up to this one.
pub(super) fn forget(connection: &Connection, up_to: u64) -> Result<(), DbError> {
    run(connection, "DELETE FROM notices WHERE id <= ?1", [signed(up_to)])?;
    Ok(())
}
