//! Notices between the transaction that caused them and the publisher that tells them, where many instances work on one database.
//!
//! Each is a row, written in the transaction of its cause, that belongs to the instance which wrote it; that instance tells it from
//! memory right after COMMIT and deletes the row. Rows of nobody (administrative commands write them) and of instances that are gone
//! are taken over by any other. Within a workspace notices are told in the order of its revisions: a commit that finds a row of
//! another instance for its workspace names it, and its own notice waits until that row is gone. Nothing is told before it is
//! durable, and no row goes before it was told.

use super::super::columns::{parent_number, signed};
use super::super::store::{Answer, NoticeSource};
use super::instance::Instance;
use super::link::{Link, Links, Stop, query};
use super::rows::{self, column, damaged, name, parent, unsigned};
use crate::db::{DbError, Notice, NoticeContent};
use stacksync_core::values::{DeviceId, Revision, UserId, WorkspaceId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_postgres::Row;
use uuid::Uuid;

/// Notices that wait in memory for the publisher; what does not fit he reads from the database.
const WAITING_MAX: usize = 4_096;
/// Notices that one look into the database brings.
const PAGE: i64 = 256;
/// How often the database is looked at for rows of nobody and of instances that are gone.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether another instance has told what ours wait for.
const WAIT_INTERVAL: Duration = Duration::from_millis(15);
/// After that ours wait no longer: an instance that lives but does not publish must not silence the others.
const PATIENCE: Duration = Duration::from_secs(20);

/// A row of the table.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub row: i64,
    /// A row of another instance for the same workspace, to be told before.
    pub after: Option<i64>,
    pub content: NoticeContent,
}

/// What the committers, the publisher and the store share.
#[derive(Default)]
pub(super) struct Waiting {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Stored>,
    /// Rows of ours may be in the database that are not in the queue.
    incomplete: bool,
    /// Given out and not yet deleted: the number that the publisher knows, and the row.
    given: VecDeque<(u64, i64)>,
    /// Rows that are in the publisher's hands in some way.
    known: HashSet<i64>,
    /// The store is closed.
    closed: bool,
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows that are durable now.
    pub(super) fn add(&self, notices: Vec<Stored>) {
        if notices.is_empty() {
            return;
        }
        let mut state = self.state();
        for notice in notices {
            if state.incomplete || state.queue.len() >= WAITING_MAX {
                state.incomplete = true;
                break;
            }
            state.queue.push_back(notice);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// It is not known which rows there are.
    pub(super) fn lost_count(&self) {
        self.state().incomplete = true;
        self.arrived.notify_one();
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    /// Deletes the rows of what was told.
    pub(super) async fn told(&self, links: &Links, up_to: u64) -> Result<(), DbError> {
        let rows: Vec<i64> = self.state().given.iter().take_while(|(number, _)| *number <= up_to).map(|(_, row)| *row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        links.write(|link| Box::pin(forget(link, rows.clone()))).await?;
        let mut state = self.state();
        while state.given.front().is_some_and(|(number, _)| *number <= up_to) {
            state.given.pop_front();
        }
        for row in rows {
            state.known.remove(&row);
        }
        Ok(())
    }
}

/// A look into the database that has not come to its end: if it never does, another one is needed. Until then commits go on handing their
/// notices over.
struct HalfWay<'a>(Option<&'a Waiting>);

impl HalfWay<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for HalfWay<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.0 {
            waiting.lost_count();
        }
    }
}

async fn forget(link: &Link, rows: Vec<i64>) -> Result<(), Stop<DbError>> {
    link.run(&query!("DELETE FROM notices WHERE id = ANY($1)", INT8_ARRAY), &[&rows]).await?;
    Ok(())
}

/// The publisher's end.
pub(super) struct Outbox {
    links: Links,
    waiting: Arc<Waiting>,
    instance: Arc<Instance>,
    /// To be given out.
    ready: VecDeque<Stored>,
    /// Wait for other instances, per workspace in order.
    held: HashMap<WorkspaceId, VecDeque<(Instant, Stored)>>,
    /// The number of the last one that was given out.
    last: u64,
    look_at: Instant,
    wait_look_at: Instant,
}

impl Outbox {
    pub(super) fn new(links: Links, waiting: Arc<Waiting>, instance: Arc<Instance>) -> Self {
        // What was written before, without a publisher, belongs to nobody.
        waiting.state().queue.clear();
        let now = Instant::now();
        Self { links, waiting, instance, ready: VecDeque::new(), held: HashMap::new(), last: 0, look_at: now, wait_look_at: now }
    }

