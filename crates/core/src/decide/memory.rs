//! One workspace in memory, judged by the same rule as the service's: for tests and simulators, never for keeping anything.

use super::{Decision, Facts, FolderState, Latest, Quota, View, decide};
use crate::commit::{CommitAnswer, ItemCommit, Verdict};
use crate::values::{Body, ItemId, Kind, NameKey, RemoteItem, Revision, Status, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// A workspace, its owner's quota, and the ids that other workspaces use.
#[derive(Clone, Debug)]
pub struct MemoryWorkspace {
    /// All versions of every item, oldest first.
    pub items: BTreeMap<ItemId, Vec<RemoteItem>>,
    /// What each revision did, from revision 1 on.
    pub log: Vec<(ItemId, Status)>,
    /// Ids of items of other workspaces.
    pub foreign: BTreeSet<ItemId>,
    /// The owner's quota.
    pub quota: Quota,
}

impl MemoryWorkspace {
    /// An empty workspace of an owner who may use so many bytes.
    pub const fn new(quota_limit: u64) -> Self {
        let quota = Quota { limit: quota_limit, used: 0 };
        Self { items: BTreeMap::new(), log: Vec::new(), foreign: BTreeSet::new(), quota }
    }

    /// How many versions were accepted.
    pub const fn revision(&self) -> Revision {
        Revision(self.log.len() as u64)
    }

    /// The latest version of every item.
    pub fn heads(&self) -> impl Iterator<Item = &RemoteItem> {
        self.items.values().filter_map(|versions| versions.last())
    }

    /// Judges the items in order and saves what passes.
    pub fn commit(&mut self, items: &[ItemCommit], facts: Facts<'_>) -> CommitAnswer {
        let from = self.revision();
        let verdicts = items.iter().map(|item| self.commit_one(item, facts)).collect();
        CommitAnswer { verdicts, from, to: self.revision() }
    }

    fn commit_one(&mut self, item: &ItemCommit, facts: Facts<'_>) -> Verdict {
        let Ok(decision) = decide(self, item, facts);
        match decision {
            Decision::Existing(latest) => Verdict::Existing(latest),
            Decision::Refuse { reason, current } => Verdict::Refused { reason, current },
            Decision::Save(new) => {
                self.log.push((new.item.id, new.item.status));
                let saved = new.saved(self.revision());
                self.quota.used = self.quota.used.saturating_add_signed(new.growth);
                self.items.entry(saved.id).or_default().push(saved.clone());
                Verdict::Accepted(saved)
            }
        }
    }

    fn head(&self, id: ItemId) -> Option<&RemoteItem> {
        self.items.get(&id)?.last()
    }

    fn live_children(&self, folder: Option<ItemId>) -> impl Iterator<Item = &RemoteItem> {
        self.heads().filter(move |item| !item.deleted && item.place.parent == folder)
    }
}

impl View for MemoryWorkspace {
    type Error = Infallible;

    fn latest(&mut self, id: ItemId) -> Result<Latest, Infallible> {
        Ok(match self.head(id) {
            Some(item) => Latest::Here(item.clone()),
            None if self.foreign.contains(&id) => Latest::Elsewhere,
            None => Latest::Unknown,
        })
    }

    fn past(&mut self, id: ItemId, version: Version) -> Result<Option<RemoteItem>, Infallible> {
        Ok(self.items.get(&id).and_then(|versions| versions.iter().find(|item| item.version == version)).cloned())
    }

    fn folder(&mut self, id: ItemId) -> Result<FolderState, Infallible> {
        Ok(match self.head(id) {
            None => FolderState::Unknown,
            Some(item) if item.body != Body::Folder => FolderState::NotFolder,
            Some(item) if item.deleted => FolderState::Deleted,
            Some(item) => FolderState::Live { parent: item.place.parent },
        })
    }

    fn live_child(&mut self, folder: Option<ItemId>, key: &NameKey) -> Result<Option<ItemId>, Infallible> {
        Ok(self.live_children(folder).find(|item| item.place.name.key() == *key).map(|item| item.id))
    }

    fn has_live_child(&mut self, folder: ItemId) -> Result<bool, Infallible> {
        Ok(self.live_children(Some(folder)).next().is_some())
    }

    fn levels_below(&mut self, folder: ItemId, limit: usize) -> Result<usize, Infallible> {
        let mut level: Vec<ItemId> = vec![folder];
        let mut levels = 0;
        while levels <= limit {
            let is_folder = |item: &&RemoteItem| item.body.kind() == Kind::Folder;
            level = level.iter().flat_map(|&id| self.live_children(Some(id)).filter(is_folder)).map(|item| item.id).collect();
            if level.is_empty() {
                break;
            }
            levels += 1;
        }
        Ok(levels)
    }

    fn quota(&mut self) -> Result<Quota, Infallible> {
        Ok(self.quota)
    }
}
