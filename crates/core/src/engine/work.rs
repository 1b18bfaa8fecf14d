//! From dirty items to effects: reconcile one, carry its decision out, until nothing is dirty or enough is under way.

use super::names::{conflict_name, passing_name};
use super::{DiskAction, Effect, Engine, Now, OpId, Synced};
use crate::commit::{COMMIT_ITEMS_MAX, ItemCommit};
use crate::reconcile::{Context, Decision, DiskStep, Step, Wait, reconcile};
use crate::trees::Local;
use crate::values::{Body, CommitId, ItemId, Kind, ModifiedAt, Name, Place, RemoteItem, Status, Version};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Files that are read and uploaded at the same time, and their bytes.
const UPLOADS_MAX: usize = 1_024;
const UPLOAD_BYTES_MAX: u64 = 1 << 30;
/// Actions on the disk at the same time, and the bytes that they write.
const APPLIES_MAX: usize = 2_048;
const APPLY_BYTES_MAX: u64 = 1 << 30;
/// Commits at the same time; while one is under way, the next one goes when it is so full.
const COMMITS_MAX: usize = 3;
const COMMIT_ITEMS_FULL: usize = 256;
/// Chunk references in one commit, unless a single file has more.
const COMMIT_CHUNKS_FULL: usize = 20_000;
/// Files that a download may take chunks from.
const SOURCES_MAX: usize = 4;
/// Items that get another look when an effect ended; more than one, as some will need no effect any more.
const UNPARKED_PER_SLOT: usize = 4;
/// Names that are tried for a conflict copy.
const CONFLICT_NAMES_MAX: u32 = 1_000;

/// What is under way for an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    Upload(OpId),
    Apply(OpId),
    Commit,
}

/// What an action on the disk is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// Make or replace; the body is what will be on the disk then.
    Write {
        remote: RemoteItem,
        body: Body,
    },
    SetMeta {
        remote: RemoteItem,
    },
    Move,
    ConflictCopy,
    Remove,
}

/// An effect under way.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub item: ItemId,
    pub bytes: u64,
    /// Where the result is expected; for an upload, where the file is.
    pub place: Place,
    /// `None`: an upload.
    pub purpose: Option<Purpose>,
    /// Something looked at the place meanwhile: look again afterwards.
    pub look_again: bool,
    /// The folders above: none of them is moved while this is under way.
    pub above: Vec<ItemId>,
}

/// One item of a commit under way.
#[derive(Clone, Debug)]
pub(super) struct Committing {
    pub commit: ItemCommit,
    /// The look for which the body holds.
    pub stat: Option<super::Stat>,
}

/// Why an item does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub text: String,
    pub attempts: u32,
    pub retry_ms: u64,
    pub hard: bool,
}

/// Everything that is to be done or under way.
#[derive(Clone, Debug, Default)]
pub struct Work {
    dirty: VecDeque<ItemId>,
    queued: BTreeSet<ItemId>,
    busy: BTreeMap<ItemId, Busy>,
    pub(super) ops: BTreeMap<OpId, Op>,
    next_op: u64,
    /// Places that an action on the disk will fill.
    expected: BTreeMap<(Option<ItemId>, Name), OpId>,
    parked_uploads: VecDeque<ItemId>,
    parked_applies: VecDeque<ItemId>,
    /// How many effects are under way below a folder, and folders that are to move when there are none.
    below: BTreeMap<ItemId, usize>,
    parked_moves: BTreeSet<ItemId>,
    uploads: (usize, u64),
    applies: (usize, u64),
    batch: Vec<Committing>,
    joining: BTreeSet<ItemId>,
    pub(super) commits: BTreeMap<CommitId, Vec<Committing>>,
    pub(super) unanswered: BTreeSet<CommitId>,
    pub(super) troubles: BTreeMap<ItemId, Trouble>,
    retries: BTreeSet<(u64, ItemId)>,
}

impl Work {
    pub(super) fn enqueue(&mut self, id: ItemId) {
        if self.queued.insert(id) {
            self.dirty.push_back(id);
        }
    }

    pub(super) fn is_busy(&self, id: ItemId) -> bool {
        self.busy.contains_key(&id)
    }

    pub(super) fn is_applying(&self, id: ItemId) -> bool {
        matches!(self.busy.get(&id), Some(Busy::Apply(_)))
    }

