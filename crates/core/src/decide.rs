//! The commit rule: may this version of this item be saved?
//!
//! A pure function over a [`View`] of one workspace. The metadata store calls it inside its transaction, once per item of a commit
//! and in order, and writes what it says before it asks about the next; so each item sees the earlier ones. It never changes
//! anything itself, and it is the only place where these rules stand.
//!
//! What holds before and after every saved version: live siblings differ in their name's key; every live item's folder lives; no
//! folder is inside itself; the versions of an item count 1, 2, 3, ...; an item keeps its kind; the owner's quota grows only to its
//! limit.

pub mod memory;
#[cfg(test)]
mod tests;

use crate::commit::{FOLDER_DEPTH_MAX, ItemCommit, Refusal};
use crate::planted;
use crate::values::{
    Body, ChunkName, FILE_CHUNKS_MAX, FileBody, ItemId, Kind, LINK_TARGET_BYTES_MAX, NameKey, RemoteItem, Revision, Status, Version,
};
use std::collections::{BTreeSet, HashSet};

/// Missing chunks that a refusal names; there may be more.
pub const MISSING_NAMED_MAX: usize = 1_000;

/// What the rule needs to know of the workspace. Every answer is about this moment, earlier items of the same commit included.
pub trait View {
    /// Why the view cannot answer.
    type Error;
    /// The latest version of an item.
    fn latest(&mut self, id: ItemId) -> Result<Latest, Self::Error>;
    /// An earlier version of an item of this workspace.
    fn past(&mut self, id: ItemId, version: Version) -> Result<Option<RemoteItem>, Self::Error>;
    /// Whether an item can hold others.
    fn folder(&mut self, id: ItemId) -> Result<FolderState, Self::Error>;
    /// The live item in that folder (`None` is the top) whose name has this key.
    fn live_child(&mut self, folder: Option<ItemId>, key: &NameKey) -> Result<Option<ItemId>, Self::Error>;
    /// Whether a folder has a live item in it.
    fn has_live_child(&mut self, folder: ItemId) -> Result<bool, Self::Error>;
    /// How many levels of live folders are nested in a live folder: 0 if there is none in it. More than `limit` may be told as `limit + 1`.
    fn levels_below(&mut self, folder: ItemId, limit: usize) -> Result<usize, Self::Error>;
    /// The quota of the workspace's owner.
    fn quota(&mut self) -> Result<Quota, Self::Error>;
}

/// See [`View::latest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Latest {
    /// Nobody has such an item.
    Unknown,
    /// Another workspace has it.
    Elsewhere,
    /// This workspace has it.
    Here(RemoteItem),
}

/// See [`View::folder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderState {
    /// The workspace has no such item.
    Unknown,
    /// It is deleted.
    Deleted,
    /// It is a file or a link.
    NotFolder,
    /// A live folder.
    Live {
        /// The folder that it is in; `None` at the top.
        parent: Option<ItemId>,
    },
}

/// What a user may use and uses, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What he may use.
    pub limit: u64,
    /// What the live items of his workspaces hold.
    pub used: u64,
}

/// What a proposed place means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceRule {
    /// It is where the item is from now on, whatever the status.
    Full,
    /// As the original: a `Changed` item stays where it is.
    AsOriginal,
}

/// What is known besides the metadata.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Chunks that the storage holds.
    pub present: &'a HashSet<ChunkName>,
    /// What the places in the commit mean.
    pub place_rule: PlaceRule,
}

/// What to do with one item of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Save it.
    Save(NewVersion),
    /// This very version is there already; this is the item's latest one.
    Existing(RemoteItem),
    /// Refuse it.
    Refuse {
        /// Why.
        reason: Refusal,
        /// The item's latest version, if it is one of this workspace.
        current: Option<RemoteItem>,
    },
}

/// A version to be saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// The version as it is to be saved: the status says what really happens, and a deletion keeps what the item was.
    pub item: ItemCommit,
    /// The version that it follows.
    pub before: Option<RemoteItem>,
    /// Bytes by which the quota's use grows.
    pub growth: i64,
}

impl NewVersion {
    /// The item once this version is saved under that revision.
    pub fn saved(&self, revision: Revision) -> RemoteItem {
        let item = &self.item;
        RemoteItem {
            id: item.id,
            version: item.version,
            revision,
            deleted: item.status == Status::Deleted,
            place: item.place.clone(),
            body: item.body.clone(),
            modified: item.modified,
        }
    }
}

/// Why the rule went no further.
enum Stop<E> {
    Refused(Refusal),
    Failed(E),
}

impl<E> From<Refusal> for Stop<E> {
    fn from(reason: Refusal) -> Self {
        Self::Refused(reason)
    }
}

