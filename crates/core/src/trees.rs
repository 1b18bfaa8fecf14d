//! The three trees, keyed by item: what the service has, what both sides agreed on, what the disk holds.
//!
//! Invariants kept here and nowhere else: every index agrees with the items; two local items never have the same place.
//! Nothing here decides anything.

use crate::values::{
    Body, ChunkName, FileBody, FileId, ItemId, ItemPath, ModifiedAt, Name, NameKey, Place, RemoteItem, Stat, Version,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Chunks of a file that are indexed for finding it again as a source of bytes.
const INDEXED_CHUNKS_PER_FILE: usize = 8;

/// What both sides agreed on last, for one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The version that both had.
    pub version: Version,
    /// Where it was.
    pub place: Place,
    /// What it held.
    pub body: Body,
    /// Its modification time.
    pub modified: ModifiedAt,
    /// The look at the disk for which `body` holds; `None` if the file's content must be read to know.
    pub stat: Option<Stat>,
}

/// What the disk holds of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where it is.
    pub place: Place,
    /// The latest look at it.
    pub stat: Stat,
    /// What it holds; `None` for a file whose bytes must be read to know. Its executable bit is the one of `stat`.
    pub body: Option<Body>,
    /// An ignore rule matches: it is only known because it stands where the service has something, and is never told to the service.
    pub ignored: bool,
}

/// One item in the three trees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// What the service has; deleted ones included.
    pub remote: Option<RemoteItem>,
    /// What both sides agreed on.
    pub synced: Option<Synced>,
    /// What the disk holds.
    pub local: Option<Local>,
}

impl Item {
    /// The service's item, unless it is deleted there.
    pub fn remote_live(&self) -> Option<&RemoteItem> {
        self.remote.as_ref().filter(|remote| !remote.deleted)
    }

    fn is_empty(&self) -> bool {
        self.remote.is_none() && self.synced.is_none() && self.local.is_none()
    }
}

type Children<K> = HashMap<Option<ItemId>, BTreeMap<K, ItemId>>;

/// The three trees of one workspace.
#[derive(Clone, Debug, Default)]
pub struct Trees {
    items: BTreeMap<ItemId, Item>,
    local_children: Children<(NameKey, Name)>,
    /// While changes are still being learned, two items may claim one name for a moment.
    remote_children: Children<(NameKey, ItemId)>,
    by_file: HashMap<FileId, ItemId>,
    /// Files with several names on the disk, now or when they were last seen: an item for each.
    other_names: HashMap<FileId, BTreeSet<ItemId>>,
    by_chunk: HashMap<ChunkName, ItemId>,
    local_count: usize,
}

static NO_ITEM: Item = Item { remote: None, synced: None, local: None };

impl Trees {
    /// The item in the three trees; empty if none of them has it.
    pub fn get(&self, id: ItemId) -> &Item {
        self.items.get(&id).unwrap_or(&NO_ITEM)
    }

