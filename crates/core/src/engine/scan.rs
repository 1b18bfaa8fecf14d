//! From looks at the disk to the local tree.
//!
//! A round begins with the first folder to look at and ends when none is left. What is missing and what is strange is compared only
//! then, so that a file that moved from a folder looked at early to one looked at late is a move, not a deletion. A missing item whose file
//! (inode and birth time) shows up elsewhere has moved; a strange file under a missing item's name is that item with new content (as
//! editors save); any other stranger is a new item.

use super::input::{Entry, Listing, ScanError};
use super::{DELETE_GRACE_MS, Effect, Engine, RESCAN_EVERY_MS, ROOT_EVERY_MS};
use super::{FileId, Stat};
use crate::planted;
use crate::trees::{Item, Local, Trees};
use crate::values::{Body, FileBody, ItemId, ItemPath, Kind, Name, Place};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Folders that are looked at at the same time.
const SCANS_MAX: usize = 32;
/// Where something is gone from a folder of at most so many items, all of it is looked at.
const SIBLINGS_MAX: usize = 1_000;
/// Where something is gone from a tree of at most so many items, all of it is looked at before the guard is asked: a small tree may be
/// emptied by few deletions.
const TREE_MAX: usize = 200;
/// Adler-32 of nothing.
const ADLER_EMPTY: u32 = 1;

/// How much of a folder is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    All,
    Names(BTreeSet<Name>),
}

/// Something on the disk that is not (yet) an item, or not the item that has its name.
#[derive(Clone, Debug)]
struct Stranger {
    folder: Option<ItemId>,
    entry: Entry,
}

type StrangersByPlace = BTreeMap<(Option<ItemId>, Name), Entry>;

/// What is being looked at.
#[derive(Clone, Debug, Default)]
pub struct Scans {
    queue: BTreeMap<Option<ItemId>, Extent>,
    running: BTreeSet<Option<ItemId>>,
    missing: BTreeSet<ItemId>,
    strangers: StrangersByPlace,
    /// Where each of their files was seen last.
    stranger_of: HashMap<FileId, (Option<ItemId>, Name)>,
    /// Items that were not to be seen while an action was under way on them: perhaps they are gone, too.
    doubtful: BTreeSet<ItemId>,
    /// Items that were seen where an action is about to put another one, or to take it away.
    hidden: BTreeMap<(Option<ItemId>, Name), ItemId>,
    /// Folders that were not where they should be: looked at when they turn up.
    astray: BTreeSet<ItemId>,
    first_done: bool,
    /// In this round everything is looked at.
    is_whole: bool,
    root_lost: Option<String>,
    next_look_ms: Option<u64>,
    /// Folders that could not be read, and entries that cannot be synced, with the reason.
    pub skipped: BTreeMap<Option<ItemId>, BTreeMap<String, String>>,
}

impl Scans {
    /// Whether the whole disk was looked at once, and the root folder is there.
    pub const fn is_sound(&self) -> bool {
        self.first_done && self.root_lost.is_none()
    }

    /// Whether nothing is to be looked at.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty() && self.strangers.is_empty() && self.missing.is_empty()
    }

    /// Why the root folder is taken for lost.
    pub fn root_lost(&self) -> Option<&str> {
        self.root_lost.as_deref()
    }

    /// When the whole disk is looked at again.
    pub const fn next_look(&self) -> Option<u64> {
        self.next_look_ms
    }

    /// The item is not on the disk any more.
    pub fn forget(&mut self, id: ItemId) {
        self.skipped.remove(&Some(id));
        self.doubtful.remove(&id);
    }

    fn want(&mut self, folder: Option<ItemId>, extent: Extent) {
        match (self.queue.get_mut(&folder), extent) {
            (Some(Extent::All), _) => {}
            (Some(Extent::Names(names)), Extent::Names(more)) => names.extend(more),
            (_, extent) => {
                self.queue.insert(folder, extent);
            }
        }
    }
}

impl Engine {
    pub(super) fn touched_all(&mut self) {
        self.scans.next_look_ms = Some(self.now.ms + RESCAN_EVERY_MS);
        self.scans.is_whole = true;
        self.scans.want(None, Extent::All);
        let there = |id: &ItemId| self.is_local_folder(*id) && !self.scans.missing.contains(id);
        let folders: Vec<ItemId> = self.trees.ids().filter(there).collect();
        for folder in folders {
            self.scans.want(Some(folder), Extent::All);
        }
    }