    pub(super) fn is_committing(&self, id: ItemId) -> bool {
        self.busy.get(&id) == Some(&Busy::Commit)
    }

    fn is_moving(&self, id: ItemId) -> bool {
        let Some(Busy::Apply(op)) = self.busy.get(&id) else { return self.parked_moves.contains(&id) };
        matches!(self.ops.get(op).and_then(|op| op.purpose.as_ref()), Some(Purpose::Move))
    }

    fn enter(&mut self, above: &[ItemId]) {
        for &folder in above {
            *self.below.entry(folder).or_default() += 1;
        }
    }

    /// The folders that may move now.
    fn leave(&mut self, above: &[ItemId]) -> Vec<ItemId> {
        let mut free = Vec::new();
        for &folder in above {
            let left = self.below.get(&folder).map_or(0, |count| count - 1);
            if left > 0 {
                self.below.insert(folder, left);
            } else {
                self.below.remove(&folder);
                free.extend(self.parked_moves.take(&folder));
            }
        }
        free
    }

    /// An action is under way on this item: what the disk shows of it now says nothing. Looked at again afterwards.
    pub(super) fn defer_look(&mut self, id: ItemId) -> bool {
        let Some(Busy::Apply(op)) = self.busy.get(&id) else { return false };
        if let Some(op) = self.ops.get_mut(op) {
            op.look_again = true;
        }
        true
    }

    /// The same for a place that an action will fill.
    pub(super) fn defer_look_at(&mut self, folder: Option<ItemId>, name: &Name) -> bool {
        let Some(op) = self.expected.get(&(folder, name.clone())) else { return false };
        if let Some(op) = self.ops.get_mut(op) {
            op.look_again = true;
        }
        true
    }

    pub(super) fn next_retry(&self) -> Option<u64> {
        self.retries.first().map(|&(at, _)| at)
    }

    pub(super) fn due_retries(&mut self, now: Now) -> Vec<ItemId> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.retries.first().filter(|&&(at, _)| at <= now.ms) {
            self.retries.remove(&(at, id));
            due.push(id);
        }
        due
    }

    /// Ends an upload or an action; the items that it kept from starting go on. Names the folders that may move now.
    pub(super) fn finish(&mut self, id: OpId) -> Option<(Op, Vec<ItemId>)> {
        let op = self.ops.remove(&id)?;
        let free = self.leave(&op.above);
        self.busy.remove(&op.item);
        let (slots, parked) = if op.purpose.is_some() {
            self.expected.remove(&(op.place.parent, op.place.name.clone()));
            (&mut self.applies, &mut self.parked_applies)
        } else {
            (&mut self.uploads, &mut self.parked_uploads)
        };
        slots.0 -= 1;
        slots.1 -= op.bytes;
        let next = if slots.0 == 0 { parked.len() } else { parked.len().min(UNPARKED_PER_SLOT) };
        for next in parked.drain(..next).collect::<Vec<_>>() {
            self.enqueue(next);
        }
        Some((op, free))
    }

    pub(super) fn finish_commit(&mut self, id: CommitId) -> Vec<Committing> {
        self.unanswered.remove(&id);
        let items = self.commits.remove(&id).unwrap_or_default();
        for item in &items {
            self.busy.remove(&item.commit.id);
        }
        items
    }

    /// Nothing is dirty, under way or about to be tried again; what is left cannot be done.
    pub(super) fn is_idle(&self) -> bool {
        let stuck = |id: &ItemId| self.troubles.get(id).is_some_and(Trouble::is_stuck);
        self.dirty.is_empty() && self.busy.is_empty() && self.batch.is_empty() && self.retries.iter().all(|(_, id)| stuck(id))
    }

    pub(super) fn retry_at(&mut self, id: ItemId, trouble: Trouble) {
        if let Some(old) = self.troubles.insert(id, trouble.clone()) {
            self.retries.remove(&(old.retry_ms, id));
        }
        self.retries.insert((trouble.retry_ms, id));
    }

    pub(super) fn clear_trouble(&mut self, id: ItemId) {
        if let Some(old) = self.troubles.remove(&id) {
            self.retries.remove(&(old.retry_ms, id));
        }
    }

    pub(super) fn counts(&self) -> (usize, usize, usize, usize) {
        (self.dirty.len(), self.uploads.0, self.applies.0, self.commits.len())
    }

    pub(super) fn open_items(&self) -> impl Iterator<Item = ItemId> + '_ {
        self.queued.iter().chain(self.busy.keys()).copied()
    }
}

