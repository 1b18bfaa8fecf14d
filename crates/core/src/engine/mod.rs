//! The client's engine: a state machine without I/O.
//!
//! `handle(input, now)` takes one observation or outcome, `poll()` gives the next effect to carry out, `deadline()` says
//! when to call again. What runs in production is what runs in the simulator.
//!
//! Data flows one way: observations change the trees (`scan`, `service`), a changed item becomes dirty, a dirty item is reconciled
//! and its decision carried out as an effect (`act`), the effect's outcome is an observation again. Nothing is remembered of
//! what is to be done: after a restart the same trees lead to the same decisions.

mod act;
mod circle;
mod commits;
mod effect;
mod guard;
mod input;
mod outcome;
mod report;
mod scan;
mod service;
mod wait;
mod work;

#[cfg(test)]
mod tests;

pub use crate::trees::Synced;
pub use crate::values::{FileId, Stat};
pub use effect::{DiskAction, Effect, LogEntry, OpId, Row, StateDelta};
pub use input::{
    Applied, ApplyError, CallError, ChangesPage, Cursor, Entry, Input, Listing, Notice, Now, ScanError, Skipped, UploadError,
    Uploaded,
};
pub use report::{PlanLine, Problem, Status, Why};

use crate::names::Mint;
use crate::planted;
use crate::trees::{Local, Trees};
use crate::values::{Body, ItemId};
use guard::Guard;
use scan::Scans;
use service::Service;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use wait::Waits;
use work::Work;

/// A deletion is committed only so long after it was seen: the file may turn up under another name. In milliseconds.
const DELETE_GRACE_MS: u64 = 400;
/// Without a notice the service is asked for changes so often, in milliseconds.
const ASK_EVERY_MS: u64 = 60_000;
/// Without a hint the whole disk is looked at so often, in milliseconds.
const RESCAN_EVERY_MS: u64 = 600_000;
/// A lost root folder is looked for so often, in milliseconds.
const ROOT_EVERY_MS: u64 = 5_000;

/// How to make an [`Engine`].
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name of this device, for conflict copies.
    pub device: String,
    /// Seeds the ids that the engine mints; must be unpredictable outside of tests.
    pub seed: [u8; 32],
    /// What was remembered.
    pub rows: Vec<(ItemId, Row)>,
    /// How far the service was followed.
    pub cursor: Cursor,
}

/// Follows one workspace on one device.
#[derive(Clone, Debug)]
pub struct Engine {
    trees: Trees,
    device: String,
    mint: Mint,
    now: Now,
    service: Service,
    scans: Scans,
    guard: Guard,
    work: Work,
    waits: Waits,
    /// Local deletions that may turn out to be moves, with the time until when.
    fresh: BTreeMap<ItemId, u64>,
    held: BTreeSet<ItemId>,
    unsaved: BTreeSet<ItemId>,
    effects: VecDeque<Effect>,
}

impl Engine {
    /// An engine that starts from what was remembered. It is told [`Input::TouchedAll`] and [`Input::Online`] next.
    pub fn new(setup: Setup, now: Now) -> Self {
        let mut engine = Self {
            trees: Trees::default(),
            device: setup.device,
            mint: Mint::new(setup.seed),
            now,
            service: Service::new(setup.cursor),
            scans: Scans::default(),
            guard: Guard::default(),
            work: Work::default(),
            waits: Waits::default(),
            fresh: BTreeMap::new(),
            held: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            effects: VecDeque::new(),
        };
        for (id, row) in setup.rows {
            engine.recall(id, row);
        }
        engine.miss_orphans();
        engine
    }

    /// The disk is taken to be as it was when last agreed on, until a scan says otherwise.
    fn recall(&mut self, id: ItemId, mut row: Row) {
        if let (Some(remote), Some(synced)) = (&row.remote, &mut row.synced) {
            // Equal values share their memory.
            if synced.place == remote.place {
                synced.place = remote.place.clone();
            }
            if synced.body == remote.body {
                synced.body = remote.body.clone();
            }
        }
        let local = row.synced.as_ref().map(|synced| Local {
            place: synced.place.clone(),
            stat: synced.stat.clone().unwrap_or_else(|| unseen(&synced.body)),
            body: synced.stat.as_ref().map(|_| synced.body.clone()),
            ignored: false,
        });
        self.trees.set_remote(id, row.remote);
        self.trees.set_synced(id, row.synced);
        if let Some(local) = local {
            match self.trees.local_at(local.place.parent, &local.place.name) {
                None => self.trees.set_local(id, Some(local)),
                Some(_) => self.lose(id),
            }
        }
        self.dirty(id);
    }

