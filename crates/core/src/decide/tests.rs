//! The commit rule: one row per situation, and what holds after any sequence of commits.

use super::memory::MemoryWorkspace;
use super::{Decision, Facts, MISSING_NAMED_MAX, PlaceRule, decide};
use crate::commit::{FOLDER_DEPTH_MAX, ItemCommit, Refusal, Verdict};
use crate::values::{Body, ChunkName, ChunkRef, FileBody, ItemId, ModifiedAt, Name, Place, RemoteItem, Status, Version};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;

const LIMIT: u64 = 1_000;

// The world of the table: folders F/ (with f and G/ in it) and H/, file a and link l at the top, file d and folder D/ deleted.
const F: i64 = 1;
const G: i64 = 2;
const H: i64 = 3;
const IN_F: i64 = 4;
const A: i64 = 5;
const L: i64 = 6;
const GONE_FILE: i64 = 7;
const GONE_FOLDER: i64 = 8;
const THEIRS: i64 = 9;
const FRESH: i64 = 10;

fn id(number: i64) -> ItemId {
    ItemId::new(number).unwrap()
}

fn place(parent: i64, name: &str) -> Place {
    Place { parent: ItemId::new(parent), name: Name::new(name).unwrap() }
}

fn chunk(content: &str) -> ChunkRef {
    ChunkRef { name: ChunkName::of(content.as_bytes()), len: content.len() as u32 }
}

fn file(contents: &[&str]) -> Body {
    let chunks: Vec<_> = contents.iter().map(|content| chunk(content)).collect();
    let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    Body::File(FileBody { size, chunks: chunks.into(), adler32: 1, executable: false })
}

fn of_size(len: u32) -> Body {
    let chunk = ChunkRef { name: ChunkName::of(b"big"), len };
    Body::File(FileBody { size: u64::from(len), chunks: [chunk].into(), adler32: 1, executable: false })
}

fn link() -> Body {
    Body::Link("target".into())
}

fn commit(item: i64, version: u64, status: Status, place: Place, body: Body) -> ItemCommit {
    let version = Version::new(version).unwrap();
    ItemCommit { id: id(item), version, status, place, body, modified: ModifiedAt(1) }
}

fn present() -> HashSet<ChunkName> {
    ["1", "2", "a", "in f", "gone", "big"].iter().map(|content| ChunkName::of(content.as_bytes())).collect()
}

fn world() -> MemoryWorkspace {
    use Status::{Deleted, New};
    let mut world = MemoryWorkspace::new(LIMIT);
    world.foreign.insert(id(THEIRS));
    let items = [
        commit(F, 1, New, place(0, "F"), Body::Folder),
        commit(G, 1, New, place(F, "G"), Body::Folder),
        commit(H, 1, New, place(0, "H"), Body::Folder),
        commit(IN_F, 1, New, place(F, "f"), file(&["in f"])),
        commit(A, 1, New, place(0, "a"), file(&["a"])),
        commit(L, 1, New, place(0, "l"), link()),
        commit(GONE_FILE, 1, New, place(0, "d"), file(&["gone"])),
        commit(GONE_FILE, 2, Deleted, place(0, "d"), file(&["gone"])),
        commit(GONE_FOLDER, 1, New, place(0, "D"), Body::Folder),
        commit(GONE_FOLDER, 2, Deleted, place(0, "D"), Body::Folder),
    ];
    let answer = world.commit(&items, Facts { present: &present(), place_rule: PlaceRule::Full });
    assert!(answer.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))), "{answer:?}");
    world
}

/// What a row of the table expects.
enum Expected {
    /// Saved with this status and growth.
    Saved(Status, i64),
    Existing,
    Refused(Refusal),
}

