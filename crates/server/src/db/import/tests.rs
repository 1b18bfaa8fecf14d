//! Databases of the original, of both generations, with everything odd that is known of them.

use super::{ImportError, Imported, Told, import};
use crate::db::tests::home::{Home, Kind, database, execute, number};
use crate::db::transfer::Place;
use crate::db::{Db, PostgresPlace, UserKey};
use stacksync_chunks::original::object_name;
use stacksync_core::values::{Body, ItemId, Revision, Status, UserId, WorkspaceId};
use uuid::Uuid;

const FINAL: &str = "
    CREATE TABLE user1 (id uuid PRIMARY KEY, name varchar(100) NOT NULL, swift_user varchar(100) NOT NULL UNIQUE,
        swift_account varchar(100) NOT NULL, email varchar(100) NOT NULL, quota_limit bigint NOT NULL,
        quota_used_logical bigint NOT NULL DEFAULT 0, quota_used_real bigint NOT NULL DEFAULT 0, created_at timestamp DEFAULT now());
    CREATE TABLE device (id uuid PRIMARY KEY, name varchar(100) NOT NULL, user_id uuid REFERENCES user1 ON DELETE CASCADE, os varchar(100),
        created_at timestamp DEFAULT now(), last_access_at timestamp DEFAULT now(), last_ip inet, app_version varchar(45));
    CREATE TABLE workspace (id uuid PRIMARY KEY, latest_revision varchar(45) NOT NULL DEFAULT '0', owner_id uuid NOT NULL REFERENCES user1,
        is_shared boolean NOT NULL, is_encrypted boolean NOT NULL DEFAULT false, swift_container varchar(45), swift_url varchar(250),
        created_at timestamp DEFAULT now());
    CREATE TABLE item (id bigint PRIMARY KEY, workspace_id uuid NOT NULL REFERENCES workspace, latest_version bigint NOT NULL,
        parent_id bigint REFERENCES item, filename varchar(100) NOT NULL, mimetype varchar(150) NOT NULL, is_folder boolean NOT NULL,
        client_parent_file_version bigint);
    CREATE TABLE workspace_user (id uuid, workspace_id uuid NOT NULL REFERENCES workspace, user_id uuid NOT NULL REFERENCES user1,
        workspace_name varchar(255) NOT NULL, parent_item_id bigint REFERENCES item, created_at timestamp DEFAULT now(),
        modified_at timestamp DEFAULT now(), PRIMARY KEY (workspace_id, user_id));
    CREATE TABLE item_version (id bigint PRIMARY KEY, item_id bigint NOT NULL REFERENCES item, device_id uuid NOT NULL REFERENCES device,
        version integer NOT NULL, committed_at timestamp, checksum bigint NOT NULL, modified_at timestamp, status varchar(10) NOT NULL,
        size bigint NOT NULL, UNIQUE (item_id, version));
    CREATE TABLE item_version_chunk (item_version_id bigint NOT NULL REFERENCES item_version, client_chunk_name varchar(80) NOT NULL,
        chunk_order integer NOT NULL, PRIMARY KEY (item_version_id, client_chunk_name, chunk_order));";

const SEED: &str = "
    ALTER TABLE user1 DROP COLUMN quota_used_logical, DROP COLUMN quota_used_real, DROP COLUMN created_at,
        ALTER COLUMN quota_limit TYPE integer, ADD COLUMN quota_used integer DEFAULT 0;
    ALTER TABLE workspace_user DROP COLUMN id;
    UPDATE user1 SET quota_limit = 5;";

