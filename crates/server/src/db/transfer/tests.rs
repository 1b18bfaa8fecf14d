//! There and back again.

use super::{Place, TransferError, transfer};
use crate::db::tests::home::{Home, Kind, execute};
use crate::db::tests::world::{World, add_user, new_item, next, sized};
use crate::db::{BundleRows, Db, UnixMs};
use stacksync_core::values::{Body, ChunkName, Name, Revision, Status};
use stacksync_storage::bundled::conformance::table;
use stacksync_storage::bundled::index::BundleIndex as _;
use std::time::SystemTime;

fn place(home: &Home) -> Place {
    match home {
        Home::Sqlite(_) => Place::Sqlite(home.file()),
        Home::Postgres(place) => Place::Postgres(place.clone()),
    }
}

/// A store with something in every table.
async fn full(kind: Kind) -> World {
    let world = World::new(kind).await;
    let bob = add_user(&world.db, "bob", 5).await;
    world.db.add_join_code(bob.id, [7; 32], UnixMs(i64::MAX)).await.unwrap();
    world.db.add_workspace(world.user.id, Name::new("Photos").unwrap(), None).await.unwrap();
    let mut folder = world.saved(new_item(1, None, "Docs", Body::Folder)).await;
    for _ in 0..3 {
        folder = world.saved(next(&folder, Status::Changed)).await;
    }
    let file = world.saved(new_item(2, Some(folder.id), "é 🦀", sized(1_000))).await;
    world.saved(next(&file, Status::Deleted)).await;
    BundleRows(world.db.clone()).add(world.workspace, table(&["a", "b"]), SystemTime::UNIX_EPOCH).await.unwrap();
    for n in 10..1_300 {
        world.saved(new_item(n, None, &n.to_string(), Body::Link("t".into()))).await;
    }
    world
}

async fn picture(db: &Db, world: &World) -> String {
    let changes = db.changes(world.workspace, Revision::ZERO, 2_000).await.unwrap();
    let views = db.workspaces_of(world.user.id).await.unwrap();
    let devices = db.devices(world.user.id).await.unwrap();
    let bundled = BundleRows(db.clone()).find(world.workspace, vec![ChunkName::of(b"a")]).await.unwrap();
    format!("{:?} {changes:?} {views:?} {devices:?} {bundled:?} {:?}", db.epoch(), db.users().await.unwrap())
}

async fn goes(from: Kind, to: Kind) {
    let world = full(from).await;
    let repeated = world.commit_of(vec![new_item(5_000, None, "last", Body::Folder)]);
    let first = world.db.commit(repeated.clone()).await.unwrap();
    let before = picture(&world.db, &world).await;
    let target = Home::new(to).await;
    let report = transfer(&place(&world.home), &place(&target)).await.unwrap();
    let rows: Vec<_> = report.iter().map(|(name, summary)| (*name, summary.rows)).collect();
    assert!(rows.iter().all(|(_, rows)| *rows > 0), "{rows:?}");
    let db = target.open().await;
    assert_eq!(picture(&db, &world).await, before);
    // A retry is still known, and life goes on: new numbers are free.
    let again = db.commit(repeated).await.unwrap();
    assert!(again.replay);
    assert_eq!(again.answer, first.answer);
    add_user(&db, "carl", 5).await;
    let mut outbox = db.outbox().unwrap();
    let told = outbox.next_many(2_000).await.unwrap();
    assert!(!told.is_empty());
    db.commit(world.commit_of(vec![new_item(6_000, None, "more", Body::Folder)])).await.unwrap();
    // Not into what is not empty.
    let error = transfer(&place(&world.home), &place(&target)).await.unwrap_err();
    assert!(matches!(error, TransferError::NotEmpty(_)), "{error}");
}

#[tokio::test]
async fn from_sqlite_to_postgresql() {
    goes(Kind::Sqlite, Kind::Postgres).await;
}

#[tokio::test]
async fn from_postgresql_to_sqlite() {
    goes(Kind::Postgres, Kind::Sqlite).await;
}

#[tokio::test]
async fn from_postgresql_to_postgresql() {
    goes(Kind::Postgres, Kind::Postgres).await;
}

#[tokio::test]
async fn a_target_that_fails_on_the_way_stays_empty() {
    let world = full(Kind::Sqlite).await;
    let target = Home::new(Kind::Postgres).await;
    drop(target.open().await);
    execute(target.postgres(), "ALTER TABLE past_versions ADD CHECK (version < 3)").await;
    let error = transfer(&place(&world.home), &place(&target)).await.unwrap_err();
    assert!(error.to_string().contains("nothing was copied"), "{error}");
    execute(target.postgres(), "ALTER TABLE past_versions DROP CONSTRAINT past_versions_version_check").await;
    transfer(&place(&world.home), &place(&target)).await.unwrap();
}

#[tokio::test]
async fn a_source_that_is_missing_or_in_use_is_left_alone() {
    let home = Home::new(Kind::Sqlite).await;
    let target = Home::new(Kind::Sqlite).await;
    let error = transfer(&place(&home), &place(&target)).await.unwrap_err();
    assert!(matches!(error, TransferError::Missing(_)), "{error}");
    assert!(!home.file().exists() && !target.file().exists());
    let world = World::new(Kind::Postgres).await;
    let mut outbox = world.db.outbox().unwrap();
    outbox.next_now().await.unwrap();
    let error = transfer(&place(&world.home), &place(&target)).await.unwrap_err();
    assert!(matches!(error, TransferError::InUse(_, 1)), "{error}");
}
