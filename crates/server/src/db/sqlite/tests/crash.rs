//! The store dies or is disturbed at an inconvenient moment.

use crate::db::request::{ANSWER_KEPT_MS, ANSWERS_PER_DEVICE_MAX};
use crate::db::tests::home::Kind;
use crate::db::tests::world::{World, id, new_item, next, sized};
use crate::db::{Commit, Db, DbError};
use rusqlite::Connection;
use stacksync_core::commit::Verdict;
use stacksync_core::values::{Body, Revision, Status};
use std::sync::Arc;

/// A copy of the files as they are at this moment, as a power cut would leave them.
fn snapshot(world: &World, name: &str) -> std::path::PathBuf {
    let copy = world.home.dir().join(name);
    for suffix in ["", "-wal"] {
        let from = world.home.dir().join(format!("stacksync.db{suffix}"));
        std::fs::copy(from, world.home.dir().join(format!("{name}{suffix}"))).unwrap();
    }
    copy
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_power_cut() {
    let world = World::new(Kind::Sqlite).await;
    for n in 1..=20 {
        let commit = world.commit_of(vec![new_item(n, None, &n.to_string(), sized(10))]);
        let outcome = world.db.commit(commit.clone()).await.unwrap();
        let after = Db::open(&snapshot(&world, &format!("copy{n}"))).unwrap();
        assert_eq!(after.epoch(), world.db.epoch());
        let page = after.changes(world.workspace, Revision::ZERO, 100).await.unwrap();
        assert_eq!((page.head, page.items.len() as i64), (Revision(n as u64), n));
        // The retry that the device sends because it never got the answer.
        let again = after.commit(commit).await.unwrap();
        assert!(again.replay);
        assert_eq!(again.answer, outcome.answer);
        let notices = after.outbox().unwrap().next_many(100).await.unwrap();
        assert_eq!(notices.len() as i64, n);
    }
}

#[tokio::test]
async fn a_closed_store_finishes_what_it_took() {
    let world = World::new(Kind::Sqlite).await;
    let file = world.home.file();
    let waiting: Vec<_> = (1..=100)
        .map(|n| {
            let db = world.db.clone();
            let commit = world.commit_of(vec![new_item(n, None, &n.to_string(), Body::Folder)]);
            tokio::spawn(async move { db.commit(commit).await })
        })
        .collect();
    let World { db, home, workspace, .. } = world;
    drop(db);
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    let page = Db::open(&file).unwrap().changes(workspace, Revision::ZERO, 1_000).await.unwrap();
    assert_eq!((page.head, page.items.len()), (Revision(100), 100));
    drop(home);
}

/// Makes every insert of an item of this id fail, as a full disk or a bug would.
fn poison(world: &World, item: i64) {
    let sql =
        format!("CREATE TRIGGER poison BEFORE INSERT ON items WHEN new.id = {item} BEGIN SELECT raise(ABORT, 'poisoned'); END");
    Connection::open(world.home.file()).unwrap().execute_batch(&sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_written_harms_no_other_one() {
    let world = Arc::new(World::new(Kind::Sqlite).await);
    poison(&world, 13);
    // Both share the item's name, and the second one needs what the first one did not leave.
    let tasks: Vec<_> = (1..=40)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(
                async move { (n, world.db.commit(world.commit_of(vec![new_item(n, None, &n.to_string(), sized(1))])).await) },
            )
        })
        .collect();
    for task in tasks {
        match task.await.unwrap() {
            (13, result) => assert!(matches!(&result, Err(DbError::Failed(text)) if text.contains("poisoned")), "{result:?}"),
            (_, result) => assert!(matches!(result.unwrap().answer.verdicts[..], [Verdict::Accepted(_)])),
        }
    }
    let items = world.items().await;
    let revisions: Vec<_> = items.iter().map(|item| item.revision.0).collect();
    assert_eq!(revisions, (1..=39).collect::<Vec<_>>());
    assert_eq!(world.quota_used().await, 39);
    assert_eq!(world.db.outbox().unwrap().next_many(100).await.unwrap().len(), 39);
}

#[tokio::test]
async fn a_failed_commit_may_be_sent_again_under_its_id() {
    let world = World::new(Kind::Sqlite).await;
    poison(&world, 13);
    let commit = world.commit_of(vec![new_item(12, None, "12", sized(1)), new_item(13, None, "13", sized(1))]);
    assert!(world.db.commit(commit.clone()).await.is_err());
    assert_eq!((world.items().await.len(), world.quota_used().await), (0, 0), "a half commit");
    Connection::open(world.home.file()).unwrap().execute_batch("DROP TRIGGER poison").unwrap();
    let outcome = world.db.commit(commit).await.unwrap();
    assert_eq!((outcome.replay, outcome.answer.to), (false, Revision(2)));
}

#[tokio::test]
async fn another_programs_transaction_is_waited_for() {
    let world = World::new(Kind::Sqlite).await;
    let beside = Connection::open(world.home.file()).unwrap();
    beside.execute_batch("BEGIN IMMEDIATE; UPDATE users SET quota_limit = 5").unwrap();
    let commit = world.commit_of(vec![new_item(1, None, "a", sized(6))]);
    let db = world.db.clone();
    let waiting = tokio::spawn(async move { db.commit(commit).await });
    tokio::task::yield_now().await;
    beside.execute_batch("COMMIT").unwrap();
    let outcome = waiting.await.unwrap().unwrap();
    assert!(matches!(outcome.answer.verdicts[..], [Verdict::Refused { .. }]), "it saw the new quota");
    assert_eq!(outcome.quota_limit, 5);
}

#[tokio::test]
async fn old_answers_are_trimmed_and_recent_ones_stay() {
    let world = World::new(Kind::Sqlite).await;
    let mut folder = world.saved(new_item(1, None, "a", Body::Folder)).await;
    let count = ANSWERS_PER_DEVICE_MAX * 3;
    let mut last: Option<Commit> = None;
    for _ in 0..count {
        let commit = world.commit_of(vec![next(&folder, Status::Changed)]);
        let outcome = world.db.commit(commit.clone()).await.unwrap();
        if let [Verdict::Accepted(item)] = &outcome.answer.verdicts[..] {
            folder = item.clone();
        }
        last = Some(commit);
    }
    let beside = Connection::open(world.home.file()).unwrap();
    let kept = || beside.query_row("SELECT count(*) FROM answers", [], |row| row.get::<_, u32>(0)).unwrap();
    assert!((ANSWERS_PER_DEVICE_MAX..=ANSWERS_PER_DEVICE_MAX * 3 / 2).contains(&kept()), "{}", kept());
    assert!(world.db.commit(last.unwrap()).await.unwrap().replay);
    beside.execute("UPDATE answers SET answered_at = answered_at - ?1", [ANSWER_KEPT_MS + 1]).unwrap();
    for n in 0..ANSWERS_PER_DEVICE_MAX / 2 {
        world.commit(vec![new_item(100 + i64::from(n), Some(id(1)), &n.to_string(), Body::Folder)]).await;
    }
    assert!(kept() <= ANSWERS_PER_DEVICE_MAX / 2, "{}", kept());
}
