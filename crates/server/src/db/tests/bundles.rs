//! The index of bundles, by the suite that every index passes, and what only a store shows.

use super::home::Kind;
use super::world::World;
use crate::db::BundleRows;
use stacksync_core::values::{ChunkName, Name};
use stacksync_storage::bundled::conformance::{check, table};
use stacksync_storage::bundled::index::{Added, BundleIndex as _};
use std::time::SystemTime;

pub async fn the_index_of_bundles_conforms(kind: Kind) {
    let world = World::new(kind).await;
    let other = world.db.add_workspace(world.user.id, Name::new("Other").unwrap(), None).await.unwrap().id;
    check(&BundleRows(world.db.clone()), world.workspace, other).await;
}

/// Two processes, many times: whoever comes second hears of the first.
pub async fn a_bundle_that_is_brought_and_retired_at_once_is_one_of_the_two(kind: Kind) {
    let world = World::new(kind).await;
    let (device, cleaner) = (BundleRows(world.db.clone()), BundleRows(world.beside().await));
    let now = SystemTime::now();
    for number in 0..40 {
        let table = table(&[&format!("{number}"), "b"]);
        let (name, bytes) = (table.name, table.bytes);
        let (added, noted) =
            tokio::join!(device.add(world.workspace, table.clone(), now), cleaner.note(world.workspace, name, bytes, now));
        match (added.unwrap(), noted.unwrap()) {
            (Added::New, false) => {
                let again = device.add(world.workspace, table.clone(), now);
                let (again, replaced) = tokio::join!(again, cleaner.replace(world.workspace, vec![name], None, now));
                assert!(replaced.unwrap());
                assert_ne!(again.unwrap(), Added::New);
            }
            (Added::Retired, true) => {}
            both => panic!("{both:?}"),
        }
        assert_eq!(device.add(world.workspace, table, now).await.unwrap(), Added::Retired);
    }
}

pub async fn bundles_go_with_their_workspace(kind: Kind) {
    let world = World::new(kind).await;
    let index = BundleRows(world.db.clone());
    index.add(world.workspace, table(&["a", "b"]), SystemTime::now()).await.unwrap();
    assert_eq!(index.find(world.workspace, vec![ChunkName::of(b"a")]).await.unwrap().len(), 1);
    assert!(world.db.remove_user(world.user.id).await.unwrap().contains(&world.workspace));
    assert_eq!(index.find(world.workspace, vec![ChunkName::of(b"a")]).await.unwrap(), []);
}
