//! One file, as the paper has it: what the service holds, and for each device what its disk holds, whether that is based on what the
//! service holds (*fresh*), and whether the service knows it (*clean*). Values that lost against others are the conflict set; whoever
//! works on one of them makes it a file of its own.
//!
//! People's steps are known. Uploads and downloads are not: [`Cell::hidden`] are all that could happen next.

use super::value::Value;
use std::collections::BTreeSet;

/// How the tool takes a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// As a new place of the same file, so that it meets an edit from elsewhere in one file.
    Followed,
    /// As a copy and a deletion.
    Copied,
}

/// What a device did to the file since its last upload of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Change {
    Clean,
    /// Another place, the same value.
    Moved,
    /// Another value, or none.
    Changed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Side {
    local: Option<Value>,
    fresh: bool,
    change: Change,
}

const WITHOUT: Side = Side { local: None, fresh: false, change: Change::Clean };

/// A file and what every device knows of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    service: Option<Value>,
    sides: Vec<Side>,
}

/// What an event does: the file afterwards, and a value that became a file of its own.
pub type Outcome = (Cell, Option<Value>);

impl Cell {
    /// A file that a device has just made.
    pub fn created(devices: usize, device: usize, value: Value) -> Self {
        let mut cell = Self { service: None, sides: vec![Side { fresh: true, ..WITHOUT }; devices] };
        cell.sides[device] = Side { local: Some(value), fresh: true, change: Change::Changed };
        cell
    }

    /// A file that everybody has.
    pub fn settled(devices: usize, value: Value) -> Self {
        let side = Side { local: Some(value), fresh: true, change: Change::Clean };
        Self { service: Some(value), sides: vec![side; devices] }
    }

    /// A conflict copy that this device has, and others perhaps not yet.
    pub fn copy(devices: usize, device: usize, value: Value) -> Self {
        let mut cell = Self { service: Some(value), sides: vec![WITHOUT; devices] };
        cell.sides[device] = Side { local: Some(value), fresh: true, change: Change::Clean };
        cell
    }

    /// What the device holds.
    pub fn local(&self, device: usize) -> Option<Value> {
        self.sides[device].local
    }

    /// Everybody has what the service has, and nobody anything else.
    pub fn is_settled(&self) -> bool {
        self.sides.iter().all(|side| side.fresh && side.change == Change::Clean && side.local == self.service)
    }

    /// What the service holds.
    pub const fn service(&self) -> Option<Value> {
        self.service
    }

    /// The device writes a value.
    #[must_use]
    pub fn write(mut self, device: usize, value: Value) -> Self {
        let side = &mut self.sides[device];
        (side.local, side.change) = (Some(value), Change::Changed);
        self
    }

    /// The device deletes it.
    #[must_use]
    pub fn delete(mut self, device: usize) -> Self {
        let side = &mut self.sides[device];
        (side.local, side.change) = (None, Change::Changed);
        self
    }

    /// The device moves it. One that it had replaced before may pass for a deleted file and one that was made elsewhere.
    pub fn moved(mut self, device: usize) -> Vec<Outcome> {
        let side = &mut self.sides[device];
        let (local, change) = (side.local, side.change);
        match change {
            Change::Clean | Change::Moved => {
                side.change = Change::Moved;
                vec![(self, None)]
            }
            Change::Changed => {
                let apart = self.clone().delete(device);
                vec![(self, None), (apart, local)]
            }
        }
    }

    /// Everything that may happen next without anybody seeing it.
    pub fn hidden(&self, moves: Moves) -> Vec<Outcome> {
        (0..self.sides.len()).flat_map(|device| self.hidden_of(device, moves)).collect()
    }

    fn hidden_of(&self, device: usize, moves: Moves) -> Vec<Outcome> {
        let side = self.sides[device];
        match (side.change, side.fresh) {
            (Change::Clean, true) => Vec::new(),
            (Change::Clean, false) => vec![(self.downloaded(device), None)],
            (Change::Moved | Change::Changed, true) => vec![(self.uploaded(device), None)],
            (Change::Moved | Change::Changed, false) => self.stale_upload(device, moves),
        }
    }

    fn downloaded(&self, device: usize) -> Self {
        let mut cell = self.clone();
        cell.sides[device] = Side { local: self.service, fresh: true, change: Change::Clean };
        cell
    }

    fn uploaded(&self, device: usize) -> Self {
        let mut cell = self.clone();
        cell.service = self.sides[device].local;
        for side in &mut cell.sides {
            side.fresh = false;
        }
        cell.sides[device] = Side { local: cell.service, fresh: true, change: Change::Clean };
        cell
    }

    /// Somebody else was faster.
    fn stale_upload(&self, device: usize, moves: Moves) -> Vec<Outcome> {
        let side = self.sides[device];
        let mut given_up = self.clone();
        given_up.sides[device] = Side { local: side.local, fresh: false, change: Change::Clean };
        match (side.local, self.service) {
            // What lives on wins against a deletion.
            (None, _) => vec![(given_up, None)],
            (Some(_), None) => vec![(self.uploaded(device), None)],
            (Some(mine), Some(theirs)) if mine == theirs => vec![(given_up, None)],
            (Some(mine), Some(_)) => {
                let mut beside = given_up.clone();
                beside.sides[device].local = None;
                match (side.change, moves) {
                    (Change::Moved, Moves::Followed) => vec![(given_up, None)],
                    (Change::Moved, Moves::Copied) => vec![(given_up, None), (beside, Some(mine))],
                    (Change::Changed | Change::Clean, _) => vec![(beside, Some(mine))],
                }
            }
        }
    }
}

/// A file with the conflict copies that came of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    cells: Vec<Cell>,
    conflicts: BTreeSet<Value>,
}

impl Family {
    /// A file alone.
    pub fn of(cell: Cell) -> Self {
        Self { cells: vec![cell], conflicts: BTreeSet::new() }
    }

    /// Everything that may be hidden next.
    pub fn hidden(&self, moves: Moves) -> Vec<Self> {
        let each = |index: usize| self.cells[index].hidden(moves).into_iter().map(move |outcome| self.with(index, outcome));
        (0..self.cells.len()).flat_map(each).collect()
    }

    /// All that it may be after a device did something to the file in which it found `value`.
    pub fn after(&self, device: usize, value: Value, step: impl Fn(Cell) -> Vec<Outcome>) -> Vec<Self> {
        let mut found = Vec::new();
        for (index, cell) in self.cells.iter().enumerate().filter(|(_, cell)| cell.local(device) == Some(value)) {
            found.extend(step(cell.clone()).into_iter().map(|outcome| self.with(index, outcome)));
        }
        if self.conflicts.contains(&value) {
            let mut family = self.clone();
            family.conflicts.remove(&value);
            let copy = Cell::copy(self.cells[0].sides.len(), device, value);
            family.cells.push(copy.clone());
            let index = family.cells.len() - 1;
            found.extend(step(copy).into_iter().map(|outcome| family.with(index, outcome)));
        }
        found
    }

    fn with(&self, index: usize, (cell, apart): Outcome) -> Self {
        let mut family = self.clone();
        family.cells[index] = cell;
        family.conflicts.extend(apart);
        family
    }

    /// The values that are left when nothing is hidden any more; `None` while something is.
    pub fn settled(&self) -> Option<BTreeSet<Value>> {
        let all = self.cells.iter().all(Cell::is_settled);
        all.then(|| self.cells.iter().filter_map(Cell::service).chain(self.conflicts.iter().copied()).collect())
    }
}
