//! Several instances on one database.

use crate::db::tests::home::{Kind, execute, number};
use crate::db::tests::world::{World, id, new_item, next, sized};
use crate::db::{Db, Notice, NoticeContent, Outbox};
use stacksync_core::commit::{Refusal, Verdict};
use stacksync_core::values::{Body, ModifiedAt, Revision, Status, WorkspaceId};
use std::sync::Arc;
use std::time::Duration;

/// The revision of a commit's notice.
fn revision(notice: &Notice) -> u64 {
    match &notice.content {
        NoticeContent::Commit { to, .. } => to.0,
        NoticeContent::Workspace { .. } => panic!("{notice:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_write_one_workspace_lose_no_update_and_leave_no_gap() {
    let world = Arc::new(World::new(Kind::Postgres).await);
    let counter = world.saved(new_item(1, None, "counter", sized(1))).await;
    let instances = [world.db.clone(), world.beside().await, world.beside().await];
    let tasks: Vec<_> = (0..12_i64)
        .map(|task| {
            let (world, mut counter) = (Arc::clone(&world), counter.clone());
            let db = instances[task as usize % instances.len()].clone();
            tokio::spawn(async move {
                let mut spans = Vec::new();
                for round in 0..8_i64 {
                    let number = 1_000 + task * 100 + round;
                    let new = new_item(number, None, &number.to_string(), sized(10));
                    loop {
                        let mut edit = next(&counter, Status::Changed);
                        edit.modified = ModifiedAt(number);
                        let outcome = db.commit(world.commit_of(vec![edit, new.clone()])).await.unwrap();
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
    assert_eq!(spans.last().unwrap().1, 1 + 96 * 2);
    assert_eq!(world.quota_used().await, 1 + 96 * 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_claim_one_item_id_for_two_workspaces_agree_on_one() {
    let world = Arc::new(World::new(Kind::Postgres).await);
    let extra = world.db.add_workspace(world.user.id, "extra".parse_name(), None).await.unwrap().id;
    let beside = world.beside().await;
    for n in 1..=30 {
        let here = world.commit_of(vec![new_item(n, None, &n.to_string(), Body::Folder)]);
        let mut there = world.commit_of(vec![new_item(n, None, &n.to_string(), Body::Folder)]);
        there.workspace = extra;
        let (here, there) = tokio::join!(world.db.commit(here), beside.commit(there));
        let saved = [here.unwrap(), there.unwrap()].map(|outcome| match &outcome.answer.verdicts[0] {
            Verdict::Accepted(_) => true,
            Verdict::Refused { reason: Refusal::Foreign, .. } => false,
            other => panic!("{other:?}"),
        });
        assert!(saved[0] != saved[1], "item {n}");
    }
}

trait ParseName {
    fn parse_name(&self) -> stacksync_core::values::Name;
}

impl ParseName for str {
    fn parse_name(&self) -> stacksync_core::values::Name {
        stacksync_core::values::Name::new(self).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_sent_to_two_instances_at_once_is_carried_out_once() {
    let world = World::new(Kind::Postgres).await;
    let beside = world.beside().await;
    for n in 1..=20 {
        let commit = world.commit_of(vec![new_item(n, None, &n.to_string(), sized(1))]);
        let (here, there) = tokio::join!(world.db.commit(commit.clone()), beside.commit(commit));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert_eq!(here.answer, there.answer);
        assert!(here.replay != there.replay);
    }
    assert_eq!((world.items().await.len(), world.quota_used().await), (20, 20));
}

/// Publishes what an instance has, until all instances together have told so much, and writes down who told what. The wait is cut
/// off again and again, at any point: nothing may be lost by that.
async fn publish(db: Db, mut outbox: Outbox, told: Arc<std::sync::Mutex<Vec<(WorkspaceId, u64)>>>, total: usize) {
    while told.lock().unwrap().len() < total {
        let Ok(notices) = tokio::time::timeout(Duration::from_millis(20), outbox.next_many(16)).await else { continue };
        let notices = notices.unwrap();
        let last = notices.last().unwrap().id;
        for notice in &notices {
            if let NoticeContent::Commit { workspace, to, .. } = &notice.content {
                told.lock().unwrap().push((*workspace, to.0));
            }
        }
        db.outbox_done(last).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_of_a_workspace_are_told_in_its_order_whichever_instance_wrote_them() {
    let world = Arc::new(World::new(Kind::Postgres).await);
    let instances = [world.db.clone(), world.beside().await];
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut publishers = Vec::new();
    for db in &instances {
        let mut outbox = db.outbox().unwrap();
        // It is known to the other one from here on, which else would take its notices for those of one that is gone.
        assert_eq!(outbox.next_now().await.unwrap(), None);
        publishers.push(tokio::spawn(publish(db.clone(), outbox, Arc::clone(&told), 60)));
    }
    for n in 1..=60 {
        let commit = world.commit_of(vec![new_item(n, None, &n.to_string(), Body::Folder)]);
        instances[n as usize % 2].commit(commit).await.unwrap();
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let revisions: Vec<u64> = told.lock().unwrap().iter().map(|(_, revision)| *revision).collect();
    assert_eq!(revisions, (1..=60).collect::<Vec<_>>());
    assert_eq!(number(world.home.postgres(), "SELECT count(*) FROM notices").await, 0);
}

#[tokio::test]
async fn the_notices_of_an_instance_that_is_gone_are_told_by_another_one_in_order() {
    let world = World::new(Kind::Postgres).await;
    let mut gone = world.db.outbox().unwrap();
    assert_eq!(gone.next_now().await.unwrap(), None);
    for n in 1..=5 {
        world.saved(new_item(n, None, &n.to_string(), Body::Folder)).await;
    }
    assert_eq!(gone.next_many(2).await.unwrap().len(), 2, "told, but it dies before it says so");
    let beside = world.beside().await;
    let mut outbox = beside.outbox().unwrap();
    assert_eq!(outbox.next_now().await.unwrap(), None, "the other one lives");
    let commit = world.commit_of(vec![new_item(6, None, "6", Body::Folder)]);
    beside.commit(commit).await.unwrap();
    assert_eq!(outbox.next_now().await.unwrap(), None, "it comes after those of the other one");
    // As if it had been silent for a while.
    std::mem::forget(gone);
    execute(world.home.postgres(), "UPDATE instances SET seen_at = seen_at - interval '1 hour'").await;
    execute(world.home.postgres(), "CREATE RULE silence AS ON UPDATE TO instances DO INSTEAD NOTHING").await;
    let mut told = Vec::new();
    while told.len() < 6 {
        let notices = outbox.next_many(10).await.unwrap();
        beside.outbox_done(notices.last().unwrap().id).await.unwrap();
        told.extend(notices.iter().map(revision));
    }
    assert_eq!(told, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn what_other_processes_changed_counts_at_once() {
    let world = World::new(Kind::Postgres).await;
    let beside = world.beside().await;
    beside.set_quota(world.user.id, 3).await.unwrap();
    assert!(matches!(world.refused(new_item(1, None, "a", sized(4))).await, Refusal::QuotaExceeded { limit: 3, .. }));
    let commit = world.commit_of(vec![new_item(2, None, "b", sized(2))]);
    beside.commit(commit).await.unwrap();
    let page = world.db.changes(world.workspace, Revision::ZERO, 10).await.unwrap();
    assert_eq!((page.head, page.items[0].item.id), (Revision(1), id(2)));
}