    fn is_local_folder(&self, id: ItemId) -> bool {
        self.trees.local(id).is_some_and(|local| local.stat.kind == Kind::Folder)
    }

    /// Looks at the deepest known folder on the path, for the name that follows; a known folder is itself looked at too. One that an
    /// action is just making or moving is not known yet where it is: it is looked into when the action has ended.
    pub(super) fn touched(&mut self, path: &ItemPath) {
        let mut folder = None;
        for name in path.names() {
            self.look_for(folder, name.clone());
            match self.trees.local_at(folder, name) {
                Some(id) if self.is_local_folder(id) => folder = Some(id),
                Some(_) | None => {
                    self.work.defer_look_at(folder, name);
                    return;
                }
            }
        }
        self.scans.want(folder, Extent::All);
    }

    pub(super) fn look_for(&mut self, folder: Option<ItemId>, name: Name) {
        self.scans.want(folder, Extent::Names(BTreeSet::from([name])));
    }

    /// Looks again at where an item is, or should be.
    pub(super) fn look_at(&mut self, place: &Place) {
        self.look_for(place.parent, place.name.clone());
    }

    /// Looks again at what is in an item, if it is a folder.
    pub(super) fn look_into(&mut self, id: ItemId) {
        if self.is_local_folder(id) {
            self.scans.want(Some(id), Extent::All);
        }
    }

    /// The same for all folders below it, too.
    pub(super) fn look_below(&mut self, id: ItemId) {
        self.look_into(id);
        for below in self.trees.local_descendants(id) {
            self.look_into(below);
        }
    }

    /// A folder became another item: what was to be seen in it, or could not be, is looked at anew.
    pub(super) fn look_as(&mut self, from: ItemId, into: ItemId) {
        let queued = self.scans.queue.remove(&Some(from)).is_some();
        let skipped = self.scans.skipped.remove(&Some(from)).is_some();
        if queued || skipped || self.scans.running.contains(&Some(from)) {
            self.look_into(into);
        }
    }

    /// A remembered item whose place on the disk another one has: only a scan can find it.
    pub(super) fn lose(&mut self, id: ItemId) {
        self.scans.missing.insert(id);
        if let Some(stat) = self.trees.get(id).synced.as_ref().and_then(|synced| synced.stat.clone()) {
            self.trees.note_file(id, stat.file);
        }
    }

    /// Remembered items that no way leads to from the top, because their folder is not remembered, or in another step than they were: only
    /// a scan can find them.
    pub(super) fn miss_orphans(&mut self) {
        let mut found = BTreeSet::new();
        let mut next = vec![None];
        while let Some(folder) = next.pop() {
            for (_, id) in self.trees.local_children(folder) {
                found.insert(id);
                next.push(Some(id));
            }
        }
        let orphan = |id: &ItemId| self.trees.local(*id).is_some() && !found.contains(id);
        self.scans.missing.extend(self.trees.ids().filter(orphan));
    }

    pub(super) fn start_scans(&mut self) {
        let mut later = BTreeMap::new();
        while self.scans.running.len() < SCANS_MAX {
            let Some((folder, extent)) = self.scans.queue.pop_first() else { break };
            if self.scans.running.contains(&folder) {
                later.insert(folder, extent);
            } else if self.trees.folder_is_local(folder) {
                let path = self.trees.folder_path(folder);
                self.scans.running.insert(folder);
                let names = match extent {
                    Extent::All => None,
                    Extent::Names(names) => Some(names.into_iter().collect()),
                };
                self.effects.push_back(Effect::Scan { folder, path, names });
            }
        }
        for (folder, extent) in later {
            self.scans.want(folder, extent);
        }
        self.end_round();
    }

