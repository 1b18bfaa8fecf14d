//! What every index of bundles must do. For tests only.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use super::index::{Added, BundleIndex};
use bytes::Bytes;
use stacksync_chunks::bundle::{self, Table};
use stacksync_core::values::{ChunkName, WorkspaceId};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// A bundle of these texts.
pub fn table(texts: &[&str]) -> Table {
    let chunks: Vec<_> = texts.iter().map(|text| (name(text), Bytes::copy_from_slice(text.as_bytes()))).collect();
    bundle::encode(&chunks).0
}

fn name(text: &str) -> ChunkName {
    ChunkName::of(text.as_bytes())
}

fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The bundles in which chunks of these texts are found, in order.
async fn found(index: &dyn BundleIndex, workspace: WorkspaceId, texts: &[&str]) -> Vec<(ChunkName, ChunkName)> {
    let found = index.find(workspace, texts.iter().map(|text| name(text)).collect()).await.unwrap();
    found.into_iter().map(|found| (found.part.name, found.bundle)).collect()
}

/// Runs the suite on an index that knows both workspaces and no bundles of them.
pub async fn check(index: &dyn BundleIndex, home: WorkspaceId, other: WorkspaceId) {
    adds_and_finds(index, home, other).await;
    retires_and_restores(index, home).await;
    replaces_all_or_nothing(index, home).await;
    notes_what_is_unknown(index, home).await;
    lists_in_order(index, other).await;
}

async fn adds_and_finds(index: &dyn BundleIndex, home: WorkspaceId, other: WorkspaceId) {
    let (first, second) = (table(&["a", "b"]), table(&["b", "c"]));
    assert_eq!(index.add(home, first.clone(), moment(1)).await.unwrap(), Added::New);
    assert_eq!(index.add(home, first.clone(), moment(2)).await.unwrap(), Added::WasLive);
    assert_eq!(index.add(home, second.clone(), moment(3)).await.unwrap(), Added::New);
    let places = index.find(home, vec![name("a")]).await.unwrap();
    assert_eq!(places.len(), 1);
    assert_eq!((places[0].part, places[0].bundle, places[0].bundle_bytes), (first.parts[0], first.name, first.bytes));
    // The newest place first.
    assert_eq!(found(index, home, &["b"]).await, [(name("b"), second.name), (name("b"), first.name)]);
    assert_eq!(found(index, home, &["none"]).await, []);
    assert_eq!(found(index, other, &["a", "b", "c"]).await, []);
    index
        .forget_parts(home, vec![(name("b"), second.name), (name("x"), second.name), (name("b"), name("no bundle"))])
        .await
        .unwrap();
    assert_eq!(found(index, home, &["b"]).await, [(name("b"), first.name)]);
    assert_eq!(index.add(home, second, moment(4)).await.unwrap(), Added::WasLive);
    assert_eq!(found(index, home, &["b"]).await, [(name("b"), first.name)]);
}

async fn retires_and_restores(index: &dyn BundleIndex, home: WorkspaceId) {
    let bundle = table(&["d", "e"]);
    index.add(home, bundle.clone(), moment(1)).await.unwrap();
    assert!(index.replace(home, vec![bundle.name], None, moment(70)).await.unwrap());
    assert!(!index.replace(home, vec![bundle.name], None, moment(80)).await.unwrap());
    assert_eq!(found(index, home, &["d"]).await, []);
    assert_eq!(index.add(home, bundle.clone(), moment(1)).await.unwrap(), Added::Retired);
    let known = index.bundles(home).await.unwrap().into_iter().find(|known| known.name == bundle.name).unwrap();
    assert_eq!((known.bytes, known.retired), (bundle.bytes, Some(moment(70))));
    assert_eq!(index.parts(home).await.unwrap().iter().filter(|(of, _)| *of == bundle.name).count(), 2);
    index.restore(home, vec![bundle.name, name("no bundle")]).await.unwrap();
    assert_eq!(found(index, home, &["d"]).await, [(name("d"), bundle.name)]);
    // What is live is not forgotten.
    index.forget(home, bundle.name, vec![name("d"), name("e")]).await.unwrap();
    assert_eq!(found(index, home, &["d", "e"]).await.len(), 2);
    assert!(index.replace(home, vec![bundle.name], None, moment(90)).await.unwrap());
    for _ in 0..2 {
        index.forget(home, bundle.name, vec![name("d"), name("e")]).await.unwrap();
    }
    assert!(index.bundles(home).await.unwrap().iter().all(|known| known.name != bundle.name));
    assert!(index.parts(home).await.unwrap().iter().all(|(of, _)| *of != bundle.name));
    assert_eq!(index.add(home, bundle, moment(5)).await.unwrap(), Added::New);
    assert_eq!(found(index, home, &["d", "e"]).await.len(), 2);
}

async fn replaces_all_or_nothing(index: &dyn BundleIndex, home: WorkspaceId) {
    let (one, two, both) = (table(&["f", "g"]), table(&["h", "i"]), table(&["f", "h"]));
    for bundle in [&one, &two] {
        index.add(home, bundle.clone(), moment(1)).await.unwrap();
    }
    assert!(!index.replace(home, vec![one.name, name("no bundle")], Some(both.clone()), moment(9)).await.unwrap());
    assert!(!index.replace(home, vec![one.name], Some(two.clone()), moment(9)).await.unwrap());
    assert_eq!(found(index, home, &["f", "g", "h", "i"]).await.len(), 4);
    assert!(index.replace(home, vec![one.name, two.name], Some(both.clone()), moment(9)).await.unwrap());
    let places: BTreeSet<_> = found(index, home, &["f", "g", "h", "i"]).await.into_iter().collect();
    assert_eq!(places, BTreeSet::from([(name("f"), both.name), (name("h"), both.name)]));
}

async fn notes_what_is_unknown(index: &dyn BundleIndex, home: WorkspaceId) {
    let stranger = table(&["k"]);
    assert!(index.note(home, stranger.name, 77, moment(50)).await.unwrap());
    assert!(!index.note(home, stranger.name, 77, moment(60)).await.unwrap());
    assert_eq!(index.add(home, stranger.clone(), moment(1)).await.unwrap(), Added::Retired);
    let known = index.bundles(home).await.unwrap().into_iter().find(|known| known.name == stranger.name).unwrap();
    assert_eq!((known.bytes, known.retired), (77, Some(moment(50))));
    index.forget(home, stranger.name, vec![]).await.unwrap();
    assert_eq!(index.add(home, stranger, moment(1)).await.unwrap(), Added::New);
}

async fn lists_in_order(index: &dyn BundleIndex, home: WorkspaceId) {
    let texts: Vec<String> = (0..50).map(|number| format!("number {number}")).collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (most, some, gone) = (table(&all), table(&all[10..20]), table(&["gone", "number 7"]));
    for bundle in [&most, &some, &gone] {
        index.add(home, bundle.clone(), moment(33)).await.unwrap();
    }
    index.replace(home, vec![gone.name], None, moment(40)).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = index.list(home, after, 7).await.unwrap();
        assert!(page.len() <= 7);
        let Some(last) = page.last() else { break };
        after = Some(last.name);
        seen.extend(page);
    }
    let names: BTreeSet<ChunkName> = all.iter().map(|text| name(text)).collect();
    assert_eq!(seen.iter().map(|stored| stored.name).collect::<Vec<_>>(), names.into_iter().collect::<Vec<_>>());
    let stored = seen.iter().find(|stored| stored.name == name("number 7")).unwrap();
    assert_eq!((stored.bytes, stored.modified), (8, moment(33)));
}
