//! The trace of a run: every line goes into the digest; the last ones are kept for people when asked to.

use std::collections::VecDeque;
use std::fmt::{self, Write};

/// Lines that are kept.
const LINES_KEPT: usize = 40_000;

/// What is kept of it. The digest is the same whether lines are kept or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing: a run that nobody compares with another one.
    Nothing,
    /// Only the digest.
    Digest,
    /// The last lines too.
    Lines,
}

/// See the module.
#[derive(Debug)]
pub struct Trace {
    hasher: blake3::Hasher,
    keep: Keep,
    line: String,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty one.
    pub fn new(keep: Keep) -> Self {
        Self { hasher: blake3::Hasher::new(), keep, line: String::new(), lines: VecDeque::new() }
    }

    /// Adds a line.
    pub fn add(&mut self, line: fmt::Arguments<'_>) {
        if self.keep == Keep::Nothing {
            return;
        }
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = self.line.write_fmt(line);
        self.line.push('\n');
        self.hasher.update(self.line.as_bytes());
        if self.keep == Keep::Lines {
            if self.lines.len() == LINES_KEPT {
                self.lines.pop_front();
            }
            self.lines.push_back(self.line.trim_end().to_owned());
        }
    }

    /// Of all lines so far.
    pub fn digest(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }

    /// The last lines, if they are kept.
    pub fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into()
    }
}
