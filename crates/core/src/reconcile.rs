//! The planner: a pure, total function of three trees that says, for one item, what has to happen next, and why.
//!
//! An item has three independent registers: whether it exists, its place, its content (with executable bit and time). Each is merged
//! by itself: a register that changed on one side is taken over by the other; one that changed on both is decided by a fixed rule.
//! Always *pull, then push*: first the disk follows what is new on the service, then `synced` moves onto the service's version, then
//! what is still different on the disk is committed as that version plus one. So a commit is never based on anything but the
//! latest version, and running the plan on its own result gives nothing to do.
//!
//! The rules, in the order of their rank:
//! 1. Content is never dropped: if both sides changed a file, the disk's bytes become a conflict copy, an item of its own.
//! 2. An edit beats a deletion, whichever side made it. A folder that something new lives in is not deleted.
//! 3. The service's place beats the disk's place if both moved; the service's name beats a local newcomer's.
//! 4. Equal content is no conflict, nor are equal folders: the local newcomer becomes the service's item.

use crate::commit::ItemCommit;
use crate::names::{is_passing, wanted_name};
use crate::planted;
use crate::trees::{Item, Local, Synced, Trees};
use crate::values::{Body, ItemId, Kind, ModifiedAt, Name, Place, RemoteItem, Status, Version};
use std::collections::BTreeSet;

/// The name of the files that hold ignore rules.
pub const RULES_NAME: &str = ".syncignore";

/// What a plan depends on beside the trees.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Folders that must exist on both sides because something that lives on needs them.
    pub wanted: &'a BTreeSet<ItemId>,
    /// Folders that precede this item in the commit being put together.
    pub joining: &'a BTreeSet<ItemId>,
    /// Deletions that the guard holds back.
    pub held: &'a BTreeSet<ItemId>,
    /// Deletions that wait a moment, because the file may turn up under another name.
    pub fresh: &'a std::collections::BTreeMap<ItemId, u64>,
}

/// What has to happen, to which item, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Usually the item asked about; sometimes one that stands in its way.
    pub item: ItemId,
    /// What has to happen.
    pub step: Step,
    /// Why, in one clause for people.
    pub reason: &'static str,
}

/// The next step for an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All three trees agree.
    Nothing,
    /// The item is gone everywhere: forget it.
    Forget,
    /// Both sides are equal: note that they agree on the service's version.
    Adopt,
    /// Take the service's version as the base of what the disk has.
    Rebase,
    /// The local deletion is void: forget what was agreed, so that the item comes back.
    Revive,
    /// Read the file's bytes (and put them into the storage).
    Read,
    /// Commit.
    Commit(ItemCommit),
    /// Change the disk.
    Disk(DiskStep),
    /// The local newcomer is the service's item: give it the file.
    Merge {
        /// The service's item.
        into: ItemId,
    },
    /// Something else comes first.
    Wait(Wait),
}

/// A change of the disk, in terms of the trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskStep {
    /// Make what the service has, where the service has it.
    Create,
    /// Replace the content by the service's.
    Replace,
    /// Set time and executable bit.
    SetMeta {
        /// Modification time.
        modified: ModifiedAt,
        /// Executable bit.
        executable: bool,
    },
    /// Move to the place that the service has.
    Follow,
    /// Give way: move to a conflict name in the same folder. The item keeps its identity.
    GiveWay,
    /// Keep the local content as an item of its own under a conflict name; the item itself comes back from the service.
    ConflictCopy,
    /// Move the file or link to the trash.
    Trash,
    /// Remove the empty folder.
    RemoveFolder,
}

/// What an item waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// This folder has to exist on the disk.
    LocalFolder(ItemId),
    /// This folder has to exist on the service.
    RemoteFolder(ItemId),
    /// This item has to leave the place on the disk.
    LocalOccupant(ItemId),
    /// This item has to leave the place on the service.
    RemoteOccupant(ItemId),
    /// This item has to move first, or a folder would be inside itself.
    Mover(ItemId),
    /// These ignore rules have to come down first: they may say that the newcomer stays here.
    Rules(ItemId),
    /// The folder has to become empty on the disk; this is in it.
    LocalChild(ItemId),
    /// The folder has to become empty on the service; this is in it.
    RemoteChild(ItemId),
    /// The deletion may turn out to be a move.
    Grace,
    /// The guard holds the deletion.
    Held,
}