    pub(super) fn scanned(&mut self, folder: Option<ItemId>, names: Option<&[Name]>, result: Result<Listing, ScanError>) {
        self.scans.running.remove(&folder);
        match result {
            Ok(listing) => self.listed(folder, names, listing),
            Err(ScanError::Gone) if folder.is_some_and(|id| self.scans.missing.contains(&id)) => {}
            Err(ScanError::Gone) => match folder.and_then(|id| self.trees.local(id)) {
                Some(local) => {
                    let place = local.place.clone();
                    self.scans.astray.extend(folder);
                    self.look_at(&place);
                }
                None if folder.is_none() => self.root_is_lost("the folder is gone".into()),
                None => {}
            },
            Err(ScanError::RootLost(_)) if planted!(LostRootIsEmpty) => self.listed(folder, names, Listing::default()),
            Err(ScanError::RootLost(reason)) => self.root_is_lost(reason),
            // A folder that is gone by now is no problem any more.
            Err(ScanError::Unreadable(_)) if !self.trees.folder_is_local(folder) => {}
            Err(ScanError::Unreadable(reason)) => {
                self.scans.skipped.entry(folder).or_default().insert(String::new(), reason);
            }
        }
    }

    fn root_is_lost(&mut self, reason: String) {
        self.scans.root_lost = Some(reason);
        self.scans.is_whole = false;
        self.scans.queue.clear();
        self.scans.missing.clear();
        self.scans.strangers.clear();
        self.scans.doubtful.clear();
        self.scans.hidden.clear();
        // What is in a folder whose place another thing has got is gone all the same.
        self.miss_orphans();
        self.scans.next_look_ms = Some(self.now.ms + ROOT_EVERY_MS);
    }

    fn listed(&mut self, folder: Option<ItemId>, names: Option<&[Name]>, listing: Listing) {
        if folder.is_none() && self.scans.root_lost.take().is_some() {
            self.touched_all();
        }
        if !self.trees.folder_is_local(folder) {
            return;
        }
        self.note_skipped(folder, names, &listing);
        self.note_absent(folder, names, &listing);
        for entry in listing.entries {
            if names.is_some() && self.has_other_spelling(folder, &entry) {
                // Some file systems find a file by spellings that it does not have: its name is what the whole folder shows.
                self.scans.want(folder, Extent::All);
            } else {
                self.note_present(folder, entry);
            }
        }
    }

    fn note_skipped(&mut self, folder: Option<ItemId>, names: Option<&[Name]>, listing: &Listing) {
        let noted = self.scans.skipped.entry(folder).or_default();
        match names {
            None => noted.clear(),
            Some(names) => noted.retain(|text, _| !text.is_empty() && names.iter().all(|name| name.as_str() != text)),
        }
        noted.extend(listing.skipped.iter().map(|skipped| (skipped.name.clone(), skipped.reason.clone())));
        if noted.is_empty() {
            self.scans.skipped.remove(&folder);
        }
    }

    fn note_absent(&mut self, folder: Option<ItemId>, names: Option<&[Name]>, listing: &Listing) {
        let present: BTreeSet<&str> = listing
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .chain(listing.skipped.iter().filter(|_| !planted!(UnreadableIsGone)).map(|skipped| skipped.name.as_str()))
            .collect();
        let looked_for = |name: &Name| names.is_none_or(|names| names.contains(name));
        let gone = |name: &Name| looked_for(name) && !present.contains(name.as_str());
        self.scans.hidden.retain(|(at, name), _| *at != folder || !gone(name));
        self.scans.strangers.retain(|(at, name), _| *at != folder || !gone(name));
        let known: Vec<ItemId> = match names {
            None => {
                self.trees.local_children(folder).filter(|(name, _)| !present.contains(name.as_str())).map(|(_, id)| id).collect()
            }
            Some(names) => names
                .iter()
                .filter(|name| !present.contains(name.as_str()))
                .filter_map(|name| self.trees.local_at(folder, name))
                .collect(),
        };
        let mut gone = false;
        for id in known {
            if self.work.defer_look(id) {
                self.scans.doubtful.insert(id);
            } else {
                self.miss(id);
                gone = true;
            }
        }
        // Hints come one by one: whether much is gone at once shows in the whole folder.
        if gone && names.is_some() && self.trees.local_children(folder).nth(SIBLINGS_MAX).is_none() {
            self.scans.want(folder, Extent::All);
        }
    }

    fn miss(&mut self, id: ItemId) {
        self.scans.missing.insert(id);
        self.scans.missing.extend(self.trees.local_descendants(id));
    }

    /// A missing item turned up. What is in it is looked at again: what was seen there may have been seen on another way.
    fn unmiss(&mut self, id: ItemId) {
        if !self.scans.missing.remove(&id) {
            return;
        }
        for below in std::iter::once(id).chain(self.trees.local_descendants(id)) {
            self.scans.missing.remove(&below);
            self.look_into(below);
        }
    }