    /// Every item that any tree has.
    pub fn ids(&self) -> impl Iterator<Item = ItemId> + '_ {
        self.items.keys().copied()
    }

    /// How many items the disk holds.
    pub const fn local_count(&self) -> usize {
        self.local_count
    }

    /// What the disk holds of the item.
    pub fn local(&self, id: ItemId) -> Option<&Local> {
        self.get(id).local.as_ref()
    }

    /// Whether the disk has this folder; the top is always there.
    pub fn folder_is_local(&self, folder: Option<ItemId>) -> bool {
        folder.is_none_or(|id| self.local(id).is_some())
    }

    /// Whether the service has this folder; the top is always there.
    pub fn folder_is_remote(&self, folder: Option<ItemId>) -> bool {
        folder.is_none_or(|id| self.get(id).remote_live().is_some())
    }

    /// The item with exactly this place on the disk.
    pub fn local_at(&self, folder: Option<ItemId>, name: &Name) -> Option<ItemId> {
        self.local_children.get(&folder)?.get(&(name.key(), name.clone())).copied()
    }

    /// An item on the disk whose name clashes with this place, other than `but`; the exact name first.
    pub fn local_clash(&self, place: &Place, but: ItemId) -> Option<ItemId> {
        if let Some(id) = self.local_at(place.parent, &place.name).filter(|&id| id != but) {
            return Some(id);
        }
        self.local_spellings(place.parent, &place.name).map(|(_, id)| id).find(|&id| id != but)
    }

    /// The items on the disk whose names clash with this one, with their names.
    pub fn local_spellings(&self, folder: Option<ItemId>, name: &Name) -> impl Iterator<Item = (&Name, ItemId)> + '_ {
        let key = name.key();
        let from = std::ops::Bound::Included((key.clone(), Name::smallest()));
        let same_key = self
            .local_children
            .get(&folder)
            .into_iter()
            .flat_map(move |children| children.range((from.clone(), std::ops::Bound::Unbounded)));
        same_key.take_while(move |((other, _), _)| *other == key).map(|((_, name), &id)| (name, id))
    }

    /// The service's live item whose name clashes with this place.
    pub fn remote_at(&self, place: &Place) -> Option<ItemId> {
        self.remote_named(place).next()
    }

    /// The same, other than `but`.
    pub fn remote_clash(&self, place: &Place, but: ItemId) -> Option<ItemId> {
        self.remote_named(place).find(|&id| id != but)
    }

    fn remote_named(&self, place: &Place) -> impl Iterator<Item = ItemId> + '_ {
        let key = place.name.key();
        let from = (key.clone(), ItemId::SMALLEST);
        let children = self.remote_children.get(&place.parent);
        children
            .into_iter()
            .flat_map(move |children| children.range(from.clone()..))
            .map(|((k, _), &id)| (k, id))
            .take_while(move |(k, _)| **k == key)
            .map(|(_, id)| id)
    }

    /// Items that the disk holds in this folder, by name.
    pub fn local_children(&self, folder: Option<ItemId>) -> impl Iterator<Item = (&Name, ItemId)> + '_ {
        self.local_children.get(&folder).into_iter().flatten().map(|((_, name), &id)| (name, id))
    }

    /// Live items that the service has in this folder.
    pub fn remote_children(&self, folder: ItemId) -> impl Iterator<Item = ItemId> + '_ {
        self.remote_children.get(&Some(folder)).into_iter().flatten().map(|(_, &id)| id)
    }

    /// The item that this file on disk is, or was when it was last seen; then the others, if it has several names.
    pub fn by_file(&self, file: FileId) -> impl Iterator<Item = ItemId> + '_ {
        let last = self.by_file.get(&file).copied();
        let others = self.other_names.get(&file).into_iter().flatten().copied();
        last.into_iter().chain(others.filter(move |&id| Some(id) != last))
    }

    /// All items that the disk holds below this folder.
    pub fn local_descendants(&self, folder: ItemId) -> Vec<ItemId> {
        let mut found = BTreeSet::new();
        let mut next = vec![folder];
        while let Some(folder) = next.pop() {
            // What was remembered in two steps may go in a circle.
            next.extend(self.local_children(Some(folder)).map(|(_, id)| id).filter(|&id| found.insert(id)));
        }
        found.into_iter().collect()
    }

    /// The folders above an item on the disk, nearest first.
    pub fn local_ancestors(&self, parent: Option<ItemId>) -> Vec<ItemId> {
        self.chain(parent, |item| item.local.as_ref().map(|local| local.place.parent))
    }

    /// The folders above an item on the service, nearest first.
    pub fn remote_ancestors(&self, parent: Option<ItemId>) -> Vec<ItemId> {
        self.chain(parent, |item| item.remote.as_ref().map(|remote| remote.place.parent))
    }

    fn chain(&self, from: Option<ItemId>, up: impl Fn(&Item) -> Option<Option<ItemId>>) -> Vec<ItemId> {
        let mut found = Vec::new();
        let mut next = from;
        while let Some(id) = next {
            if found.contains(&id) {
                break;
            }
            found.push(id);
            next = up(self.get(id)).flatten();
        }
        found
    }

    /// Where a place on the disk is.
    pub fn local_path(&self, place: &Place) -> ItemPath {
        let mut names = vec![place.name.clone()];
        for folder in self.local_ancestors(place.parent) {
            match self.local(folder) {
                Some(local) => names.push(local.place.name.clone()),
                None => break,
            }
        }
        names.reverse();
        ItemPath::from_names(names)
    }

    /// Where a folder on the disk is.
    pub fn folder_path(&self, folder: Option<ItemId>) -> ItemPath {
        folder.and_then(|id| self.local(id)).map_or_else(ItemPath::top, |local| self.local_path(&local.place))
    }

    /// Where people would say the item is: on the disk, else where it was, else on the service.
    pub fn shown_path(&self, id: ItemId) -> ItemPath {
        let item = self.get(id);
        let place = match item {
            Item { local: Some(local), .. } => return self.local_path(&local.place),
            Item { remote: Some(remote), .. } => &remote.place,
            Item { synced: Some(synced), .. } => &synced.place,
            Item { remote: None, synced: None, local: None } => return ItemPath::top(),
        };
        let mut names = vec![place.name.clone()];
        for folder in self.remote_ancestors(place.parent) {
            match &self.get(folder).remote {
                Some(remote) => names.push(remote.place.name.clone()),
                None => break,
            }
        }
        names.reverse();
        ItemPath::from_names(names)
    }

    /// Files on the disk that may hold some of these chunks, the item itself first.
    pub fn sources(&self, id: ItemId, body: &FileBody, most: usize) -> Vec<ItemId> {
        let mut found = Vec::new();
        if !body.chunks.is_empty() && self.file_body(id).is_some() {
            found.push(id);
        }
        for chunk in body.chunks.iter().take(INDEXED_CHUNKS_PER_FILE) {
            if found.len() >= most {
                break;
            }
            let Some(&source) = self.by_chunk.get(&chunk.name) else { continue };
            let holds = self.file_body(source).is_some_and(|file| file.chunks.iter().any(|c| c.name == chunk.name));
            if holds && !found.contains(&source) {
                found.push(source);
            }
        }
        found
    }

    /// The bytes that a file on the disk held when it was last read.
    pub fn file_body(&self, id: ItemId) -> Option<&FileBody> {
        match self.local(id)?.body.as_ref()? {
            Body::File(file) => Some(file),
            Body::Folder | Body::Link(_) => None,
        }
    }

    /// Replaces what the service has.
    pub fn set_remote(&mut self, id: ItemId, remote: Option<RemoteItem>) {
        let item = self.items.entry(id).or_default();
        let old = item.remote.take();
        if let Some(old) = old.filter(|old| !old.deleted) {
            remove_child(&mut self.remote_children, old.place.parent, &(old.place.name.key(), id), id);
        }
        if let Some(new) = remote.as_ref().filter(|new| !new.deleted) {
            self.remote_children.entry(new.place.parent).or_default().insert((new.place.name.key(), id), id);
        }
        self.items.entry(id).or_default().remote = remote;
        self.tidy(id);
    }

    /// Replaces what both sides agreed on.
    pub fn set_synced(&mut self, id: ItemId, synced: Option<Synced>) {
        self.items.entry(id).or_default().synced = synced;
        self.tidy(id);
    }

    /// Replaces what the disk holds. The place must be free or the item's own. The latest look says what the executable bit is:
    /// it may have changed since the bytes became known, under an action that does not mind.
    pub fn set_local(&mut self, id: ItemId, mut local: Option<Local>) {
        if let Some(Local { stat, body: Some(Body::File(file)), .. }) = &mut local {
            file.executable = stat.executable;
        }
        let item = self.items.entry(id).or_default();
        if let Some(old) = item.local.take() {
            self.local_count -= 1;
            if local.as_ref().is_some_and(|new| new.stat.file != old.stat.file) {
                forget_name(&mut self.other_names, old.stat.file, id);
            }
            let key = (old.place.name.key(), old.place.name);
            remove_child(&mut self.local_children, old.place.parent, &key, id);
        }
        if let Some(new) = &local {
            self.local_count += 1;
            let key = (new.place.name.key(), new.place.name.clone());
            let before = self.local_children.entry(new.place.parent).or_default().insert(key, id);
            debug_assert!(before.is_none(), "two items at one place");
            let other = self.by_file.insert(new.stat.file, id).filter(|other| *other != id);
            if let Some(other) = other.filter(|other| self.local(*other).is_some_and(|local| local.stat.file == new.stat.file)) {
                self.other_names.entry(new.stat.file).or_default().extend([other, id]);
            }
            if let Some(Body::File(file)) = &new.body {
                for chunk in file.chunks.iter().take(INDEXED_CHUNKS_PER_FILE) {
                    self.by_chunk.insert(chunk.name, id);
                }
            }
        }
        self.items.entry(id).or_default().local = local;
        self.tidy(id);
    }

    /// Makes the file on disk, with all below it, the other item's. The other item must have nothing on the disk.
    pub fn hand_over_local(&mut self, from: ItemId, to: ItemId) -> Vec<ItemId> {
        let Some(local) = self.get(from).local.clone() else { return Vec::new() };
        let children: Vec<ItemId> = self.local_children(Some(from)).map(|(_, id)| id).collect();
        self.set_local(from, None);
        self.set_local(to, Some(local));
        for &child in &children {
            if let Some(mut moved) = self.get(child).local.clone() {
                moved.place.parent = Some(to);
                self.set_local(child, Some(moved));
            }
        }
        children
    }

    /// Notes which item a file is that was not found where it was last.
    pub fn note_file(&mut self, id: ItemId, file: FileId) {
        self.by_file.entry(file).or_insert(id);
    }

    /// Forgets which item a file on disk was, so that the file seen again is another item.
    pub fn forget_file(&mut self, id: ItemId, file: FileId) {
        if self.by_file.get(&file) == Some(&id) {
            self.by_file.remove(&file);
        }
        forget_name(&mut self.other_names, file, id);
    }

    fn tidy(&mut self, id: ItemId) {
        if self.items.get(&id).is_some_and(Item::is_empty) {
            self.items.remove(&id);
        }
    }

    /// Checks that the index of the disk agrees with the items; for tests.
    ///
    /// # Errors
    /// Names the first disagreement.
    pub fn check_local(&self) -> Result<(), String> {
        // Every entry of the index stands for an item at that place, and there are as many of them as items: so each item has its one.
        let mut indexed = 0;
        for (folder, names) in &self.local_children {
            for ((key, name), id) in names {
                let is_there = self.local(*id).is_some_and(|local| local.place.parent == *folder && local.place.name == *name);
                if !is_there || *key != name.key() {
                    return Err(format!("the index of the disk has item {id} where it is not"));
                }
                indexed += 1;
            }
        }
        let local = self.items.values().filter(|item| item.local.is_some()).count();
        if (indexed, local) != (self.local_count, self.local_count) {
            return Err(format!("the disk has {local} items, its index {indexed}, the count says {}", self.local_count));
        }
        Ok(())
    }

    /// Checks that whatever is on the disk is in a folder that is there too; holds whenever nothing is being looked at.
    ///
    /// # Errors
    /// Names the first item without a folder.
    pub fn check_folders(&self) -> Result<(), String> {
        let lost =
            |(_, item): &(&ItemId, &Item)| item.local.as_ref().is_some_and(|local| !self.folder_is_local(local.place.parent));
        self.items.iter().find(lost).map_or(Ok(()), |(id, _)| Err(format!("item {id} is on the disk, but its folder is not")))
    }

    /// Checks that the index of the service agrees with the items; holds whenever all its changes are known.
    ///
    /// # Errors
    /// Names the first disagreement.
    pub fn check_remote(&self) -> Result<(), String> {
        for (&id, item) in &self.items {
            if let Some(remote) = item.remote_live()
                && self.remote_at(&remote.place) != Some(id)
            {
                return Err(format!("item {id} is not in the index of its folder on the service"));
            }
        }
        Ok(())
    }
}

fn forget_name(names: &mut HashMap<FileId, BTreeSet<ItemId>>, file: FileId, id: ItemId) {
    if let Some(items) = names.get_mut(&file) {
        items.remove(&id);
        if items.is_empty() {
            names.remove(&file);
        }
    }
}

fn remove_child<K: Ord>(children: &mut Children<K>, folder: Option<ItemId>, key: &K, id: ItemId) {
    if let Some(names) = children.get_mut(&folder) {
        if names.get(key) == Some(&id) {
            names.remove(key);
        }
        if names.is_empty() {
            children.remove(&folder);
        }
    }
}