impl Wait {
    /// The item that has to change before the waiting one can go on, if it is one item.
    pub const fn target(self) -> Option<ItemId> {
        match self {
            Self::LocalFolder(id)
            | Self::RemoteFolder(id)
            | Self::LocalOccupant(id)
            | Self::RemoteOccupant(id)
            | Self::Mover(id)
            | Self::Rules(id)
            | Self::LocalChild(id)
            | Self::RemoteChild(id) => Some(id),
            Self::Grace | Self::Held => None,
        }
    }
}

/// What has to happen next for this item.
pub fn reconcile(trees: &Trees, context: Context<'_>, id: ItemId) -> Decision {
    let case = Case { trees, context, id, item: trees.get(id) };
    match (&case.item.local, &case.item.synced) {
        (None, None) => case.on_service_only(),
        (None, Some(synced)) => case.gone_from_disk(synced),
        (Some(local), None) => case.new_on_disk(local),
        (Some(local), Some(synced)) => case.on_both(local, synced),
    }
}

struct Case<'a> {
    trees: &'a Trees,
    context: Context<'a>,
    id: ItemId,
    item: &'a Item,
}

impl<'a> Case<'a> {
    fn decide(&self, step: Step, reason: &'static str) -> Decision {
        Decision { item: self.id, step, reason }
    }

    fn wait(&self, wait: Wait, reason: &'static str) -> Decision {
        self.decide(Step::Wait(wait), reason)
    }

    /// Neither the disk nor the past knows it.
    fn on_service_only(&self) -> Decision {
        match self.item.remote_live() {
            Some(remote) => self.pull_place(&place_to_create(self.trees, self.id, remote), DiskStep::Create, "new on the service"),
            None => self.decide(Step::Forget, "gone on both sides"),
        }
    }

    /// It was synced and is no longer on the disk.
    fn gone_from_disk(&self, synced: &Synced) -> Decision {
        let Some(remote) = self.item.remote_live() else {
            return self.decide(Step::Forget, "deleted on both sides");
        };
        // Before anything comes back to where it was, too: it may be on its way to another name.
        if self.context.fresh.contains_key(&self.id) {
            return self.wait(Wait::Grace, "deleted here a moment ago");
        }
        let edited =
            !remote.body.same_bytes(&synced.body) || (remote.body.kind() != Kind::Folder && remote.version != synced.version);
        if edited && !planted!(DeleteBeatsEdit) {
            return self.decide(Step::Revive, "deleted here, changed on the service: the change wins");
        }
        if self.context.wanted.contains(&self.id) && !planted!(WantedForgotten) {
            return self.decide(Step::Revive, "deleted here, but something in it lives on");
        }
        if self.context.held.contains(&self.id) {
            return self.wait(Wait::Held, "deleted here together with much else: held until approved");
        }
        if let Some(child) = self.trees.remote_children(self.id).next() {
            return self.wait(Wait::RemoteChild(child), "deleted here, what is in it goes first");
        }
        let commit = ItemCommit {
            id: self.id,
            version: remote.version.next(),
            status: Status::Deleted,
            place: remote.place.clone(),
            body: remote.body.clone(),
            modified: remote.modified,
        };
        self.decide(Step::Commit(commit), "deleted here")
    }

    /// It is on the disk and was never synced.
    fn new_on_disk(&self, local: &Local) -> Decision {
        if local.ignored {
            return self.decide(Step::Nothing, "ignored");
        }
        if self.item.remote.is_none()
            && local.place.name.as_str() != RULES_NAME
            && let Some(rules) = self.rules_to_come(local)
        {
            return self.wait(Wait::Rules(rules), "new here; newer ignore rules are on their way");
        }
        let Some(body) = &local.body else {
            return self.decide(Step::Read, "new here");
        };
        match &self.item.remote {
            None => self.push(local, body, Version::FIRST, Status::New, "new here"),
            Some(remote) if remote.deleted => {
                self.push(local, body, remote.version.next(), Status::Changed, "deleted on the service, but it lives on here")
            }
            Some(remote) if remote.body.same_bytes(body) => self.pull_meta(local, None, remote),
            Some(_) => self.conflict(local, "both sides have it, with different content"),
        }
    }

