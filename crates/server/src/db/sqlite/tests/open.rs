//! Opening files: fresh, known, newer, damaged, somebody else's.

use crate::db::tests::home::Kind;
use crate::db::tests::world::{World, new_item};
use crate::db::{Db, OpenError};
use rusqlite::Connection;
use stacksync_core::values::Body;

#[tokio::test]
async fn a_store_opened_again_is_the_same_store() {
    let world = World::new(Kind::Sqlite).await;
    world.saved(new_item(1, None, "a", Body::Folder)).await;
    let (epoch, items, file) = (world.db.epoch(), world.items().await, world.home.file());
    let World { db, home, workspace, .. } = world;
    drop(db);
    let db = Db::open(&file).unwrap();
    assert_eq!(db.epoch(), epoch);
    let page = db.changes(workspace, stacksync_core::values::Revision::ZERO, 10).await.unwrap();
    assert_eq!(page.items.into_iter().map(|changed| changed.item).collect::<Vec<_>>(), items);
    db.check().await.unwrap();
    drop(home);
}

#[test]
fn a_newer_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stacksync.db");
    drop(Db::open(&file).unwrap());
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = Db::open(&file).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 99, supported: 2, .. }), "{error}");
    assert!(std::fs::read(&file).unwrap() == before, "it was changed");
}

#[test]
fn damaged_and_foreign_files_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage");
    std::fs::write(&garbage, "This is no database at all. ".repeat(400)).unwrap();
    let foreign = dir.path().join("foreign");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let holed = dir.path().join("holed");
    drop(Db::open(&holed).unwrap());
    let mut bytes = std::fs::read(&holed).unwrap();
    bytes[100..4_096].fill(0xa5);
    std::fs::write(&holed, bytes).unwrap();
    for file in [garbage, foreign, holed] {
        let before = std::fs::read(&file).unwrap();
        let error = Db::open(&file).err().unwrap();
        assert!(matches!(error, OpenError::Damaged { .. }), "{}: {error}", file.display());
        assert!(error.to_string().contains(file.to_str().unwrap()));
        assert!(std::fs::read(&file).unwrap() == before, "{} was changed", file.display());
    }
}

#[test]
fn a_file_that_cannot_be_made_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let error = Db::open(&dir.path().join("missing/stacksync.db")).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }) && error.to_string().contains("missing"), "{error}");
}

#[test]
fn many_may_create_the_same_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stacksync.db");
    let epochs: Vec<_> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..6).map(|_| scope.spawn(|| Db::open(&file).unwrap().epoch())).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]));
}

/// The planner looked at bound values, and so prepared joins and pages again for every other id.
#[test]
fn a_prepared_look_up_stays_prepared() {
    let dir = tempfile::tempdir().unwrap();
    let connection = crate::db::sqlite::open::open_writer(&dir.path().join("stacksync.db")).unwrap();
    for (sql, columns) in [
        (
            "SELECT 1 FROM users u JOIN memberships m ON m.user = u.number WHERE u.id = ?1 AND m.workspace = ?2 AND u.disabled = 0",
            2,
        ),
        ("SELECT id FROM items WHERE workspace = ?1 AND revision > ?2 ORDER BY revision LIMIT ?3", 3),
        ("SELECT id FROM items WHERE workspace = ?1 AND parent = ?2 AND name_key = ?3", 3),
    ] {
        for value in 0..20_i64 {
            let found = connection.prepare_cached(sql).unwrap().exists(rusqlite::params_from_iter(vec![value; columns])).unwrap();
            assert!(!found);
        }
        let statement = connection.prepare_cached(sql).unwrap();
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0, "{sql}");
    }
}
