//! From outcomes of effects back to the trees.

use super::act::agreed;
use super::input::{Applied, ApplyError, CallError, UploadError, Uploaded};
use super::work::{Committing, Op, Past, Purpose, Trouble};
use super::{Engine, OpId, Stat, Synced};
use crate::commit::{CommitAnswer, Refusal, Verdict};
use crate::planted;
use crate::reconcile::RULES_NAME;
use crate::trees::Local;
use crate::values::{Body, CommitId, ItemId, Kind, Place, RemoteItem, Status};
use std::collections::BTreeSet;

/// First and longest wait before an item is tried again, in milliseconds: when the disk or the service moved meanwhile ...
const SOFT_RETRY_MS: (u64, u64) = (20, 60_000);
/// ... and when something is really wrong.
const HARD_RETRY_MS: (u64, u64) = (1_000, 300_000);
/// So often an item may find the world changed before it is shown as a problem.
const QUIET_ATTEMPTS: u32 = 3;

/// Whether trying again soon is likely to help.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Soft,
    Hard,
}

impl Engine {
    pub(super) fn uploaded(&mut self, op: OpId, result: Result<Uploaded, UploadError>) {
        let Some((op, free)) = self.work.finish(op) else { return };
        free.into_iter().for_each(|folder| self.changed(folder));
        let id = op.item;
        match result {
            Ok(uploaded) => self.note_upload(id, uploaded),
            Err(UploadError::Changed) => {
                if let Some(place) = self.trees.local(id).map(|local| local.place.clone()) {
                    self.look_at(&place);
                }
                self.retry(id, Severity::Soft, "the file keeps changing while it is read");
            }
            Err(UploadError::Unreadable(text)) => self.retry(id, Severity::Hard, &text),
            Err(UploadError::Call(error)) => self.call_failed(id, error),
        }
    }

    fn note_upload(&mut self, id: ItemId, uploaded: Uploaded) {
        let Some(local) = self.trees.local(id).cloned() else { return self.dirty(id) };
        if !uploaded.stat.same_content(&local.stat) {
            return self.dirty(id);
        }
        if !self.work.troubles.get(&id).is_some_and(|trouble| trouble.lost) {
            self.work.clear_trouble(id);
        }
        let body = Body::File(uploaded.body);
        // What was agreed on still holds for this newer look, so that nobody has to read the file again for it.
        if let Some(synced) = self.trees.get(id).synced.clone()
            && synced.body == body
            && synced.place == local.place
            && synced.stat.as_ref().is_some_and(|stat| stat.same_content(&uploaded.stat) && *stat != uploaded.stat)
        {
            self.put_synced(id, Some(Synced { stat: Some(uploaded.stat.clone()), ..synced }));
        }
        self.put_local(id, Some(Local { place: local.place, stat: uploaded.stat, body: Some(body), ignored: local.ignored }));
    }

    pub(super) fn applied(&mut self, op: OpId, result: Result<Applied, ApplyError>) {
        let Some((op, free)) = self.work.finish(op) else { return };
        free.into_iter().for_each(|folder| self.changed(folder));
        let id = op.item;
        op.look_also.iter().for_each(|place| self.look_at(place));
        let look_again = op.look_again;
        if look_again {
            self.look_at(&op.place.clone());
        }
        match result {
            Ok(applied) => {
                self.note_applied(op, applied);
                if look_again {
                    self.look_below(id);
                }
            }
            Err(ApplyError::Changed) => {
                self.look_at(&op.place.clone());
                if let Some(folder) = op.place.parent.and_then(|folder| self.trees.local(folder)) {
                    self.look_at(&folder.place.clone());
                }
                if let Some(place) = self.trees.local(id).map(|local| local.place.clone()) {
                    self.look_at(&place);
                    self.look_into(id);
                }
                self.retry(id, Severity::Soft, "the disk keeps changing");
            }
            Err(ApplyError::Call(error)) => self.call_failed(id, error),
            Err(error @ (ApplyError::NoSpace | ApplyError::ChunkUnavailable { .. } | ApplyError::Failed(_))) => {
                self.retry(id, Severity::Hard, &error.to_string());
            }
        }
        self.changed(id);
    }

