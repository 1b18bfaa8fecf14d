//! The crash points that the programs have: read from their sources, where each is written once.

use crate::programs::checkout;
use std::path::Path;

/// Environment variable that chooses one; see `stacksync_chunks::crash`.
pub const VARIABLE: &str = "CRASH_AT";

/// The program that passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `stacksync-server`; the chunk store is part of it.
    Server,
    /// `stacksync`.
    Device,
}

/// One crash point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// Who passes it.
    pub side: Side,
}

/// All of them.
///
/// # Panics
/// If the sources cannot be read, or a name is there twice.
pub fn all() -> Vec<Point> {
    let mut found = Vec::new();
    for (folder, side) in [("chunks", Side::Server), ("server", Side::Server), ("client", Side::Device)] {
        gather(&checkout().join("crates").join(folder).join("src"), side, &mut found);
    }
    let mut names: Vec<&str> = found.iter().map(|point| point.name.as_str()).collect();
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "crash points with one name: {twice:?}");
    found
}

fn gather(folder: &Path, side: Side, found: &mut Vec<Point>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).expect("the sources are there").flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            gather(&path, side, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source can be read");
            let names = text.split("crash_point!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(names.map(|name| Point { name: name.to_owned(), side }));
        }
    }
}
