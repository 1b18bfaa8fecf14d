//! Notices between the transaction that caused them and the publisher that tells them, where many instances work on one database.
//!
//! Those of the commits of one transaction are a row, written in that transaction, that belongs to the instance which wrote it; that
//! instance tells them from memory right after COMMIT and deletes the row. Rows of nobody (administrative commands write them) and of
//! instances that are gone are taken over by any other. Within a workspace notices are told in the order of its revisions: a commit
//! whose workspace names a row of another instance names that row too, and its own notice waits until the other instance has said
//! that it told what was before, or that row is gone. Nothing is told before it is durable, and no row goes before it was told.

use super::super::columns::{parent_number, signed};
use super::super::store::{Answer, NoticeSource};
use super::instance::Instance;
use super::link::{Link, Links, Params, Query, Stop, query};
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
/// How often it is looked whether another instance has told what ours wait for, if it does not say so.
const WAIT_INTERVAL: Duration = Duration::from_millis(15);
/// After that ours wait no longer: an instance that lives but does not publish must not silence the others.
const PATIENCE: Duration = Duration::from_secs(20);
/// Workspaces of which it is remembered what other instances told; with more all are forgotten, and the database is asked.
const TOLD_ELSEWHERE_MAX: usize = 65_536;

/// A row with notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum RowKey {
    /// Of the table `notices`: one.
    Single(i64),
    /// Of the table `commit_notices`: those of a transaction.
    Commits(i64),
}

impl RowKey {
    const fn id(self) -> i64 {
        match self {
            Self::Single(id) | Self::Commits(id) => id,
        }
    }
}

/// A notice.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// A row of another instance with a notice of the same workspace, to be told before.
    pub after: Option<i64>,
    pub content: NoticeContent,
}

/// What is in one row.
#[derive(Clone, Debug)]
pub(super) struct StoredRow {
    pub row: RowKey,
    pub notices: Vec<Stored>,
}

/// A notice on its way to the publisher, and the row that goes when all of its notices are told.
type Moving = (RowKey, Stored);