    fn note_present(&mut self, folder: Option<ItemId>, entry: Entry) {
        if !self.scans.strangers.is_empty() {
            // The latest look counts.
            self.scans.strangers.remove(&(folder, entry.name.clone()));
        }
        if self.work.defer_look_at(folder, &entry.name) {
            return self.note_hidden(folder, &entry);
        }
        self.scans.hidden.remove(&(folder, entry.name.clone()));
        let known = self.trees.local_at(folder, &entry.name);
        if let Some(id) = known {
            if self.work.defer_look(id) {
                if !self.is_file_of(id, &entry) {
                    self.work.defer_stranger(id, Place { parent: folder, name: entry.name.clone() });
                    self.note_hidden(folder, &entry);
                }
                return;
            }
            if self.scans.doubtful.remove(&id) {
                self.release_held();
            }
            if entry.ignored && self.is_newcomer(id) {
                return self.miss(id);
            }
            if self.is_file_of(id, &entry) {
                self.unmiss(id);
                if self.scans.astray.remove(&id) {
                    self.scans.want(Some(id), Extent::All);
                }
                self.note_stat(id, entry.stat);
                if !entry.ignored {
                    self.note_unignored(id);
                }
                return;
            }
            self.miss(id);
        } else if entry.ignored && !self.is_wanted_by_service(folder, &entry.name) && !self.has_other_spelling(folder, &entry) {
            return;
        }
        match self.owner_of(entry.stat.file, entry.stat.kind) {
            Some(owner) if self.work.defer_stranger(owner, Place { parent: folder, name: entry.name.clone() }) => return,
            None if known.is_none() => return self.new_item(folder, entry),
            Some(owner) if !self.scans.missing.contains(&owner) => {
                // Of a file with several names another one may be the one that is gone.
                let here = Place { parent: folder, name: entry.name.clone() };
                let owners = self.trees.by_file(entry.stat.file).filter_map(|owner| self.trees.local(owner));
                let places: Vec<Place> = owners.map(|local| local.place.clone()).filter(|place| *place != here).collect();
                places.iter().for_each(|place| self.look_at(place));
            }
            Some(_) | None => {}
        }
        self.scans.stranger_of.insert(entry.stat.file, (folder, entry.name.clone()));
        self.scans.strangers.insert((folder, entry.name.clone()), entry);
    }

    /// Whether this is the thing that was seen last of the item.
    fn is_file_of(&self, id: ItemId, entry: &Entry) -> bool {
        self.trees.local(id).is_some_and(|local| (local.stat.kind, local.stat.file) == (entry.stat.kind, entry.stat.file))
    }

    /// Somebody moved an item to where an action is about to put another one, or to take it away: it is not gone, and is looked at when
    /// the action has ended.
    fn note_hidden(&mut self, folder: Option<ItemId>, entry: &Entry) {
        let owner = self.owner_of(entry.stat.file, entry.stat.kind);
        if let Some(owner) = owner.filter(|&owner| self.work.expected_item(folder, &entry.name) != Some(owner)) {
            self.scans.hidden.insert((folder, entry.name.clone()), owner);
        }
    }

    /// What is hidden behind an action is not missing, unless its folder is.
    fn spare_hidden(&mut self) {
        let is_there = |trees: &Trees, missing: &BTreeSet<ItemId>, folder: Option<ItemId>| {
            trees.folder_is_local(folder) && folder.is_none_or(|id| !missing.contains(&id))
        };
        let Scans { missing, hidden, .. } = &mut self.scans;
        hidden.retain(|&(folder, _), _| is_there(&self.trees, missing, folder));
        for &owner in hidden.values() {
            let stays = self.trees.local(owner).is_some_and(|local| is_there(&self.trees, missing, local.place.parent));
            if stays && missing.remove(&owner) {
                self.trees.local_descendants(owner).iter().for_each(|below| {
                    missing.remove(below);
                });
            }
        }
    }

    /// Whether something that both sides had is missing, and nothing that was seen in this round can be it.
    fn may_lose(&self) -> bool {
        let seen: BTreeSet<ItemId> =
            self.scans.strangers.values().filter_map(|entry| self.owner_of(entry.stat.file, entry.stat.kind)).collect();
        self.scans.missing.iter().any(|id| {
            let item = self.trees.get(*id);
            let place = item.local.as_ref().map(|local| (local.place.parent, local.place.name.clone()));
            item.synced.is_some() && !seen.contains(id) && !place.is_some_and(|place| self.scans.strangers.contains_key(&place))
        })
    }

