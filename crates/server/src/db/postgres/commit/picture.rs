//! What a transaction has seen of the workspaces, and what its own commits changed since: core's view of a workspace, in memory.
//!
//! The usual facts are loaded before the first question. A question that they do not answer is an error that names what is lacking;
//! it is loaded, and the judging begins again, which costs nothing but time because it changes nothing outside.

use crate::db::columns::parent_number;
use crate::db::{ChangedItem, Made};
use stacksync_core::decide::{FolderState, Latest, Quota, View};
use stacksync_core::values::{ItemId, Kind, NameKey, RemoteItem, Version};
use std::collections::{HashMap, HashSet};

/// A place for a name: the workspace's number, the folder (0 at the top) and the name's key.
pub(super) type Spot = (i64, i64, String);

/// A question that cannot be answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lacking {
    /// The latest version of an item, and of the folders above it.
    Item(ItemId),
    /// Who has a name.
    Name(Spot),
    /// Whether a live item is in a folder that the batch does not name.
    Child(ItemId),
    /// The live folders below a folder.
    Below(ItemId),
    /// An earlier version.
    Past(ItemId, Version),
}

/// An item's latest version and the number of its workspace.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub workspace: i64,
    pub entry: ChangedItem,
}

/// Facts as the database has them.
#[derive(Default)]
pub(super) struct Facts {
    /// `None`: nobody has such an item.
    pub items: HashMap<ItemId, Option<Known>>,
    pub names: HashMap<Spot, Option<ItemId>>,
    /// Whether a live item is in the folder that is not one of the batch's.
    pub children: HashMap<ItemId, bool>,
    /// The live folders in a folder.
    pub folders: HashMap<ItemId, Vec<ItemId>>,
    pub past: HashMap<(ItemId, Version), Option<RemoteItem>>,
    /// The live items among the batch's own, by the folder that they are in.
    pub inside: HashMap<ItemId, Vec<ItemId>>,
}

/// What the batch's commits changed so far.
#[derive(Default)]
pub(super) struct Changes {
    /// The latest version of each changed item.
    now: HashMap<ItemId, Known>,
    /// All versions that were saved.
    versions: HashMap<(ItemId, Version), RemoteItem>,
    /// Where the live ones among them are.
    names: HashMap<Spot, ItemId>,
    /// How many live ones are in each folder.
    children: HashMap<ItemId, usize>,
}

fn spot(workspace: i64, item: &RemoteItem) -> Spot {
    (workspace, parent_number(item.place.parent), item.place.name.key().as_str().to_owned())
}

impl Changes {
    /// A version was saved.
    pub(super) fn save(&mut self, known: Known) {
        let item = &known.entry.item;
        if let Some(before) = self.now.get(&item.id).filter(|before| !before.entry.item.deleted) {
            self.names.remove(&spot(before.workspace, &before.entry.item));
            if let Some(count) = before.entry.item.place.parent.and_then(|folder| self.children.get_mut(&folder)) {
                *count = count.saturating_sub(1);
            }
        }
        if !item.deleted {
            self.names.insert(spot(known.workspace, item), item.id);
            if let Some(folder) = item.place.parent {
                *self.children.entry(folder).or_default() += 1;
            }
        }
        self.versions.insert((item.id, item.version), item.clone());
        self.now.insert(item.id, known);
    }
}

/// The view of one workspace.
pub(super) struct Picture<'a> {
    pub facts: &'a Facts,
    pub changes: &'a Changes,
    /// Its number.
    pub workspace: i64,
    /// Its owner's quota.
    pub quota: Quota,
    /// What made the version that [`View::latest`] gave last.
    pub made: Option<Made>,
}

