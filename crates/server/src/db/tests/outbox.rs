//! Notices: none lost, none twice, in order.

use super::home::Kind;
use super::world::{World, new_item, next, sized};
use crate::db::NoticeContent;
use stacksync_core::values::{Body, Name, Revision, Status};
use std::sync::Arc;

fn span(content: &NoticeContent) -> (u64, u64, bool) {
    match content {
        NoticeContent::Commit { from, to, outcome, .. } => (from.0, to.0, outcome.is_some()),
        NoticeContent::Workspace { .. } => panic!("{content:?}"),
    }
}

pub async fn a_commit_is_told_with_its_outcome_and_forgotten_when_done(kind: Kind) {
    let world = World::new(kind).await;
    let mut outbox = world.db.outbox().unwrap();
    assert!(world.db.outbox().is_none(), "there is one publisher");
    let outcome = world.commit(vec![new_item(1, None, "a", sized(1)), new_item(2, None, "b", sized(1))]).await;
    let notice = outbox.next().await.unwrap().unwrap();
    let NoticeContent::Commit { workspace, from, to, device, request_id, outcome: Some(told) } = notice.content else {
        panic!("{notice:?}")
    };
    assert_eq!((workspace, from, to, device), (world.workspace, Revision(0), Revision(2), world.device.id));
    assert!(request_id.starts_with("request") && Arc::ptr_eq(&told, &outcome));
    world.db.outbox_done(notice.id).await.unwrap();
    drop(outbox);
    let world = world.reopened().await;
    assert_eq!(world.db.outbox().unwrap().next_now().await.unwrap(), None);
}

pub async fn what_changed_nothing_is_not_told(kind: Kind) {
    let world = World::new(kind).await;
    let mut outbox = world.db.outbox().unwrap();
    let commit = world.commit_of(vec![new_item(1, None, "a", Body::Folder)]);
    world.db.commit(commit.clone()).await.unwrap();
    world.db.commit(commit).await.unwrap();
    world.refused(new_item(2, None, "A", Body::Folder)).await;
    world.saved(new_item(3, None, "c", Body::Folder)).await;
    let notices = outbox.next_many(10).await.unwrap();
    assert_eq!(notices.iter().map(|notice| span(&notice.content)).collect::<Vec<_>>(), [(0, 1, true), (1, 2, true)]);
}

pub async fn what_an_earlier_run_left_is_told_first(kind: Kind) {
    let world = World::new(kind).await;
    for n in 1..=600 {
        world.saved(new_item(n, None, &n.to_string(), Body::Folder)).await;
    }
    let mut outbox = world.db.outbox().unwrap();
    let told = outbox.next_many(10).await.unwrap();
    world.db.outbox_done(told.last().unwrap().id).await.unwrap();
    drop(outbox);
    let world = world.reopened().await;
    world.saved(new_item(1_000, None, "new", Body::Folder)).await;
    let mut outbox = world.db.outbox().unwrap();
    for revision in told.len() as u64 + 1..=601 {
        let notice = outbox.next().await.unwrap().unwrap();
        assert_eq!(span(&notice.content).1, revision);
    }
}

pub async fn a_slow_publisher_still_hears_everything_once_and_in_order(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let mut outbox = world.db.outbox().unwrap();
    let total = 6_000_u64;
    let tasks: Vec<_> = (0..60_i64)
        .map(|task| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let mut folder = world.saved(new_item(1 + task, None, &task.to_string(), Body::Folder)).await;
                for _ in 1..100 {
                    folder = world.saved(next(&folder, Status::Changed)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // More than fits into the channel: the rest is read from the file.
    let mut told = Vec::new();
    while (told.len() as u64) < total {
        let notices = outbox.next_many(50).await.unwrap();
        world.db.outbox_done(notices.last().unwrap().id).await.unwrap();
        told.extend(notices);
    }
    assert!(told.iter().zip(1..).all(|(notice, id)| notice.id == id && span(&notice.content).1 == id));
}

pub async fn workspaces_are_told_to_their_member_also_by_other_processes(kind: Kind) {
    let world = World::new(kind).await;
    let mut outbox = world.db.outbox().unwrap();
    let name = |text: &str| Name::new(text).unwrap();
    let here = world.db.add_workspace(world.user.id, name("Here"), None).await.unwrap();
    let beside = world.beside().await;
    let there = beside.add_workspace(world.user.id, name("There"), None).await.unwrap();
    world.db.update_membership(world.user.id, here.id, name("Moved"), None, Some("r1".into())).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        match outbox.next().await.unwrap().unwrap().content {
            NoticeContent::Workspace { user, workspace, name, request_id, .. } => {
                assert_eq!(user, world.user.id);
                told.push((workspace, name.to_string(), request_id));
            }
            other => panic!("{other:?}"),
        }
    }
    let expected = [
        (here.id, "Here".to_owned(), None),
        (there.id, "There".to_owned(), None),
        (here.id, "Moved".to_owned(), Some("r1".to_owned())),
    ];
    assert_eq!(told, expected);
}