    /// Ignore rules for this place that the service has and the disk has not yet.
    fn rules_to_come(&self, local: &Local) -> Option<ItemId> {
        let name = Name::new(RULES_NAME).ok()?;
        let above = self.trees.local_ancestors(local.place.parent).into_iter().map(Some).chain([None]);
        let rules = above.filter_map(|parent| self.trees.remote_at(&Place { parent, name: name.clone() }));
        rules.into_iter().find(|&rules| {
            let item = self.trees.get(rules);
            let version = item.remote.as_ref().map(|remote| remote.version);
            item.synced.as_ref().map(|synced| synced.version) != version && item.synced.is_none() == item.local.is_none()
        })
    }

    fn on_both(&self, local: &Local, synced: &Synced) -> Decision {
        match &self.item.remote {
            None => self.new_on_disk(local),
            Some(remote) if remote.deleted => self.deleted_on_service(local, synced, remote),
            // Its own passing name, or another one's that somebody exchanged it for.
            Some(remote) if is_passing(&local.place.name) && local.place != remote.place => {
                self.pull_place(&remote.place, DiskStep::Follow, "left under a passing name")
            }
            Some(remote) if remote.version != synced.version => self.pull(local, synced, remote),
            Some(remote) => self.push_changes(local, synced, remote),
        }
    }

    fn deleted_on_service(&self, local: &Local, synced: &Synced, remote: &RemoteItem) -> Decision {
        let Some(body) = &local.body else {
            return self.decide(Step::Read, "deleted on the service; has it changed here?");
        };
        if local.stat.kind == Kind::Folder {
            return if self.context.wanted.contains(&self.id) {
                self.push(
                    local,
                    body,
                    remote.version.next(),
                    Status::Changed,
                    "deleted on the service, but something in it lives on",
                )
            } else if let Some((_, child)) =
                self.trees.local_children(Some(self.id)).find(|(_, child)| !self.goes_with_its_folder(*child))
            {
                self.wait(Wait::LocalChild(child), "deleted on the service, what is in it goes first")
            } else {
                self.decide(Step::Disk(DiskStep::RemoveFolder), "deleted on the service")
            };
        }
        // A passing name is nobody's wish. And whoever deleted the very thing that is here knew of all changes that were made here.
        let moved = local.place != synced.place && local.place != remote.place && !is_passing(&local.place.name);
        let edited = !body.same_bytes(&synced.body) && !body.same_bytes(&remote.body);
        if (moved || edited) && !planted!(DeleteBeatsLocalEdit) {
            return self.push(
                local,
                body,
                remote.version.next(),
                Status::Changed,
                "deleted on the service, changed here: the change wins",
            );
        }
        if let Some(folder) = local.place.parent.filter(|_| self.goes_with_its_folder(self.id)) {
            return self.wait(Wait::Mover(folder), "deleted on the service; ignore rules go together with their folder");
        }
        self.decide(Step::Disk(DiskStep::Trash), "deleted on the service")
    }

    /// Ignore rules in a folder that is deleted too: without them what they ignore would pass for new.
    fn goes_with_its_folder(&self, id: ItemId) -> bool {
        let Item { remote: Some(remote), synced: Some(synced), local: Some(local) } = self.trees.get(id) else { return false };
        let unchanged = local.place == synced.place && local.body.as_ref().is_some_and(|body| body.same_bytes(&synced.body));
        let folder_goes = local.place.parent.is_some_and(|folder| {
            self.trees.get(folder).remote.as_ref().is_some_and(|remote| remote.deleted) && !self.context.wanted.contains(&folder)
        });
        let is_rules = local.place.name.as_str() == RULES_NAME && local.stat.kind == Kind::File;
        is_rules && remote.deleted && unchanged && folder_goes
    }

