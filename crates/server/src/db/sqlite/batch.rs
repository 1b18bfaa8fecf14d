//! One transaction of the writer: the commits and other changes that share it.
//!
//! Each commit sees what the ones before it in the batch did. Counters that many commits change (a workspace's revision, its owner's
//! use, the number of the last notice) are kept here and written once at the end; nothing else is remembered, and nothing
//! beyond the transaction.

use super::super::columns::{kind_number, pack_body, parent_number, signed, status_number};
use super::super::request::RequestKey;
use super::answers::{self, Stored, Trim};
use super::rows::{first, run, unsigned};
use super::view::TransactionView;
use super::writer::Write;
use super::{Commit, CommitOutcome, CommitResult, DbError, Made, Notice, NoticeContent, outbox};
use rusqlite::{Connection, params};
use stacksync_core::commit::{CommitAnswer, ItemCommit, Verdict};
use stacksync_core::decide::{Decision, Facts, NewVersion, Quota, decide};
use stacksync_core::planted;
use stacksync_core::values::{Body, Revision, Status, UserId, WorkspaceId};
use std::collections::HashMap;
use std::sync::Arc;

/// A transaction that is being filled.
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    trim: &'a mut Trim,
    workspaces: HashMap<WorkspaceId, Workspace>,
    owners: HashMap<i64, Owner>,
    members: HashMap<(i64, UserId), bool>,
    last_notice: Option<u64>,
    notices: Vec<Notice>,
}

/// A workspace as this transaction leaves it.
#[derive(Clone, Copy)]
struct Workspace {
    number: i64,
    owner: i64,
    revision: Revision,
    changed: bool,
}

/// A user's quota as this transaction leaves it.
#[derive(Clone, Copy)]
struct Owner {
    quota: Quota,
    changed: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(connection: &'a Connection, trim: &'a mut Trim) -> Self {
        Self {
            connection,
            trim,
            workspaces: HashMap::new(),
            owners: HashMap::new(),
            members: HashMap::new(),
            last_notice: None,
            notices: Vec::new(),
        }
    }

    /// Judges and writes one commit. The outer error means that the transaction is of no use any more; the inner one is the
    /// caller's answer, and nothing of his commit was written.
    pub(super) fn commit(&mut self, commit: &Commit, key: &RequestKey) -> Result<CommitResult, DbError> {
        let Some(mut workspace) = self.accessible(commit)? else { return Ok(Err(DbError::NoAccess)) };
        match answers::stored(self.connection, commit, key)? {
            Stored::Nothing => {}
            Stored::Answer(outcome) => return Ok(Ok(Arc::new(outcome))),
            Stored::OtherCommit => return Ok(Err(DbError::RequestReused)),
        }
        let mut owner = self.owner(workspace.owner)?;
        let outcome = self.judge(commit, &mut workspace, &mut owner)?;
        answers::store(self.connection, commit, key, &outcome)?;
        self.trim.stored(self.connection, commit.device)?;
        let outcome = Arc::new(outcome);
        if workspace.changed {
            self.workspaces.insert(commit.workspace, workspace);
            self.owners.insert(workspace.owner, owner);
        }
        if outcome.answer.from != outcome.answer.to {
            self.notify(commit, &outcome)?;
        }
        Ok(Ok(outcome))
    }

    /// Runs any other change; if it fails it leaves nothing.
    pub(super) fn write(&mut self, write: &mut dyn Write) -> Result<(), DbError> {
        // It may read or change what is kept here.
        self.flush()?;
        let before = outbox::last(self.connection)?;
        self.connection.execute_batch("SAVEPOINT change")?;
        match write.run(self.connection) {
            Ok(()) => self.connection.execute_batch("RELEASE change")?,
            Err(_) => self.connection.execute_batch("ROLLBACK TO change; RELEASE change")?,
        }
        self.notices.extend(outbox::stored(self.connection, before, u64::MAX)?);
        Ok(())
    }

    /// Writes the counters. What is returned may be told once the transaction is durable.
    pub(super) fn finish(mut self) -> Result<Vec<Notice>, DbError> {
        self.flush()?;
        Ok(self.notices)
    }

    fn flush(&mut self) -> Result<(), DbError> {
        for (_, workspace) in self.workspaces.drain().filter(|(_, workspace)| workspace.changed) {
            let params = params![workspace.number, signed(workspace.revision.0)];
            run(self.connection, "UPDATE workspaces SET revision = ?2 WHERE number = ?1", params)?;
        }
        for (number, owner) in self.owners.drain().filter(|(_, owner)| owner.changed) {
            run(self.connection, "UPDATE users SET quota_used = ?2 WHERE number = ?1", params![number, signed(owner.quota.used)])?;
        }
        if let Some(last) = self.last_notice.take() {
            outbox::set_last(self.connection, last)?;
        }
        self.members.clear();
        Ok(())
    }

    /// The workspace, if the user is a member of it and not disabled.
    fn accessible(&mut self, commit: &Commit) -> Result<Option<Workspace>, DbError> {
        let Some(workspace) = self.workspace(commit.workspace)? else { return Ok(None) };
        let key = (workspace.number, commit.user);
        let allowed = match self.members.get(&key) {
            Some(&allowed) => allowed,
            None => {
                let sql = "SELECT 1 FROM users u JOIN memberships m ON m.user = u.number \
                           WHERE u.id = ?1 AND m.workspace = ?2 AND u.disabled = 0";
                let params = params![commit.user.0.as_bytes(), workspace.number];
                let allowed = first(self.connection, sql, params, |_| Ok(()))?.is_some();
                self.members.insert(key, allowed);
                allowed
            }
        };
        Ok(allowed.then_some(workspace))
    }