fn check(rows: Vec<(&str, ItemCommit, Expected)>, place_rule: PlaceRule) {
    let present = present();
    for (situation, item, expected) in rows {
        let mut world = world();
        let before = world.heads().find(|head| head.id == item.id).cloned();
        let Ok(decision): Result<Decision, Infallible> = decide(&mut world, &item, Facts { present: &present, place_rule });
        match (decision, expected) {
            (Decision::Save(new), Expected::Saved(status, growth)) => {
                assert_eq!((new.item.status, new.growth, new.before), (status, growth, before), "{situation}");
            }
            (Decision::Existing(latest), Expected::Existing) => assert_eq!(Some(latest), before, "{situation}"),
            (Decision::Refuse { reason, current }, Expected::Refused(expected)) => {
                assert_eq!((reason, current), (expected, before), "{situation}");
            }
            (decision, _) => panic!("{situation}: {decision:?}"),
        }
    }
}

#[test]
fn versions() {
    use Expected::{Existing, Refused, Saved};
    use Status::{Changed, Deleted, New, Renamed};
    let a = || (place(0, "a"), file(&["a"]));
    let invalid = |text: &str| Refused(Refusal::Invalid(text.into()));
    let v = |item, version, status, (place, body): (Place, Body)| commit(item, version, status, place, body);
    let executable = |body: Body| match body {
        Body::File(file) => Body::File(FileBody { executable: true, ..file }),
        other => other,
    };
    let later = |mut item: ItemCommit| {
        item.modified = ModifiedAt(2);
        item
    };
    check(
        vec![
            ("a new item", v(FRESH, 1, New, (place(0, "x"), file(&["1"]))), Saved(New, 1)),
            ("a new item, whatever the word", v(FRESH, 1, Renamed, (place(0, "x"), Body::Folder)), Saved(New, 0)),
            ("a new item that is deleted", v(FRESH, 1, Deleted, a()), invalid("the first version cannot be a deletion")),
            ("an unknown item's second version", v(FRESH, 2, Changed, a()), Refused(Refusal::UnknownItem)),
            ("another workspace's item, new", v(THEIRS, 1, New, (place(0, "x"), Body::Folder)), Refused(Refusal::Foreign)),
            ("another workspace's item, changed", v(THEIRS, 2, Changed, a()), Refused(Refusal::Foreign)),
            ("the next version", v(A, 2, Changed, (place(0, "a"), file(&["1", "2"]))), Saved(Changed, 1)),
            ("a version too far", v(A, 3, Changed, a()), Refused(Refusal::WrongVersion)),
            ("the largest version", v(A, i64::MAX as u64, Changed, a()), Refused(Refusal::WrongVersion)),
            ("the same version, the same", v(A, 1, New, a()), Existing),
            ("the same version, another word", v(A, 1, Changed, a()), Existing),
            ("the same version, other bytes", v(A, 1, New, (place(0, "a"), file(&["1"]))), Refused(Refusal::WrongVersion)),
            ("the same version, other name", v(A, 1, New, (place(0, "A"), file(&["a"]))), Refused(Refusal::WrongVersion)),
            ("the same version, other folder", v(A, 1, New, (place(H, "a"), file(&["a"]))), Refused(Refusal::WrongVersion)),
            ("the same version, other kind", v(A, 1, New, (place(0, "a"), link())), Refused(Refusal::WrongVersion)),
            ("the same version, executable", v(A, 1, New, (place(0, "a"), executable(a().1))), Refused(Refusal::WrongVersion)),
            ("the same version, other time", later(v(A, 1, New, a())), Refused(Refusal::WrongVersion)),
            ("the same version, deleted", v(A, 1, Deleted, a()), Refused(Refusal::WrongVersion)),
            ("an earlier version, the same", v(GONE_FILE, 1, New, (place(0, "d"), file(&["gone"]))), Existing),
            ("an earlier version, other", v(GONE_FILE, 1, New, (place(0, "d"), file(&["1"]))), Refused(Refusal::WrongVersion)),
            ("the same deletion", later(v(GONE_FILE, 2, Deleted, (place(F, "x"), file(&[])))), Existing),
            ("a deletion repeated as a change", v(GONE_FILE, 2, Changed, a()), Refused(Refusal::WrongVersion)),
            ("new again", v(A, 2, New, a()), invalid("only the first version is new")),
            ("a rename", v(A, 2, Renamed, (place(0, "b"), file(&["a"]))), Saved(Renamed, 0)),
            ("a rename by another word", v(A, 2, Changed, (place(0, "b"), file(&["a"]))), Saved(Renamed, 0)),
            ("a rename to the same name", v(A, 2, Renamed, a()), Saved(Changed, 0)),
            ("a file that becomes a folder", v(A, 2, Changed, (place(0, "a"), Body::Folder)), Refused(Refusal::KindChanged)),
            ("a link that becomes a file", v(L, 2, Changed, (place(0, "l"), file(&["1"]))), Refused(Refusal::KindChanged)),
        ],
        PlaceRule::Full,
    );
}