impl Trouble {
    /// Failed for a reason that trying again does not mend, and tried again once.
    pub(super) const fn is_stuck(&self) -> bool {
        self.hard && self.attempts >= 2
    }
}

impl Engine {
    pub(super) fn work_through(&mut self) {
        if !self.ready() || !self.scans.is_idle() {
            return;
        }
        while let Some(id) = self.work.dirty.pop_front() {
            self.work.queued.remove(&id);
            let waits = self.work.troubles.get(&id).is_some_and(|trouble| trouble.retry_ms > self.now.ms);
            if !self.work.is_busy(id) && !waits {
                let decision = self.decide(id);
                self.carry_out(id, decision);
            }
            if self.work.batch.len() >= COMMIT_ITEMS_MAX / 2 || self.batch_chunks() >= COMMIT_CHUNKS_FULL {
                self.send_commit();
            }
        }
        if self.work.commits.is_empty() || (self.work.batch.len() >= COMMIT_ITEMS_FULL && self.work.commits.len() < COMMITS_MAX) {
            self.send_commit();
        }
    }

    pub(super) fn decide(&self, id: ItemId) -> Decision {
        let context = Context { wanted: self.waits.wanted(), joining: &self.work.joining, held: &self.held, fresh: &self.fresh };
        reconcile(&self.trees, context, id)
    }

    fn carry_out(&mut self, asked: ItemId, decision: Decision) {
        let Decision { item, step, reason } = decision;
        if item != asked {
            if self.work.is_busy(item) {
                return self.park(asked, Wait::LocalOccupant(item));
            }
            self.unpark(item);
        }
        match step {
            Step::Nothing => self.work.clear_trouble(item),
            Step::Forget => self.forget(item),
            Step::Adopt => self.adopt(item),
            Step::Rebase => self.rebase(item),
            Step::Revive => self.put_synced(item, None),
            Step::Read => self.start_upload(item),
            Step::Commit(commit) => self.join_commit(commit),
            Step::Merge { into } => self.merge(item, into),
            Step::Disk(step) => self.start_disk_step(item, step, reason),
            Step::Wait(wait) => self.park(item, wait),
        }
        if item != asked && !self.work.queued.contains(&asked) && !self.work.is_busy(asked) {
            self.park(asked, Wait::LocalOccupant(item));
        }
    }

    fn park(&mut self, id: ItemId, wait: Wait) {
        if let Some(wanted) = self.waits.park(id, wait) {
            self.dirty(wanted);
        }
        match self.waits.breakable_circle(id) {
            Some((waiter, Wait::LocalOccupant(occupant))) => self.break_on_disk(waiter, occupant),
            Some((waiter, Wait::RemoteOccupant(_))) => self.break_on_service(waiter),
            Some(_) | None => {}
        }
    }

    /// A circle of items that wait for each other: the waiter goes to its folder under a passing name, which sets its own name free. Without
    /// a file to move, the occupant steps aside: under a passing name if the service has a place for it, else under a conflict name.
    fn break_on_disk(&mut self, waiter: ItemId, occupant: ItemId) {
        let item = self.trees.get(waiter);
        let passing = item.remote_live().map(|remote| Place { parent: remote.place.parent, name: passing_name(waiter) });
        match (&item.local, passing) {
            (Some(local), Some(passing)) if local.place != passing => return self.start_move_to(waiter, passing, Purpose::Move),
            (_, _) => {}
        }
        let pushes = matches!(self.waits.of(occupant), Some(Wait::RemoteOccupant(_) | Wait::RemoteFolder(_)));
        match self.trees.local(occupant).cloned() {
            Some(local) if pushes => {
                self.start_conflict_move(occupant, &local, Purpose::Move, "the service has another item of that name");
            }
            Some(_) => self.start_move(occupant, passing_name(occupant), Purpose::Move),
            None => {}
        }
    }

    fn forget(&mut self, id: ItemId) {
        self.work.clear_trouble(id);
        self.fresh.remove(&id);
        self.held.remove(&id);
        let stat = self.trees.get(id).synced.as_ref().and_then(|synced| synced.stat.clone());
        if let Some(stat) = stat {
            self.trees.forget_file(id, stat.file);
        }
        let item = self.trees.get(id);
        if item.remote.is_some() || item.synced.is_some() {
            self.trees.set_remote(id, None);
            self.trees.set_synced(id, None);
            self.unsaved.insert(id);
        }
        for waiter in self.waits.release(id) {
            self.dirty(waiter);
        }
    }

