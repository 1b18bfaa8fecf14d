//! The items of one workspace of the original as rows of ours. Pure: rows in, rows out, and what was odd.
//!
//! Names and places were not versioned: every version gets those of today. What would break a rule of ours is put right in the way that
//! loses nothing: a name that is none or is taken is changed, a folder that is not there is the top.

use super::Imported;
use super::people::Workspace;
use super::source::{OldItem, OldVersion};
use crate::db::columns::{kind_number, pack_body, parent_number, status_number};
use crate::db::transfer::{Cell, Row};
use stacksync_chunks::original::chunk_name;
use stacksync_core::values::{Body, ChunkRef, FileBody, ItemId, Kind, Name, Status, Version};
use std::collections::{HashMap, HashSet};

/// Bytes of a chunk of the original but the last one.
const CHUNK_BYTES: i64 = 512 * 1024;
/// Rows of items and of the history.
#[derive(Default)]
pub(super) struct Tree {
    pub items: Vec<Row>,
    pub past: Vec<Row>,
    pub revision: i64,
    /// Bytes that the live items hold.
    pub used: i64,
    /// The folders, for the places of workspaces.
    pub folders: HashSet<i64>,
}

/// An item that will be taken.
struct Taken<'a> {
    item: &'a OldItem,
    head: &'a OldVersion,
    bodies: Vec<Option<Body>>,
    parent: Option<ItemId>,
    name: Name,
    deleted: bool,
}

/// Makes the rows.
pub(super) fn tree(workspace: &Workspace, items: Vec<OldItem>, report: &mut Imported) -> Tree {
    let mut items = items;
    for item in &mut items {
        repair(item, report);
    }
    let mut taken: Vec<Taken<'_>> = items.iter().filter_map(|item| take(item, report)).collect();
    settle(&mut taken, report);
    name_apart(&mut taken, report);
    rows(workspace, &taken)
}

/// Versions that cannot be are left out; a folder without any gets one, because what is in it needs it.
fn repair(item: &mut OldItem, report: &mut Imported) {
    let before = item.versions.len();
    item.versions.retain(|version| version.version >= 1);
    item.versions.dedup_by_key(|version| version.version);
    if item.versions.len() < before {
        report.problem(format!(
            "item {}: {} version(s) with impossible numbers were left out",
            item.id,
            before - item.versions.len()
        ));
    }
    if item.versions.is_empty() && item.is_folder {
        report.problem(format!("folder {} ('{}') has no version; it was taken as new", item.id, item.name));
        let version = OldVersion {
            row: 0,
            device: uuid::Uuid::nil(),
            version: item.latest.max(1),
            checksum: 0,
            modified: 0,
            status: "NEW".into(),
            size: 0,
            chunks: Vec::new(),
        };
        item.versions.push(version);
    }
}

fn take<'a>(item: &'a OldItem, report: &mut Imported) -> Option<Taken<'a>> {
    let Some(head) = item.versions.last() else {
        report.problem(format!("item {} ('{}') has no version; it was not taken", item.id, item.name));
        return None;
    };
    ItemId::new(item.id).or_else(|| {
        report.problem(format!("item {} ('{}') has an impossible id; it was not taken", item.id, item.name));
        None
    })?;
    if head.version != item.latest {
        report.problem(format!(
            "item {}: its latest version {} is not there; version {} was taken as the latest",
            item.id, item.latest, head.version
        ));
    }
    let deleted = status(head) == Status::Deleted;
    let bodies: Vec<Option<Body>> = item.versions.iter().map(|version| body(item, version)).collect();
    if bodies.last().is_none_or(Option::is_none) && !deleted {
        report.problem(format!(
            "file {} ('{}'): the chunks of version {} are not known; it was not taken",
            item.id, item.name, head.version
        ));
        return None;
    }
    Some(Taken { item, head, bodies, parent: item.parent.and_then(ItemId::new), name: name(item, report), deleted })
}