    /// Whether this is a file that is known under another spelling of the same name.
    fn has_other_spelling(&self, folder: Option<ItemId>, entry: &Entry) -> bool {
        // Whichever item the file passes for: of a file with several names in a folder one item has each.
        let is_item = |(known, id): (&Name, ItemId)| *known != entry.name && self.is_file_of(id, entry);
        let is_stranger = |place: &&(Option<ItemId>, Name)| {
            let (at, known) = place;
            *at == folder && *known != entry.name && known.key() == entry.name.key() && self.scans.strangers.contains_key(*place)
        };
        self.trees.local_spellings(folder, &entry.name).any(is_item)
            || self.scans.stranger_of.get(&entry.stat.file).is_some_and(|place| is_stranger(&place))
    }

    /// Whether the service has an item for this place that the disk has not, or elsewhere.
    fn is_wanted_by_service(&self, folder: Option<ItemId>, name: &Name) -> bool {
        let wanted = self.trees.remote_at(&Place { parent: folder, name: name.clone() });
        let is_there = |place: &Place| place.parent == folder && place.name.key() == name.key();
        wanted.is_some_and(|id| self.trees.local(id).is_none_or(|local| !is_there(&local.place)))
    }

    /// Whether nobody but this disk knows the item yet.
    pub(super) fn is_newcomer(&self, id: ItemId) -> bool {
        let item = self.trees.get(id);
        item.synced.is_none() && item.remote.is_none() && !self.work.is_committing(id)
    }

    /// The item that this file was when it was last seen, on the disk or recently on it; of several, for a file with as many names, one that
    /// is missing.
    fn owner_of(&self, file: FileId, kind: Kind) -> Option<ItemId> {
        let was = |owner: &ItemId| match self.trees.get(*owner) {
            Item { local: Some(local), .. } => local.stat.kind == kind,
            Item { local: None, synced: Some(synced), .. } => synced.body.kind() == kind,
            Item { local: None, synced: None, .. } => false,
        };
        let owners = || self.trees.by_file(file).filter(was);
        owners().find(|owner| self.scans.missing.contains(owner)).or_else(|| owners().next())
    }

    fn end_round(&mut self) {
        if !self.scans.queue.is_empty() || !self.scans.running.is_empty() || self.scans.root_lost.is_some() {
            return;
        }
        // What is in a missing folder is gone with it, or is seen again when the folder turns up.
        let missing = &self.scans.missing;
        self.scans.strangers.retain(|(folder, _), _| folder.is_none_or(|folder| !missing.contains(&folder)));
        self.spare_hidden();
        if !self.scans.is_whole && self.trees.local_count() <= TREE_MAX && self.may_lose() {
            self.touched_all();
            return self.start_scans();
        }
        for pass in [Self::take_moved, Self::take_replaced, Self::take_new] {
            let strangers = std::mem::take(&mut self.scans.strangers);
            let strangers = strangers.into_iter().map(|((folder, _), entry)| Stranger { folder, entry }).collect();
            for Stranger { folder, entry } in pass(self, strangers) {
                self.scans.strangers.insert((folder, entry.name.clone()), entry);
            }
            if !self.scans.queue.is_empty() {
                // What turned up is looked into before anything else is taken for new or gone: that may have been in it.
                return self.start_scans();
            }
        }
        self.scans.is_whole = false;
        self.scans.stranger_of.clear();
        let mut missing = std::mem::take(&mut self.scans.missing);
        // What was put there after its folder was missed is gone with it, too.
        let later = missing.iter().flat_map(|&id| self.trees.local_children(Some(id))).map(|(_, child)| child);
        let later: Vec<ItemId> = later.filter(|child| !missing.contains(child)).collect();
        missing.extend(later.iter().flat_map(|&id| self.trees.local_descendants(id)));
        missing.extend(later);
        if self.scans.next_look_ms.is_some() {
            self.scans.first_done = true;
        }
        if !missing.is_empty() {
            self.vanished(missing);
        }
    }