    fn adopt(&mut self, id: ItemId) {
        let item = self.trees.get(id);
        let (Some(remote), Some(local)) = (&item.remote, &item.local) else { return };
        let same = local.body.as_ref().is_some_and(|body| body.same_bytes(&remote.body));
        let stat = same.then(|| local.stat.clone());
        let synced = agreed(remote, stat);
        self.work.clear_trouble(id);
        self.put_synced(id, Some(synced));
    }

    fn rebase(&mut self, id: ItemId) {
        let item = self.trees.get(id);
        let (Some(remote), Some(synced)) = (&item.remote, &item.synced) else { return };
        let rebased = agreed(remote, synced.stat.clone());
        self.put_synced(id, Some(rebased));
    }

    /// The newcomer's file becomes the service's item's.
    fn merge(&mut self, from: ItemId, into: ItemId) {
        if self.trees.local(into).is_some() || self.work.is_busy(into) {
            return self.park(into, Wait::LocalOccupant(from));
        }
        let children = self.trees.hand_over_local(from, into);
        for child in children {
            if let Some(mut synced) = self.trees.get(child).synced.clone().filter(|synced| synced.place.parent == Some(from)) {
                synced.place.parent = Some(into);
                self.put_synced(child, Some(synced));
            }
            self.changed(child);
        }
        self.put_synced(from, None);
        self.put_synced(into, None);
        self.log(into, "merged", "was here already");
    }

    fn start_upload(&mut self, id: ItemId) {
        let Some(local) = self.trees.local(id) else { return };
        let (place, expect) = (local.place.clone(), local.stat.clone());
        if let Some(mover) = self.moving_above(place.parent) {
            return self.park(id, Wait::Mover(mover));
        }
        let bytes = expect.size;
        let (count, sum) = self.work.uploads;
        if count >= UPLOADS_MAX || (count > 0 && sum + bytes > UPLOAD_BYTES_MAX) {
            return self.work.parked_uploads.push_back(id);
        }
        self.work.uploads = (count + 1, sum + bytes);
        let path = self.trees.local_path(&place);
        let above = self.trees.local_ancestors(place.parent);
        let op = self.new_op(Op { item: id, bytes, place, purpose: None, look_again: false, above });
        self.work.busy.insert(id, Busy::Upload(op));
        self.effects.push_back(Effect::Upload { op, path, expect });
    }

    fn moving_above(&self, parent: Option<ItemId>) -> Option<ItemId> {
        self.trees.local_ancestors(parent).into_iter().find(|&folder| self.work.is_moving(folder))
    }

    fn new_op(&mut self, op: Op) -> OpId {
        self.work.next_op += 1;
        let id = OpId(self.work.next_op);
        self.work.enter(&op.above);
        self.work.ops.insert(id, op);
        id
    }

    fn start_disk_step(&mut self, id: ItemId, step: DiskStep, reason: &'static str) {
        let item = self.trees.get(id);
        match (step, item.remote.clone(), item.local.clone()) {
            (DiskStep::Create, Some(remote), _) => self.start_write(id, remote, None),
            (DiskStep::Replace, Some(remote), Some(local)) => self.start_write(id, remote, Some(local)),
            (DiskStep::Follow, Some(remote), Some(_)) if self.trees.local_clash(&remote.place, id).is_none() => {
                self.start_move_to(id, remote.place, Purpose::Move)
            }
            (DiskStep::GiveWay, _, Some(local)) => self.start_conflict_move(id, &local, Purpose::Move, reason),
            (DiskStep::ConflictCopy, _, Some(local)) => self.start_conflict_move(id, &local, Purpose::ConflictCopy, reason),
            (DiskStep::SetMeta { modified, executable }, Some(remote), Some(local)) => {
                let path = self.trees.local_path(&local.place);
                let action = DiskAction::SetMeta { path, expect: local.stat, modified, executable };
                self.start_apply(id, local.place, 0, Purpose::SetMeta { remote }, action);
            }
            (DiskStep::Trash, _, Some(local)) => {
                let path = self.trees.local_path(&local.place);
                self.start_apply(id, local.place, 0, Purpose::Remove, DiskAction::Trash { path, expect: local.stat });
            }
            (DiskStep::RemoveFolder, _, Some(local)) => {
                let path = self.trees.local_path(&local.place);
                self.start_apply(id, local.place, 0, Purpose::Remove, DiskAction::RemoveFolder { path, expect: local.stat });
            }
            (_, _, _) => {}
        }
    }

