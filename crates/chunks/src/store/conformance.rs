//! What every storage must do: each verb, each twice. A storage is what passes this. For tests only.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use super::{ChunkStore, Health, StoreError, Usage};
use crate::pack::{self, Damage};
use bytes::Bytes;
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Damages a chunk at rest: puts these bytes under this name, behind the storage's back.
pub type Plant<'a> = &'a (dyn Fn(WorkspaceId, ChunkName, Bytes) + Sync);

/// Runs the whole suite on an empty storage.
pub async fn check(store: Arc<dyn ChunkStore>, plant: Plant<'_>) {
    puts_and_gets(&*store).await;
    takes_only_what_is_proven(&*store).await;
    keeps_containers_apart(&*store).await;
    heals_what_is_damaged(&*store, plant).await;
    sets_damage_aside(&*store, plant).await;
    lists_in_order(&*store).await;
    removes(&*store).await;
    takes_the_same_chunk_from_many(store).await;
}

/// A chunk of this text, packed.
pub fn chunk(text: &str) -> (ChunkName, Bytes) {
    (ChunkName::of(text.as_bytes()), pack::pack(text.as_bytes()).unwrap())
}

fn container(number: u128) -> WorkspaceId {
    WorkspaceId(Uuid::from_u128(number))
}

async fn puts_and_gets(store: &dyn ChunkStore) {
    let home = container(1);
    let (one, two) = (chunk("one"), chunk("two"));
    assert_eq!(store.present(home, vec![one.0, two.0]).await.unwrap(), [false, false]);
    assert_eq!(store.get(home, one.0).await.unwrap(), None);
    for _ in 0..2 {
        store.put_batch(home, vec![one.clone(), two.clone(), one.clone()]).await.unwrap();
        assert_eq!(store.present(home, vec![two.0, chunk("none").0, one.0]).await.unwrap(), [true, false, true]);
        assert_eq!(store.get(home, one.0).await.unwrap().as_ref(), Some(&one.1));
        let many = store.get_batch(home, vec![two.0, chunk("none").0, one.0]).await.unwrap();
        assert_eq!(many, [Some(two.1.clone()), None, Some(one.1.clone())]);
    }
    store.put_batch(home, vec![]).await.unwrap();
}

async fn takes_only_what_is_proven(store: &dyn ChunkStore) {
    let home = container(2);
    let (good, other) = (chunk("good"), chunk("other"));
    for bad in [other.1.clone(), Bytes::new(), Bytes::from_static(b"garbage"), good.1.slice(..good.1.len() - 1)] {
        let name = ChunkName::of(b"bad");
        match store.put_batch(home, vec![good.clone(), (name, bad)]).await {
            Err(StoreError::Refused { name: refused, .. }) => assert_eq!(refused, name),
            taken => panic!("{taken:?}"),
        }
        assert_eq!(store.present(home, vec![good.0, name]).await.unwrap(), [false, false], "a refused batch leaves nothing");
    }
    let swapped = store.put_batch(home, vec![(good.0, other.1)]).await;
    assert!(matches!(swapped, Err(StoreError::Refused { damage: Damage::WrongHash, .. })), "{swapped:?}");
}

async fn keeps_containers_apart(store: &dyn ChunkStore) {
    let mine = chunk("mine");
    store.put_batch(container(3), vec![mine.clone()]).await.unwrap();
    assert_eq!(store.present(container(4), vec![mine.0]).await.unwrap(), [false]);
    assert_eq!(store.get(container(4), mine.0).await.unwrap(), None);
    assert!(store.containers().await.unwrap().contains(&container(3)));
}