    /// Takes those that are items which moved; which is which is said before the first of them takes another one's place.
    fn take_moved(&mut self, strangers: Vec<Stranger>) -> Vec<Stranger> {
        let owners: Vec<Option<ItemId>> = strangers.iter().map(|stranger| self.moved_item(&stranger.entry)).collect();
        let mut left = Vec::new();
        for (stranger, owner) in strangers.into_iter().zip(owners) {
            // One with several names is at one of them by now.
            let owner = owner.filter(|owner| self.may_have_moved(*owner)).or_else(|| self.moved_item(&stranger.entry));
            left.extend(match owner {
                Some(owner) => self.take_as_moved(owner, stranger),
                None => Some(stranger),
            });
        }
        left
    }

    fn moved_item(&self, entry: &Entry) -> Option<ItemId> {
        self.owner_of(entry.stat.file, entry.stat.kind).filter(|owner| self.may_have_moved(*owner))
    }

    fn may_have_moved(&self, item: ItemId) -> bool {
        let gone = self.trees.local(item).is_none() || self.scans.missing.contains(&item);
        gone && !self.work.is_applying(item) && !planted!(MoveIsNew)
    }

    fn take_as_moved(&mut self, owner: ItemId, stranger: Stranger) -> Option<Stranger> {
        let Stranger { folder, entry } = &stranger;
        if !self.trees.folder_is_local(*folder) {
            return None;
        }
        if self.trees.local_ancestors(*folder).contains(&owner) {
            // A folder cannot be inside itself: the disk changed between the two looks.
            self.look_for(*folder, entry.name.clone());
            return None;
        }
        self.clear_place(*folder, &entry.name, owner);
        let item = self.trees.get(owner);
        let place = Place { parent: *folder, name: entry.name.clone() };
        let body = known_body(&entry.stat, &place, item);
        self.put_local(owner, Some(Local { place, stat: entry.stat.clone(), body, ignored: false }));
        self.came_back(owner);
        self.scans.missing.insert(owner);
        self.unmiss(owner);
        None
    }

    fn take_replaced(&mut self, strangers: Vec<Stranger>) -> Vec<Stranger> {
        strangers.into_iter().filter_map(|stranger| self.take_as_replaced(stranger)).collect()
    }

    fn take_as_replaced(&mut self, stranger: Stranger) -> Option<Stranger> {
        let Stranger { folder, entry } = &stranger;
        let twin = self.trees.local_at(*folder, &entry.name).filter(|twin| {
            let same_kind = self.trees.local(*twin).is_some_and(|local| local.stat.kind == entry.stat.kind);
            self.scans.missing.contains(twin) && same_kind
        });
        let Some(twin) = twin else { return Some(stranger) };
        self.unmiss(twin);
        self.note_stat(twin, stranger.entry.stat);
        None
    }

    fn take_new(&mut self, strangers: Vec<Stranger>) -> Vec<Stranger> {
        for Stranger { folder, entry } in strangers {
            if self.trees.folder_is_local(folder) {
                let known = self.trees.local_at(folder, &entry.name);
                if known.is_none_or(|id| self.scans.missing.contains(&id)) {
                    self.new_item(folder, entry);
                }
            }
        }
        Vec::new()
    }

    /// Takes an item off a place that another one has now: it is missing, with all that is in it.
    pub(super) fn clear_place(&mut self, folder: Option<ItemId>, name: &Name, but: ItemId) {
        if let Some(other) = self.trees.local_at(folder, name).filter(|&other| other != but) {
            let mut gone = BTreeSet::from([other]);
            gone.extend(self.trees.local_descendants(other).into_iter().filter(|id| *id != but));
            self.scans.missing.extend(gone.iter().copied());
            self.put_local(other, None);
        }
    }

    fn new_item(&mut self, folder: Option<ItemId>, entry: Entry) {
        let place = Place { parent: folder, name: entry.name };
        let id = self.returning(&place, entry.stat.kind).unwrap_or_else(|| self.mint.item_id());
        self.clear_place(folder, &place.name, id);
        self.came_back(id);
        self.scans.missing.remove(&id);
        let body = known_body(&entry.stat, &place, self.trees.get(id));
        let is_folder = entry.stat.kind == Kind::Folder;
        self.put_local(id, Some(Local { place, stat: entry.stat, body, ignored: entry.ignored }));
        if is_folder {
            self.scans.want(Some(id), Extent::All);
        }
    }

