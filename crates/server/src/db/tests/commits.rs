//! Commits: saving, refusing, repeating, paging.

use super::home::Kind;
use super::world::{MIB, World, add_device, add_user, bytes, error, id, new_item, next, no_chunks, place, sized};
use crate::db::{Commit, DbError, PlaceRule};
use stacksync_core::commit::{FOLDER_DEPTH_MAX, Refusal, Verdict};
use stacksync_core::values::{Body, ItemId, ModifiedAt, Revision, Status, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

pub async fn a_commit_is_saved_whole_and_read_back(kind: Kind) {
    let world = World::new(kind).await;
    let link = Body::Link("../elsewhere".into());
    let items = vec![
        new_item(1, None, "Docs", Body::Folder),
        new_item(2, Some(id(1)), "a.txt", sized(4_096)),
        new_item(3, Some(id(1)), "link", link),
        new_item(4, None, "empty", bytes("")),
    ];
    let outcome = world.commit(items.clone()).await;
    assert_eq!((outcome.answer.from, outcome.answer.to), (Revision(0), Revision(4)));
    assert_eq!((outcome.quota_used, outcome.quota_limit), (4_096, 1_000 * MIB));
    let page = world.db.changes(world.workspace, Revision::ZERO, 100).await.unwrap();
    assert_eq!((page.to, page.head, page.epoch), (Revision(4), Revision(4), world.db.epoch()));
    for ((changed, verdict), sent) in page.items.iter().zip(&outcome.answer.verdicts).zip(&items) {
        assert_eq!(*verdict, Verdict::Accepted(changed.item.clone()));
        assert_eq!((changed.status, changed.device), (Status::New, world.device.id));
        assert_eq!((&changed.item.body, &changed.item.place, changed.item.modified), (&sent.body, &sent.place, sent.modified));
    }
}

pub async fn every_refusal_of_the_rule_reaches_the_caller_and_changes_nothing(kind: Kind) {
    let world = World::new(kind).await;
    let folder = world.saved(new_item(1, None, "Docs", Body::Folder)).await;
    let file = world.saved(new_item(2, Some(folder.id), "a", bytes("a"))).await;
    let gone = world.saved(new_item(3, None, "gone", Body::Folder)).await;
    let gone = world.saved(next(&gone, Status::Deleted)).await;
    let inner = world.saved(new_item(4, Some(folder.id), "inner", Body::Folder)).await;
    let other = add_user(&world.db, "bob", MIB).await;
    let elsewhere = world.db.workspaces_of(other.id).await.unwrap()[0].id;
    let theirs =
        Commit { workspace: elsewhere, user: other.id, ..world.commit_of(vec![new_item(9, None, "theirs", Body::Folder)]) };
    world.db.commit(theirs).await.unwrap();
    let before = (world.items().await, world.quota_used().await);

    let mut inside_itself = next(&folder, Status::Renamed);
    inside_itself.place = place(Some(inner.id), "Docs");
    let mut kind = next(&file, Status::Changed);
    kind.body = Body::Folder;
    let mut huge = next(&file, Status::Changed);
    huge.body = sized(2_000 * MIB as u32);
    let mut version = next(&file, Status::Changed);
    version.version = Version::new(7).unwrap();
    let mut unknown = new_item(50, None, "x", Body::Folder);
    unknown.version = Version::new(2).unwrap();
    let refused = [
        (version, Refusal::WrongVersion),
        (unknown, Refusal::UnknownItem),
        (new_item(9, None, "mine", Body::Folder), Refusal::Foreign),
        (kind, Refusal::KindChanged),
        (new_item(51, Some(id(77)), "x", Body::Folder), Refusal::ParentUnknown),
        (new_item(51, Some(id(9)), "x", Body::Folder), Refusal::ParentUnknown),
        (new_item(51, Some(gone.id), "x", Body::Folder), Refusal::ParentDeleted),
        (new_item(51, Some(file.id), "x", Body::Folder), Refusal::ParentNotFolder),
        (inside_itself, Refusal::Cycle),
        (new_item(51, Some(folder.id), "A", Body::Folder), Refusal::NameTaken { by: file.id }),
        (next(&folder, Status::Deleted), Refusal::NotEmpty),
        (huge, Refusal::QuotaExceeded { limit: 1_000 * MIB, used: 1, needed: 2_000 * MIB - 1 }),
        (next(&gone, Status::Deleted), Refusal::Invalid("the item is deleted already".into())),
    ];
    for (item, reason) in refused {
        assert_eq!(world.refused(item).await, reason);
    }
    let missing = Commit { present: no_chunks(), ..world.commit_of(vec![new_item(51, None, "x", bytes("x"))]) };
    let outcome = world.db.commit(missing).await.unwrap();
    assert!(
        matches!(&outcome.answer.verdicts[..], [Verdict::Refused { reason: Refusal::ChunksMissing(names), .. }] if names.len() == 1)
    );
    assert_eq!((world.items().await, world.quota_used().await), before);
}

pub async fn folders_nest_to_the_limit_and_no_deeper_by_any_way(kind: Kind) {
    let world = World::new(kind).await;
    let chain = |first: i64, len: i64| -> Vec<_> {
        (first..first + len).map(|n| new_item(n, (n > first).then(|| id(n - 1)), &format!("f{n}"), Body::Folder)).collect()
    };
    let depth = FOLDER_DEPTH_MAX as i64;
    let outcome = world.commit(chain(1, depth)).await;
    assert_eq!(outcome.answer.to, Revision(depth as u64));
    assert_eq!(world.refused(new_item(depth + 1, Some(id(depth)), "x", Body::Folder)).await, Refusal::TooDeep);
    world.saved(new_item(depth + 2, Some(id(depth)), "file", bytes("x"))).await;
    world.commit(chain(5_001, 3)).await;
    let item = |outcome: &crate::db::CommitOutcome, n: usize| match &outcome.answer.verdicts[n] {
        Verdict::Accepted(item) => item.clone(),
        other => panic!("{other:?}"),
    };
    let other = world.commit(chain(6_001, 3)).await;
    let mut moved = next(&item(&other, 0), Status::Renamed);
    moved.place.parent = Some(id(depth - 2));
    assert_eq!(world.refused(moved.clone()).await, Refusal::TooDeep);
    moved.place.parent = Some(id(depth - 3));
    world.saved(moved).await;
}

pub async fn a_repeated_request_gets_the_first_answer_whatever_happened_since(kind: Kind) {
    let world = World::new(kind).await;
    let file = world.saved(new_item(1, None, "a", bytes("1"))).await;
    let mut wrong = next(&file, Status::Changed);
    wrong.version = Version::new(9).unwrap();
    let mut renamed = next(&file, Status::Changed);
    renamed.place = place(None, "ignored");
    renamed.body = bytes("22");
    let items = vec![
        new_item(2, None, "b", sized(100)),
        new_item(1, None, "a", bytes("1")),
        wrong,
        renamed,
        new_item(3, Some(id(99)), "c", Body::Folder),
        new_item(4, None, "a", Body::Folder),
        new_item(5, None, "big", sized(u32::MAX)),
        new_item(6, None, "link", Body::Link("t".into())),
    ];
    let mut commit = world.commit_of(items);
    commit.place_rule = PlaceRule::AsOriginal;
    let mut lacking = new_item(7, None, "lacking", bytes("lacking"));
    commit.items.push(lacking.clone());
    lacking.id = id(8);
    lacking.status = Status::Deleted;
    commit.items.push(lacking);
    let first = world.db.commit(commit.clone()).await.unwrap();
    assert!(!first.replay);
    let now = match &first.answer.verdicts[3] {
        Verdict::Accepted(item) => item.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(now.place.name.as_str(), "a", "an original client's change moves nothing");
    world.saved(next(&now, Status::Deleted)).await;
    let before = (world.items().await, world.quota_used().await);
    let again = world.db.commit(commit.clone()).await.unwrap();
    assert!(again.replay);
    assert_eq!(again.answer, first.answer);
    assert_eq!(again.made, first.made);
    assert_eq!((again.quota_used, again.quota_limit), (first.quota_used, first.quota_limit));
    assert_eq!((world.items().await, world.quota_used().await), before);

    commit.items[0].modified = ModifiedAt(5);
    assert_eq!(error(world.db.commit(commit).await), DbError::RequestReused);
}

pub async fn the_same_request_id_of_another_device_is_another_request(kind: Kind) {
    let world = World::new(kind).await;
    let tablet = add_device(&world.db, &world.user, 2).await;
    let first = world.commit_of(vec![new_item(1, None, "a", Body::Folder)]);
    let second = Commit { device: tablet.id, items: vec![new_item(2, None, "b", Body::Folder)], ..first.clone() };
    assert!(!world.db.commit(first).await.unwrap().replay);
    assert!(!world.db.commit(second).await.unwrap().replay);
    assert_eq!(world.items().await.len(), 2);
}

pub async fn a_version_that_is_there_already_is_known_by_its_content_without_the_request_id(kind: Kind) {
    let world = World::new(kind).await;
    let v1 = world.saved(new_item(1, None, "a", bytes("1"))).await;
    let mut second = next(&v1, Status::Renamed);
    second.place = place(None, "b");
    let v2 = world.saved(second.clone()).await;
    for item in [new_item(1, None, "a", bytes("1")), second.clone()] {
        let outcome = world.commit(vec![item]).await;
        assert_eq!(outcome.answer.verdicts, [Verdict::Existing(v2.clone())]);
        assert_eq!(outcome.answer.from, outcome.answer.to);
        assert_eq!(outcome.made[0].unwrap().status, Status::Renamed);
    }
    second.place = place(None, "c");
    let outcome = world.commit(vec![second]).await;
    assert_eq!(outcome.answer.verdicts, [Verdict::Refused { reason: Refusal::WrongVersion, current: Some(v2) }]);
}

pub async fn items_of_one_commit_see_each_other(kind: Kind) {
    let world = World::new(kind).await;
    let a = world.saved(new_item(1, None, "a", bytes("1"))).await;
    let b = world.saved(new_item(2, None, "b", bytes("2"))).await;
    let rename = |item: &stacksync_core::values::RemoteItem, version: u64, name: &str| {
        let mut item = next(item, Status::Renamed);
        item.version = Version::new(version).unwrap();
        item.place = place(None, name);
        item
    };
    let swap = vec![rename(&a, 2, "temporary"), rename(&b, 2, "a"), rename(&a, 3, "b")];
    let outcome = world.commit(swap).await;
    assert!(outcome.answer.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))), "{outcome:?}");
    let names: BTreeMap<_, _> = world.items().await.iter().map(|item| (item.id, item.place.name.to_string())).collect();
    assert_eq!(names, BTreeMap::from([(id(1), "b".into()), (id(2), "a".into())]));
    let folder = vec![
        new_item(10, None, "f", Body::Folder),
        new_item(11, Some(id(10)), "x", bytes("x")),
        {
            let mut gone = new_item(11, Some(id(10)), "x", bytes("x"));
            gone.version = Version::new(2).unwrap();
            gone.status = Status::Deleted;
            gone
        },
        {
            let mut gone = new_item(10, None, "f", Body::Folder);
            gone.version = Version::new(2).unwrap();
            gone.status = Status::Deleted;
            gone
        },
    ];
    let outcome = world.commit(folder).await;
    assert!(outcome.answer.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))), "{outcome:?}");
    assert_eq!(world.quota_used().await, 2);
}

