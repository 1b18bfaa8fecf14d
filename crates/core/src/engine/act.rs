//! From dirty items to effects: reconcile one, carry its decision out, until nothing is dirty or enough is under way.

use super::work::{Busy, Op, Past, Purpose};
use super::{DiskAction, Effect, Engine, FileId, OpId, Synced};
use crate::commit::COMMIT_ITEMS_MAX;
use crate::names::{conflict_name, is_passing, wanted_name};
use crate::planted;
use crate::reconcile::{Context, Decision, DiskStep, RULES_NAME, Step, Wait, place_to_create, reconcile};
use crate::trees::Local;
use crate::values::{Body, ItemId, Kind, Name, Place, RemoteItem};
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
/// Names that are tried for a conflict copy.
const CONFLICT_NAMES_MAX: u32 = 1_000;

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

    pub(super) fn carry_out(&mut self, asked: ItemId, decision: Decision) {
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

    pub(super) fn forget(&mut self, id: ItemId) {
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
            for waiter in self.waits.release(id) {
                self.dirty(waiter);
            }
        }
        // Where nothing was known nothing has changed: whoever waits for a folder that the service never told of goes on to wait.
    }

    pub(super) fn adopt(&mut self, id: ItemId) {
        let item = self.trees.get(id);
        let (Some(remote), Some(local)) = (&item.remote, &item.local) else { return };
        let same = local.body.as_ref().is_some_and(|body| body.same_bytes(&remote.body));
        let stat = same.then(|| local.stat.clone());
        let synced = agreed(remote, stat);
        self.work.clear_trouble(id);
        self.put_synced(id, Some(synced));
    }

    pub(super) fn rebase(&mut self, id: ItemId) {
        let item = self.trees.get(id);
        let (Some(remote), Some(synced)) = (&item.remote, &item.synced) else { return };
        let rebased = agreed(remote, synced.stat.clone());
        self.put_synced(id, Some(rebased));
    }

    /// The newcomer's file becomes the service's item's.
    pub(super) fn merge(&mut self, from: ItemId, into: ItemId) {
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
        self.look_as(from, into);
        self.put_synced(from, None);
        self.put_synced(into, None);
        self.log(into, "merged", "was here already");
    }

    pub(super) fn start_upload(&mut self, id: ItemId) {
        let Some(local) = self.trees.local(id) else { return };
        let (place, expect) = (local.place.clone(), local.stat.clone());
        if let Some(mover) = self.moving_above(place.parent) {
            return self.await_effect(id, Wait::Mover(mover));
        }
        let bytes = expect.size;
        let (count, sum) = self.work.uploads;
        if count >= UPLOADS_MAX || (count > 0 && sum + bytes > UPLOAD_BYTES_MAX) {
            return self.work.parked_uploads.push_back(id);
        }
        self.work.uploads = (count + 1, sum + bytes);
        let path = self.trees.local_path(&place);
        let above = self.trees.local_ancestors(place.parent);
        let op = self.new_op(Op {
            item: id,
            bytes,
            place,
            purpose: None,
            look_again: false,
            look_also: Vec::new(),
            above,
            past: Past::Known,
        });
        self.work.busy.insert(id, Busy::Upload(op));
        self.effects.push_back(Effect::Upload { op, path, expect });
    }

    pub(super) fn moving_above(&self, parent: Option<ItemId>) -> Option<ItemId> {
        self.trees.local_ancestors(parent).into_iter().find(|&folder| self.work.is_moving(folder))
    }

    pub(super) fn new_op(&mut self, op: Op) -> OpId {
        self.work.next_op += 1;
        let id = OpId(self.work.next_op);
        self.work.enter(&op.above);
        self.work.ops.insert(id, op);
        id
    }

    pub(super) fn start_disk_step(&mut self, id: ItemId, step: DiskStep, reason: &'static str) {
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
                let action = DiskAction::RemoveFolder { path, expect: local.stat, rules: self.rules_in(id) };
                self.start_apply(id, local.place, 0, Purpose::Remove, action);
            }
            (_, _, _) => {}
        }
    }

    /// The ignore rules in a folder that is removed: the plan says that nothing else is in it.
    fn rules_in(&self, folder: ItemId) -> Option<super::Stat> {
        let mut inside = self.trees.local_children(Some(folder));
        let (_, rules) = inside.find(|(name, _)| name.as_str() == RULES_NAME)?;
        self.trees.local(rules).map(|local| local.stat.clone())
    }

    pub(super) fn start_write(&mut self, id: ItemId, remote: RemoteItem, replaced: Option<Local>) {
        let place = replaced.as_ref().map_or_else(|| self.free_place_to_create(id, &remote), |local| local.place.clone());
        let (path, into) = (self.trees.local_path(&place), self.folder_on_disk(&place));
        let body = self.body_to_write(id, &remote);
        let replaces = replaced.map(|local| local.stat);
        let bytes = body.size();
        if planted!(SyncedBeforeDisk) {
            self.put_synced(id, Some(agreed(&remote, None)));
        }
        let action = match &body {
            Body::Folder => DiskAction::MakeFolder { path, into },
            Body::Link(target) => DiskAction::MakeLink { path, into, target: target.clone(), replaces },
            Body::File(file) => {
                let sources = self.trees.sources(id, file, SOURCES_MAX).into_iter().filter_map(|source| {
                    let local = self.trees.local(source)?;
                    Some((self.trees.local_path(&local.place), Arc::new(self.trees.file_body(source)?.clone())))
                });
                let sources = sources.collect();
                DiskAction::Write { path, into, body: file.clone(), modified: remote.modified, replaces, sources }
            }
        };
        self.start_apply(id, place, bytes, Purpose::Write { remote, body }, action);
    }

    /// The service's content; with the executable bit of the disk, if only that was changed here and not there.
    pub(super) fn body_to_write(&self, id: ItemId, remote: &RemoteItem) -> Body {
        let item = self.trees.get(id);
        let local = item.local.as_ref().and_then(|local| local.body.as_ref());
        match (&remote.body, item.synced.as_ref().map(|synced| &synced.body), local) {
            (Body::File(there), Some(Body::File(before)), Some(Body::File(here))) if there.executable == before.executable => {
                Body::File(crate::values::FileBody { executable: here.executable, ..there.clone() })
            }
            (body, _, _) => body.clone(),
        }
    }

    pub(super) fn start_move(&mut self, id: ItemId, name: Name, purpose: Purpose) {
        let Some(local) = self.trees.local(id) else { return };
        let to = Place { parent: local.place.parent, name };
        self.start_move_to(id, to, purpose);
    }

    pub(super) fn start_move_to(&mut self, id: ItemId, to: Place, purpose: Purpose) {
        let Some(local) = self.trees.local(id).cloned() else { return };
        let from = self.trees.local_path(&local.place);
        let target = self.trees.folder_path(to.parent).join(&to.name);
        let into = self.folder_on_disk(&to);
        self.start_apply(id, to, 0, purpose, DiskAction::Move { from, expect: local.stat, to: target, into });
    }

    /// Which folder on the disk holds a place; `None`: the top.
    fn folder_on_disk(&self, place: &Place) -> Option<FileId> {
        Some(self.trees.local(place.parent?)?.stat.file)
    }

    pub(super) fn start_conflict_move(&mut self, id: ItemId, local: &Local, purpose: Purpose, reason: &'static str) {
        let item = self.trees.get(id);
        let before = item.synced.as_ref().map(|synced| &synced.place).or(item.remote.as_ref().map(|remote| &remote.place));
        let wanted = match before {
            Some(before) if is_passing(&local.place.name) => &before.name,
            Some(_) | None => &local.place.name,
        };
        let wanted = wanted_name(wanted).unwrap_or_else(|| wanted.clone());
        if let Some(name) = self.free_name(id, local.place.parent, &wanted) {
            self.log(id, "conflict", format!("{reason}; kept as {name}"));
            self.start_move(id, name, purpose);
        }
    }

    /// Where an item that is only on the service is put: not under a passing name, even if the service has given its own name away.
    fn free_place_to_create(&self, id: ItemId, remote: &RemoteItem) -> Place {
        let place = place_to_create(&self.trees, id, remote);
        let wanted = wanted_name(&place.name).and_then(|wanted| self.free_name(id, place.parent, &wanted));
        match wanted {
            Some(name) => Place { name, ..place },
            None => place,
        }
    }

    /// A conflict name that nothing has in this folder, on either side.
    pub(super) fn free_name(&self, id: ItemId, parent: Option<ItemId>, wanted: &Name) -> Option<Name> {
        let names = (1..CONFLICT_NAMES_MAX).map(|attempt| conflict_name(wanted, &self.device, self.now.unix_ns, attempt));
        names.into_iter().find(|name| {
            let place = Place { parent, name: name.clone() };
            self.trees.local_clash(&place, id).is_none()
                && self.trees.remote_clash(&place, id).is_none()
                && !self.work.expected.contains_key(&(place.parent, place.name.key()))
        })
    }

    pub(super) fn start_apply(&mut self, id: ItemId, place: Place, bytes: u64, purpose: Purpose, action: DiskAction) {
        let source = self.trees.local(id).and_then(|local| local.place.parent);
        if let Some(mover) = self.moving_above(place.parent).or_else(|| self.moving_above(source)) {
            return self.await_effect(id, Wait::Mover(mover));
        }
        if let Some(&other) = self.work.expected.get(&(place.parent, place.name.key())) {
            let other = self.work.ops.get(&other).map_or(id, |op| op.item);
            return self.await_effect(id, Wait::Mover(other));
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
        let key = (place.parent, place.name.key());
        let mut above = self.trees.local_ancestors(place.parent);
        above.extend(self.trees.local_ancestors(source));
        let op = self.new_op(Op {
            item: id,
            bytes,
            place,
            purpose: Some(purpose),
            look_again: false,
            look_also: Vec::new(),
            above,
            past: Past::Known,
        });
        self.work.expected.insert(key, op);
        self.work.busy.insert(id, Busy::Apply(op));
        self.effects.push_back(Effect::Apply { op, action });
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
