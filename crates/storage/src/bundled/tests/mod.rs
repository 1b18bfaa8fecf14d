//! Bundles on a storage and an index in memory: what is written is found, few requests are made, and cleaning up loses nothing, wherever
//! it dies.

mod collecting;
mod world;

use super::{BundledStore, bundles_of, conformance};
use bytes::Bytes;
use stacksync_chunks::bundle::{self, Table};
use stacksync_chunks::pack;
use stacksync_chunks::store::{ChunkStore, Health, conformance as stores};
use stacksync_core::values::ChunkName;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use world::{HOME, OTHER, World};

fn chunk(text: &str) -> (ChunkName, Bytes) {
    stores::chunk(text)
}

fn chunks(range: std::ops::Range<usize>) -> Vec<(ChunkName, Bytes)> {
    range.map(|number| chunk(&format!("chunk number {number}"))).collect()
}

fn names(chunks: &[(ChunkName, Bytes)]) -> Vec<ChunkName> {
    chunks.iter().map(|(name, _)| *name).collect()
}

/// Puts a bundle as a device does: the object first, its name to the service then.
async fn bring(world: &World, chunks: &[(ChunkName, Bytes)]) -> (Table, bool) {
    let table = leave(world, chunks);
    let added = world.store.add(HOME, &[table.name]).await.unwrap();
    (table, added[0])
}

/// Puts a bundle and dies before anybody hears of it.
fn leave(world: &World, chunks: &[(ChunkName, Bytes)]) -> Table {
    let (table, bytes) = bundle::encode(chunks);
    world.memory.objects.lock().unwrap().insert((bundles_of(HOME), table.name), (bytes, world.shared.now()));
    table
}

/// Those of the chunks that are read and whole.
async fn whole(store: &BundledStore, names: &[ChunkName]) -> HashSet<ChunkName> {
    let read = store.get_batch(HOME, names.to_vec()).await.unwrap();
    let good = |(name, packed): (&ChunkName, Option<Bytes>)| pack::unpack(name, &packed?).is_ok().then_some(*name);
    names.iter().zip(read).filter_map(good).collect()
}

