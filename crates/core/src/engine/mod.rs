//! The client's engine: a state machine without I/O.
//!
//! `handle(input, now)` takes one observation or outcome, `poll()` gives the next effect to carry out, `deadline()` says
//! when to call again. What runs in production is what runs in the simulator.

mod effect;
mod input;

pub use effect::{DiskAction, Effect, LogEntry, OpId, Row, StateDelta, Synced};
pub use input::{
    Applied, ApplyError, CallError, ChangesPage, Cursor, Entry, FileId, Input, Listing, Notice, Now, ScanError, Skipped, Stat,
    UploadError, Uploaded,
};
