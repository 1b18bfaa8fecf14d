//! A service in memory. Its rule is written down here again, plainly, so that it can disagree with the real one.

use crate::commit::{CommitAnswer, ItemCommit, Refusal, Verdict};
use crate::engine::{ChangesPage, Notice};
use crate::values::{Body, ChunkName, CommitId, ItemId, Kind, NameKey, RemoteItem, Revision, Status, Version};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub struct FakeService {
    pub epoch: u128,
    pub items: BTreeMap<ItemId, RemoteItem>,
    pub revision: u64,
    pub chunks: BTreeMap<ChunkName, Vec<u8>>,
    /// Every content that any version ever had.
    pub history: BTreeSet<ChunkName>,
    answers: BTreeMap<CommitId, CommitAnswer>,
    pub page: usize,
}

impl FakeService {
    pub fn new() -> Self {
        Self { epoch: 7, page: 3, ..Self::default() }
    }

    pub fn changes(&self, since: Revision) -> ChangesPage {
        let mut items: Vec<RemoteItem> = self.items.values().filter(|item| item.revision > since).cloned().collect();
        items.sort_by_key(|item| item.revision);
        let more = items.len() > self.page;
        items.truncate(self.page);
        let head = Revision(self.revision);
        let to = if more { items.last().map_or(head, |item| item.revision) } else { head };
        ChangesPage { epoch: self.epoch, since, to, head, items }
    }

    pub fn commit(&mut self, id: CommitId, items: &[ItemCommit]) -> (CommitAnswer, Option<Notice>) {
        if let Some(answer) = self.answers.get(&id) {
            return (answer.clone(), None);
        }
        let from = Revision(self.revision);
        let verdicts: Vec<Verdict> = items.iter().map(|item| self.judge(item)).collect();
        let to = Revision(self.revision);
        let accepted = verdicts.iter().filter_map(|verdict| match verdict {
            Verdict::Accepted(item) => Some(item.clone()),
            Verdict::Existing(_) | Verdict::Refused { .. } => None,
        });
        let mut latest: BTreeMap<ItemId, RemoteItem> = BTreeMap::new();
        for item in accepted {
            latest.insert(item.id, item);
        }
        let items = if latest.len() > 5 { None } else { Some(latest.into_values().collect()) };
        let answer = CommitAnswer { verdicts, from, to };
        self.answers.insert(id, answer.clone());
        (answer, (to > from).then_some(Notice { from, to, items }))
    }

    fn live_sibling(&self, item: &ItemCommit) -> Option<ItemId> {
        let clash = |other: &&RemoteItem| {
            !other.deleted && other.id != item.id && other.place.parent == item.place.parent && key(other) == item.place.name.key()
        };
        self.items.values().find(clash).map(|other| other.id)
    }

    fn judge(&mut self, item: &ItemCommit) -> Verdict {
        let current = self.items.get(&item.id).cloned();
        if let Some(reason) = self.refusal(item, current.as_ref()) {
            return Verdict::Refused { reason, current };
        }
        self.revision += 1;
        let saved = RemoteItem {
            id: item.id,
            version: item.version,
            revision: Revision(self.revision),
            deleted: item.status == Status::Deleted,
            place: item.place.clone(),
            body: item.body.clone(),
            modified: item.modified,
        };
        self.history.extend(item.body.chunks().iter().map(|chunk| chunk.name));
        self.items.insert(item.id, saved.clone());
        Verdict::Accepted(saved)
    }

    fn refusal(&self, item: &ItemCommit, current: Option<&RemoteItem>) -> Option<Refusal> {
        let next = current.map_or(Version::FIRST, |current| current.version.next());
        if item.version != next {
            return Some(if current.is_some() { Refusal::WrongVersion } else { Refusal::UnknownItem });
        }
        if current.is_some_and(|current| current.body.kind() != item.body.kind()) {
            return Some(Refusal::KindChanged);
        }
        if item.status == Status::Deleted {
            let lives = |other: &RemoteItem| !other.deleted && other.place.parent == Some(item.id);
            return self.items.values().any(lives).then_some(Refusal::NotEmpty);
        }
        if let Some(parent) = item.place.parent {
            match self.items.get(&parent) {
                None => return Some(Refusal::ParentUnknown),
                Some(folder) if folder.deleted => return Some(Refusal::ParentDeleted),
                Some(folder) if folder.body.kind() != Kind::Folder => return Some(Refusal::ParentNotFolder),
                Some(_) => {}
            }
        }
        let mut above = item.place.parent;
        while let Some(folder) = above {
            if folder == item.id {
                return Some(Refusal::Cycle);
            }
            above = self.items[&folder].place.parent;
        }
        if let Some(by) = self.live_sibling(item) {
            return Some(Refusal::NameTaken { by });
        }
        let missing: Vec<ChunkName> =
            item.body.chunks().iter().map(|chunk| chunk.name).filter(|name| !self.chunks.contains_key(name)).collect();
        (!missing.is_empty()).then_some(Refusal::ChunksMissing(missing))
    }

    /// The live tree as a person would see it on a disk.
    pub fn picture(&self) -> BTreeMap<String, String> {
        let live = self.items.values().filter(|item| !item.deleted);
        live.map(|item| (self.path(item), self.content(item))).collect()
    }

    fn path(&self, item: &RemoteItem) -> String {
        match item.place.parent {
            Some(parent) => format!("{}/{}", self.path(&self.items[&parent]), item.place.name),
            None => item.place.name.to_string(),
        }
    }

    fn content(&self, item: &RemoteItem) -> String {
        match &item.body {
            Body::Folder => "/".into(),
            Body::Link(target) => format!("-> {target}"),
            Body::File(file) => {
                let bytes: Vec<u8> = file.chunks.iter().flat_map(|chunk| self.chunks[&chunk.name].clone()).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
        }
    }
}

fn key(item: &RemoteItem) -> NameKey {
    item.place.name.key()
}