#[test]
fn places() {
    use Expected::{Refused, Saved};
    use Status::{Changed, New, Renamed};
    let new = |parent, name: &str, body| commit(FRESH, 1, New, place(parent, name), body);
    let taken = |by| Refused(Refusal::NameTaken { by: id(by) });
    let f = |parent, name: &str| commit(F, 2, Renamed, place(parent, name), Body::Folder);
    check(
        vec![
            ("into a folder", new(F, "x", Body::Folder), Saved(New, 0)),
            ("into nothing", new(77, "x", link()), Refused(Refusal::ParentUnknown)),
            ("into itself, new", new(FRESH, "x", Body::Folder), Refused(Refusal::ParentUnknown)),
            ("into another workspace's folder", new(THEIRS, "x", link()), Refused(Refusal::ParentUnknown)),
            ("into a deleted folder", new(GONE_FOLDER, "x", link()), Refused(Refusal::ParentDeleted)),
            ("into a file", new(A, "x", link()), Refused(Refusal::ParentNotFolder)),
            ("into a deleted file", new(GONE_FILE, "x", link()), Refused(Refusal::ParentNotFolder)),
            ("into a link", new(L, "x", Body::Folder), Refused(Refusal::ParentNotFolder)),
            ("a taken name", new(0, "a", link()), taken(A)),
            ("a name taken but for its case", new(0, "A", link()), taken(A)),
            ("a name of another folder", new(H, "a", link()), Saved(New, 0)),
            ("the name of a deleted item", new(0, "d", link()), Saved(New, 0)),
            ("its own name in another case", commit(A, 2, Renamed, place(0, "A"), file(&["a"])), Saved(Renamed, 0)),
            ("onto a sibling's name", commit(A, 2, Renamed, place(0, "H"), file(&["a"])), taken(H)),
            ("a move onto a taken name", commit(A, 2, Renamed, place(F, "g"), file(&["a"])), taken(G)),
            (
                "a file into a deleted folder",
                commit(A, 2, Renamed, place(GONE_FOLDER, "a"), file(&["a"])),
                Refused(Refusal::ParentDeleted),
            ),
            ("a file into itself", commit(A, 2, Renamed, place(A, "a"), file(&["a"])), Refused(Refusal::ParentNotFolder)),
            ("a folder into another", f(H, "F"), Saved(Renamed, 0)),
            ("a folder into itself", f(F, "F"), Refused(Refusal::Cycle)),
            ("a folder into its own child", f(G, "F"), Refused(Refusal::Cycle)),
            ("a folder changed in place", commit(F, 2, Changed, place(0, "F"), Body::Folder), Saved(Changed, 0)),
        ],
        PlaceRule::Full,
    );
}

