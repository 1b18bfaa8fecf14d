//! The database, or the way to it, is disturbed at an inconvenient moment.

use crate::db::postgres::Statements;
use crate::db::request::{ANSWER_KEPT_MS, ANSWERS_PER_DEVICE_MAX};
use crate::db::tests::home::{Kind, Server, execute, number};
use crate::db::tests::world::{World, error, id, new_item, next, sized};
use crate::db::{Commit, Db, DbError, PostgresPlace};
use stacksync_core::commit::Verdict;
use stacksync_core::values::{Body, Revision, Status};
use std::sync::Arc;
use std::time::Duration;

/// Makes every insert of an item of this id fail, as a bug would.
async fn poison(world: &World, item: i64) {
    let sql = format!(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''poisoned''; END'; \
         CREATE TRIGGER poison BEFORE INSERT ON items FOR EACH ROW WHEN (new.id = {item}) EXECUTE FUNCTION poison()"
    );
    execute(world.home.postgres(), &sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_be_written_harms_no_other_one() {
    let world = Arc::new(World::new(Kind::Postgres).await);
    poison(&world, 13).await;
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
    let revisions: Vec<_> = world.items().await.iter().map(|item| item.revision.0).collect();
    assert_eq!(revisions, (1..=39).collect::<Vec<_>>());
    assert_eq!(world.quota_used().await, 39);
}

#[tokio::test]
async fn a_failed_commit_may_be_sent_again_under_its_id() {
    let world = World::new(Kind::Postgres).await;
    poison(&world, 13).await;
    let commit = world.commit_of(vec![new_item(12, None, "12", sized(1)), new_item(13, None, "13", sized(1))]);
    assert!(world.db.commit(commit.clone()).await.is_err());
    assert_eq!((world.items().await.len(), world.quota_used().await), (0, 0), "a half commit");
    execute(world.home.postgres(), "DROP TRIGGER poison ON items").await;
    let outcome = world.db.commit(commit).await.unwrap();
    assert_eq!((outcome.replay, outcome.answer.to), (false, Revision(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_all_the_time_cost_no_commit_and_double_none() {
    let world = Arc::new(World::new(Kind::Postgres).await);
    let mut outbox = world.db.outbox().unwrap();
    let place = world.home.postgres().clone();
    let killer = tokio::spawn(async move {
        loop {
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
                       AND pid <> pg_backend_pid()";
            number(&place, sql).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let tasks: Vec<_> = (0..8_i64)
        .map(|task| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for round in 1..=15_i64 {
                    let n = task * 100 + round;
                    let commit = world.commit_of(vec![new_item(n, None, &n.to_string(), sized(1))]);
                    // What a device does that is told "not now".
                    while let Err(error) = world.db.commit(commit.clone()).await {
                        assert!(matches!(error, DbError::Unavailable(_) | DbError::Busy), "{error}");
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    killer.abort();
    let items = loop {
        // The last blow may still come.
        if let Ok(page) = world.db.changes(world.workspace, Revision::ZERO, 1_000).await {
            break page.items;
        }
    };
    let revisions: Vec<_> = items.iter().map(|changed| changed.item.revision.0).collect();
    assert_eq!(revisions, (1..=120).collect::<Vec<_>>());
    assert_eq!(world.quota_used().await, 120);
    // Every notice comes, also those of transactions whose end was not heard of.
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 120 {
        for notice in outbox.next_many(10).await.unwrap() {
            if let crate::db::NoticeContent::Commit { to, .. } = notice.content {
                told.insert(to.0);
            }
        }
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_said_to_be_and_used_again_when_it_is_back() {
    let world = World::new(Kind::Postgres).await;
    world.saved(new_item(1, None, "a", Body::Folder)).await;
    let place = world.home.postgres();
    let name = place.config.get_dbname().unwrap().to_owned();
    let admin = PostgresPlace::new("127.0.0.1", place.config.get_ports()[0], "postgres", "stacksync", "stacksync");
    let away = format!(
        "ALTER DATABASE {name} RENAME TO {name}_away; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}_away'"
    );
    // It cannot be renamed while it is in use.
    execute(&admin, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    execute(&admin, &away).await;
    let commit = world.commit_of(vec![new_item(2, None, "b", Body::Folder)]);
    assert!(matches!(error(world.db.commit(commit.clone()).await), DbError::Unavailable(_)));
    assert!(matches!(error(world.db.check().await), DbError::Unavailable(_)));
    assert!(matches!(error(world.db.changes(world.workspace, Revision::ZERO, 1).await), DbError::Unavailable(_)));
    execute(&admin, &format!("ALTER DATABASE {name}_away RENAME TO {name}")).await;
    assert_eq!(world.db.commit(commit).await.unwrap().answer.to, Revision(2));
    world.db.check().await.unwrap();
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_said_to_and_used_again_when_it_does() {
    let world = World::new(Kind::Postgres).await;
    let name = world.home.postgres().config.get_dbname().unwrap().to_owned();
    execute(world.home.postgres(), &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    execute(
        world.home.postgres_any().as_ref(),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    let commit = world.commit_of(vec![new_item(2, None, "b", Body::Folder)]);
    assert!(matches!(error(world.db.commit(commit.clone()).await), DbError::Unavailable(_)));
    let sql = format!("BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT");
    execute(world.home.postgres_any().as_ref(), &sql).await;
    assert_eq!(world.db.commit(commit).await.unwrap().answer.to, Revision(1));
}

#[tokio::test]
async fn a_full_database_is_said_to_be() {
    let world = World::new(Kind::Postgres).await;
    let name = world.home.postgres().config.get_dbname().unwrap().to_owned();
    // The superuser may always connect, so somebody else is needed.
    let sql = format!(
        "CREATE ROLE {name} LOGIN PASSWORD 'stacksync' CONNECTION LIMIT 1; GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}"
    );
    execute(world.home.postgres(), &sql).await;
    let mut place = world.home.postgres().clone();
    place.config.user(&name);
    let held = Db::connect(&place).await.unwrap();
    let refused = Db::connect(&place).await.err().unwrap().to_string();
    assert!(refused.contains("too many connections"), "{refused}");
    drop(held);
}

#[tokio::test]
async fn old_answers_are_trimmed_and_recent_ones_stay() {
    let world = World::new(Kind::Postgres).await;
    let mut folder = world.saved(new_item(1, None, "a", Body::Folder)).await;
    let mut last: Option<Commit> = None;
    for _ in 0..ANSWERS_PER_DEVICE_MAX * 2 {
        let commit = world.commit_of(vec![next(&folder, Status::Changed)]);
        let outcome = world.db.commit(commit.clone()).await.unwrap();
        if let [Verdict::Accepted(item)] = &outcome.answer.verdicts[..] {
            folder = item.clone();
        }
        last = Some(commit);
    }
    let place = world.home.postgres();
    // The trim runs beside the commits.
    while number(place, "SELECT count(*) FROM answers").await > i64::from(ANSWERS_PER_DEVICE_MAX) * 3 / 2 {
        tokio::task::yield_now().await;
    }
    assert!(number(place, "SELECT count(*) FROM answers").await >= i64::from(ANSWERS_PER_DEVICE_MAX));
    assert!(world.db.commit(last.unwrap()).await.unwrap().replay);
    execute(place, &format!("UPDATE answers SET answered_at = answered_at - {}", ANSWER_KEPT_MS + 1)).await;
    for n in 0..ANSWERS_PER_DEVICE_MAX / 2 {
        world.saved(new_item(100 + i64::from(n), Some(id(1)), &n.to_string(), Body::Folder)).await;
    }
    while number(place, "SELECT count(*) FROM answers").await > i64::from(ANSWERS_PER_DEVICE_MAX) / 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_may_stand_in_between() {
    let world = World::new(Kind::Postgres).await;
    let mut place = world.home.postgres().clone();
    let pooler = Server::pooler(place.config.get_ports()[0]);
    place.config =
        PostgresPlace::new("127.0.0.1", pooler.port, place.config.get_dbname().unwrap(), "stacksync", "stacksync").config;
    place.statements = Statements::Whole;
    let instances = [Db::connect(&place).await.unwrap(), Db::connect(&place).await.unwrap()];
    let world = Arc::new(world);
    let tasks: Vec<_> = (1..=40_i64)
        .map(|n| {
            let (world, db) = (Arc::clone(&world), instances[n as usize % 2].clone());
            tokio::spawn(async move {
                let commit = world.commit_of(vec![new_item(n, None, &n.to_string(), sized(1))]);
                db.commit(commit).await.unwrap();
                db.changes(world.workspace, Revision::ZERO, 10).await.unwrap();
                db.workspaces_of(world.user.id).await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(world.items().await.len(), 40);
    instances[0]
        .add_user(crate::db::NewUser { name: "bob".into(), email: "b@b".into(), quota_limit: 1, password_phc: None })
        .await
        .unwrap();
}