    fn workspace(&mut self, id: WorkspaceId) -> Result<Option<Workspace>, DbError> {
        if let Some(&workspace) = self.workspaces.get(&id) {
            return Ok(Some(workspace));
        }
        let sql = "SELECT number, owner, revision FROM workspaces WHERE id = ?1";
        let found = first(self.connection, sql, [id.0.as_bytes()], |row| {
            Ok(Workspace { number: row.get(0)?, owner: row.get(1)?, revision: Revision(unsigned(row, 2)?), changed: false })
        })?;
        self.workspaces.extend(found.map(|workspace| (id, workspace)));
        Ok(found)
    }

    fn owner(&mut self, number: i64) -> Result<Owner, DbError> {
        if let Some(&owner) = self.owners.get(&number) {
            return Ok(owner);
        }
        let sql = "SELECT quota_limit, quota_used FROM users WHERE number = ?1";
        let quota = first(self.connection, sql, [number], |row| Ok(Quota { limit: unsigned(row, 0)?, used: unsigned(row, 1)? }))?;
        let quota = quota.ok_or_else(|| DbError::Damaged("a workspace has no owner".into()))?;
        let owner = Owner { quota, changed: false };
        self.owners.insert(number, owner);
        Ok(owner)
    }

    fn judge(&self, commit: &Commit, workspace: &mut Workspace, owner: &mut Owner) -> Result<CommitOutcome, DbError> {
        let facts = Facts { present: &commit.present, place_rule: commit.place_rule };
        let from = workspace.revision;
        let mut verdicts = Vec::with_capacity(commit.items.len());
        let mut made = Vec::with_capacity(commit.items.len());
        for item in &commit.items {
            let mut view =
                TransactionView { connection: self.connection, workspace: workspace.number, quota: owner.quota, made: None };
            let decision = decide(&mut view, item, facts)?;
            let (verdict, by) = match decision {
                Decision::Existing(latest) => (Verdict::Existing(latest), view.made),
                Decision::Refuse { reason, current: None } => (Verdict::Refused { reason, current: None }, None),
                Decision::Refuse { reason, current } => (Verdict::Refused { reason, current }, view.made),
                Decision::Save(new) => {
                    workspace.revision.0 += 1;
                    workspace.changed = true;
                    owner.quota.used = owner.quota.used.saturating_add_signed(new.growth);
                    owner.changed |= new.growth != 0;
                    save(self.connection, commit, *workspace, &new)?;
                    let by = Made { status: new.item.status, device: commit.device };
                    (Verdict::Accepted(new.saved(workspace.revision)), Some(by))
                }
            };
            verdicts.push(verdict);
            made.push(by);
        }
        let answer = CommitAnswer { verdicts, from, to: workspace.revision };
        let Quota { limit: quota_limit, used: quota_used } = owner.quota;
        Ok(CommitOutcome { answer, made, quota_limit, quota_used, replay: false })
    }

    fn notify(&mut self, commit: &Commit, outcome: &Arc<CommitOutcome>) -> Result<(), DbError> {
        let last = match self.last_notice {
            Some(last) => last,
            None => outbox::last(self.connection)?,
        };
        let content = NoticeContent::Commit {
            workspace: commit.workspace,
            from: outcome.answer.from,
            to: outcome.answer.to,
            device: commit.device,
            request_id: commit.id.clone(),
            outcome: Some(Arc::clone(outcome)),
        };
        let notice = Notice { id: last + 1, content };
        outbox::insert(self.connection, &notice)?;
        self.last_notice = Some(notice.id);
        self.notices.push(notice);
        Ok(())
    }
}

/// Writes an accepted version: the one it follows goes to the history, the item to the end of the workspace's revisions.
fn save(connection: &Connection, commit: &Commit, workspace: Workspace, new: &NewVersion) -> Result<(), DbError> {
    let sql = match new.before {
        None => {
            "INSERT INTO items (workspace, revision, id, version, status, kind, parent, name, name_key, modified, adler32, executable, \
             device, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
        }
        Some(_) => {
            if !planted!(HistoryDropped) {
                keep_past(connection, &new.item)?;
            }
            "UPDATE items SET revision = ?2, version = ?4, status = ?5, kind = ?6, parent = ?7, name = ?8, name_key = ?9, modified = ?10, \
             adler32 = ?11, executable = ?12, device = ?13, body = ?14 WHERE id = ?3 AND workspace = ?1"
        }
    };
    let item = &new.item;
    let (adler32, executable) = match &item.body {
        Body::File(file) => (file.adler32, file.executable),
        Body::Folder | Body::Link(_) => (0, false),
    };
    let executable = executable && !planted!(ModeDropped);
    let key = (item.status != Status::Deleted).then(|| item.place.name.key());
    let key = key.as_ref().map(|key| if planted!(NameCaseIgnored) { item.place.name.as_str() } else { key.as_str() });
    let params = params![
        workspace.number,
        signed(workspace.revision.0),
        item.id.get(),
        signed(item.version.get()),
        status_number(item.status),
        kind_number(item.body.kind()),
        parent_number(item.place.parent),
        item.place.name.as_str(),
        key,
        item.modified.0,
        adler32,
        executable,
        commit.device.0.as_bytes(),
        pack_body(&item.body),
    ];
    match run(connection, sql, params)? {
        1 => Ok(()),
        rows => Err(DbError::Failed(format!("a version changed {rows} rows"))),
    }
}

fn keep_past(connection: &Connection, item: &ItemCommit) -> Result<(), DbError> {
    let sql = "INSERT INTO past_versions (id, version, revision, status, kind, parent, name, modified, adler32, executable, device, body) \
               SELECT id, version, revision, status, kind, parent, name, modified, adler32, executable, device, body \
               FROM items WHERE id = ?1";
    run(connection, sql, [item.id.get()])?;
    Ok(())
}