    /// The service has a newer version than the one agreed on.
    fn pull(&self, local: &Local, synced: &Synced, remote: &RemoteItem) -> Decision {
        if remote.place != synced.place && local.place != remote.place && !planted!(MoveUndoesMove) {
            return self.pull_place(&remote.place, DiskStep::Follow, "moved on the service");
        }
        match &local.body {
            None if remote.body.same_bytes(&synced.body) => self.decide(Step::Read, "has its content changed here too?"),
            Some(_) if remote.body.same_bytes(&synced.body) => self.pull_meta(local, Some(synced), remote),
            None if planted!(UnreadIsUnchanged) => self.decide(Step::Disk(DiskStep::Replace), "changed on the service"),
            None => self.decide(Step::Read, "changed on the service; has it changed here too?"),
            Some(body) if body.same_bytes(&remote.body) => self.pull_meta(local, Some(synced), remote),
            Some(body) if body.same_bytes(&synced.body) => self.decide(Step::Disk(DiskStep::Replace), "changed on the service"),
            Some(_) if planted!(StaleBase) => self.decide(Step::Disk(DiskStep::Replace), "changed on the service"),
            Some(_) => self.conflict(local, "changed on both sides"),
        }
    }

    /// The bytes need nothing from the service; do time and executable bit?
    fn pull_meta(&self, local: &Local, synced: Option<&Synced>, remote: &RemoteItem) -> Decision {
        let same_bytes = local.body.as_ref().is_some_and(|body| body.same_bytes(&remote.body));
        if !same_bytes {
            return self.decide(Step::Rebase, "changed here; the service's newer version has the old content");
        }
        let (Some(Body::File(here)), Body::File(there)) = (&local.body, &remote.body) else {
            return self.decide(Step::Adopt, "equal on both sides");
        };
        let executable = match synced.map(|synced| &synced.body) {
            Some(Body::File(before)) if before.executable == there.executable && !planted!(ModeFromService) => here.executable,
            Some(_) | None => there.executable,
        };
        let modified = match synced {
            // With a new mode from there a new time from here gives way: set together they would pass for what both sides agreed on.
            Some(synced) if touched(local, synced) && executable != here.executable => remote.modified,
            Some(synced) if synced.modified == remote.modified => local.stat.modified,
            Some(_) | None => remote.modified,
        };
        if executable == here.executable && modified == local.stat.modified {
            return match synced {
                // The time is news, and must not be taken for what both sides agreed on.
                Some(synced) if modified != remote.modified && touched(local, synced) && !planted!(TimeIsAgreed) => {
                    self.decide(Step::Rebase, "its time changed here; the service's newer version has the old one")
                }
                Some(_) | None => self.decide(Step::Adopt, "equal on both sides"),
            };
        }
        self.decide(Step::Disk(DiskStep::SetMeta { modified, executable }), "time or mode changed on the service")
    }

    /// Both sides agree on the latest version; what is different on the disk is news.
    fn push_changes(&self, local: &Local, synced: &Synced, remote: &RemoteItem) -> Decision {
        let Some(body) = &local.body else {
            return self.decide(Step::Read, "may have changed here");
        };
        let moved = local.place != synced.place;
        let changed = *body != synced.body || touched(local, synced);
        match (moved, changed) {
            (false, false) => self.decide(Step::Nothing, "equal on both sides"),
            (true, _) => self.push(local, body, remote.version.next(), Status::Renamed, "moved here"),
            (false, true) => self.push(local, body, remote.version.next(), Status::Changed, "changed here"),
        }
    }