    fn start_write(&mut self, id: ItemId, remote: RemoteItem, replaced: Option<Local>) {
        let place = replaced.as_ref().map_or_else(|| remote.place.clone(), |local| local.place.clone());
        let path = self.trees.local_path(&place);
        let body = self.body_to_write(id, &remote);
        let replaces = replaced.map(|local| local.stat);
        let bytes = body.size();
        let action = match &body {
            Body::Folder => DiskAction::MakeFolder { path },
            Body::Link(target) => DiskAction::MakeLink { path, target: target.clone(), replaces },
            Body::File(file) => {
                let sources = self.trees.sources(id, file, SOURCES_MAX).into_iter().filter_map(|source| {
                    let local = self.trees.local(source)?;
                    Some((self.trees.local_path(&local.place), Arc::new(self.trees.file_body(source)?.clone())))
                });
                let sources = sources.collect();
                DiskAction::Write { path, body: file.clone(), modified: remote.modified, replaces, sources }
            }
        };
        self.start_apply(id, place, bytes, Purpose::Write { remote, body }, action);
    }

    /// The service's content; with the executable bit of the disk, if only that was changed here and not there.
    fn body_to_write(&self, id: ItemId, remote: &RemoteItem) -> Body {
        let item = self.trees.get(id);
        let local = item.local.as_ref().and_then(|local| local.body.as_ref());
        match (&remote.body, item.synced.as_ref().map(|synced| &synced.body), local) {
            (Body::File(there), Some(Body::File(before)), Some(Body::File(here))) if there.executable == before.executable => {
                Body::File(crate::values::FileBody { executable: here.executable, ..there.clone() })
            }
            (body, _, _) => body.clone(),
        }
    }

    fn start_move(&mut self, id: ItemId, name: Name, purpose: Purpose) {
        let Some(local) = self.trees.local(id) else { return };
        let to = Place { parent: local.place.parent, name };
        self.start_move_to(id, to, purpose);
    }

    fn start_move_to(&mut self, id: ItemId, to: Place, purpose: Purpose) {
        let Some(local) = self.trees.local(id).cloned() else { return };
        let from = self.trees.local_path(&local.place);
        let target = self.trees.folder_path(to.parent).join(&to.name);
        self.start_apply(id, to, 0, purpose, DiskAction::Move { from, expect: local.stat, to: target });
    }

    fn start_conflict_move(&mut self, id: ItemId, local: &Local, purpose: Purpose, reason: &'static str) {
        let free = (1..CONFLICT_NAMES_MAX)
            .map(|attempt| conflict_name(&local.place.name, &self.device, self.now.unix_ns, attempt))
            .find(|name| {
                let place = Place { parent: local.place.parent, name: name.clone() };
                self.trees.local_clash(&place, id).is_none()
                    && self.trees.remote_clash(&place, id).is_none()
                    && !self.work.expected.contains_key(&(place.parent, place.name))
            });
        if let Some(name) = free {
            self.log(id, "conflict", format!("{reason}; kept as {name}"));
            self.start_move(id, name, purpose);
        }
    }

    fn start_apply(&mut self, id: ItemId, place: Place, bytes: u64, purpose: Purpose, action: DiskAction) {
        let source = self.trees.local(id).and_then(|local| local.place.parent);
        if let Some(mover) = self.moving_above(place.parent).or_else(|| self.moving_above(source)) {
            return self.park(id, Wait::Mover(mover));
        }
        if let Some(&other) = self.work.expected.get(&(place.parent, place.name.clone())) {
            let other = self.work.ops.get(&other).map_or(id, |op| op.item);
            return self.park(id, Wait::Mover(other));
        }
        if matches!(purpose, Purpose::Move) && self.work.below.contains_key(&id) {
            self.work.parked_moves.insert(id);
            return;
        }
        let (count, sum) = self.work.applies;
        if count >= APPLIES_MAX || (count > 0 && sum + bytes > APPLY_BYTES_MAX) {
            return self.work.parked_applies.push_back(id);
        }
        self.work.applies = (count + 1, sum + bytes);
        self.unpark(id);
        let key = (place.parent, place.name.clone());
        let mut above = self.trees.local_ancestors(place.parent);
        above.extend(self.trees.local_ancestors(source));
        let op = self.new_op(Op { item: id, bytes, place, purpose: Some(purpose), look_again: false, above });
        self.work.expected.insert(key, op);
        self.work.busy.insert(id, Busy::Apply(op));
        self.effects.push_back(Effect::Apply { op, action });
    }