#[tokio::test]
async fn the_index_in_memory_conforms() {
    conformance::check(&*World::new().await.index, HOME, OTHER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_with_bundles_conforms() {
    let world = World::new().await;
    let memory = world.memory.clone();
    stores::check(Arc::new(world.store), &move |container, name, bytes| {
        let now = memory.shared.now();
        memory.objects.lock().unwrap().insert((container, name), (bytes, now));
    })
    .await;
}

#[tokio::test]
async fn many_small_chunks_take_few_requests() {
    let world = World::new().await;
    let all = chunks(0..1_000);
    let requests = || world.memory.requests.swap(0, Ordering::Relaxed);
    let (_, added) = bring(&world, &all).await;
    assert!(added);
    assert_eq!(requests(), 1, "one look at the table");
    assert!(world.store.present(HOME, names(&all)).await.unwrap().into_iter().all(|there| there));
    assert_eq!(requests(), 1, "one look at the bundle");
    assert_eq!(whole(&world.store, &names(&all)).await.len(), 1_000);
    assert_eq!(requests(), 1, "one read of all of it");
    let places = world.store.places(HOME, &names(&all[..10]), Duration::from_secs(1)).await.unwrap().unwrap();
    assert_eq!((places.len(), places[0].parts.len()), (1, 10));
    assert_eq!(world.store.in_bundles(HOME, &names(&chunks(999..1_002))).await.unwrap(), [true, false, false]);
}

#[tokio::test]
async fn what_is_no_bundle_is_not_believed() {
    let world = World::new().await;
    let (table, bytes) = bundle::encode(&chunks(0..3));
    let put =
        |bytes: Bytes| world.memory.objects.lock().unwrap().insert((bundles_of(HOME), table.name), (bytes, world.shared.now()));
    assert_eq!(world.store.add(HOME, &[table.name]).await.unwrap(), [false], "not there");
    for wrong in [Bytes::new(), Bytes::from_static(b"SSBN"), bytes.slice(..bytes.len() - 1), bundle::encode(&chunks(0..2)).1] {
        put(wrong);
        assert_eq!(world.store.add(HOME, &[table.name]).await.unwrap(), [false]);
    }
    assert_eq!(world.store.present(HOME, names(&chunks(0..3))).await.unwrap(), [false; 3]);
    put(bytes);
    assert_eq!(world.store.add(HOME, &[table.name, chunk("x").0]).await.unwrap(), [true, false]);
}

#[tokio::test]
async fn a_long_table_is_read_whole() {
    let world = World::new().await;
    let all = chunks(0..2_000);
    assert!(bring(&world, &all).await.1);
    assert_eq!(whole(&world.store, &names(&all)).await.len(), 2_000);
}

#[tokio::test]
async fn any_whole_copy_of_a_chunk_will_do() {
    let world = World::new().await;
    let all = chunks(0..4);
    let (older, _) = bring(&world, &all[..3]).await;
    let (newer, _) = bring(&world, &all[1..]).await;
    let damage = |table: &Table, number: usize| {
        let mut objects = world.memory.objects.lock().unwrap();
        let (bytes, _) = objects.get_mut(&(bundles_of(HOME), table.name)).unwrap();
        let mut changed = bytes.to_vec();
        changed[table.parts[number].start as usize + 13] ^= 1;
        *bytes = changed.into();
    };
    damage(&newer, 0);
    assert_eq!(whole(&world.store, &names(&all)).await.len(), 3, "the newest is taken unseen");
    assert_eq!(world.store.check(HOME, all[1].0).await.unwrap(), Health::Good, "the older one");
    assert_eq!(whole(&world.store, &names(&all)).await.len(), 4);
    damage(&older, 1);
    assert_eq!(world.store.sound(HOME, &names(&all).into_iter().collect()).await.unwrap().len(), 3);
    assert_eq!(world.store.check(HOME, all[1].0).await.unwrap(), Health::Damaged);
    assert_eq!(world.store.check(HOME, all[1].0).await.unwrap(), Health::Missing);
    assert_eq!(world.store.present(HOME, names(&all)).await.unwrap(), [true, false, true, true]);
    // It comes back in a bundle of the same name, which is there and damaged.
    let (_, relied_on) = bring(&world, &all[1..]).await;
    assert!(!relied_on, "whoever brought it hears that it cannot be relied on");
    world.store.put_batch(HOME, vec![all[1].clone()]).await.unwrap();
    assert_eq!(whole(&world.store, &names(&all)).await.len(), 4);
    // A bundle that is lost.
    world.memory.objects.lock().unwrap().remove(&(bundles_of(HOME), newer.name));
    assert_eq!(world.store.present(HOME, names(&all)).await.unwrap(), [true, true, true, false]);
    assert_eq!(whole(&world.store, &names(&all)).await.len(), 3);
}

#[tokio::test]
async fn the_index_is_made_again_out_of_the_storage() {
    let world = World::new().await;
    for group in chunks(0..90).chunks(30) {
        bring(&world, group).await;
    }
    world.index.clear();
    assert_eq!(whole(&world.store, &names(&chunks(0..90))).await.len(), 0);
    assert_eq!(world.store.adopt(HOME).await.unwrap(), 3);
    assert_eq!(whole(&world.store, &names(&chunks(0..90))).await.len(), 90);
    assert_eq!(world.store.adopt(HOME).await.unwrap(), 0);
}

#[tokio::test]
async fn bundles_are_copied_as_they_are() {
    let (from, to) = (World::new().await, World::new().await);
    for group in chunks(0..60).chunks(20) {
        bring(&from, group).await;
    }
    let copied = from.store.copy_to(&to.store, HOME).await.unwrap();
    assert_eq!((copied.bundles, copied.there, copied.damaged.len()), (3, 0, 0));
    assert_eq!(from.store.copy_to(&to.store, HOME).await.unwrap().there, 3);
    // The metadata is the same for both.
    let moved = BundledStore::new(to.store.alone().clone(), from.index.clone(), super::Making::On);
    assert_eq!(whole(&moved, &names(&chunks(0..60))).await.len(), 60);
}

#[tokio::test]
async fn where_no_bundles_are_made_those_that_are_there_are_read() {
    let world = World::new().await;
    let all = chunks(0..20);
    bring(&world, &all[..10]).await;
    let store = world.unpacking();
    store.put_batch(HOME, all[10..].to_vec()).await.unwrap();
    assert_eq!(whole(&store, &names(&all)).await.len(), 20);
    assert_eq!(world.memory.objects.lock().unwrap().len(), 11);
    assert!(store.put_tickets(HOME, vec![chunk("x").0], Duration::from_secs(1)).await.unwrap().is_none());
}
