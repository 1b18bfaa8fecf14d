//! From what the service says to the remote tree.
//!
//! The cursor only moves over revisions whose changes are all known; notices and answers to our own commits are used when they
//! fit, and are hints to ask otherwise. A service that went back in time is asked for everything: what it lacks is new to it, what it
//! has in an older version is the base of what we have, and what others made of an older version since then is no successor of ours.
//! Nothing is deleted because of it. It is recognised even if its revisions have passed ours again: whenever a connection is new, the last
//! changes that we know are asked for once more, before anything else is told to it, and must be the same.

use super::input::{CallError, ChangesPage, Cursor, Notice};
use super::{ASK_EVERY_MS, Effect, Engine, Synced};
use crate::planted;
use crate::values::{ItemId, RemoteItem, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// First and longest wait before asking again after a failure, in milliseconds.
const ASK_RETRY_MS: (u64, u64) = (500, 60_000);

/// So long an answer to another commit, or a notice, may take to close a gap before it is asked for, in milliseconds.
const GAP_WAIT_MS: u64 = 100;

/// So many of the last revisions that we know are asked for again on a new connection.
const PROVEN_REVISIONS: u64 = 64;

/// How well the service is known.
#[derive(Clone, Debug)]
pub struct Service {
    online: bool,
    current: bool,
    asking: bool,
    /// It is not known yet whether the service's past is the one that we know.
    unproven: bool,
    /// How far it is known to be, and the cursor when that was first asked for.
    proving: Option<(Revision, Revision)>,
    cursor: Cursor,
    saved: Cursor,
    /// The highest revision that anybody spoke of.
    head: Revision,
    /// Revisions beyond the cursor whose changes are known: from -> to.
    known: BTreeMap<u64, u64>,
    /// While everything is asked for again: what has come so far, and up to where.
    afresh: Option<(Revision, BTreeMap<ItemId, RemoteItem>)>,
    next_ask_ms: Option<u64>,
    failures: u32,
    problem: Option<String>,
}

impl Service {
    pub const fn new(cursor: Cursor) -> Self {
        Self {
            online: false,
            current: false,
            asking: false,
            unproven: true,
            proving: None,
            cursor,
            saved: cursor,
            head: cursor.revision,
            known: BTreeMap::new(),
            afresh: None,
            next_ask_ms: None,
            failures: 0,
            problem: None,
        }
    }

    /// Connected, and nothing is known to be missing.
    pub fn is_current(&self) -> bool {
        self.online && self.current && self.known.is_empty()
    }

    pub const fn is_online(&self) -> bool {
        self.online
    }

    /// Connected to a service whose past is the one that we know.
    pub const fn is_proven(&self) -> bool {
        self.online && !self.unproven
    }

    pub const fn is_idle(&self) -> bool {
        !self.asking
    }

    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub fn next_ask(&self) -> Option<u64> {
        if self.online && !self.asking { self.next_ask_ms } else { None }
    }

    pub fn unsaved_cursor(&mut self) -> Option<Cursor> {
        let moved = self.cursor != self.saved && self.afresh.is_none();
        self.saved = if moved { self.cursor } else { self.saved };
        moved.then_some(self.cursor)
    }

    /// Every change in `from + 1 ..= to` is known.
    fn advance(&mut self, from: Revision, to: Revision) {
        if to > from {
            let end = self.known.entry(from.0).or_default();
            *end = to.0.max(*end);
        }
        while let Some((&from, &to)) = self.known.range(..=self.cursor.revision.0).next() {
            self.known.remove(&from);
            self.cursor.revision = Revision(self.cursor.revision.0.max(to));
        }
    }
}

impl Engine {
    pub(super) fn online(&mut self) {
        self.service.online = true;
        self.service.current = false;
        self.service.asking = false;
        self.service.unproven = true;
        self.service.proving = None;
        self.service.failures = 0;
        self.service.next_ask_ms = Some(self.now.ms);
    }

    pub(super) fn offline(&mut self) {
        self.service.online = false;
        self.service.current = false;
        self.service.asking = false;
        self.service.afresh = None;
    }

    pub(super) fn ask_soon(&mut self) {
        self.service.current = false;
        self.service.next_ask_ms = Some(self.now.ms);
    }

    pub(super) fn ask_if_due(&mut self) {
        if self.service.next_ask().is_some_and(|at| at <= self.now.ms) {
            self.service.asking = true;
            self.service.next_ask_ms = None;
            let cursor = self.service.cursor.revision;
            if self.service.unproven && self.service.proving.is_none() {
                self.service.proving = Some((Revision(cursor.0.saturating_sub(PROVEN_REVISIONS)), cursor));
            }
            let since = match (&self.service.afresh, &self.service.proving) {
                (Some((reached, _)), _) | (None, Some((reached, _))) => *reached,
                (None, None) => cursor,
            };
            self.effects.push_back(Effect::AskChanges { since });
        }
    }

    pub(super) fn noticed(&mut self, notice: Notice) {
        if notice.to <= self.service.cursor.revision || self.service.afresh.is_some() {
            return;
        }
        self.service.head = self.service.head.max(notice.to);
        let Some(items) = notice.items.or_else(|| planted!(NoticeIsChanges).then(Vec::new)) else { return self.ask_soon() };
        for item in items {
            self.hear(item);
        }
        let from = if planted!(GapIgnored) { self.service.cursor.revision } else { notice.from };
        self.service.advance(from, notice.to);
        if self.service.cursor.revision < notice.to {
            self.ask_soon();
        }
    }

    /// Our own commit took these revisions.
    pub(super) fn committed_range(&mut self, from: Revision, to: Revision) {
        self.service.head = self.service.head.max(to);
        self.service.advance(from, to);
        if !self.service.known.is_empty() {
            let at = self.now.ms + GAP_WAIT_MS;
            self.service.next_ask_ms = Some(self.service.next_ask_ms.map_or(at, |due| due.min(at)));
        }
    }

    pub(super) fn changes(&mut self, result: Result<ChangesPage, CallError>) {
        self.service.asking = false;
        let page = match result {
            Ok(page) => page,
            Err(error) => return self.ask_failed(error),
        };
        self.service.failures = 0;
        self.service.problem = None;
        let known_epoch = self.service.cursor.epoch;
        let proving = self.service.proving.take().filter(|_| self.service.afresh.is_none());
        let back_in_time = page.head < page.since
            || (known_epoch != 0 && known_epoch != page.epoch)
            || proving.is_some_and(|(_, known)| self.contradicts(&page, known));
        if back_in_time && self.service.afresh.is_none() && !planted!(EpochIgnored) {
            self.service.afresh = Some((Revision::ZERO, BTreeMap::new()));
            self.service.head = Revision::ZERO;
            return self.ask_soon();
        }
        let finished = page.to >= page.head;
        match proving {
            Some((_, known)) if page.to < known && !finished => self.service.proving = Some((page.to, known)),
            Some(_) => {
                self.service.unproven = false;
                self.resend_commits();
            }
            None => {}
        }
        match self.service.afresh.take() {
            Some((_, mut all)) => {
                all.extend(page.items.iter().map(|item| (item.id, item.clone())));
                if finished {
                    self.start_afresh(all, page.epoch, page.to);
                } else {
                    self.service.afresh = Some((page.to, all));
                }
            }
            None => {
                self.service.cursor.epoch = page.epoch;
                for item in page.items {
                    self.hear(item);
                }
                self.service.advance(page.since, page.to);
            }
        }
        if finished && self.service.cursor.revision >= self.service.head {
            self.service.current = true;
            self.service.next_ask_ms = Some(self.now.ms + ASK_EVERY_MS);
        } else {
            self.service.next_ask_ms = Some(self.now.ms);
        }
    }

    /// Whether this page, which goes back before what was known when it was asked for, tells of another past.
    fn contradicts(&self, page: &ChangesPage, known: Revision) -> bool {
        if page.head < known {
            return true;
        }
        let told: BTreeMap<ItemId, &RemoteItem> = page.items.iter().map(|item| (item.id, item)).collect();
        // All that was known is still there, or was changed after it.
        let reach = known.min(page.to);
        let ours = self.trees.ids().filter_map(|id| self.trees.get(id).remote.as_ref());
        let mut ours = ours.filter(|item| item.revision > page.since && item.revision <= reach);
        let changed_since = |told: &RemoteItem, item: &RemoteItem| told.version > item.version && told.revision > known;
        // What is not on this page may have changed so late that it is on the next one.
        let is_last = page.to >= page.head;
        let missing = ours.any(|item| match told.get(&item.id) {
            Some(told) => *told != item && !changed_since(told, item),
            None => is_last,
        });
        // And nothing else was there then. A deleted item that we forgot says nothing.
        let news = |item: &&RemoteItem| match &self.trees.get(item.id).remote {
            None => !item.deleted,
            Some(ours) => ours.version < item.version || (ours.revision <= known && ours != *item),
        };
        missing || page.items.iter().filter(|item| item.revision <= known).any(|item| news(&item))
    }

    fn ask_failed(&mut self, error: CallError) {
        let (first, longest) = ASK_RETRY_MS;
        let delay = first.saturating_mul(1 << self.service.failures.min(10)).min(longest);
        self.service.failures += 1;
        self.service.next_ask_ms = Some(self.now.ms + delay);
        match error {
            CallError::Offline => {}
            CallError::NotNow(text) | CallError::Refused(text) => self.service.problem = Some(text),
        }
    }

    /// A page or a notice says that the service has, or had, this version of an item. Of an item that is not known, although all is known
    /// up to there, the deletion was heard of and forgotten: this is older.
    fn hear(&mut self, item: RemoteItem) {
        if item.revision > self.service.cursor.revision || self.trees.get(item.id).remote.is_some() {
            self.learn(item);
        }
    }

    /// The service has this version of an item.
    pub(super) fn learn(&mut self, item: RemoteItem) {
        let news = self.trees.get(item.id).remote.as_ref().is_none_or(|known| known.version < item.version);
        // A deletion of what is not known is kept until all before it is known, too: an older version may still come.
        let early = item.revision > self.service.cursor.revision;
        let worth_keeping = !item.deleted || early || self.trees.get(item.id) != &crate::trees::Item::default();
        if news && worth_keeping {
            let id = item.id;
            self.put_remote(id, Some(item));
        }
    }

    /// The same for one item alone: what else changed until then is asked for.
    pub(super) fn learn_ahead(&mut self, item: RemoteItem) {
        if item.revision > self.service.cursor.revision {
            self.ask_soon();
        }
        self.learn(item);
    }

    /// The service is another one, or an older one: take over what it has, and keep all that we have.
    fn start_afresh(&mut self, mut all: BTreeMap<ItemId, RemoteItem>, epoch: u128, to: Revision) {
        let same_service = self.service.cursor.epoch == epoch;
        let common = if same_service { self.common_past(&all) } else { Revision::ZERO };
        self.drop_unanswered();
        self.work.ops.values_mut().for_each(|op| op.past = super::work::Past::Other);
        let ids: BTreeSet<ItemId> = self.trees.ids().chain(all.keys().copied()).collect();
        for id in ids {
            let Some(remote) = all.remove(&id) else {
                if planted!(FreshServiceDeletes)
                    && let Some(remote) = self.trees.get(id).remote.clone()
                {
                    self.put_remote(id, Some(RemoteItem { deleted: true, ..remote }));
                    continue;
                }
                self.forget_remote(id);
                continue;
            };
            let item = self.trees.get(id);
            let ours_is_its_past = item.remote.as_ref().is_some_and(|known| known.revision <= common);
            let past = if ours_is_its_past { Past::Ours } else { Past::Other(common) };
            let synced = item.synced.clone();
            if !planted!(OlderServiceWins) {
                self.put_synced(id, synced.and_then(|synced| rebase(synced, &remote, past)));
            }
            self.put_remote(id, Some(remote));
        }
        self.service.cursor = Cursor { epoch, revision: to };
        self.service.known.clear();
        self.service.unproven = false;
        // What vanished here is still gone, and nobody has approved of it.
        let is_deletion = |id: &ItemId| self.trees.get(*id).synced.is_some() && self.trees.local(*id).is_none();
        self.held.retain(is_deletion);
        self.fresh.retain(|id, _| is_deletion(id));
    }

    /// Up to which revision the service's past is, as far as can be told, the one that we know.
    fn common_past(&self, all: &BTreeMap<ItemId, RemoteItem>) -> Revision {
        let mut ours: Vec<&RemoteItem> = self.trees.ids().filter_map(|id| self.trees.get(id).remote.as_ref()).collect();
        ours.sort_by_key(|item| item.revision);
        let mut common = Revision::ZERO;
        for item in ours.into_iter().filter(|item| !item.deleted) {
            match all.get(&item.id) {
                Some(theirs) if theirs == item => common = item.revision,
                // Changed since then, whenever that was.
                Some(theirs) if theirs.version > item.version && theirs.revision > item.revision => {}
                Some(_) | None => break,
            }
        }
        common
    }

    pub(super) fn forget_remote(&mut self, id: ItemId) {
        self.put_remote(id, None);
        self.put_synced(id, None);
    }
}

/// How what we know of an item relates to a service that went back in time.
#[derive(Clone, Copy)]
enum Past {
    /// The service had the version that we know, too.
    Ours,
    /// Perhaps not: beyond this revision its past is another one.
    Other(Revision),
}

/// What both sides agreed on, as seen from a service that may have an older version, or another one. `None`: there is nothing that both
/// sides agree on, so that neither content replaces the other.
fn rebase(synced: Synced, remote: &RemoteItem, past: Past) -> Option<Synced> {
    if remote.deleted {
        return None;
    }
    let same_bytes = synced.body.same_bytes(&remote.body);
    let same_version = synced.version == remote.version && synced.modified == remote.modified;
    if same_version && synced.place == remote.place && synced.body == remote.body {
        return Some(synced);
    }
    match past {
        Past::Other(common) if !same_bytes && (synced.version <= remote.version || remote.revision > common) => return None,
        // With the same bytes nothing can be lost, and the service's place is the newer one.
        Past::Ours | Past::Other(_) if synced.version < remote.version => return Some(synced),
        Past::Ours | Past::Other(_) => {}
    }
    // A time that is another one than the service's now has to be told to it: no look counts as agreed on.
    let stat = synced.stat.filter(|_| same_bytes && synced.modified == remote.modified);
    Some(Synced {
        version: remote.version,
        place: remote.place.clone(),
        body: remote.body.clone(),
        modified: remote.modified,
        stat,
    })
}