async fn heals_what_is_damaged(store: &dyn ChunkStore, plant: Plant<'_>) {
    let home = container(5);
    let whole = chunk("whole");
    for damage in [Bytes::new(), chunk("another").1, whole.1.slice(..5)] {
        store.put_batch(home, vec![whole.clone()]).await.unwrap();
        plant(home, whole.0, damage);
        store.put_batch(home, vec![whole.clone()]).await.unwrap();
        assert_eq!(store.get(home, whole.0).await.unwrap().as_ref(), Some(&whole.1));
    }
    // The same plain bytes packed in another way are no damage, and stay.
    let mut stored = vec![b'S', b'S', b'C', b'K', 1, 0, 0, 0, 0, 0, 0, 100];
    stored.extend([b'z'; 100]);
    let (compressed, stored) = (chunk(&"z".repeat(100)), Bytes::from(stored));
    assert_ne!(compressed.1, stored);
    plant(home, compressed.0, stored.clone());
    store.put_batch(home, vec![compressed.clone()]).await.unwrap();
    assert_eq!(store.get(home, compressed.0).await.unwrap(), Some(stored));
}

async fn sets_damage_aside(store: &dyn ChunkStore, plant: Plant<'_>) {
    let home = container(6);
    let fragile = chunk("fragile");
    assert_eq!(store.check(home, fragile.0).await.unwrap(), Health::Missing);
    store.put_batch(home, vec![fragile.clone()]).await.unwrap();
    assert_eq!(store.check(home, fragile.0).await.unwrap(), Health::Good);
    plant(home, fragile.0, Bytes::from_static(b"dust"));
    assert_eq!(store.check(home, fragile.0).await.unwrap(), Health::Damaged);
    assert_eq!(store.check(home, fragile.0).await.unwrap(), Health::Missing);
    assert_eq!(store.present(home, vec![fragile.0]).await.unwrap(), [false]);
    store.put_batch(home, vec![fragile.clone()]).await.unwrap();
    assert_eq!(store.check(home, fragile.0).await.unwrap(), Health::Good);
}

async fn lists_in_order(store: &dyn ChunkStore) {
    let home = container(7);
    assert_eq!(store.list(home, None, 10).await.unwrap(), []);
    assert_eq!(store.usage(home).await.unwrap(), Usage::default());
    let chunks: Vec<_> = (0..300).map(|number| chunk(&format!("number {number}"))).collect();
    store.put_batch(home, chunks.clone()).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(home, after, 70).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 70);
        after = Some(last.name);
        seen.extend(page);
    }
    let names: Vec<_> = seen.iter().map(|stored| stored.name).collect();
    let expected: BTreeSet<_> = chunks.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected.into_iter().collect::<Vec<_>>());
    let bytes = chunks.iter().map(|(_, packed)| packed.len() as u64).sum();
    assert_eq!(seen.iter().map(|stored| stored.bytes).sum::<u64>(), bytes);
    assert_eq!(store.usage(home).await.unwrap(), Usage { chunks: 300, bytes });
}

async fn removes(store: &dyn ChunkStore) {
    let home = container(8);
    let (stays, goes) = (chunk("stays"), chunk("goes"));
    for _ in 0..2 {
        store.put_batch(home, vec![stays.clone(), goes.clone()]).await.unwrap();
        for _ in 0..2 {
            store.remove(home, vec![goes.0]).await.unwrap();
            assert_eq!(store.present(home, vec![stays.0, goes.0]).await.unwrap(), [true, false]);
        }
        for _ in 0..2 {
            store.remove_container(home).await.unwrap();
            assert_eq!(store.get(home, stays.0).await.unwrap(), None);
            assert!(!store.containers().await.unwrap().contains(&home));
        }
    }
}

async fn takes_the_same_chunk_from_many(store: Arc<dyn ChunkStore>) {
    let home = container(9);
    let chunks: Vec<_> = (0..40).map(|number| chunk(&format!("shared {number}"))).collect();
    let puts: Vec<_> = (0..8)
        .map(|_| {
            let (store, chunks) = (store.clone(), chunks.clone());
            tokio::spawn(async move { store.put_batch(home, chunks).await })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    let names: Vec<_> = chunks.iter().map(|(name, _)| *name).collect();
    assert!(store.present(home, names).await.unwrap().into_iter().all(|there| there));
    assert_eq!(store.usage(home).await.unwrap().chunks, 40);
}