    /// Collects what can be told now.
    async fn collect(&mut self) -> Result<(), DbError> {
        self.instance.register(&self.links).await?;
        if Instant::now() >= self.look_at {
            self.adopt().await?;
        }
        self.drain();
        if self.waiting.state().incomplete && self.ready.is_empty() {
            self.catch_up().await?;
        }
        if !self.held.is_empty() && Instant::now() >= self.wait_look_at {
            self.release().await?;
        }
        Ok(())
    }

    /// Takes over the rows of nobody and of those who are gone.
    async fn adopt(&mut self) -> Result<(), DbError> {
        let (me, waiting) = (self.instance.id(), Arc::clone(&self.waiting));
        // If this is dropped half-way they may be ours already.
        let half_way = HalfWay(Some(&waiting));
        let adopted = self.links.write(|link| Box::pin(adopt(link, me))).await?;
        let full = adopted.len() as i64 >= PAGE;
        self.take(adopted);
        half_way.done();
        self.look_at = if full { Instant::now() } else { Instant::now() + LOOK_INTERVAL };
        Ok(())
    }

    /// Makes ready what is not known yet.
    fn take(&mut self, notices: Vec<Stored>) {
        let mut state = self.waiting.state();
        for notice in notices {
            if state.known.insert(notice.row) {
                self.ready.push_back(notice);
            }
        }
    }

    /// Takes what came through memory; what has to wait for another instance is put aside, and everything after it.
    fn drain(&mut self) {
        let mut state = self.waiting.state();
        while let Some(notice) = state.queue.pop_front() {
            if !state.known.insert(notice.row) {
                continue;
            }
            let workspace = workspace_of(&notice.content);
            match self.held.get_mut(&workspace) {
                Some(queue) => queue.push_back((Instant::now(), notice)),
                None if notice.after.is_some() => {
                    self.held.entry(workspace).or_default().push_back((Instant::now(), notice));
                }
                None => self.ready.push_back(notice),
            }
        }
    }

    /// Reads the rows of ours that did not come through memory.
    async fn catch_up(&mut self) -> Result<(), DbError> {
        let waiting = Arc::clone(&self.waiting);
        // From here on they come through memory again, so none is missed; what comes twice is known.
        waiting.state().incomplete = false;
        let half_way = HalfWay(Some(&waiting));
        if !self.read_own().await? {
            half_way.done();
        }
        Ok(())
    }

    /// Whether there may be more.
    async fn read_own(&mut self) -> Result<bool, DbError> {
        let known: Vec<i64> = self.waiting.state().known.iter().copied().collect();
        let sql = query!(
            "SELECT id, kind, workspace, subject, from_revision, to_revision, request_id, name, parent FROM notices \
             WHERE instance = $1 AND id <> ALL($2) ORDER BY id LIMIT $3",
            UUID,
            INT8_ARRAY,
            INT8
        );
        let found = self.links.read(&sql, &[&self.instance.id(), &known, &PAGE]).await?;
        let more = found.len() as i64 >= PAGE;
        let found = found.iter().map(read_notice).collect::<Result<Vec<_>, _>>()?;
        self.take(found);
        Ok(more)
    }

    /// Lets go what waited for rows that are gone.
    async fn release(&mut self) -> Result<(), DbError> {
        let firsts: Vec<i64> = self.held.values().filter_map(|queue| queue.front()?.1.after).collect();
        let sql = query!("SELECT id FROM notices WHERE id = ANY($1)", INT8_ARRAY);
        let left: HashSet<i64> =
            self.links.read(&sql, &[&firsts]).await?.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
        let ready = &mut self.ready;
        self.held.retain(|_, queue| {
            while let Some((since, notice)) = queue.front() {
                let waits = notice.after.is_some_and(|row| left.contains(&row) || !firsts.contains(&row));
                if waits && since.elapsed() < PATIENCE {
                    break;
                }
                ready.extend(queue.pop_front().map(|(_, notice)| notice));
            }
            !queue.is_empty()
        });
        self.wait_look_at = Instant::now() + WAIT_INTERVAL;
        Ok(())
    }