#[test]
fn deletions_and_returns() {
    use Expected::{Refused, Saved};
    use Status::{Changed, Deleted, New, Renamed};
    let gone = |status, place| commit(GONE_FILE, 3, status, place, file(&["gone"]));
    let mut lost = gone(Changed, place(0, "d"));
    lost.body = file(&["nobody has this"]);
    let missing = Refusal::ChunksMissing(vec![chunk("nobody has this").name]);
    check(
        vec![
            ("a file", commit(A, 2, Deleted, place(0, "a"), file(&["a"])), Saved(Deleted, -1)),
            ("a file, told badly", commit(A, 2, Deleted, place(77, "nonsense"), Body::Folder), Saved(Deleted, -1)),
            ("an empty folder", commit(H, 2, Deleted, place(0, "H"), Body::Folder), Saved(Deleted, 0)),
            ("a folder with something in it", commit(F, 2, Deleted, place(0, "F"), Body::Folder), Refused(Refusal::NotEmpty)),
            ("a deleted file", gone(Deleted, place(0, "d")), Refused(Refusal::Invalid("the item is deleted already".into()))),
            ("a return", gone(Changed, place(0, "d")), Saved(Changed, 4)),
            ("a return as new", gone(New, place(0, "d")), Saved(Changed, 4)),
            ("a return elsewhere", gone(Renamed, place(F, "d")), Saved(Changed, 4)),
            ("a return onto a taken name", gone(Changed, place(0, "a")), Refused(Refusal::NameTaken { by: id(A) })),
            ("a return into a deleted folder", gone(Changed, place(GONE_FOLDER, "d")), Refused(Refusal::ParentDeleted)),
            ("a return without its bytes", lost, Refused(missing)),
            ("a return as another kind", commit(GONE_FILE, 3, Changed, place(0, "d"), link()), Refused(Refusal::KindChanged)),
            ("a folder's return", commit(GONE_FOLDER, 3, Changed, place(F, "D"), Body::Folder), Saved(Changed, 0)),
            (
                "a folder's return into itself",
                commit(GONE_FOLDER, 3, Changed, place(GONE_FOLDER, "D"), Body::Folder),
                Refused(Refusal::ParentDeleted),
            ),
        ],
        PlaceRule::Full,
    );
}

#[test]
fn bodies_and_quota() {
    use Expected::{Refused, Saved};
    use Status::{Changed, New, Renamed};
    let new = |body| commit(FRESH, 1, New, place(0, "x"), body);
    let mut wrong_sum = file(&["1", "2"]);
    let mut empty_chunk = file(&["1"]);
    if let (Body::File(wrong), Body::File(empty)) = (&mut wrong_sum, &mut empty_chunk) {
        wrong.size = 3;
        empty.size = 0;
        empty.chunks = [ChunkRef { len: 0, ..chunk("1") }].into();
    }
    let absent = |content: &str| chunk(content).name;
    let mut both = vec![absent("x"), absent("y")];
    both.sort_unstable();
    let used = 5;
    let over = |needed| Refused(Refusal::QuotaExceeded { limit: LIMIT, used, needed });
    let link_text = "the target of a link has 1 to 4095 bytes, none of them NUL";
    let bad_link = |text: &str| (new(Body::Link(text.into())), Refused(Refusal::Invalid(link_text.into())));
    let (empty_link, empty_refused) = bad_link("");
    let (long_link, long_refused) = bad_link(&"x".repeat(4_096));
    let (nul_link, nul_refused) = bad_link("a\0b");
    check(
        vec![
            ("an empty file", new(file(&[])), Saved(New, 0)),
            ("missing chunks", new(file(&["x", "1", "y", "x"])), Refused(Refusal::ChunksMissing(both))),
            ("a rename needs no look at the chunks", commit(A, 2, Renamed, place(0, "b"), file(&["a"])), Saved(Renamed, 0)),
            (
                "a change does",
                commit(A, 2, Changed, place(0, "a"), file(&["a", "x"])),
                Refused(Refusal::ChunksMissing(vec![absent("x")])),
            ),
            ("a wrong sum", new(wrong_sum), Refused(Refusal::Invalid("the size is 3, but the chunks have 2 bytes".into()))),
            ("an empty chunk", new(empty_chunk), Refused(Refusal::Invalid("a chunk has at least one byte".into()))),
            ("an empty link", empty_link, empty_refused),
            ("a long link", long_link, long_refused),
            ("a link with NUL", nul_link, nul_refused),
            ("all that is left", new(of_size(995)), Saved(New, 995)),
            ("one byte more", new(of_size(996)), over(996)),
            ("growth beyond the limit", commit(A, 2, Changed, place(0, "a"), of_size(997)), over(996)),
            ("growth to the limit", commit(A, 2, Changed, place(0, "a"), of_size(996)), Saved(Changed, 995)),
            ("a return beyond the limit", commit(GONE_FILE, 3, Changed, place(0, "d"), of_size(996)), over(996)),
        ],
        PlaceRule::Full,
    );
}

