//! What is to be done, under way, or to be tried again: queues, slots and waits. Decides nothing.

use super::{Now, OpId};
use crate::commit::ItemCommit;
use crate::values::{Body, CommitId, ItemId, Name, NameKey, Place, RemoteItem};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Items that get another look when an effect ended; more than one, as some will need no effect any more.
const UNPARKED_PER_SLOT: usize = 4;

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
    /// Places where the item's file was seen meanwhile: looked at again afterwards.
    pub look_also: Vec<Place>,
    /// The folders above: none of them is moved while this is under way.
    pub above: Vec<ItemId>,
    /// Whether the service still has the past in which it was decided.
    pub past: Past,
}

/// Of which past of the service an effect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// The one that is known.
    Known,
    /// Another one: the service has been replaced since.
    Other,
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
    /// The service does not find the chunks that the storage took: another upload that seems to succeed does not end it.
    pub lost: bool,
}

/// Everything that is to be done or under way.
#[derive(Clone, Debug, Default)]
pub struct Work {
    pub(super) dirty: VecDeque<ItemId>,
    pub(super) queued: BTreeSet<ItemId>,
    pub(super) busy: BTreeMap<ItemId, Busy>,
    pub(super) ops: BTreeMap<OpId, Op>,
    pub(super) next_op: u64,
    /// Places that an action on the disk will fill.
    pub(super) expected: BTreeMap<(Option<ItemId>, NameKey), OpId>,
    pub(super) parked_uploads: VecDeque<ItemId>,
    pub(super) parked_applies: VecDeque<ItemId>,
    /// How many effects are under way below a folder, and folders that are to move when there are none.
    pub(super) below: BTreeMap<ItemId, usize>,
    pub(super) parked_moves: BTreeSet<ItemId>,
    pub(super) uploads: (usize, u64),
    pub(super) applies: (usize, u64),
    pub(super) batch: Vec<Committing>,
    pub(super) joining: BTreeSet<ItemId>,
    pub(super) commits: BTreeMap<CommitId, Vec<Committing>>,
    /// Commits that brought no answer, and when they are sent again; `None`: on a new connection. Perhaps they were saved. The service
    /// answers an id as it did the first time, and only that tells.
    pub(super) unanswered: BTreeMap<CommitId, Option<u64>>,
    pub(super) troubles: BTreeMap<ItemId, Trouble>,
    pub(super) retries: BTreeSet<(u64, ItemId)>,
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

    pub(super) fn is_moving(&self, id: ItemId) -> bool {
        let Some(Busy::Apply(op)) = self.busy.get(&id) else { return self.parked_moves.contains(&id) };
        matches!(self.ops.get(op).and_then(|op| op.purpose.as_ref()), Some(Purpose::Move))
    }

    pub(super) fn enter(&mut self, above: &[ItemId]) {
        for &folder in above {
            *self.below.entry(folder).or_default() += 1;
        }
    }

    /// The folders that may move now.
    pub(super) fn leave(&mut self, above: &[ItemId]) -> Vec<ItemId> {
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

    /// The item's own file was seen at another place: whether it moved there shows when the action has ended.
    pub(super) fn defer_stranger(&mut self, owner: ItemId, place: Place) -> bool {
        let Some(Busy::Apply(op)) = self.busy.get(&owner) else { return false };
        if let Some(op) = self.ops.get_mut(op)
            && !op.look_also.contains(&place)
        {
            op.look_also.push(place);
        }
        true
    }

    /// The same for a place that an action will fill. Some file systems show what it makes in another spelling.
    pub(super) fn defer_look_at(&mut self, folder: Option<ItemId>, name: &Name) -> bool {
        let Some(op) = self.expected.get(&(folder, name.key())) else { return false };
        if let Some(op) = self.ops.get_mut(op) {
            op.look_again = true;
            let place = Place { parent: folder, name: name.clone() };
            if op.place != place && !op.look_also.contains(&place) {
                op.look_also.push(place);
            }
        }
        true
    }

    /// The item that an action will put at a place.
    pub(super) fn expected_item(&self, folder: Option<ItemId>, name: &Name) -> Option<ItemId> {
        let op = self.expected.get(&(folder, name.key()))?;
        self.ops.get(op).map(|op| op.item)
    }

    pub(super) fn next_retry(&self) -> Option<u64> {
        let commit = self.unanswered.values().copied().flatten().min();
        self.retries.first().map(|&(at, _)| at).into_iter().chain(commit).min()
    }

    /// Commits that were to be sent again by now.
    pub(super) fn due_commits(&mut self, now: Now) -> Vec<CommitId> {
        let due = |at: &Option<u64>| at.is_some_and(|at| at <= now.ms);
        let due: Vec<CommitId> = self.unanswered.iter().filter(|(_, at)| due(at)).map(|(&id, _)| id).collect();
        for id in &due {
            self.unanswered.insert(*id, None);
        }
        due
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
            self.expected.remove(&(op.place.parent, op.place.name.key()));
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