    /// Commits what the disk has, once its folder, its name and the way up are clear on the service.
    fn push(&self, local: &Local, body: &Body, version: Version, status: Status, reason: &'static str) -> Decision {
        let place = &local.place;
        // Where the service has it under that name, a device crashed in the middle once, and it is the item's name now.
        let is_its_own = self.item.remote.as_ref().is_some_and(|remote| remote.place == *place);
        if is_passing(&place.name) && !is_its_own {
            return self.decide(Step::Disk(DiskStep::GiveWay), "left under a passing name, and its place is not known any more");
        }
        if let Some(parent) = place.parent
            && !self.trees.folder_is_remote(Some(parent))
            && !self.context.joining.contains(&parent)
        {
            return self.wait(Wait::RemoteFolder(parent), reason);
        }
        if let Some(mover) = self.pending_mover(place.parent) {
            return self.wait(Wait::Mover(mover), reason);
        }
        if let Some(other) = self.trees.remote_clash(place, self.id) {
            return self.name_taken_on_service(place, other, reason);
        }
        let modified = if local.stat.kind == Kind::File { local.stat.modified } else { ModifiedAt(0) };
        let commit = ItemCommit { id: self.id, version, status, place: place.clone(), body: body.clone(), modified };
        self.decide(Step::Commit(commit), reason)
    }

    /// On the service the new folder is still inside this item: who in between has to move out first?
    fn pending_mover(&self, parent: Option<ItemId>) -> Option<ItemId> {
        let above = self.trees.remote_ancestors(parent);
        if !above.contains(&self.id) {
            return None;
        }
        let moves = |id: &ItemId| {
            let item = self.trees.get(*id);
            matches!((&item.local, &item.remote), (Some(local), Some(remote)) if local.place != remote.place)
        };
        above.into_iter().take_while(|&id| id != self.id).find(moves)
    }

    fn name_taken_on_service(&self, place: &Place, other: ItemId, reason: &'static str) -> Decision {
        let here = self.trees.get(other).local.as_ref();
        match here {
            Some(here) if here.place.parent == place.parent && here.place.name.key() == place.name.key() => {
                self.decide(Step::Disk(DiskStep::GiveWay), "its name differs only by case or Unicode form from a synced one")
            }
            _ => self.wait(Wait::RemoteOccupant(other), reason),
        }
    }

    /// Makes or moves the item on the disk, once its folder, its name and the way up are clear there.
    fn pull_place(&self, place: &Place, step: DiskStep, reason: &'static str) -> Decision {
        if let Some(parent) = place.parent
            && !self.trees.folder_is_local(Some(parent))
        {
            return self.wait(Wait::LocalFolder(parent), reason);
        }
        if step == DiskStep::Follow
            && let Some(decision) = self.undo_cycle(place.parent, reason)
        {
            return decision;
        }
        match self.trees.local_clash(place, self.id) {
            Some(other) => self.name_taken_on_disk(place, other, reason),
            None => self.decide(Step::Disk(step), reason),
        }
    }

    /// On the disk the new folder is inside this item: the local move that brought it there loses. Where that one has to go back to may
    /// be inside itself in turn: then the move that brought *that* there is undone first.
    fn undo_cycle(&self, parent: Option<ItemId>, reason: &'static str) -> Option<Decision> {
        let moved = |id: &ItemId| {
            let item = self.trees.get(*id);
            matches!((&item.local, item.remote_live()), (Some(local), Some(remote)) if local.place != remote.place)
        };
        let mut chain = vec![self.id];
        let mut into = parent;
        loop {
            let last = *chain.last()?;
            let above = self.trees.local_ancestors(into);
            if !above.contains(&last) {
                return None;
            }
            let id = above.into_iter().take_while(|&id| id != last).find(moved)?;
            let culprit = Case { trees: self.trees, context: self.context, id, item: self.trees.get(id) };
            let back = &culprit.item.remote_live()?.place;
            if !self.trees.local_ancestors(back.parent).contains(&id) {
                return Some(self.send_back(&culprit, back, &chain, reason));
            }
            if chain.contains(&id) {
                return Some(self.wait(Wait::Mover(id), reason));
            }
            chain.push(id);
            into = back.parent;
        }
    }

