//! What one look at a file, folder or link tells, and what is compared with it; as the client has it.

use super::flavour::Births;
use super::fs::Fs;
use super::node::{Data, Id};
use stacksync_core::engine::{Applied, FileId, Stat};
use stacksync_core::planted;
use stacksync_core::values::{Kind, LINK_TARGET_BYTES_MAX, ModifiedAt};

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Absent,
    Here(Found),
    Odd(&'static str),
}

/// A stat together with what only the disk itself cares about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub stat: Stat,
    pub mode: u32,
    pub links: u32,
    pub id: Id,
}

impl Fs {
    pub fn file_id(&self, id: Id) -> Option<FileId> {
        let node = self.nodes.get(id)?;
        let born_ns = if self.flavour.births == Births::Known { self.flavour.times.stamp(node.born) } else { 0 };
        Some(FileId { inode: node.number, born_ns })
    }

    pub fn look_at(&self, id: Id) -> Look {
        let (Some(node), Some(file)) = (self.nodes.get(id), self.file_id(id)) else { return Look::Absent };
        let (kind, size, target) = match &node.data {
            Data::Folder(_) => (Kind::Folder, 0, None),
            Data::File(bytes) => (Kind::File, bytes.len() as u64, None),
            Data::Link(target) if target.len() > LINK_TARGET_BYTES_MAX => return Look::Odd("the link's target is too long"),
            Data::Link(target) => (Kind::Link, 0, Some(target.clone())),
            Data::Odd => return Look::Odd("a pipe cannot be synced"),
        };
        let executable = kind == Kind::File && node.mode & 0o100 != 0;
        let stat = Stat { kind, file, size, modified: ModifiedAt(node.modified), changed_ns: node.changed, executable, target };
        Look::Here(Found { stat, mode: node.mode, links: node.links, id })
    }
}

/// Whether what is there now is what the plan saw. Of a folder only the identity counts.
pub(super) fn as_expected(now: &Stat, expect: &Stat) -> bool {
    if planted!(NoLastLook) {
        return true;
    }
    match expect.kind {
        Kind::Folder => now.kind == Kind::Folder && now.file == expect.file,
        Kind::File | Kind::Link => now.same_content(expect) && now.executable == expect.executable,
    }
}

/// A file may be moved whatever its executable bit is.
pub(super) fn moves(now: &Stat, expect: &Stat) -> bool {
    as_expected(now, &Stat { executable: now.executable, ..expect.clone() })
}

/// What is there after an action whose result was `known` before the last step: the latest look, unless the file was edited since.
pub(super) fn present(now: Look, known: &Stat) -> Applied {
    let Look::Here(found) = now else { return Applied::Present(known.clone()) };
    if found.stat.kind == Kind::Folder || found.stat.same_content(known) {
        return Applied::Present(found.stat);
    }
    Applied::Present(Stat { changed_ns: known.changed_ns, ..known.clone() })
}

/// The mode of a file that shall (not) be executable: who may read it may execute it; its other bits stay.
pub(super) const fn mode_with(mode: u32, executable: bool) -> u32 {
    let plain = mode & 0o777;
    match (executable, plain & 0o100 != 0) {
        (true, false) => plain | ((plain & 0o444) >> 2) | 0o100,
        (false, true) => plain & !0o111,
        (true, true) | (false, false) => plain,
    }
}