    fn give(&mut self, limit: usize) -> Vec<Notice> {
        let mut state = self.waiting.state();
        let count = limit.min(self.ready.len());
        self.ready
            .drain(..count)
            .map(|stored| {
                self.last += 1;
                state.given.push_back((self.last, stored.row));
                Notice { id: self.last, content: stored.content }
            })
            .collect()
    }

    /// Waits until there may be something.
    async fn wait(&self) {
        let next = if self.held.is_empty() { self.look_at } else { self.look_at.min(self.wait_look_at) };
        let pause = next.saturating_duration_since(Instant::now());
        // Nothing is lost when it elapses.
        let _ = tokio::time::timeout(pause, self.waiting.arrived.notified()).await;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.instance.leave(self.links.clone());
    }
}

impl NoticeSource for Outbox {
    fn next_many(&mut self, limit: usize) -> Answer<'_, Vec<Notice>> {
        Box::pin(async move {
            loop {
                if self.ready.is_empty() {
                    self.collect().await?;
                }
                let notices = self.give(limit);
                if !notices.is_empty() || self.waiting.state().closed {
                    return Ok(notices);
                }
                self.wait().await;
            }
        })
    }

    fn next_now(&mut self) -> Answer<'_, Option<Notice>> {
        Box::pin(async move {
            if self.ready.is_empty() {
                self.collect().await?;
            }
            Ok(self.give(1).pop())
        })
    }
}

fn workspace_of(content: &NoticeContent) -> WorkspaceId {
    match content {
        NoticeContent::Commit { workspace, .. } | NoticeContent::Workspace { workspace, .. } => *workspace,
    }
}

/// Adds one notice of nobody; the next look of some instance finds it.
pub(super) async fn add(link: &Link, content: &NoticeContent) -> Result<(), Stop<DbError>> {
    if let NoticeContent::Workspace { user, workspace, name, parent, request_id } = content {
        let sql = query!(
            "INSERT INTO notices (kind, workspace, subject, name, parent, request_id) VALUES (2, $1, $2, $3, $4, $5)",
            UUID,
            UUID,
            TEXT,
            INT8,
            TEXT
        );
        let request_id = request_id.as_deref().map(rows::text);
        link.run(&sql, &[&workspace.0, &user.0, &name.as_str(), &parent_number(*parent), &request_id]).await?;
    }
    Ok(())
}

async fn adopt(link: &Link, me: Uuid) -> Result<Vec<Stored>, Stop<DbError>> {
    let sql = query!(
        "UPDATE notices n SET instance = $1 FROM (SELECT id FROM notices f WHERE f.instance IS NULL OR (f.instance <> $1 AND NOT EXISTS \
         (SELECT 1 FROM instances i WHERE i.id = f.instance AND i.seen_at > clock_timestamp() - interval '5 s')) \
         ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) t WHERE n.id = t.id RETURNING n.id, n.kind, n.workspace, n.subject, \
         n.from_revision, n.to_revision, n.request_id, n.name, n.parent",
        UUID,
        INT8
    );
    let mut adopted = link.rows(&sql, &[&me, &PAGE]).await?.iter().map(read_notice).collect::<Result<Vec<_>, DbError>>()?;
    adopted.sort_unstable_by_key(|notice| notice.row);
    Ok(adopted)
}

fn read_notice(row: &Row) -> Result<Stored, DbError> {
    let workspace = WorkspaceId(column(row, 2)?);
    let subject: Uuid = column(row, 3)?;
    let content = match column::<i16>(row, 1)? {
        1 => NoticeContent::Commit {
            workspace,
            from: Revision(unsigned(row, 4)?),
            to: Revision(unsigned(row, 5)?),
            device: DeviceId(subject),
            request_id: column(row, 6)?,
            outcome: None,
        },
        2 => NoticeContent::Workspace {
            user: UserId(subject),
            workspace,
            name: name(row, 7)?,
            parent: parent(row, 8)?,
            request_id: column(row, 6)?,
        },
        _ => return Err(damaged("a notice of an unknown kind")),
    };
    Ok(Stored { row: column(row, 0)?, after: None, content })
}

/// The numbers of a commit's notice as columns.
pub(super) fn span(from: Revision, to: Revision) -> (i64, i64) {
    (signed(from.0), signed(to.0))
}
