//! Carries a plan out on the trees themselves, as the engine does on a disk and a service, and watches what it does.

use super::case::Case;
use super::values::{passing_name, stat};
use super::{Broken, Tally};
use stacksync_core::commit::{ItemCommit, Verdict};
use stacksync_core::engine::{Stat, Synced};
use stacksync_core::reconcile::{Decision, DiskStep, Step, Wait};
use stacksync_core::trees::Local;
use stacksync_core::values::{Body, FileBody, ItemId, Kind, ModifiedAt, Name, Place, RemoteItem, Status, Version};
use std::collections::BTreeMap;

/// Looks at every item after which a case must have come to an end.
const PASSES_MAX: usize = 60;

fn broken<T>(rule: &'static str, text: impl std::fmt::Debug) -> Result<T, Broken> {
    Err(Broken { rule, text: format!("{text:?}") })
}

impl Case {
    /// Until the plan has nothing left to do.
    pub fn carry_out(&mut self, tally: &mut Tally) -> Result<(), Broken> {
        let mut had_circle = false;
        let mut made_copy = false;
        for _ in 0..PASSES_MAX {
            let mut waits = BTreeMap::new();
            let mut moved = false;
            for id in self.trees.ids().collect::<Vec<_>>() {
                tally.decisions += 1;
                let decision = self.decide(id);
                if let Some(trace) = &mut self.trace {
                    trace.push(format!("{id}: {decision:?}"));
                }
                made_copy |= decision.step == Step::Disk(DiskStep::ConflictCopy);
                match decision.step {
                    Step::Nothing => {}
                    Step::Wait(wait) => drop(waits.insert(decision.item, wait)),
                    _ => {
                        moved = true;
                        self.do_one(decision)?;
                    }
                }
            }
            let wants = |wait: &Wait| matches!(wait, Wait::LocalFolder(_) | Wait::RemoteFolder(_));
            let wanted = waits.values().filter(|wait| wants(wait)).filter_map(|wait| wait.target()).collect();
            let news = wanted != self.wanted;
            self.wanted = wanted;
            if !moved && !news {
                if waits.is_empty() {
                    tally.circles += u64::from(had_circle);
                    tally.copies += u64::from(made_copy);
                    return self.plan_is_stable();
                }
                had_circle = true;
                self.break_circle(&waits)?;
            }
        }
        broken("a plan comes to an end", format!("not after {PASSES_MAX} looks at every item"))
    }

    fn plan_is_stable(&self) -> Result<(), Broken> {
        let more = self.trees.ids().map(|id| self.decide(id)).find(|decision| decision.step != Step::Nothing);
        more.map_or(Ok(()), |decision| broken("a plan carried out leaves nothing to do", decision))
    }

    fn do_one(&mut self, decision: Decision) -> Result<(), Broken> {
        let id = decision.item;
        match decision.step {
            Step::Nothing | Step::Wait(_) => {}
            Step::Forget => {
                self.trees.set_remote(id, None);
                self.trees.set_synced(id, None);
            }
            Step::Adopt => {
                let item = self.trees.get(id);
                let (Some(remote), Some(local)) = (&item.remote, &item.local) else { return broken("adopts what is there", id) };
                let stat = local.body.as_ref().is_some_and(|body| body.same_bytes(&remote.body)).then(|| local.stat.clone());
                let synced = agreed(remote, stat);
                self.trees.set_synced(id, Some(synced));
            }
            Step::Rebase => {
                let item = self.trees.get(id);
                let (Some(remote), Some(synced)) = (&item.remote, &item.synced) else {
                    return broken("rebases what was agreed on", id);
                };
                let synced = agreed(remote, synced.stat.clone());
                self.trees.set_synced(id, Some(synced));
            }
            Step::Revive => self.trees.set_synced(id, None),
            Step::Read => {
                let Some(local) = self.trees.local(id).cloned() else { return broken("reads what is there", id) };
                let body = self.content(id);
                self.unread.remove(&id);
                self.trees.set_local(id, Some(Local { body, ..local }));
            }
            Step::Commit(commit) => return self.commit_planned(commit),
            Step::Merge { into } => return self.merge(id, into),
            Step::Disk(step) => return self.do_on_disk(id, step),
        }
        Ok(())
    }

    fn commit_planned(&mut self, commit: ItemCommit) -> Result<(), Broken> {
        match self.commit(commit.clone()) {
            Verdict::Accepted(saved) => {
                let stat = self.trees.local(commit.id).map(|local| local.stat.clone());
                let synced = (!saved.deleted).then(|| Synced { stat, ..agreed(&saved, None) });
                self.trees.set_remote(commit.id, Some(saved));
                self.trees.set_synced(commit.id, synced);
                Ok(())
            }
            refused => broken("nothing is proposed that the service refuses", (commit, refused)),
        }
    }