#[test]
fn an_original_clients_change_stays_where_it_is() {
    use Expected::{Existing, Saved};
    use Status::{Changed, Renamed};
    check(
        vec![
            ("a change that names another place", commit(A, 2, Changed, place(77, "x"), file(&["1"])), Saved(Changed, 0)),
            ("a rename", commit(A, 2, Renamed, place(0, "x"), file(&["a"])), Saved(Renamed, 0)),
            ("a repeated change", commit(A, 1, Changed, place(77, "x"), file(&["a"])), Existing),
        ],
        PlaceRule::AsOriginal,
    );
}

#[test]
fn over_the_limit_one_can_only_shrink() {
    let mut world = world();
    world.quota.limit = 1;
    let present = present();
    let facts = Facts { present: &present, place_rule: PlaceRule::Full };
    let items = [
        commit(A, 2, Status::Changed, place(0, "a"), file(&["1"])),
        commit(IN_F, 2, Status::Changed, place(F, "f"), file(&["2"])),
        commit(IN_F, 3, Status::Deleted, place(F, "f"), file(&["2"])),
        commit(FRESH, 1, Status::New, place(0, "x"), file(&["1"])),
        commit(FRESH, 1, Status::New, place(0, "x"), Body::Folder),
    ];
    let answer = world.commit(&items, facts);
    let accepted: Vec<_> = answer.verdicts.iter().map(|verdict| matches!(verdict, Verdict::Accepted(_))).collect();
    assert_eq!((accepted, world.quota.used), (vec![true, true, true, false, true], 1));
}

