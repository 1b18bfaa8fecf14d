//! Opening databases: fresh, by many at once, newer, somebody else's, out of reach.

use crate::db::tests::home::{Home, Kind, database, execute, number};
use crate::db::tests::world::{World, new_item};
use crate::db::{Db, OpenError, PostgresPlace};
use stacksync_core::values::Body;

#[tokio::test]
async fn a_database_opened_again_is_the_same_store() {
    let world = World::new(Kind::Postgres).await;
    world.saved(new_item(1, None, "a", Body::Folder)).await;
    let (epoch, items) = (world.db.epoch(), world.items().await);
    let world = world.reopened().await;
    assert_eq!((world.db.epoch(), world.items().await), (epoch, items));
    world.db.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_make_the_tables_at_once() {
    let place = database().await;
    let openers: Vec<_> = (0..6)
        .map(|_| {
            let place = place.clone();
            tokio::spawn(async move { Db::connect(&place).await.unwrap().epoch() })
        })
        .collect();
    let mut epochs = Vec::new();
    for opener in openers {
        epochs.push(opener.await.unwrap());
    }
    assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_newer_database_is_left_alone() {
    let home = Home::new(Kind::Postgres).await;
    drop(home.open().await);
    execute(home.postgres(), "UPDATE meta SET format = 99").await;
    let error = Db::connect(home.postgres()).await.err().unwrap();
    assert!(matches!(error, OpenError::NewerDatabase { found: 99, supported: 5, .. }), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(number(home.postgres(), "SELECT format::bigint FROM meta").await, 99);
}

#[tokio::test]
async fn tables_of_others_are_left_alone() {
    for sql in ["CREATE TABLE users (name text)", "CREATE TABLE meta (name text)"] {
        let place = database().await;
        execute(&place, sql).await;
        let error = Db::connect(&place).await.err().unwrap();
        assert!(matches!(error, OpenError::ForeignDatabase { .. }), "{error}");
        assert_eq!(number(&place, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await, 1, "{sql}");
    }
}

#[tokio::test]
async fn what_is_out_of_reach_is_named_without_its_password() {
    let place = database().await;
    let port = place.config.get_ports()[0];
    for (place, said, passes) in [
        (PostgresPlace::new("127.0.0.1", 1, "test", "ann", "hunter2"), "refused", true),
        (PostgresPlace::new("127.0.0.1", port, "test", "stacksync", "hunter2"), "password authentication failed", false),
        (PostgresPlace::new("127.0.0.1", port, "nothing", "stacksync", "stacksync"), "does not exist", false),
        (PostgresPlace::new("no-such-host.invalid", port, "test", "ann", "hunter2"), "no-such-host.invalid", true),
    ] {
        let error = Db::connect(&place).await.err().unwrap();
        match passes {
            true => assert!(matches!(error, OpenError::Unreachable { .. }), "{error}"),
            false => assert!(matches!(error, OpenError::Refused { .. }), "{error}"),
        }
        let text = format!("{error} {error:?} {place:?}");
        assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
    }
}