    fn note_applied(&mut self, op: Op, applied: Applied) {
        let Op { item: id, place, purpose, past, .. } = op;
        self.work.clear_trouble(id);
        match (purpose, applied) {
            (Some(Purpose::Write { remote, body }), Applied::Present(stat)) if stat.kind == body.kind() => {
                let is_first = self.trees.get(id).synced.is_none();
                self.note_written(id, place, (past == Past::Known).then_some(&remote), body, stat);
                self.log(id, if is_first { "downloaded" } else { "updated" }, format!("version {}", remote.version));
            }
            // The folder vanished or moved away meanwhile; what was put into it is found with it, or is gone with it.
            (_, _) if !self.trees.folder_is_local(place.parent) => {
                if self.trees.local(id).is_some() {
                    self.vanished(BTreeSet::from([id]));
                }
            }
            (Some(Purpose::SetMeta { remote }), Applied::Present(stat)) => {
                self.note_meta(id, (past == Past::Known).then_some(&remote), stat);
            }
            // Its number was given to another thing, which has that place now.
            (Some(Purpose::Move | Purpose::ConflictCopy), Applied::Present(stat)) if !self.is_kind_of(id, &stat) => {
                self.look_at(&place);
                if let Some(place) = self.trees.local(id).map(|local| local.place.clone()) {
                    self.look_at(&place);
                }
            }
            (Some(Purpose::Move), Applied::Present(stat)) => {
                self.clear_place(place.parent, &place.name, id);
                self.log(id, "moved", format!("to {}", place.name));
                let ignored = self.trees.local(id).is_some_and(|local| local.ignored);
                if ignored {
                    // Under its new name it may not be.
                    self.look_at(&place);
                }
                let body = self.body_still(id, &stat);
                self.agree_on_place(id, &place);
                self.put_local(id, Some(Local { place, stat, body, ignored }));
            }
            (Some(Purpose::ConflictCopy), Applied::Present(stat)) => {
                let body = self.body_still(id, &stat);
                let copy = self.mint.item_id();
                self.clear_place(place.parent, &place.name, id);
                self.put_local(id, None);
                self.put_synced(id, None);
                self.put_local(copy, Some(Local { place, stat, body, ignored: planted!(CopyStaysHere) }));
            }
            (Some(Purpose::Remove), Applied::Absent) => {
                self.log(id, "deleted", "");
                for below in self.trees.local_descendants(id) {
                    self.put_local(below, None);
                    self.put_synced(below, None);
                }
                self.put_local(id, None);
                self.put_synced(id, None);
            }
            (_, _) => self.look_at(&place),
        }
    }

    /// The disk had this version. What is there now may be another one's already: only a look tells.
    /// If it is of another past of the service, both sides have something without having agreed on it.
    fn note_written(&mut self, id: ItemId, place: Place, remote: Option<&RemoteItem>, body: Body, stat: Stat) {
        let place = self.taken_for_new(id, &stat).unwrap_or(place);
        self.put_synced(id, remote.map(|remote| agreed(remote, Some(stat.clone()))));
        if self.trees.folder_is_local(place.parent) {
            self.clear_place(place.parent, &place.name, id);
            if place.name.as_str() == RULES_NAME {
                self.touched_all();
            }
            self.put_local(id, Some(Local { place, stat, body: Some(body), ignored: false }));
        } else {
            // Whoever took the folder away took this with it: it is found with the folder, or is gone as that is.
            self.trees.note_file(id, stat.file);
            self.vanished(BTreeSet::from([id]));
        }
    }

