//! From what the service says to the remote tree.
//!
//! The cursor only moves over revisions whose changes are all known; notices and answers to our own commits are used when they
//! fit, and are hints to ask otherwise. A service that went back in time is asked for everything: what it lacks is new to it, what it
//! has in an older version is the base of what we have. Nothing is deleted because of it.

use super::input::{CallError, ChangesPage, Cursor, Notice};
use super::{ASK_EVERY_MS, Effect, Engine, Synced};
use crate::planted;
use crate::values::{ItemId, RemoteItem, Revision};
use std::collections::{BTreeMap, BTreeSet};

/// First and longest wait before asking again after a failure, in milliseconds.
const ASK_RETRY_MS: (u64, u64) = (500, 60_000);

/// So long an answer to another commit, or a notice, may take to close a gap before it is asked for, in milliseconds.
const GAP_WAIT_MS: u64 = 100;

/// How well the service is known.
#[derive(Clone, Debug)]
pub struct Service {
    online: bool,
    current: bool,
    asking: bool,
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
        self.service.failures = 0;
        self.service.next_ask_ms = Some(self.now.ms);
        self.resend_commits();
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
            let since = self.service.afresh.as_ref().map_or(self.service.cursor.revision, |(reached, _)| *reached);
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
            self.learn(item);
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
        let back_in_time = page.head < page.since || (known_epoch != 0 && known_epoch != page.epoch);
        if back_in_time && self.service.afresh.is_none() && !planted!(EpochIgnored) {
            self.service.afresh = Some((Revision::ZERO, BTreeMap::new()));
            self.service.head = Revision::ZERO;
            return self.ask_soon();
        }
        let finished = page.to >= page.head;
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
                    self.learn(item);
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

    /// The service has this version of an item.
    pub(super) fn learn(&mut self, item: RemoteItem) {
        let news = self.trees.get(item.id).remote.as_ref().is_none_or(|known| known.version < item.version);
        let worth_keeping = !item.deleted || self.trees.get(item.id) != &crate::trees::Item::default();
        if news && worth_keeping {
            let id = item.id;
            self.put_remote(id, Some(item));
            self.find_ours(id);
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
            let synced = self.trees.get(id).synced.clone();
            if !planted!(OlderServiceWins) {
                self.put_synced(id, synced.and_then(|synced| rebase(synced, &remote)));
            }
            self.put_remote(id, Some(remote));
        }
        self.service.cursor = Cursor { epoch, revision: to };
        self.service.known.clear();
        self.held.clear();
        self.fresh.clear();
    }

    pub(super) fn forget_remote(&mut self, id: ItemId) {
        self.put_remote(id, None);
        self.put_synced(id, None);
    }
}

/// What both sides agreed on, as seen from a service that may have an older version.
fn rebase(synced: Synced, remote: &RemoteItem) -> Option<Synced> {
    if remote.deleted {
        return None;
    }
    if synced.version == remote.version && synced.place == remote.place && synced.body.same_bytes(&remote.body) {
        return Some(synced);
    }
    if synced.version < remote.version {
        return Some(synced);
    }
    let stat = synced.stat.filter(|_| synced.body.same_bytes(&remote.body));
    Some(Synced {
        version: remote.version,
        place: remote.place.clone(),
        body: remote.body.clone(),
        modified: remote.modified,
        stat,
    })
}