fn status(version: &OldVersion) -> Status {
    match version.status.as_str() {
        "NEW" => Status::New,
        "RENAMED" | "MOVED" => Status::Renamed,
        "DELETED" => Status::Deleted,
        _ => Status::Changed,
    }
}

/// What a version holds; `None` where that cannot be known.
fn body(item: &OldItem, version: &OldVersion) -> Option<Body> {
    if item.is_folder {
        return Some(Body::Folder);
    }
    let adler32 = u32::try_from(version.checksum).unwrap_or(0);
    let empty = || Body::File(FileBody { size: 0, chunks: [].into(), adler32, executable: false });
    if version.size <= 0 {
        return Some(empty());
    }
    if version.chunks.is_empty() {
        return (status(version) == Status::Deleted).then(empty);
    }
    let count = i64::try_from(version.chunks.len()).ok()?;
    let chunks: Option<Vec<ChunkRef>> = version
        .chunks
        .iter()
        .zip(lengths(version.size, count))
        .map(|(text, len)| Some(ChunkRef { name: chunk_name(text)?, len: u32::try_from(len).ok().filter(|&len| len > 0)? }))
        .collect();
    let chunks = chunks?;
    Some(Body::File(FileBody { size: u64::try_from(version.size).ok()?, chunks: chunks.into(), adler32, executable: false }))
}

/// How long the chunks of a file are: 512 KiB each but the last, where that is possible; the source does not say.
fn lengths(size: i64, count: i64) -> impl Iterator<Item = i64> {
    let last = size - CHUNK_BYTES * (count - 1);
    let usual = if (1..=CHUNK_BYTES).contains(&last) || count == 1 { CHUNK_BYTES } else { size / count };
    let last = size - usual * (count - 1);
    (1..=count).map(move |at| if at == count { last } else { usual })
}

fn name(item: &OldItem, report: &mut Imported) -> Name {
    if let Ok(name) = Name::new(&item.name) {
        return name;
    }
    let mut text: String = item.name.replace(['/', '\0'], "_");
    while text.len() > 200 {
        text.pop();
    }
    if text.is_empty() || text == "." || text == ".." {
        text = format!("unnamed {}", item.id);
    }
    report.problem(format!("item {}: '{}' is no name; it was taken as '{text}'", item.id, item.name.escape_debug()));
    Name::new(&text).unwrap_or_else(|_| fallback(item.id))
}

fn fallback(id: i64) -> Name {
    // Digits and a word are a name.
    #[allow(clippy::expect_used, reason = "a constant word and digits are always a name")]
    Name::new(&format!("item {id}")).expect("a word and digits are a name")
}