    fn join_commit(&mut self, commit: ItemCommit) {
        let id = commit.id;
        if matches!(commit.body, Body::Folder) && commit.status != Status::Deleted {
            self.work.joining.insert(id);
        }
        let stat = self.trees.local(id).map(|local| local.stat.clone());
        self.work.busy.insert(id, Busy::Commit);
        self.work.batch.push(Committing { commit, stat });
        for waiter in self.waits.release(id) {
            self.dirty(waiter);
        }
    }

    /// The same on the service: the waiter goes to its folder under a passing name, the others follow, and it gets its own name last; in one
    /// commit if all of them are only moved or made.
    fn break_on_service(&mut self, waiter: ItemId) {
        let Some(mut last) = self.commit_as_on_disk(waiter) else { return };
        let mut aside = last.clone();
        aside.commit.place.name = passing_name(waiter);
        if self.trees.get(waiter).remote_live().is_some_and(|remote| remote.place == aside.commit.place) {
            return;
        }
        last.commit.version = last.commit.version.next();
        let others = self.waits.circle(waiter).into_iter().skip(1).rev();
        let others: Option<Vec<Committing>> = others.map(|id| self.commit_as_on_disk(id)).collect();
        let mut commits = vec![aside];
        if let Some(others) = others {
            commits.extend(others);
            commits.push(last);
        }
        if self.work.batch.len() + commits.len() > COMMIT_ITEMS_MAX {
            self.send_commit();
        }
        for commit in &commits {
            self.unpark(commit.commit.id);
            self.work.busy.insert(commit.commit.id, Busy::Commit);
        }
        self.work.batch.append(&mut commits);
    }

    /// The commit that makes the service's item what the disk has, if the item waits for nothing but another's name or folder.
    fn commit_as_on_disk(&self, id: ItemId) -> Option<Committing> {
        let item = self.trees.get(id);
        let local = item.local.as_ref().filter(|_| !self.work.is_busy(id))?;
        let (version, status) = match (&item.remote, &item.synced) {
            (None, _) => (Version::FIRST, Status::New),
            (Some(remote), _) if remote.deleted => (remote.version.next(), Status::Changed),
            (Some(remote), Some(synced)) if remote.version == synced.version => (remote.version.next(), Status::Renamed),
            (Some(_), _) => return None,
        };
        let body = local.body.clone()?;
        let modified = if local.stat.kind == Kind::File { local.stat.modified } else { ModifiedAt(0) };
        let commit = ItemCommit { id, version, status, place: local.place.clone(), body, modified };
        Some(Committing { commit, stat: Some(local.stat.clone()) })
    }

    fn batch_chunks(&self) -> usize {
        let large = |item: &Committing| item.commit.body.chunks().len();
        if self.work.batch.len().is_multiple_of(16) { self.work.batch.iter().map(large).sum() } else { 0 }
    }

    fn send_commit(&mut self) {
        if self.work.batch.is_empty() {
            return;
        }
        let id = self.mint.commit_id();
        let batch = std::mem::take(&mut self.work.batch);
        self.work.joining.clear();
        let items: Arc<[ItemCommit]> = batch.iter().map(|item| item.commit.clone()).collect();
        self.work.commits.insert(id, batch);
        self.effects.push_back(Effect::Commit { id, items });
    }

    pub(super) fn resend_commits(&mut self) {
        for id in std::mem::take(&mut self.work.unanswered) {
            if let Some(batch) = self.work.commits.get(&id) {
                let items = batch.iter().map(|item| item.commit.clone()).collect();
                self.effects.push_back(Effect::Commit { id, items });
            }
        }
    }
}

/// What both sides agree on when the disk holds the service's version.
pub(super) fn agreed(remote: &RemoteItem, stat: Option<super::Stat>) -> Synced {
    Synced {
        version: remote.version,
        place: remote.place.clone(),
        body: remote.body.clone(),
        modified: remote.modified,
        stat: stat.filter(|stat| stat.kind == remote.body.kind() || remote.body.kind() != Kind::File),
    }
}
