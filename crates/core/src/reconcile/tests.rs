//! The planner, rule by rule: one row per situation, in the order of the code. What becomes of many decisions in a row is shown by the
//! engine's worlds.

use super::*;
use crate::values::{ChunkName, ChunkRef, FileBody, FileId, Revision, Stat};
use std::collections::BTreeMap;

const X: i64 = 1;
const FOLDER: i64 = 2;
const OTHER: i64 = 3;
const RULES: i64 = 4;
const TIME: ModifiedAt = ModifiedAt(5);

fn id(number: i64) -> ItemId {
    ItemId::new(number).unwrap()
}

/// In the folder of this number; 0 is the top.
fn place(parent: i64, name: &str) -> Place {
    Place { parent: ItemId::new(parent), name: Name::new(name).unwrap() }
}

fn file(content: &str) -> Body {
    let chunk = ChunkRef { name: ChunkName::of(content.as_bytes()), len: content.len() as u32 };
    Body::File(FileBody { size: content.len() as u64, chunks: [chunk].into(), adler32: 1, executable: false })
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Three trees and what else a plan depends on, made step by step.
#[derive(Clone, Default)]
struct Situation {
    trees: Trees,
    wanted: BTreeSet<ItemId>,
    held: BTreeSet<ItemId>,
    fresh: BTreeMap<ItemId, u64>,
}

impl Situation {
    fn remote(mut self, item: i64, version: u64, place: Place, body: Body) -> Self {
        let version = Version::new(version).unwrap();
        let revision = Revision(version.get());
        let remote = RemoteItem { id: id(item), version, revision, deleted: false, place, body, modified: TIME };
        self.trees.set_remote(id(item), Some(remote));
        self
    }

    fn remote_deleted(self, item: i64, version: u64, place: Place, body: Body) -> Self {
        let mut world = self.remote(item, version, place, body);
        let remote = world.trees.get(id(item)).remote.clone().unwrap();
        world.trees.set_remote(id(item), Some(RemoteItem { deleted: true, ..remote }));
        world
    }

    fn synced(mut self, item: i64, version: u64, place: Place, body: Body) -> Self {
        let version = Version::new(version).unwrap();
        let stat = Some(stat(item, &body));
        self.trees.set_synced(id(item), Some(Synced { version, place, body, modified: TIME, stat }));
        self
    }

    fn local(mut self, item: i64, place: Place, body: Body) -> Self {
        let local = Local { place, stat: stat(item, &body), body: Some(body), ignored: false };
        self.trees.set_local(id(item), Some(local));
        self
    }

    /// The same everywhere.
    fn equal(self, item: i64, version: u64, place: Place, body: Body) -> Self {
        let world = self.remote(item, version, place.clone(), body.clone());
        world.synced(item, version, place.clone(), body.clone()).local(item, place, body)
    }

    fn change_local(mut self, item: i64, change: impl FnOnce(&mut Local)) -> Self {
        let mut local = self.trees.local(id(item)).cloned().unwrap();
        change(&mut local);
        self.trees.set_local(id(item), Some(local));
        self
    }

    fn decision(&self, item: i64) -> Decision {
        let joining = BTreeSet::new();
        let context = Context { wanted: &self.wanted, joining: &joining, held: &self.held, fresh: &self.fresh };
        reconcile(&self.trees, context, id(item))
    }

    fn step(&self, item: i64) -> Step {
        self.decision(item).step
    }

    /// Status and version of the commit that is decided.
    fn committed(&self, item: i64) -> Option<(Status, u64)> {
        match self.step(item) {
            Step::Commit(commit) => Some((commit.status, commit.version.get())),
            _ => None,
        }
    }
}

fn stat(item: i64, body: &Body) -> Stat {
    let file = FileId { inode: item as u64, born_ns: 0 };
    let modified = if body.kind() == Kind::File { TIME } else { ModifiedAt(0) };
    Stat { kind: body.kind(), file, size: body.size(), modified, changed_ns: 0, executable: false, target: None }
}

fn nothing() -> Situation {
    Situation::default()
}

#[test]
fn a_deletion_here_gives_way_to_whatever_happened_there() {
    let gone = |version, body: &str| nothing().remote(X, version, place(0, "x"), file(body)).synced(X, 1, place(0, "x"), file("a"));
    assert_eq!(gone(1, "a").committed(X), Some((Status::Deleted, 2)));
    assert_eq!(gone(2, "b").step(X), Step::Revive);
    assert_eq!(gone(2, "a").step(X), Step::Revive, "its time or mode is new");
    assert_eq!(gone(1, "b").step(X), Step::Revive, "a service that went back in time");
    let folder =
        |version| nothing().remote(X, version, place(0, "new name"), Body::Folder).synced(X, 1, place(0, "x"), Body::Folder);
    assert_eq!(folder(2).committed(X), Some((Status::Deleted, 3)), "a folder has no content that could be lost");
    let mut wanted = folder(1);
    wanted.wanted.insert(id(X));
    assert_eq!(wanted.step(X), Step::Revive);
    let with_child = folder(1).remote(OTHER, 1, place(X, "in it"), file("a"));
    assert_eq!(with_child.step(X), Step::Wait(Wait::RemoteChild(id(OTHER))));
    let both = nothing().remote_deleted(X, 2, place(0, "x"), file("a")).synced(X, 1, place(0, "x"), file("a"));
    assert_eq!(both.step(X), Step::Forget);
}

#[test]
fn a_deletion_waits_for_the_guard_and_for_a_move() {
    let mut gone = nothing().remote(X, 1, place(0, "x"), file("a")).synced(X, 1, place(0, "x"), file("a"));
    gone.held.insert(id(X));
    assert_eq!(gone.step(X), Step::Wait(Wait::Held));
    gone.fresh.insert(id(X), 9);
    assert_eq!(gone.step(X), Step::Wait(Wait::Grace));
}

#[test]
fn what_is_new_here_is_compared_with_what_the_service_has() {
    let here = nothing().local(X, place(0, "x"), file("a"));
    assert_eq!(here.committed(X), Some((Status::New, 1)));
    assert_eq!(here.clone().change_local(X, |local| local.body = None).step(X), Step::Read);
    assert_eq!(here.clone().change_local(X, |local| local.ignored = true).step(X), Step::Nothing);
    let deleted = here.clone().remote_deleted(X, 3, place(0, "x"), file("a"));
    assert_eq!(deleted.committed(X), Some((Status::Changed, 4)), "it lives on here");
    assert_eq!(here.clone().remote(X, 3, place(0, "x"), file("a")).step(X), Step::Adopt);
    assert_eq!(here.remote(X, 3, place(0, "x"), file("b")).step(X), Step::Disk(DiskStep::ConflictCopy));
}

#[test]
fn what_is_new_here_waits_for_newer_rules_that_are_on_their_way() {
    let waits = Step::Wait(Wait::Rules(id(RULES)));
    let new_at = |parent, world: Situation| world.local(X, place(parent, "x"), file("a"));
    let rules = || place(0, RULES_NAME);
    let to_come = nothing().remote(RULES, 1, rules(), file("r"));
    assert_eq!(new_at(0, to_come.clone()).step(X), waits);
    let newer = nothing().equal(RULES, 1, rules(), file("r")).remote(RULES, 2, rules(), file("s"));
    assert_eq!(new_at(0, newer.clone()).step(X), waits);
    let here = nothing().equal(RULES, 1, rules(), file("r"));
    assert_eq!(new_at(0, here).committed(X), Some((Status::New, 1)));
    // Whoever deleted or replaced the rules here does not wait for them.
    let deleted = nothing().remote(RULES, 2, rules(), file("s")).synced(RULES, 1, rules(), file("r"));
    assert_eq!(new_at(0, deleted).committed(X), Some((Status::New, 1)));
    let own = to_come.clone().local(RULES, rules(), file("own"));
    assert_eq!(new_at(0, own).committed(X), Some((Status::New, 1)));
    // Rules themselves do not wait for rules.
    let more_rules = to_come.clone().equal(FOLDER, 1, place(0, "f"), Body::Folder).local(X, place(FOLDER, RULES_NAME), file("a"));
    assert_eq!(more_rules.committed(X), Some((Status::New, 1)));
    // They hold for all that is below their folder, and nowhere else.
    let below = to_come.equal(FOLDER, 1, place(0, "f"), Body::Folder);
    assert_eq!(new_at(FOLDER, below).step(X), waits);
    let in_folder = nothing().equal(FOLDER, 1, place(0, "f"), Body::Folder).remote(RULES, 1, place(FOLDER, RULES_NAME), file("r"));
    assert_eq!(new_at(FOLDER, in_folder.clone()).step(X), waits);
    assert_eq!(new_at(0, in_folder).committed(X), Some((Status::New, 1)));
}

#[test]
fn a_passing_name_is_left_again() {
    let passing = crate::names::passing_name(id(X), &name("wanted"));
    let moved_to = |name: &Name| {
        let world = nothing().equal(X, 1, place(0, "x"), file("a"));
        world.change_local(X, |local| local.place.name = name.clone())
    };
    assert_eq!(moved_to(&passing).step(X), Step::Disk(DiskStep::Follow));
    assert_eq!(moved_to(&Name::new("y").unwrap()).committed(X), Some((Status::Renamed, 2)));
    // Somebody exchanged it for what had the passing name, in the moment in which that was given: nobody wants it to be called so.
    let of_another = crate::names::passing_name(id(OTHER), &name("wanted"));
    assert_eq!(moved_to(&of_another).step(X), Step::Disk(DiskStep::Follow));
    // Somebody else's device crashed in the middle: then it is the item's name.
    let named = nothing().equal(X, 1, Place { parent: None, name: passing.clone() }, file("a"));
    assert_eq!(named.step(X), Step::Nothing);
    let changed = named.change_local(X, |local| local.body = Some(file("b")));
    assert_eq!(changed.committed(X), Some((Status::Changed, 2)));
}

#[test]
fn what_comes_back_under_a_passing_name_gets_the_name_that_it_was_to_get() {
    let passing = Place { parent: None, name: crate::names::passing_name(id(X), &name("x")) };
    let there = nothing().remote(X, 2, passing.clone(), file("a"));
    let put = |world: &Situation| place_to_create(&world.trees, id(X), world.trees.get(id(X)).remote.as_ref().unwrap());
    assert_eq!(put(&there), place(0, "x"));
    assert_eq!(there.step(X), Step::Disk(DiskStep::Create));
    // It waits for what is about to leave that name, and leaves the name to whoever has it on the service.
    let leaving = there.clone().remote(OTHER, 2, place(0, "o"), file("o")).synced(OTHER, 1, place(0, "x"), file("o"));
    assert_eq!(leaving.local(OTHER, place(0, "x"), file("o")).step(X), Step::Wait(Wait::LocalOccupant(id(OTHER))));
    assert_eq!(put(&there.equal(OTHER, 1, place(0, "x"), file("o"))), passing);
}

#[test]
fn a_file_deleted_there_goes_unless_it_changed_here() {
    let deleted = || {
        let world = nothing().remote_deleted(X, 2, place(0, "x"), file("a"));
        world.synced(X, 1, place(0, "x"), file("a")).local(X, place(0, "x"), file("a"))
    };
    assert_eq!(deleted().step(X), Step::Disk(DiskStep::Trash));
    assert_eq!(deleted().change_local(X, |local| local.body = None).step(X), Step::Read);
    let lives_on = Some((Status::Changed, 3));
    assert_eq!(deleted().change_local(X, |local| local.body = Some(file("b"))).committed(X), lives_on);
    assert_eq!(deleted().change_local(X, |local| local.place = place(0, "y")).committed(X), lives_on);
    // An edit and a move whose acknowledgement was lost, and that somebody saw and deleted, are not news.
    let known = |at, body: &str| nothing().remote_deleted(X, 3, place(0, at), file(body)).synced(X, 1, place(0, "x"), file("a"));
    assert_eq!(known("x", "b").local(X, place(0, "x"), file("b")).step(X), Step::Disk(DiskStep::Trash));
    assert_eq!(known("y", "a").local(X, place(0, "y"), file("a")).step(X), Step::Disk(DiskStep::Trash));
    assert_eq!(known("x", "b").local(X, place(0, "x"), file("c")).committed(X), Some((Status::Changed, 4)));
}

#[test]
fn a_folder_deleted_there_goes_when_it_is_empty_here() {
    let deleted = || {
        let world = nothing().remote_deleted(FOLDER, 2, place(0, "f"), Body::Folder);
        world.synced(FOLDER, 1, place(0, "f"), Body::Folder).local(FOLDER, place(0, "f"), Body::Folder)
    };
    assert_eq!(deleted().step(FOLDER), Step::Disk(DiskStep::RemoveFolder));
    let occupied = deleted().local(X, place(FOLDER, "x"), file("a"));
    assert_eq!(occupied.step(FOLDER), Step::Wait(Wait::LocalChild(id(X))));
    let mut wanted = occupied;
    wanted.wanted.insert(id(FOLDER));
    assert_eq!(wanted.committed(FOLDER), Some((Status::Changed, 3)));
}

#[test]
fn rules_go_together_with_their_folder() {
    let rules = || place(FOLDER, RULES_NAME);
    let world = || {
        let world = nothing().remote_deleted(FOLDER, 2, place(0, "f"), Body::Folder);
        let world = world.synced(FOLDER, 1, place(0, "f"), Body::Folder).local(FOLDER, place(0, "f"), Body::Folder);
        let world = world.remote_deleted(RULES, 2, rules(), file("r"));
        world.synced(RULES, 1, rules(), file("r")).local(RULES, rules(), file("r"))
    };
    assert_eq!(world().step(FOLDER), Step::Disk(DiskStep::RemoveFolder));
    assert_eq!(world().step(RULES), Step::Wait(Wait::Mover(id(FOLDER))));
    // Not so if they were changed or moved here, if the folder stays, or if they are no rules.
    let waits = Step::Wait(Wait::LocalChild(id(RULES)));
    let changed = world().change_local(RULES, |local| local.body = Some(file("s")));
    assert_eq!(changed.step(FOLDER), waits);
    let unread = world().change_local(RULES, |local| local.body = None);
    assert_eq!(unread.step(FOLDER), waits);
    let mut wanted = world();
    wanted.wanted.insert(id(FOLDER));
    assert_eq!(wanted.step(RULES), Step::Disk(DiskStep::Trash));
    let stays = nothing().equal(FOLDER, 1, place(0, "f"), Body::Folder).remote_deleted(RULES, 2, rules(), file("r"));
    let stays = stays.synced(RULES, 1, rules(), file("r")).local(RULES, rules(), file("r"));
    assert_eq!(stays.step(RULES), Step::Disk(DiskStep::Trash));
    let alive = world().remote(RULES, 2, rules(), file("r"));
    assert_eq!(alive.step(FOLDER), waits);
}

#[test]
fn what_is_newer_there_comes_before_what_is_newer_here() {
    let there = |place: Place, body: &str| {
        let world = nothing().equal(X, 1, self::place(0, "x"), file("a"));
        world.remote(X, 2, place, file(body))
    };
    let edited = |world: Situation| world.change_local(X, |local| local.body = Some(file("mine")));
    let unread = |world: Situation| world.change_local(X, |local| local.body = None);
    assert_eq!(there(place(0, "y"), "a").step(X), Step::Disk(DiskStep::Follow));
    assert_eq!(edited(there(place(0, "y"), "b")).step(X), Step::Disk(DiskStep::Follow));
    assert_eq!(there(place(0, "x"), "b").step(X), Step::Disk(DiskStep::Replace));
    assert_eq!(edited(there(place(0, "x"), "b")).step(X), Step::Disk(DiskStep::ConflictCopy));
    assert_eq!(edited(there(place(0, "x"), "a")).step(X), Step::Rebase);
    assert_eq!(unread(there(place(0, "x"), "a")).step(X), Step::Read);
    assert_eq!(unread(there(place(0, "x"), "b")).step(X), Step::Read);
    assert_eq!(there(place(0, "x"), "a").step(X), Step::Adopt);
    assert_eq!(there(place(0, "x"), "mine").change_local(X, |local| local.body = Some(file("mine"))).step(X), Step::Adopt);
    let both_moved = there(place(0, "y"), "a").change_local(X, |local| local.place = place(0, "y"));
    assert_eq!(both_moved.step(X), Step::Adopt);
}

#[test]
fn time_and_mode_follow_whichever_side_changed_them() {
    let world = || nothing().equal(X, 1, place(0, "x"), file("a"));
    let newer = |modified| {
        let mut world = world().remote(X, 2, place(0, "x"), file("a"));
        let remote = world.trees.get(id(X)).remote.clone().unwrap();
        world.trees.set_remote(id(X), Some(RemoteItem { modified: ModifiedAt(modified), ..remote }));
        world
    };
    let touched = |world: Situation| world.change_local(X, |local| local.stat.modified = ModifiedAt(7));
    let set = |modified| Step::Disk(DiskStep::SetMeta { modified: ModifiedAt(modified), executable: false });
    assert_eq!(world().step(X), Step::Nothing);
    assert_eq!(touched(world()).committed(X), Some((Status::Changed, 2)));
    assert_eq!(newer(5).step(X), Step::Adopt);
    assert_eq!(newer(6).step(X), set(6));
    assert_eq!(touched(newer(5)).step(X), Step::Rebase, "what is newer here is told next");
    assert_eq!(touched(newer(6)).step(X), set(6), "both changed it");
}

#[test]
fn a_name_that_is_taken_here_is_freed_or_waited_for() {
    let wants = || nothing().remote(X, 1, place(0, "x"), file("a"));
    let give_way = Step::Disk(DiskStep::GiveWay);
    assert_eq!(wants().step(X), Step::Disk(DiskStep::Create));
    let newcomer = |body: &str| wants().local(OTHER, place(0, "x"), file(body)).decision(X);
    assert_eq!((newcomer("b").item, newcomer("b").step), (id(OTHER), give_way.clone()));
    assert_eq!((newcomer("a").item, newcomer("a").step), (id(OTHER), Step::Merge { into: id(X) }));
    let other_case = wants().local(OTHER, place(0, "X"), file("a")).decision(X);
    assert_eq!((other_case.item, other_case.step), (id(OTHER), give_way.clone()), "the same, but under another spelling");
    let unread = wants().local(OTHER, place(0, "x"), file("a")).change_local(OTHER, |local| local.body = None);
    assert_eq!(unread.step(X), Step::Wait(Wait::LocalOccupant(id(OTHER))));
    let leaves = wants().equal(OTHER, 1, place(0, "x"), file("c")).remote(OTHER, 2, place(0, "y"), file("c"));
    assert_eq!(leaves.step(X), Step::Wait(Wait::LocalOccupant(id(OTHER))));
    let in_folder = nothing().remote(X, 1, place(FOLDER, "x"), file("a"));
    assert_eq!(in_folder.step(X), Step::Wait(Wait::LocalFolder(id(FOLDER))));
}

#[test]
fn a_name_that_is_taken_there_is_waited_for_unless_it_is_only_spelled_otherwise() {
    let other = || nothing().remote(OTHER, 1, place(0, "X"), file("b"));
    let new = |world: Situation| world.local(X, place(0, "x"), file("a"));
    assert_eq!(new(other()).step(X), Step::Wait(Wait::RemoteOccupant(id(OTHER))));
    let here = other().synced(OTHER, 1, place(0, "X"), file("b")).local(OTHER, place(0, "X"), file("b"));
    assert_eq!(new(here.clone()).step(X), Step::Disk(DiskStep::GiveWay));
    let moves = here.change_local(OTHER, |local| local.place = place(0, "y"));
    assert_eq!(new(moves).step(X), Step::Wait(Wait::RemoteOccupant(id(OTHER))));
    let folder_to_come = nothing().local(FOLDER, place(0, "f"), Body::Folder).local(X, place(FOLDER, "x"), file("a"));
    assert_eq!(folder_to_come.step(X), Step::Wait(Wait::RemoteFolder(id(FOLDER))));
}