pub async fn a_commit_needs_a_member_who_is_not_disabled(kind: Kind) {
    let world = World::new(kind).await;
    let bob = add_user(&world.db, "bob", MIB).await;
    let item = || vec![new_item(1, None, "a", Body::Folder)];
    let foreign = Commit { user: bob.id, ..world.commit_of(item()) };
    assert_eq!(error(world.db.commit(foreign).await), DbError::NoAccess);
    let nowhere = Commit { workspace: stacksync_core::values::WorkspaceId(uuid::Uuid::new_v4()), ..world.commit_of(item()) };
    assert_eq!(error(world.db.commit(nowhere).await), DbError::NoAccess);
    // Another process disables the user while this one runs.
    let beside = world.beside().await;
    beside.set_access(world.user.id, crate::db::Access::Disabled).await.unwrap();
    assert_eq!(error(world.db.commit(world.commit_of(item())).await), DbError::NoAccess);
    beside.set_access(world.user.id, crate::db::Access::Allowed).await.unwrap();
    beside.set_quota(world.user.id, 3).await.unwrap();
    let reason = world.refused(new_item(2, None, "b", sized(4))).await;
    assert_eq!(reason, Refusal::QuotaExceeded { limit: 3, used: 0, needed: 4 });
}

pub async fn too_large_commits_are_refused_as_a_whole(kind: Kind) {
    let world = World::new(kind).await;
    let many = (1..=1_001).map(|n| new_item(n, None, &n.to_string(), Body::Folder)).collect();
    assert!(matches!(error(world.db.commit(world.commit_of(many)).await), DbError::TooMuch { limit: 1_000, .. }));
    let long = Commit { id: "x".repeat(129), ..world.commit_of(Vec::new()) };
    assert!(matches!(error(world.db.commit(long).await), DbError::TooMuch { limit: 128, .. }));
}