const PEOPLE: &str = "
    INSERT INTO user1 (id, name, swift_user, swift_account, email, quota_limit) VALUES
        ('9db83ed6-c22f-4bef-905f-4e4af931d92b', 'web', 'none', 'none', 'none', 0),
        ('00000000-0000-0000-0000-00000000000a', 'Ann', 'a', 'AUTH_1', 'Ann@Example.org', 5000000),
        ('00000000-0000-0000-0000-00000000000b', 'ann', 'b', 'AUTH_2', 'ann@example.org', 5000000);
    INSERT INTO device (id, name, user_id, os, last_ip) VALUES
        ('00000000-0000-0000-0000-0000000000d1', 'laptop', '00000000-0000-0000-0000-00000000000a', 'linux', '10.0.0.1'),
        ('00000000-0000-0001-0000-000000000001', 'API', NULL, NULL, NULL);
    INSERT INTO workspace (id, owner_id, is_shared) VALUES
        ('00000000-0000-0000-0000-0000000000f1', '00000000-0000-0000-0000-00000000000a', false),
        ('00000000-0000-0000-0000-0000000000f2', '00000000-0000-0000-0000-00000000000a', true),
        ('07fd5785-f148-4e24-bd22-195e6bc78fe4', '9db83ed6-c22f-4bef-905f-4e4af931d92b', false);";

const ITEMS: &str = "
    INSERT INTO item (id, workspace_id, latest_version, parent_id, filename, mimetype, is_folder) VALUES
        (1, '00000000-0000-0000-0000-0000000000f1', 1, NULL, 'Docs', 'inode/directory', true),
        (2, '00000000-0000-0000-0000-0000000000f1', 3, 1, 'a.txt', 'text/plain', false),
        (3, '00000000-0000-0000-0000-0000000000f1', 1, 1, 'A.TXT', 'text/plain', false),
        (4, '00000000-0000-0000-0000-0000000000f1', 2, 1, 'gone', 'text/plain', false),
        (5, '00000000-0000-0000-0000-0000000000f1', 7, NULL, 'holes', 'text/plain', false),
        (6, '00000000-0000-0000-0000-0000000000f1', 1, NULL, 'nothing', 'text/plain', false),
        (7, '00000000-0000-0000-0000-0000000000f1', 1, NULL, 'lost folder', 'inode/directory', true),
        (8, '00000000-0000-0000-0000-0000000000f1', 1, 7, 'in it', 'text/plain', false),
        (9, '00000000-0000-0000-0000-0000000000f1', 1, 2, 'in a file', 'text/plain', false),
        (10, '00000000-0000-0000-0000-0000000000f1', 1, NULL, 'a/b', 'text/plain', false),
        (11, '00000000-0000-0000-0000-0000000000f1', 1, NULL, 'no chunks', 'text/plain', false),
        (12, '00000000-0000-0000-0000-0000000000f1', 1, 13, 'x', 'inode/directory', true),
        (13, '00000000-0000-0000-0000-0000000000f1', 1, NULL, 'y', 'inode/directory', true),
        (20, '00000000-0000-0000-0000-0000000000f2', 1, 1, 'shared', 'text/plain', false);
    UPDATE item SET parent_id = 12 WHERE id = 13;
    INSERT INTO workspace_user (workspace_id, user_id, workspace_name, parent_item_id) VALUES
        ('00000000-0000-0000-0000-0000000000f1', '00000000-0000-0000-0000-00000000000a', 'default', NULL),
        ('00000000-0000-0000-0000-0000000000f2', '00000000-0000-0000-0000-00000000000a', 'Team', 1),
        ('00000000-0000-0000-0000-0000000000f2', '00000000-0000-0000-0000-00000000000b', 'Team', NULL);
    INSERT INTO item_version (id, item_id, device_id, version, checksum, modified_at, status, size) VALUES
        (1, 1, '00000000-0000-0000-0000-0000000000d1', 1, 0, '2015-06-01 12:00:00', 'NEW', 4096),
        (2, 2, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 10),
        (3, 2, '00000000-0000-0000-0000-0000000000d1', 2, 6, '2015-06-01 12:00:00', 'MOVED', 10),
        (4, 2, '00000000-0000-0001-0000-000000000001', 3, 4294967295, '2015-06-01 12:00:00', 'CHANGED', 600000),
        (5, 3, '00000000-0000-0000-0000-0000000000d1', 1, -1, '2015-06-01 12:00:00', 'NEW', 0),
        (6, 4, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 10),
        (7, 4, '00000000-0000-0000-0000-0000000000d1', 2, 5, '2015-06-01 12:00:00', 'DELETED', 10),
        (8, 5, '00000000-0000-0000-0000-0000000000d1', 1, 5, NULL, 'NEW', 10),
        (9, 5, '00000000-0000-0000-0000-0000000000d1', 4, 5, '2015-06-01 12:00:00', 'CHANGED', 20),
        (10, 8, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 10),
        (11, 9, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 10),
        (12, 10, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 10),
        (13, 11, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 10),
        (14, 12, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 0),
        (15, 13, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 0),
        (16, 20, '00000000-0000-0000-0000-0000000000d1', 1, 5, '2015-06-01 12:00:00', 'NEW', 10);
    INSERT INTO item_version_chunk SELECT v.id, 'DA39A3EE5E6B4B0D3255BFEF95601890AFD80709', 1 FROM item_version v
        JOIN item i ON i.id = v.item_id WHERE NOT i.is_folder AND v.size > 0 AND v.id NOT IN (4, 7, 13);
    INSERT INTO item_version_chunk VALUES (4, 'chk-DA39A3EE5E6B4B0D3255BFEF95601890AFD80709--123', 1),
        (4, 'chk-DA39A3EE5E6B4B0D3255BFEF95601890AFD8070A-7', 2);";

