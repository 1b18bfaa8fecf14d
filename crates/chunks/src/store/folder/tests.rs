//! The folder: the suite, and what only a folder can go through.

use super::*;
use crate::store::conformance::{self, chunk};
use std::fs;
use std::path::PathBuf;
use uuid::Uuid;

const HOME: WorkspaceId = WorkspaceId(Uuid::from_u128(1));

/// But for the locks.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("lock"));
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(FolderStore::open(root.path()).unwrap());
    let inner = store.inner.clone();
    conformance::check(store, &move |container, name, packed| {
        let path = inner.path(container, &name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, packed).unwrap();
    })
    .await;
    assert_eq!(files_below(&root.path().join("tmp")), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn chunks_outlive_the_process_and_leftovers_do_not() {
    let root = tempfile::tempdir().unwrap();
    let kept = chunk("kept");
    FolderStore::open(root.path()).unwrap().put_batch(HOME, vec![kept.clone()]).await.unwrap();
    fs::write(root.path().join("tmp/17"), b"half a chunk").unwrap();
    fs::create_dir_all(root.path().join("tmp/18/aa")).unwrap();
    let store = FolderStore::open(root.path()).unwrap();
    assert_eq!(store.get(HOME, kept.0).await.unwrap(), Some(kept.1));
    let name = kept.0.to_string();
    assert_eq!(files_below(root.path()), [root.path().join(HOME.to_string()).join(&name[..2]).join(name)]);
}

#[tokio::test]
async fn opening_it_again_leaves_alone_what_another_process_is_writing() {
    let root = tempfile::tempdir().unwrap();
    let running = FolderStore::open(root.path()).unwrap();
    let writing = running.inner.temporary();
    fs::write(&writing, b"half a chunk").unwrap();
    let beside = FolderStore::open(root.path()).unwrap();
    assert!(writing.exists());
    // A container that the other one removes behind this one's back is made again, at the latest by the second try.
    running.put_batch(HOME, vec![chunk("before")]).await.unwrap();
    beside.remove_container(HOME).await.unwrap();
    let after = chunk("before");
    if running.put_batch(HOME, vec![after.clone()]).await.is_err() {
        running.put_batch(HOME, vec![after.clone()]).await.unwrap();
    }
    assert_eq!(beside.present(HOME, vec![after.0]).await.unwrap(), [true]);
    drop((running, beside));
    assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_chunk_that_has_its_name_but_not_its_durability_is_not_present() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::open(root.path()).unwrap();
    let young = chunk("young");
    store.put_batch(HOME, vec![young.clone()]).await.unwrap();
    inner::lock(&store.inner.settling).insert((HOME, young.0), 1);
    assert_eq!(store.present(HOME, vec![young.0]).await.unwrap(), [false]);
    // And a second sender does not rely on the first one's wait: he waits for his own copy.
    fs::remove_file(store.inner.path(HOME, &young.0)).unwrap();
    store.put_batch(HOME, vec![young.clone()]).await.unwrap();
    assert!(store.inner.path(HOME, &young.0).exists());
    assert_eq!(inner::lock(&store.inner.settling).get(&(HOME, young.0)), Some(&1));
}

#[tokio::test]
async fn a_look_that_need_not_wait_says_what_one_that_may_wait_says() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::open(root.path()).unwrap();
    let kept = chunk("kept");
    store.put_batch(HOME, vec![kept.clone()]).await.unwrap();
    let put_there = |text: &str, make: fn(&Path)| {
        let path = store.inner.path(HOME, &chunk(text).0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        make(&path);
        chunk(text).0
    };
    let folder = put_there("folder", |path| fs::create_dir(path).unwrap());
    let link = put_there("link", |path| std::os::unix::fs::symlink("/", path).unwrap());
    for (name, there) in [(kept.0, true), (folder, false), (link, false), (chunk("missing").0, false)] {
        assert_eq!(store.inner.is_durable(HOME, &name), there);
        // What was looked up before may have left the memory.
        assert!(store.inner.is_durable_at_hand(HOME, &name).is_none_or(|found| found == there));
    }
}

#[tokio::test]
async fn a_failed_write_leaves_no_temporary_and_works_again_later() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::open(root.path()).unwrap();
    let unlucky = chunk("unlucky");
    // A folder where the chunk's name should be: the rename fails, after everything else.
    fs::create_dir_all(store.inner.path(HOME, &unlucky.0)).unwrap();
    let failed = store.put_batch(HOME, vec![unlucky.clone()]).await;
    assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
    assert_eq!(files_below(&root.path().join("tmp")), [] as [PathBuf; 0]);
    assert_eq!(store.present(HOME, vec![unlucky.0]).await.unwrap(), [false]);
    assert!(inner::lock(&store.inner.settling).is_empty());
    fs::remove_dir(store.inner.path(HOME, &unlucky.0)).unwrap();
    store.put_batch(HOME, vec![unlucky]).await.unwrap();
}

#[test]
fn a_full_disk_is_an_error_of_its_own() {
    for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::QuotaExceeded] {
        assert!(matches!(inner::failed("write", Path::new("x"))(kind.into()), StoreError::Full { .. }));
    }
}

#[tokio::test]
async fn more_chunks_than_one_group_are_stored_whole() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::open(root.path()).unwrap();
    let chunks: Vec<_> = (0..2 * GROUP_FILES_MAX + 3).map(|number| chunk(&number.to_string())).collect();
    store.put_batch(HOME, chunks.clone()).await.unwrap();
    assert_eq!(store.usage(HOME).await.unwrap().chunks, chunks.len() as u64);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_the_storage_usable() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::open(root.path()).unwrap();
    for number in 0..50 {
        let mut put = store.put_batch(HOME, vec![chunk(&number.to_string())]);
        let _ = futures_poll_once(&mut put).await;
    }
    let last = chunk("last");
    store.put_batch(HOME, vec![last.clone()]).await.unwrap();
    assert_eq!(store.present(HOME, vec![last.0]).await.unwrap(), [true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_at_any_moment_sees_whole_chunks_or_none() {
    let root = tempfile::tempdir().unwrap();
    let store = FolderStore::open(root.path()).unwrap();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for round in 0..20 {
                let chunks = (0..30).map(|number| chunk(&format!("{round} {number} {}", "long ".repeat(5_000)))).collect();
                store.put_batch(HOME, chunks).await.unwrap();
            }
        }
    });
    let home = root.path().join(HOME.to_string());
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        for path in if home.exists() { files_below(&home) } else { vec![] } {
            let name = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            crate::pack::unpack(&name, &fs::read(&path).unwrap().into()).unwrap();
            looks += 1;
        }
    }
    writer.await.unwrap();
    assert_eq!(store.usage(HOME).await.unwrap().chunks, 600);
}

/// Starts a future, and does not wait for it.
async fn futures_poll_once<T>(answer: &mut Answer<'_, T>) -> Option<()> {
    std::future::poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context).is_ready().then_some(()))).await
}