/// Every item gets a folder that is one of this workspace and lives if the item does, and no folder is inside itself.
fn settle(taken: &mut [Taken<'_>], report: &mut Imported) {
    let kinds: HashMap<i64, (bool, bool)> =
        taken.iter().map(|taken| (taken.item.id, (taken.item.is_folder, taken.deleted))).collect();
    for one in taken.iter_mut() {
        let Some(parent) = one.parent else { continue };
        let reason = match kinds.get(&parent.get()) {
            None => "is not in its workspace",
            Some((false, _)) => "is no folder",
            Some((true, true)) if !one.deleted => "is deleted",
            Some(_) => continue,
        };
        // The top of a shared workspace hung in another one.
        one.parent = None;
        report
            .problem(format!("item {} ('{}'): its folder {parent} {reason}; it was taken at the top", one.item.id, one.item.name));
    }
    let mut parents: HashMap<i64, i64> = taken.iter().filter_map(|one| Some((one.item.id, one.parent?.get()))).collect();
    for one in taken.iter_mut() {
        let mut seen = HashSet::new();
        let mut at = one.item.id;
        while let Some(&above) = parents.get(&at) {
            if !seen.insert(at) {
                report.problem(format!("item {} ('{}') is inside itself; it was taken at the top", one.item.id, one.item.name));
                one.parent = None;
                parents.remove(&one.item.id);
                break;
            }
            at = above;
        }
    }
}

/// Live siblings must differ.
fn name_apart(taken: &mut [Taken<'_>], report: &mut Imported) {
    let mut used = HashSet::new();
    for one in taken.iter_mut().filter(|one| !one.deleted) {
        let place = parent_number(one.parent);
        if used.insert((place, one.name.key())) {
            continue;
        }
        let text = one.name.as_str();
        let (stem, end) = match text.rfind('.').filter(|&at| at > 0 && !one.item.is_folder) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let mut stem = stem.to_owned();
        while stem.len() + end.len() > 220 && stem.pop().is_some() {}
        let other = Name::new(&format!("{stem} (imported {}){end}", one.item.id)).unwrap_or_else(|_| fallback(one.item.id));
        report.problem(format!("item {}: there is another '{text}' in its folder; it was taken as '{other}'", one.item.id));
        used.insert((place, other.key()));
        one.name = other;
    }
}

/// Numbers the versions in the order in which they were made, and writes them down.
fn rows(workspace: &Workspace, taken: &[Taken<'_>]) -> Tree {
    let mut order: Vec<(i64, usize, usize)> = Vec::new();
    for (at, one) in taken.iter().enumerate() {
        let mut latest = 0;
        for (which, version) in one.item.versions.iter().enumerate() {
            // A version never comes before the one that it follows.
            latest = latest.max(version.row);
            order.push((latest, at, which));
        }
    }
    order.sort_unstable();
    let mut tree = Tree::default();
    for (revision, (_, at, which)) in (1_i64..).zip(order) {
        let Some(one) = taken.get(at) else { continue };
        let Some((version, body)) = one.item.versions.get(which).zip(one.bodies.get(which)) else { continue };
        tree.revision = revision;
        let head = std::ptr::eq(version, one.head);
        let empty = Body::File(FileBody { size: 0, chunks: [].into(), adler32: 0, executable: false });
        // Of an old version whose bytes are not known there is nothing to be had.
        let body = body.as_ref().unwrap_or(&empty);
        let status = if which == 0 && status(version) != Status::Deleted { Status::New } else { status(version) };
        let row = version_row(one, version, revision, status, body);
        if head {
            if !one.deleted {
                tree.used = tree.used.saturating_add(i64::try_from(body.size()).unwrap_or(i64::MAX));
            }
            tree.items.push(item_row(workspace.number, one, row));
        } else {
            tree.past.push(row);
        }
    }
    tree.folders = taken.iter().filter(|one| one.item.is_folder && !one.deleted).map(|one| one.item.id).collect();
    tree
}

/// In the order of the columns of the history.
fn version_row(one: &Taken<'_>, version: &OldVersion, revision: i64, status: Status, body: &Body) -> Row {
    let (adler32, kind) = match body {
        Body::File(file) => (file.adler32, Kind::File),
        Body::Folder | Body::Link(_) => (0, Kind::Folder),
    };
    let number = Version::new(u64::try_from(version.version).unwrap_or(1)).map_or(1, |_| version.version);
    vec![
        Cell::Int(one.item.id),
        Cell::Int(number),
        Cell::Int(revision),
        Cell::Int(status_number(status).into()),
        Cell::Int(kind_number(kind).into()),
        Cell::Int(parent_number(one.parent)),
        Cell::Text(one.name.as_str().to_owned()),
        Cell::Int(version.modified.saturating_mul(1_000_000)),
        Cell::Int(adler32.into()),
        Cell::Int(0),
        Cell::Bytes(version.device.as_bytes().to_vec()),
        Cell::Bytes(pack_body(body)),
    ]
}

/// In the order of the columns of the items: the workspace and the revision first, the name's key after the name.
fn item_row(workspace: i64, one: &Taken<'_>, version: Row) -> Row {
    let mut cells = version.into_iter();
    let (id, number, revision) = (cells.next(), cells.next(), cells.next());
    let mut row: Row = [Some(Cell::Int(workspace)), revision, id, number].into_iter().flatten().collect();
    row.extend(cells.by_ref().take(4));
    row.push(if one.deleted { Cell::Null } else { Cell::Text(one.name.key().as_str().to_owned()) });
    row.extend(cells);
    row
}
