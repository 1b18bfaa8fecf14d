//! What is collected, what never is, and a search for an order of steps that breaks it.

use super::*;
use crate::store::MemoryStore;
use crate::store::conformance::chunk;
use std::sync::{Arc, Mutex};

const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(1));

type Event = Box<dyn FnOnce(&mut HashSet<ChunkName>) + Send>;

/// Names that change while a run is under way.
#[derive(Default)]
struct Book {
    named: Mutex<HashSet<ChunkName>>,
    /// What happens when the names are read for the n-th time, before they are.
    events: Mutex<Vec<Event>>,
}

impl Named for Book {
    fn named(&self, _: WorkspaceId) -> Answer<'_, HashSet<ChunkName>> {
        let mut named = self.named.lock().unwrap();
        if let Some(event) = self.events.lock().unwrap().pop() {
            event(&mut named);
        }
        Box::pin(std::future::ready(Ok(named.clone())))
    }
}

fn rules(now_seconds: u64) -> Rules {
    Rules {
        grace: Duration::from_secs(1_000),
        settle: Duration::ZERO,
        act: Act::Collect,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(now_seconds),
    }
}

/// Everything in a [`MemoryStore`] is as old as the clock.
const OLD: u64 = 1_000;
const YOUNG: u64 = 999;

#[tokio::test]
async fn garbage_goes_in_two_runs_and_what_is_named_stays() {
    let (store, book) = (MemoryStore::new(), Book::default());
    let (kept, garbage) = (chunk("kept"), chunk("garbage"));
    store.put_batch(HOME, vec![kept.clone(), garbage.clone()]).await.unwrap();
    book.named.lock().unwrap().insert(kept.0);
    let young = collect(&store, &book, HOME, &rules(YOUNG)).await.unwrap();
    assert_eq!(young, Collected { kept: 2, ..Collected::default() });
    let dry = collect(&store, &book, HOME, &Rules { act: Act::DryRun, ..rules(OLD) }).await.unwrap();
    assert_eq!((dry.aside, store.present(HOME, vec![garbage.0]).await.unwrap()), (1, vec![true]));
    let first = collect(&store, &book, HOME, &rules(OLD)).await.unwrap();
    assert_eq!((first.kept, first.aside, first.removed), (1, 1, 0));
    assert_eq!(store.present(HOME, vec![kept.0, garbage.0]).await.unwrap(), [true, false]);
    assert_eq!(store.present(aside_of(HOME), vec![garbage.0]).await.unwrap(), [true]);
    let second = collect(&store, &book, HOME, &rules(OLD)).await.unwrap();
    assert_eq!((second.removed, second.removed_bytes), (1, garbage.1.len() as u64));
    assert_eq!(store.usage(aside_of(HOME)).await.unwrap().chunks, 0);
    assert_eq!(store.get(HOME, kept.0).await.unwrap(), Some(kept.1));
}

#[tokio::test]
async fn a_chunk_that_a_commit_names_meanwhile_comes_back() {
    let (store, book) = (MemoryStore::new(), Book::default());
    let wanted = chunk("wanted in a moment");
    store.put_batch(HOME, vec![wanted.clone()]).await.unwrap();
    let name = wanted.0;
    // Read twice: the commit is saved between the two.
    *book.events.lock().unwrap() = vec![
        Box::new(move |named| {
            named.insert(name);
        }),
        Box::new(|_| ()),
    ];
    let done = collect(&store, &book, HOME, &rules(OLD)).await.unwrap();
    assert_eq!((done.aside, done.restored), (1, 1));
    assert_eq!(store.get(HOME, name).await.unwrap(), Some(wanted.1));
    assert_eq!(store.usage(aside_of(HOME)).await.unwrap().chunks, 0);
}

#[tokio::test]
async fn a_commit_that_is_saved_after_the_run_gets_its_chunk_back_in_the_next_one() {
    let (store, book) = (MemoryStore::new(), Book::default());
    let late = chunk("late");
    store.put_batch(HOME, vec![late.clone()]).await.unwrap();
    collect(&store, &book, HOME, &rules(OLD)).await.unwrap();
    book.named.lock().unwrap().insert(late.0);
    let done = collect(&store, &book, HOME, &rules(OLD)).await.unwrap();
    assert_eq!((done.restored, done.removed), (1, 0));
    assert_eq!(store.get(HOME, late.0).await.unwrap(), Some(late.1));
}

#[tokio::test]
async fn what_is_damaged_is_not_kept_aside_and_stops_nothing() {
    let (store, book) = (MemoryStore::new(), Book::default());
    let (bad, other) = (chunk("bad"), chunk("other"));
    store.put_batch(HOME, vec![other.clone()]).await.unwrap();
    store.plant(HOME, bad.0, Bytes::from_static(b"dust"));
    assert_eq!(collect(&store, &book, HOME, &rules(OLD)).await.unwrap().aside, 2);
    assert_eq!(store.usage(aside_of(HOME)).await.unwrap().chunks, 1);
}