#[test]
fn a_refusal_names_a_bounded_number_of_missing_chunks() {
    let names: Vec<String> = (0..MISSING_NAMED_MAX + 10).map(|n| format!("missing {n}")).collect();
    let body = file(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut world = MemoryWorkspace::new(u64::MAX);
    let facts = Facts { present: &HashSet::new(), place_rule: PlaceRule::Full };
    let answer = world.commit(&[commit(FRESH, 1, Status::New, place(0, "x"), body)], facts);
    let [Verdict::Refused { reason: Refusal::ChunksMissing(named), .. }] = &answer.verdicts[..] else { panic!("{answer:?}") };
    assert_eq!(named.len(), MISSING_NAMED_MAX);
}

#[test]
fn folders_nest_so_deep_and_no_deeper() {
    let facts = Facts { present: &present(), place_rule: PlaceRule::Full };
    let depth = FOLDER_DEPTH_MAX as i64;
    let mut world = MemoryWorkspace::new(LIMIT);
    let chain: Vec<_> = (1..=depth).map(|n| commit(n, 1, Status::New, place(n - 1, "f"), Body::Folder)).collect();
    assert_eq!(world.commit(&chain, facts).to.0, FOLDER_DEPTH_MAX as u64);
    let pair = |first: i64| {
        [
            commit(first, 1, Status::New, place(0, &first.to_string()), Body::Folder),
            commit(first + 1, 1, Status::New, place(first, "g"), Body::Folder),
        ]
    };
    world.commit(&pair(5_001), facts);
    let moved = |parent| commit(5_001, 2, Status::Renamed, place(parent, "moved"), Body::Folder);
    let too_deep = [commit(9_000, 1, Status::New, place(depth, "g"), Body::Folder), moved(depth - 1)];
    for verdict in world.commit(&too_deep, facts).verdicts {
        assert!(matches!(verdict, Verdict::Refused { reason: Refusal::TooDeep, .. }), "{verdict:?}");
    }
    let fits = [commit(9_000, 1, Status::New, place(depth, "file"), file(&["1"])), moved(depth - 2)];
    for verdict in world.commit(&fits, facts).verdicts {
        assert!(matches!(verdict, Verdict::Accepted(_)), "{verdict:?}");
    }
}

/// One random proposal: mostly plausible, often wrong.
#[derive(Clone, Debug)]
struct Proposal {
    item: i64,
    /// Added to the version that would be right.
    version_off: i64,
    status: Status,
    parent: i64,
    name: &'static str,
    kind: u8,
    size: u32,
    modified: i64,
}

fn proposal() -> impl Strategy<Value = Proposal> {
    let version_off = prop_oneof![12 => Just(0_i64), 2 => Just(-1), 1 => Just(-2), 1 => Just(1)];
    let status =
        prop_oneof![1 => Just(Status::New), 2 => Just(Status::Changed), 2 => Just(Status::Renamed), 2 => Just(Status::Deleted)];
    let name = prop::sample::select(vec!["a", "A", "b", "c", "\u{e9}", "E\u{301}"]);
    let size = prop::sample::select(vec![0_u32, 1, 300, 600, 900]);
    (1..9_i64, version_off, status, 0..9_i64, name, 0..16_u8, size, 0..2_i64).prop_map(
        |(item, version_off, status, parent, name, kind, size, modified)| Proposal {
            item,
            version_off,
            status,
            parent,
            name,
            kind,
            size,
            modified,
        },
    )
}

impl Proposal {
    fn item(&self, world: &MemoryWorkspace) -> ItemCommit {
        let head = world.heads().find(|head| head.id == id(self.item));
        let right = head.map_or(0, |head| head.version.get() as i64) + 1;
        // The kind follows from the id, with exceptions; so most changes keep it.
        let kind = if self.kind == 0 { self.item + 1 } else { self.item };
        let body = match kind % 4 {
            0 if self.size == 0 => link(),
            0 => of_size(self.size),
            1 if self.size > 0 => of_size(self.size),
            1 => file(&[]),
            _ => Body::Folder,
        };
        let version = Version::new((right + self.version_off).max(1) as u64).unwrap();
        let place = place(self.parent, self.name);
        ItemCommit { id: id(self.item), version, status: self.status, place, body, modified: ModifiedAt(self.modified) }
    }
}

fn assert_sound(world: &MemoryWorkspace) {
    let live: BTreeMap<ItemId, &RemoteItem> = world.heads().filter(|item| !item.deleted).map(|item| (item.id, item)).collect();
    let mut names = HashMap::new();
    for item in live.values() {
        let twin = names.insert((item.place.parent, item.place.name.key()), item.id);
        assert_eq!(twin, None, "two live items of one name");
        let mut above = item.place.parent;
        let mut steps = 0;
        while let Some(folder) = above {
            let folder = live.get(&folder).unwrap_or_else(|| panic!("{} has no live folder", item.id));
            assert_eq!(folder.body, Body::Folder, "a parent that is no folder");
            above = folder.place.parent;
            steps += 1;
            assert!(steps <= live.len(), "a cycle");
        }
    }
    for versions in world.items.values() {
        assert!(versions.iter().zip(1..).all(|(item, number)| item.version.get() == number), "a gap in the versions");
        assert!(versions.windows(2).all(|pair| pair[0].body.kind() == pair[1].body.kind()), "a kind that changed");
    }
    let mut revisions: Vec<u64> = world.items.values().flatten().map(|item| item.revision.0).collect();
    revisions.sort_unstable();
    assert!(revisions.iter().copied().eq(1..=world.revision().0), "revisions with gaps");
    let used: u64 = live.values().map(|item| item.body.size()).sum();
    assert_eq!(world.quota.used, used, "the quota is not the sum of the live sizes");
    assert!(used <= world.quota.limit);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_commits_leave_a_sound_workspace(proposals in prop::collection::vec(proposal(), 1..120), original in any::<bool>()) {
        let present = present();
        let place_rule = if original { PlaceRule::AsOriginal } else { PlaceRule::Full };
        let facts = Facts { present: &present, place_rule };
        let mut world = MemoryWorkspace::new(LIMIT);
        for proposal in &proposals {
            let item = proposal.item(&world);
            let before = world.clone();
            let answer = world.commit(std::slice::from_ref(&item), facts);
            assert_sound(&world);
            match &answer.verdicts[..] {
                [Verdict::Accepted(saved)] => {
                    prop_assert_eq!(saved.revision, world.revision());
                    // The same again is known, and changes nothing.
                    let again = world.commit(std::slice::from_ref(&item), facts);
                    prop_assert_eq!(&again.verdicts[..], &[Verdict::Existing(saved.clone())]);
                    prop_assert_eq!(again.from, again.to);
                }
                _ => {
                    prop_assert_eq!(&before.items, &world.items);
                    prop_assert_eq!(before.quota, world.quota);
                }
            }
        }
    }
}

#[test]
fn the_random_proposals_reach_every_end() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let present = present();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..200 {
        let proposals = prop::collection::vec(proposal(), 60).new_tree(&mut runner).unwrap().current();
        let mut world = MemoryWorkspace::new(LIMIT);
        for proposal in proposals {
            let item = proposal.item(&world);
            let answer = world.commit(&[item], Facts { present: &present, place_rule: PlaceRule::Full });
            let end = match &answer.verdicts[0] {
                Verdict::Accepted(item) if item.deleted => "deleted".into(),
                Verdict::Accepted(_) => "saved".into(),
                Verdict::Existing(_) => "existing".into(),
                Verdict::Refused { reason, .. } => format!("{reason:?}").split(['(', ' ']).next().unwrap().to_owned(),
            };
            *seen.entry(end).or_default() += 1;
        }
    }
    let ends = "saved deleted existing Cycle Invalid KindChanged NameTaken NotEmpty ParentDeleted ParentNotFolder ParentUnknown \
                QuotaExceeded UnknownItem WrongVersion";
    for end in ends.split_whitespace() {
        assert!(seen.get(end).is_some_and(|count| *count >= 10), "{end} is too rare: {seen:?}");
    }
}

