//! When a chunk counts as damaged.

use super::*;
use stacksync_chunks::store::conformance::chunk;
use std::collections::VecDeque;
use uuid::Uuid;

const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(1));

/// Reads what it is told to, one answer after the other.
struct Scripted {
    reads: Mutex<VecDeque<Option<Bytes>>>,
    removed: Mutex<Vec<ChunkName>>,
}

fn done<T: Send + 'static>(answer: T) -> Work<'static, T> {
    Box::pin(std::future::ready(Ok(answer)))
}

impl Backend for Scripted {
    fn name(&self) -> String {
        "script".to_owned()
    }
    fn prepare(&self) -> Work<'_, ()> {
        done(())
    }
    fn make_container(&self, _: WorkspaceId) -> Work<'_, ()> {
        done(())
    }
    fn remove_container(&self, _: WorkspaceId) -> Work<'_, ()> {
        done(())
    }
    fn containers(&self) -> Work<'_, Vec<WorkspaceId>> {
        done(Vec::new())
    }
    fn length(&self, _: WorkspaceId, _: ChunkName) -> Work<'_, Option<u64>> {
        done(None)
    }
    fn put(&self, _: WorkspaceId, _: ChunkName, _: Bytes, _: When) -> Work<'_, Put> {
        done(Put::Stored)
    }
    fn get(&self, _: WorkspaceId, _: ChunkName) -> Work<'_, Option<Bytes>> {
        done(self.reads.lock().unwrap().pop_front().flatten())
    }
    fn remove(&self, _: WorkspaceId, name: ChunkName) -> Work<'_, ()> {
        self.removed.lock().unwrap().push(name);
        done(())
    }
    fn list(&self, _: WorkspaceId, _: Option<ChunkName>, _: usize) -> Work<'_, Vec<Stored>> {
        done(Vec::new())
    }
    fn direct(&self, _: WorkspaceId, _: DirectOp, _: ChunkName, _: Duration) -> Work<'_, Option<Direct>> {
        done(None)
    }
}

/// What a check of a chunk that is read like this comes to, and whether it was removed.
async fn checked(name: ChunkName, reads: &[Option<&Bytes>]) -> (Result<Health, StoreError>, bool) {
    let reads = Mutex::new(reads.iter().map(|read| read.cloned()).collect());
    let backend = Arc::new(Scripted { reads, removed: Mutex::default() });
    let store = RemoteStore::open(backend.clone()).await.unwrap();
    let health = store.check(HOME, name).await;
    let removed = !backend.removed.lock().unwrap().is_empty();
    (health, removed)
}

#[tokio::test]
async fn a_chunk_that_is_read_wrongly_once_is_not_removed() {
    let (name, whole) = chunk("a chunk");
    let (dust, other) = (Bytes::from_static(b"dust"), Bytes::from_static(b"other dust"));
    assert!(matches!(checked(name, &[Some(&whole)]).await, (Ok(Health::Good), false)));
    assert!(matches!(checked(name, &[Some(&dust), Some(&whole)]).await, (Ok(Health::Good), false)));
    assert!(matches!(checked(name, &[Some(&dust), Some(&other)]).await, (Err(StoreError::Unavailable(_)), false)));
    assert!(matches!(checked(name, &[Some(&dust), None]).await, (Ok(Health::Missing), false)));
    assert!(matches!(checked(name, &[None]).await, (Ok(Health::Missing), false)));
    assert!(matches!(checked(name, &[Some(&dust), Some(&dust)]).await, (Ok(Health::Damaged), true)));
}