async fn original(more: &str) -> PostgresPlace {
    let place = database().await;
    execute(&place, &format!("{FINAL}{PEOPLE}{ITEMS}{more}")).await;
    place
}

fn told(quota_unit: Option<u64>) -> Told {
    Told { time_zone: "Europe/Madrid".into(), quota_unit }
}

async fn take(from: &PostgresPlace, home: &Home, told: &Told) -> Result<Imported, ImportError> {
    let place = match home {
        Home::Sqlite(_) => Place::Sqlite(home.file()),
        Home::Postgres(place) => Place::Postgres(place.clone()),
    };
    import(from, &place, told).await
}

const ANN: Uuid = Uuid::from_u128(0xa);
const DEFAULT: WorkspaceId = WorkspaceId(Uuid::from_u128(0xf1));

async fn check(db: &Db) {
    let ann = db.user(UserKey::Id(UserId(ANN))).await.unwrap().unwrap();
    assert_eq!((ann.name.as_str(), ann.email.as_str(), ann.quota_limit), ("Ann", "ann@example.org", 5_000_000));
    // 2: 600000, 5: 20, and four files of 10, one of them in the shared workspace.
    assert_eq!(ann.quota_used, 600_000 + 20 + 4 * 10);
    let names: Vec<_> = db.users().await.unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, ["Ann", "ann 2"]);
    let views = db.workspaces_of(ann.id).await.unwrap();
    let views: Vec<_> = views.iter().map(|view| (view.name.as_str(), view.is_default, view.parent, view.is_shared)).collect();
    assert_eq!(views, [("default", true, None, false), ("Team", false, ItemId::new(1), true)]);
    let page = db.changes(DEFAULT, Revision::ZERO, 100).await.unwrap();
    assert_eq!((page.head, page.items.len()), (Revision(15), 11));
    let item = |id: i64| page.items.iter().find(|changed| changed.item.id.get() == id).unwrap();
    let file = &item(2).item;
    assert_eq!((file.version.get(), file.place.parent, file.place.name.as_str()), (3, ItemId::new(1), "a.txt"));
    let chunks = file.body.chunks();
    assert_eq!(chunks.iter().map(|chunk| chunk.len).collect::<Vec<_>>(), [524_288, 600_000 - 524_288]);
    assert_eq!(object_name(&chunks[0].name).unwrap(), "chk-DA39A3EE5E6B4B0D3255BFEF95601890AFD80709--123");
    assert_eq!(object_name(&chunks[1].name).unwrap(), "chk-DA39A3EE5E6B4B0D3255BFEF95601890AFD8070A-7");
    assert!(matches!(&file.body, Body::File(body) if body.adler32 == u32::MAX && body.size == 600_000));
    // Noon in Madrid, in summer.
    assert_eq!(file.modified.0, 1_433_152_800_000_000_000);
    assert_eq!(item(3).item.place.name.as_str(), "A (imported 3).TXT");
    assert!(item(4).item.deleted && item(4).status == Status::Deleted);
    assert_eq!(item(5).item.version.get(), 4);
    assert_eq!((item(7).item.version.get(), item(8).item.place.parent), (1, ItemId::new(7)));
    assert_eq!((item(9).item.place.parent, item(10).item.place.name.as_str()), (None, "a_b"));
    assert!(page.items.iter().all(|changed| ![6, 11].contains(&changed.item.id.get())));
    assert!(item(12).item.place.parent.is_none() || item(13).item.place.parent.is_none());
    let shared = db.changes(WorkspaceId(Uuid::from_u128(0xf2)), Revision::ZERO, 10).await.unwrap();
    assert_eq!(shared.items[0].item.place.parent, None, "its folder is in another workspace");
    let bob = db.users().await.unwrap().into_iter().find(|user| user.id != ann.id).unwrap();
    assert!(bob.email.ends_with("@imported.invalid"));
    assert_eq!(db.workspaces_of(bob.id).await.unwrap().iter().filter(|view| view.is_default).count(), 1);
}

