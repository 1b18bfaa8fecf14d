//! One planner case: how it begins, and what it promises.

use super::values::{POOL, body, file, id, name, stat, time};
use super::{Broken, Tally};
use crate::Random;
use stacksync_core::commit::{ItemCommit, Verdict};
use stacksync_core::decide::memory::MemoryWorkspace;
use stacksync_core::decide::{Facts, PlaceRule};
use stacksync_core::engine::Synced;
use stacksync_core::reconcile::{Context, Decision, reconcile};
use stacksync_core::trees::{Local, Trees};
use stacksync_core::values::{Body, FileBody, ItemId, Kind, ModifiedAt, Place, RemoteItem, Status, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Three trees, the service behind the first one and the bytes behind the third one.
pub(super) struct Case {
    pub trees: Trees,
    pub service: MemoryWorkspace,
    /// What files on the disk hold that were not read yet.
    pub unread: BTreeMap<ItemId, Body>,
    pub wanted: BTreeSet<ItemId>,
    pub held: BTreeSet<ItemId>,
    pub fresh: BTreeMap<ItemId, u64>,
    last_id: u64,
    last_inode: u64,
    pub trace: Option<Vec<String>>,
}

/// What must be so at the end.
#[derive(Debug, Default)]
pub(super) struct Promise {
    /// Contents that must be live, each with the reason.
    live: Vec<(Body, &'static str)>,
    /// Items that must not be.
    gone: Vec<ItemId>,
}

impl Case {
    fn empty() -> Self {
        Self {
            trees: Trees::default(),
            service: MemoryWorkspace::new(u64::MAX),
            unread: BTreeMap::new(),
            wanted: BTreeSet::new(),
            held: BTreeSet::new(),
            fresh: BTreeMap::new(),
            last_id: 0,
            last_inode: 0,
            trace: None,
        }
    }

    /// Both sides agreed once and went their ways.
    pub fn evolved(random: &mut Random) -> Self {
        let mut case = Self::empty();
        for _ in 0..random.between(0, 7) {
            case.change_service(random, 0);
        }
        case.agree();
        for _ in 0..random.between(0, 5) {
            let what = random.below(8);
            case.change_service(random, what);
        }
        case.learn();
        for _ in 0..random.between(0, 5) {
            case.change_disk(random);
        }
        case
    }

    /// Three trees that have nothing to do with each other. Only the disk's one is a tree for sure.
    pub fn wild(random: &mut Random) -> Self {
        let mut case = Self::empty();
        let ids: Vec<ItemId> = (1..=random.between(1, 7)).map(id).collect();
        let some_place =
            |random: &mut Random| Place { parent: random.pick(&ids).copied().filter(|_| random.one_in(2)), name: name(random) };
        for &item in &ids {
            if !random.one_in(3) {
                let (place, body) = (some_place(random), body(random));
                let version = Version::new(random.between(1, 4)).unwrap_or(Version::FIRST);
                let (deleted, modified) = (random.one_in(3), time(random, body.kind()));
                let revision = stacksync_core::values::Revision(random.between(1, 9));
                case.trees.set_remote(item, Some(RemoteItem { id: item, version, revision, deleted, place, body, modified }));
            }
            if !random.one_in(3) {
                let (place, body) = (some_place(random), body(random));
                let (version, modified) = (Version::new(random.between(1, 4)).unwrap_or(Version::FIRST), time(random, body.kind()));
                let stat = (!random.one_in(3)).then(|| stat(&body, modified, random.between(1, 9)));
                case.trees.set_synced(item, Some(Synced { version, place, body, modified, stat }));
            }
            if random.one_in(4) {
                case.wanted.insert(item);
            }
            if random.one_in(8) {
                case.held.insert(item);
            }
            if random.one_in(8) {
                case.fresh.insert(item, 1);
            }
        }
        for &item in &ids {
            if !random.one_in(3) {
                let body = body(random);
                case.put_on_disk(random, item, &body);
            }
        }
        case
    }

    pub fn decide(&self, id: ItemId) -> Decision {
        let joining = BTreeSet::new();
        let context = Context { wanted: &self.wanted, joining: &joining, held: &self.held, fresh: &self.fresh };
        reconcile(&self.trees, context, id)
    }

    /// The planner has an answer for every item, and the same one twice.
    pub fn only_answers(&self, tally: &mut Tally) -> Result<(), Broken> {
        for id in self.trees.ids().chain([id(99)]) {
            tally.decisions += 1;
            let (first, second) = (self.decide(id), self.decide(id));
            if first != second {
                return Err(Broken { rule: "the same answer twice", text: format!("{first:?}, then {second:?}") });
            }
        }
        Ok(())
    }

    pub fn next_id(&mut self) -> ItemId {
        self.last_id += 1;
        id(self.last_id)
    }

    pub fn next_inode(&mut self) -> u64 {
        self.last_inode += 1;
        self.last_inode
    }

    /// Commits as another device would.
    pub fn commit(&mut self, item: ItemCommit) -> Verdict {
        let facts = Facts { present: &POOL.chunks, place_rule: PlaceRule::Full };
        let mut verdicts = self.service.commit(&[item], facts).verdicts;
        verdicts.pop().unwrap_or(Verdict::Refused { reason: stacksync_core::commit::Refusal::UnknownItem, current: None })
    }

    fn live(&self) -> Vec<RemoteItem> {
        self.service.heads().filter(|head| !head.deleted).cloned().collect()
    }

    /// Somebody else does something; refusals of the service mean that it is not done. 0: something new.
    fn change_service(&mut self, random: &mut Random, what: usize) {
        let live = self.live();
        let folders: Vec<ItemId> = live.iter().filter(|item| item.body == Body::Folder).map(|item| item.id).collect();
        let place = Place { parent: random.pick(&folders).copied().filter(|_| !random.one_in(3)), name: name(random) };
        let Some(old) = random.pick(&live).filter(|_| what > 0) else {
            let body = body(random);
            let modified = time(random, body.kind());
            let id = self.next_id();
            self.commit(ItemCommit { id, version: Version::FIRST, status: Status::New, place, body, modified });
            return;
        };
        let next = |old: &RemoteItem, status| ItemCommit {
            id: old.id,
            version: old.version.next(),
            status,
            place: old.place.clone(),
            body: old.body.clone(),
            modified: old.modified,
        };
        match (what, &old.body) {
            (1 | 2, Body::File(before)) => {
                let (body, modified) = (file(random, before.executable), time(random, Kind::File));
                self.commit(ItemCommit { body, modified, ..next(old, Status::Changed) });
            }
            (3, Body::File(before)) => {
                let body = Body::File(FileBody { executable: before.executable != random.one_in(2), ..before.clone() });
                self.commit(ItemCommit { body, modified: time(random, Kind::File), ..next(old, Status::Changed) });
            }
            (4, _) => {
                self.commit(next(old, Status::Deleted));
            }
            (5, _) => self.swap_on_service(random, old, &live),
            _ => {
                self.commit(ItemCommit { place, ..next(old, Status::Renamed) });
            }
        }
    }

    fn swap_on_service(&mut self, random: &mut Random, one: &RemoteItem, live: &[RemoteItem]) {
        let Some(other) = random.pick(live).filter(|other| other.id != one.id) else { return };
        let aside = Place { parent: None, name: super::values::passing_name(id(77)) };
        let moves = [(one.id, aside), (other.id, one.place.clone()), (one.id, other.place.clone())];
        for (id, place) in moves {
            let Some(now) = self.service.heads().find(|head| head.id == id).cloned() else { return };
            let commit = ItemCommit {
                id,
                version: now.version.next(),
                status: Status::Renamed,
                place,
                body: now.body,
                modified: now.modified,
            };
            self.commit(commit);
        }
    }

    /// Disk and service have the same, and both know.
    fn agree(&mut self) {
        let mut waiting = self.live();
        while !waiting.is_empty() {
            let (ready, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|item| self.trees.folder_is_local(item.place.parent));
            for item in ready {
                let stat = stat(&item.body, item.modified, self.next_inode());
                let local = Local { place: item.place.clone(), stat: stat.clone(), body: Some(item.body.clone()), ignored: false };
                let synced = Synced {
                    version: item.version,
                    place: item.place.clone(),
                    body: item.body.clone(),
                    modified: item.modified,
                    stat: Some(stat),
                };
                self.trees.set_local(item.id, Some(local));
                self.trees.set_synced(item.id, Some(synced));
                self.trees.set_remote(item.id, Some(item));
            }
            waiting = later;
        }
    }

    fn learn(&mut self) {
        let heads: Vec<RemoteItem> = self.service.heads().cloned().collect();
        for head in heads {
            if !head.deleted || self.trees.get(head.id).synced.is_some() {
                self.trees.set_remote(head.id, Some(head));
            }
        }
    }

    fn on_disk(&self) -> Vec<(ItemId, Local)> {
        self.trees.ids().filter_map(|id| Some((id, self.trees.local(id)?.clone()))).collect()
    }

    fn folder_on_disk(&self, random: &mut Random) -> Option<ItemId> {
        let folders: Vec<ItemId> =
            self.on_disk().into_iter().filter(|(_, local)| local.stat.kind == Kind::Folder).map(|(id, _)| id).collect();
        random.pick(&folders).copied().filter(|_| !random.one_in(3))
    }

    fn put_on_disk(&mut self, random: &mut Random, id: ItemId, body: &Body) {
        let place = Place { parent: self.folder_on_disk(random).filter(|&folder| folder != id), name: name(random) };
        if self.trees.local_at(place.parent, &place.name).is_some() || self.trees.local(id).is_some() {
            return;
        }
        let stat = stat(body, time(random, body.kind()), self.next_inode());
        self.set_content(random, id, Local { place, stat, body: None, ignored: false }, body.clone());
    }

    /// Files are read now or later.
    fn set_content(&mut self, random: &mut Random, id: ItemId, local: Local, body: Body) {
        let later = body.kind() == Kind::File && random.one_in(2);
        if later {
            self.unread.insert(id, body.clone());
        } else {
            self.unread.remove(&id);
        }
        self.trees.set_local(id, Some(Local { body: (!later).then_some(body), ..local }));
    }

    /// The person at this disk does something.
    fn change_disk(&mut self, random: &mut Random) {
        let items = self.on_disk();
        let what = random.below(8);
        let Some((id, local)) = random.pick(&items).cloned().filter(|_| what > 0) else {
            let (id, body) = (self.next_id(), body(random));
            return self.put_on_disk(random, id, &body);
        };
        match what {
            1..=3 if local.stat.kind == Kind::File => self.edit_on_disk(random, id, local),
            4 => self.delete_on_disk(id),
            5 => {
                self.delete_on_disk(id);
                let (id, body) = (self.next_id(), body(random));
                let stat = stat(&body, time(random, body.kind()), self.next_inode());
                self.set_content(random, id, Local { stat, body: None, ..local }, body);
            }
            _ => {
                let place = Place { parent: self.folder_on_disk(random), name: name(random) };
                self.move_on_disk(id, local, place);
            }
        }
    }

    fn edit_on_disk(&mut self, random: &mut Random, id: ItemId, local: Local) {
        let before = local.stat.executable;
        if random.one_in(3) {
            let body = self.content(id);
            let Some(Body::File(held)) = body else { return };
            let executable = before != random.one_in(2);
            let body = Body::File(FileBody { executable, ..held });
            let stat = stat(&body, time(random, Kind::File), local.stat.file.inode);
            return self.set_content(random, id, Local { stat, ..local }, body);
        }
        let body = file(random, before);
        let stat = stat(&body, time(random, Kind::File), self.next_inode());
        self.set_content(random, id, Local { stat, ..local }, body);
    }

    fn move_on_disk(&mut self, id: ItemId, local: Local, place: Place) {
        let inside = place.parent == Some(id) || self.trees.local_ancestors(place.parent).contains(&id);
        if !inside && self.trees.local_at(place.parent, &place.name).is_none() {
            self.trees.set_local(id, Some(Local { place, ..local }));
        }
    }

    fn delete_on_disk(&mut self, id: ItemId) {
        for below in self.trees.local_descendants(id).into_iter().chain([id]) {
            self.trees.set_local(below, None);
            self.unread.remove(&below);
        }
    }

    /// What is really at an item's place on the disk.
    pub fn content(&self, id: ItemId) -> Option<Body> {
        self.unread.get(&id).or(self.trees.local(id)?.body.as_ref()).cloned()
    }

    /// What the rules say of this case, before anything is done.
    pub fn promise(&self) -> Promise {
        let mut promise = Promise::default();
        for id in self.trees.ids() {
            let item = self.trees.get(id);
            let here = self.content(id);
            let there = item.remote_live();
            let before = item.synced.as_ref();
            let edited = |body: &Body| body.kind() != Kind::Folder && before.is_none_or(|before| !before.body.same_bytes(body));
            // Whoever deleted the very bytes that are here knew of the edit.
            let known = |body: &Body| item.remote.as_ref().is_some_and(|remote| remote.deleted && remote.body.same_bytes(body));
            if let Some(here) = here.as_ref().filter(|body| edited(body) && !(before.is_some() && known(body))) {
                promise.live.push((here.clone(), "an edit on the disk lives, whatever the service has"));
            }
            if let Some(there) = there.filter(|there| edited(&there.body)) {
                promise.live.push((there.body.clone(), "an edit on the service lives, whatever the disk has"));
            }
            let unchanged_here = item.local.as_ref().zip(before).is_some_and(|(local, before)| local.place == before.place)
                && !here.as_ref().is_some_and(edited);
            let unchanged_there = there.zip(before).is_some_and(|(there, before)| there.version == before.version);
            let is_folder = before.is_some_and(|before| before.body.kind() == Kind::Folder);
            let deleted_there = item.remote.as_ref().is_some_and(|remote| remote.deleted);
            let goes = (deleted_there && unchanged_here)
                || (item.local.is_none() && unchanged_there)
                || (deleted_there && item.local.is_none());
            if before.is_some() && goes && !is_folder {
                promise.gone.push(id);
            }
        }
        promise
    }

    /// At the end.
    pub fn keeps(&self, promise: &Promise) -> Result<(), Broken> {
        let live = self.live();
        for (body, why) in &promise.live {
            if !live.iter().any(|item| item.body.same_bytes(body)) {
                return Err(Broken { rule: why, text: format!("{body:?} is not live") });
            }
        }
        for id in &promise.gone {
            if live.iter().any(|item| item.id == *id) {
                return Err(Broken { rule: "what was deleted stays deleted", text: format!("item {id}") });
            }
        }
        for item in &live {
            let local = self.trees.local(item.id);
            let same = local.is_some_and(|local| {
                let time = if item.body.kind() == Kind::File { local.stat.modified } else { ModifiedAt(0) };
                local.place == item.place && local.body.as_ref() == Some(&item.body) && time == item.modified
            });
            if !same {
                return Err(Broken { rule: "both sides are equal at the end", text: format!("{item:?} against {local:?}") });
            }
        }
        if self.trees.local_count() != live.len() {
            return Err(Broken { rule: "both sides are equal at the end", text: "the disk holds more than the service".into() });
        }
        Ok(())
    }

    /// Adds the three trees to the trace.
    pub fn describe(&mut self) {
        let lines: Vec<String> = self.trees.ids().map(|id| format!("{id}: {:?}", self.trees.get(id))).collect();
        self.trace.iter_mut().for_each(|trace| trace.extend(lines.iter().cloned()));
    }
}