/// What the committers, the publisher and the store share.
#[derive(Default)]
pub(super) struct Waiting {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<StoredRow>,
    /// Notices in it.
    queued: usize,
    /// Rows of ours may be in the database that are not in the queue.
    incomplete: bool,
    /// Given out and not yet told: the number that the publisher knows, and the row.
    given: VecDeque<(u64, RowKey)>,
    /// Rows that are in the publisher's hands in some way, and how many of their notices are not told.
    known: HashMap<RowKey, usize>,
    /// How far other instances told of workspaces.
    elsewhere: HashMap<WorkspaceId, Revision>,
    /// Something waits for them.
    holding: bool,
    /// The store is closed.
    closed: bool,
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows that are durable now.
    pub(super) fn add(&self, rows: Vec<StoredRow>) {
        if rows.is_empty() {
            return;
        }
        let mut state = self.state();
        for row in rows {
            if state.incomplete || state.queued >= WAITING_MAX {
                state.incomplete = true;
                break;
            }
            state.queued += row.notices.len();
            state.queue.push_back(row);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Another instance has told of this workspace up to here.
    pub(super) fn told_elsewhere(&self, workspace: WorkspaceId, up_to: Revision) {
        let mut state = self.state();
        if state.elsewhere.len() >= TOLD_ELSEWHERE_MAX {
            state.elsewhere.clear();
        }
        let told = state.elsewhere.entry(workspace).or_insert(up_to);
        *told = (*told).max(up_to);
        let holding = state.holding;
        drop(state);
        if holding {
            self.arrived.notify_one();
        }
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

    /// Deletes the rows of which everything was told.
    pub(super) async fn told(&self, links: &Links, up_to: u64) -> Result<(), DbError> {
        let done = self.state().done(up_to);
        let (mut single, mut commits) = (Vec::new(), Vec::new());
        for row in &done {
            match row {
                RowKey::Single(id) => single.push(*id),
                RowKey::Commits(id) => commits.push(*id),
            }
        }
        if !done.is_empty() {
            links.write(|link| Box::pin(forget(link, single.clone(), commits.clone()))).await?;
        }
        let mut state = self.state();
        while let Some(&(_, row)) = state.given.front().filter(|(number, _)| *number <= up_to) {
            state.given.pop_front();
            if let Some(left) = state.known.get_mut(&row) {
                *left -= 1;
                if *left == 0 {
                    state.known.remove(&row);
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// The rows of which everything is told once this is.
    fn done(&self, up_to: u64) -> Vec<RowKey> {
        let mut told: HashMap<RowKey, usize> = HashMap::new();
        for (_, row) in self.given.iter().take_while(|(number, _)| *number <= up_to) {
            *told.entry(*row).or_default() += 1;
        }
        told.into_iter().filter(|(row, told)| self.known.get(row) == Some(told)).map(|(row, _)| row).collect()
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

async fn forget(link: &Link, single: Vec<i64>, commits: Vec<i64>) -> Result<(), Stop<DbError>> {
    if !single.is_empty() {
        link.run(&query!("DELETE FROM notices WHERE id = ANY($1)", INT8_ARRAY), &[&single]).await?;
    }
    if !commits.is_empty() {
        link.run(&query!("DELETE FROM commit_notices WHERE id = ANY($1)", INT8_ARRAY), &[&commits]).await?;
    }
    Ok(())
}

/// The publisher's end.
pub(super) struct Outbox {
    links: Links,
    waiting: Arc<Waiting>,
    instance: Arc<Instance>,
    /// To be given out.
    ready: VecDeque<Moving>,
    /// Wait for other instances, per workspace in order.
    held: HashMap<WorkspaceId, VecDeque<(Instant, Moving)>>,
    /// The number of the last one that was given out.
    last: u64,
    look_at: Instant,
    wait_look_at: Instant,
}

impl Outbox {
    pub(super) fn new(links: Links, waiting: Arc<Waiting>, instance: Arc<Instance>) -> Self {
        // What was written before, without a publisher, belongs to nobody.
        let mut state = waiting.state();
        (state.queue, state.queued) = Default::default();
        drop(state);
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
        if !self.held.is_empty() {
            self.release_what_was_told();
            if !self.held.is_empty() && Instant::now() >= self.wait_look_at {
                self.release_what_is_gone().await?;
            }
            self.waiting.state().holding = !self.held.is_empty();
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
        self.take_found(adopted);
        half_way.done();
        self.look_at = if full { Instant::now() } else { Instant::now() + LOOK_INTERVAL };
        Ok(())
    }

    /// Takes what did not come through memory.
    fn take_found(&mut self, rows: Vec<StoredRow>) {
        let waiting = Arc::clone(&self.waiting);
        let mut state = waiting.state();
        for row in rows {
            self.take_row(&mut state, row);
        }
    }

    /// Takes what came through memory.
    fn drain(&mut self) {
        let waiting = Arc::clone(&self.waiting);
        let mut state = waiting.state();
        while let Some(row) = state.queue.pop_front() {
            state.queued -= row.notices.len();
            self.take_row(&mut state, row);
        }
    }

    /// What has to wait for another instance is put aside, and everything after it: by the numbers of the rows, which are those of their
    /// workspaces' order. What was found late may come before what waits for it.
    fn take_row(&mut self, state: &mut State, StoredRow { row, notices }: StoredRow) {
        if notices.is_empty() || state.known.contains_key(&row) {
            return;
        }
        state.known.insert(row, notices.len());
        for notice in notices {
            let workspace = workspace_of(&notice.content);
            match self.held.get_mut(&workspace) {
                Some(queue) => {
                    let place = queue.partition_point(|(_, (other, _))| other.id() <= row.id());
                    queue.insert(place, (Instant::now(), (row, notice)));
                }
                None if notice.after.is_some() => {
                    self.held.entry(workspace).or_default().push_back((Instant::now(), (row, notice)));
                    state.holding = true;
                }
                None => self.ready.push_back((row, notice)),
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
        let (mut single, mut commits) = (Vec::new(), Vec::new());
        for row in self.waiting.state().known.keys() {
            match row {
                RowKey::Single(id) => single.push(*id),
                RowKey::Commits(id) => commits.push(*id),
            }
        }
        let me = self.instance.id();
        let looks: [(&Query, Params<'_>); 2] = [(&OWN_SINGLE, &[&me, &single, &PAGE]), (&OWN_COMMITS, &[&me, &commits, &PAGE])];
        let [singles, commits] = self.links.read_all(looks).await?;
        let more = singles.len().max(commits.len()) as i64 >= PAGE;
        let found = singles.iter().map(read_notice).chain(commits.iter().map(read_commits)).collect::<Result<Vec<_>, _>>()?;
        self.take_found(found);
        Ok(more)
    }

    /// Lets go what waited for other instances that said that they told of it.
    fn release_what_was_told(&mut self) {
        let told: HashMap<_, _> = {
            let state = self.waiting.state();
            self.held.keys().filter_map(|of| Some((*of, *state.elsewhere.get(of)?))).collect()
        };
        self.release(|_, (_, notice)| match &notice.content {
            NoticeContent::Commit { workspace, from, .. } => told.get(workspace).is_none_or(|told| told < from),
            NoticeContent::Workspace { .. } => false,
        });
    }

    /// Lets go what waited for rows that are gone.
    async fn release_what_is_gone(&mut self) -> Result<(), DbError> {
        let firsts: Vec<i64> = self.held.values().filter_map(|queue| queue.front()?.1.1.after).collect();
        let sql = query!("SELECT id FROM commit_notices WHERE id = ANY($1)", INT8_ARRAY);
        let left: HashSet<i64> =
            self.links.read(&sql, &[&firsts]).await?.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
        self.release(|since, (_, notice)| {
            let there = notice.after.is_some_and(|row| left.contains(&row) || !firsts.contains(&row));
            there && since.elapsed() < PATIENCE
        });
        self.wait_look_at = Instant::now() + WAIT_INTERVAL;
        Ok(())
    }

    /// Lets go what need not wait, of each workspace in order. What names no row of another instance never does.
    fn release(&mut self, waits: impl Fn(&Instant, &Moving) -> bool) {
        let ready = &mut self.ready;
        self.held.retain(|_, queue| {
            while let Some((since, moving)) = queue.front() {
                if moving.1.after.is_some() && waits(since, moving) {
                    break;
                }
                ready.extend(queue.pop_front().map(|(_, moving)| moving));
            }
            !queue.is_empty()
        });
    }

    fn give(&mut self, limit: usize) -> Vec<Notice> {
        let mut state = self.waiting.state();
        let count = limit.min(self.ready.len());
        self.ready
            .drain(..count)
            .map(|(row, stored)| {
                self.last += 1;
                state.given.push_back((self.last, row));
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
    fn enter(&mut self) -> Answer<'_, ()> {
        Box::pin(self.instance.register(&self.links))
    }

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

/// Notices of workspaces that this instance has taken on, but for these.
const OWN_SINGLE: Query = query!(
    "SELECT id, kind, workspace, subject, from_revision, to_revision, request_id, name, parent FROM notices \
     WHERE instance = $1 AND id <> ALL($2) ORDER BY id LIMIT $3",
    UUID,
    INT8_ARRAY,
    INT8
);
/// The same of commits; with the last row of another instance that comes before and names some of the same workspaces.
const OWN_COMMITS: Query = query!(
    "SELECT n.id, n.workspaces, n.devices, n.from_revisions, n.to_revisions, n.request_ids, (SELECT max(f.id) FROM commit_notices f \
     WHERE f.id < n.id AND f.instance IS DISTINCT FROM $1 AND f.workspaces && n.workspaces) FROM commit_notices n \
     WHERE n.instance = $1 AND n.id <> ALL($2) ORDER BY n.id LIMIT $3",
    UUID,
    INT8_ARRAY,
    INT8
);
const ADOPT_SINGLE: Query = query!(
    "UPDATE notices n SET instance = $1 FROM (SELECT id FROM notices f WHERE f.instance IS NULL OR (f.instance <> $1 AND NOT EXISTS \
     (SELECT 1 FROM instances i WHERE i.id = f.instance AND i.seen_at > clock_timestamp() - interval '5 s')) \
     ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) t WHERE n.id = t.id RETURNING n.id, n.kind, n.workspace, n.subject, \
     n.from_revision, n.to_revision, n.request_id, n.name, n.parent",
    UUID,
    INT8
);
/// Rows of those who are gone are late already and wait for nobody; among themselves they are told in their order.
const ADOPT_COMMITS: Query = query!(
    "UPDATE commit_notices n SET instance = $1 FROM (SELECT id FROM commit_notices f WHERE f.instance IS NULL OR (f.instance <> $1 \
     AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = f.instance AND i.seen_at > clock_timestamp() - interval '5 s')) \
     ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) t WHERE n.id = t.id RETURNING n.id, n.workspaces, n.devices, \
     n.from_revisions, n.to_revisions, n.request_ids, NULL::bigint",
    UUID,
    INT8
);

async fn adopt(link: &Link, me: Uuid) -> Result<Vec<StoredRow>, Stop<DbError>> {
    let found = link.pipeline(&[(&ADOPT_SINGLE, &[&me, &PAGE]), (&ADOPT_COMMITS, &[&me, &PAGE])]).await?;
    let mut adopted = Vec::new();
    for (rows, read) in found.iter().zip([read_notice as fn(&Row) -> _, read_commits]) {
        let mut rows = rows.iter().map(read).collect::<Result<Vec<_>, DbError>>()?;
        rows.sort_unstable_by_key(|row| row.row.id());
        adopted.extend(rows);
    }
    Ok(adopted)
}

fn read_commits(row: &Row) -> Result<StoredRow, DbError> {
    let (workspaces, devices): (Vec<Uuid>, Vec<Uuid>) = (column(row, 1)?, column(row, 2)?);
    let (from, to): (Vec<i64>, Vec<i64>) = (column(row, 3)?, column(row, 4)?);
    let requests: Vec<String> = column(row, 5)?;
    let after: Option<i64> = column(row, 6)?;
    let count = workspaces.len();
    if [devices.len(), from.len(), to.len(), requests.len()].into_iter().any(|other| other != count) {
        return Err(damaged("notices of a transaction do not fit together"));
    }
    let revision = |number: i64| u64::try_from(number).map(Revision).map_err(|_| damaged("a negative number"));
    let mut notices = Vec::with_capacity(count);
    for ((((workspace, device), from), to), request_id) in workspaces.into_iter().zip(devices).zip(from).zip(to).zip(requests) {
        let content = NoticeContent::Commit {
            workspace: WorkspaceId(workspace),
            from: revision(from)?,
            to: revision(to)?,
            device: DeviceId(device),
            request_id,
            outcome: None,
        };
        notices.push(Stored { after, content });
    }
    Ok(StoredRow { row: RowKey::Commits(column(row, 0)?), notices })
}

fn read_notice(row: &Row) -> Result<StoredRow, DbError> {
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
    Ok(StoredRow { row: RowKey::Single(column(row, 0)?), notices: vec![Stored { after: None, content }] })
}

/// The numbers of a commit's notice as columns.
pub(super) fn span(from: Revision, to: Revision) -> (i64, i64) {
    (signed(from.0), signed(to.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::PostgresPlace;

    fn row(id: i64, after: Option<i64>) -> StoredRow {
        let content = NoticeContent::Commit {
            workspace: WorkspaceId(Uuid::nil()),
            from: Revision(id as u64 - 1),
            to: Revision(id as u64),
            device: DeviceId(Uuid::nil()),
            request_id: id.to_string(),
            outcome: None,
        };
        StoredRow { row: RowKey::Commits(id), notices: vec![Stored { after, content }] }
    }

    /// The row of an instance that is gone was taken over, but the look that did it was cut off: it is found afterwards.
    #[tokio::test]
    async fn what_is_found_late_is_told_before_what_waits_for_it() {
        let place = PostgresPlace::new("127.0.0.1", 1, "none", "nobody", "");
        let mut outbox = Outbox::new(Links::new(&place).unwrap(), Arc::default(), Arc::new(Instance::new()));
        outbox.take_found(vec![row(7, Some(6)), row(9, Some(8))]);
        assert!(outbox.ready.is_empty());
        outbox.take_found(vec![row(6, None)]);
        outbox.waiting.told_elsewhere(WorkspaceId(Uuid::nil()), Revision(6));
        outbox.release_what_was_told();
        let told: Vec<i64> = outbox.ready.iter().map(|(row, _)| row.id()).collect();
        assert_eq!((told, outbox.held.len()), (vec![6, 7], 1));
    }
}
