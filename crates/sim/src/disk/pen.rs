//! A person who writes something piece by piece: the file is open, and stays so whatever becomes of its name.

use super::machine::Machine;
use super::node::Hold;
use std::collections::VecDeque;

/// The next piece is written after so many calls of the client, on average, or when the time has come.
const CALLS_MEAN: u64 = 4;
/// And so much later at most, in nanoseconds.
const PAUSE_NS: i64 = 150_000_000;

/// A file that somebody is writing.
#[derive(Debug)]
pub(super) struct Pen {
    pub file: Hold,
    pub offset: usize,
    pub pieces: VecDeque<Vec<u8>>,
    /// When the next piece is due.
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
    }

    fn write_piece(&mut self, which: usize) {
        let pen = &mut self.pens[which];
        if let Some(piece) = pen.pieces.pop_front() {
            self.written = true;
            self.pieces += 1;
            self.fs.write(pen.file.id, pen.offset, &piece).ok();
            pen.offset += piece.len();
            pen.due = self.fs.clock + PAUSE_NS;
        }
        if pen.pieces.is_empty() {
            self.pens.remove(which);
        }
    }
}
