//! One workspace on one laptop: its engine, its folder, what waits for the engine, and what it wants done.

use super::task::Task;
use crate::disk::{Disk, Event, Job};
use stacksync_core::engine::{Cursor, DiskAction, Engine, Input, Now, OpId, Row, Setup, StateDelta};
use stacksync_core::values::ItemId;
use std::collections::{BTreeMap, VecDeque};

/// What the client's database of its state holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Rows by item.
    pub rows: BTreeMap<ItemId, Row>,
    /// How far the service was followed.
    pub cursor: Cursor,
}

impl Remembered {
    /// Saves one step.
    pub fn save(&mut self, delta: StateDelta) {
        for (id, row) in delta.rows {
            match row {
                Some(row) => self.rows.insert(id, row),
                None => self.rows.remove(&id),
            };
        }
        self.cursor = delta.cursor.unwrap_or(self.cursor);
    }
}

/// An action that waits for the thread that changes the disk.
#[derive(Debug)]
pub(super) struct Waiting {
    pub op: OpId,
    pub action: DiskAction,
    pub contents: Option<Vec<u8>>,
}

/// The action that is under way.
#[derive(Debug)]
pub(super) struct Running {
    pub op: OpId,
    pub action: DiskAction,
    pub job: Job,
}

/// See the module.
#[derive(Debug)]
pub struct Member {
    /// Number of the laptop.
    pub laptop: usize,
    /// Number of the workspace.
    pub workspace: usize,
    /// The real thing. While the client is down: as it will start.
    pub engine: Engine,
    /// Its folder.
    pub disk: Disk,
    /// What is durable of its state.
    pub remembered: Remembered,
    pub(super) name: String,
    /// Outcomes and hints on their way to the engine, in order.
    pub(super) inbox: VecDeque<Input>,
    /// Effects under way.
    pub(super) tasks: Vec<Task>,
    /// Changes of the disk happen one after the other.
    pub(super) jobs: VecDeque<Waiting>,
    pub(super) running: Option<Running>,
    /// Hints of the watcher.
    pub(super) watch: VecDeque<Event>,
    /// Hints that come late, with when.
    pub(super) late: Vec<(u64, Event)>,
    /// When the engine wants to be woken.
    pub(super) deadline: Option<u64>,
    /// Inputs that it was given; says when it is checked.
    pub(super) inputs: u64,
}

impl Member {
    /// A member that starts with what is remembered.
    pub(super) fn new(laptop: usize, workspace: usize, disk: Disk, now: Now) -> Self {
        let name = format!("laptop{laptop}");
        let engine = engine(&name, laptop, workspace, 0, &Remembered::default(), now);
        Self {
            laptop,
            workspace,
            engine,
            disk,
            remembered: Remembered::default(),
            name,
            inbox: VecDeque::new(),
            tasks: Vec::new(),
            jobs: VecDeque::new(),
            running: None,
            watch: VecDeque::new(),
            late: Vec::new(),
            deadline: None,
            inputs: 0,
        }
    }

    /// Everything in memory is gone.
    pub(super) fn die(&mut self, boots: u64, now: Now) {
        self.inbox.clear();
        self.tasks.clear();
        self.jobs.clear();
        self.running = None;
        self.watch.clear();
        self.late.clear();
        self.deadline = None;
        self.engine = engine(&self.name, self.laptop, self.workspace, boots, &self.remembered, now);
    }

    /// Nothing is under way and nothing waits, as far as the world knows.
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty()
            && self.tasks.is_empty()
            && self.jobs.is_empty()
            && self.running.is_none()
            && self.watch.is_empty()
            && self.late.is_empty()
    }
}

fn engine(name: &str, laptop: usize, workspace: usize, boots: u64, remembered: &Remembered, now: Now) -> Engine {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&boots.to_le_bytes());
    seed[8] = laptop as u8;
    seed[9] = workspace as u8;
    let rows = remembered.rows.iter().map(|(id, row)| (*id, row.clone())).collect();
    Engine::new(Setup { device: name.to_owned(), seed, rows, cursor: remembered.cursor }, now)
}