    /// Time and mode were set. A write just before that shows in the bytes only, so they are read again; under other names the same file
    /// has changed, too.
    fn note_meta(&mut self, id: ItemId, remote: Option<&RemoteItem>, stat: Stat) {
        let others = self.trees.by_file(stat.file).filter(|&other| other != id).filter_map(|other| self.trees.local(other));
        let others: Vec<Place> = others.map(|local| local.place.clone()).collect();
        others.iter().for_each(|place| self.look_at(place));
        if let Some(local) = self.trees.local(id).cloned() {
            let body = local.body.filter(|body| body.size() == 0);
            self.put_local(id, Some(Local { stat: stat.clone(), body, ..local }));
        }
        if let Some(remote) = remote {
            self.put_synced(id, Some(agreed(remote, Some(stat))));
        }
        self.log(id, "updated", "time or mode");
    }

    /// The disk had the item where the service has it: whoever moves it from there moves it after that, and not beside it.
    fn agree_on_place(&mut self, id: ItemId, place: &Place) {
        let item = self.trees.get(id);
        if let (Some(remote), Some(synced)) = (item.remote_live(), item.synced.clone())
            && remote.place == *place
        {
            self.put_synced(id, Some(Synced { place: place.clone(), ..synced }));
        }
    }

    /// The file that was put there was seen before its outcome came, under a name that somebody or the file system gave it, and taken for
    /// a new one: that is where the item is.
    fn taken_for_new(&mut self, id: ItemId, stat: &Stat) -> Option<Place> {
        let other = self.trees.by_file(stat.file).find(|&other| other != id && self.is_newcomer(other))?;
        let local = self.trees.local(other).filter(|local| local.stat.file == stat.file && local.stat.kind == stat.kind)?;
        let place = local.place.clone();
        if self.work.is_applying(other) || self.trees.local_children(Some(other)).next().is_some() {
            return None;
        }
        self.put_local(other, None);
        Some(place)
    }

    fn is_kind_of(&self, id: ItemId, stat: &Stat) -> bool {
        self.trees.local(id).is_none_or(|local| local.stat.kind == stat.kind)
    }

    /// What the item holds, if this look says that it is still what it was.
    fn body_still(&self, id: ItemId, stat: &Stat) -> Option<Body> {
        let local = self.trees.local(id)?;
        let still = stat.kind == Kind::Folder || stat.same_content(&local.stat);
        local.body.clone().filter(|_| still && stat.kind == local.stat.kind)
    }

    pub(super) fn committed(&mut self, id: CommitId, result: Result<CommitAnswer, CallError>) {
        match result {
            Ok(answer) => {
                let items = self.work.finish_commit(id);
                for (item, verdict) in items.into_iter().zip(answer.verdicts) {
                    self.judged(item, verdict);
                }
                self.committed_range(answer.from, answer.to);
            }
            Err(CallError::Offline) => {
                self.work.unanswered.insert(id, None);
            }
            Err(CallError::NotNow(text)) => {
                let items: Vec<ItemId> = self.work.commits.get(&id).into_iter().flatten().map(|item| item.commit.id).collect();
                items.iter().for_each(|&item| self.retry(item, Severity::Soft, &text));
                let again = items.iter().filter_map(|item| self.work.troubles.get(item)).map(|trouble| trouble.retry_ms).max();
                self.work.unanswered.insert(id, again);
            }
            Err(CallError::Refused(text)) => {
                for item in self.work.finish_commit(id) {
                    self.retry(item.commit.id, Severity::Hard, &text);
                }
            }
        }
    }

    fn judged(&mut self, item: Committing, verdict: Verdict) {
        let id = item.commit.id;
        match verdict {
            Verdict::Accepted(remote) => self.accepted(item, remote),
            Verdict::Existing(remote) if remote.version == item.commit.version => self.accepted(item, remote),
            Verdict::Existing(remote) => {
                self.note_commit(&item);
                self.learn_ahead(remote);
            }
            Verdict::Refused { reason, current } => {
                if let Some(current) = current {
                    self.learn_ahead(current);
                }
                self.refused(&item, reason);
            }
        }
        self.changed(id);
    }