/// Judges one item of a commit.
///
/// # Errors
/// Only when the view cannot answer.
pub fn decide<V: View>(view: &mut V, item: &ItemCommit, facts: Facts<'_>) -> Result<Decision, V::Error> {
    let before = match view.latest(item.id)? {
        Latest::Elsewhere => return Ok(Decision::Refuse { reason: Refusal::Foreign, current: None }),
        Latest::Unknown if item.version != Version::FIRST => {
            return Ok(Decision::Refuse { reason: Refusal::UnknownItem, current: None });
        }
        Latest::Unknown => None,
        Latest::Here(latest) if planted!(VersionIgnored) => {
            let next = ItemCommit { version: latest.version.next(), ..item.clone() };
            return judged(view, &next, Some(latest), facts);
        }
        Latest::Here(latest) if item.version <= latest.version => return repeated(view, item, latest, facts.place_rule),
        Latest::Here(latest) if item.version != latest.version.next() => {
            return Ok(Decision::Refuse { reason: Refusal::WrongVersion, current: Some(latest) });
        }
        Latest::Here(latest) => Some(latest),
    };
    judged(view, item, before, facts)
}

fn judged<V: View>(view: &mut V, item: &ItemCommit, before: Option<RemoteItem>, facts: Facts<'_>) -> Result<Decision, V::Error> {
    match judge(view, item, before.as_ref(), facts) {
        Ok((item, growth)) => Ok(Decision::Save(NewVersion { item, before, growth })),
        Err(Stop::Refused(reason)) => Ok(Decision::Refuse { reason, current: before }),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// A version that the item has had already: harmless if it says the same.
fn repeated<V: View>(view: &mut V, item: &ItemCommit, latest: RemoteItem, rule: PlaceRule) -> Result<Decision, V::Error> {
    let same = if planted!(RetryForgotten) {
        false
    } else if item.version == latest.version {
        says_the_same(item, &latest, rule)
    } else {
        view.past(item.id, item.version)?.is_some_and(|past| says_the_same(item, &past, rule))
    };
    Ok(match same {
        true => Decision::Existing(latest),
        false => Decision::Refuse { reason: Refusal::WrongVersion, current: Some(latest) },
    })
}

/// Whether a proposed version leaves the item as the saved one left it. Of the status only "deleted or not" counts: what a version
/// did follows from the states around it. A deletion says nothing else.
fn says_the_same(item: &ItemCommit, saved: &RemoteItem, rule: PlaceRule) -> bool {
    if item.status == Status::Deleted || saved.deleted {
        return (item.status == Status::Deleted) == saved.deleted;
    }
    let executable = |body: &Body| matches!(body, Body::File(FileBody { executable: true, .. }));
    let keeps_place = rule == PlaceRule::AsOriginal && item.status == Status::Changed;
    (keeps_place || item.place == saved.place)
        && item.body.same_bytes(&saved.body)
        && executable(&item.body) == executable(&saved.body)
        && item.modified == saved.modified
}

/// The rule for the next version of an item: what to save, and by how much the quota's use grows.
fn judge<V: View>(
    view: &mut V,
    item: &ItemCommit,
    before: Option<&RemoteItem>,
    facts: Facts<'_>,
) -> Result<(ItemCommit, i64), Stop<V::Error>> {
    let next = next_version(item, before, facts.place_rule)?;
    let live_before = before.filter(|before| !before.deleted);
    match next.status {
        Status::Deleted => check_empty(view, &next)?,
        Status::New | Status::Changed | Status::Renamed => {
            check_body(&next.body)?;
            check_place(view, &next, live_before)?;
            check_chunks(&next.body, live_before, facts.present)?;
        }
    }
    let growth = check_quota(view, &next, live_before)?;
    Ok((next, growth))
}

/// The version as it would be saved. From here on the status is what really happens, whatever word the client chose.
fn next_version(item: &ItemCommit, before: Option<&RemoteItem>, rule: PlaceRule) -> Result<ItemCommit, Refusal> {
    let invalid = |text: &str| Err(Refusal::Invalid(text.into()));
    match (item.status, before) {
        (Status::Deleted, None) => invalid("the first version cannot be a deletion"),
        (Status::Deleted, Some(before)) if before.deleted => invalid("the item is deleted already"),
        (Status::Deleted, Some(before)) => {
            Ok(ItemCommit { place: before.place.clone(), body: before.body.clone(), modified: before.modified, ..item.clone() })
        }
        (_, None) => Ok(ItemCommit { status: Status::New, ..item.clone() }),
        (Status::New, Some(before)) if !before.deleted => invalid("only the first version is new"),
        (_, Some(before)) if before.body.kind() != item.body.kind() => Err(Refusal::KindChanged),
        (status, Some(before)) => {
            let stays = rule == PlaceRule::AsOriginal && status == Status::Changed;
            let place = if stays { &before.place } else { &item.place };
            let status = if before.deleted || *place == before.place { Status::Changed } else { Status::Renamed };
            Ok(ItemCommit { status, place: place.clone(), ..item.clone() })
        }
    }
}

fn check_empty<V: View>(view: &mut V, next: &ItemCommit) -> Result<(), Stop<V::Error>> {
    if next.body.kind() == Kind::Folder && !planted!(NotEmptyIgnored) && view.has_live_child(next.id).map_err(Stop::Failed)? {
        return Err(Refusal::NotEmpty.into());
    }
    Ok(())
}

fn check_body(body: &Body) -> Result<(), Refusal> {
    let problem = match body {
        Body::Folder => None,
        Body::Link(target) => (target.is_empty() || target.len() > LINK_TARGET_BYTES_MAX || target.contains('\0'))
            .then(|| format!("the target of a link has 1 to {LINK_TARGET_BYTES_MAX} bytes, none of them NUL")),
        Body::File(file) => file_problem(file),
    };
    problem.map_or(Ok(()), |text| Err(Refusal::Invalid(text)))
}

fn file_problem(file: &FileBody) -> Option<String> {
    if file.chunks.len() > FILE_CHUNKS_MAX {
        return Some(format!("a file has at most {FILE_CHUNKS_MAX} chunks"));
    }
    if file.chunks.iter().any(|chunk| chunk.len == 0) {
        return Some("a chunk has at least one byte".into());
    }
    let sum: u64 = file.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    (sum != file.size).then(|| format!("the size is {}, but the chunks have {sum} bytes", file.size))
}

/// Where the item shall be. What did not move needs no look: a live item's folder lives, and its name is its own.
fn check_place<V: View>(view: &mut V, next: &ItemCommit, live_before: Option<&RemoteItem>) -> Result<(), Stop<V::Error>> {
    if live_before.is_some_and(|before| before.place == next.place) {
        return Ok(());
    }
    if live_before.is_none_or(|before| before.place.parent != next.place.parent) {
        check_parent(view, next)?;
    }
    match view.live_child(next.place.parent, &next.place.name.key()).map_err(Stop::Failed)? {
        Some(by) if by != next.id && !planted!(NameCaseIgnored) => Err(Refusal::NameTaken { by }.into()),
        _ => Ok(()),
    }
}

/// The folder must live; and a folder that is put into it must not be above it, nor nest too deeply there. A look at the folders
/// above is needed for folders only.
fn check_parent<V: View>(view: &mut V, next: &ItemCommit) -> Result<(), Stop<V::Error>> {
    let is_folder = next.body.kind() == Kind::Folder;
    let mut depth = 0;
    let mut above = next.place.parent;
    while let Some(folder) = above {
        depth += 1;
        let parent = match view.folder(folder).map_err(Stop::Failed)? {
            FolderState::Unknown => return Err(Refusal::ParentUnknown.into()),
            FolderState::Deleted if planted!(ParentIgnored) => return Ok(()),
            FolderState::Deleted => return Err(Refusal::ParentDeleted.into()),
            FolderState::NotFolder => return Err(Refusal::ParentNotFolder.into()),
            FolderState::Live { .. } if folder == next.id && planted!(CycleIgnored) => return Ok(()),
            FolderState::Live { .. } if folder == next.id => return Err(Refusal::Cycle.into()),
            FolderState::Live { .. } if depth >= FOLDER_DEPTH_MAX && is_folder => return Err(Refusal::TooDeep.into()),
            FolderState::Live { parent } => parent,
        };
        above = parent.filter(|_| is_folder);
    }
    if !is_folder || next.status == Status::New {
        return Ok(());
    }
    let room = FOLDER_DEPTH_MAX - depth - 1;
    match view.levels_below(next.id, room).map_err(Stop::Failed)? {
        levels if levels > room => Err(Refusal::TooDeep.into()),
        _ => Ok(()),
    }
}

/// Bytes that the item did not hold, alive, until now must be in the storage.
fn check_chunks(body: &Body, live_before: Option<&RemoteItem>, present: &HashSet<ChunkName>) -> Result<(), Refusal> {
    if live_before.is_some_and(|before| before.body.same_bytes(body)) || planted!(ChunksIgnored) {
        return Ok(());
    }
    let lacking = body.chunks().iter().map(|chunk| chunk.name).filter(|name| !present.contains(name));
    let missing: BTreeSet<ChunkName> = lacking.take(MISSING_NAMED_MAX).collect();
    if missing.is_empty() { Ok(()) } else { Err(Refusal::ChunksMissing(missing.into_iter().collect())) }
}

/// Growth needs room; shrinking and deleting always pass, also when the limit was lowered below the use.
fn check_quota<V: View>(view: &mut V, next: &ItemCommit, live_before: Option<&RemoteItem>) -> Result<i64, Stop<V::Error>> {
    if next.status == Status::Deleted && planted!(QuotaKept) {
        return Ok(0);
    }
    let size_before = live_before.map_or(0, |before| before.body.size());
    let size = if next.status == Status::Deleted { 0 } else { next.body.size() };
    let Some(needed) = size.checked_sub(size_before).filter(|&needed| needed > 0) else {
        return Ok(0_i64.saturating_sub_unsigned(size_before - size));
    };
    let Quota { limit, used } = view.quota().map_err(Stop::Failed)?;
    if used.saturating_add(needed) > limit {
        return Err(Refusal::QuotaExceeded { limit, used, needed }.into());
    }
    Ok(0_i64.saturating_add_unsigned(needed))
}
