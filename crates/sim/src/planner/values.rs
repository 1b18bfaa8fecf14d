//! Small pools of names and contents for planner cases: few enough that things meet.

use crate::Random;
use stacksync_core::engine::{FileId, Stat};
use stacksync_core::values::{Body, ChunkName, ChunkRef, FileBody, ItemId, Kind, ModifiedAt, Name};
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

/// Different contents of files.
const CONTENTS: u32 = 64;

/// The names that items have, and contents.
pub(super) struct Pool {
    names: Vec<Name>,
    contents: Vec<Arc<[ChunkRef]>>,
    /// The chunks of all contents.
    pub(super) chunks: HashSet<ChunkName>,
}

pub(super) static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let contents: Vec<Arc<[ChunkRef]>> =
        (0..CONTENTS).map(|number| [ChunkRef { name: ChunkName::of(&number.to_le_bytes()), len: number % 5 + 1 }].into()).collect();
    let chunks = contents.iter().flat_map(|list| list.iter().map(|chunk| chunk.name)).collect();
    let names = ["a", "b", "c", "A", "d", ".syncignore"].iter().filter_map(|name| Name::new(name).ok()).collect();
    Pool { names, contents, chunks }
});

/// One of a few names; clashes by case and ignore rules are rare.
pub(super) fn name(random: &mut Random) -> Name {
    let index = [0, 0, 1, 1, 2, 2, 4, 3][random.below(8)];
    let index = if random.one_in(24) { 5 } else { index };
    POOL.names[index].clone()
}

/// A file's content.
pub(super) fn file(random: &mut Random, executable: bool) -> Body {
    let chunks = POOL.contents[random.below(POOL.contents.len())].clone();
    let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    Body::File(FileBody { size, chunks, adler32: 1, executable })
}

/// What a new item holds.
pub(super) fn body(random: &mut Random) -> Body {
    match random.below(8) {
        0..3 => Body::Folder,
        7 => Body::Link(if random.one_in(2) { "here".into() } else { "there".into() }),
        _ => {
            let executable = random.one_in(4);
            file(random, executable)
        }
    }
}

/// A modification time; for anything but a file the service keeps none.
pub(super) fn time(random: &mut Random, kind: Kind) -> ModifiedAt {
    ModifiedAt(if kind == Kind::File { random.between(1, 6) as i64 } else { 0 })
}

pub(super) fn id(number: u64) -> ItemId {
    ItemId::from_random(number << 1)
}

/// The look at something on the disk.
pub(super) fn stat(body: &Body, modified: ModifiedAt, inode: u64) -> Stat {
    let executable = matches!(body, Body::File(FileBody { executable: true, .. }));
    let target = match body {
        Body::Link(target) => Some(target.clone()),
        Body::Folder | Body::File(_) => None,
    };
    let file = FileId { inode, born_ns: 0 };
    Stat { kind: body.kind(), file, size: body.size(), modified, changed_ns: inode as i64, executable, target }
}

/// The name that breaks a circle, as the engine gives it.
pub(super) fn passing_name(id: ItemId) -> Name {
    Name::new(&format!("stacksync-renaming-{:016x}", id.get())).unwrap_or_else(|_| POOL.names[0].clone())
}