    /// The culprit goes back to where the service has it; whoever is in its way there goes first. `chain`: who cannot move before that.
    fn send_back(&self, culprit: &Self, back: &Place, chain: &[ItemId], reason: &'static str) -> Decision {
        const REASON: &str = "moved here, but the folders would be inside each other";
        if let Some(parent) = back.parent.filter(|&parent| !self.trees.folder_is_local(Some(parent))) {
            return self.wait(Wait::LocalFolder(parent), reason);
        }
        let Some(other) = self.trees.local_clash(back, culprit.id) else {
            return culprit.decide(Step::Disk(DiskStep::Follow), REASON);
        };
        let decision = culprit.name_taken_on_disk(back, other, REASON);
        match decision.step {
            Step::Wait(_) if chain.contains(&other) => {
                Decision { item: other, step: Step::Disk(DiskStep::GiveWay), reason: REASON }
            }
            Step::Wait(_) => self.wait(Wait::LocalOccupant(other), reason),
            _ => decision,
        }
    }

    /// Another item is where the service wants this one.
    fn name_taken_on_disk(&self, place: &Place, other: ItemId, reason: &'static str) -> Decision {
        let occupant = self.trees.get(other);
        let Some(local) = &occupant.local else {
            return self.wait(Wait::LocalOccupant(other), reason);
        };
        let give_way =
            Decision { item: other, step: Step::Disk(DiskStep::GiveWay), reason: "the service has another item of that name" };
        match (&occupant.remote, &occupant.synced) {
            (None, _) => self.newcomer(place, other, local, reason).unwrap_or(give_way),
            (Some(remote), _) if remote.deleted && local.stat.kind == Kind::Folder => {
                self.newcomer(place, other, local, reason).unwrap_or_else(|| match self.context.wanted.contains(&other) {
                    true => give_way,
                    false => self.wait(Wait::LocalOccupant(other), reason),
                })
            }
            (Some(remote), Some(synced)) => {
                let leaves = match remote.deleted {
                    true => local.place == synced.place && local.body.as_ref().is_none_or(|body| body.same_bytes(&synced.body)),
                    false => remote.version != synced.version && remote.place != synced.place,
                };
                if leaves { self.wait(Wait::LocalOccupant(other), reason) } else { give_way }
            }
            (Some(_), None) => give_way,
        }
    }

    /// The occupant is unknown to the service (or a folder deleted there): is it the same thing as the service's item?
    fn newcomer(&self, place: &Place, other: ItemId, local: &Local, reason: &'static str) -> Option<Decision> {
        let remote = self.item.remote_live()?;
        let comparable = self.item.local.is_none()
            && local.stat.kind == remote.body.kind()
            && local.place.name == place.name
            && !local.ignored
            && self.item.synced.is_none();
        if !comparable {
            return None;
        }
        match &local.body {
            None => Some(self.wait(Wait::LocalOccupant(other), reason)),
            Some(body) if body.same_bytes(&remote.body) => {
                Some(Decision { item: other, step: Step::Merge { into: self.id }, reason: "the service has the same already" })
            }
            Some(_) => None,
        }
    }

    fn conflict(&self, local: &Local, reason: &'static str) -> Decision {
        match local.stat.kind {
            Kind::Folder => self.decide(Step::Adopt, "equal on both sides"),
            Kind::File | Kind::Link => self.decide(Step::Disk(DiskStep::ConflictCopy), reason),
        }
    }
}

/// Where an item that is only on the service is put. One that was found there under a passing name gets the name that it was to get, if
/// the service has that free: whoever gave it the passing name may have lost sight of it since.
pub(crate) fn place_to_create(trees: &Trees, id: ItemId, remote: &RemoteItem) -> Place {
    let wanted = wanted_name(&remote.place.name).map(|name| Place { parent: remote.place.parent, name });
    wanted.filter(|wanted| trees.remote_clash(wanted, id).is_none()).unwrap_or_else(|| remote.place.clone())
}

/// Whether a file's time is another than when both sides agreed on it.
fn touched(local: &Local, synced: &Synced) -> bool {
    let before = synced.stat.as_ref().map_or(synced.modified, |stat| stat.modified);
    local.stat.kind == Kind::File && local.stat.modified != before
}

#[cfg(test)]
mod tests;