pub async fn concurrent_commits_take_contiguous_revisions_and_lose_no_update(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let counter = world.saved(new_item(1, None, "counter", sized(1))).await;
    let tasks: Vec<_> = (0..16_i64)
        .map(|task| {
            let world = Arc::clone(&world);
            let mut counter = counter.clone();
            tokio::spawn(async move {
                let mut spans = Vec::new();
                for round in 0..20_i64 {
                    let number = 1_000 + task * 100 + round;
                    let new = new_item(number, None, &number.to_string(), sized(10));
                    // Everybody also edits the same file until his edit is the next version.
                    loop {
                        let mut edit = next(&counter, Status::Changed);
                        edit.modified = ModifiedAt(number);
                        let outcome = world.commit(vec![edit, new.clone()]).await;
                        spans.push((outcome.answer.from.0, outcome.answer.to.0));
                        match &outcome.answer.verdicts[0] {
                            Verdict::Accepted(item) => break counter = item.clone(),
                            Verdict::Refused { reason: Refusal::WrongVersion, current: Some(item) } => counter = item.clone(),
                            other => panic!("{other:?}"),
                        }
                    }
                }
                spans
            })
        })
        .collect();
    let mut spans = Vec::new();
    for task in tasks {
        spans.extend(task.await.unwrap().into_iter().filter(|(from, to)| from != to));
    }
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "gaps or overlaps");
    let items = world.items().await;
    let counter = items.iter().find(|item| item.id == id(1)).unwrap();
    assert_eq!(counter.version, Version::new(1 + 320).unwrap());
    assert_eq!(items.len(), 321);
    assert_eq!(spans.last().unwrap().1, 641);
    assert_eq!(world.quota_used().await, 1 + 320 * 10);
}