    /// Takes one observation or outcome.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.now = now;
        self.take(input);
        self.on_time();
        self.start_scans();
        self.ask_if_due();
        self.work_through();
        self.remember();
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Online => self.online(),
            Input::Offline => self.offline(),
            Input::Touched(path) => self.touched(&path),
            Input::TouchedAll => self.touched_all(),
            Input::Scanned { folder, names, result } => self.scanned(folder, names.as_deref(), result),
            Input::Noticed(notice) => self.noticed(notice),
            Input::Changes(result) => self.changes(result),
            Input::Uploaded { op, result } => self.uploaded(op, result),
            Input::Committed { id, result } => self.committed(id, result),
            Input::Applied { op, result } => self.applied(op, result),
            Input::Approve => self.approve(),
            Input::Restore => self.restore(),
            Input::Woken => {}
        }
    }

    /// The next effect to carry out.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Input::Woken`] is due, in milliseconds of [`Now::ms`].
    pub fn deadline(&self) -> Option<u64> {
        let grace = self.fresh.values().min().copied();
        [grace, self.work.next_retry(), self.service.next_ask(), self.scans.next_look()].into_iter().flatten().min()
    }

    fn on_time(&mut self) {
        let due: Vec<ItemId> = self.fresh.iter().filter(|&(_, &at)| at <= self.now.ms).map(|(&id, _)| id).collect();
        for id in due {
            self.fresh.remove(&id);
            self.dirty(id);
        }
        for id in self.work.due_retries(self.now) {
            self.dirty(id);
        }
        self.resend_due_commits();
        if self.scans.next_look().is_some_and(|at| at <= self.now.ms) {
            let parked = self.waits.all();
            parked.into_iter().for_each(|id| self.dirty(id));
            self.touched_all();
        }
    }

    /// Whether both trees are known well enough to act on them.
    fn ready(&self) -> bool {
        self.service.is_current() && self.scans.is_sound()
    }

    fn approve(&mut self) {
        self.guard.reset();
        for id in std::mem::take(&mut self.held) {
            self.dirty(id);
        }
    }

    fn restore(&mut self) {
        self.guard.reset();
        for id in std::mem::take(&mut self.held) {
            self.put_synced(id, None);
        }
    }

    fn dirty(&mut self, id: ItemId) {
        self.work.enqueue(id);
        self.unpark(id);
    }

    /// The item does not wait any more; a folder that it wanted and nobody else wants is looked at again.
    fn unpark(&mut self, id: ItemId) {
        if let Some(target) = self.waits.cancel(id)
            && self.waits.release_want(target, id)
        {
            self.dirty(target);
        }
    }

    /// Something about the item changed: it is looked at again, and so is whoever waited for it.
    fn changed(&mut self, id: ItemId) {
        self.dirty(id);
        for waiter in self.waits.release(id) {
            self.dirty(waiter);
        }
    }

    fn put_local(&mut self, id: ItemId, local: Option<Local>) {
        debug_assert!(
            local.as_ref().is_none_or(|local| self.trees.folder_is_local(local.place.parent)),
            "put into a folder that is gone"
        );
        if local.is_none() {
            self.scans.forget(id);
        }
        self.trees.set_local(id, local);
        self.changed(id);
    }

    fn put_remote(&mut self, id: ItemId, remote: Option<crate::values::RemoteItem>) {
        self.trees.set_remote(id, remote);
        self.unsaved.insert(id);
        self.changed(id);
    }

    fn put_synced(&mut self, id: ItemId, synced: Option<Synced>) {
        self.trees.set_synced(id, synced);
        self.unsaved.insert(id);
        self.changed(id);
    }

    fn remember(&mut self) {
        let cursor = self.service.unsaved_cursor();
        if self.unsaved.is_empty() && cursor.is_none() {
            return;
        }
        let rows = std::mem::take(&mut self.unsaved).into_iter().map(|id| {
            let item = self.trees.get(id);
            let known = item.remote_live().is_some() || item.synced.is_some();
            (id, known.then(|| Row { remote: item.remote.clone(), synced: item.synced.clone() }))
        });
        let mut delta = StateDelta { rows: rows.collect(), cursor };
        if planted!(CursorBeforeRows) {
            self.effects.push_back(Effect::Remember(StateDelta { rows: Vec::new(), cursor: delta.cursor.take() }));
        }
        self.effects.push_back(Effect::Remember(delta));
    }

    fn log(&mut self, id: ItemId, verb: &'static str, detail: impl Into<String>) {
        let path = self.trees.shown_path(id);
        self.effects.push_back(Effect::Log(LogEntry { path, verb, detail: detail.into() }));
    }
}

/// A look that no real file equals, for a file whose content is not known.
const fn unseen(body: &Body) -> Stat {
    Stat {
        kind: body.kind(),
        file: FileId { inode: 0, born_ns: 0 },
        size: 0,
        modified: crate::values::ModifiedAt(0),
        changed_ns: 0,
        executable: false,
        target: None,
    }
}
