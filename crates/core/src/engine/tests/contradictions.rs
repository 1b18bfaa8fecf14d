//! A service that tells what cannot be. The engine need not make sense of it, but must neither break nor run for ever.

use crate::engine::{Applied, ChangesPage, Cursor, DiskAction, Effect, Engine, Input, Listing, Now, Setup};
use crate::values::{Body, FileId, ItemId, Kind, ModifiedAt, Name, Place, RemoteItem, Revision, Stat, Version};

/// An engine with an empty folder that was told these items at once.
fn told(items: Vec<RemoteItem>) -> (Engine, Now) {
    let now = Now { ms: 0, unix_ns: 0 };
    let setup = Setup { device: "d".into(), seed: [7; 32], rows: Vec::new(), cursor: Cursor::default() };
    let mut engine = Engine::new(setup, now);
    engine.handle(Input::TouchedAll, now);
    engine.handle(Input::Online, now);
    let to = Revision(items.len() as u64);
    engine.handle(Input::Changes(Ok(ChangesPage { epoch: 1, since: Revision::ZERO, to, head: to, items })), now);
    (engine, now)
}

fn folder(id: i64, parent: Option<i64>, name: &str) -> RemoteItem {
    RemoteItem {
        id: ItemId::new(id).unwrap(),
        version: Version::FIRST,
        revision: Revision(id as u64),
        deleted: false,
        place: Place { parent: parent.and_then(ItemId::new), name: Name::new(name).unwrap() },
        body: Body::Folder,
        modified: ModifiedAt(0),
    }
}

/// Carries out what the engine wants on a disk that is empty to begin with; the folders that were made.
fn made(engine: &mut Engine, mut now: Now) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..20 {
        while let Some(effect) = engine.poll() {
            match effect {
                Effect::Scan { folder, names, .. } => {
                    engine.handle(Input::Scanned { folder, names, result: Ok(Listing::default()) }, now);
                }
                Effect::Apply { op, action: DiskAction::MakeFolder { path, .. }, .. } => {
                    made.push(path.to_string());
                    let file = FileId { inode: made.len() as u64, born_ns: 0 };
                    let (kind, modified) = (Kind::Folder, ModifiedAt(0));
                    let stat = Stat { kind, file, size: 0, modified, changed_ns: 0, executable: false, target: None };
                    engine.handle(Input::Applied { op, result: Ok(Applied::Present(stat)) }, now);
                }
                _ => {}
            }
        }
        now.ms += 100;
        engine.handle(Input::Woken, now);
    }
    made
}

#[test]
fn what_is_in_a_folder_that_nobody_knows_waits_and_holds_nobody_up() {
    let (mut engine, now) = told(vec![folder(1, Some(9), "a"), folder(2, Some(1), "b"), folder(3, None, "sound")]);
    assert_eq!(made(&mut engine, now), ["sound"]);
    let page =
        ChangesPage { epoch: 1, since: Revision(3), to: Revision(4), head: Revision(4), items: vec![folder(9, None, "late")] };
    engine.handle(Input::Changes(Ok(page)), Now { ms: 60_000, unix_ns: 0 });
    assert_eq!(made(&mut engine, Now { ms: 60_000, unix_ns: 0 }), ["late", "late/a", "late/a/b"]);
}

#[test]
fn folders_inside_each_other_wait_for_ever_and_hold_nobody_up() {
    let looped = [folder(1, Some(2), "a"), folder(2, Some(3), "b"), folder(3, Some(1), "c"), folder(4, Some(1), "below")];
    let itself = folder(5, Some(5), "itself");
    let (mut engine, now) = told([&looped[..], &[itself, folder(6, None, "sound"), folder(7, Some(6), "too")]].concat());
    assert_eq!(made(&mut engine, now), ["sound", "sound/too"]);
}