    /// The item that vanished from this very place and whose deletion is not told to the service yet.
    fn returning(&self, place: &Place, kind: Kind) -> Option<ItemId> {
        let id = self.trees.remote_at(place)?;
        let item = self.trees.get(id);
        let same = item.synced.as_ref().is_some_and(|synced| synced.place == *place && synced.body.kind() == kind);
        (same && item.local.is_none() && !self.work.is_busy(id)).then_some(id)
    }

    /// A known item was looked at again.
    pub(super) fn note_stat(&mut self, id: ItemId, stat: Stat) {
        let item = self.trees.get(id);
        let Some(local) = item.local.as_ref().filter(|local| local.stat != stat) else { return };
        let (place, ignored) = (local.place.clone(), local.ignored);
        let body = known_body(&stat, &place, item);
        self.put_local(id, Some(Local { place, stat, body, ignored }));
    }

    /// No rule matches the item any more, perhaps because it gave way to another name: from now on it is told to the service.
    fn note_unignored(&mut self, id: ItemId) {
        if let Some(local) = self.trees.local(id).filter(|local| local.ignored).cloned() {
            self.put_local(id, Some(Local { ignored: false, ..local }));
        }
    }

    /// What had vanished is on the disk again: it is not deleted, and does not count for the guard.
    fn came_back(&mut self, id: ItemId) {
        let waited = self.fresh.remove(&id).is_some();
        if self.held.remove(&id) || waited {
            self.guard.returned();
            self.release_held();
        }
    }

    /// Something that counted as gone is there: perhaps what is still gone is no mass.
    fn release_held(&mut self) {
        if !self.guard.still_holds(self.items_left()) {
            std::mem::take(&mut self.held).into_iter().for_each(|id| self.dirty(id));
        }
    }

    /// Items on the disk, without those that are perhaps gone.
    fn items_left(&self) -> usize {
        self.trees.local_count().saturating_sub(self.scans.doubtful.len())
    }

    /// These are on the disk no more.
    pub(super) fn vanished(&mut self, missing: BTreeSet<ItemId>) {
        let mut synced = Vec::new();
        for &id in missing.iter().rev() {
            self.scans.astray.remove(&id);
            if self.trees.local(id).is_some() {
                self.put_local(id, None);
            }
            if self.trees.get(id).synced.is_some() && self.trees.get(id).remote_live().is_some() {
                synced.push(id);
            }
        }
        for &id in &synced {
            self.fresh.insert(id, self.now.ms + DELETE_GRACE_MS);
        }
        if self.guard.holds(synced.len(), self.items_left(), self.now) {
            let pending: Vec<ItemId> = self.fresh.keys().copied().filter(|_| !planted!(GuardLetsRestPass)).collect();
            self.held.extend(pending.iter().copied());
            self.held.extend(synced);
        }
    }
}

/// What a file holds, as far as a look can tell: what it held when an equal look was taken.
fn known_body(stat: &Stat, place: &Place, item: &Item) -> Option<Body> {
    match stat.kind {
        Kind::Folder => Some(Body::Folder),
        Kind::Link => stat.target.clone().map(Body::Link),
        Kind::File if stat.size == 0 => {
            Some(Body::File(FileBody { size: 0, chunks: [].into(), adler32: ADLER_EMPTY, executable: stat.executable }))
        }
        Kind::File => {
            let local = item.local.as_ref().and_then(|local| Some((&local.stat, &local.place, local.body.as_ref()?)));
            // What looked different meanwhile was changed, even if it looks as before again: on a disk with coarse times it may.
            let synced = item.synced.as_ref().filter(|_| item.local.is_none());
            let synced = synced.and_then(|synced| Some((synced.stat.as_ref()?, &synced.place, &synced.body)));
            let equal = |&(seen, at, _): &(&Stat, &Place, &Body)| stat.same_content(seen) && is_explained(stat, seen, at == place);
            let (_, _, body) = [local, synced].into_iter().flatten().find(equal)?;
            match body {
                Body::File(_) => Some(body.clone()),
                Body::Folder | Body::Link(_) => None,
            }
        }
    }
}

/// Whether nothing but another name tells the two looks apart. At the same place, anything else that changed may be its bytes, too, with the
/// time put back afterwards; a new name shows in the time of the inode. Where clocks are coarse, a new file may have the number and the
/// times of the one before.
fn is_explained(stat: &Stat, seen: &Stat, same_place: bool) -> bool {
    let changed = stat.changed_ns != seen.changed_ns;
    if same_place { !changed && stat.executable == seen.executable } else { changed }
}