    fn merge(&mut self, from: ItemId, into: ItemId) -> Result<(), Broken> {
        if self.trees.local(into).is_some() {
            return broken("a newcomer is merged into an item that is not on the disk", (from, into));
        }
        for child in self.trees.hand_over_local(from, into) {
            if let Some(mut synced) = self.trees.get(child).synced.clone().filter(|synced| synced.place.parent == Some(from)) {
                synced.place.parent = Some(into);
                self.trees.set_synced(child, Some(synced));
            }
        }
        if let Some(bytes) = self.unread.remove(&from) {
            self.unread.insert(into, bytes);
        }
        self.trees.set_synced(from, None);
        self.trees.set_synced(into, None);
        Ok(())
    }

    fn do_on_disk(&mut self, id: ItemId, step: DiskStep) -> Result<(), Broken> {
        let item = self.trees.get(id).clone();
        match (step, item.remote, item.local) {
            (DiskStep::Create, Some(remote), None) => {
                self.free(&remote.place, id)?;
                self.write(id, &remote, remote.place.clone())
            }
            (DiskStep::Replace, Some(remote), Some(local)) => {
                self.only_known_bytes(id)?;
                self.write(id, &remote, local.place)
            }
            (DiskStep::SetMeta { modified, executable }, Some(remote), Some(local)) => {
                let stat = Stat { modified, executable, ..local.stat };
                self.trees.set_local(id, Some(Local { stat: stat.clone(), ..local }));
                self.trees.set_synced(id, Some(agreed(&remote, Some(stat))));
                Ok(())
            }
            (DiskStep::Follow, Some(remote), Some(local)) => self.move_to(id, local, remote.place),
            (DiskStep::GiveWay, _, Some(local)) => {
                let place = self.conflict_place(&local.place);
                self.move_to(id, local, place)
            }
            (DiskStep::ConflictCopy, _, Some(local)) => {
                let place = self.conflict_place(&local.place);
                let copy = self.next_id();
                if let Some(bytes) = self.unread.remove(&id) {
                    self.unread.insert(copy, bytes);
                }
                self.trees.set_local(id, None);
                self.trees.set_synced(id, None);
                self.trees.set_local(copy, Some(Local { place, ..local }));
                Ok(())
            }
            (DiskStep::Trash | DiskStep::RemoveFolder, _, Some(_)) => self.remove(id),
            (step, remote, local) => broken("a step on the disk has what it needs", (step, remote, local)),
        }
    }

    fn write(&mut self, id: ItemId, remote: &RemoteItem, place: Place) -> Result<(), Broken> {
        let item = self.trees.get(id);
        let here = item.local.as_ref().and_then(|local| local.body.as_ref());
        let body = match (&remote.body, item.synced.as_ref().map(|synced| &synced.body), here) {
            (Body::File(there), Some(Body::File(before)), Some(Body::File(here))) if there.executable == before.executable => {
                Body::File(FileBody { executable: here.executable, ..there.clone() })
            }
            (body, _, _) => body.clone(),
        };
        let stat = stat(&body, remote.modified, self.next_inode());
        self.unread.remove(&id);
        self.trees.set_local(id, Some(Local { place, stat: stat.clone(), body: Some(body), ignored: false }));
        self.trees.set_synced(id, Some(agreed(remote, Some(stat))));
        Ok(())
    }

    /// Bytes may go only if the service has them, as a version of anything.
    fn only_known_bytes(&self, id: ItemId) -> Result<(), Broken> {
        let Some(body) = self.content(id).filter(|body| body.kind() != Kind::Folder) else { return Ok(()) };
        let known = self.service.items.values().flatten().any(|version| version.body.same_bytes(&body));
        if known { Ok(()) } else { broken("bytes that only the disk has stay there", (id, body)) }
    }

    fn free(&self, place: &Place, id: ItemId) -> Result<(), Broken> {
        if !self.trees.folder_is_local(place.parent) {
            return broken("what is put on the disk has its folder there", (id, place));
        }
        match self.trees.local_clash(place, id) {
            Some(other) => broken("what is put on the disk finds its place free", (id, place, other)),
            None => Ok(()),
        }
    }

