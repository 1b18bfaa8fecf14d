//! What a device remembers between two runs: `state.db` in its home.
//!
//! Only observations are kept (what the service has, what both sides agreed on, how far we followed), never work to be done: a state
//! that is a little old, or gone, costs a look at the disk and nothing else. So it is written in the background, in shared
//! transactions, without waiting for the disk; and a damaged one is put aside and begun again.
//!
//! One process writes rows (the one that holds the home's lock); commands beside it read, and set flags.

mod codec;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
mod reader;
mod schema;
mod writer;

pub use reader::{Loaded, LogLine, StateReader, WorkspaceEntry};
pub use schema::{Opened, open_or_begin};
pub use writer::{OpenState, StateWriter, WriteError};

use std::path::PathBuf;

/// Lines that the log keeps.
pub const LOG_LINES_MAX: i64 = 100_000;

/// Something that a person wants of the running engine; stays until taken back, or until the engine has done it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flag {
    /// Change nothing, on neither side. The value is [`Flag::WANTED`] or [`Flag::IN_EFFECT`].
    Paused,
    /// Let the held deletions pass. The value is how many were shown to the person.
    Approve,
    /// Undo the held deletions.
    Restore,
}

impl Flag {
    /// The running process has not seen the flag yet.
    pub const WANTED: i64 = 1;
    /// It has, and acts accordingly.
    pub const IN_EFFECT: i64 = 2;

    const ALL: [Self; 3] = [Self::Paused, Self::Approve, Self::Restore];

    const fn word(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Approve => "approve",
            Self::Restore => "restore",
        }
    }
}

/// What keeps the state from being used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It was written by a later version of this program.
    #[error("{file} was written by a newer stacksync (format {found}; this one knows {known})", file = file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// It is not a database any more, or one that contradicts itself.
    #[error("{file} is damaged: {problem}", file = file.display())]
    Damaged {
        /// The database.
        file: PathBuf,
        /// What was found.
        problem: String,
    },
    /// The database said no for another reason: no space, no permission.
    #[error("cannot use {file}: {source}", file = file.display())]
    Failed {
        /// The database.
        file: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl StateError {
    fn from_sqlite(file: &std::path::Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let file = file.to_owned();
        match source.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Damaged { file, problem: source.to_string() },
            _ => Self::Failed { file, source },
        }
    }
}

#[cfg(test)]
mod tests;
