//! Stories of people, devices and accidents, played with the real programs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod clock;
mod conflicts;
mod crash;
mod edges;
mod first_minute;
mod first_sync;
mod full_disk;
mod growing;
mod guard;
mod histories;
mod ignore;
mod live;
mod moves;
mod offline;
mod questions;
mod scenarios;
mod state;
mod storage;
mod strangers;
mod unwilling_disk;
mod workspaces;

use std::path::Path;

/// Writes a file, and the folders above it.
fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// What a file holds, as text.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).into_owned()
}