async fn moves_in(kind: Kind) {
    let from = original("").await;
    let home = Home::new(kind).await;
    let first = take(&from, &home, &told(None)).await.unwrap();
    assert_eq!(first.taken["users"], 2);
    assert_eq!((first.taken["workspaces"], first.taken["items"], first.taken["versions"]), (3, 12, 16));
    for odd in [
        "'web'",
        "another 'ann'",
        "version 4 was taken",
        "('nothing') has no version",
        "'lost folder'",
        "is no folder",
        "'a/b'",
        "chunks",
    ] {
        assert!(first.problems.iter().any(|problem| problem.contains(odd)), "{odd}: {:#?}", first.problems);
    }
    let db = home.open().await;
    check(&db).await;
    drop(db);
    // Once more: nothing is taken twice.
    let again = take(&from, &home, &told(None)).await.unwrap();
    assert_eq!(again.taken.values().sum::<u64>(), 0, "{again:?}");
    assert_eq!((again.there["users"], again.there["workspaces"]), (2, 2));
    check(&home.open().await).await;
    // What is new in the source comes with the next run.
    execute(
        &from,
        "INSERT INTO user1 (id, name, swift_user, swift_account, email, quota_limit) \
         VALUES ('00000000-0000-0000-0000-00000000000c', 'carl', 'c', 'AUTH_3', 'c@c', 1)",
    )
    .await;
    let more = take(&from, &home, &told(None)).await.unwrap();
    assert_eq!((more.taken["users"], more.taken["workspaces"]), (1, 1));
    assert_eq!(number(&from, "SELECT count(*) FROM user1").await, 4, "the source is as it was");
}

#[tokio::test]
async fn an_original_moves_into_sqlite() {
    moves_in(Kind::Sqlite).await;
}

#[tokio::test]
async fn an_original_moves_into_postgresql() {
    moves_in(Kind::Postgres).await;
}

#[tokio::test]
async fn the_seed_schema_needs_a_unit_for_its_quotas() {
    let from = original(SEED).await;
    let home = Home::new(Kind::Sqlite).await;
    let error = take(&from, &home, &told(None)).await.unwrap_err();
    assert!(error.to_string().contains("--quota-unit"), "{error}");
    let imported = take(&from, &home, &told(Some(1_000_000))).await.unwrap();
    assert!(imported.schema.contains("seed"));
    check(&home.open().await).await;
}

#[tokio::test]
async fn what_is_no_original_is_refused() {
    let home = Home::new(Kind::Sqlite).await;
    for (sql, said) in [("SELECT 1", "user1"), ("CREATE TABLE object_version (object_id bigint)", "first generation")] {
        let from = database().await;
        execute(&from, sql).await;
        let error = take(&from, &home, &told(None)).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let from = original("").await;
    let error = take(&from, &home, &Told { time_zone: "Mars/Olympus".into(), quota_unit: None }).await.unwrap_err();
    assert!(error.to_string().contains("Mars/Olympus"), "{error}");
    assert!(home.open().await.users().await.unwrap().is_empty());
}