    fn move_to(&mut self, id: ItemId, local: Local, place: Place) -> Result<(), Broken> {
        self.free(&place, id)?;
        if place.parent == Some(id) || self.trees.local_ancestors(place.parent).contains(&id) {
            return broken("no folder is moved into itself", (id, place));
        }
        self.trees.set_local(id, Some(Local { place, ..local }));
        Ok(())
    }

    fn remove(&mut self, id: ItemId) -> Result<(), Broken> {
        self.only_known_bytes(id)?;
        for below in self.trees.local_descendants(id) {
            // Only ignore rules that are deleted too go together with their folder.
            if self.trees.get(below).remote_live().is_some() || self.trees.get(below).remote.is_none() {
                return broken("a folder is removed when it is empty", (id, below));
            }
            self.only_known_bytes(below)?;
            self.trees.set_local(below, None);
            self.trees.set_synced(below, None);
        }
        self.trees.set_local(id, None);
        self.trees.set_synced(id, None);
        Ok(())
    }

    fn conflict_place(&self, place: &Place) -> Place {
        let nobody = super::values::id(1 << 40);
        let named = |attempt: u32| Name::new(&format!("{} (copy {attempt})", place.name)).unwrap_or_else(|_| place.name.clone());
        let places = (1..1_000).map(|attempt| Place { parent: place.parent, name: named(attempt) });
        let free =
            |place: &Place| self.trees.local_clash(place, nobody).is_none() && self.trees.remote_clash(place, nobody).is_none();
        places.into_iter().find(free).unwrap_or_else(|| place.clone())
    }

    /// Nothing can be done but waiting: there must be a circle, which the engine breaks by a passing name.
    fn break_circle(&mut self, waits: &BTreeMap<ItemId, Wait>) -> Result<(), Broken> {
        let Some((waiter, wait)) = waits.keys().find_map(|&id| breakable(waits, id)) else {
            return broken("whoever waits, waits for something that can happen", waits);
        };
        match wait {
            Wait::LocalOccupant(occupant) => self.break_on_disk(waiter, occupant, waits),
            _ => self.break_on_service(waiter),
        }
    }

    fn break_on_disk(&mut self, waiter: ItemId, occupant: ItemId, waits: &BTreeMap<ItemId, Wait>) -> Result<(), Broken> {
        let item = self.trees.get(waiter).clone();
        let passing = item.remote_live().map(|remote| Place { parent: remote.place.parent, name: passing_name(waiter) });
        if let (Some(local), Some(passing)) = (item.local, passing)
            && local.place != passing
            && !self.trees.local_ancestors(passing.parent).contains(&waiter)
        {
            return self.move_to(waiter, local, passing);
        }
        let Some(local) = self.trees.local(occupant).cloned() else { return broken("an occupant is on the disk", occupant) };
        let pushes = matches!(waits.get(&occupant), Some(Wait::RemoteOccupant(_) | Wait::RemoteFolder(_)));
        let place = match pushes {
            true => self.conflict_place(&local.place),
            false => Place { parent: local.place.parent, name: passing_name(occupant) },
        };
        self.move_to(occupant, local, place)
    }

    fn break_on_service(&mut self, waiter: ItemId) -> Result<(), Broken> {
        let item = self.trees.get(waiter);
        let Some(local) = &item.local else { return broken("who waits on the service is on the disk", waiter) };
        let (version, status) = match &item.remote {
            None => (Version::FIRST, Status::New),
            Some(remote) => (remote.version.next(), Status::Renamed),
        };
        let Some(body) = local.body.clone() else { return broken("who waits on the service was read", waiter) };
        let place = Place { parent: local.place.parent, name: passing_name(waiter) };
        let modified = if body.kind() == Kind::File { local.stat.modified } else { ModifiedAt(0) };
        self.commit_planned(ItemCommit { id: waiter, version, status, place, body, modified })
    }
}

/// What both sides agree on when the disk holds the service's version.
fn agreed(remote: &RemoteItem, stat: Option<Stat>) -> Synced {
    Synced { version: remote.version, place: remote.place.clone(), body: remote.body.clone(), modified: remote.modified, stat }
}

/// An item that waits, in a circle, for the occupant of a name; on the disk rather than on the service.
fn breakable(waits: &BTreeMap<ItemId, Wait>, from: ItemId) -> Option<(ItemId, Wait)> {
    let mut found = None;
    let mut at = from;
    for _ in 0..=waits.len() {
        let &wait = waits.get(&at)?;
        match wait {
            Wait::LocalOccupant(_) => found = Some((at, wait)),
            Wait::RemoteOccupant(_) => found = found.or(Some((at, wait))),
            _ => {}
        }
        at = wait.target()?;
        if at == from {
            return found;
        }
    }
    None
}