#[test]
fn a_deletion_keeps_what_the_item_was() {
    let mut world = world();
    let before = world.heads().find(|head| head.id == id(A)).cloned().unwrap();
    let elsewhere = ItemCommit { modified: ModifiedAt(9), ..commit(A, 2, Status::Deleted, place(F, "elsewhere"), file(&["2"])) };
    let present = present();
    let Ok(decision): Result<Decision, Infallible> =
        decide(&mut world, &elsewhere, Facts { present: &present, place_rule: PlaceRule::Full });
    let Decision::Save(new) = decision else { panic!("{decision:?}") };
    assert_eq!((new.item.place, new.item.body, new.item.modified), (before.place, before.body, before.modified));
}

#[test]
fn a_retry_may_leave_the_place_out_only_as_the_original_did() {
    let present = present();
    let again = |place_rule, status| {
        let mut world = world();
        let facts = Facts { present: &present, place_rule };
        let Ok(decision): Result<Decision, Infallible> =
            decide(&mut world, &commit(A, 1, status, place(H, "elsewhere"), file(&["a"])), facts);
        matches!(decision, Decision::Existing(_))
    };
    assert!(again(PlaceRule::AsOriginal, Status::Changed));
    assert!(!again(PlaceRule::AsOriginal, Status::Renamed));
    assert!(!again(PlaceRule::Full, Status::Changed));
}