impl Picture<'_> {
    fn known(&self, id: ItemId) -> Result<Option<&Known>, Lacking> {
        if let Some(known) = self.changes.now.get(&id) {
            return Ok(Some(known));
        }
        self.facts.items.get(&id).map(Option::as_ref).ok_or(Lacking::Item(id))
    }

    fn here(&self, id: ItemId) -> Result<Option<&ChangedItem>, Lacking> {
        Ok(self.known(id)?.filter(|known| known.workspace == self.workspace).map(|known| &known.entry))
    }

    /// Whether the database has the item at all.
    fn stored(&self, id: ItemId) -> Result<bool, Lacking> {
        self.facts.items.get(&id).map(Option::is_some).ok_or(Lacking::Item(id))
    }

    /// The live folders in a folder, now.
    fn folders_in(&self, folder: ItemId) -> Result<Vec<ItemId>, Lacking> {
        let mut folders = Vec::new();
        if !self.changes.now.contains_key(&folder) || self.stored(folder)? {
            let stored = self.facts.folders.get(&folder).ok_or(Lacking::Below(folder))?;
            folders.extend(stored.iter().filter(|id| !self.changes.now.contains_key(id)));
        }
        let is_in = |known: &&Known| {
            let item = &known.entry.item;
            !item.deleted && item.body.kind() == Kind::Folder && item.place.parent == Some(folder)
        };
        folders.extend(self.changes.now.values().filter(is_in).map(|known| known.entry.item.id));
        Ok(folders)
    }
}

impl View for Picture<'_> {
    type Error = Lacking;

    fn latest(&mut self, id: ItemId) -> Result<Latest, Lacking> {
        let found = self.known(id)?;
        let (latest, made) = match found {
            None => (Latest::Unknown, None),
            Some(known) if known.workspace != self.workspace => (Latest::Elsewhere, None),
            Some(Known { entry: ChangedItem { item, status, device }, .. }) => {
                (Latest::Here(item.clone()), Some(Made { status: *status, device: *device }))
            }
        };
        self.made = made;
        Ok(latest)
    }

    fn past(&mut self, id: ItemId, version: Version) -> Result<Option<RemoteItem>, Lacking> {
        if let Some(saved) = self.changes.versions.get(&(id, version)) {
            return Ok(Some(saved.clone()));
        }
        let stored = self.facts.items.get(&id).and_then(Option::as_ref).map(|known| &known.entry.item);
        if let Some(item) = stored.filter(|item| item.version == version) {
            return Ok(Some(item.clone()));
        }
        self.facts.past.get(&(id, version)).cloned().ok_or(Lacking::Past(id, version))
    }

    fn folder(&mut self, id: ItemId) -> Result<FolderState, Lacking> {
        Ok(match self.here(id)?.map(|entry| &entry.item) {
            None => FolderState::Unknown,
            Some(item) if item.body.kind() != Kind::Folder => FolderState::NotFolder,
            Some(item) if item.deleted => FolderState::Deleted,
            Some(item) => FolderState::Live { parent: item.place.parent },
        })
    }

    fn live_child(&mut self, folder: Option<ItemId>, key: &NameKey) -> Result<Option<ItemId>, Lacking> {
        let spot: Spot = (self.workspace, parent_number(folder), key.as_str().to_owned());
        if let Some(&id) = self.changes.names.get(&spot) {
            return Ok(Some(id));
        }
        match self.facts.names.get(&spot) {
            None => Err(Lacking::Name(spot)),
            // It has gone elsewhere since.
            Some(&stored) => Ok(stored.filter(|id| !self.changes.now.contains_key(id))),
        }
    }

    fn has_live_child(&mut self, folder: ItemId) -> Result<bool, Lacking> {
        if self.changes.children.get(&folder).is_some_and(|&count| count > 0) {
            return Ok(true);
        }
        if !self.stored(folder)? {
            return Ok(false);
        }
        if *self.facts.children.get(&folder).ok_or(Lacking::Child(folder))? {
            return Ok(true);
        }
        let inside = self.facts.inside.get(&folder).into_iter().flatten();
        Ok(inside.into_iter().any(|id| !self.changes.now.contains_key(id)))
    }

    fn levels_below(&mut self, folder: ItemId, limit: usize) -> Result<usize, Lacking> {
        let mut level = vec![folder];
        let mut levels = 0;
        while levels <= limit {
            let mut below = Vec::new();
            for id in level {
                below.extend(self.folders_in(id)?);
            }
            if below.is_empty() {
                break;
            }
            level = below;
            levels += 1;
        }
        Ok(levels)
    }

    fn quota(&mut self) -> Result<Quota, Lacking> {
        Ok(self.quota)
    }
}

/// A set of items, for arguments of statements.
pub(super) fn numbers<'a>(ids: impl IntoIterator<Item = &'a ItemId>) -> Vec<i64> {
    let unique: HashSet<i64> = ids.into_iter().map(|id| id.get()).collect();
    unique.into_iter().collect()
}