pub async fn racing_for_the_last_bytes_of_the_quota_never_exceeds_it(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    world.db.set_quota(world.user.id, 1_000).await.unwrap();
    let tasks: Vec<_> = (1..=50)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.commit(vec![new_item(n, None, &n.to_string(), sized(30))]).await })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        let outcome = task.await.unwrap();
        assert!(outcome.quota_used <= 1_000);
        accepted += usize::from(matches!(outcome.answer.verdicts[0], Verdict::Accepted(_)));
    }
    assert_eq!((accepted, world.quota_used().await), (33, 990));
}

pub async fn pages_followed_during_commits_miss_nothing(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let writer = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let mut items: Vec<_> = Vec::new();
            for n in 1..=300 {
                items.push(world.saved(new_item(n, None, &n.to_string(), sized(1))).await);
                if n % 3 == 0 {
                    let at = (n as usize * 7) % items.len();
                    items[at] = world.saved(next(&items[at], Status::Changed)).await;
                }
            }
            items
        })
    };
    let mut seen = BTreeMap::new();
    let mut since = Revision::ZERO;
    while since < Revision(400) {
        let page = world.db.changes(world.workspace, since, 7).await.unwrap();
        assert!(page.items.len() <= 7 && page.to <= page.head && page.to >= since);
        let revisions: Vec<_> = page.items.iter().map(|changed| changed.item.revision).collect();
        assert!(revisions.is_sorted() && revisions.iter().all(|revision| *revision > since && *revision <= page.to));
        seen.extend(page.items.into_iter().map(|changed| (changed.item.id, changed.item)));
        since = page.to;
    }
    let written: BTreeMap<_, _> = writer.await.unwrap().into_iter().map(|item| (item.id, item)).collect();
    assert_eq!(seen, written);
}

pub async fn page_borders(kind: Kind) {
    let world = World::new(kind).await;
    for n in 1..=6 {
        world.saved(new_item(n, None, &n.to_string(), Body::Folder)).await;
    }
    let first = world.items().await[0].clone();
    world.saved(next(&first, Status::Deleted)).await;
    // (since, limit) -> (to, items)
    for (since, limit, to, items) in [
        (0, 3, 4, 3),
        (4, 3, 7, 3),
        (7, 3, 7, 0),
        (0, 6, 7, 6),
        (0, 7, 7, 6),
        (1, 100, 7, 6),
        (6, 1, 7, 1),
        (99, 5, 7, 0),
        (0, 0, 2, 1),
    ] {
        let page = world.db.changes(world.workspace, Revision(since), limit).await.unwrap();
        assert_eq!((page.to, page.head, page.items.len()), (Revision(to), Revision(7), items), "since {since} limit {limit}");
    }
}

pub async fn the_tree_comes_folder_by_folder(kind: Kind) {
    let world = World::new(kind).await;
    let items = [(5, 0), (3, 0), (9, 5), (1, 9), (7, 5), (2, 3)];
    for (n, parent) in items {
        world.saved(new_item(n, ItemId::new(parent), &n.to_string(), Body::Folder)).await;
    }
    let two = world.db.item(world.workspace, id(2)).await.unwrap().unwrap();
    world.saved(next(&two.item, Status::Deleted)).await;
    let tree = world.db.tree(world.workspace).await.unwrap();
    let order: Vec<_> = tree.iter().map(|item| (item.entry.item.id.get(), item.level)).collect();
    assert_eq!(order, [(3, 1), (2, 2), (5, 1), (7, 2), (9, 2), (1, 3)]);
}