#[tokio::test]
async fn a_chunk_that_is_only_read_wrongly_is_not_removed() {
    let (store, book) = (Arc::new(MemoryStore::new()), Book::default());
    let (garbage, misread) = (chunk("garbage"), chunk("read wrongly"));
    store.put_batch(HOME, vec![garbage.clone(), misread.clone()]).await.unwrap();
    collect(&Holding { store: store.clone(), misread: Some(misread.0) }, &book, HOME, &rules(OLD)).await.unwrap();
    assert_eq!(store.present(HOME, vec![garbage.0, misread.0]).await.unwrap(), [false, true]);
    // The same on its way back.
    collect(&*store, &book, HOME, &rules(OLD)).await.unwrap();
    book.named.lock().unwrap().insert(misread.0);
    let done = collect(&Holding { store: store.clone(), misread: Some(misread.0) }, &book, HOME, &rules(OLD)).await.unwrap();
    assert_eq!(done.restored, 0);
    assert_eq!(store.present(aside_of(HOME), vec![misread.0]).await.unwrap(), [true]);
}

/// A committer that looks at its chunks and names them a little later, any number of times, against runs that never wait: whatever is
/// named must be readable once the next run is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_and_runs_in_any_order_lose_nothing_that_is_named() {
    let (store, book) = (Arc::new(MemoryStore::new()), Arc::new(Book::default()));
    let chunks: Vec<_> = (0..40).map(|number| chunk(&format!("contended {number}"))).collect();
    let committer = {
        let (store, book, chunks) = (store.clone(), book.clone(), chunks.clone());
        tokio::spawn(async move {
            for (round, (name, packed)) in chunks.iter().cycle().take(2_000).enumerate() {
                // As a device does: what is missing is put, then it is committed if it is there at that time.
                if store.present(HOME, vec![*name]).await.unwrap() == [false] {
                    store.put_batch(HOME, vec![(*name, packed.clone())]).await.unwrap();
                }
                let seen = store.present(HOME, vec![*name]).await.unwrap() == [true];
                tokio::task::yield_now().await;
                let mut named = book.named.lock().unwrap();
                if seen && round % 3 != 0 {
                    named.insert(*name);
                } else if round % 7 == 0 {
                    named.remove(name);
                }
            }
        })
    };
    // The grace time holds for what is aside, as it does for any commit of less than that: removal is for later runs only.
    let patient = Rules { grace: Duration::from_secs(1_000), ..rules(OLD) };
    let mut removed_at_most = 0;
    while !committer.is_finished() {
        let keep_aside = Holding { store: store.clone(), misread: None };
        removed_at_most += collect(&keep_aside, &*book, HOME, &patient).await.unwrap().removed;
        tokio::task::yield_now().await;
    }
    committer.await.unwrap();
    assert_eq!(removed_at_most, 0);
    collect(&Holding { store: store.clone(), misread: None }, &*book, HOME, &patient).await.unwrap();
    let named: Vec<_> = book.named.lock().unwrap().iter().copied().collect();
    let there = store.present(HOME, named.clone()).await.unwrap();
    let lost: Vec<_> = named.iter().zip(there).filter(|(_, there)| !there).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// What is aside is young, everything else is old.
struct Holding {
    store: Arc<MemoryStore>,
    /// Read wrongly, although it is whole.
    misread: Option<ChunkName>,
}

impl ChunkStore for Holding {
    fn present(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<bool>> {
        self.store.present(container, names)
    }
    fn put_batch(&self, container: WorkspaceId, chunks: Vec<(ChunkName, Bytes)>) -> Answer<'_, ()> {
        self.store.put_batch(container, chunks)
    }
    fn get(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, Option<Bytes>> {
        self.store.get(container, name)
    }
    fn get_batch(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, Vec<Option<Bytes>>> {
        Box::pin(async move {
            let mut found = self.store.get_batch(container, names.clone()).await?;
            for (name, packed) in names.iter().zip(&mut found) {
                if self.misread == Some(*name) {
                    *packed = Some(Bytes::from_static(b"dust"));
                }
            }
            Ok(found)
        })
    }
    fn check(&self, container: WorkspaceId, name: ChunkName) -> Answer<'_, crate::store::Health> {
        self.store.check(container, name)
    }
    fn remove(&self, container: WorkspaceId, names: Vec<ChunkName>) -> Answer<'_, ()> {
        self.store.remove(container, names)
    }
    fn remove_container(&self, container: WorkspaceId) -> Answer<'_, ()> {
        self.store.remove_container(container)
    }
    fn list(&self, container: WorkspaceId, after: Option<ChunkName>, limit: usize) -> Answer<'_, Vec<Stored>> {
        Box::pin(async move {
            let mut listed = self.store.list(container, after, limit).await?;
            if container == aside_of(HOME) {
                for stored in &mut listed {
                    stored.modified = SystemTime::UNIX_EPOCH + Duration::from_secs(OLD);
                }
            }
            Ok(listed)
        })
    }
    fn containers(&self) -> Answer<'_, Vec<WorkspaceId>> {
        self.store.containers()
    }
    fn usage(&self, container: WorkspaceId) -> Answer<'_, crate::store::Usage> {
        self.store.usage(container)
    }
}
