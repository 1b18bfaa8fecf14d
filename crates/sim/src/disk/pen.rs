//! People who take their time: one writes a file piece by piece, which stays open whatever becomes of its name; another one deletes one
//! thing after the other.

use super::machine::Machine;
use super::node::Hold;
use stacksync_core::values::ItemPath;
use std::collections::VecDeque;
use std::sync::Arc;

/// The next piece is written after so many calls of the client, on average, or when the time has come.
const CALLS_MEAN: u64 = 4;
/// And so much later at most, in nanoseconds.
const PAUSE_NS: i64 = 150_000_000;
/// From one thing that is deleted to the next, in nanoseconds.
const SWEEP_NS: i64 = 40_000_000;

/// A file that somebody is writing.
#[derive(Debug)]
pub(super) struct Pen {
    pub file: Hold,
    pub offset: usize,
    pub pieces: VecDeque<Vec<u8>>,
    /// When the next piece is due.
    pub due: i64,
}

/// Somebody who deletes one thing after the other.
#[derive(Debug)]
pub(super) struct Broom {
    /// What is still to go.
    pub left: VecDeque<ItemPath>,
    /// When the next one goes.
    pub due: i64,
}

impl Machine {
    /// Lets somebody write the next piece, perhaps.
    pub fn write_on(&mut self) {
        if !self.pens.is_empty() && self.luck.one_in(CALLS_MEAN) {
            let which = self.luck.below(self.pens.len());
            self.write_piece(which);
        }
    }

    /// Whoever has waited long enough writes.
    pub fn write_due(&mut self) {
        let now = self.fs.clock;
        while let Some(which) = self.pens.iter().position(|pen| pen.due <= now || pen.due > now + 2 * PAUSE_NS) {
            self.write_piece(which);
        }
        while let Some(which) = self.brooms.iter().position(|broom| broom.due <= now || broom.due > now + 2 * SWEEP_NS) {
            self.sweep(which);
        }
    }

    fn sweep(&mut self, which: usize) {
        let broom = &mut self.brooms[which];
        broom.due = self.fs.clock + SWEEP_NS;
        let next = broom.left.pop_front();
        if broom.left.is_empty() {
            self.brooms.remove(which);
        }
        if next.is_some_and(|path| self.remove_at(&path).is_ok()) {
            self.written.push(Arc::default());
            self.pieces += 1;
        }
    }

    fn write_piece(&mut self, which: usize) {
        let pen = &mut self.pens[which];
        if let Some(piece) = pen.pieces.pop_front() {
            self.pieces += 1;
            self.fs.write(pen.file.id, pen.offset, &piece).ok();
            let bytes = self.fs.node(pen.file.id).ok().and_then(|node| node.bytes().cloned());
            self.written.extend(bytes);
            pen.offset += piece.len();
            pen.due = self.fs.clock + PAUSE_NS;
        }
        if pen.pieces.is_empty() {
            self.pens.remove(which);
        }
    }
}