    fn accepted(&mut self, item: Committing, mut remote: RemoteItem) {
        let id = item.commit.id;
        if remote.body == item.commit.body {
            remote.body = item.commit.body.clone();
        }
        self.work.clear_trouble(id);
        self.note_commit(&item);
        let verb = match item.commit.status {
            Status::New => "uploaded",
            Status::Changed => "changed",
            Status::Renamed => "renamed",
            Status::Deleted => "removed",
        };
        // A notice of what somebody committed on top of it may have overtaken this answer.
        self.learn(remote);
        self.log(id, verb, format!("version {}", item.commit.version));
    }

    /// The service has what was committed: that is what both sides agree on now.
    fn note_commit(&mut self, item: &Committing) {
        let commit = &item.commit;
        let before = self.trees.get(commit.id).synced.clone();
        // Where it lived on although it had been deleted there, the versions in between were never agreed on.
        let is_news = before.as_ref().is_none_or(|before| before.version < commit.version);
        if commit.status == Status::Deleted {
            self.fresh.remove(&commit.id);
            if let Some(stat) = before.and_then(|before| before.stat) {
                self.trees.forget_file(commit.id, stat.file);
            }
            return self.put_synced(commit.id, None);
        }
        if is_news {
            let synced = Synced {
                version: commit.version,
                place: commit.place.clone(),
                body: commit.body.clone(),
                modified: commit.modified,
                stat: item.stat.clone(),
            };
            self.put_synced(commit.id, Some(synced));
        }
    }

    fn refused(&mut self, item: &Committing, reason: Refusal) {
        let id = item.commit.id;
        match &reason {
            Refusal::ChunksMissing(_) => {
                if let Some(local) = self.trees.local(id).cloned().filter(|local| local.stat.kind == Kind::File) {
                    self.put_local(id, Some(Local { body: None, ..local }));
                }
                self.retry(id, Severity::Soft, &reason.to_string());
                if let Some(trouble) = self.work.troubles.get_mut(&id) {
                    trouble.lost = true;
                }
            }
            Refusal::UnknownItem => {
                self.forget_remote(id);
                self.retry(id, Severity::Soft, &reason.to_string());
            }
            Refusal::WrongVersion
            | Refusal::ParentUnknown
            | Refusal::ParentDeleted
            | Refusal::NameTaken { .. }
            | Refusal::NotEmpty
            | Refusal::Cycle => {
                self.ask_soon();
                self.retry(id, Severity::Soft, &reason.to_string());
            }
            Refusal::Foreign
            | Refusal::KindChanged
            | Refusal::ParentNotFolder
            | Refusal::TooDeep
            | Refusal::QuotaExceeded { .. }
            | Refusal::Invalid(_) => self.retry(id, Severity::Hard, &reason.to_string()),
        }
    }

    fn call_failed(&mut self, id: ItemId, error: CallError) {
        match error {
            CallError::Offline => self.dirty(id),
            CallError::NotNow(text) => self.retry(id, Severity::Soft, &text),
            CallError::Refused(text) => self.retry(id, Severity::Hard, &text),
        }
    }

    fn retry(&mut self, id: ItemId, severity: Severity, text: &str) {
        let attempts = self.work.troubles.get(&id).map_or(0, |trouble| trouble.attempts) + 1;
        let hard = severity == Severity::Hard;
        let (first, longest) = if hard { HARD_RETRY_MS } else { SOFT_RETRY_MS };
        let delay = first.saturating_mul(1 << (attempts - 1).min(20)).min(longest);
        if hard || attempts == QUIET_ATTEMPTS {
            self.log(id, "problem", text);
        }
        self.work.retry_at(id, Trouble { text: text.to_owned(), attempts, retry_ms: self.now.ms + delay, hard, lost: false });
    }
}

impl Trouble {
    /// Whether people should hear of it.
    pub(super) const fn is_worth_telling(&self) -> bool {
        self.hard || self.attempts >= QUIET_ATTEMPTS
    }
}
